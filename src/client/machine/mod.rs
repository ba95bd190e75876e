//! A client that outlives its connections, as a state machine: what arrives and what time it is go in; orders for the transport, events and the
//! next deadline come out.
//!
//! # States
//!
//! ```text
//!              due                  asked                    connected             101
//! Waiting ──────────▶ (Preparing) ────────▶ Connecting ───────────────▶ handshake ─────▶ Authenticating ──▶ Open
//!    ▲                     │                    │ ▲                         │    │             │ accepted      │
//!    │                     │ failed             │ └─────────────────────────┘    │             │               │
//!    │                     ▼                    ▼          redirected            ▼             ▼               ▼
//!    └──────────────── is it worth retrying, and how long is there still to try? ◀──────── connection over ────┘
//!                                               │ no; or closed, or aborted
//!                                               ▼
//!                                             Closed
//! ```
//!
//! *Preparing* is passed by unless the client asks before each attempt, *Authenticating* unless there are credentials to send.
//!
//! # The loop
//!
//! It is that of the [connection](crate::connection), with two more orders. Again and again:
//!
//! 1. Obey [`poll_order`](Client::poll_order): prepare, connect, shut down, drop. Each stream has a [`RecvBuf`] of its own, empty but for what
//!    arrived behind a proxy's answer.
//! 2. Read as long as [`wants_read`](Client::wants_read), tell the end by [`handle_eof`](Client::handle_eof) and a failure by
//!    [`handle_transport_error`](Client::handle_transport_error).
//! 3. Call [`poll_event`](Client::poll_event) until it returns `None`.
//! 4. Write [`outgoing`](Client::outgoing), and tell by [`advance_outgoing`](Client::advance_outgoing). When something went, go back to 3.
//! 5. When [`poll_timeout`](Client::poll_timeout) is due, call [`handle_timeout`](Client::handle_timeout).
//!
//! It is over after [`ClientEvent::Ended`], when there is no order left. Any other order of calls is safe: it may wait longer than it needs to.
//! Nothing new is begun while events wait to be polled, so that they are bounded, too.
//!
//! # What is promised of messages
//!
//! They leave in the order in which they were accepted, and only while the connection is open and authenticated. Each has a [`Token`] and exactly one
//! [`Outcome`]. One that the transport has not taken whole when a connection dies goes out first on the next, since the peer cannot have
//! received it; one that it has may have arrived, which nobody can know, and is sent again only with
//! [`Delivery::AtLeastOnce`](super::Delivery::AtLeastOnce) and [`Delivery::Acknowledged`](super::Delivery::Acknowledged).

mod link;
mod progress;
mod retrying;
#[cfg(feature = "json")]
mod typed;

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::heartbeat::after;
use super::metrics::count;
use super::{
    Attempt, AuthAnswer, Backoff, Cause, ClientConfig, ClientEvent, ClientOptions, ClientState, ConnectFailure, End,
    Heartbeat, Metrics, Order, Outcome, Rejected, Token,
};
use crate::buffer::RecvBuf;
use crate::client::queue::{Queue, RejectReason};
use crate::connection::{Connection, Keystream, ReadyState, SendError, StreamOrder};
use crate::frame::{CLOSE_REASON_LEN_MAX, CloseCode};
use crate::message::Message;
use link::{AuthState, Link};
#[cfg(feature = "json")]
pub use typed::NotSent;

/// A client that outlives its connections. The page of [`client`](super) tells what it does, and how to drive it.
pub struct Client {
    /// With the heartbeat of the single connection switched off.
    options: ClientOptions,
    config: ClientConfig,
    keystream: Keystream,
    backoff: Backoff,
    heartbeat: Heartbeat,
    queue: Queue,
    state: State,
    closing: Option<Closing>,
    /// Whether the transport of a connection that is over has to be dropped, or an attempt given up.
    drop_due: bool,
    /// Whether the end has been told, or is about to be.
    is_over: bool,
    events: VecDeque<ClientEvent>,
    /// What time it was when.
    wall_clock: Option<(Instant, Duration)>,
    metrics: Metrics,
    #[cfg(feature = "json")]
    typed: Option<typed::Typed>,
}

