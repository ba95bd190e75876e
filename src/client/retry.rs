//! Why there is no connection, and whether to try again.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::connection::{CloseCause, Closed, Side};
use crate::frame::CloseCode;
use crate::handshake::{RedirectError, Refusal, RetryAfter};

/// Why an attempt failed, or a connection was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// There was no stream to the server.
    #[error("{0}")]
    Connect(ConnectFailure),
    /// There was no stream to the server within [`ClientOptions::connect_timeout`](super::ClientOptions::connect_timeout).
    #[error("no stream to the server within {0:?}")]
    ConnectTimedOut(Duration),
    /// Whoever was asked what to connect to failed to say so ([`ClientConfig::asks_before_attempt`](super::ClientConfig::asks_before_attempt)).
    #[error("no request to connect with: {0}")]
    Prepare(String),
    /// The server answered with another status than 101.
    #[error("refused with status {}", .0.status)]
    Refused(Box<Refusal>),
    /// The server redirects to where the client may not go.
    #[error("redirect that is not followed: {0}")]
    Redirect(#[from] RedirectError),
    /// The connection ended.
    #[error("{0}")]
    Closed(Closed),
    /// No sign of life came in time.
    #[error("the heartbeat was lost")]
    HeartbeatLost,
    /// The server refused the credentials of the first message, with these words.
    #[error("the credentials were refused: {0}")]
    AuthRefused(String),
    /// The server did not answer the credentials in time.
    #[error("the credentials were not answered in time")]
    AuthTimedOut,
}

/// Why there was no stream to the server, as the adapter saw it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectFailure {
    /// What went wrong.
    pub kind: ConnectFailureKind,
    /// The same in words.
    pub message: String,
}

/// What went wrong on the way to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFailureKind {
    /// The name has no address, or the network is down.
    Resolve,
    /// TCP: refused, unreachable, reset.
    Io,
    /// TLS: the certificate, or what the two could not agree on.
    Tls,
    /// A proxy did not open a tunnel.
    Proxy,
    /// A proxy wants credentials.
    ProxyCredentials,
    /// The request or its proxy cannot be used at all.
    Unusable,
}

/// What to do about a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after a delay.
    Retry,
    /// Try again with new credentials; without any, stop.
    NeedsCredentials,
    /// Stop: it would fail again.
    Stop,
}

/// What is worth retrying.
///
/// By default, what may pass by itself is, and what another attempt would meet again is not:
///
/// | cause | verdict | reason |
/// |---|---|---|
/// | no address, no TCP, proxy down, timeouts | retry | networks come back |
/// | TLS | retry | captive portals and wrong clocks pass, and each attempt checks the certificate anew |
/// | proxy wants credentials, 401, 403, 407, close codes 3000, 3003 (registered with IANA for that) and 4001 (by habit), credentials refused | new credentials | the same are refused again |
/// | 408, 425, 429, and 5xx but for 501 and 505 | retry | the server says that it passes; with `Retry-After`, when |
/// | other statuses, redirects that are not followed | stop | the server means it |
/// | close codes 1000, 1003, 1008, 1009 and 1010 by the peer | stop | it is done with us, or would close again for the same reason |
/// | other close codes, no close code, a broken stream, deadlines, heartbeat lost, protocol errors | retry | the next connection may fare better |
///
/// ```
/// use sansocket::client::{RetryPolicy, Verdict};
///
/// let policy = RetryPolicy::default()
///     .status(404..=404, Verdict::Retry) // a deployment that takes a moment
///     .close_code(4000..=4099, Verdict::Stop); // this server's way to say "never again"
/// ```
#[derive(Clone, Debug, Default)]
pub struct RetryPolicy {
    statuses: Vec<(RangeInclusive<u16>, Verdict)>,
    close_codes: Vec<(RangeInclusive<u16>, Verdict)>,
    connect: Vec<(ConnectFailureKind, Verdict)>,
}

