//! Bytes on their way out: small frames packed together, large payloads as they were given.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use crate::frame::{HEADER_LEN_MAX, Header, append_masked};

/// What waits to be written, in order.
///
/// Small frames are copied one behind the other, so that many leave in one write. A shared payload is queued as it is,
/// between two stretches of packed bytes.
#[derive(Default)]
pub(crate) struct SendBuf {
    packed: Vec<u8>,
    /// How much of `packed` has been written.
    written: usize,
    /// Boxed, because most connections never have any.
    #[allow(clippy::box_collection)]
    shared: Option<Box<VecDeque<Shared>>>,
    len: usize,
    /// How often in a row all was written with most of the capacity unused.
    roomy_rounds: u8,
}

struct Shared {
    /// How much of `packed` goes before it.
    at: usize,
    payload: Bytes,
}

impl SendBuf {
    /// How many bytes wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a header and a payload, which is masked if the header says so.
    #[inline(always)] // so that the header need not be laid out in memory
    pub(crate) fn push(&mut self, header: &Header, payload: &[u8]) {
        self.provide(HEADER_LEN_MAX + payload.len());
        let start = self.packed.len();
        let mut bytes = [0; HEADER_LEN_MAX];
        let at = start + header.encode(&mut bytes);
        // All of the array, whose length is known, is copied faster than the part of it that is to stay.
        self.packed.extend_from_slice(&bytes);
        self.packed.truncate(at);
        match header.masking_key {
            Some(key) => append_masked(&mut self.packed, payload, key),
            None => self.packed.extend_from_slice(payload),
        }
        self.len += self.packed.len() - start;
    }

    /// Appends bytes that are no frame.
    pub(crate) fn push_raw(&mut self, bytes: &[u8]) {
        self.provide(bytes.len());
        self.packed.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Whether a payload of so many bytes may be appended without copying it. Payloads may share their memory, which then does not bound the
    /// sum of them.
    pub(crate) fn takes_shared(&self, len: usize) -> bool {
        self.len.saturating_add(len) <= SHARED_LEN_MAX
    }

    /// Appends a payload without copying it, which [`takes_shared`](Self::takes_shared) must allow.
    pub(crate) fn push_shared(&mut self, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        self.len += payload.len();
        self.shared.get_or_insert_default().push_back(Shared { at: self.packed.len(), payload });
    }

    /// The first stretch of contiguous bytes; empty only when nothing waits.
    #[inline]
    pub(crate) fn front(&self) -> &[u8] {
        match self.shared.as_deref().and_then(VecDeque::front) {
            None => &self.packed[self.written..],
            Some(shared) if shared.at == self.written => &shared.payload,
            Some(shared) => &self.packed[self.written..shared.at],
        }
    }

    /// Lays as many stretches into `slices` as there are, or as fit, and returns how many.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut from = self.written;
        for shared in self.shared.as_deref().into_iter().flatten() {
            for stretch in [&self.packed[from..shared.at], &shared.payload] {
                if stretch.is_empty() {
                    continue;
                }
                let Some(slice) = slices.get_mut(filled) else {
                    return filled;
                };
                *slice = IoSlice::new(stretch);
                filled += 1;
            }
            from = shared.at;
        }
        if let (Some(slice), false) = (slices.get_mut(filled), from == self.packed.len()) {
            *slice = IoSlice::new(&self.packed[from..]);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `n` bytes, or all when there are fewer.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        let mut n = n.min(self.len);
        self.len -= n;
        while let Some(shared) = &mut self.shared
            && let Some(front) = shared.front_mut()
        {
            let packed = n.min(front.at - self.written);
            self.written += packed;
            n -= packed;
            if n < front.payload.len() {
                front.payload.advance(n);
                return;
            }
            n -= front.payload.len();
            shared.pop_front();
        }
        self.written += n;
        if self.written == self.packed.len() {
            self.restart();
        }
    }

    /// Counts so many bytes more than there are, as of payloads that share their memory.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, len: usize) {
        self.len += len;
    }

