//! UTF-8 that may arrive in pieces, refused at the first byte that cannot belong to it.

use super::from_utf8;

/// Checks text that arrives in pieces, cut anywhere. RFC 6455 section 8.1, RFC 3629.
///
/// A piece is refused as soon as it holds a byte with which no valid text goes on, so a peer learns of it before its
/// message, or even its frame, is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utf8Validator {
    /// The code point that the last piece broke off in the middle of.
    partial: [u8; 3],
    partial_len: u8,
}

impl Utf8Validator {
    /// At the start of a text.
    pub const fn new() -> Self {
        Self { partial: [0; 3], partial_len: 0 }
    }

    /// Checks the next piece.
    ///
    /// # Errors
    /// [`Utf8Error`] when the text so far is not the beginning of any valid text. The validator is then of no further use.
    #[inline]
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), Utf8Error> {
        while self.partial_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            self.complete(byte)?;
            piece = rest;
        }
        let (whole, partial) = split_partial(piece);
        if from_utf8(whole).is_none() {
            return Err(Utf8Error);
        }
        for &byte in partial {
            self.complete(byte)?;
        }
        Ok(())
    }

    /// How many bytes of an unfinished code point the text so far ends with: 0 to 3. A valid text ends with 0.
    pub const fn partial_len(&self) -> usize {
        self.partial_len as usize
    }

    /// Takes one byte of a code point that is not whole yet.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "`partial_len` is at most 3, the length of `partial`"
    )]
    fn complete(&mut self, byte: u8) -> Result<(), Utf8Error> {
        let mut code_point = [self.partial[0], self.partial[1], self.partial[2], 0];
        let len = self.partial_len();
        code_point[len] = byte;
        match std::str::from_utf8(&code_point[..=len]) {
            Ok(_) => self.partial_len = 0,
            // Unfinished, but nothing wrong so far. A fourth byte always decides, so it never lands here.
            Err(error) if error.error_len().is_none() && len < self.partial.len() => {
                self.partial[len] = byte;
                self.partial_len += 1;
            }
            Err(_) => return Err(Utf8Error),
        }
        Ok(())
    }
}

/// Text that is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text is not valid UTF-8")]
pub struct Utf8Error;

/// Splits off the code point that `piece` breaks off in the middle of, if it does. Looks at three bytes, checks nothing.
#[expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "`back` is at most the length")]
pub(super) fn split_partial(piece: &[u8]) -> (&[u8], &[u8]) {
    for back in 1..=piece.len().min(3) {
        let at = piece.len() - back;
        let len = match piece[at] {
            0x00..=0x7F => 1,
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xFF => 4,
        };
        return if len > back { piece.split_at(at) } else { (piece, &[]) };
    }
    (piece, &[])
}

/// Whether `partial`, which [`split_partial`] has split off, is nothing, or the beginning of a code point.
pub(super) fn is_unfinished(partial: &[u8]) -> bool {
    std::str::from_utf8(partial).err().is_none_or(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many bytes the validator takes before it refuses, or `None` when it takes all of a whole text.
    fn refused_at(pieces: &[&[u8]]) -> Option<usize> {
        let mut validator = Utf8Validator::new();
        let mut taken = 0;
        for piece in pieces {
            if validator.feed(piece).is_err() {
                return Some(taken);
            }
            taken += piece.len();
        }
        (validator.partial_len() > 0).then_some(taken)
    }

    fn bytewise(text: &[u8]) -> Option<usize> {
        refused_at(&text.chunks(1).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_impossible_byte_is_refused_though_the_code_point_is_unfinished() {
        for (text, at) in [
            (&b"\xF4\x90"[..], 1),      // above U+10FFFF: Autobahn 6.4.2 and 6.4.4
            (b"\xED\xA0", 1),           // a surrogate
            (b"\xE0\x80", 1),           // overlong
            (b"\xF0\x80", 1),           // overlong
            (b"\xC0", 0),               // overlong
            (b"\xC1", 0),               // overlong
            (b"\xF5", 0),               // above U+10FFFF
            (b"\xFF", 0),               // never
            (b"\x80", 0),               // a continuation of nothing
            (b"a\xE2\x82a", 3),         // broken off
            (b"ab\xF0\x9F\x92\xC3", 5), // broken off
        ] {
            assert_eq!(bytewise(text), Some(at), "{text:x?}");
            assert!(Utf8Validator::new().feed(text).is_err(), "{text:x?}");
        }
    }

    #[test]
    fn a_text_may_not_end_inside_a_code_point() {
        for text in [&b"\xC3"[..], b"\xE2\x82", b"\xF0\x9F\x92", b"abc\xF0"] {
            assert_eq!(bytewise(text), Some(text.len()), "{text:x?}");
            let mut validator = Utf8Validator::new();
            assert_eq!(validator.feed(text), Ok(()));
            assert!(validator.partial_len() > 0);
        }
    }

    #[test]
    fn every_code_point_passes_byte_by_byte() {
        for code_point in '\0'..=char::MAX {
            let mut bytes = [0; 4];
            assert_eq!(bytewise(code_point.encode_utf8(&mut bytes).as_bytes()), None, "{code_point:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_verdict_of_the_whole(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "\\PC{0,200}".prop_map(String::into_bytes),
                ("\\PC{0,200}", any::<u8>(), any::<proptest::sample::Index>()).prop_map(|(text, byte, at)| {
                    let mut bytes = text.into_bytes();
                    bytes.insert(at.index(bytes.len() + 1), byte);
                    bytes
                }),
            ],
            size in 1..200_usize,
        ) {
            let valid = std::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(from_utf8(&bytes).is_some(), valid);
            prop_assert_eq!(refused_at(&bytes.chunks(size).collect::<Vec<_>>()).is_none(), valid);
            // Byte by byte, it comes no later than the standard library, which sees the whole, finds the first fault.
            let limit = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to() + e.error_len().unwrap_or(3), |_| 0);
            prop_assert!(bytewise(&bytes).is_none_or(|at| at <= limit));
        }
    }
}