enum State {
    Waiting { until: Instant, cause: Option<Cause> },
    Preparing { cause: Option<Cause>, ordered: bool, deadline: Option<Instant> },
    Connecting { attempt: Box<Attempt>, ordered: bool, deadline: Option<Instant> },
    Linked(Box<Link>),
    Closed,
}

/// The caller wants an end.
struct Closing {
    code: CloseCode,
    reason: String,
    /// When what has not left is dropped.
    deadline: Option<Instant>,
    /// Whether the connection closes already.
    begun: bool,
}

/// What happens to messages that have arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Messages {
    Taken,
    /// They wait in the input.
    Withheld,
}

/// What to connect to next, as [`Order::Prepare`] asks.
#[derive(Clone)]
pub enum Prepared {
    /// The same as before. The client stops when that was refused.
    Unchanged,
    /// Another request.
    Request(Box<ClientOptions>),
    /// The same request, with other credentials in the first message.
    Credentials(Message),
    /// Nothing yet, for this reason: it counts as a failed attempt.
    Failed(String),
}

impl Client {
    /// A client, about to connect at once.
    ///
    /// `seed` must be unpredictable and used for one client only: masking keys and delays come from it.
    pub fn new(options: ClientOptions, config: ClientConfig, seed: [u8; 32], now: Instant) -> Self {
        let mut keystream = Keystream::new(seed);
        let backoff_seed = keystream.take();
        #[cfg(feature = "json")]
        let (config, typed) = typed::Typed::new(config, &mut keystream);
        Self {
            options: without_heartbeat(options),
            keystream,
            backoff: Backoff::new(config.backoff.clone(), backoff_seed),
            heartbeat: Heartbeat::new(config.heartbeat.clone()),
            queue: Queue::new(config.queue.clone()),
            #[cfg(feature = "json")]
            typed,
            config,
            state: State::Waiting { until: now, cause: None },
            closing: None,
            drop_due: false,
            is_over: false,
            events: VecDeque::new(),
            wall_clock: None,
            metrics: Metrics::default(),
        }
    }

    /// Tells what time it is, since 1970-01-01T00:00:00Z: only with that, dates in `Retry-After` mean anything. Once is enough, unless
    /// the machine sleeps.
    pub fn handle_wall_clock(&mut self, now: Instant, since_epoch: Duration) {
        self.wall_clock = Some((now, since_epoch));
    }

    /// What to connect to is known.
    pub fn handle_prepared(&mut self, now: Instant, prepared: Prepared) {
        let State::Preparing { cause, ordered: true, .. } = &mut self.state else {
            return;
        };
        let cause = cause.take();
        match prepared {
            Prepared::Unchanged => {
                if let Some(cause) = cause.filter(|cause| self.needs_credentials(cause)) {
                    return self.finish(now, End::Stopped(cause));
                }
            }
            Prepared::Request(options) => self.options = without_heartbeat(*options),
            Prepared::Credentials(message) => {
                if let Some(auth) = &mut self.config.auth {
                    auth.message = message;
                }
            }
            Prepared::Failed(why) => return self.attempt_failed(now, Cause::Prepare(why)),
        }
        self.connect();
    }

    /// There is a stream to the server: the handshake begins.
    pub fn handle_connected(&mut self, now: Instant) {
        if let State::Connecting { attempt, ordered: true, .. } = &self.state {
            let connection = attempt.connection(self.keystream.take(), now);
            self.state = State::Linked(Box::new(Link::new(connection, (**attempt).clone())));
        }
    }

    /// There is no stream to the server.
    pub fn handle_connect_failed(&mut self, now: Instant, failure: ConnectFailure) {
        if matches!(self.state, State::Connecting { ordered: true, .. }) {
            self.attempt_failed(now, Cause::Connect(failure));
        }
    }

    /// The stream is at its end. Poll for events then.
    pub fn handle_eof(&mut self) {
        if let State::Linked(link) = &mut self.state {
            link.stream_ended = true;
            link.connection.handle_eof();
        }
    }

    /// The stream failed. Poll for events then.
    pub fn handle_transport_error(&mut self) {
        if let State::Linked(link) = &mut self.state {
            link.stream_ended = true;
            link.connection.handle_transport_error();
        }
    }

