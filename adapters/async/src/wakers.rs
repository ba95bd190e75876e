//! Who waits for what on one connection.
//!
//! The stream knows one waker for each direction, but a reader, several senders and the keeper may wait at the same time. So the stream is
//! always polled with the waker of [`Wakers`], which wakes whoever of them is waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

#[derive(Default)]
pub(crate) struct Wakers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    reader: Option<Waker>,
    senders: Vec<Waker>,
    keeper: Option<Waker>,
    /// Whether the keeper waits for the stream, too.
    keeper_waits_for_stream: bool,
}

impl Wakers {
    pub(crate) fn set_reader(&self, cx: &Context<'_>) {
        set(&mut self.lock().reader, cx);
    }

    pub(crate) fn clear_reader(&self) {
        self.lock().reader = None;
    }

    pub(crate) fn has_reader(&self) -> bool {
        self.lock().reader.is_some()
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

    pub(crate) fn wake_keeper(&self) {
        let keeper = self.lock().keeper.take();
        if let Some(keeper) = keeper {
            keeper.wake();
        }
    }

    pub(crate) fn wake_senders(&self) {
        let senders = std::mem::take(&mut self.lock().senders);
        senders.into_iter().for_each(Waker::wake);
    }

    /// Wakes the reader and all senders: the connection's state has changed.
    pub(crate) fn wake_users(&self) {
        let reader = self.lock().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
        self.wake_senders();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// The stream can be read or written again.
    fn wake_by_ref(self: &Arc<Self>) {
        let mut waiting = self.lock();
        let reader = waiting.reader.take();
        let senders = std::mem::take(&mut waiting.senders);
        let keeper = if waiting.keeper_waits_for_stream { waiting.keeper.take() } else { None };
        drop(waiting); // A waker may run anything.
        reader.into_iter().chain(senders).chain(keeper).for_each(Waker::wake);
    }
}

fn set(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}
