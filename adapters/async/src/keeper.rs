//! The task that keeps a connection alive while its users are away.
//!
//! A user who is polled drives the connection, so in a busy one the keeper has nothing to do. It sleeps until the next deadline, and wakes
//! once more [`ATTENTION`] after a message was handed out, to see whether the reader came back. If not, it answers control frames as they
//! arrive and leaves messages where they are. It writes what a sender left for later, and sees the closing handshake through when
//! everybody is gone.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sansocket::{CloseCode, Event};

use crate::driver::{Driver, Shared};
use crate::wakers::Wakers;
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
            let mut driver = this.shared.lock();
            let next = driver.keep(R::now(), &this.shared.wakers, cx);
            drop(driver);
            let at = match next {
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
    fn keep(&mut self, now: Instant, wakers: &Wakers, cx: &Context<'_>) -> Next {
        // Known first, so that nothing is missed from here on.
        wakers.set_keeper(cx, false);
        let state = self.connection.state();
        if self.abandoned {
            self.serve_abandoned(now, wakers);
        }
        let away = !wakers.has_reader();
        let attention_at = self.handed_out_at.map(|at| at + ATTENTION);
        let attends = self.abandoned || (away && attention_at.is_none_or(|at| at <= now));
        let due = self.connection.poll_timeout().is_some_and(|at| at <= now);
        if attends || due {
            // What arrived in time counts before the deadline does.
            self.serve_control(now, wakers);
            if self.connection.poll_timeout().is_some_and(|at| at <= now) {
                self.connection.handle_timeout(now);
                self.serve_control(now, wakers);
            }
        } else if self.write_out(now) {
            wakers.wake_senders();
        }
        if self.is_over() && self.closed.is_some() {
            wakers.wake_users();
            return Next::Over;
        }
        if state != self.connection.state() || self.closed.is_some() {
            wakers.wake_users();
        }
        if !away && attention_at.is_none_or(|at| at <= now) {
            self.connection.release();
        }
        if attends {
            self.park();
        }
        wakers.set_keeper(cx, attends || self.connection.buffered_len() > 0);
        let deadline = self.connection.poll_timeout();
        self.keeper_at = match attention_at {
            Some(at) if at > now => Some(deadline.map_or(at, |deadline| deadline.min(at))),
            _ => deadline,
        };
        self.keeper_at.map_or(Next::WhenWoken, Next::At)
    }

    /// Answers control frames and takes notice of the end; messages stay where they are.
    fn serve_control(&mut self, now: Instant, wakers: &Wakers) {
        loop {
            match self.connection.poll_control_event(now, &mut self.buf) {
                Some(Event::Closed(closed)) => self.closed = Some(closed),
                Some(_) => {}
                None => {
                    if self.poll_stream(now, wakers).is_pending() {
                        return;
                    }
                }
            }
        }
    }

    /// Nobody receives any more: says so, and discards what still comes.
    fn serve_abandoned(&mut self, now: Instant, wakers: &Wakers) {
        // Refused only when the end has begun.
        let _ = self.connection.close(now, CloseCode::GOING_AWAY, "");
        loop {
            match self.connection.poll_event(now, &mut self.buf) {
                Some(Event::Closed(closed)) => self.closed = Some(closed),
                Some(_) => {}
                None => {
                    if self.poll_stream(now, wakers).is_pending() {
                        return;
                    }
                }
            }
        }
    }
}

/// How long the reader may be away before the keeper looks after control frames.
///
/// 1 s: shorter than any sensible pong timeout; long enough that a busy connection pays nothing for it.
pub(crate) const ATTENTION: Duration = Duration::from_secs(1);
