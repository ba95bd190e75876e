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
            // Otherwise a release after each step would move a long message each time.
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
    fn only_what_is_much_larger_than_what_is_used_of_it_is_given_back() {
        for (allocated, used, is_given_back) in [
            (RETAINED_MAX - 1, 1, false),
            (RETAINED_MAX, 1, false),
            (RETAINED_MAX + 1, 1, true),
            (400_000, 99_999, true),
            (400_000, 100_000, false),
            (400_000, 100_001, false),
        ] {
            let mut buf = Inflated::default();
            buf.reallocate(allocated);
            for _ in 0..100 {
                buf.room(1, 1);
                buf.advance(used);
                buf.lend(0);
            }
            assert_eq!(buf.allocated() < allocated, is_given_back, "{used} of {allocated} used");
        }
    }

    #[test]
    fn it_grows_only_when_the_room_is_small_and_less_than_asked_for() {
        for (spare, max, allocated) in [
            (257, 4096, 1024),
            (256, 4096, 1024),
            (255, 4096, 2048),
            (101, 100, 1024),
            (100, 100, 1024),
            (99, 100, 2048),
        ] {
            let mut buf = Inflated::default();
            buf.reallocate(1024);
            buf.advance(1024 - spare);
            assert!(buf.room(1, max).len() >= max.min(ROOM_MIN), "{spare} of {max}");
            assert_eq!(buf.allocated(), allocated, "{spare} of {max}");
        }
    }

    #[test]
    fn a_message_that_is_lent_in_pieces_stays_in_the_room_it_began_in() {
        let mut buf = Inflated::default();
        for _ in 0..1000 {
            let n = buf.room(1, 4096).len();
            buf.advance(n);
            buf.lend(3);
            assert_eq!((buf.allocated(), buf.len()), (FIRST_LEN_MIN, 3));
        }
        // But not when what is kept leaves little of it: then moving it would gain too little.
        for (keep, allocated) in [(511, 1024), (512, 1024), (513, 2048)] {
            let mut buf = Inflated::default();
            buf.reallocate(1024);
            buf.advance(1024);
            buf.lend(keep);
            assert!(buf.room(1, 4096).len() >= ROOM_MIN);
            assert_eq!((buf.allocated(), buf.len()), (allocated, keep));
        }
    }

    #[test]
    fn a_message_that_is_released_after_each_step_is_moved_a_bounded_number_of_times() {
        let mut buf = Inflated::default();
        let mut moved = 0;
        while buf.len() < 100_000 {
            let before = buf.storage.as_ptr();
            let n = buf.room(1, 100).len();
            let between = buf.storage.as_ptr();
            assert!(n > 0);
            moved += if between == before { 0 } else { buf.len() };
            buf.advance(n);
            buf.release();
            moved += if buf.storage.as_ptr() == between { 0 } else { buf.len() };
        }
        assert!(moved <= 3 * buf.len(), "{moved} bytes moved for {}", buf.len());
    }

    #[test]
    fn more_than_the_room_counts_as_all_of_it() {
        let mut buf = Inflated::default();
        buf.reallocate(1024);
        buf.advance(10);
        buf.advance(usize::MAX);
        assert_eq!(buf.message(), [0; 1024]);
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

    #[test]
    fn what_is_taken_leaves_the_rest() {
        let mut buf = Inflated::default();
        buf.reallocate(1000);
        buf.advance(1000);
        let lent = buf.lend(3);
        assert_eq!((buf.take(lent).into_bytes().len(), buf.message()), (997, &[0; 3][..]));
    }
}
