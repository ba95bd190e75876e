//! What the peer said before a write failed.
//!
//! A peer that is gone refuses what is written, but what it sent before may still lie in the stream. That counts, so it is read before the
//! connection is told of the failure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::Transport;
use crate::driver::ROUNDS_MAX;
use crate::scratch::ScratchBuf;

/// Reads what is there, until `buf` holds more than `len_max`; whether that is done. Otherwise it is to be called again in another poll.
pub(crate) fn read_last_words(transport: &mut impl Transport, buf: &mut ScratchBuf, len_max: u64) -> bool {
    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..ROUNDS_MAX {
        if buf.len() as u64 > len_max {
            return true;
        }
        match transport.poll_read(&mut Context::from_waker(&waker), buf.roomy().spare_mut()) {
            // One that wakes at once has more, but is out of its runtime's budget. What is not there by now comes too late.
            Poll::Pending => return !woken.0.load(Ordering::Acquire),
            Poll::Ready(Ok(n)) if n > 0 => buf.get().advance_received(n),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(_) => return true,
        }
    }
    // It is the others' turn.
    false
}

/// Whether it was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