impl RetryPolicy {
    /// Sets what these statuses mean. What is set later goes first.
    #[must_use]
    pub fn status(mut self, statuses: RangeInclusive<u16>, verdict: Verdict) -> Self {
        self.statuses.push((statuses, verdict));
        self
    }

    /// Sets what these close codes of the peer mean; 1005 is a Close frame without a code. What is set later goes first.
    #[must_use]
    pub fn close_code(mut self, codes: RangeInclusive<u16>, verdict: Verdict) -> Self {
        self.close_codes.push((codes, verdict));
        self
    }

    /// Sets what it means that there is no stream for such a reason.
    #[must_use]
    pub fn connect_failure(mut self, kind: ConnectFailureKind, verdict: Verdict) -> Self {
        self.connect.push((kind, verdict));
        self
    }

    /// What to do.
    pub fn verdict(&self, cause: &Cause) -> Verdict {
        match cause {
            Cause::Connect(failure) => {
                let set = self.connect.iter().rev().find(|(kind, _)| *kind == failure.kind);
                set.map_or_else(|| of_connect_failure(failure.kind), |(_, verdict)| *verdict)
            }
            Cause::Refused(refusal) => {
                last_in(&self.statuses, refusal.status).unwrap_or_else(|| of_status(refusal.status))
            }
            Cause::Closed(closed) if closed.by == Side::Remote && closed.cause == CloseCause::CloseFrame => {
                last_in(&self.close_codes, closed.code.0).unwrap_or_else(|| of_close_code(closed.code))
            }
            Cause::Redirect(_) => Verdict::Stop,
            Cause::AuthRefused(_) => Verdict::NeedsCredentials,
            Cause::Closed(_)
            | Cause::ConnectTimedOut(_)
            | Cause::Prepare(_)
            | Cause::HeartbeatLost
            | Cause::AuthTimedOut => Verdict::Retry,
        }
    }
}

impl Cause {
    /// How long the server asks to wait. A date needs to know what time it is: `since_epoch`, since 1970-01-01T00:00:00Z.
    pub fn retry_after(&self, since_epoch: Option<Duration>) -> Option<Duration> {
        let Self::Refused(refusal) = self else {
            return None;
        };
        match refusal.retry_after()? {
            RetryAfter::Delay(delay) => Some(delay),
            RetryAfter::Date(date) => {
                let date = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                Some(date.saturating_sub(since_epoch?))
            }
        }
    }
}

fn last_in(table: &[(RangeInclusive<u16>, Verdict)], number: u16) -> Option<Verdict> {
    table.iter().rev().find(|(range, _)| range.contains(&number)).map(|(_, verdict)| *verdict)
}

fn of_connect_failure(kind: ConnectFailureKind) -> Verdict {
    match kind {
        ConnectFailureKind::ProxyCredentials => Verdict::NeedsCredentials,
        ConnectFailureKind::Unusable => Verdict::Stop,
        _ => Verdict::Retry,
    }
}

fn of_status(status: u16) -> Verdict {
    match status {
        401 | 403 | 407 => Verdict::NeedsCredentials,
        501 | 505 => Verdict::Stop,
        408 | 425 | 429 | 500..=599 => Verdict::Retry,
        _ => Verdict::Stop,
    }
}

