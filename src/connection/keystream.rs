//! Unpredictable bytes from a seed: masking keys, the handshake's nonce, ping payloads.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};

/// A ChaCha8 keystream, consumed in small pieces.
///
/// Masking keys must come from "a strong source of entropy" so that an attacker who chooses a payload cannot choose what
/// appears on the wire: RFC 6455 sections 5.3 and 10.3.
pub(crate) struct Keystream {
    seed: [u8; 32],
    /// How many batches have been made.
    batches: u64,
    /// The batch in use, made when first needed and given back when idle.
    batch: Option<Box<Batch>>,
}

struct Batch {
    bytes: [u8; BATCH_LEN],
    used: usize,
}

impl Keystream {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, batches: 0, batch: None }
    }

    /// The next `N` bytes, a multiple of four and at most [`BATCH_LEN`].
    #[inline]
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= BATCH_LEN) };
        if let Some(batch) = &mut self.batch
            && let Some(bytes) = batch.bytes.get(batch.used..).and_then(|rest| rest.first_chunk())
        {
            batch.used += N;
            return *bytes;
        }
        self.refill();
        self.take()
    }

    /// Gives back what an idle connection can make anew. The bytes not used yet are never used.
    pub(crate) fn release(&mut self) {
        self.batch = None;
    }

    #[cold]
    fn refill(&mut self) {
        let batch = self.batch.get_or_insert_with(|| Box::new(Batch { bytes: [0; BATCH_LEN], used: 0 }));
        batch.bytes = [0; BATCH_LEN];
        batch.used = 0;
        // Each batch is the beginning of a stream of its own, told apart by the nonce.
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.batches.to_le_bytes());
        self.batches = self.batches.wrapping_add(1);
        ChaCha8::new(&self.seed.into(), &nonce.into()).apply_keystream(&mut batch.bytes);
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
            if i % 100 == 50 {
                one.release();
                two.release();
            }
        }
        assert_ne!(Keystream::new([8; 32]).take::<16>(), Keystream::new([7; 32]).take::<16>());
    }
}