    /// Accepts a message: it leaves behind those that were accepted before. Never waits.
    ///
    /// # Errors
    /// [`Rejected`], with the message, when there is no room, or the client is closing.
    pub fn send(&mut self, now: Instant, message: impl Into<Message>) -> Result<Token, Rejected> {
        self.accept(now, message.into(), None)
    }

    /// The peer has received all messages up to this one, as the application knows: they are not sent again. With
    /// [`Delivery::Acknowledged`](super::Delivery::Acknowledged) nothing else confirms them.
    pub fn acknowledge(&mut self, now: Instant, token: Token) {
        self.queue.confirm(token);
        self.drain(now);
    }

    /// Sends new credentials, on this connection if it is open, and on each from now on; once those that were sent before are answered, so that
    /// each answer belongs to one message. Does nothing without [`ClientConfig::auth`].
    pub fn reauthenticate(&mut self, now: Instant, credentials: impl Into<Message>) {
        let Some(auth) = &mut self.config.auth else { return };
        auth.message = credentials.into();
        if let State::Linked(link) = &mut self.state
            && link.opened_at.is_some()
        {
            link.renew_auth();
            self.flush(now);
        }
    }

    /// Closes once all messages have left (unless with [`Delivery::AtMostOnce`](super::Delivery::AtMostOnce): were confirmed), over as many connections as
    /// that takes, but within `drain_timeout`; what has not left by then is dropped. The closing handshake comes on top of that
    /// ([`Config::close_timeout`](crate::Config::close_timeout)). Nothing is accepted any more. A second call changes nothing.
    ///
    /// # Errors
    /// [`SendError::CloseCode`] and [`SendError::CloseReasonTooLong`], as [`Connection::close`].
    pub fn close(
        &mut self,
        now: Instant,
        code: CloseCode,
        reason: &str,
        drain_timeout: Duration,
    ) -> Result<(), SendError> {
        let max = if code == CloseCode::NO_STATUS_RECEIVED { 0 } else { CLOSE_REASON_LEN_MAX };
        if code != CloseCode::NO_STATUS_RECEIVED && !code.is_allowed_on_the_wire() {
            return Err(SendError::CloseCode(code));
        }
        if reason.len() > max {
            return Err(SendError::CloseReasonTooLong { len: reason.len(), max });
        }
        if self.closing.is_none() && !matches!(self.state, State::Closed) {
            let deadline = after(now, drain_timeout);
            self.closing = Some(Closing { code, reason: reason.to_owned(), deadline, begun: false });
            self.drain(now);
        }
        Ok(())
    }

    /// Ends at once: what waits is dropped, and so is the transport.
    pub fn abort(&mut self, now: Instant) {
        self.finish(now, End::Aborted);
    }

    /// What is to be done with the transport.
    pub fn poll_order(&mut self, now: Instant) -> Option<Order> {
        if std::mem::take(&mut self.drop_due) {
            return Some(Order::Drop);
        }
        // First what has happened, then something new.
        let may_begin = self.events.is_empty();
        let timeout = self.options.time_to_connect();
        match &mut self.state {
            State::Linked(link) => {
                let order = link.connection.poll_stream()?;
                Some(match order {
                    StreamOrder::ShutdownWrite => Order::ShutdownWrite,
                    StreamOrder::Drop => Order::Drop,
                })
            }
            State::Waiting { until, .. } if may_begin && *until <= now => {
                self.begin_attempt();
                self.poll_order(now)
            }
            State::Preparing { cause, ordered: ordered @ false, deadline } if may_begin => {
                *ordered = true;
                *deadline = timeout.and_then(|timeout| after(now, timeout));
                let cause = cause.clone();
                let needs_credentials = cause.as_ref().is_some_and(|cause| self.needs_credentials(cause));
                Some(Order::Prepare { cause, needs_credentials })
            }
            State::Connecting { attempt, ordered: ordered @ false, deadline } if may_begin => {
                *ordered = true;
                *deadline = timeout.and_then(|timeout| after(now, timeout));
                count(&mut self.metrics.attempts, 1);
                Some(Order::Connect(attempt.clone()))
            }
            _ => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest; `None` when nothing is due ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let of_state = match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Preparing { deadline, .. } | State::Connecting { deadline, .. } => *deadline,
            State::Linked(link) => {
                let auth = if let AuthState::Sent { deadline } = link.auth { deadline } else { None };
                let auth = auth.filter(|_| !link.is_withheld);
                let heartbeat = if link.is_resting() { None } else { self.heartbeat.poll_timeout() };
                link.connection.poll_timeout().into_iter().chain(auth).chain(heartbeat).min()
            }
            State::Closed => return None,
        };
        let drain = self.closing.as_ref().filter(|closing| !closing.begun).and_then(|closing| closing.deadline);
        let due = of_state.into_iter().chain(drain).chain(self.queue.expires_at()).min();
        #[cfg(feature = "json")]
        let due = due.into_iter().chain(self.typed.as_ref().and_then(typed::Typed::poll_timeout)).min();
        due
    }

