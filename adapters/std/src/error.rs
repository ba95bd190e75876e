//! What can go wrong, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
    #[error(
        "wss:// needs TLS, which connect() does not speak: make the TLS stream to {host}:{port} yourself and hand it to Connector::handshake()"
    )]
    TlsUnsupported {
        /// Where the URL points.
        host: String,
        /// The port of the URL, or the default one.
        port: u16,
    },
    /// The host has no address.
    #[error("cannot resolve {host}: {source}; check the name, and whether there is a network")]
    Resolve {
        /// The host of the URL.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No address could be connected to; this is the last of them.
    #[error("cannot connect to {address}: {source}")]
    Io {
        /// The address that was tried last.
        address: SocketAddr,
        /// What the system says.
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
    /// The server answered, but with another status than 101.
    #[error("the server refused the handshake with status {}{}", .0.status, refusal_hint(.0))]
    Refused(Box<Refusal>),
    /// The connection ended before the handshake was complete.
    #[error("the handshake failed: {closed}{}", cause(.source))]
    Handshake {
        /// How it ended.
        closed: Closed,
        /// What the transport said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The stream could not be set up.
    #[error("cannot set up the stream: {0}")]
    Setup(io::Error),
    /// The system gave no random numbers for the masking keys.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

/// Why a client that asked is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It was rejected with this status, as the callback of [`Acceptor::accept_with`](crate::Acceptor::accept_with) wanted.
    #[error("the request was rejected with status {0}")]
    Rejected(u16),
    /// The callback's answer does not fit the request; the client was told 500.
    #[error("the answer does not fit the request, which was answered with status 500: {0}")]
    Answer(#[from] sansocket::connection::AcceptError),
    /// The connection ended before the handshake was complete; a faulty request has been answered.
    #[error("the handshake failed: {closed}{}", cause(.source))]
    Handshake {
        /// How it ended.
        closed: Closed,
        /// What the transport said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The stream could not be set up.
    #[error("cannot set up the stream: {0}")]
    Setup(io::Error),
    /// The system gave no random numbers.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

/// Why a message was not received or not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is over, and [`Closed`] tells how; [`recv`](crate::WebSocket::recv) reports only an end that is not clean so.
    #[error("the connection is over: {0}")]
    Closed(Closed),
    /// The connection is over because the transport failed.
    #[error("the connection is over: {closed}: {source}")]
    Transport {
        /// How it ended.
        closed: Closed,
        /// What the transport said.
        source: Arc<io::Error>,
    },
    /// The transport failed while it was written to. How the connection ended is told by the next [`recv`](crate::WebSocket::recv),
    /// after the messages that arrived before.
    #[error("the message did not leave: {0}; receive to learn how the connection ended")]
    Broken(Arc<io::Error>),
    /// The order was refused, and nothing was sent.
    #[error("{}{}", .0, send_hint(.0))]
    Send(#[from] SendError),
}

impl Error {
    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed(closed) | Self::Transport { closed, .. } => Some(closed),
            Self::Broken(_) | Self::Send(_) => None,
        }
    }
}

fn cause(source: &Option<Arc<io::Error>>) -> String {
    source.as_ref().map(|source| format!(": {source}")).unwrap_or_default()
}

fn refusal_hint(refusal: &Refusal) -> String {
    match refusal.status {
        300..=399 => match refusal.location() {
            Some(location) => format!("; it points to {location}, connect there if you trust it"),
            None => String::new(),
        },
        401 => "; it wants credentials, in an Authorization header".into(),
        403 => "; it may want another Origin header, or credentials".into(),
        404 => "; check the path of the URL".into(),
        429 | 503 => "; try again later".into(),
        _ => String::new(),
    }
}

fn send_hint(error: &SendError) -> &'static str {
    match error {
        SendError::NotOpen(_) => ": receive to learn why",
        _ => "",
    }
}
