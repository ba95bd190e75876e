//! What can go wrong, and what to do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sansocket::connection::AcceptError as AnswerMismatch;
use sansocket::handshake::RequestError;
use sansocket::{Closed, Refusal, SendError};

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, a header field or a subprotocol cannot be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A `wss` URL, for which somebody has to speak TLS.
    #[error("wss:// needs TLS: make the TLS stream to {host}:{port} yourself and hand it to Connector::handshake()")]
    TlsUnsupported {
        /// Where the URL points.
        host: String,
        /// The port of the URL, or the default one.
        port: u16,
    },
    /// No address of the host could be connected to.
    #[error("cannot connect to {host}:{port}: {source}")]
    Io {
        /// The host of the URL.
        host: String,
        /// The port of the URL, or the default one.
        port: u16,
        /// What the system says of the last address.
        source: io::Error,
    },
    /// No address answered in time.
    #[error("no answer from {host}:{port} within {timeout:?}: is it up, and does a firewall let the port through?")]
    TimedOut {
        /// The host of the URL.
        host: String,
        /// The port of the URL, or the default one.
        port: u16,
        /// The limit, [`Connector::connect_timeout`](crate::Connector::connect_timeout).
        timeout: Duration,
    },
    /// The stream is there, but the handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered, but with another status than 101.
    #[error("the server refused the handshake with status {}", .0.status)]
    Refused(Box<Refusal>),
    /// The answer does not fit the request.
    #[error("the answer does not fit the request: {0}")]
    Answer(#[from] AnswerMismatch),
    /// The connection ended before the handshake was complete; a faulty request has been answered.
    #[error("the handshake failed: {closed}{}", cause(.source))]
    Ended {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The system gave no random numbers for the masking keys.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

/// Why a message was not received or not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is over; receiving reports only an end that is not clean so.
    #[error("the connection is over: {closed}{}", cause(.source))]
    Closed {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The order was refused, and nothing was sent.
    #[error("{0}")]
    Send(#[from] SendError),
}

impl Error {
    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed { closed, .. } => Some(closed),
            Self::Send(_) => None,
        }
    }
}

fn cause(source: &Option<Arc<io::Error>>) -> String {
    source.as_ref().map(|source| format!(": {source}")).unwrap_or_default()
}