    /// Forgets everything and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives back the memory that nothing waits in.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// All has been written.
    #[inline]
    fn restart(&mut self) {
        if self.packed.capacity() > RETAINED_MAX {
            let roomy = self.packed.len() < self.packed.capacity() / 4;
            self.roomy_rounds = if roomy { self.roomy_rounds + 1 } else { 0 };
            if self.roomy_rounds >= ROOMY_ROUNDS_MAX {
                self.packed = Vec::new();
                self.roomy_rounds = 0;
            }
        }
        self.packed.clear();
        self.written = 0;
    }

    /// Sees to it that so many packed bytes more have room.
    #[inline]
    fn provide(&mut self, len: usize) {
        if self.packed.capacity() - self.packed.len() < len {
            self.make_room(len);
        }
    }

    #[cold]
    fn make_room(&mut self, len: usize) {
        if self.written >= self.packed.len() / 2 {
            // Moves no more than was written since the last move.
            self.packed.drain(..self.written);
            for shared in self.shared.iter_mut().flat_map(|shared| shared.iter_mut()) {
                shared.at -= self.written;
            }
            self.written = 0;
        }
        self.packed.reserve(len);
    }
}

/// How much may wait once a shared payload is appended: half of what can be counted. Packed bytes, which take memory, are at most the other half.
const SHARED_LEN_MAX: usize = isize::MAX as usize;
/// A capacity up to this is kept from write to write.
const RETAINED_MAX: usize = 16 * 1024;
/// How many writes that need little of a larger one pass before it is given back.
const ROOMY_ROUNDS_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Opcode, Rsv, apply_mask};
    use proptest::prelude::*;

    fn waiting(buf: &SendBuf) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let n = buf.slices(&mut slices);
        slices[..n].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn packed_bytes_are_one_stretch_and_shared_ones_keep_their_address() {
        let mut buf = SendBuf::default();
        let large = Bytes::from(vec![9; 1000]);
        buf.push_raw(b"ab");
        buf.push_raw(b"c");
        buf.push_shared(large.clone());
        buf.push_raw(b"de");
        assert_eq!(buf.front(), b"abc");
        buf.advance(2);
        assert_eq!(buf.front(), b"c");
        buf.advance(1);
        assert_eq!(buf.front().as_ptr(), large.as_ptr());
        buf.advance(999);
        assert_eq!(buf.front(), [9]);
        buf.advance(2);
        assert_eq!(buf.front(), b"e");
        buf.advance(100);
        assert!(buf.is_empty() && buf.front().is_empty());
    }

    #[test]
    fn what_waits_can_always_be_counted() {
        let mut buf = SendBuf::default();
        buf.push_raw(b"ab");
        buf.push_shared(Bytes::from_static(b"cde"));
        for (len, taken) in [(SHARED_LEN_MAX - 6, true), (SHARED_LEN_MAX - 5, true), (SHARED_LEN_MAX - 4, false)] {
            assert_eq!(buf.takes_shared(len), taken, "{len}");
        }
        assert!(!buf.takes_shared(usize::MAX));
        buf.advance(5);
        assert!(buf.takes_shared(SHARED_LEN_MAX), "as long as any payload can be");
    }

    /// All of `capacity` packed but for `spare`, and of that all written but for `left`.
    fn packed(capacity: usize, spare: usize, left: usize) -> SendBuf {
        let mut buf = SendBuf { packed: Vec::with_capacity(capacity), ..SendBuf::default() };
        assert_eq!(buf.packed.capacity(), capacity);
        buf.push_raw(&vec![7; capacity - spare]);
        buf.advance(capacity - spare - left);
        buf
    }

    #[test]
    fn packed_bytes_are_moved_when_room_is_short_and_not_before() {
        let header = Header { fin: true, rsv: Rsv::NONE, opcode: Opcode::Binary, masking_key: None, payload_len: 100 };
        for (more, is_moved) in [(1, false), (0, false), (-1, true)] {
            let mut buf = packed(1000, 100_usize.saturating_add_signed(more), 10);
            buf.push_raw(&[7; 100]);
            assert_eq!((buf.written == 0, buf.packed.capacity(), buf.len()), (is_moved, 1000, 110));
            let mut buf = packed(1000, (HEADER_LEN_MAX + 100).saturating_add_signed(more), 10);
            buf.push(&header, &[7; 100]);
            assert_eq!((buf.written == 0, buf.packed.capacity(), buf.len()), (is_moved, 1000, 112));
        }
    }

    /// So that a peer who takes a byte at a time does not cause a move for each.
    #[test]
    fn no_more_is_moved_than_was_written() {
        for (left, is_moved) in [(499, true), (500, true), (501, false)] {
            let mut buf = packed(1000, 0, left);
            buf.push_raw(b"x");
            assert_eq!((buf.written == 0, buf.packed.capacity() == 1000), (is_moved, is_moved), "{left} left");
        }
    }

    #[test]
    fn a_queue_that_never_runs_empty_reuses_its_room() {
        let mut buf = SendBuf::default();
        buf.push_raw(&[7; 1000]);
        for _ in 0..1000 {
            buf.push_raw(&[7; 100]);
            buf.advance(100);
            assert!(buf.packed.capacity() <= 4 * 1100, "{} for {}", buf.packed.capacity(), buf.len());
        }
    }

    #[test]
    fn only_what_is_much_larger_than_what_is_used_of_it_is_given_back() {
        for (capacity, used, is_given_back) in [
            (RETAINED_MAX - 1, 1, false),
            (RETAINED_MAX, 1, false),
            (RETAINED_MAX + 1, 1, true),
            (40_000, 9_999, true),
            (40_000, 10_000, false),
            (40_000, 10_001, false),
        ] {
            let mut buf = packed(capacity, 0, 0);
            for _ in 0..100 {
                buf.push_raw(&vec![7; used]);
                buf.advance(used);
            }
            assert_eq!(buf.packed.capacity() < capacity, is_given_back, "{used} of {capacity} used");
        }
    }

    #[test]
    fn a_spike_is_given_back() {
        let mut buf = SendBuf::default();
        buf.push_raw(&[0; 1_000_000]);
        buf.advance(1_000_000);
        assert!(buf.packed.capacity() >= 1_000_000);
        for _ in 0..20 {
            buf.push_raw(b"xy");
            buf.advance(2);
        }
        assert!(buf.packed.capacity() <= RETAINED_MAX);
        buf.release();
        assert_eq!(buf.packed.capacity(), 0);
    }

    proptest! {
        #[test]
        fn any_mix_of_pushes_and_writes_keeps_the_order(
            ops in proptest::collection::vec((0..4_u8, 0..50_usize), 0..60),
        ) {
            let mut buf = SendBuf::default();
            let mut model = Vec::new();
            let mut next = 0_u8;
            for (kind, n) in ops {
                let bytes: Vec<u8> = (0..n).map(|_| { next = next.wrapping_add(1); next }).collect();
                match kind {
                    0 => {
                        let masking_key = if n % 2 == 0 { Some([1, 2, 3, 4]) } else { None };
                        let opcode = Opcode::Binary;
                        let header = Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len: n as u64 };
                        let mut head = [0; HEADER_LEN_MAX];
                        let head_len = header.encode(&mut head);
                        buf.push(&header, &bytes);
                        model.extend_from_slice(&head[..head_len]);
                        let at = model.len();
                        model.extend(bytes);
                        if let Some(key) = masking_key {
                            apply_mask(&mut model[at..], key, 0);
                        }
                    }
                    3 => { buf.push_raw(&bytes); model.extend(bytes); }
                    1 => { buf.push_shared(bytes.clone().into()); model.extend(bytes); }
                    _ => { buf.advance(n); model.drain(..n.min(model.len())); }
                }
                prop_assert_eq!(buf.len(), model.len());
                prop_assert_eq!(waiting(&buf), model.clone());
                prop_assert!(model.starts_with(buf.front()));
                prop_assert_eq!(buf.front().is_empty(), model.is_empty());
            }
        }
    }
}
