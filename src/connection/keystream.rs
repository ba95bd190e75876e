//! Unpredictable bytes from a seed: masking keys, the handshake's nonce, ping payloads.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};

/// A ChaCha8 keystream, consumed in small pieces.
///
/// Masking keys must come from "a strong source of entropy" so that an attacker who chooses a payload cannot choose what
/// appears on the wire: RFC 6455 sections 5.3 and 10.3.
pub(crate) struct Keystream {
    seed: [u8; 32],
    /// How many bytes have been used up, those included that were left over at the end of a batch.
    position: u64,
    /// The batch in use, made when first needed and given back when idle.
    batch: Option<Box<[u8; BATCH_LEN]>>,
}

impl Keystream {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, position: 0, batch: None }
    }

    /// The next `N` bytes, a multiple of four and at most [`BATCH_LEN`].
    #[inline]
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= BATCH_LEN) };
        let used = self.used();
        if used > 0
            && let Some(batch) = &self.batch
            && let Some(bytes) = batch.get(used..).and_then(|rest| rest.first_chunk())
        {
            self.position = self.position.wrapping_add(N as u64);
            return *bytes;
        }
        self.refill_and_take()
    }

    /// Gives back what an idle connection can make anew. It changes no byte of what is taken later.
    pub(crate) fn release(&mut self) {
        self.batch = None;
    }

    /// How much of its batch the position is behind.
    #[inline]
    fn used(&self) -> usize {
        self.position as usize % BATCH_LEN
    }

    #[cold]
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "neither `used` nor `N` is more than a batch, and what is taken lies within one"
    )]
    fn refill_and_take<const N: usize>(&mut self) -> [u8; N] {
        let mut used = self.used();
        if used + N > BATCH_LEN {
            self.position = self.position.wrapping_add((BATCH_LEN - used) as u64);
            used = 0;
        }
        let batch = self.batch.get_or_insert_with(|| Box::new([0; BATCH_LEN]));
        batch.fill(0);
        // Each batch is the beginning of a stream of its own, told apart by the nonce.
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&(self.position / BATCH_LEN as u64).to_le_bytes());
        ChaCha8::new(&self.seed.into(), &nonce.into()).apply_keystream(&mut batch[..]);
        self.position = self.position.wrapping_add(N as u64);
        let mut bytes = [0; N];
        bytes.copy_from_slice(&batch[used..used + N]);
        bytes
    }
}

/// Four blocks of the cipher, which vector units make at once.
const BATCH_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_no_key_comes_twice() {
        let (mut one, mut two) = (Keystream::new([7; 32]), Keystream::new([7; 32]));
        let mut seen = BTreeSet::new();
        for i in 0..1000 {
            let key: [u8; 4] = one.take();
            assert_eq!(key, two.take::<4>());
            assert!(seen.insert(key), "key {i} came before");
            if i % 7 == 5 {
                // Whenever memory is given back is the business of one end only.
                one.release();
            }
            if i % 100 == 50 {
                assert_eq!(one.take::<8>(), two.take());
                assert_eq!(one.take::<20>(), two.take());
            }
        }
        assert_ne!(Keystream::new([8; 32]).take::<16>(), Keystream::new([7; 32]).take::<16>());
    }

    #[test]
    fn what_does_not_fit_into_the_rest_of_a_batch_comes_from_the_next() {
        let batch = |number: u8| {
            let (mut nonce, mut bytes) = ([0; 12], [0; BATCH_LEN]);
            nonce[0] = number;
            ChaCha8::new(&[7; 32].into(), &nonce.into()).apply_keystream(&mut bytes);
            bytes
        };
        let mut keystream = Keystream::new([7; 32]);
        for at in (0..BATCH_LEN - 4).step_by(4) {
            assert_eq!(keystream.take::<4>(), batch(0)[at..at + 4], "byte {at}");
        }
        assert_eq!(keystream.take::<8>(), batch(1)[..8], "the last four bytes of the first are left out");
        assert_eq!(keystream.take::<BATCH_LEN>(), batch(2));
        assert_eq!(keystream.take::<4>(), batch(3)[..4]);
    }
}
