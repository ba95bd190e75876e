//! An answer that refuses the WebSocket, as the client sees it, and the framing of its body.

use std::time::Duration;

use bytes::Bytes;

use super::head::ResponseHead;
use super::headers::{HeaderMap as _, OwnedHeaders};
use super::token::{elements, trim_blanks};

/// A server's answer other than 101: the reason why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: OwnedHeaders,
    /// The body, or its start.
    pub body: Bytes,
    /// Whether more of the body was on its way than was kept.
    pub body_truncated: bool,
}

impl Refusal {
    /// When to try again, if the server says so. RFC 9110 section 10.2.3.
    pub fn retry_after(&self) -> Option<RetryAfter<'_>> {
        let value = self.headers.get("Retry-After").filter(|value| !value.is_empty())?;
        if !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(RetryAfter::Date(value));
        }
        let seconds = value.parse().unwrap_or(u32::MAX); // too many digits: longer than any wait
        Some(RetryAfter::Delay(Duration::from_secs(seconds.into())))
    }

    /// Where the server wants the client to go, if it redirects: `Location` of a 301, 302, 303, 307 or
    /// 308. RFC 9110 section 10.2.2.
    ///
    /// It may be relative. Follow it with care: drop credentials when the origin changes, never go from
    /// `wss` to `ws`, and count the hops.
    pub fn location(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.headers.get("Location"))?
    }

    /// The challenges of a 401, a line each. RFC 9110 section 11.6.1.
    pub fn www_authenticate(&self) -> impl Iterator<Item = &str> {
        self.headers.get_all("WWW-Authenticate").filter_map(|value| std::str::from_utf8(value).ok())
    }
}

/// The value of `Retry-After`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RetryAfter<'a> {
    /// So long after the answer; at most 2³² − 1 seconds, so that adding it to a time is safe.
    Delay(Duration),
    /// At a date, as the server wrote it: what it means depends on the server's clock.
    Date(&'a str),
}

/// How the end of an answer's body is known.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BodyFraming {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// By chunks, see [`decode_chunked_prefix`].
    Chunked,
    /// By the end of the connection.
    UntilEof,
}

/// How the body of an answer to a `GET` is framed. RFC 9112 section 6.3.
///
/// What contradicts itself (two lengths that differ, a length that is no number) lasts until the
/// connection ends: it is only shown, never trusted to be followed by another answer.
pub fn body_framing(head: &ResponseHead<'_>) -> BodyFraming {
    if matches!(head.status, 100..=199 | 204 | 304) {
        return BodyFraming::None;
    }
    let mut codings = head.headers.values("Transfer-Encoding").flat_map(elements).peekable();
    if codings.peek().is_some() {
        let is_chunked = codings.last().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return if is_chunked { BodyFraming::Chunked } else { BodyFraming::UntilEof };
    }
    // RFC 9110 section 8.6: a list of the same length is that length.
    let mut lengths = head.headers.values("Content-Length").flat_map(|value| value.split(|&byte| byte == b','));
    match lengths.next().and_then(decimal) {
        Some(length) if lengths.all(|other| decimal(other) == Some(length)) => BodyFraming::Length(length),
        _ => BodyFraming::UntilEof,
    }
}

/// The start of a chunked body.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChunkedPrefix {
    /// The data of the chunks so far: never longer than what was given.
    pub body: Vec<u8>,
    /// Whether more bytes would add nothing: the last chunk is there, or the coding is broken.
    pub is_complete: bool,
}

/// Decodes as much of a chunked body as `raw`, its first bytes, holds. RFC 9112 section 7.1.
///
/// To show why a server refused: a chunk that is cut off counts as far as it goes, and what is
/// malformed ends the body. Extensions of chunks and trailers are skipped.
///
/// ```
/// use sansocket::handshake::decode_chunked_prefix;
///
/// let prefix = decode_chunked_prefix(b"5\r\nsorry\r\n7\r\n, but");
/// assert_eq!((&prefix.body[..], prefix.is_complete), (&b"sorry, but"[..], false));
/// ```
pub fn decode_chunked_prefix(raw: &[u8]) -> ChunkedPrefix {
    let mut body = Vec::new();
    let mut rest = raw;
    let is_complete = loop {
        let (size_len, chunk_len) = match httparse::parse_chunk_size(rest) {
            // A size of zero, or, as the parser lets pass, no digit at all.
            Ok(httparse::Status::Complete((_, 0))) | Err(_) => break true,
            Ok(httparse::Status::Complete(line)) => line,
            Ok(httparse::Status::Partial) => break false,
        };
        let Some((_, data)) = rest.split_at_checked(size_len) else { break true };
        let chunk_len = usize::try_from(chunk_len).unwrap_or(usize::MAX);
        let Some((chunk, after)) = data.split_at_checked(chunk_len) else {
            body.extend_from_slice(data);
            break false;
        };
        body.extend_from_slice(chunk);
        match after {
            [b'\r', b'\n', next @ ..] => rest = next,
            [] | [b'\r'] => break false,
            _ => break true,
        }
    };
    ChunkedPrefix { body, is_complete }
}

