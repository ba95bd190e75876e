//! What a context takes over: the last bytes that went through it.

/// The last `max` bytes of a stream.
///
/// Each byte is moved a fixed number of times, however small the pieces are: up to twice `max` is kept until [`trim`](Self::trim).
pub(super) struct History {
    bytes: Vec<u8>,
    max: usize,
}

impl History {
    pub(super) fn new(window_bits: u8) -> Self {
        Self { bytes: Vec::new(), max: 1 << window_bits }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        if piece.len() >= self.max {
            self.bytes.clear();
            self.bytes.extend_from_slice(piece.get(piece.len() - self.max..).unwrap_or_default());
            return;
        }
        if self.bytes.len() + piece.len() > 2 * self.max {
            self.forget_old();
        }
        self.bytes.extend_from_slice(piece);
    }

    /// What a match may refer to.
    pub(super) fn window(&self) -> &[u8] {
        self.bytes.get(self.bytes.len().saturating_sub(self.max)..).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Keeps no more memory than the window needs.
    pub(super) fn trim(&mut self) {
        self.forget_old();
        self.bytes.shrink_to_fit();
    }

    fn forget_old(&mut self) {
        self.bytes.drain(..self.bytes.len().saturating_sub(self.max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_window_is_the_end_of_what_was_pushed(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..20),
            trim: bool,
        ) {
            let mut history = History::new(8);
            let mut all = Vec::new();
            for piece in pieces {
                history.push(&piece);
                all.extend(piece);
                prop_assert_eq!(history.window(), &all[all.len().saturating_sub(256)..]);
                prop_assert!(history.bytes.len() <= 512);
                if trim {
                    history.trim();
                    prop_assert!(history.bytes.capacity() <= 256);
                    prop_assert_eq!(history.window(), &all[all.len().saturating_sub(256)..]);
                }
            }
        }
    }
}
