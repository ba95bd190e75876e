//! What a context takes over: the last bytes that went through it.

/// The last `max` bytes of a stream, in memory that grows with them and is never more.
pub(super) struct History {
    bytes: Vec<u8>,
    max: usize,
    /// Where the oldest byte is, once there are `max`; 0 before.
    oldest: usize,
}

impl History {
    pub(super) fn new(window_bits: u8) -> Self {
        Self { bytes: Vec::new(), max: 1 << window_bits, oldest: 0 }
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`oldest < max`, `bytes.len() <= max`, and `max` is from 2⁸ to 2¹⁵"
    )]
    pub(super) fn push(&mut self, piece: &[u8]) {
        let piece = piece.get(piece.len().saturating_sub(self.max)..).unwrap_or_default();
        let (first, rest) = piece.split_at(piece.len().min(self.max - self.bytes.len()));
        if self.bytes.capacity() - self.bytes.len() < first.len() {
            let doubled = (2 * self.bytes.len()).max(self.bytes.len() + first.len()).min(self.max);
            self.bytes.reserve_exact(doubled - self.bytes.len());
        }
        self.bytes.extend_from_slice(first);
        // The rest takes the place of what is oldest, up to the end, and from the front.
        let (until_end, from_front) = rest.split_at(rest.len().min(self.max - self.oldest));
        for part in [until_end, from_front] {
            if let Some(place) = self.bytes.get_mut(self.oldest..self.oldest + part.len()) {
                place.copy_from_slice(part);
                self.oldest = (self.oldest + part.len()) % self.max;
            }
        }
    }

    /// What a match may refer to, oldest first.
    pub(super) fn window(&mut self) -> &[u8] {
        self.bytes.rotate_left(self.oldest);
        self.oldest = 0;
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    /// Keeps no more memory than there are bytes.
    pub(super) fn trim(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_window_is_the_end_of_what_was_pushed(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..700), any::<bool>()), 0..20),
        ) {
            let mut history = History::new(8);
            let mut all = Vec::new();
            for (piece, looks) in pieces {
                history.push(&piece);
                all.extend(piece);
                prop_assert!(history.bytes.capacity() <= 256);
                if looks {
                    prop_assert_eq!(history.window(), &all[all.len().saturating_sub(256)..]);
                    history.trim();
                }
            }
            prop_assert_eq!(history.window(), &all[all.len().saturating_sub(256)..]);
            history.clear();
            prop_assert!(history.window().is_empty());
        }
    }
}
