//! Masking: the exclusive-or that a client lays over each payload. Plain loops, from which the compiler makes what it can; `unchecked.rs` calls
//! them compiled for wider registers.

use std::mem::MaybeUninit;

use super::unchecked::HIGH_BITS;

/// Blocks of 64 bytes, so that the compiler uses the widest registers there are; then what is left, in ever smaller steps. If `PROBE`, tells
/// whether what comes of it is ASCII.
#[inline(always)]
pub(super) fn xor<const PROBE: bool>(payload: &mut [u8], key: u32) -> bool {
    let wide = u64::from(key) << 32 | u64::from(key);
    let mut any = [0; 8];
    let (blocks, tail) = payload.as_chunks_mut::<64>();
    for block in blocks {
        for (word, any) in block.as_chunks_mut::<8>().0.iter_mut().zip(&mut any) {
            let xored = u64::from_ne_bytes(*word) ^ wide;
            *word = xored.to_ne_bytes();
            if PROBE {
                *any |= xored;
            }
        }
    }
    let mut any = any.into_iter().fold(0, |all, any| all | any);
    let (words, tail) = tail.as_chunks_mut::<8>();
    for word in words {
        let xored = u64::from_ne_bytes(*word) ^ wide;
        *word = xored.to_ne_bytes();
        any |= xored;
    }
    let (half, tail) = tail.as_chunks_mut::<4>();
    for word in half {
        let xored = u32::from_ne_bytes(*word) ^ key;
        *word = xored.to_ne_bytes();
        any |= u64::from(xored);
    }
    for (byte, key) in tail.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
        any |= u64::from(*byte);
    }
    PROBE && any & HIGH_BITS == 0
}

/// Writes each byte of `place`, which is as long as `payload`.
#[inline(always)]
pub(super) fn xor_to(place: &mut [MaybeUninit<u8>], payload: &[u8], key: u32) {
    assert_eq!(place.len(), payload.len());
    let wide = u64::from(key) << 32 | u64::from(key);
    let (words, tail) = payload.as_chunks::<8>();
    let (word_places, tail_places) = place.as_chunks_mut::<8>();
    for (word, place) in words.iter().zip(word_places) {
        *place = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes().map(MaybeUninit::new);
    }
    for ((byte, key), place) in tail.iter().zip(wide.to_ne_bytes()).zip(tail_places) {
        place.write(byte ^ key);
    }
}

/// The key as it lies over a piece that starts `offset` bytes into the payload, in the order of bytes that this machine has.
#[inline]
pub(super) fn rotated(key: [u8; 4], offset: u64) -> u32 {
    let bits = (offset as u32).wrapping_mul(8); // it rotates by their remainder by 32
    u32::from_ne_bytes(u32::from_le_bytes(key).rotate_right(bits).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use crate::frame::{append_masked, apply_mask};
    use proptest::prelude::*;

    /// RFC 6455 section 5.3, word for word.
    fn plain(payload: &mut [u8], key: [u8; 4], offset: u64) {
        for (byte, i) in payload.iter_mut().zip(offset..) {
            *byte ^= key[(i % 4) as usize];
        }
    }

    #[test]
    fn every_length_offset_and_alignment_agrees_with_the_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let original: Vec<u8> = (0..=255).collect();
        for start in 0..9 {
            for len in 0..140 {
                for offset in [0, 1, 2, 3, 4, 7, u64::MAX - 200] {
                    let (mut fast, mut slow) = (original.clone(), original.clone());
                    apply_mask(&mut fast[start..start + len], key, offset);
                    plain(&mut slow[start..start + len], key, offset);
                    assert_eq!(fast, slow, "start {start}, length {len}, offset {offset}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn long_payloads_agree_with_the_definition(
            original in proptest::collection::vec(any::<u8>(), 0..2000), key: [u8; 4], offset: u64, start in 0..64_usize,
        ) {
            let offset = offset % (u64::MAX - 4000);
            let (mut fast, mut slow) = (original.clone(), original);
            let start = start.min(fast.len());
            apply_mask(&mut fast[start..], key, offset);
            plain(&mut slow[start..], key, offset);
            prop_assert_eq!(&fast, &slow);
            let mut appended = slow[..start].to_vec();
            append_masked(&mut appended, &fast[start..], key);
            plain(&mut slow[start..], key, 0);
            prop_assert_eq!(appended, slow);
        }

        #[test]
        fn pieces_unmask_what_was_masked_whole(original: Vec<u8>, key: [u8; 4], at: proptest::sample::Index) {
            let mut payload = original.clone();
            apply_mask(&mut payload, key, 0);
            let at = at.index(payload.len() + 1);
            let (left, right) = payload.split_at_mut(at);
            apply_mask(left, key, 0);
            apply_mask(right, key, at as u64);
            prop_assert_eq!(payload, original);
        }
    }
}
