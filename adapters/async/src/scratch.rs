//! The buffer that the connections of a thread read into in turn.

use std::cell::Cell;

use sansocket::RecvBuf;
use sansocket::buffer::READ_SIZE;

/// What one connection has received and not used up: nothing while it is idle, in the thread's buffer while it is at work, in one of its own
/// in the middle of a message.
#[derive(Default)]
pub(crate) struct ScratchBuf(Option<Box<RecvBuf>>);

impl ScratchBuf {
    /// With what somebody else has read.
    pub(crate) fn new(buf: RecvBuf) -> Self {
        Self(if buf.is_empty() { None } else { Some(Box::new(buf)) })
    }

    /// To poll the connection with.
    #[inline]
    pub(crate) fn get(&mut self) -> &mut RecvBuf {
        self.0.get_or_insert_with(borrow)
    }

    /// With room for a whole read: in the thread's buffer, unless much is left in the connection's own.
    #[inline]
    pub(crate) fn roomy(&mut self) -> &mut RecvBuf {
        let buf = self.0.get_or_insert_with(borrow);
        if (1..READ_SIZE).contains(&buf.capacity()) && buf.len() < OWN_LEN_MIN {
            let mut scratch = borrow();
            scratch.take_over(buf);
            *buf = scratch;
        }
        buf
    }

    /// Gives the thread's buffer back if nothing is left in it.
    #[inline]
    pub(crate) fn give_back_if_empty(&mut self) {
        if let Some(buf) = self.0.take_if(|buf| buf.is_empty()) {
            give_back(buf);
        }
    }

    /// Gives the thread's buffer back, and keeps in a small one of its own what is left.
    pub(crate) fn give_back(&mut self) {
        self.give_back_if_empty();
        if let Some(buf) = &mut self.0
            && buf.len() < OWN_LEN_MIN
            && buf.capacity() >= READ_SIZE
        {
            let mut own = Box::<RecvBuf>::default();
            own.take_over(buf);
            give_back(std::mem::replace(buf, own));
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|buf| buf.is_empty())
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |buf| buf.len())
    }

    #[inline]
    pub(crate) fn has_unread(&self) -> bool {
        self.0.as_ref().is_some_and(|buf| !buf.unread().is_empty())
    }
}

thread_local! {
    /// `None` while it is lent.
    static SCRATCH: Cell<Option<Box<RecvBuf>>> = const { Cell::new(None) };
}

#[inline]
fn borrow() -> Box<RecvBuf> {
    // In a thread that is ending there is none.
    SCRATCH.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Takes an empty buffer, which a connection may have brought from another thread; the thread keeps the largest that it is given.
#[inline]
fn give_back(buf: Box<RecvBuf>) {
    let _ = SCRATCH.try_with(|scratch| {
        let kept = scratch.take().filter(|kept| kept.capacity() > buf.capacity());
        scratch.set(Some(kept.unwrap_or(buf)));
    });
}

/// What is left of a message is moved out of the thread's buffer up to this size; a connection with more keeps a buffer of its own.
const OWN_LEN_MIN: usize = 4096;
