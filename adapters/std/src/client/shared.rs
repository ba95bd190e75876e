//! What all handles of a client share with its threads: the hub and the stream of the moment under a lock that is never held while waiting.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sansocket::RecvBuf;
use sansocket::client::ClientState;
use sansocket_common::client::Preparation;
use sansocket_common::hub::{Hub, Polled};

use super::threads::Stream;

pub(super) struct Shared {
    core: Mutex<Core>,
    /// Something has changed for a handle.
    handles: Condvar,
    /// Something has changed for a thread of the client.
    threads: Condvar,
}

pub(super) struct Core {
    pub(super) hub: Hub,
    /// What has arrived on the stream of the moment.
    pub(super) buf: RecvBuf,
    pub(super) stream: Option<Arc<Stream>>,
    /// A write to it has failed: whoever reads it takes what arrived before, and then tells.
    pub(super) write_failed: bool,
    /// Nobody reads it any more.
    pub(super) read_ended: bool,
    /// The driver writes, and has given the lock back meanwhile.
    pub(super) is_writing: bool,
    /// Whoever reads is at the end of the stream, and waits for that; no other write begins.
    pub(super) write_awaited: bool,
    /// Which attempt is under way; what earlier ones come to does not count any more.
    pub(super) attempt: u64,
    pub(super) asking: Asking,
}

/// What the application is asked before an attempt, one question at a time.
#[derive(Default)]
pub(super) struct Asking {
    /// Whether a thread is about it.
    pub(super) is_under_way: bool,
    /// What it is to ask next, for which attempt.
    pub(super) next: Option<(u64, Preparation)>,
}

impl Shared {
    pub(super) fn new(hub: Hub) -> Arc<Self> {
        let core = Core {
            hub,
            buf: RecvBuf::default(),
            stream: None,
            write_failed: false,
            read_ended: false,
            is_writing: false,
            write_awaited: false,
            attempt: 0,
            asking: Asking::default(),
        };
        Arc::new(Self { core: Mutex::new(core), handles: Condvar::new(), threads: Condvar::new() })
    }

    /// Takes a turn, and wakes those for whom it has changed something.
    pub(super) fn turn<O>(&self, act: impl FnOnce(&mut Core) -> O) -> O {
        let mut core = self.lock();
        let done = act(&mut core);
        self.tell(&mut core);
        done
    }

    /// A look that changes nothing.
    pub(super) fn look<O>(&self, look: impl FnOnce(&Hub) -> O) -> O {
        look(&self.lock().hub)
    }

    /// Asks again whenever something changes, until there is an answer; at most until `deadline`.
    pub(super) fn wait_until<O>(
        &self,
        deadline: Option<Instant>,
        mut ask: impl FnMut(&mut Hub) -> Option<O>,
    ) -> Option<O> {
        let mut core = self.lock();
        loop {
            let answer = ask(&mut core.hub);
            self.tell(&mut core);
            if answer.is_some() {
                return answer;
            }
            core = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.handles.wait(core).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => self.handles.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// The same, for as long as it takes.
    pub(super) fn wait<O>(&self, mut ask: impl FnMut(&mut Hub) -> Option<O>) -> O {
        loop {
            if let Some(answer) = self.wait_until(None, &mut ask) {
                return answer;
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread of the client waits until something changes for it, at most until `deadline`.
    pub(super) fn sleep<'s>(&self, mut core: MutexGuard<'s, Core>, deadline: Option<Instant>) -> MutexGuard<'s, Core> {
        self.tell(&mut core);
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => self.threads.wait(core).unwrap_or_else(PoisonError::into_inner),
            Some(left) => self.threads.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Wakes the other threads of the client.
    pub(super) fn wake_threads(&self) {
        self.threads.notify_all();
    }

    /// Wakes those for whom something has changed.
    pub(super) fn tell(&self, core: &mut Core) {
        let changes = core.hub.take_changes();
        #[cfg(feature = "json")]
        let answered = !changes.answers.is_empty();
        #[cfg(not(feature = "json"))]
        let answered = false;
        let has_outcomes = !changes.outcomes.is_empty() || answered;
        if changes.messages || changes.room || changes.events || changes.state || has_outcomes {
            self.handles.notify_all();
        }
        if changes.driver {
            self.threads.notify_all();
        }
        if core.hub.client().state() == ClientState::Closed
            && let Some(stream) = &core.stream
        {
            // So that nobody hangs in a read or a write. It may be gone already.
            let _ = stream.shutdown_both();
        }
    }
}

/// What there is, as an answer: `Some(None)` at the end.
pub(super) fn answer<T>(polled: Polled<T>) -> Option<Option<T>> {
    match polled {
        Polled::Ready(next) => Some(Some(next)),
        Polled::Ended => Some(None),
        Polled::Nothing => None,
    }
}
