//! What a client tells its caller, what it wants done, and how far it is.

use std::fmt;
use std::time::Duration;

use super::{Attempt, Cause, Outcome, Token};
use crate::connection::{Closed, ReadyState};
use crate::handshake::OwnedHeaders;
use crate::message::Message;

/// Something that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connection is open. Credentials, if any, are on their way.
    Opened {
        /// The header fields of the server's answer.
        headers: OwnedHeaders,
        /// Whether it is not the first connection.
        again: bool,
    },
    /// Messages leave from now on: the connection is open and the credentials, if any, are accepted.
    Ready {
        /// Whether it is not the first time.
        again: bool,
    },
    /// The credentials that were given by [`reauthenticate`](super::Client::reauthenticate) are accepted.
    Reauthenticated,
    /// A message.
    Message(Message),
    /// A text message, taken apart, or the result of a request ([`ClientConfig::json`](super::ClientConfig::json)).
    #[cfg(feature = "json")]
    Json(crate::json::JsonEvent),
    /// A compressed message is being inflated, as far as one poll does that
    /// ([`DeflateConfig::inflated_per_poll_max`](crate::deflate::DeflateConfig::inflated_per_poll_max)): poll again, after others had their turn.
    #[cfg(feature = "deflate")]
    Inflating,
    /// What became of a message that was sent.
    Outcome(Token, Outcome),
    /// The connection is over. What follows is another attempt, or the end.
    Lost {
        /// Why.
        cause: Cause,
        /// How many messages the transport has taken of which nothing has shown that the peer received them. With
        /// [`Delivery::AtLeastOnce`](super::Delivery::AtLeastOnce) they are sent again; with
        /// [`Delivery::Acknowledged`](super::Delivery::Acknowledged) all are that have not been acknowledged, in doubt or not.
        in_doubt: u64,
    },
    /// An attempt did not lead to an open connection.
    AttemptFailed {
        /// Which it was since the last loss; the first is 0 when nothing failed before it.
        attempt: u32,
        /// Why.
        cause: Cause,
    },
    /// The next attempt is to come.
    Reconnecting {
        /// Which it is since the last loss, from 1.
        attempt: u32,
        /// After how long.
        delay: Duration,
    },
    /// All messages have left, as [`close`](super::Client::close) waits for. The connection closes now.
    Drained,
    /// The end: the last event, and there is exactly one.
    Ended(End),
}

/// How a client ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was closed; the report is of the last connection, if there was one at the time.
    Closed(Option<Closed>),
    /// It was aborted.
    Aborted,
    /// Another attempt would meet the same ([`RetryPolicy`](super::RetryPolicy)).
    Stopped(Cause),
    /// It has tried for long enough ([`BackoffConfig`](super::BackoffConfig)); this was the last failure.
    GaveUp(Cause),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(Some(closed)) => write!(f, "{closed}"),
            Self::Closed(None) => f.write_str("closed while there was no connection"),
            Self::Aborted => f.write_str("aborted"),
            Self::Stopped(cause) => write!(f, "stopped, because another attempt would meet the same: {cause}"),
            Self::GaveUp(cause) => write!(f, "gave up: {cause}"),
        }
    }
}

/// What is to be done with the transport. Each order comes once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Order {
    /// Find out what to connect to, and tell by [`handle_prepared`](super::Client::handle_prepared).
    Prepare {
        /// Why the last connection or attempt ended, if there was one.
        cause: Option<Cause>,
        /// Whether the credentials were refused: without new ones the client stops.
        needs_credentials: bool,
    },
    /// Go the way of the attempt up to where its [`connection`](Attempt::connection) begins, which is the client's own affair. Then call
    /// [`handle_connected`](super::Client::handle_connected), or [`handle_connect_failed`](super::Client::handle_connect_failed).
    Connect(Box<Attempt>),
    /// Everything is written: end the writing direction, and go on reading.
    ShutdownWrite,
    /// Drop the transport, or give up the attempt to have one.
    Drop,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientState {
    /// It waits for the next attempt.
    Waiting,
    /// An attempt is under way.
    Connecting,
    /// The connection is open, but the credentials are not accepted yet.
    Authenticating,
    /// Messages leave.
    Open,
    /// It is being closed: the rest leaves, then the connection closes.
    Closing,
    /// It is over.
    Closed,
}

impl ClientState {
    /// The state by the names and numbers that browsers give.
    pub fn ready_state(self) -> ReadyState {
        match self {
            Self::Waiting | Self::Connecting | Self::Authenticating => ReadyState::Connecting,
            Self::Open => ReadyState::Open,
            Self::Closing => ReadyState::Closing,
            Self::Closed => ReadyState::Closed,
        }
    }
}

impl fmt::Display for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Authenticating => "authenticating",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}
