//! The task that keeps a connection alive while its users are away.
//!
//! A user who is polled drives the connection, so in a busy one the keeper has little to do: it writes what a sender left for later and
//! did not come back for, and sleeps until the next deadline. Of the stream it takes care like this:
//!
//! ```text
//! Waits for the stream ── it wakes, or a message was handed out ──▶ Watches, for ATTENTION
//!    ▲   ▲   no reader came by, and nothing is unattended              │  │ ▲
//!    │   └─────────────────────────────────────────────────────────────┘  │ └─ a reader came by, and may again
//!    └── the reader is away: attends to it, now and whenever it wakes ◀───┘    until one comes by
//! ```
//!
//! When decoding is paused and the stream takes nothing for a while ([`RELIEF`]), it reads what arrives all the same, so that two ends which both
//! do nothing but answer do not wait for each other for ever.
//!
//! It answers control frames and leaves messages where they are; unless nobody can receive them any more, then it discards them. When
//! everybody is gone it closes the connection, and it ends when the connection has.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sansocket::Event;

use crate::driver::{Driver, ROUNDS_MAX, Shared, Users};
use crate::{Runtime, Transport};

pub(crate) struct Keeper<T, R: Runtime> {
    shared: Arc<Shared<T>>,
    sleep: Option<(Instant, Pin<Box<R::Sleep>>)>,
    runtime: PhantomData<fn() -> R>,
}

impl<T: Transport, R: Runtime> Keeper<T, R> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, sleep: None, runtime: PhantomData }
    }
}

impl<T: Transport, R: Runtime> Future for Keeper<T, R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let at = match this.shared.turn(|driver| driver.keep(R::now(), cx)) {
                Next::Over => return Poll::Ready(()),
                Next::At(at) => at,
                Next::WhenWoken => {
                    this.sleep = None;
                    return Poll::Pending;
                }
            };
            if this.sleep.as_ref().is_none_or(|(set, _)| *set != at) {
                this.sleep = Some((at, Box::pin(R::sleep_until(at))));
            }
            if let Some((_, sleep)) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            this.sleep = None;
        }
    }
}

/// When the keeper looks again.
enum Next {
    At(Instant),
    WhenWoken,
    /// Never: the connection has ended.
    Over,
}

impl<T: Transport> Driver<T> {
    /// Does what is due.
    fn keep(&mut self, now: Instant, cx: &Context<'_>) -> Next {
        self.write_out(now);
        if self.keeper_looks_at.is_some_and(|at| at <= now) {
            self.keeper_looks_at = None;
            self.reader_away |= self.wakers.is_unattended() && !self.reader_seen;
        }
        if self.attends() || self.is_due(now) {
            // What arrived in time counts before the deadline does.
            self.serve(now);
            if self.is_due(now) {
                self.connection.handle_timeout(now);
                self.serve(now);
            }
        }
        if self.connection.closed().is_some() {
            return Next::Over;
        }
        if self.attends() {
            self.keeper_looks_at = None;
        } else if self.keeper_looks_at.is_none() && (self.reader_seen || self.wakers.is_unattended()) {
            self.keeper_looks_at = Some(now + ATTENTION);
            self.reader_seen = false;
        }
        if self.keeper_looks_at.is_none() {
            self.connection.release();
        }
        let relief = self.relieve(now);
        self.keeper_saw_output = self.has_output();
        self.wakers.set_keeper(cx, self.keeper_looks_at.is_none() || self.keeper_saw_output);
        self.keeper_at = [self.connection.poll_timeout(), self.keeper_looks_at, relief].into_iter().flatten().min();
        self.keeper_at.map_or(Next::WhenWoken, Next::At)
    }

    /// Decoding is paused until output is written. Perhaps the peer waits for the same: then both have to read, or neither could write.
    /// Returns when that is to be looked at.
    fn relieve(&mut self, now: Instant) -> Option<Instant> {
        if !self.connection.is_paused() {
            self.keeper_relieves_at = None;
            return None;
        }
        let at = *self.keeper_relieves_at.get_or_insert(now + RELIEF);
        if at > now {
            return Some(at);
        }
        // From now on whenever the stream wakes, until it takes something.
        self.due.keeper |= self.read_ahead();
        None
    }

    fn is_due(&self, now: Instant) -> bool {
        self.connection.poll_timeout().is_some_and(|at| at <= now)
    }

    /// Whether the keeper does the reader's work.
    fn attends(&self) -> bool {
        self.reader_away || self.users > Users::Receiver
    }

    /// Serves what has arrived, up to the next piece of a message that is thrown away; whether that is all of it.
    fn serve_arrived(&mut self, now: Instant) -> bool {
        loop {
            let event = match self.users {
                Users::Receiver => self.connection.poll_control_event(now, self.buf.get()),
                // In pieces: nothing is joined that is thrown away.
                Users::Senders | Users::Nobody => self.connection.poll_event_in_pieces(now, self.buf.get()),
            };
            match event {
                Some(Event::Request(_)) => self.accept_unseen(now),
                // Little on the wire may be inflated to many of them.
                Some(Event::TextPiece { .. } | Event::BinaryPiece { .. }) => return false,
                #[cfg(feature = "deflate")]
                Some(Event::Inflating) => return false,
                Some(_) => {}
                None => return true,
            }
        }
    }

    /// Answers control frames and takes notice of the end. Messages stay where they are, or are discarded if nobody can receive them.
    fn serve(&mut self, now: Instant) {
        for _ in 0..ROUNDS_MAX {
            if !self.serve_arrived(now) {
                continue;
            }
            if self.poll_stream(now).is_pending() {
                self.buf.give_back_if_empty();
                if !self.buf.is_empty() {
                    // What was read here wakes nobody else.
                    self.due.reader = true;
                }
                if !self.connection.wants_read() && !self.connection.is_paused() {
                    // Until the message that is in the way is received.
                    self.wakers.set_unattended(false);
                }
                return;
            }
        }
        // It is the others' turn.
        self.due.keeper = true;
    }
}

/// How long the stream may be left alone before the keeper attends to it.
///
/// 1 s: shorter than any sensible pong timeout; long enough that a busy connection pays nothing for it.
const ATTENTION: Duration = Duration::from_secs(1);

/// How long the stream may take nothing, while decoding is paused, before what arrives is read all the same.
///
/// 20 ms: two ends that wait for each other lose little more than that, and a peer that is just a little slow to read is held up by its own
/// stream, not by our memory.
const RELIEF: Duration = Duration::from_millis(20);
