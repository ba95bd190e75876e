//! Time: what falls due when, and what happens then.
//!
//! | deadline | runs from | reset by | at its end |
//! |---|---|---|---|
//! | handshake | creation | nothing | a server answers 408, or 503 when the application did not decide; a client drops |
//! | ping | open, or the last ping | nothing | a ping goes out |
//! | pong | the first ping, once it is written, without a sign of life since | any byte | Close 1001, drop |
//! | idle | open | any byte | Close 1001 |
//! | message | the first byte of a message, or of a lone control frame | its last byte | Close 1008 |
//! | write | the first byte that waits | any progress | drop |
//! | close | the start of the closing handshake | nothing | drop |
//!
//! While output that has to be written first keeps the connection from decoding, the ping, pong and idle deadlines rest: the peer
//! cannot prove that it is alive. The write deadline runs instead, and progress counts as a sign of life. That of the message rests, too, but
//! for no longer in all than it is, because a peer can make decoding pause at will. While a message is withheld, its deadline rests
//! however long that lasts: its last byte may have arrived.
//!
//! The handshake, pong, idle and message deadlines are judged by the next poll for events, once it has found nothing that meets them: so
//! what arrived before the deadline counts, and is delivered, however late the caller comes to decode it.

use std::time::{Duration, Instant};

use super::closing::Teardown;
use super::{CloseCause, Config, Connection, Deadline, State};
use crate::frame::CloseCode;

#[derive(Default)]
pub(super) struct Timers {
    /// When the last byte arrived, or the connection opened.
    received_at: Option<Instant>,
    next_ping: Option<Instant>,
    /// The last heartbeat, until it is answered.
    ping: Option<Ping>,
    /// How much output has to be written until the last heartbeat has left; 0 when it has.
    ping_unsent: usize,
    pong_due: Option<Instant>,
    /// The pong or idle deadline that has passed, unless what is not decoded yet meets it.
    silence: Option<Deadline>,
    /// Since when a message is under way; later by as much as its deadline has rested.
    message_since: Option<Instant>,
    /// Whether that deadline has passed, unless what is not decoded yet meets it.
    message_is_late: bool,
    /// Since when it rests.
    rests_since: Option<Instant>,
    /// Why, while it does.
    rest: Rest,
    /// For how many milliseconds it has rested while decoding was paused, each pause rounded up: many short ones come to no more.
    rested_ms: u32,
    /// Since when output waits without progress.
    stalled_since: Option<Instant>,
    rtt: Option<Duration>,
}

struct Ping {
    sent_at: Instant,
    payload: [u8; 8],
}

