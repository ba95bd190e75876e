//! What can go wrong, and what to do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sansocket::client::Attempt;
use sansocket::handshake::{RedirectError, RequestError};
use sansocket::proxy::{PreludeError, ProxyError, ProxyUrlError};
use sansocket::{Closed, Refusal, SendError};

use crate::TlsError;

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, a header field or a subprotocol cannot be sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The environment names a proxy that cannot be used. Going to the server directly would be against what was wanted.
    #[error("the proxy of the environment cannot be used: {0}")]
    ProxyUrl(#[from] ProxyUrlError),
    /// The proxy cannot be asked for this server.
    #[error("the proxy cannot be asked for this server: {0}")]
    ProxyRequest(#[from] PreludeError),
    /// The proxy did not open a tunnel to the server.
    #[error("no way through the proxy at {host}:{port}: {source}{}", proxy_hint(.source))]
    Proxy {
        /// The host of the proxy.
        host: String,
        /// Its port.
        port: u16,
        /// What it said, with its status if it refused.
        source: ProxyError,
    },
    /// The host has no address.
    #[error("cannot resolve {host}: {source}; check the name, and whether there is a network")]
    Resolve {
        /// The host of the URL, or of the proxy.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// No address of the host could be connected to.
    #[error("cannot connect to {host}:{port}: {source}{}", io_hint(.source))]
    Io {
        /// The host of the URL, or of the proxy.
        host: String,
        /// The port.
        port: u16,
        /// What the system says of the last address.
        source: io::Error,
    },
    /// There was no stream to the server in time.
    #[error("no connection to {host}:{port}{} within {timeout:?}: is it up, and does a firewall let the port through?", by_way_of(.proxy))]
    TimedOut {
        /// The host of the URL.
        host: String,
        /// Its port.
        port: u16,
        /// The proxy on the way, if any, as a URL without credentials.
        proxy: Option<String>,
        /// The limit, [`ClientOptions::connect_timeout`](sansocket::ClientOptions::connect_timeout).
        timeout: Duration,
    },
    /// There is no TLS with the server.
    #[error("{host}:{port}: {source}{}", tls_hint(.source))]
    Tls {
        /// The host of the URL.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: TlsError,
    },
    /// The server answered, but with another status than 101.
    #[error("the server refused the handshake with status {}{}", .0.status, refusal_hint(.0))]
    Refused(Box<Refusal>),
    /// The server redirects to where the client may not go.
    #[error("the server answered with redirect {}, which is not followed: {source}", .refusal.status)]
    Redirect {
        /// The redirect.
        refusal: Box<Refusal>,
        /// Why it is not followed.
        source: RedirectError,
    },
    /// The connection ended before the handshake was complete.
    #[error("the handshake failed: {closed}{}", cause(.source))]
    Handshake {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The stream could not be set up.
    #[error("cannot set up the stream: {0}")]
    Setup(io::Error),
    /// The system gave no random numbers for the masking keys.
    #[error("no randomness from the operating system: {0}")]
    Seed(io::Error),
}

impl ConnectError {
    /// For an attempt that took longer than `timeout`.
    pub fn timed_out(attempt: &Attempt, timeout: Duration) -> Self {
        let url = attempt.request().url();
        let proxy = attempt.proxy().ok().flatten().map(ToString::to_string);
        Self::TimedOut { host: url.host().into(), port: url.port(), proxy, timeout }
    }
}

/// Why a client that asked is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It was rejected with this status, as the application wanted.
    #[error("the request was rejected with status {0}")]
    Rejected(u16),
    /// The application's answer does not fit the request.
    #[error("the answer does not fit the request: {0}")]
    Answer(#[from] sansocket::connection::AcceptError),
    /// The connection ended before the handshake was complete; a faulty request has been answered.
    #[error("the handshake failed: {closed}{}", cause(.source))]
    Handshake {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
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
    /// The connection is over; `closed` says how. From `recv` you get this only if the end was not clean: a clean one is `None`.
    #[error("the connection is over: {closed}{}", cause(.source))]
    Closed {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The stream failed while it was written to, by a sender that does not read. How the connection ended is told by the next receive,
    /// after the messages that arrived before.
    #[error("the message did not leave: {0}; receive to learn how the connection ended")]
    Broken(Arc<io::Error>),
    /// The order was refused, and nothing was sent.
    #[error("{}{}", .0, send_hint(.0))]
    Send(#[from] SendError),
    /// A piece was given to the writer of a message that has finished it.
    #[error("the message has been finished")]
    MessageFinished,
}

impl Error {
    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed { closed, .. } => Some(closed),
            Self::Broken(_) | Self::Send(_) | Self::MessageFinished => None,
        }
    }

    /// This, to whoever reads a message as a byte stream: of the kind `UnexpectedEof`, since a message that breaks off is no end of file.
    pub fn into_read_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, self)
    }

    /// This, to whoever writes a message as a byte stream: of the kind `BrokenPipe`, unless the fault is the writer's.
    pub fn into_write_error(self) -> io::Error {
        let kind = match &self {
            Self::Send(SendError::TextNotUtf8) => io::ErrorKind::InvalidData,
            Self::MessageFinished => io::ErrorKind::InvalidInput,
            Self::Closed { .. } | Self::Broken(_) | Self::Send(_) => io::ErrorKind::BrokenPipe,
        };
        io::Error::new(kind, self)
    }
}

/// Leads an attempt to where a refusal points, if it may go there.
///
/// # Errors
/// [`ConnectError::Refused`] when the refusal is the answer, [`ConnectError::Redirect`] when it points to where the client may not go.
pub fn follow(attempt: &mut Attempt, refusal: Box<Refusal>) -> Result<(), ConnectError> {
    match attempt.redirect(&refusal) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectError::Refused(refusal)),
        Err(source) => Err(ConnectError::Redirect { refusal, source }),
    }
}

