//! What the server's application answers: an acceptance or a rejection.

use bytes::Bytes;
use thiserror::Error;

use super::accept_key::AcceptKey;
use super::extension::parse_extensions;
use super::headers::{FieldError, HeaderMap, OwnedHeaders, check_not_reserved, write_field};
use super::subprotocol::{SubprotocolError, check_subprotocol, is_subprotocol_offered};

/// The application's part of a 101 answer: the subprotocol it chose, and fields of its own.
///
/// ```
/// use sansocket::handshake::Acceptance;
///
/// let acceptance = Acceptance::new().subprotocol("chat")?.header("Set-Cookie", "seat=7; Secure")?;
/// assert!(acceptance.header("X-Name", "a\r\nSet-Cookie: stolen").is_err());
/// # Ok::<(), sansocket::handshake::AnswerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    subprotocol: Option<Box<str>>,
    headers: OwnedHeaders,
}

impl Acceptance {
    /// Without a subprotocol and without fields beyond those that the handshake needs.
    pub const fn new() -> Self {
        Self { subprotocol: None, headers: OwnedHeaders::new() }
    }

    /// Speaks `name`, which the client must have offered. A later call replaces the name.
    ///
    /// # Errors
    ///
    /// [`SubprotocolError::NotAToken`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, AnswerError> {
        check_subprotocol(name)?;
        self.subprotocol = Some(name.into());
        Ok(self)
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// [`FieldError::NameReserved`] for `Upgrade`, `Connection`, `Sec-WebSocket-*`, which the
    /// handshake writes, and for `Content-Length`, `Transfer-Encoding` and `Trailer`, since a 101 has
    /// no body (RFC 9110 section 8.6, RFC 9112 section 6.1); the other [`FieldError`]s for bytes that
    /// would break the answer.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, AnswerError> {
        check_not_reserved(name, &ACCEPTANCE_RESERVED)?;
        self.headers.push(name, value)?;
        Ok(self)
    }

    /// The subprotocol, if one was chosen.
    pub fn chosen_subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The fields that the application added.
    pub fn headers(&self) -> &OwnedHeaders {
        &self.headers
    }

    /// Checks that this may answer the request with these fields.
    ///
    /// # Errors
    ///
    /// [`SubprotocolError::NotOffered`]: a browser would fail the connection. RFC 6455 section 4.2.2,
    /// step 5.5.
    pub fn check(&self, request: &(impl HeaderMap + ?Sized)) -> Result<(), AnswerError> {
        match self.chosen_subprotocol() {
            Some(name) if !is_subprotocol_offered(request, name) => Err(SubprotocolError::NotOffered.into()),
            _ => Ok(()),
        }
    }
}

/// An answer that refuses the WebSocket: a status, fields, a body.
///
/// ```
/// use sansocket::handshake::Rejection;
///
/// let rejection = Rejection::new(503)?.header("Retry-After", "30")?.body("come back later\n");
/// assert_eq!(rejection.status(), 503);
/// # Ok::<(), sansocket::handshake::AnswerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: u16,
    headers: OwnedHeaders,
    body: Bytes,
}

impl Rejection {
    /// With `status`, 200 to 599.
    ///
    /// # Errors
    ///
    /// [`AnswerError::StatusInvalid`]: 101 would accept, and the other 1xx are no final answers.
    pub fn new(status: u16) -> Result<Self, AnswerError> {
        if !(200..=599).contains(&status) {
            return Err(AnswerError::StatusInvalid { status });
        }
        Ok(Self { status, headers: OwnedHeaders::new(), body: Bytes::new() })
    }

    /// Adds a field.
    ///
    /// # Errors
    ///
    /// [`FieldError::NameReserved`] for `Connection`, `Content-Length`, `Transfer-Encoding` and
    /// `Trailer`, which the encoder writes or which contradict it, and for `Sec-WebSocket-Accept`,
    /// which accepts; the other [`FieldError`]s for bytes that would break the answer.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, AnswerError> {
        check_not_reserved(name, &REJECTION_RESERVED)?;
        self.headers.push(name, value)?;
        Ok(self)
    }

    /// Sets the body; 204, 205 and 304 have none, and leave it out.
    ///
    /// Its `Content-Type`, if one is wanted, is a [`header`](Self::header).
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields that the application added.
    pub fn headers(&self) -> &OwnedHeaders {
        &self.headers
    }

    /// The body as it was set, whatever the status.
    #[cfg(feature = "http")]
    pub(super) fn body_bytes(&self) -> &Bytes {
        &self.body
    }
}

