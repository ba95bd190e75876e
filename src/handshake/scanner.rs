//! Finds the end of a head that arrives in pieces.

use thiserror::Error;

/// Finds the empty line that ends an HTTP head, looking at each byte once.
///
/// A sender that delivers one byte at a time costs no more than one that sends all at once: the
/// scanner takes up where it stopped. Eight bytes of state.
///
/// On the way it refuses what HTTP parsers are known to disagree about: a CR without LF, an LF
/// without CR, and NUL (RFC 9112 section 2.2, RFC 9110 section 5.5). So the first bytes of TLS or
/// other binary protocols are usually found out at once, without waiting for a deadline.
///
/// ```
/// use sansocket::handshake::HeadScanner;
///
/// let wire = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\nthe next bytes";
/// let mut scanner = HeadScanner::default();
/// assert_eq!(scanner.scan(&wire[..20], 16 * 1024), Ok(None));
/// assert_eq!(scanner.scan(wire, 16 * 1024), Ok(Some(37)));
/// ```
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
pub struct HeadScanner {
    /// The bytes that need not be looked at again. `len_max` is capped to what fits.
    scanned: u32,
    place: Place,
}

impl HeadScanner {
    /// The length of the head with its final empty line; `None` when more bytes are needed.
    ///
    /// `received` is everything from the head's first byte on: the bytes of the last call, and those
    /// that have come since. An empty line before the first one is part of the head, as RFC 9112
    /// section 2.2 allows.
    ///
    /// # Errors
    ///
    /// [`HeadError::TooLong`] when the head cannot end within `len_max` bytes: it is raised as soon
    /// as that many have come without an end. A head of exactly `len_max` bytes is accepted. Lengths
    /// above 4 GiB count as 4 GiB. The other errors name the byte that is not allowed. After an
    /// error, or after the end, the scanner is spent.
    pub fn scan(&mut self, received: &[u8], len_max: usize) -> Result<Option<usize>, HeadError> {
        let len_max = u32::try_from(len_max).unwrap_or(u32::MAX) as usize;
        let within = received.get(..len_max).unwrap_or(received);
        let fresh = within.get(self.scanned as usize..).unwrap_or_default();
        for &byte in fresh {
            self.scanned = self.scanned.wrapping_add(1); // up to `len_max`
            self.place = match (self.place, byte) {
                (_, b'\0') => return Err(HeadError::Nul),
                (Place::LineStart, b'\r') => Place::LastCr,
                (Place::Line | Place::LineStart, b'\n') => return Err(HeadError::BareLf),
                (Place::Line, b'\r') => Place::Cr,
                (Place::Line | Place::LineStart, _) => Place::Line,
                (Place::Cr, b'\n') => Place::LineStart,
                (Place::LastCr, b'\n') => return Ok(Some(self.scanned as usize)),
                (Place::Cr | Place::LastCr, _) => return Err(HeadError::BareCr),
            };
        }
        if within.len() >= len_max { Err(HeadError::TooLong { max: len_max }) } else { Ok(None) }
    }

    /// How many bytes have been looked at.
    pub fn scanned(&self) -> usize {
        self.scanned as usize
    }
}

/// Why bytes cannot be the head of an HTTP message.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HeadError {
    /// No end within the limit.
    #[error("head longer than {max} bytes")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// A CR that no LF follows.
    #[error("CR without LF in the head")]
    BareCr,
    /// An LF that no CR precedes.
    #[error("LF without CR in the head")]
    BareLf,
    /// A zero byte.
    #[error("NUL in the head")]
    Nul,
}

/// Whether `bytes` is one head, whole and without anything after it.
pub(super) fn is_one_head(bytes: &[u8]) -> bool {
    HeadScanner::default().scan(bytes, bytes.len()) == Ok(Some(bytes.len()))
}