/// Why the deadline of a message rests.
#[derive(Clone, Copy, Default)]
enum Rest {
    /// Decoding waits for output to be written. A peer can bring that about, so there is a bound to it.
    #[default]
    Paused,
    /// The application does not take messages at the moment.
    Withheld,
}

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest; `None` when nothing is due ever.
    ///
    /// Costs the same whatever goes on. Ask again after any other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// The earliest deadline and what it is for.
    pub fn next_deadline(&self) -> Option<(Instant, Deadline)> {
        let config = &self.config;
        let timers = &self.timers;
        let write = timers.stalled_since.and_then(|since| after(since, config.write_timeout));
        let mut earliest = write.map(|at| (at, Deadline::Write));
        let mut consider = |at: Option<Instant>, deadline| {
            if let Some(at) = at
                && earliest.is_none_or(|(earliest, _)| at < earliest)
            {
                earliest = Some((at, deadline));
            }
        };
        match &self.state {
            State::Opening(opening) => consider(opening.deadline, Deadline::Handshake),
            State::Open => {
                consider(timers.message_due(config), Deadline::Message);
                if !self.is_paused() {
                    consider(timers.pong_due, Deadline::Pong);
                    consider(timers.received_at.and_then(|at| after(at, config.idle_timeout)), Deadline::Idle);
                    consider(timers.next_ping, Deadline::Ping);
                }
            }
            State::CloseSent(ending) | State::Draining(ending) => consider(ending.deadline, Deadline::Close),
            State::Closed { .. } => return None,
        }
        earliest
    }

    /// Does what is due at `now`. The next deadline lies after `now` then. **Poll for events afterwards**: most deadlines are judged there,
    /// once everything that arrived before has been decoded, and until then nothing is due in their place.
    ///
    /// Bytes that the transport still holds do not count: read what there is first. The write and the close deadline end the connection
    /// here, at once.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, deadline)) = self.next_deadline()
            && at <= now
        {
            match deadline {
                Deadline::Ping => {
                    self.timers.next_ping = after(now, self.config.ping_interval);
                    self.queue_heartbeat(now);
                }
                Deadline::Handshake => self.pass_handshake(),
                Deadline::Pong | Deadline::Idle | Deadline::Message => self.timers.pass(deadline),
                Deadline::Write | Deadline::Close => self.cut_short(CloseCause::Deadline(deadline)),
            }
        }
    }

    /// Nothing is left that may be decoded and would meet a deadline that has passed.
    pub(super) fn end_when_due(&mut self, now: Instant) {
        let Some(deadline) = self.timers.passed(self.is_paused()) else {
            return;
        };
        let (code, teardown) = match deadline {
            Deadline::Message => (CloseCode::POLICY_VIOLATION, Teardown::Shutdown),
            Deadline::Idle => (CloseCode::GOING_AWAY, Teardown::Shutdown),
            _ => (CloseCode::GOING_AWAY, Teardown::Drop),
        };
        self.fail_with(now, code, deadline.to_string(), CloseCause::Deadline(deadline), teardown);
    }
}

impl Timers {
    pub(super) fn open(&mut self, now: Instant, config: &Config) {
        self.received_at = Some(now);
        self.next_ping = after(now, config.ping_interval);
    }

    #[inline]
    pub(super) fn sign_of_life(&mut self, now: Instant) {
        self.received_at = Some(now);
        self.pong_due = None;
        self.silence = None;
    }

