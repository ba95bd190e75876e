//! Masking: the exclusive-or that a client lays over each payload.
//!
//! The one file of the crate with `unsafe`: calls of what is compiled for a processor with AVX2, once the processor is known to have it (on
//! aarch64, vector registers are there always), and a copy that masks on its way into memory that holds nothing yet.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Masks or unmasks `payload` in place, starting `offset` bytes into the frame's payload.
///
/// Applying it twice gives back what was there. A payload may come in pieces: the offset of each piece is the sum of the
/// lengths before it (only its remainder by four matters). RFC 6455 section 5.3.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], offset: u64) {
    let key = rotated(key, offset);
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= AVX2_LEN_MIN && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { xor_avx2(payload, key) };
    }
    xor(payload, key);
}

/// The same, compiled for registers of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(payload: &mut [u8], key: u32) {
    xor(payload, key);
}

/// Appends `payload` to `out`, masked on the way: one pass over memory instead of two.
pub(crate) fn append_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    out.reserve(payload.len());
    let key = rotated(key, 0);
    let place = &mut out.spare_capacity_mut()[..payload.len()];
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= AVX2_LEN_MIN && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { xor_to_avx2(place, payload, key) };
    } else {
        xor_to(place, payload, key);
    }
    #[cfg(not(target_arch = "x86_64"))]
    xor_to(place, payload, key);
    // SAFETY: each of these bytes has just been written.
    unsafe { out.set_len(out.len() + payload.len()) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_to_avx2(place: &mut [MaybeUninit<u8>], payload: &[u8], key: u32) {
    xor_to(place, payload, key);
}

/// Writes each byte of `place`, which is as long as `payload`.
#[inline(always)]
fn xor_to(place: &mut [MaybeUninit<u8>], payload: &[u8], key: u32) {
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

/// Blocks of 64 bytes, so that the compiler uses the widest registers there are; then what is left, in ever smaller steps.
#[inline(always)]
fn xor(payload: &mut [u8], key: u32) {
    let wide = u64::from(key) << 32 | u64::from(key);
    let (blocks, tail) = payload.as_chunks_mut::<64>();
    for block in blocks {
        for word in block.as_chunks_mut::<8>().0 {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let (words, tail) = tail.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    let (half, tail) = tail.as_chunks_mut::<4>();
    for word in half {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// The key as it lies over a piece that starts `offset` bytes into the payload, in the order of bytes that this machine has.
#[inline]
fn rotated(key: [u8; 4], offset: u64) -> u32 {
    let bits = (offset % 4) as u32 * 8;
    u32::from_ne_bytes(u32::from_le_bytes(key).rotate_right(bits).to_le_bytes())
}

/// Shorter payloads do not make up for the call.
#[cfg(target_arch = "x86_64")]
const AVX2_LEN_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
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