/// Why an answer of the application cannot be sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// A field that would break the answer or contradict it.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A subprotocol that is malformed, or was not offered.
    #[error(transparent)]
    Subprotocol(#[from] SubprotocolError),
    /// A status that refuses nothing.
    #[error("status {status} cannot reject a handshake: use 200 to 599")]
    StatusInvalid {
        /// The status.
        status: u16,
    },
}

/// Appends the 101 answer. RFC 6455 section 4.2.2, step 5.
///
/// The subprotocol is written as it is: [`Acceptance::check`] first whether the request offered it.
///
/// `extensions` is the value of `Sec-WebSocket-Extensions`: those that were agreed upon. A value that
/// does not follow its grammar is left out, so that nothing that could end the head reaches the wire.
pub fn encode_acceptance(acceptance: &Acceptance, accept: &AcceptKey, extensions: Option<&str>, out: &mut Vec<u8>) {
    write_status_line(101, out);
    write_field("Upgrade", "websocket", out);
    write_field("Connection", "Upgrade", out);
    write_field("Sec-WebSocket-Accept", accept.as_bytes(), out);
    if let Some(subprotocol) = acceptance.chosen_subprotocol() {
        write_field("Sec-WebSocket-Protocol", subprotocol, out);
    }
    write_extensions(extensions, out);
    acceptance.headers.encode(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole answer that refuses, and ends the connection.
///
/// It is framed by `Content-Length`. RFC 9112 section 6.2.
pub fn encode_rejection(rejection: &Rejection, out: &mut Vec<u8>) {
    write_status_line(rejection.status, out);
    // RFC 9110 section 7.8: who sends Upgrade lists it in Connection.
    let upgrades = rejection.headers.value("Upgrade").is_some();
    write_field("Connection", if upgrades { "Upgrade, close" } else { "close" }, out);
    rejection.headers.encode(out);
    let body = if has_no_body(rejection.status) { &[][..] } else { &rejection.body };
    // RFC 9110 section 8.6: none in a 204; in a 304 it would be the length of another body.
    if !matches!(rejection.status, 204 | 304) {
        out.extend_from_slice(b"Content-Length: ");
        push_number(body.len(), out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

/// Whether an answer with this status has no body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5).
pub(super) fn has_no_body(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

/// The reason phrase that is registered for `status`; empty for one that has none (RFC 9112 section 4).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// `HTTP/1.1 status reason`. The blank before an empty reason stays: the grammar wants it.
pub(super) fn write_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(usize::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_number(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(number.to_string().as_bytes());
}

/// Writes `Sec-WebSocket-Extensions` if there is a well-formed value.
pub(super) fn write_extensions(extensions: Option<&str>, out: &mut Vec<u8>) {
    let well_formed = extensions.filter(|list| parse_extensions([list.as_bytes()]).is_ok());
    if let Some(list) = well_formed {
        write_field("Sec-WebSocket-Extensions", list, out);
    }
}

const ACCEPTANCE_RESERVED: [&str; 6] =
    ["Upgrade", "Connection", "Sec-WebSocket-*", "Content-Length", "Transfer-Encoding", "Trailer"];

const REJECTION_RESERVED: [&str; 5] =
    ["Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Sec-WebSocket-Accept"];

#[cfg(test)]
mod tests {
    use super::super::{BodyFraming, HeadScanner, accept_key, body_framing, parse_response};
    use super::*;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    fn text(encode: impl Fn(&mut Vec<u8>)) -> String {
        let mut wire = Vec::new();
        encode(&mut wire);
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn an_acceptance_is_the_answer_of_the_rfc() {
        // RFC 6455 section 1.2.
        let acceptance = Acceptance::new().subprotocol("chat").unwrap().header("Server", "x").unwrap();
        assert_eq!(
            text(|out| encode_acceptance(&acceptance, &accept_key(KEY), Some("a; b=1"), out)),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: a; b=1\r\nServer: x\r\n\r\n"
        );
        assert_eq!(
            text(|out| encode_acceptance(&Acceptance::new(), &accept_key(KEY), None, out)),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn a_rejection_is_framed_by_its_length_and_closes() {
        let rejection = Rejection::new(503).unwrap().header("Retry-After", "30").unwrap().body("later\n");
        assert_eq!(
            text(|out| encode_rejection(&rejection, out)),
            "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 30\r\n\
             Content-Length: 6\r\n\r\nlater\n"
        );
        assert_eq!(
            text(|out| encode_rejection(&Rejection::new(599).unwrap(), out)),
            "HTTP/1.1 599 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let upgrade = Rejection::new(426).unwrap().header("Upgrade", "websocket").unwrap();
        assert!(text(|out| encode_rejection(&upgrade, out)).contains("\r\nConnection: Upgrade, close\r\n"));
    }

    #[test]
    fn every_status_from_200_to_599_rejects_and_no_other() {
        for status in (0..=1000).chain([u16::MAX]) {
            match Rejection::new(status) {
                Ok(rejection) => {
                    assert!((200..=599).contains(&status));
                    let mut wire = Vec::new();
                    encode_rejection(&rejection.body("body"), &mut wire);
                    let head_len = HeadScanner::default().scan(&wire, 1 << 16).unwrap().unwrap();
                    let head = parse_response(&wire[..head_len], 10).unwrap();
                    assert_eq!(head.status, status);
                    let body_len = (wire.len() - head_len) as u64;
                    match body_framing(&head) {
                        BodyFraming::None => assert_eq!(body_len, 0, "{status}"),
                        framing => assert_eq!(framing, BodyFraming::Length(body_len), "{status}"),
                    }
                }
                Err(error) => {
                    assert!(!(200..=599).contains(&status));
                    assert_eq!(error, AnswerError::StatusInvalid { status });
                }
            }
        }
    }

    #[test]
    fn what_the_handshake_writes_cannot_be_set() {
        for name in [
            "upgrade",
            "CONNECTION",
            "Sec-WebSocket-Accept",
            "sec-websocket-anything",
            "Content-Length",
            "Transfer-Encoding",
            "Trailer",
        ] {
            let refused = Acceptance::new().header(name, "x").unwrap_err();
            assert!(matches!(refused, AnswerError::Field(FieldError::NameReserved { .. })), "{name}");
        }
        for name in ["connection", "Content-length", "Transfer-Encoding", "Trailer", "Sec-WebSocket-Accept"] {
            let refused = Rejection::new(400).unwrap().header(name, "x").unwrap_err();
            assert!(matches!(refused, AnswerError::Field(FieldError::NameReserved { .. })), "{name}");
        }
        assert!(Acceptance::new().header("Sec-WebSocke", "x").is_ok());
        assert!(Rejection::new(426).unwrap().header("Sec-WebSocket-Version", "13").is_ok());
    }

    #[test]
    fn nothing_of_the_application_breaks_the_answer() {
        // CVE-2026-1527: CR, LF or NUL in a string of the application was written as it was.
        for bad in ["\r", "\n", "\0", "\r\n", "\x01", "\x7f", "\x1b"] {
            for text in [bad.to_owned(), format!("a{bad}b"), format!("{bad}a"), format!("a{bad}")] {
                assert!(Acceptance::new().header("X", &text).is_err(), "{text:?}");
                assert!(Acceptance::new().header(&text, "x").is_err(), "{text:?}");
                assert!(Acceptance::new().subprotocol(&text).is_err(), "{text:?}");
                assert!(Rejection::new(400).unwrap().header("X", &text).is_err(), "{text:?}");
                assert!(Rejection::new(400).unwrap().header(&text, "x").is_err(), "{text:?}");
            }
        }
        for name in ["", "a, b", "a b", "a;b", "\u{e9}"] {
            let error = AnswerError::Subprotocol(SubprotocolError::NotAToken);
            assert_eq!(Acceptance::new().subprotocol(name), Err(error), "{name}");
        }
    }

    #[test]
    fn a_subprotocol_that_was_not_offered_is_noticed() {
        let offered = [("Sec-WebSocket-Protocol", "a, b")];
        let accept = |name| Acceptance::new().subprotocol(name).unwrap();
        assert_eq!(accept("b").check(&offered), Ok(()));
        assert_eq!(Acceptance::new().check(&offered), Ok(()));
        assert_eq!(accept("c").check(&offered), Err(SubprotocolError::NotOffered.into()));
        assert_eq!(accept("a").check(&[("Host", "a")]), Err(SubprotocolError::NotOffered.into()));
    }

    #[cfg(feature = "http")]
    #[test]
    fn reason_phrases_are_those_of_the_registry() {
        // RFC 9110 has given these another name; the others are of no use to a WebSocket.
        let renamed = [(413, "Content Too Large"), (422, "Unprocessable Content")];
        let useless = [100, 102, 103, 203, 206, 207, 208, 226, 305, 416, 418, 424, 506, 508, 510];
        for status in 100..600 {
            let registered = http::StatusCode::from_u16(status).unwrap().canonical_reason().unwrap_or_default();
            let renamed = renamed.iter().find(|(renamed, _)| *renamed == status).map(|(_, phrase)| *phrase);
            let expected = if useless.contains(&status) { "" } else { renamed.unwrap_or(registered) };
            assert_eq!(reason_phrase(status), expected, "{status}");
        }
    }
}
