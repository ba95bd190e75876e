//! Who waits for what on one connection.
//!
//! The stream knows one waker for each direction, but a reader, several senders and the keeper may wait at the same time. So the stream is
//! always polled with the waker of [`Wakers`], which wakes whoever of them is waiting.
//!
//! They all drive the connection in *turns*, under one lock. A stream that wakes during a turn, as one does that is out of its
//! runtime's budget, is heard when the turn is over: so whoever finds the stream pending and says afterwards, in the same turn, that
//! he waits for it misses nothing, and a waker that runs anything at all finds the lock free.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

#[derive(Default)]
pub(crate) struct Wakers {
    turn: AtomicU8,
    /// Whether something may wait in the stream, which will not wake anybody for it.
    unattended: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    senders: Vec<Waker>,
    keeper: Option<Waker>,
    /// Whether the keeper waits for the stream, too.
    keeper_waits_for_stream: bool,
}

/// Whom to wake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    pub(crate) reader: bool,
    pub(crate) senders: bool,
    pub(crate) keeper: bool,
}

impl Due {
    pub(crate) const ALL: Self = Self { reader: true, senders: true, keeper: true };
}

/// Wakers that were taken from their places.
#[derive(Default)]
pub(crate) struct Woken {
    reader: Option<Waker>,
    senders: Vec<Waker>,
    keeper: Option<Waker>,
}

impl Wakers {
    /// The lock has been taken, and the stream is about to be polled.
    ///
    /// Nothing is ordered by this: a wake that is due to a poll in this turn comes after that poll, which comes after this; and one that is
    /// due to an earlier poll may be heard on either side of it.
    pub(crate) fn begin_turn(&self) {
        self.turn.store(TAKEN, Ordering::Relaxed);
    }

    /// The last turn ended in a panic: what it missed is heard at the end of this one.
    pub(crate) fn make_up_for_a_panic(&self) {
        self.turn.store(STREAM_WOKE, Ordering::Relaxed);
    }

    /// The lock is about to be given back, after a turn in which the stream was polled; whether that has woken since.
    #[inline]
    pub(crate) fn end_turn(&self) -> bool {
        self.turn.swap(FREE, Ordering::AcqRel) == STREAM_WOKE
    }

    pub(crate) fn set_reader(&self, cx: &Context<'_>) {
        set(&mut self.lock().reader, cx);
    }

    pub(crate) fn add_sender(&self, cx: &Context<'_>) {
        let mut waiting = self.lock();
        if !waiting.senders.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.senders.push(cx.waker().clone());
        }
    }

    pub(crate) fn set_keeper(&self, cx: &Context<'_>, waits_for_stream: bool) {
        let mut waiting = self.lock();
        waiting.keeper_waits_for_stream = waits_for_stream;
        set(&mut waiting.keeper, cx);
    }

    pub(crate) fn is_unattended(&self) -> bool {
        self.unattended.load(Ordering::Acquire)
    }

    /// Under the lock. That it is attended to is said before the stream is polled, so a wake due to that poll comes later.
    pub(crate) fn set_unattended(&self, unattended: bool) {
        self.unattended.store(unattended, Ordering::Release);
    }

    /// Takes the wakers of those who are due, and of those who wait for the stream if that woke.
    pub(crate) fn take(&self, due: Due, stream_woke: bool) -> Woken {
        let mut waiting = self.lock();
        Woken {
            reader: if due.reader || stream_woke { waiting.reader.take() } else { None },
            senders: if due.senders || stream_woke { std::mem::take(&mut waiting.senders) } else { Vec::new() },
            keeper: if due.keeper || stream_woke && waiting.keeper_waits_for_stream {
                waiting.keeper.take()
            } else {
                None
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Woken {
    pub(crate) fn wake(self) {
        if let Some(reader) = self.reader {
            reader.wake();
        }
        self.senders.into_iter().for_each(Waker::wake);
        if let Some(keeper) = self.keeper {
            keeper.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// The stream can be read or written again.
    fn wake_by_ref(self: &Arc<Self>) {
        self.unattended.store(true, Ordering::Release);
        if self.turn.compare_exchange(TAKEN, STREAM_WOKE, Ordering::AcqRel, Ordering::Acquire) != Err(FREE) {
            return;
        }
        let mut waiting = self.lock();
        if waiting.senders.is_empty() && !waiting.keeper_waits_for_stream {
            // The common case.
            let reader = waiting.reader.take();
            drop(waiting);
            if let Some(reader) = reader {
                reader.wake();
            }
            return;
        }
        drop(waiting);
        self.take(Due::default(), true).wake();
    }
}

fn set(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

// Whether somebody has the turn, and whether the stream has woken since.
const FREE: u8 = 0;
const TAKEN: u8 = 1;
const STREAM_WOKE: u8 = 2;
