//! The body of a refusal while it arrives: when to stop waiting for more of it, and what to keep (RFC 9112 section 6.3).

use bytes::Bytes;

use super::refusal::{BodyFraming, decode_chunked_prefix};

/// A body on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusalBody {
    framing: BodyFraming,
    /// So many bytes are whole chunks, which need not be looked at again.
    chunks_len: usize,
}

impl RefusalBody {
    pub(crate) fn new(framing: BodyFraming) -> Self {
        Self { framing, chunks_len: 0 }
    }

    /// The body, and whether more of it was on its way; `None` to wait for more.
    ///
    /// `raw` is everything received behind the head, `end` says whether more may come, and at most `len_max` bytes are kept. What
    /// is returned depends on the bytes only, not on how they were cut on arrival; and waiting costs no more than they do.
    pub(crate) fn poll(&mut self, raw: &[u8], end: BodyEnd, len_max: usize) -> Option<(Bytes, bool)> {
        let kept = raw.get(..len_max).unwrap_or(raw);
        let is_complete = match self.framing {
            BodyFraming::None => true,
            BodyFraming::Length(len) => kept.len() as u64 >= len,
            BodyFraming::Chunked => self.chunks_end(kept),
            BodyFraming::UntilEof => end == BodyEnd::Stream && raw.len() <= len_max,
        };
        if !is_complete && end == BodyEnd::Open && raw.len() <= len_max {
            return None;
        }
        let body = match self.framing {
            BodyFraming::None => Bytes::new(),
            BodyFraming::Length(len) => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Bytes::copy_from_slice(kept.get(..len).unwrap_or(kept))
            }
            BodyFraming::Chunked => decode_chunked_prefix(kept).body.into(),
            BodyFraming::UntilEof => Bytes::copy_from_slice(kept),
        };
        Some((body, !is_complete))
    }

    /// Whether the last chunk is there, or the coding is broken, as [`decode_chunked_prefix`] has it.
    fn chunks_end(&mut self, raw: &[u8]) -> bool {
        while let Some(rest) = raw.get(self.chunks_len..) {
            let (size_len, chunk_len) = match httparse::parse_chunk_size(rest) {
                Ok(httparse::Status::Complete((_, 0))) | Err(_) => return true,
                Ok(httparse::Status::Complete(line)) => line,
                Ok(httparse::Status::Partial) => return false,
            };
            let whole_len = usize::try_from(chunk_len).unwrap_or(usize::MAX).saturating_add(size_len);
            match rest.get(whole_len..) {
                Some([b'\r', b'\n', ..]) => {
                    self.chunks_len = self.chunks_len.saturating_add(whole_len).saturating_add(2);
                }
                None | Some([] | [b'\r']) => return false,
                Some(_) => return true,
            }
        }
        false
    }
}

/// Whether more of a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// It may.
    Open,
    /// The stream is at its end.
    Stream,
    /// Nobody waits any longer, or the transport failed.
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `raw` byte by byte, then its end: the bytes that were needed, what was kept, whether it is cut.
    fn collect(framing: BodyFraming, raw: &[u8], len_max: usize) -> (usize, Vec<u8>, bool) {
        let mut refusal = RefusalBody::new(framing);
        for len in 0..=raw.len() {
            if let Some((body, truncated)) = refusal.poll(&raw[..len], BodyEnd::Open, len_max) {
                return (len, body.to_vec(), truncated);
            }
        }
        let (body, truncated) = refusal.poll(raw, BodyEnd::Stream, len_max).unwrap();
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
            let (whole, cut) = RefusalBody::new(framing).poll(raw, BodyEnd::Stream, len_max).unwrap();
            assert_eq!((&whole[..], cut), (body, truncated), "{framing:?}, {len_max}");
        }
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        assert_eq!(collect(BodyFraming::UntilEof, b"x", 0), (1, vec![], true));
        assert_eq!(collect(BodyFraming::Length(1), b"x", 0), (1, vec![], true));
    }

    #[test]
    fn a_body_that_is_cut_is_not_whole() {
        let cut = RefusalBody::new(BodyFraming::UntilEof).poll(b"no", BodyEnd::Cut, 9).unwrap();
        assert_eq!(cut, (Bytes::from("no"), true));
    }

    proptest::proptest! {
        #[test]
        fn the_end_of_chunks_is_where_the_decoder_has_it(raw in "([0-9a-f]{1,2}|\r\n|\r|[a-z]{1,4}|0\r\n){0,12}") {
            let mut body = RefusalBody::new(BodyFraming::Chunked);
            for len in 0..=raw.len() {
                let prefix = &raw.as_bytes()[..len];
                proptest::prop_assert_eq!(body.chunks_end(prefix), decode_chunked_prefix(prefix).is_complete);
            }
        }
    }
}
