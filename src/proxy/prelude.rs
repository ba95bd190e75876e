//! The machine that all preludes share.
//!
//! ```text
//! Asking ── answered yes ──▶ Answered ── request written ──▶ Done
//!    │                          │ end of stream, failure, deadline ▲
//!    └──────────────────────────┴──────────────────────────────────┘ refused, malformed
//! ```
//!
//! *Answered* is left at once unless a proxy answers before it has the whole request, whose rest must not end up in the tunnel.

use std::fmt;
use std::time::{Duration, Instant};

use super::http::{HttpConnect, encode_connect};
use super::socks5::Socks5;
use super::{Credentials, PreludeConfig, PreludeError, ProxyError, Target};
use crate::buffer::RecvBuf;
use crate::handshake::OwnedHeaders;

/// A tunnel through a proxy, in the making. The [module](super) tells how to drive it.
///
/// Its `Debug` form shows no byte of what is sent.
pub struct Prelude {
    state: State,
    outgoing: Vec<u8>,
    /// How much of `outgoing` the transport took.
    sent: usize,
    deadline: Option<Deadline>,
    /// Why nothing more will come, from the moment that this is known until the next poll.
    end: Option<ProxyError>,
}

enum State {
    Asking(Exchange),
    /// The proxy has agreed; the request is not yet written to its end.
    Answered,
    Done,
}

enum Exchange {
    Http(HttpConnect),
    Socks5(Socks5),
}

struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Prelude {
    /// Asks an HTTP proxy for a tunnel to `target`: the request is in [`outgoing`](Self::outgoing) at once. RFC 9110 section 9.3.6.
    ///
    /// The credentials become `Proxy-Authorization: Basic` (RFC 7617), unless `headers` has that field; `headers` are added to
    /// the request. Any 2xx opens the tunnel, interim answers are passed over, and everything else is
    /// [`ProxyError::Refused`].
    ///
    /// # Errors
    ///
    /// [`PreludeError::UserHasColon`]; [`PreludeError::Field`] for `Host`, `Connection`, `Upgrade`, `Content-Length`,
    /// `Transfer-Encoding`, `Trailer` and `TE`.
    pub fn http_connect(
        target: &Target,
        credentials: Option<&Credentials>,
        headers: &OwnedHeaders,
        config: &PreludeConfig,
        now: Instant,
    ) -> Result<Self, PreludeError> {
        let request = encode_connect(target, credentials, headers)?;
        Ok(Self::new(Exchange::Http(HttpConnect::new(config)), request, config, now))
    }

    /// Asks a SOCKS5 proxy to connect to `target`: the greeting is in [`outgoing`](Self::outgoing) at once. RFC 1928.
    ///
    /// A name is resolved by the proxy. With credentials, the proxy may choose whether it wants them (RFC 1929); without, only
    /// a proxy that wants none will do.
    ///
    /// # Errors
    ///
    /// [`PreludeError::HostTooLong`], [`PreludeError::UserTooLong`] and [`PreludeError::PasswordTooLong`]: each has a length of one byte.
    pub fn socks5(
        target: &Target,
        credentials: Option<&Credentials>,
        config: &PreludeConfig,
        now: Instant,
    ) -> Result<Self, PreludeError> {
        let (exchange, greeting) = Socks5::new(target, credentials)?;
        Ok(Self::new(Exchange::Socks5(exchange), greeting, config, now))
    }

    fn new(exchange: Exchange, outgoing: Vec<u8>, config: &PreludeConfig, now: Instant) -> Self {
        let deadline = config.timeout.and_then(|timeout| Some(Deadline { at: now.checked_add(timeout)?, timeout }));
        Self { state: State::Asking(exchange), outgoing, sent: 0, deadline, end: None }
    }

    /// The next bytes for the proxy; empty when there are none.
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// The transport took the first `n` bytes of the output. Poll for the outcome then.
    pub fn advance_outgoing(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n).min(self.outgoing.len());
    }

    /// The proxy's direction of the transport is at its end. Poll for the outcome then: what arrived before may hold it.
    pub fn handle_eof(&mut self) {
        self.end(ProxyError::EndOfStream);
    }

    /// The transport failed. Poll for the outcome then: what arrived before may hold it.
    pub fn handle_transport_error(&mut self) {
        self.end(ProxyError::TransportFailed);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest; `None` when nothing is due ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.as_ref().map(|deadline| deadline.at)
    }

    /// Gives up if the deadline has passed at `now`. Poll for the outcome then.
    ///
    /// Read first: a byte that arrived in time counts only when it is in the buffer that is polled next. What there is of a
    /// refusal is reported as one.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(Deadline { timeout, .. }) = self.deadline.take_if(|deadline| deadline.at <= now) {
            self.end(ProxyError::TimedOut { timeout });
        }
    }

    /// Whether what arrives is of use. False once the outcome has been reported.
    pub fn wants_read(&self) -> bool {
        self.end.is_none() && !matches!(self.state, State::Done)
    }

    /// How it ended: reported once, when it is known. `None` before, and after.
    ///
    /// Takes from `input` the proxy's answers and not a byte more. When it fails, what belongs to the failure stays.
    pub fn poll_outcome(&mut self, input: &mut RecvBuf) -> Option<Result<(), ProxyError>> {
        if let State::Asking(exchange) = &mut self.state {
            let is_all = self.end.is_some();
            if self.sent == self.outgoing.len() {
                self.outgoing.clear();
                self.sent = 0;
            }
            let answered = match exchange {
                Exchange::Http(exchange) => exchange.step(input, is_all),
                Exchange::Socks5(exchange) => exchange.step(input, &mut self.outgoing),
            };
            match answered {
                Some(Ok(())) => self.state = State::Answered,
                Some(Err(error)) => return self.finish(Err(error)),
                None => {}
            }
        }
        if matches!(self.state, State::Answered) && self.outgoing().is_empty() {
            return self.finish(Ok(()));
        }
        let end = self.end.take()?;
        self.finish(Err(end))
    }

    fn end(&mut self, why: ProxyError) {
        if !matches!(self.state, State::Done) {
            self.deadline = None;
            self.end.get_or_insert(why);
        }
    }

    /// Everything but the outcome is given up, what was to be sent included.
    fn finish(&mut self, outcome: Result<(), ProxyError>) -> Option<Result<(), ProxyError>> {
        *self = Self { state: State::Done, outgoing: Vec::new(), sent: 0, deadline: None, end: None };
        Some(outcome)
    }
}

impl fmt::Debug for Prelude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Asking(Exchange::Http(_)) => "asking an HTTP proxy",
            State::Asking(Exchange::Socks5(_)) => "asking a SOCKS5 proxy",
            State::Answered => "answered",
            State::Done => "done",
        };
        f.debug_struct("Prelude")
            .field("state", &state)
            .field("outgoing_len", &self.outgoing().len())
            .field("deadline", &self.poll_timeout())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
