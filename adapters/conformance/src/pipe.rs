//! A pipe between two ends, for any runtime, that behaves as badly as a transport may.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sansocket_async::Transport;

use crate::Rng;

/// One end of a pipe. Dropping it ends both directions.
#[derive(Debug)]
pub struct Pipe {
    sent: Arc<Mutex<Direction>>,
    received: Arc<Mutex<Direction>>,
    manners: Manners,
    rng: Rng,
}

/// How an end of a pipe behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The most bytes that are under way in one direction.
    pub room: usize,
    /// One call in so many is pending though there is something, and wakes before it returns; as a runtime does whose budget for the task is
    /// used up.
    pub pending_once_in: usize,
    /// One call in so many gives the processor away first.
    pub yield_once_in: usize,
    /// Whether what is written stays inside until it is flushed, as in TLS.
    pub holds_back: bool,
}

#[derive(Debug, Default)]
struct Direction {
    bytes: VecDeque<u8>,
    /// Of them, at the back, those that were not flushed.
    held_back: usize,
    ended: bool,
    /// The reading end is gone.
    abandoned: bool,
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Default for Manners {
    fn default() -> Self {
        Self { room: 64 * 1024, pending_once_in: usize::MAX, yield_once_in: usize::MAX, holds_back: false }
    }
}

impl Manners {
    /// Any.
    pub fn any(rng: &mut Rng) -> Self {
        Self {
            room: [1, 2, 7, 64, 1000, 65_536][rng.below(6)],
            pending_once_in: [2, 5, 30, usize::MAX][rng.below(4)],
            yield_once_in: usize::MAX,
            holds_back: rng.once_in(3),
        }
    }
}

impl Pipe {
    /// Both ends.
    pub fn pair(seed: u64, manners: Manners) -> (Self, Self) {
        let (there, back) = <(Arc<Mutex<Direction>>, Arc<Mutex<Direction>>)>::default();
        let end = |sent: &Arc<_>, received: &Arc<_>, seed| Self {
            sent: Arc::clone(sent),
            received: Arc::clone(received),
            manners,
            rng: Rng::new(seed),
        };
        (end(&there, &back, seed), end(&back, &there, !seed))
    }

    /// Something that can cut the pipe from outside: both ends fail from then on.
    pub fn cutter(&self) -> impl Fn() + Send + Sync + use<> {
        let directions = [Arc::clone(&self.sent), Arc::clone(&self.received)];
        move || {
            for direction in &directions {
                let mut direction = lock(direction);
                direction.cut = true;
                direction.wake_both();
            }
        }
    }

    /// Whether this call is to be pending although it need not be.
    fn balks(&mut self, cx: &Context<'_>) -> bool {
        if self.rng.once_in(self.manners.yield_once_in) {
            std::thread::yield_now();
        }
        let balks = self.rng.once_in(self.manners.pending_once_in);
        if balks {
            cx.waker().wake_by_ref();
        }
        balks
    }
}

impl Transport for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut direction = lock(&self.received);
        if direction.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let there = direction.bytes.len() - direction.held_back;
        if there == 0 {
            if direction.ended {
                return Poll::Ready(Ok(0));
            }
            direction.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = self.rng.between(1, there.min(buf.len()));
        for (to, from) in buf.iter_mut().zip(direction.bytes.drain(..n)) {
            *to = from;
        }
        direction.wake_writer();
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut direction = lock(&self.sent);
        if direction.cut || direction.abandoned || direction.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.manners.room.saturating_sub(direction.bytes.len());
        if room == 0 {
            // A layer that holds something back gives it up when it is full.
            direction.held_back = 0;
            direction.writer = Some(cx.waker().clone());
            direction.wake_reader();
            return Poll::Pending;
        }
        let n = self.rng.between(1, len.min(room).max(1)).min(len);
        direction.bytes.extend(slices.iter().flat_map(|slice| slice.iter()).take(n));
        direction.held_back += n;
        if !self.manners.holds_back {
            direction.held_back = 0;
            direction.wake_reader();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut direction = lock(&self.sent);
        if direction.cut || direction.abandoned {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        direction.held_back = 0;
        direction.wake_reader();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut direction = lock(&self.sent);
        direction.ended = true;
        direction.held_back = 0;
        direction.wake_reader();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut sent = lock(&self.sent);
        sent.ended = true;
        // What was not flushed is lost.
        let flushed = sent.bytes.len() - std::mem::take(&mut sent.held_back);
        sent.bytes.truncate(flushed);
        sent.wake_both();
        drop(sent); // The other end locks the two in the other order.
        let mut received = lock(&self.received);
        received.abandoned = true;
        received.wake_both();
    }
}

/// A direction that is locked. Its wakers are woken once it is not any more.
struct Locked<'d> {
    direction: Option<MutexGuard<'d, Direction>>,
    woken: [Option<Waker>; 2],
}

impl Locked<'_> {
    fn wake_reader(&mut self) {
        self.woken[0] = self.reader.take();
    }

    fn wake_writer(&mut self) {
        self.woken[1] = self.writer.take();
    }

    fn wake_both(&mut self) {
        self.wake_reader();
        self.wake_writer();
    }
}

impl std::ops::Deref for Locked<'_> {
    type Target = Direction;

    fn deref(&self) -> &Direction {
        self.direction.as_ref().expect("is locked")
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Direction {
        self.direction.as_mut().expect("is locked")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.direction = None;
        self.woken.iter_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

fn lock(direction: &Mutex<Direction>) -> Locked<'_> {
    Locked { direction: Some(direction.lock().unwrap_or_else(PoisonError::into_inner)), woken: [None, None] }
}
