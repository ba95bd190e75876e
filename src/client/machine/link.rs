//! The connection of the moment, and what is to be known about its output.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::heartbeat::after;
use crate::client::metrics::count;
use crate::client::queue::Queue;
use crate::client::{Attempt, Cause, Metrics};
use crate::connection::Connection;

/// A connection with what leads up to it and what follows from it.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// By which it came, in case that it leads on.
    pub(super) attempt: Attempt,
    /// Since when it is open; `None` while the handshake is under way.
    pub(super) opened_at: Option<Instant>,
    pub(super) auth: AuthState,
    /// Whether there are others to send when these are answered.
    pub(super) is_auth_renewed: bool,
    /// Whether messages leave.
    pub(super) is_ready: bool,
    /// How many bytes the transport has taken.
    pub(super) written: u64,
    /// How many more it has in hand, and may have taken.
    pub(super) lent: usize,
    /// How many bytes the last poll left unread.
    pub(super) unread_len: usize,
    /// Whether a message waits to be taken, and all else behind it.
    pub(super) is_withheld: bool,
    /// Nothing more can be read.
    pub(super) stream_ended: bool,
    /// Messages that the transport has taken.
    pub(super) messages_written: u64,
    /// Of those, how many the peer is known to have received.
    pub(super) messages_confirmed: u64,
    /// Pings without an answer, oldest first.
    pub(super) pings: VecDeque<SentPing>,
    /// Whether a beat waits for room in the output.
    pub(super) beat_due: bool,
    /// Where in the output the last beat ends, until it has left.
    pub(super) beat_end: Option<u64>,
    /// Why it ends, if that is known better than the connection knows.
    pub(super) cause: Option<Cause>,
    /// Whether the attempt goes on elsewhere.
    pub(super) is_redirected: bool,
}

/// How it stands with the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthState {
    /// There are none, or they are accepted.
    Done,
    /// They wait for room in the output.
    Unsent,
    /// They wait for an answer.
    Sent { deadline: Option<Instant> },
    /// The answer has not come in time.
    TimedOut,
}

/// A ping whose pong shows what has arrived.
pub(super) struct SentPing {
    pub(super) payload: [u8; 8],
    /// Where in the output it begins.
    pub(super) begin: u64,
    /// How many messages had been written whole, or were to be before it.
    pub(super) messages: u64,
    pub(super) is_beat: bool,
}

impl Link {
    pub(super) fn new(connection: Connection, attempt: Attempt) -> Self {
        Self {
            connection,
            attempt,
            opened_at: None,
            auth: AuthState::Done,
            is_auth_renewed: false,
            is_ready: false,
            written: 0,
            lent: 0,
            unread_len: 0,
            is_withheld: false,
            stream_ended: false,
            messages_written: 0,
            messages_confirmed: 0,
            pings: VecDeque::new(),
            beat_due: false,
            beat_end: None,
            cause: None,
            is_redirected: false,
        }
    }

    /// Whether the peer cannot prove that it is alive, since what it sends is not looked at.
    pub(super) fn is_resting(&self) -> bool {
        self.is_withheld || self.connection.is_paused()
    }

    /// Whether a message that waits has been found to be in the way, or no longer to be: then what was resting begins anew.
    pub(super) fn set_withheld(&mut self, now: Instant, is_withheld: bool, auth_timeout: Option<Duration>) {
        if std::mem::replace(&mut self.is_withheld, is_withheld)
            && !is_withheld
            && let (AuthState::Sent { deadline }, Some(timeout)) = (&mut self.auth, auth_timeout)
        {
            *deadline = after(now, timeout);
        }
    }

    /// There are new credentials to send.
    pub(super) fn renew_auth(&mut self) {
        match self.auth {
            AuthState::Done | AuthState::Unsent => self.auth = AuthState::Unsent,
            AuthState::Sent { .. } | AuthState::TimedOut => self.is_auth_renewed = true,
        }
    }

    /// The credentials are answered; whether others take their place.
    pub(super) fn auth_answered(&mut self) -> bool {
        let is_renewed = std::mem::take(&mut self.is_auth_renewed);
        self.auth = if is_renewed { AuthState::Unsent } else { AuthState::Done };
        is_renewed
    }

    /// The transport has taken so many bytes more.
    #[expect(clippy::arithmetic_side_effects, reason = "no client lives to mask 2⁶⁴ bytes")]
    pub(super) fn output_written(&mut self, len: usize, queue: &mut Queue, metrics: &mut Metrics) {
        self.lent = 0;
        self.written += len as u64;
        let messages = queue.output_written(self.written);
        count(&mut self.messages_written, messages);
        count(&mut metrics.messages_sent, messages);
        count(&mut metrics.bytes_sent, len as u64);
    }

    /// It is over. Of what the transport has in hand nobody will hear any more.
    pub(super) fn output_over(&mut self, queue: &mut Queue, metrics: &mut Metrics) {
        self.output_written(self.lent, queue, metrics);
    }

    /// Where its output ends by now.
    #[expect(clippy::arithmetic_side_effects, reason = "no client lives to mask 2⁶⁴ bytes")]
    pub(super) fn output_end(&self) -> u64 {
        self.written + self.connection.buffered_len() as u64
    }

    /// Takes the pong's ping, and all before it, which it answers as well. RFC 6455 section 5.5.3.
    pub(super) fn take_ping(&mut self, payload: &[u8]) -> Option<SentPing> {
        // None of those before it is a beat, unless it is one itself: what asks for a confirmation waits until nothing else is to be answered.
        let at = self.pings.iter().position(|ping| ping.payload == payload)?;
        self.pings.drain(..at);
        self.pings.pop_front()
    }
}
