//! What safe Rust is too slow for. The one file of the crate with `unsafe`:
//!
//! - calls of what is compiled for a processor with AVX2, once the processor is known to have it (on aarch64, vector registers are there
//!   always);
//! - masking on the way into memory that holds nothing yet;
//! - text that is not checked twice: [`from_utf8`], and [`TextBytes`], which remembers what has been.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::{Deref, Range};

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;

use super::Utf8Error;
use super::mask::{rotated, xor, xor_to};
use super::utf8::{is_unfinished, split_partial};

/// Masks or unmasks `payload` in place, starting `offset` bytes into the frame's payload.
///
/// Applying it twice gives back what was there. A payload may come in pieces: the offset of each piece is the sum of the
/// lengths before it (only its remainder by four matters). RFC 6455 section 5.3.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], offset: u64) {
    mask::<false>(payload, rotated(key, offset));
}

/// Masks in place; if `PROBE`, tells whether what comes of it is ASCII.
#[inline]
fn mask<const PROBE: bool>(payload: &mut [u8], key: u32) -> bool {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= VECTOR_LEN_MIN && std::arch::is_x86_feature_detected!("avx2") {
        /// Compiled for registers of 32 bytes.
        #[target_feature(enable = "avx2")]
        fn wide<const PROBE: bool>(payload: &mut [u8], key: u32) -> bool {
            xor::<PROBE>(payload, key)
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide::<PROBE>(payload, key) };
    }
    xor::<PROBE>(payload, key)
}

/// Appends `payload` to `out`, masked on the way: one pass over memory instead of two.
#[expect(clippy::arithmetic_side_effects, reason = "the sum is at most the capacity")]
pub(crate) fn append_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    out.reserve(payload.len());
    let key = rotated(key, 0);
    let place = &mut out.spare_capacity_mut()[..payload.len()];
    mask_to(place, payload, key);
    // SAFETY: each of these bytes has just been written.
    unsafe { out.set_len(out.len() + payload.len()) };
}

/// Writes each byte of `place`, which is as long as `payload`.
#[inline]
fn mask_to(place: &mut [MaybeUninit<u8>], payload: &[u8], key: u32) {
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= VECTOR_LEN_MIN && std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(place: &mut [MaybeUninit<u8>], payload: &[u8], key: u32) {
            xor_to(place, payload, key);
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide(place, payload, key) };
    }
    xor_to(place, payload, key);
}

/// The text in `bytes`; `None` when they are not UTF-8. RFC 3629.
#[inline]
pub fn from_utf8(bytes: &[u8]) -> Option<&str> {
    // SAFETY: just checked.
    is_utf8(bytes).then(|| unsafe { std::str::from_utf8_unchecked(bytes) })
}

