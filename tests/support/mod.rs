//! What the tests of the core share: wires built frame by frame, cases run under every split, a simulated transport.

// Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

mod check;
#[cfg(feature = "json")]
pub(crate) mod json_peer;
mod pair;
pub(crate) mod rig;
mod rng;
mod seen;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::{Config, Connection, Event, RecvBuf, Role};

pub(crate) use check::{Case, check, check_all};
pub(crate) use pair::{Cut, End, Network, Pair, for_each_seed, number_from_environment};

pub(crate) use rng::Rng;
pub(crate) use seen::{Seen, whole};
pub(crate) use wire::{
    Frame, Sent, binary, close, close_empty, close_raw, continuation, decode, opcode, ping, pong, text, wire_to,
};

/// Both, for cases that hold at either end.
pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];

pub(crate) const SEED: [u8; 32] = [7; 32];

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SEC: Duration = Duration::from_secs(1);

/// A limit or a deadline changed from the default.
pub(crate) fn config(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    let mut config = Config::default();
    change(&mut config);
    Arc::new(config)
}

/// No deadline ever.
pub(crate) fn timeless(config: &mut Config) {
    config.handshake_timeout = None;
    config.ping_interval = None;
    config.pong_timeout = None;
    config.idle_timeout = None;
    config.write_timeout = None;
    config.message_timeout = None;
    config.close_timeout = None;
}

/// One connection with its buffer and its clock: a test says what arrives and when, and reads what came of it.
pub(crate) struct Bench {
    pub(crate) connection: Connection,
    pub(crate) buf: RecvBuf,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn open(role: Role, config: impl Into<Arc<Config>>) -> Self {
        let now = Instant::now();
        Self { connection: Connection::open(role, config, SEED, now), buf: RecvBuf::new(), start: now, now }
    }

    pub(crate) fn server(config: impl Into<Arc<Config>>) -> Self {
        let now = Instant::now();
        Self { connection: Connection::server(config, SEED, now), buf: RecvBuf::new(), start: now, now }
    }

    pub(crate) fn client(request: &sansocket::ClientRequest, config: impl Into<Arc<Config>>) -> Self {
        let now = Instant::now();
        Self { connection: Connection::client(request, config, SEED, now), buf: RecvBuf::new(), start: now, now }
    }

    /// Sets the clock to so long after the start, which may be earlier than it was.
    pub(crate) fn at(&mut self, after_start: Duration) -> &mut Self {
        self.now = self.start + after_start;
        self
    }

    /// Lets bytes arrive, and returns what comes of them.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Vec<Seen> {
        self.buf.extend_from_slice(bytes);
        self.poll()
    }

    /// Lets frames of the peer arrive.
    pub(crate) fn receive_frames(&mut self, frames: &[Frame]) -> Vec<Seen> {
        self.receive(&wire_to(self.connection.role(), frames))
    }

    /// All events there are now.
    pub(crate) fn poll(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(event) = self.connection.poll_event(self.now, &mut self.buf) {
            seen.push(Seen::from(&event));
        }
        seen
    }

    /// Lets the clock strike: what is due happens, and all events there are now.
    pub(crate) fn timeout(&mut self) -> Vec<Seen> {
        self.connection.handle_timeout(self.now);
        if let Some(next) = self.connection.poll_timeout() {
            assert!(next > self.now, "the next deadline is not later than now: a hot loop");
        }
        self.poll()
    }

    /// Sends a message that lifts the output above the mark, then answers one of the peer's: now decoding is paused.
    pub(crate) fn pause(&mut self, len: usize) {
        self.connection.send_binary(self.now, &vec![0; len]).unwrap();
        assert!(!self.connection.is_paused(), "a message of one's own accord does not pause");
        assert_eq!(self.receive_frames(&[text("question")]), [Seen::Text("question".into())]);
        self.connection.send_text(self.now, "answer").unwrap();
        assert!(self.connection.is_paused() && !self.connection.wants_read());
    }

    /// Lets the transport take everything, and returns it.
    pub(crate) fn flush(&mut self) -> Vec<u8> {
        let mut written = Vec::new();
        while !self.connection.outgoing().is_empty() {
            let bytes = self.connection.outgoing().to_vec();
            self.connection.advance_outgoing(self.now, bytes.len());
            written.extend(bytes);
        }
        written
    }

    /// The same, as frames.
    pub(crate) fn flush_frames(&mut self) -> Vec<Sent> {
        let wire = self.flush();
        decode(&wire)
    }

    pub(crate) fn eof(&mut self) -> Vec<Seen> {
        self.connection.handle_eof();
        self.poll()
    }

    pub(crate) fn transport_error(&mut self) -> Vec<Seen> {
        self.connection.handle_transport_error();
        self.poll()
    }

    /// The next deadline, as what it is for and how long after the start.
    pub(crate) fn next_deadline(&self) -> Option<(Duration, sansocket::Deadline)> {
        let (at, deadline) = self.connection.next_deadline()?;
        Some((at.saturating_duration_since(self.start), deadline))
    }
}

/// The report of the end, which has to be the only event.
#[track_caller]
pub(crate) fn only_closed(seen: Vec<Seen>) -> sansocket::Closed {
    match <[Seen; 1]>::try_from(seen) {
        Ok([Seen::Closed(closed)]) => closed,
        other => panic!("expected the end alone, got {other:?}"),
    }
}