/// A number in decimal digits and nothing else.
fn decimal(value: &[u8]) -> Option<u64> {
    let digits = trim_blanks(value);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_response;
    use super::*;

    #[test]
    fn the_end_of_a_body_is_known_as_the_rfc_says() {
        use BodyFraming::*;
        // RFC 9112 section 6.3.
        type Fields = &'static [(&'static str, &'static str)];
        let table: &[(u16, Fields, BodyFraming)] = &[
            (200, &[], UntilEof),
            (403, &[("Content-Length", "0")], Length(0)),
            (403, &[("content-length", "42")], Length(42)),
            (403, &[("Content-Length", "42, 42")], Length(42)),
            (403, &[("Content-Length", "42"), ("Content-Length", "42")], Length(42)),
            (403, &[("Content-Length", "42"), ("Content-Length", "43")], UntilEof),
            (403, &[("Content-Length", "42,")], UntilEof),
            (403, &[("Content-Length", "")], UntilEof),
            (403, &[("Content-Length", "-1")], UntilEof),
            (403, &[("Content-Length", "+1")], UntilEof),
            (403, &[("Content-Length", "0x10")], UntilEof),
            (403, &[("Content-Length", "18446744073709551615")], Length(u64::MAX)),
            (403, &[("Content-Length", "18446744073709551616")], UntilEof),
            (403, &[("Transfer-Encoding", "chunked")], Chunked),
            (403, &[("Transfer-Encoding", "gzip, Chunked")], Chunked),
            (403, &[("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], Chunked),
            (403, &[("Transfer-Encoding", "chunked, gzip")], UntilEof),
            (403, &[("Transfer-Encoding", "xchunked")], UntilEof),
            (403, &[("Transfer-Encoding", "chunked"), ("Content-Length", "5")], Chunked),
            (204, &[("Content-Length", "5")], None),
            (304, &[("Content-Length", "5")], None),
            (103, &[], None),
            (101, &[("Transfer-Encoding", "chunked")], None),
        ];
        for (status, fields, expected) in table {
            let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let text = format!("HTTP/1.1 {status} \r\n{fields}\r\n");
            assert_eq!(body_framing(&parse_response(text.as_bytes(), 10).unwrap()), *expected, "{text}");
        }
    }

    #[test]
    fn chunks_are_joined_as_far_as_they_go() {
        // RFC 9112 section 7.1.
        let table: [(&str, &str, bool); 21] = [
            ("", "", false),
            ("0\r\n\r\n", "", true),
            ("4\r\nRust\r\n0\r\n\r\n", "Rust", true),
            ("4\r\nRust\r\n6;a=b\r\n is ok\r\n0\r\nTrailer: x\r\n\r\n", "Rust is ok", true),
            ("A\r\n0123456789\r\n", "0123456789", false),
            ("a \r\n0123456789\r\n", "0123456789", false),
            ("4", "", false),
            ("4\r", "", false),
            ("4\r\n", "", false),
            ("4\r\nRu", "Ru", false),
            ("4\r\nRust", "Rust", false),
            ("4\r\nRust\r", "Rust", false),
            ("4\r\nRustX", "Rust", true), // no CRLF after the data
            ("4\r\nRust\rX", "Rust", true),
            ("\r\n", "", true), // no digits
            ("4\r\nRust\r\n\r\nab", "Rust", true),
            ("x\r\n", "", true),
            ("-1\r\n", "", true),
            ("4\nRust", "", true),
            ("ffffffffffffffff\r\nall", "all", false),
            ("10000000000000000\r\nall", "", true), // 65 bits
        ];
        for (raw, body, is_complete) in table {
            let prefix = decode_chunked_prefix(raw.as_bytes());
            assert_eq!((prefix.body.as_slice(), prefix.is_complete), (body.as_bytes(), is_complete), "{raw:?}");
        }
    }

    fn refusal(status: u16, name: &str, value: &str) -> Refusal {
        let mut headers = OwnedHeaders::new();
        headers.push(name, value).unwrap();
        Refusal { status, headers, body: Bytes::new(), body_truncated: false }
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let delay = |seconds| Some(RetryAfter::Delay(Duration::from_secs(seconds)));
        let table = [
            ("120", delay(120)),
            ("0", delay(0)),
            ("4294967295", delay(4_294_967_295)),
            ("4294967296", delay(4_294_967_295)),
            ("99999999999999999999999", delay(4_294_967_295)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(RetryAfter::Date("Fri, 31 Dec 1999 23:59:59 GMT"))),
            ("-1", Some(RetryAfter::Date("-1"))),
            ("", None),
        ];
        for (value, expected) in table {
            assert_eq!(refusal(503, "retry-after", value).retry_after(), expected, "{value}");
        }
        assert_eq!(refusal(503, "X", "1").retry_after(), None);
    }

    #[test]
    fn a_refusal_says_where_to_go_and_how_to_authenticate() {
        assert_eq!(refusal(301, "Location", "wss://other/").location(), Some("wss://other/"));
        assert_eq!(refusal(200, "Location", "wss://other/").location(), None);
        assert_eq!(refusal(301, "X", "y").location(), None);
        let refusal = refusal(401, "WWW-Authenticate", "Basic realm=\"x\"");
        assert_eq!(refusal.www_authenticate().collect::<Vec<_>>(), ["Basic realm=\"x\""]);
    }

    proptest! {
        #[test]
        fn chunks_are_read_back_and_a_prefix_gives_a_prefix(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cut: prop::sample::Index,
        ) {
            let mut raw = Vec::new();
            for chunk in &chunks {
                raw.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                raw.extend_from_slice(chunk);
                raw.extend_from_slice(b"\r\n");
            }
            raw.extend_from_slice(b"0\r\n\r\n");
            let body = chunks.concat();
            prop_assert_eq!(decode_chunked_prefix(&raw), ChunkedPrefix { body: body.clone(), is_complete: true });
            let prefix = decode_chunked_prefix(&raw[..cut.index(raw.len())]);
            prop_assert!(body.starts_with(&prefix.body));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(raw in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode_chunked_prefix(&raw).body.len() <= raw.len());
        }
    }
}
