//! What no library can be much faster than: no state but the buffer, headers checked and not kept, the widest registers.
//!
//! It knows of no control frames, no fragments, no limits, no deadlines.

// Vector instructions that are found at run time.
#![allow(unsafe_code)]

use sansocket::Role;

use super::Work;
use crate::wire::{CHUNK_LEN, Case, Wire, seen};

/// What is read in one go: a piece that stays in the first-level cache until it is unmasked.
const PIECE_LEN: usize = 16 * 1024;

pub(super) fn receive(case: &Case) -> Work {
    let (wire, case) = (case.wire(), *case);
    let mut buf = vec![0; PIECE_LEN + 14 + case.len];
    let (mut start, mut end) = (0, 0);
    Box::new(move |messages| {
        let mut sum = 0;
        let mut left = messages;
        while left > 0 {
            let Some((header_len, len, key)) = header(&buf[start..end], &case) else {
                // Less than a header.
                buf.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                end += wire.read_into(&mut buf[end..PIECE_LEN]);
                continue;
            };
            let at = start + header_len;
            if end < at + len {
                if start > 0 && start + header_len + len > buf.len() {
                    buf.copy_within(start..end, 0);
                    (start, end) = (0, end - start);
                }
                finish(&wire, &mut buf, start + header_len, end, len, key);
                (start, end) = (start + header_len, start + header_len + len);
            } else {
                xor(&mut buf[at..at + len], key);
                start = at;
            }
            let payload = &buf[start..start + len];
            sum += if case.is_text() { seen(text(payload).as_bytes()) } else { seen(payload) };
            start += len;
            if start == end {
                (start, end) = (0, 0);
            }
            left -= 1;
        }
        sum
    })
}

/// Reads the rest of a payload that begins at `at`, up to its end and no further, and unmasks each piece while it is hot.
fn finish(wire: &Wire, buf: &mut [u8], at: usize, mut end: usize, len: usize, key: [u8; 4]) {
    let mut unmasked = at;
    while unmasked < at + len {
        xor(&mut buf[unmasked..end], rotated(key, unmasked - at));
        unmasked = end;
        end += wire.read_into(&mut buf[end..(at + len).min(end + PIECE_LEN)]);
    }
}

fn header(bytes: &[u8], case: &Case) -> Option<(usize, usize, [u8; 4])> {
    let (&first, rest) = bytes.split_first()?;
    assert!(first == 0x82 || first == 0x81, "binary or text, whole");
    let (&second, rest) = rest.split_first()?;
    assert_eq!(second & 0x80 != 0, case.role == Role::Server, "masked by clients");
    let (len, rest) = match second & 0x7F {
        126 => {
            let (len, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*len)), rest)
        }
        127 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*len) as usize, rest)
        }
        len => (usize::from(len), rest),
    };
    let (key, rest) = if second & 0x80 == 0 {
        ([0; 4], rest)
    } else {
        let (key, rest) = rest.split_first_chunk()?;
        (*key, rest)
    };
    Some((bytes.len() - rest.len(), len, key))
}

fn text(payload: &[u8]) -> &str {
    let text =
        if payload.len() < 128 { std::str::from_utf8(payload).ok() } else { simdutf8::basic::from_utf8(payload).ok() };
    text.expect("UTF-8")
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, case) = (case.wire(), *case);
    let (payload, batch_len) = (case.payload(), case.batch_len());
    // A payload that nobody has to mask can stay where it is.
    let in_place = case.role == Role::Server && case.len >= 4096;
    let mut out: Vec<u8> = Vec::with_capacity(CHUNK_LEN + 2 * case.len);
    let mut key = 1_u32;
    Box::new(move |messages| {
        for i in 1..=messages {
            out.push(0x82);
            let mask = if case.role == Role::Client { 0x80 } else { 0 };
            match case.len {
                0..126 => out.push(mask | case.len as u8),
                126..65536 => {
                    out.push(mask | 126);
                    out.extend_from_slice(&(case.len as u16).to_be_bytes());
                }
                len => {
                    out.push(mask | 127);
                    out.extend_from_slice(&(len as u64).to_be_bytes());
                }
            }
            if case.role == Role::Client {
                key = key.wrapping_mul(0x9E37_79B9).rotate_left(7); // predictable, which no library may be
                out.extend_from_slice(&key.to_le_bytes());
                let at = out.len();
                out.resize(at + case.len, 0);
                xor_copy(&payload, &mut out[at..], key.to_le_bytes());
            } else if in_place {
                wire.put(&payload);
            } else {
                out.extend_from_slice(&payload);
            }
            if i % batch_len == 0 || i == messages {
                wire.put(&out);
                out.clear();
            }
        }
        wire.written() as u64
    })
}

fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    let mut key = key;
    key.rotate_left(offset % 4);
    key
}

fn xor(payload: &mut [u8], key: [u8; 4]) {
    if key == [0; 4] {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= 64 && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { xor_avx2(payload, key) };
    }
    xor_plain(payload, key);
}

fn xor_copy(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    #[cfg(target_arch = "x86_64")]
    if from.len() >= 64 && is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { xor_copy_avx2(from, to, key) };
    }
    xor_copy_plain(from, to, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_avx2(payload: &mut [u8], key: [u8; 4]) {
    xor_plain(payload, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn xor_copy_avx2(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    xor_copy_plain(from, to, key);
}

#[inline(always)]
fn xor_plain(payload: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (blocks, tail) = payload.as_chunks_mut::<128>();
    for block in blocks {
        for word in block.as_chunks_mut::<8>().0 {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
    }
    let (words, tail) = tail.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[inline(always)]
fn xor_copy_plain(from: &[u8], to: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (from_words, from_tail) = from.as_chunks::<8>();
    let (to_words, to_tail) = to.as_chunks_mut::<8>();
    for (from, to) in from_words.iter().zip(to_words) {
        *to = (u64::from_ne_bytes(*from) ^ wide).to_ne_bytes();
    }
    for ((from, to), key) in from_tail.iter().zip(to_tail).zip(wide.to_ne_bytes()) {
        *to = from ^ key;
    }
}
