//! What a client has counted.

use std::time::{Duration, Instant};

/// Counters since the client began, to be read at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Attempts to connect.
    pub attempts: u64,
    /// Connections that opened.
    pub connections: u64,
    /// Connections that opened after another was lost.
    pub reconnections: u64,
    /// How long connections have been open, all together.
    pub uptime: Duration,
    /// Bytes that the transport took.
    pub bytes_sent: u64,
    /// Bytes that arrived.
    pub bytes_received: u64,
    /// Messages that the transport took whole, each time that it did.
    pub messages_sent: u64,
    /// Messages that arrived, answers to credentials and beats among them.
    pub messages_received: u64,
    /// Messages that left more than once, or may have.
    pub messages_resent: u64,
    /// Messages that were dropped.
    pub messages_dropped: u64,
    /// Messages that are not done with: they wait, or are not confirmed.
    pub queued_messages: usize,
    /// Their payloads in bytes.
    pub queued_bytes: usize,
    /// The round trip of the last beat that was answered.
    pub rtt: Option<Duration>,
    /// The round trip, smoothed.
    pub smoothed_rtt: Option<Duration>,
}

impl Metrics {
    /// A connection is open since then.
    pub(super) fn count_uptime(&mut self, now: Instant, since: Instant) {
        self.uptime = self.uptime.saturating_add(now.saturating_duration_since(since));
    }
}

/// Adds to a counter, which stays at its end.
pub(super) fn count(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}