    /// Whether no message is under way, and no deadline has passed that is still to be judged.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.silence.is_none() && self.message_since.is_none()
    }

    /// Decoding waits for output to be written.
    pub(super) fn pause(&mut self, now: Instant) {
        self.begin_rest(now, Rest::Paused);
    }

    /// Decoding waits for the application to take a message.
    pub(super) fn withhold(&mut self, now: Instant) {
        self.sign_of_life(now);
        self.begin_rest(now, Rest::Withheld);
    }

    /// Output was written that decoding has waited for, and perhaps waits for more of.
    pub(super) fn resume(&mut self, now: Instant, still_paused: bool, config: &Config) {
        self.sign_of_life(now);
        self.end_rest(now, config);
        if still_paused {
            self.pause(now);
        }
    }

    fn begin_rest(&mut self, now: Instant, rest: Rest) {
        if self.rests_since.is_none() {
            self.rests_since = Some(now);
            self.rest = rest;
        }
    }

    /// The time in which decoding waited does not count, as far as it may not.
    #[inline]
    fn end_rest(&mut self, now: Instant, config: &Config) {
        if let Some(rests_since) = self.rests_since.take()
            && let Some(since) = self.message_since
        {
            let waited = now.saturating_duration_since(rests_since.max(since));
            let rested = match self.rest {
                Rest::Withheld => waited,
                Rest::Paused => waited.min(self.rest_left(config)),
            };
            if let Rest::Paused = self.rest {
                let ms = u32::try_from(rested.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
                self.rested_ms = self.rested_ms.saturating_add(ms);
            }
            self.message_since = since.checked_add(rested).or(self.message_since);
        }
    }

    /// For how long the deadline of the message under way may still rest while decoding is paused.
    fn rest_left(&self, config: &Config) -> Duration {
        config.message_timeout.unwrap_or_default().saturating_sub(Duration::from_millis(self.rested_ms.into()))
    }

    /// When the message under way is late; while its deadline rests, when it has done so for as long as it may.
    fn message_due(&self, config: &Config) -> Option<Instant> {
        let since = self.message_since.filter(|_| !self.message_is_late)?;
        let rest = match (self.rests_since, self.rest) {
            (None, _) => Duration::ZERO,
            (Some(_), Rest::Paused) => self.rest_left(config),
            (Some(_), Rest::Withheld) => return None,
        };
        after(since, Some(config.message_timeout?.saturating_add(rest)))
    }

    /// A deadline that is judged later has passed; it is not due again.
    fn pass(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Pong => self.pong_due = None,
            Deadline::Idle => self.received_at = None,
            _ => {
                self.message_is_late = true;
                return;
            }
        }
        self.silence.get_or_insert(deadline);
    }

    /// The deadline that has passed and that nothing can meet any more. While decoding is paused, that is the message's alone.
    fn passed(&self, is_paused: bool) -> Option<Deadline> {
        if self.message_since.is_some() && self.message_is_late {
            Some(Deadline::Message)
        } else if is_paused {
            None
        } else {
            self.silence
        }
    }

    /// Nothing more can be decoded: does a message wait for its rest?
    #[inline]
    pub(super) fn message(&mut self, now: Instant, mid_message: bool, config: &Config) {
        self.end_rest(now, config);
        if mid_message {
            self.message_begun(now);
        } else {
            self.message_done();
        }
    }

    /// A message is under way, now at the latest.
    #[inline]
    pub(super) fn message_begun(&mut self, now: Instant) {
        if self.message_since.is_none() {
            self.message_since = Some(now);
            self.message_is_late = false;
            self.rested_ms = 0;
        }
    }

    #[inline]
    pub(super) fn message_done(&mut self) {
        self.message_since = None;
    }

    #[inline]
    pub(super) fn output_queued(&mut self, now: Instant, is_first: bool) {
        if is_first {
            self.stalled_since = Some(now);
        }
    }

    #[inline]
    pub(super) fn output_taken(&mut self, now: Instant, n: usize, all: bool, config: &Config) {
        self.stalled_since = if all { None } else { Some(now) };
        if self.ping_unsent > 0 {
            self.ping_unsent = self.ping_unsent.saturating_sub(n);
            if self.ping_unsent == 0 {
                self.ping_left(now, config);
            }
        }
    }

    /// The closing handshake has begun, which has a deadline of its own.
    pub(super) fn closing(&mut self) {
        self.silence = None;
        self.message_done();
    }

    pub(super) fn output_lost(&mut self) {
        self.stalled_since = None;
        self.ping_unsent = 0;
    }

    /// Whether the last heartbeat still waits to be written: then another one tells nothing.
    pub(super) fn ping_waits(&self) -> bool {
        self.ping_unsent > 0
    }

    /// A heartbeat was queued, the last of so much output.
    pub(super) fn pinged(&mut self, now: Instant, payload: [u8; 8], unsent: usize) {
        self.ping = Some(Ping { sent_at: now, payload });
        self.ping_unsent = unsent;
    }

    /// The heartbeat is the transport's now.
    #[cold]
    fn ping_left(&mut self, now: Instant, config: &Config) {
        if let Some(ping) = &mut self.ping {
            ping.sent_at = now;
            if self.pong_due.is_none() {
                self.pong_due = after(now, config.pong_timeout);
            }
        }
    }

    /// A pong: how long it took, if it answers the last heartbeat. RFC 6455 section 5.5.3.
    pub(super) fn pong(&mut self, now: Instant, payload: &[u8]) -> Option<Duration> {
        let ping = self.ping.take_if(|ping| ping.payload == payload)?;
        let rtt = now.saturating_duration_since(ping.sent_at);
        self.rtt = Some(rtt);
        Some(rtt)
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

/// When `timeout` is over, counted from `from`; `None` when it is off, or beyond what an [`Instant`] can say.
pub(super) fn after(from: Instant, timeout: Option<Duration>) -> Option<Instant> {
    from.checked_add(timeout?.max(TIMEOUT_MIN))
}

/// Keeps a deadline of nothing from being due again at once.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
