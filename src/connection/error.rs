//! What can be wrong: the peer's faults ([`ProtocolError`]) and the caller's ([`SendError`], [`AcceptError`]).

use super::ReadyState;
use crate::frame::{CloseCode, ClosePayloadError, HeaderError};
use crate::message::MessageKind;

/// How the peer broke the protocol, or a limit of [`Config`](super::Config). It ends the connection, and each knows the close code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header that nobody may send. RFC 6455 section 5.2.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Reserved bits (RSV1 the highest of three) that no negotiated extension uses. RFC 6455 section 5.2.
    #[error("reserved bits {0:#05b} are set without an extension")]
    ReservedBits(u8),
    /// A client's frame without a mask. RFC 6455 section 5.1.
    #[error("frame from a client is not masked")]
    MaskMissing,
    /// A server's frame with a mask. RFC 6455 section 5.1.
    #[error("frame from a server is masked")]
    MaskForbidden,
    /// A continuation of nothing. RFC 6455 section 5.4.
    #[error("continuation frame without a message to continue")]
    NothingToContinue,
    /// A new message before the last one's final frame. RFC 6455 section 5.4.
    #[error("new message before the last one was finished")]
    MessageUnfinished,
    /// A Close frame that may not be sent. RFC 6455 sections 5.5.1 and 7.4.
    #[error(transparent)]
    Close(#[from] ClosePayloadError),
    /// A text that is not UTF-8. RFC 6455 section 8.1.
    #[error("text is not valid UTF-8")]
    TextNotUtf8,
    /// A kind of message that this endpoint does not take ([`Config::accepts`](super::Config::accepts)).
    #[error("{0} messages are not accepted here")]
    KindNotAccepted(MessageKind),
    /// A frame above [`Config::frame_len_max`](super::Config::frame_len_max).
    #[error("frame of {len} bytes, at most {max} allowed")]
    FrameTooLong {
        /// What its header announced.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// A message above [`Config::message_len_max`](super::Config::message_len_max).
    #[error("message of at least {len} bytes, at most {max} allowed")]
    MessageTooLong {
        /// What its headers announced so far, or what it inflated to so far.
        len: u64,
        /// The limit; for the compressed form of a message it is an eighth and 1 KiB above that of the message.
        max: u64,
    },
    /// A message in more frames than [`Config::fragments_max`](super::Config::fragments_max).
    #[error("message of more than {max} fragments")]
    TooManyFragments {
        /// The limit.
        max: u32,
    },
    /// Compressed data that is not DEFLATE, or a message that ends inside a block. RFC 7692 section 7.2.2.
    #[cfg(feature = "deflate")]
    #[error("compressed message is not valid deflate data")]
    DeflateCorrupt,
    /// A message above [`DeflateConfig::inflation_ratio_max`](crate::deflate::DeflateConfig::inflation_ratio_max).
    #[cfg(feature = "deflate")]
    #[error("message inflates to more than {max} times its compressed length")]
    InflationRatio {
        /// The limit.
        max: u32,
    },
}

impl ProtocolError {
    /// The code that the Close frame for it carries. RFC 6455 section 7.4.1.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::TextNotUtf8 | Self::Close(ClosePayloadError::ReasonNotUtf8) => CloseCode::INVALID_PAYLOAD,
            Self::KindNotAccepted(_) => CloseCode::UNSUPPORTED_DATA,
            Self::FrameTooLong { .. } | Self::MessageTooLong { .. } => CloseCode::MESSAGE_TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY_VIOLATION,
            #[cfg(feature = "deflate")]
            Self::DeflateCorrupt => CloseCode::INVALID_PAYLOAD,
            #[cfg(feature = "deflate")]
            Self::InflationRatio { .. } => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Why a send, a ping or a close was refused. Nothing has happened: no byte was queued, and the payload was only borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is not open yet, or not any more.
    #[error("connection is {0}")]
    NotOpen(ReadyState),
    /// More output waits than [`Config::high_water_mark`](super::Config::high_water_mark) plus [`CONTROL_ROOM`](super::CONTROL_ROOM): write some,
    /// then try again.
    #[error("{buffered} bytes wait to be written, above the high-water mark of {high_water_mark}")]
    AboveHighWaterMark {
        /// What waits.
        buffered: usize,
        /// The limit.
        high_water_mark: usize,
    },
    /// A message was begun in fragments and lacks its last.
    #[error("the message sent in fragments is not finished")]
    MessageUnfinished,
    /// A fragment of the other kind than the message's first.
    #[error("{given} fragment in a {message} message")]
    FragmentKind {
        /// The kind of the first fragment.
        message: MessageKind,
        /// The kind of this one.
        given: MessageKind,
    },
    /// A fragment of a text that is not UTF-8, or whose last ends in the middle of a code point. RFC 6455 section 5.6.
    #[error("text is not valid UTF-8")]
    TextNotUtf8,
    /// The payload of a ping or pong is too long. RFC 6455 section 5.5.
    #[error("control frame of {0} bytes, at most 125 allowed")]
    ControlTooLong(usize),
    /// A close code that no Close frame may carry. RFC 6455 section 7.4.
    #[error("close code {} may not be sent", .0.0)]
    CloseCode(CloseCode),
    /// A close reason that does not fit, or one without a code.
    #[error("close reason of {len} bytes, at most {max} allowed")]
    CloseReasonTooLong {
        /// Its length.
        len: usize,
        /// 123, or 0 without a code.
        max: usize,
    },
}

/// Why a server's answer to a request was not taken. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// There is no request to answer: none came yet, or it has been answered, or the connection is over.
    #[error("no request waits for an answer")]
    NoRequest,
    /// The client did not offer the subprotocol. RFC 6455 section 4.2.2.
    #[error("the client did not offer that subprotocol")]
    SubprotocolNotOffered,
}
