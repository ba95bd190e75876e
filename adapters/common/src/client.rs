//! What a client that outlives its connections is told and tells, besides its handles: its configuration, events, outcomes, ends.

pub use sansocket::client::{
    Attempt, Auth, AuthAnswer, Backoff, BackoffConfig, Beat, Cause, ClientConfig, ClientEvent, ClientOptions,
    ClientState, ConnectFailure, ConnectFailureKind, Delivery, DropReason, End, Heartbeat, HeartbeatConfig, Jitter,
    Metrics, Outcome, Overflow, Prepared, QueueConfig, RejectReason, Rejected, RetryPolicy, Token, Verdict,
};

#[cfg(feature = "json")]
pub use sansocket::client::NotSent;
#[cfg(feature = "json")]
pub use sansocket::json::{Envelope, JsonConfig, JsonEvent, Payload, RequestFailure};

use sansocket::Closed;
use sansocket::proxy::ProxyError;

use crate::{ConnectError, TlsError};

/// A client has ended of itself: it stopped or gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has ended: {0}")]
pub struct Ended(pub End);

impl Ended {
    /// What an end is to whoever receives: nothing to complain about when somebody closed or aborted the client, or the server closed with 1000.
    ///
    /// # Errors
    /// [`Ended`] for all others.
    pub fn check(end: &End) -> Result<(), Self> {
        match end {
            End::Closed(_) | End::Aborted => Ok(()),
            End::Stopped(Cause::Closed(closed)) if is_farewell(closed) => Ok(()),
            End::Stopped(_) | End::GaveUp(_) => Err(Self(end.clone())),
        }
    }
}

fn is_farewell(closed: &Closed) -> bool {
    closed.clean && closed.peer_code == Some(sansocket::CloseCode::NORMAL)
}

/// Why a request has no answer.
#[cfg(feature = "json")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It was not accepted.
    #[error(transparent)]
    NotSent(#[from] NotSent),
    /// It was, and failed.
    #[error(transparent)]
    Failed(#[from] RequestFailure),
}

/// So many events were not taken in time, and are lost to whoever reads this; those that follow are complete again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} events were missed")]
pub struct Missed(pub u64);

/// What is to be found out before an attempt: what to connect to. Answered by a [`Prepared`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preparation {
    /// Why the last connection or attempt ended, if there was one.
    pub cause: Option<Cause>,
    /// Whether the credentials were refused: without new ones the client stops.
    pub needs_credentials: bool,
}

impl Preparation {
    /// As the core asks.
    pub fn new(cause: Option<Cause>, needs_credentials: bool) -> Self {
        Self { cause, needs_credentials }
    }
}

impl ConnectError {
    /// This, to a client that judges whether another attempt is worth it.
    pub fn to_failure(&self) -> ConnectFailure {
        let kind = match self {
            Self::Request(_) | Self::ProxyUrl(_) | Self::ProxyRequest(_) => ConnectFailureKind::Unusable,
            Self::Proxy { source: ProxyError::Refused(refusal), .. } if refusal.status == 407 => {
                ConnectFailureKind::ProxyCredentials
            }
            Self::Proxy { source: ProxyError::NoAcceptableMethod | ProxyError::LoginRefused { .. }, .. } => {
                ConnectFailureKind::ProxyCredentials
            }
            Self::Proxy { .. } => ConnectFailureKind::Proxy,
            Self::Resolve { .. } => ConnectFailureKind::Resolve,
            Self::Tls { source: TlsError::Handshake(_) | TlsError::Alpn { .. }, .. } => ConnectFailureKind::Tls,
            // What is not built in, another attempt would not find either.
            Self::Tls { .. } => ConnectFailureKind::Unusable,
            Self::Io { .. }
            | Self::TimedOut { .. }
            | Self::Refused(_)
            | Self::Redirect { .. }
            | Self::Handshake { .. }
            | Self::Setup(_)
            | Self::Seed(_) => ConnectFailureKind::Io,
        };
        ConnectFailure { kind, message: self.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansocket::handshake::OwnedHeaders;
    use sansocket::{Config, Connection, RecvBuf, Refusal, Role};
    use std::io;
    use std::time::Instant;

    fn refused_by_proxy(status: u16) -> ConnectError {
        let refusal = Refusal { status, headers: OwnedHeaders::new(), body: Default::default(), body_truncated: false };
        proxy(ProxyError::Refused(Box::new(refusal)))
    }

    fn proxy(source: ProxyError) -> ConnectError {
        ConnectError::Proxy { host: "p".into(), port: 1, source }
    }

    fn tls(source: TlsError) -> ConnectError {
        ConnectError::Tls { host: "h".into(), port: 1, source }
    }

    #[test]
    fn what_would_fail_again_is_told_from_what_may_pass() {
        let io = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let table = [
            (ConnectError::Io { host: "h".into(), port: 1, source: io() }, ConnectFailureKind::Io),
            (ConnectError::Resolve { host: "h".into(), source: io() }, ConnectFailureKind::Resolve),
            (refused_by_proxy(407), ConnectFailureKind::ProxyCredentials),
            (refused_by_proxy(502), ConnectFailureKind::Proxy),
            (proxy(ProxyError::LoginRefused { status: 1 }), ConnectFailureKind::ProxyCredentials),
            (tls(TlsError::Handshake(io())), ConnectFailureKind::Tls),
            (tls(TlsError::NotBuilt), ConnectFailureKind::Unusable),
        ];
        for (error, kind) in table {
            assert_eq!(error.to_failure(), ConnectFailure { kind, message: error.to_string() });
        }
    }

    /// The report of a connection that the server has closed.
    fn closed_with(code: u16) -> Closed {
        let (now, mut input) = (Instant::now(), RecvBuf::new());
        let mut connection = Connection::open(Role::Client, Config::default(), [7; 32], now);
        let [high, low] = code.to_be_bytes();
        input.extend_from_slice(&[0x88, 2, high, low]);
        while connection.poll_event(now, &mut input).is_some() {}
        connection.advance_outgoing(now, connection.buffered_len());
        connection.handle_eof();
        connection.poll_event(now, &mut input);
        connection.closed().expect("the closing handshake is complete").clone()
    }

    #[test]
    fn an_end_that_somebody_wanted_is_no_error() {
        let by_server = |code: u16| End::Stopped(Cause::Closed(closed_with(code)));
        for (end, is_wanted) in [
            (End::Closed(None), true),
            (End::Aborted, true),
            (by_server(1000), true),
            (by_server(1008), false),
            (End::GaveUp(Cause::HeartbeatLost), false),
            (End::Stopped(Cause::HeartbeatLost), false),
        ] {
            assert_eq!(Ended::check(&end).is_ok(), is_wanted, "{end:?}");
        }
    }
}
