//! Bytes of a fuzzer as a program: what to do next, and with what.

/// A reader that never fails: behind the end there are zeros.
pub(crate) struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// Mostly small, sometimes up to 14 KiB.
    pub(crate) fn len(&mut self) -> usize {
        match self.byte() {
            small @ 0..=199 => usize::from(small),
            large => usize::from(large - 199) * (1 + usize::from(self.byte())),
        }
    }

    /// Bytes of the program itself.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = self.below(64).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }
}
