//! What all handles of a client share with the task behind them: the hub under a lock that is never held while waiting or waking, and who waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use sansocket_common::hub::{Changes, Hub, Polled};

pub(crate) struct Shared(Mutex<Inner>);

struct Inner {
    hub: Hub,
    /// The task, when it waits.
    task: Option<Waker>,
    waiting: BTreeMap<(For, u64), Waker>,
    next_key: u64,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum For {
    Messages,
    Room,
    Events,
    State,
    /// The outcome of the message with the token that is the key.
    Outcome,
    /// The answer to the request with the id that is the key.
    #[cfg(feature = "json")]
    Answer,
}

impl Shared {
    pub(crate) fn new(hub: Hub) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { hub, task: None, waiting: BTreeMap::new(), next_key: 0 })))
    }

    /// Takes a turn. Those for whom it has changed something are woken behind it.
    pub(crate) fn turn<O>(&self, act: impl FnOnce(&mut Hub) -> O) -> O {
        self.inner_turn(|inner| act(&mut inner.hub))
    }

    /// A turn of the task, which is woken by all that changes from now on.
    pub(crate) fn task_turn<O>(&self, cx: &mut Context<'_>, act: impl FnOnce(&mut Hub, &mut Context<'_>) -> O) -> O {
        let (done, _outlived) = self.inner_turn(|inner| {
            let outlived = match &inner.task {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                _ => inner.task.replace(cx.waker().clone()),
            };
            let done = act(&mut inner.hub, cx);
            // What it changes itself it does not have to be told.
            inner.hub.driver_knows();
            (done, outlived)
        });
        done
    }

    /// A look that changes nothing.
    pub(crate) fn look<O>(&self, look: impl FnOnce(&Hub) -> O) -> O {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner).hub)
    }

    fn inner_turn<O>(&self, act: impl FnOnce(&mut Inner) -> O) -> O {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut inner);
        let changes = inner.hub.take_changes();
        let woken = inner.take_woken(changes);
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        done
    }
}

impl Inner {
    fn take_woken(&mut self, changes: Changes) -> Vec<Waker> {
        let mut woken = Vec::new();
        if changes.driver {
            woken.extend(self.task.take());
        }
        if self.waiting.is_empty() {
            return woken;
        }
        let due = [
            (changes.messages, For::Messages),
            (changes.room, For::Room),
            (changes.events, For::Events),
            (changes.state, For::State),
        ];
        for (_, what) in due.into_iter().filter(|(is_due, _)| *is_due) {
            let mut others = self.waiting.split_off(&(what, 0));
            let mut behind = others.split_off(&(what, u64::MAX));
            self.waiting.append(&mut behind);
            woken.extend(others.into_values());
        }
        for token in changes.outcomes {
            woken.extend(self.waiting.remove(&(For::Outcome, token.0)));
        }
        #[cfg(feature = "json")]
        for id in changes.answers {
            woken.extend(self.waiting.remove(&(For::Answer, id.0)));
        }
        woken
    }
}

/// A place among those who wait; given up when it is dropped.
pub(crate) struct Place<S: Deref<Target = Shared>> {
    shared: S,
    what: For,
    key: Option<u64>,
}

impl<S: Deref<Target = Shared>> Place<S> {
    pub(crate) fn new(shared: S, what: For) -> Self {
        Self { shared, what, key: None }
    }

    /// For the outcome of the message with this token, of which there is one place only.
    pub(crate) fn for_outcome(shared: S, token: u64) -> Self {
        Self { shared, what: For::Outcome, key: Some(token) }
    }

    /// For the answer to the request with this id, of which there is one place only.
    #[cfg(feature = "json")]
    pub(crate) fn for_answer(shared: S, id: u64) -> Self {
        Self { shared, what: For::Answer, key: Some(id) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Asks in a turn, and waits when the answer is pending.
    pub(crate) fn poll<O>(&mut self, cx: &Context<'_>, ask: impl FnOnce(&mut Hub) -> Poll<O>) -> Poll<O> {
        let what = self.what;
        let (answer, _outlived) = self.shared.inner_turn(|inner| {
            let answer = ask(&mut inner.hub);
            if answer.is_ready() {
                let outlived = self.key.and_then(|key| inner.waiting.remove(&(what, key)));
                return (answer, outlived);
            }
            let key = *self.key.get_or_insert_with(|| {
                inner.next_key += 1;
                inner.next_key
            });
            let outlived = match inner.waiting.get_mut(&(what, key)) {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                Some(waker) => Some(std::mem::replace(waker, cx.waker().clone())),
                None => inner.waiting.insert((what, key), cx.waker().clone()),
            };
            (answer, outlived)
        });
        answer
    }

    /// The same for what there may be nothing of any more.
    pub(crate) fn poll_next<O>(
        &mut self,
        cx: &Context<'_>,
        ask: impl FnOnce(&mut Hub) -> Polled<O>,
    ) -> Poll<Option<O>> {
        self.poll(cx, |hub| match ask(hub) {
            Polled::Ready(next) => Poll::Ready(Some(next)),
            Polled::Ended => Poll::Ready(None),
            Polled::Nothing => Poll::Pending,
        })
    }
}

impl<S: Deref<Target = Shared>> Drop for Place<S> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let _outlived = self.shared.inner_turn(|inner| inner.waiting.remove(&(self.what, key)));
        }
    }
}

/// Asks again and again until the answer is there.
pub(crate) struct Asking<'a, F> {
    place: Place<&'a Shared>,
    ask: F,
}

/// Waits for `what`, as long as `ask` says so in its turn.
pub(crate) fn wait_for<O, F>(shared: &Shared, what: For, ask: F) -> Asking<'_, F>
where
    F: FnMut(&mut Hub) -> Poll<O> + Unpin,
{
    Asking { place: Place::new(shared, what), ask }
}

impl<O, F: FnMut(&mut Hub) -> Poll<O> + Unpin> Future for Asking<'_, F> {
    type Output = O;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let this = self.get_mut();
        this.place.poll(cx, &mut this.ask)
    }
}