/// Where in the head the next byte stands.
#[derive(Copy, Clone, Default, PartialEq, Eq, Debug)]
enum Place {
    /// In a line, or before the first one.
    #[default]
    Line,
    /// After the CR that ends a line.
    Cr,
    /// After CRLF.
    LineStart,
    /// After CRLF and CR.
    LastCr,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nX: \xff\r\n\r\n";
    const FAR: usize = 1 << 20;

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_split() {
        let wire = [HEAD, b"\x81\x00\0\n\r"].concat();
        for split in 0..wire.len() {
            let mut scanner = HeadScanner::default();
            let first = scanner.scan(&wire[..split], FAR);
            if split < HEAD.len() {
                assert_eq!(first, Ok(None), "split at {split}");
                assert_eq!(scanner.scan(&wire, FAR), Ok(Some(HEAD.len())), "split at {split}");
            } else {
                assert_eq!(first, Ok(Some(HEAD.len())), "split at {split}");
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_each_is_looked_at_once() {
        // CVE-2023-43669 was a scan from the start on every read. The bytes that
        // were scanned are overwritten with NUL, which would be an error if they were read again.
        let mut wire = HEAD.to_vec();
        let mut scanner = HeadScanner::default();
        for len in 1..HEAD.len() {
            assert_eq!(scanner.scan(&wire[..len], FAR), Ok(None));
            assert_eq!(scanner.scanned(), len);
            wire[..len].fill(0);
        }
        assert_eq!(scanner.scan(&wire, FAR), Ok(Some(HEAD.len())));
    }

    #[test]
    fn the_limit_holds_to_the_byte_however_the_bytes_arrive() {
        let len = HEAD.len();
        for (len_max, expected) in
            [(len - 1, Err(HeadError::TooLong { max: len - 1 })), (len, Ok(Some(len))), (len + 1, Ok(Some(len)))]
        {
            assert_eq!(HeadScanner::default().scan(HEAD, len_max), expected, "whole, at most {len_max}");
            let mut scanner = HeadScanner::default();
            let found = (1..=len).map(|n| scanner.scan(&HEAD[..n], len_max)).find(|found| *found != Ok(None));
            assert_eq!(found, Some(expected), "byte by byte, at most {len_max}");
        }
    }

    #[test]
    fn an_endless_head_is_refused_when_the_limit_is_reached() {
        let endless = vec![b'a'; 100];
        assert_eq!(HeadScanner::default().scan(&endless[..99], 100), Ok(None));
        assert_eq!(HeadScanner::default().scan(&endless, 100), Err(HeadError::TooLong { max: 100 }));
        assert_eq!(HeadScanner::default().scan(b"", 0), Err(HeadError::TooLong { max: 0 }));
    }

    #[test]
    fn bare_cr_bare_lf_and_nul_are_refused_at_once() {
        let table: [(&[u8], HeadError); 11] = [
            (b"\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\r\n\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\r\nA: b\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\rA", HeadError::BareCr),
            (b"GET / HTTP/1.1\r\r", HeadError::BareCr),
            (b"GET / HTTP/1.1\r\n\rA", HeadError::BareCr),
            (b"GET / HTTP/1.1\r\n\r\r", HeadError::BareCr),
            (b"\0", HeadError::Nul),
            (b"GET /\0", HeadError::Nul),
            (b"\x16\x03\x01\x00", HeadError::Nul), // a TLS ClientHello
        ];
        for (wire, error) in table {
            assert_eq!(HeadScanner::default().scan(wire, FAR), Err(error), "{wire:?}");
            let mut scanner = HeadScanner::default();
            for len in 0..wire.len() {
                assert_eq!(scanner.scan(&wire[..len], FAR), Ok(None), "{wire:?}, the first {len}");
            }
            assert_eq!(scanner.scan(wire, FAR), Err(error), "{wire:?}, byte by byte");
        }
    }

    #[test]
    fn an_empty_line_before_the_first_is_tolerated() {
        // RFC 9112 section 2.2.
        let wire = [b"\r\n", HEAD].concat();
        assert_eq!(HeadScanner::default().scan(&wire, FAR), Ok(Some(wire.len())));
    }

    #[test]
    fn the_scanner_is_eight_bytes() {
        assert!(size_of::<HeadScanner>() <= 8);
    }
}
