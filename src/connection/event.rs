//! What a connection tells its caller.

use std::fmt;
use std::time::Duration;

use super::ProtocolError;
use crate::frame::CloseCode;
use crate::handshake::{Refusal, RequestFault, RequestHead, ResponseFault, ResponseHead};

/// Something that happened, in the order in which it did. Payloads are lent from the [`RecvBuf`](crate::RecvBuf) that was polled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A client asks to connect: answer with [`accept`](super::Connection::accept) or [`reject`](super::Connection::reject),
    /// now or before the handshake deadline. Server only.
    Request(RequestHead<'b>),
    /// The server accepted; messages may be sent. Client only: a server is open as soon as it accepts.
    Open(ResponseHead<'b>),
    /// The server answered, but refused. [`Closed`](Self::Closed) follows. Client only.
    Refused(Box<Refusal>),
    /// A text message.
    Text(&'b str),
    /// A binary message.
    Binary(&'b [u8]),
    /// A piece of a text message, never empty unless it is the last; only from
    /// [`poll_event_in_pieces`](super::Connection::poll_event_in_pieces).
    TextPiece {
        /// The next code points of the message.
        text: &'b str,
        /// Whether the message ends here.
        last: bool,
    },
    /// A piece of a binary message, never empty unless it is the last; only from
    /// [`poll_event_in_pieces`](super::Connection::poll_event_in_pieces).
    BinaryPiece {
        /// The next bytes of the message.
        bytes: &'b [u8],
        /// Whether the message ends here.
        last: bool,
    },
    /// A compressed message is being inflated, as far as one poll does that
    /// ([`DeflateConfig::inflated_per_poll_max`](crate::deflate::DeflateConfig::inflated_per_poll_max)): poll again, after others had their turn.
    #[cfg(feature = "deflate")]
    Inflating,
    /// A ping, already answered.
    Ping(&'b [u8]),
    /// A pong.
    Pong {
        /// What it carries.
        payload: &'b [u8],
        /// How long after the heartbeat's ping it came; `None` when it answers no such ping.
        rtt: Option<Duration>,
    },
    /// The peer's Close frame: it closes, which is answered already, or it answers our own. Nothing can be sent any more, and
    /// [`Closed`](Self::Closed) follows when the transport has ended.
    CloseReceived {
        /// The peer's code, [`CloseCode::NO_STATUS_RECEIVED`] when it gave none.
        code: CloseCode,
        /// The peer's words.
        reason: &'b str,
    },
    /// The end: the last event, and there is exactly one. After a fault or a deadline it comes when the Close frame is written and the peer has
    /// ended its direction of the transport, by the close deadline at the latest; meanwhile
    /// [`state`](super::Connection::state) is [`ReadyState::Closing`](super::ReadyState::Closing).
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Who began it; [`Side::Remote`] for a transport that failed, or ended without a Close frame.
    pub by: Side,
    /// The code in the Close frame that began it: ours when `by` is [`Side::Local`] (which may not have reached the peer), the peer's otherwise.
    /// [`CloseCode::NO_STATUS_RECEIVED`] when that frame had none, [`CloseCode::ABNORMAL`] when there was no such frame.
    pub code: CloseCode,
    /// The words in that frame.
    pub reason: String,
    /// The code of the peer's Close frame, if one came: it may answer ours, or cross it with another code.
    pub peer_code: Option<CloseCode>,
    /// Whether both sides sent a Close frame and ours left. RFC 6455 section 7.1.4.
    pub clean: bool,
    /// What led to it.
    pub cause: CloseCause,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.clean { "closed" } else { "ended without a complete closing handshake" };
        write!(f, "{how} by {}, {}", self.by, self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {:?}", self.reason)?;
        }
        match self.cause {
            CloseCause::CloseFrame => Ok(()),
            cause => write!(f, ": {cause}"),
        }
    }
}

/// What led to the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// Somebody asked for it: [`close`](super::Connection::close) here, or the peer's Close frame.
    #[error("asked for by a close frame")]
    CloseFrame,
    /// [`abort`](super::Connection::abort), or a close before the connection was open.
    #[error("aborted here")]
    Aborted,
    /// The peer broke the protocol or a limit.
    #[error(transparent)]
    Protocol(ProtocolError),
    /// A deadline passed.
    #[error("{0} passed")]
    Deadline(Deadline),
    /// The peer ended the transport without a Close frame.
    #[error("the peer ended the transport without a close frame")]
    EndOfStream,
    /// The transport failed.
    #[error("the transport failed")]
    TransportFailed,
    /// The caller polled with another [`RecvBuf`](crate::RecvBuf) in the middle of a message: going on would corrupt it.
    #[error("polled with another receive buffer in the middle of a message")]
    WrongBuffer,
    /// The client's request was faulty, and was answered so.
    #[error("bad request: {0}")]
    Request(RequestFault),
    /// The server's response was faulty.
    #[error("bad response: {0}")]
    Response(ResponseFault),
    /// The handshake ended with this status: the server's refusal at a client, [`reject`](super::Connection::reject) at a server.
    #[error("refused with status {0}")]
    Refused(u16),
}

/// One of the two ends of a connection, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The peer.
    Remote,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "this end",
            Self::Remote => "the peer",
        })
    }
}

/// What a connection waits for, by the name of its field in [`Config`](super::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Deadline {
    /// `handshake_timeout`: the handshake must be complete.
    Handshake,
    /// `ping_interval`: the next ping is to be sent. Never ends a connection.
    Ping,
    /// `pong_timeout`: a sign of life must have come after a ping.
    Pong,
    /// `idle_timeout`: something must have arrived.
    Idle,
    /// `write_timeout`: the transport must have taken some output.
    Write,
    /// `message_timeout`: the message under way must be complete.
    Message,
    /// `close_timeout`: the closing handshake must be complete and the transport ended.
    Close,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "handshake timeout",
            Self::Ping => "ping interval",
            Self::Pong => "pong timeout",
            Self::Idle => "idle timeout",
            Self::Write => "write timeout",
            Self::Message => "message timeout",
            Self::Close => "close timeout",
        })
    }
}

/// What to do with the transport. RFC 6455 section 7.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamOrder {
    /// Everything is written: end the writing direction, and go on reading.
    ShutdownWrite,
    /// Drop the transport. The last order.
    Drop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let clean = Closed {
            peer_code: Some(CloseCode::NORMAL),
            clean: true,
            ..Closed::local(CloseCode::NORMAL, "done".to_owned(), CloseCause::CloseFrame)
        };
        assert_eq!(clean.to_string(), "closed by this end, 1000 (normal closure) \"done\"");
        let cut = Closed {
            by: Side::Remote,
            ..Closed::local(CloseCode::ABNORMAL, String::new(), CloseCause::Deadline(Deadline::Pong))
        };
        assert_eq!(
            cut.to_string(),
            "ended without a complete closing handshake by the peer, 1006 (abnormal closure): pong timeout passed"
        );
    }
}