fn of_close_code(code: CloseCode) -> Verdict {
    match code.0 {
        1000 | 1003 | 1008 | 1009 | 1010 => Verdict::Stop,
        3000 | 3003 | 4001 => Verdict::NeedsCredentials,
        _ => Verdict::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::OwnedHeaders;

    fn refused(status: u16, retry_after: Option<&str>) -> Cause {
        let mut headers = OwnedHeaders::new();
        if let Some(value) = retry_after {
            headers.push("Retry-After", value).unwrap();
        }
        Cause::Refused(Box::new(Refusal { status, headers, body: Default::default(), body_truncated: false }))
    }

    fn closed(by: Side, code: u16, cause: CloseCause) -> Cause {
        Cause::Closed(Closed { by, code: CloseCode(code), reason: String::new(), peer_code: None, clean: true, cause })
    }

    #[test]
    fn what_may_pass_by_itself_is_retried() {
        use Verdict::{NeedsCredentials, Retry, Stop};
        let policy = RetryPolicy::default();
        let statuses = [(200, Stop), (302, Stop), (400, Stop), (401, NeedsCredentials), (403, NeedsCredentials)];
        let more = [(404, Stop), (408, Retry), (429, Retry), (500, Retry), (501, Stop), (503, Retry), (505, Stop)];
        for (status, verdict) in statuses.into_iter().chain(more) {
            assert_eq!(policy.verdict(&refused(status, None)), verdict, "{status}");
        }
        let codes = [(1000, Stop), (1001, Retry), (1005, Retry), (1008, Stop), (1011, Retry), (1012, Retry)];
        for (code, verdict) in codes.into_iter().chain([(4000, Retry), (4001, NeedsCredentials), (4999, Retry)]) {
            assert_eq!(policy.verdict(&closed(Side::Remote, code, CloseCause::CloseFrame)), verdict, "{code}");
        }
        assert_eq!(policy.verdict(&closed(Side::Remote, 1006, CloseCause::EndOfStream)), Retry);
        // Only the code of a Close that the peer began says what the peer wants.
        assert_eq!(policy.verdict(&closed(Side::Local, 1008, CloseCause::CloseFrame)), Retry);
        assert_eq!(policy.verdict(&closed(Side::Remote, 1008, CloseCause::TransportFailed)), Retry);
        assert_eq!(policy.verdict(&Cause::HeartbeatLost), Retry);
        assert_eq!(policy.verdict(&Cause::AuthRefused(String::new())), NeedsCredentials);
        for (kind, verdict) in [
            (ConnectFailureKind::Io, Retry),
            (ConnectFailureKind::ProxyCredentials, NeedsCredentials),
            (ConnectFailureKind::Unusable, Stop),
        ] {
            assert_eq!(policy.verdict(&Cause::Connect(ConnectFailure { kind, message: String::new() })), verdict);
        }
    }

    #[test]
    fn what_is_set_later_goes_first() {
        let policy = RetryPolicy::default()
            .status(400..=499, Verdict::Retry)
            .status(404..=404, Verdict::Stop)
            .close_code(4000..=4099, Verdict::Stop)
            .connect_failure(ConnectFailureKind::Tls, Verdict::Stop);
        assert_eq!(policy.verdict(&refused(403, None)), Verdict::Retry);
        assert_eq!(policy.verdict(&refused(404, None)), Verdict::Stop);
        for (code, verdict) in
            [(3999, Verdict::Retry), (4000, Verdict::Stop), (4099, Verdict::Stop), (4100, Verdict::Retry)]
        {
            assert_eq!(policy.verdict(&closed(Side::Remote, code, CloseCause::CloseFrame)), verdict, "{code}");
        }
        let tls = ConnectFailure { kind: ConnectFailureKind::Tls, message: String::new() };
        assert_eq!(policy.verdict(&Cause::Connect(tls)), Verdict::Stop);
    }

    /// The three forms of RFC 9110 section 5.6.7, at 1994-11-06T08:49:07Z, half a minute before.
    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let clock = Some(Duration::from_secs(784_111_747));
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(refused(503, Some(date)).retry_after(clock), Some(Duration::from_secs(30)), "{date}");
            assert_eq!(refused(503, Some(date)).retry_after(None), None, "without a clock a date says nothing");
            let later = clock.map(|clock| clock + Duration::from_secs(31));
            assert_eq!(refused(503, Some(date)).retry_after(later), Some(Duration::ZERO), "it has passed");
        }
        assert_eq!(refused(429, Some("120")).retry_after(None), Some(Duration::from_secs(120)));
        for nonsense in ["", "-1", "soon", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(refused(429, Some(nonsense)).retry_after(clock), None, "{nonsense:?}");
        }
    }
}