#[inline]
fn is_utf8(bytes: &[u8]) -> bool {
    if bytes.len() < VECTOR_LEN_MIN {
        is_ascii::<8>(bytes) || std::str::from_utf8(bytes).is_ok()
    } else {
        is_long_ascii(bytes) || simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

#[inline]
fn is_long_ascii(bytes: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(bytes: &[u8]) -> bool {
            if bytes.len() < 256 { is_ascii::<64>(bytes) } else { is_ascii::<256>(bytes) }
        }
        // SAFETY: the processor has AVX2.
        return unsafe { wide(bytes) };
    }
    is_ascii::<64>(bytes)
}

/// Looks at blocks of `N` bytes, the last of which may overlap the one before it, and stops at the first that is not ASCII.
#[inline(always)]
fn is_ascii<const N: usize>(bytes: &[u8]) -> bool {
    let is_ascii = |block: &[u8; N]| {
        let words = block.as_chunks::<8>().0.iter();
        words.fold(0, |any, word| any | u64::from_ne_bytes(*word)) & HIGH_BITS == 0
    };
    match bytes.last_chunk::<N>() {
        Some(last) => bytes.as_chunks::<N>().0.iter().all(is_ascii) && is_ascii(last),
        None => bytes.is_ascii(),
    }
}

/// Bytes of which one stretch may be known to be UTF-8, so that it is not checked again.
///
/// Invariant: `bytes[text]` is UTF-8. All that changes or moves bytes is in this `impl`, and forgets the stretch, or moves it too.
#[derive(Default)]
pub(crate) struct TextBytes {
    bytes: BytesMut,
    text: Range<usize>,
}

impl TextBytes {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { bytes: BytesMut::zeroed(len), text: 0..0 }
    }

    /// A stretch to be written to.
    #[inline(always)] // in the path of every message
    pub(crate) fn range_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        if range.start < self.text.end {
            self.text = 0..0;
        }
        &mut self.bytes[range]
    }

    /// Moves a stretch, with what is known of it if that is all of what is known.
    #[expect(clippy::arithmetic_side_effects, reason = "a stretch ends at `isize::MAX` at most, and so does `to`")]
    pub(crate) fn move_within(&mut self, from: Range<usize>, to: usize) {
        let text = moved(&self.text, &from, to);
        self.range_mut(to..to + from.len()); // Forgets what is overwritten.
        self.bytes.copy_within(from, to);
        if let Some(text) = text {
            self.text = text;
        }
    }

    /// Copies a stretch of others, with what is known of it if that is all of what is known of them.
    #[expect(clippy::arithmetic_side_effects, reason = "a stretch ends at `isize::MAX` at most, and so does `to`")]
    pub(crate) fn copy_from(&mut self, other: &Self, from: Range<usize>, to: usize) {
        let text = moved(&other.text, &from, to);
        self.range_mut(to..to + from.len()).copy_from_slice(&other.bytes[from]);
        if let Some(text) = text {
            self.text = text;
        }
    }

    /// Masks or unmasks a stretch that is too short for vector registers.
    #[inline]
    pub(crate) fn mask_short(&mut self, range: Range<usize>, key: [u8; 4]) {
        xor::<false>(self.range_mut(range), rotated(key, 0));
    }

    /// Masks or unmasks a stretch.
    #[inline]
    pub(crate) fn mask(&mut self, range: Range<usize>, key: [u8; 4]) {
        mask::<false>(self.range_mut(range), rotated(key, 0));
    }

    /// Unmasks a stretch that is probably text: if it comes out as ASCII, that is known then.
    pub(crate) fn unmask_text(&mut self, range: Range<usize>, key: [u8; 4]) {
        if mask::<true>(self.range_mut(range.clone()), rotated(key, 0)) {
            self.note_text(range);
        }
    }

    /// Checks a stretch as the beginning of a text, and returns how many bytes of an unfinished code point it ends with. What is
    /// known of it is not checked again.
    pub(crate) fn check_text(&mut self, range: Range<usize>) -> Result<u8, Utf8Error> {
        let is_known = self.text.start <= range.start && (range.start..=range.end).contains(&self.text.end);
        let from = if is_known { self.text.end } else { range.start };
        let (whole, partial) = split_partial(&self.bytes[from..range.end]);
        if !is_utf8(whole) || !is_unfinished(partial) {
            return Err(Utf8Error);
        }
        let partial_len = partial.len() as u8;
        #[expect(clippy::arithmetic_side_effects, reason = "it is a stretch up to `range.end` at most")]
        let end = from + whole.len();
        self.note_text(from..end);
        Ok(partial_len)
    }

    /// The text that a stretch is; `None` when it is not UTF-8.
    #[inline]
    pub(crate) fn text(&mut self, range: Range<usize>) -> Option<&str> {
        if self.text != range {
            if range.end <= self.text.end && self.known_text(range.clone()).is_some() {
                return self.known_text(range);
            }
            if !is_utf8(&self.bytes[range.clone()]) {
                return None;
            }
            self.text = range;
        }
        Some(self.all_known_text())
    }

    /// Splits off all up to the end of `range`, and returns that.
    pub(crate) fn split(&mut self, range: Range<usize>) -> TakenBytes {
        let is_text = self.known_text(range.clone()).is_some();
        self.text = moved(&self.text, &(range.end..self.len()), 0).unwrap_or(0..0);
        let mut bytes = self.bytes.split_to(range.end);
        bytes.advance(range.start);
        TakenBytes { bytes: bytes.freeze(), is_text }
    }

    /// Copies a stretch.
    pub(crate) fn copy(&self, range: Range<usize>) -> TakenBytes {
        let is_text = self.known_text(range.clone()).is_some();
        TakenBytes { bytes: Bytes::copy_from_slice(&self.bytes[range]), is_text }
    }

    /// A stretch of what is known to be text; `None` when it is not, or cuts a code point.
    #[inline]
    pub(crate) fn known_text(&self, range: Range<usize>) -> Option<&str> {
        let start = range.start.checked_sub(self.text.start)?;
        let end = range.end.checked_sub(self.text.start)?;
        self.all_known_text().get(start..end)
    }

    #[inline]
    fn all_known_text(&self) -> &str {
        // SAFETY: the invariant.
        unsafe { std::str::from_utf8_unchecked(&self.bytes[self.text.clone()]) }
    }

    /// Remembers a stretch, which is UTF-8, together with what is known right before it.
    #[inline]
    fn note_text(&mut self, range: Range<usize>) {
        if self.text.end != range.start {
            self.text.start = range.start;
        }
        self.text.end = range.end;
    }
}

