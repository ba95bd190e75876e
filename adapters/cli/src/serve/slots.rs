//! A limit on how many connections are served at once.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// So many slots; who wants one waits until it is free.
#[derive(Clone)]
pub(super) struct Slots {
    shared: Arc<Shared>,
}

/// A slot taken, given back when it is dropped, also by a thread that panics.
pub(super) struct Slot {
    shared: Arc<Shared>,
}

struct Shared {
    free: Mutex<u32>,
    freed: Condvar,
}

impl Slots {
    /// With so many free slots.
    pub(super) fn new(free: u32) -> Self {
        Self { shared: Arc::new(Shared { free: Mutex::new(free), freed: Condvar::new() }) }
    }

    /// Takes a slot, or waits for one.
    pub(super) fn take(&self) -> Slot {
        let free = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.shared.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Slot { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.shared.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.shared.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_panics_gives_its_slot_back() {
        let slots = Slots::new(1);
        let slot = slots.take();
        let panicked = thread::spawn(move || {
            let _slot = slot;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.join().is_err());
        drop(slots.take());
    }

    #[test]
    fn no_more_slots_are_taken_than_there_are() {
        let slots = Slots::new(2);
        let (first, _second) = (slots.take(), slots.take());
        assert_eq!(*slots.shared.free.lock().unwrap(), 0);
        let waiting = thread::spawn({
            let slots = slots.clone();
            move || drop(slots.take())
        });
        drop(first);
        waiting.join().unwrap();
        assert_eq!(*slots.shared.free.lock().unwrap(), 1);
    }
}
