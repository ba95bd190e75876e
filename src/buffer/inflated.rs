//! Where a compressed message is inflated to, and lent from.

use std::ops::Range;

use super::recv::{PIN_FACTOR_MAX, ROOMY_ROUNDS_MAX, SPIKE_FACTOR};
use crate::frame::{TakenBytes, TextBytes, Utf8Error};

/// The inflated part of the message under way, in one piece; what has been lent of it is dead.
#[derive(Default)]
pub(super) struct Inflated {
    storage: TextBytes,
    start: usize,
    end: usize,
    /// How large `storage` was made.
    allocated: usize,
    /// How often in a row a message left most of the room unused.
    roomy_rounds: u8,
}

impl Inflated {
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn allocated(&self) -> usize {
        self.allocated
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.storage[range]
    }

    pub(super) fn text(&mut self, range: Range<usize>) -> Option<&str> {
        self.storage.text(range)
    }

    pub(super) fn check_text(&mut self) -> Result<u8, Utf8Error> {
        self.storage.check_text(self.start..self.end)
    }

    /// Room behind the message, at most `max` bytes. It begins with `hint`, and doubles as the message grows.
    pub(super) fn room(&mut self, hint: usize, max: usize) -> &mut [u8] {
        if self.len() == 0 {
            self.begin();
        }
        if self.storage.len() - self.end < ROOM_MIN.min(max) {
            self.make_room(hint);
        }
        let until = self.storage.len().min(self.end.saturating_add(max));
        self.storage.range_mut(self.end..until)
    }

    pub(super) fn advance(&mut self, produced: usize) {
        self.end += produced.min(self.storage.len() - self.end);
    }

    /// Makes all of the message but its last `keep` bytes dead, and returns where it lies.
    pub(super) fn lend(&mut self, keep: usize) -> Range<usize> {
        let until = self.end - keep.min(self.len());
        let lent = self.start..until;
        self.start = until;
        lent
    }

    /// Takes what was lent, without a copy if it fills enough of its allocation.
    pub(super) fn take(&mut self, lent: Range<usize>) -> TakenBytes {
        if lent.len() < self.allocated / PIN_FACTOR_MAX || self.len() > 0 {
            return self.storage.copy(lent);
        }
        std::mem::take(self).storage.split(lent)
    }

    /// Gives the memory back that nothing is left in.
    pub(super) fn release(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        } else if self.len() <= self.allocated / 2 {
            self.reallocate(self.len());
        }
    }

    /// Nothing is left: starts at the front again, and gives back a spike's memory when it has not been needed for a while.
    fn begin(&mut self) {
        let is_roomy = self.allocated > RETAINED_MAX && self.end < self.allocated / SPIKE_FACTOR;
        self.roomy_rounds = if is_roomy { self.roomy_rounds + 1 } else { 0 };
        if self.roomy_rounds >= ROOMY_ROUNDS_MAX {
            *self = Self::default();
        }
        (self.start, self.end) = (0, 0);
    }

    #[cold]
    fn make_room(&mut self, hint: usize) {
        let left = self.len();
        if self.start > 0 && left <= self.storage.len() / 2 {
            self.storage.move_within(self.start..self.end, 0);
            (self.start, self.end) = (0, left);
        } else {
            self.reallocate((2 * self.storage.len()).max(left + hint.clamp(FIRST_LEN_MIN, FIRST_LEN_MAX)));
        }
    }

    fn reallocate(&mut self, len: usize) {
        let mut storage = TextBytes::zeroed(len);
        storage.copy_from(&self.storage, self.start..self.end, 0);
        (self.start, self.end) = (0, self.len());
        self.storage = storage;
        self.allocated = len;
        self.roomy_rounds = 0;
    }
}

/// With less room than this the storage grows: each step of inflating costs something.
const ROOM_MIN: usize = 256;
const FIRST_LEN_MIN: usize = 512;
const FIRST_LEN_MAX: usize = 64 * 1024;
/// Storage up to this is kept from message to message.
const RETAINED_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(buf: &mut Inflated, len: usize) {
        let mut left = len;
        while left > 0 {
            let n = buf.room(100, left).len();
            assert!(n > 0 && n <= left);
            buf.room(100, left).fill(7);
            buf.advance(n);
            left -= n;
            assert!(buf.allocated() <= 2 * buf.len() + 2 * FIRST_LEN_MIN, "{} for {}", buf.allocated(), buf.len());
        }
    }

    #[test]
    fn memory_follows_what_was_inflated_and_a_spike_is_given_back() {
        let mut buf = Inflated::default();
        inflate(&mut buf, 1_000_000);
        assert_eq!(buf.lend(0), 0..1_000_000);
        for round in 0.. {
            inflate(&mut Inflated::default(), 100);
            buf.room(100, 100);
            buf.advance(100);
            buf.lend(0);
            if buf.allocated() <= RETAINED_MAX {
                assert!(round > 10, "shrinks in {round} rounds, too eager");
                break;
            }
            assert!(round < 100, "never shrinks");
        }
        buf.release();
        assert_eq!(buf.allocated(), 0);
    }

    #[test]
    fn what_is_lent_in_part_goes_on_with_the_rest() {
        let mut buf = Inflated::default();
        buf.room(10, 5).copy_from_slice(b"abcde");
        buf.advance(5);
        let lent = buf.lend(2);
        assert_eq!((buf.slice(lent.clone()), buf.message()), (&b"abc"[..], &b"de"[..]));
        assert_eq!(buf.take(lent).into_bytes(), "abc");
        buf.room(10, 1).copy_from_slice(b"f");
        buf.advance(1);
        buf.release();
        assert_eq!((buf.allocated(), buf.message()), (3, &b"def"[..]));
    }

    #[test]
    fn what_is_taken_pins_at_most_four_times_its_size() {
        for (len, is_shared) in [(100, false), (511, false), (512, true), (2000, true)] {
            let mut buf = Inflated::default();
            buf.room(2048, 2048);
            let before = buf.storage.as_ptr();
            buf.advance(len);
            let lent = buf.lend(0);
            let taken = buf.take(lent).into_bytes();
            assert_eq!((taken.len(), taken.as_ptr() == before), (len, is_shared), "{len} bytes");
            assert_eq!(buf.len(), 0);
        }
    }
}