fn cause(source: &Option<Arc<io::Error>>) -> String {
    source.as_ref().map(|source| format!(": {source}")).unwrap_or_default()
}

fn by_way_of(proxy: &Option<String>) -> String {
    proxy.as_ref().map(|proxy| format!(" by way of the proxy {proxy}")).unwrap_or_default()
}

fn io_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "; is the server running?",
        _ => "",
    }
}

/// What a failure of TLS says of the server, or of its URL.
fn tls_hint(error: &TlsError) -> &'static str {
    #[cfg(feature = "rustls")]
    if let TlsError::Handshake(error) = error {
        use rustls::{CertificateError, Error};
        return match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(Error::InvalidCertificate(error)) => match error {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "; the certificate is for another name: connect by that name"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "; the certificate has expired: it is the server's to renew, unless this machine's clock is wrong"
                }
                _ => "; trust its issuer, if you know who that is",
            },
            Some(Error::InvalidMessage(_)) => "; is it a server without TLS? then the URL begins with ws://",
            _ => "",
        };
    }
    let _ = error;
    ""
}

fn refusal_hint(refusal: &Refusal) -> String {
    match refusal.status {
        300..=399 => match refusal.location() {
            Some(location) => format!("; it points to {location}: connect there if you trust it, or allow redirects"),
            None => String::new(),
        },
        401 => "; it wants credentials, in an Authorization header".into(),
        403 => "; it may want another Origin header, or credentials".into(),
        404 => "; check the path of the URL".into(),
        429 | 503 => "; try again later".into(),
        _ => String::new(),
    }
}

fn proxy_hint(error: &ProxyError) -> &'static str {
    match error {
        ProxyError::Refused(refusal) if refusal.status == 407 => "; it wants a user and a password",
        ProxyError::Refused(refusal) if refusal.status == 403 => "; it may not allow this host or port",
        ProxyError::NoAcceptableMethod => "; it may want a user and a password",
        _ => "",
    }
}

fn send_hint(error: &SendError) -> &'static str {
    match error {
        SendError::NotOpen(_) => ": receive to learn why",
        _ => "",
    }
}
