//! The body of a refusal while it arrives: when to stop waiting for more of it, and what to keep (RFC 9112 section 6.3).

use bytes::Bytes;

use super::refusal::{BodyFraming, decode_chunked_prefix};

/// The body, and whether more of it was on its way; `None` to wait for more.
///
/// `raw` is everything received behind the head, `is_all` says that nothing more will come, or that nobody wants to wait, and at
/// most `len_max` bytes are kept. What is returned depends on the bytes only, not on how they were cut on arrival.
pub(crate) fn refusal_body(framing: BodyFraming, raw: &[u8], is_all: bool, len_max: usize) -> Option<(Bytes, bool)> {
    let kept = raw.get(..len_max).unwrap_or(raw);
    let (body, is_complete) = match framing {
        BodyFraming::None => (Bytes::new(), true),
        BodyFraming::Length(len) => {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            (Bytes::copy_from_slice(kept.get(..len).unwrap_or(kept)), kept.len() >= len)
        }
        BodyFraming::Chunked => {
            let prefix = decode_chunked_prefix(kept);
            (prefix.body.into(), prefix.is_complete)
        }
        BodyFraming::UntilEof => (Bytes::copy_from_slice(kept), is_all && raw.len() <= len_max),
    };
    (is_complete || is_all || raw.len() > len_max).then_some((body, !is_complete))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `raw` byte by byte, then its end: the bytes that were needed, what was kept, whether it is cut.
    fn collect(framing: BodyFraming, raw: &[u8], len_max: usize) -> (usize, Vec<u8>, bool) {
        for len in 0..=raw.len() {
            if let Some((body, truncated)) = refusal_body(framing, &raw[..len], false, len_max) {
                return (len, body.to_vec(), truncated);
            }
        }
        let (body, truncated) = refusal_body(framing, raw, true, len_max).unwrap();
        (raw.len() + 1, body.to_vec(), truncated)
    }

    #[test]
    fn a_body_is_kept_up_to_the_limit() {
        use BodyFraming::*;
        let chunked = b"2\r\nno\r\n0\r\n\r\n"; // known to be at its end by the CRLF behind the 0
        // (framing, bytes, limit, how many bytes it took to know, what is kept, whether it is cut)
        type Row = (BodyFraming, &'static [u8], usize, usize, &'static [u8], bool);
        let table: [Row; 14] = [
            (None, b"rest", 9, 0, b"", false),
            (Length(0), b"rest", 9, 0, b"", false),
            (Length(4), b"nope.", 5, 4, b"nope", false),
            (Length(4), b"nope.", 4, 4, b"nope", false),
            (Length(4), b"nope.", 3, 4, b"nop", true),
            (Length(4), b"no", 9, 3, b"no", true),
            (Length(u64::MAX), b"nope.", 2, 3, b"no", true),
            (UntilEof, b"nope", 5, 5, b"nope", false),
            (UntilEof, b"nope", 4, 5, b"nope", false),
            (UntilEof, b"nope", 3, 4, b"nop", true),
            (Chunked, chunked, 99, 10, b"no", false),
            (Chunked, chunked, 10, 10, b"no", false),
            (Chunked, chunked, 4, 5, b"n", true),
            (Chunked, b"2\r\nn", 99, 5, b"n", true),
        ];
        for (framing, raw, len_max, needed, body, truncated) in table {
            assert_eq!(collect(framing, raw, len_max), (needed, body.to_vec(), truncated), "{framing:?}, {len_max}");
            // All at once gives the same.
            let (whole, cut) = refusal_body(framing, raw, true, len_max).unwrap();
            assert_eq!((&whole[..], cut), (body, truncated), "{framing:?}, {len_max}");
        }
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        assert_eq!(collect(BodyFraming::UntilEof, b"x", 0), (1, vec![], true));
        assert_eq!(collect(BodyFraming::Length(1), b"x", 0), (1, vec![], true));
    }
}