impl Deref for TextBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that outlive their buffer.
///
/// Invariant: if `is_text`, `bytes` are UTF-8.
pub(crate) struct TakenBytes {
    bytes: Bytes,
    is_text: bool,
}

impl TakenBytes {
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Checks them, unless they have been; `None` when they are not UTF-8.
    pub(crate) fn into_text(self) -> Option<ByteString> {
        if self.is_text {
            // SAFETY: the invariant.
            return Some(unsafe { ByteString::from_bytes_unchecked(self.bytes) });
        }
        ByteString::try_from(self.bytes).ok()
    }
}

/// Where `text` lies after `from` went `to` there, if it is a part of it.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "`from.start <= text.start <= text.end`, and no place is above `isize::MAX`"
)]
fn moved(text: &Range<usize>, from: &Range<usize>, to: usize) -> Option<Range<usize>> {
    let is_part = from.start <= text.start && text.end <= from.end && !text.is_empty();
    is_part.then(|| to + (text.start - from.start)..to + (text.end - from.start))
}

/// Shorter payloads do not make up for the calls and the set-up.
pub(crate) const VECTOR_LEN_MIN: usize = 64;

pub(super) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Write(usize, Vec<u8>),
        Move(usize, usize, usize),
        CopyFrom(Vec<u8>, usize),
        Mask(usize, usize, [u8; 4]),
        UnmaskText(usize, usize, [u8; 4]),
        Check(usize, usize),
        Text(usize, usize),
        Copy(usize, usize),
        Split(usize, usize),
    }

    /// Text, text cut anywhere, ASCII, and bytes.
    fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[é€💩a]{0,30}".prop_map(String::into_bytes),
            "[a-z]{0,200}".prop_map(String::into_bytes),
            "[é€💩]{0,100}".prop_map(|text| text.as_bytes()[text.len().min(1)..].to_vec()),
            proptest::collection::vec(any::<u8>(), 0..30),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let at = || 0..300_usize;
        let key = || prop_oneof![Just([0; 4]), any::<[u8; 4]>()];
        prop_oneof![
            4 => (at(), some_bytes()).prop_map(|(at, bytes)| Op::Write(at, bytes)),
            1 => (at(), at(), at()).prop_map(|(one, other, to)| Op::Move(one, other, to)),
            1 => (some_bytes(), at()).prop_map(|(bytes, to)| Op::CopyFrom(bytes, to)),
            1 => (at(), at(), key()).prop_map(|(one, other, key)| Op::Mask(one, other, key)),
            2 => (at(), at(), key()).prop_map(|(one, other, key)| Op::UnmaskText(one, other, key)),
            4 => (at(), at()).prop_map(|(one, other)| Op::Check(one, other)),
            4 => (at(), at()).prop_map(|(one, other)| Op::Text(one, other)),
            1 => (at(), at()).prop_map(|(one, other)| Op::Copy(one, other)),
            1 => (at(), at()).prop_map(|(one, other)| Op::Split(one, other)),
        ]
    }

    /// The text that `bytes` begin with, and whether what is behind it may go on as one.
    fn beginning(bytes: &[u8]) -> Result<u8, Utf8Error> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(0),
            Err(error) if error.error_len().is_none() => Ok((bytes.len() - error.valid_up_to()) as u8),
            Err(_) => Err(Utf8Error),
        }
    }

    proptest! {
        /// Held against plain bytes that are checked each time.
        #[test]
        fn what_is_known_to_be_text_is_text(ops in proptest::collection::vec(op(), 0..60)) {
            let mut bytes = TextBytes::zeroed(300);
            let mut plain = vec![0; 300];
            for op in ops {
                let len = plain.len();
                let range = |one: usize, other: usize| {
                    let (one, other) = (one.min(len), other.min(len));
                    one.min(other)..one.max(other)
                };
                match op {
                    Op::Write(at, new) => {
                        let range = range(at, at + new.len());
                        bytes.range_mut(range.clone()).copy_from_slice(&new[..range.len()]);
                        plain[range.clone()].copy_from_slice(&new[..range.len()]);
                    }
                    Op::Move(one, other, to) => {
                        let from = range(one, other);
                        let to = to.min(plain.len() - from.len());
                        bytes.move_within(from.clone(), to);
                        plain.copy_within(from, to);
                    }
                    Op::CopyFrom(new, to) => {
                        let mut other = TextBytes::zeroed(new.len());
                        other.range_mut(0..new.len()).copy_from_slice(&new);
                        let _ = other.check_text(0..new.len());
                        let range = range(to, to + new.len());
                        bytes.copy_from(&other, 0..range.len(), to.min(plain.len()));
                        plain[range.clone()].copy_from_slice(&new[..range.len()]);
                    }
                    Op::Mask(one, other, key) => {
                        if other % 2 == 0 {
                            bytes.mask(range(one, other), key);
                        } else {
                            bytes.mask_short(range(one, other), key);
                        }
                        xor::<false>(&mut plain[range(one, other)], rotated(key, 0));
                    }
                    Op::UnmaskText(one, other, key) => {
                        bytes.unmask_text(range(one, other), key);
                        xor::<false>(&mut plain[range(one, other)], rotated(key, 0));
                    }
                    Op::Check(one, other) => {
                        let range = range(one, other);
                        let known = bytes.text.clone();
                        // It may begin inside a code point of what is known; `text` finds that.
                        if plain.get(range.start).is_none_or(|byte| byte & 0xC0 != 0x80) || !known.contains(&range.start) {
                            prop_assert_eq!(bytes.check_text(range.clone()), beginning(&plain[range]));
                        }
                    }
                    Op::Text(one, other) => {
                        prop_assert_eq!(bytes.text(range(one, other)), std::str::from_utf8(&plain[range(one, other)]).ok());
                    }
                    Op::Copy(one, other) => {
                        let text = ByteString::try_from(Bytes::copy_from_slice(&plain[range(one, other)])).ok();
                        prop_assert_eq!(bytes.copy(range(one, other)).into_text(), text);
                    }
                    Op::Split(one, other) => {
                        let range = range(one, other);
                        let text = ByteString::try_from(Bytes::copy_from_slice(&plain[range.clone()])).ok();
                        prop_assert_eq!(bytes.split(range.clone()).into_text(), text);
                        plain.drain(..range.end);
                    }
                }
                prop_assert_eq!(&bytes[..], &plain[..]);
                prop_assert!(std::str::from_utf8(&plain[bytes.text.clone()]).is_ok());
            }
        }

        #[test]
        fn long_bytes_are_ascii_when_each_of_them_is(len in 0..1000_usize, at: proptest::sample::Index, byte: u8, key: [u8; 4]) {
            let mut bytes = vec![b'a'; len];
            if len > 0 {
                bytes[at.index(len)] = byte;
            }
            prop_assert_eq!(is_ascii::<8>(&bytes), len == 0 || byte < 0x80);
            prop_assert_eq!(is_long_ascii(&bytes), len == 0 || byte < 0x80);
            apply_mask(&mut bytes, key, 0);
            prop_assert_eq!(mask::<true>(&mut bytes, rotated(key, 0)), len == 0 || byte < 0x80);
        }
    }

    /// In a text that comes in pieces, each byte is checked once: what has been checked may even be wrong by then.
    #[test]
    fn what_has_been_checked_is_not_checked_again() {
        let mut bytes = TextBytes::zeroed(8);
        bytes.range_mut(0..8).copy_from_slice("aé€é".as_bytes());
        for (end, partial_len) in [(2, 1), (3, 0), (5, 2), (6, 0), (7, 1), (8, 0)] {
            assert_eq!(bytes.check_text(0..end), Ok(partial_len));
            assert_eq!(bytes.text, 0..end - usize::from(partial_len));
        }
        assert_eq!(bytes.text(1..6), Some("é€"));
        assert_eq!(bytes.text, 0..8);
        assert_eq!(bytes.text(2..6), None);
        bytes.range_mut(8..8);
        assert_eq!(bytes.text, 0..8, "what is written right behind it changes nothing of it");
        bytes.range_mut(7..8);
        assert_eq!(bytes.text, 0..0);
    }

    #[test]
    fn what_is_known_of_bytes_goes_where_they_go() {
        let mut bytes = TextBytes::zeroed(12);
        bytes.range_mut(1..4).copy_from_slice("é1".as_bytes());
        assert_eq!(bytes.check_text(1..4), Ok(0));
        bytes.move_within(0..5, 6);
        assert_eq!(bytes.text, 7..10);
        let mut other = TextBytes::zeroed(4);
        other.copy_from(&bytes, 6..10, 0);
        assert_eq!(other.text, 1..4);
        bytes.move_within(8..11, 0);
        assert_eq!(bytes.text, 0..0, "a part of it is not known to be text");
    }
}