    /// Does what is due at `now`. Obey the orders and poll for events afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.queue.expire(now);
        #[cfg(feature = "json")]
        if let Some(typed) = &mut self.typed {
            typed.handle_timeout(now);
        }
        match &mut self.state {
            State::Waiting { until, .. } if *until <= now => self.begin_attempt(),
            State::Preparing { deadline: Some(deadline), .. } if *deadline <= now => {
                self.attempt_failed(now, Cause::Prepare("no answer in time".to_owned()));
            }
            State::Connecting { deadline: Some(deadline), .. } if *deadline <= now => {
                let timeout = self.options.time_to_connect().unwrap_or_default();
                self.drop_due = true;
                self.attempt_failed(now, Cause::ConnectTimedOut(timeout));
            }
            State::Linked(link) => {
                link.connection.handle_timeout(now);
                if link.auth.is_due(now) && !link.is_withheld {
                    link.auth = AuthState::TimedOut;
                }
                if !link.is_resting() {
                    self.heartbeat.handle_timeout(now);
                }
            }
            _ => {}
        }
        if self.closing.as_ref().is_some_and(|closing| closing.deadline.is_some_and(|deadline| deadline <= now)) {
            self.stop_draining(now);
        }
        self.drain(now);
    }

    /// The next event; `None` when there is none until something arrives, is written or falls due.
    ///
    /// `input` is what the transport of the moment has received.
    pub fn poll_event(&mut self, now: Instant, input: &mut RecvBuf) -> Option<ClientEvent> {
        self.poll(now, input, Messages::Taken)
    }

    /// Like [`poll_event`](Self::poll_event), but takes no message: what follows one that has arrived waits behind it.
    ///
    /// For an adapter whose application does not receive at the moment. Control frames are answered. While a message waits,
    /// [`wants_read`](Self::wants_read) is false, so that the peer is slowed down, and heartbeat and credentials have all the time there is: what they
    /// wait for may be stuck behind it. Once the stream has ended there is nobody to slow down, and once the client closes its end comes first: then
    /// all that has arrived is taken.
    pub fn poll_control_event(&mut self, now: Instant, input: &mut RecvBuf) -> Option<ClientEvent> {
        self.poll(now, input, Messages::Withheld)
    }

    fn poll(&mut self, now: Instant, input: &mut RecvBuf, messages: Messages) -> Option<ClientEvent> {
        loop {
            if let Some(finished) = self.queue.poll_outcome() {
                count(&mut self.metrics.messages_dropped, matches!(finished.outcome, Outcome::Dropped(_)).into());
                #[cfg(feature = "json")]
                if finished.request.is_some() {
                    self.request_left(&finished);
                    continue;
                }
                return Some(ClientEvent::Outcome(finished.token, finished.outcome));
            }
            #[cfg(feature = "json")]
            if self.is_over
                && let Some(event) = self.poll_request_failure(now)
            {
                return Some(event);
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.step(now, input, messages) {
                // Everything that arrived has been looked at: what is not answered by now is late.
                #[cfg(feature = "json")]
                return self.poll_request_failure(now);
                #[cfg(not(feature = "json"))]
                return None;
            }
        }
    }

    /// The next bytes for the transport, in one piece; empty when there are none.
    pub fn outgoing(&self) -> &[u8] {
        self.connection().map(Connection::outgoing).unwrap_or_default()
    }

    /// The next bytes for the transport, as many pieces as fill `slices`; returns how many are filled.
    pub fn outgoing_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.connection().map_or(0, |connection| connection.outgoing_slices(slices))
    }

    /// The transport is given the first `n` bytes of the output, and others have their turns before it tells how many it took: for an adapter that
    /// does not hold the client while it writes. [`advance_outgoing`](Self::advance_outgoing) tells, with 0 when it took none. Should the connection be
    /// over before that, it may have taken all of them: they count as taken, so that no message is sent twice that must not be.
    pub fn lend_outgoing(&mut self, n: usize) {
        if let State::Linked(link) = &mut self.state {
            link.lent = n.min(link.connection.buffered_len());
        }
    }

    /// The transport took the first `n` bytes of the output.
    pub fn advance_outgoing(&mut self, now: Instant, n: usize) {
        let State::Linked(link) = &mut self.state else { return };
        let n = n.min(link.connection.buffered_len());
        let was_paused = link.connection.is_paused();
        link.connection.advance_outgoing(now, n);
        link.output_written(n, &mut self.queue, &mut self.metrics);
        if was_paused {
            // Nothing was read meanwhile: that the peer takes something is the sign of life.
            self.heartbeat.handle_received(now);
        }
        if link.beat_end.take_if(|end| *end <= link.written).is_some() {
            self.heartbeat.handle_beat_sent(now);
        }
        self.flush(now);
    }

    /// Whether the transport should be read now.
    pub fn wants_read(&self) -> bool {
        self.connection().is_some_and(Connection::wants_read)
    }

    /// How far the client is.
    pub fn state(&self) -> ClientState {
        match &self.state {
            State::Closed => ClientState::Closed,
            _ if self.closing.is_some() => ClientState::Closing,
            State::Waiting { .. } => ClientState::Waiting,
            State::Preparing { .. } | State::Connecting { .. } => ClientState::Connecting,
            State::Linked(link) => match link.connection.state() {
                ReadyState::Connecting => ClientState::Connecting,
                _ if link.is_ready => ClientState::Open,
                _ => ClientState::Authenticating,
            },
        }
    }

    /// The connection of the moment.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Linked(link) => Some(&link.connection),
            _ => None,
        }
    }

    /// What the client has counted so far.
    pub fn metrics(&self, now: Instant) -> Metrics {
        let mut metrics = self.metrics;
        if let State::Linked(link) = &self.state
            && let Some(since) = link.opened_at
        {
            metrics.count_uptime(now, since);
        }
        Metrics {
            queued_messages: self.queue.len(),
            queued_bytes: self.queue.bytes(),
            rtt: self.heartbeat.rtt(),
            smoothed_rtt: self.heartbeat.smoothed_rtt(),
            ..metrics
        }
    }

    fn accept(&mut self, now: Instant, message: Message, request: Option<NonZeroU64>) -> Result<Token, Rejected> {
        if self.closing.is_some() || matches!(self.state, State::Closed) {
            return Err(Rejected { message, reason: RejectReason::Closed });
        }
        let token = self.queue.push(now, message, request)?;
        self.flush(now);
        Ok(token)
    }

    fn judge(&self, message: &Message) -> AuthAnswer {
        self.config.auth.as_ref().map_or(AuthAnswer::Other, |auth| (auth.judge)(message))
    }
}

impl AuthState {
    fn is_due(self, now: Instant) -> bool {
        matches!(self, Self::Sent { deadline: Some(deadline) } if deadline <= now)
    }
}

/// The client's own heartbeat takes the place of the connection's.
fn without_heartbeat(options: ClientOptions) -> ClientOptions {
    let mut config = (*options.config).clone();
    config.ping_interval = None;
    config.pong_timeout = None;
    options.config(Arc::new(config))
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Request(options) => f.debug_tuple("Request").field(options).finish(),
            Self::Credentials(_) => f.write_str("Credentials(hidden)"),
            Self::Failed(why) => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state())
            .field("queued_messages", &self.queue.len())
            .finish_non_exhaustive()
    }
}
