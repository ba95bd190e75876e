//! The client's request (RFC 6455 section 4.1).

use std::fmt;

use thiserror::Error;

use super::accept_key::ClientKey;
use super::answer::write_extensions;
use super::headers::{FieldError, HeaderMap as _, OwnedHeaders, check_not_reserved, write_field};
use super::subprotocol::{SubprotocolError, check_subprotocol};
use super::url::{UrlError, WsUrl};

/// A request for a WebSocket: a URL, the subprotocols on offer, and fields of the application.
///
/// What the handshake needs is filled in when it is encoded. Nothing in it is tied to one connection,
/// so that one request serves every attempt to reconnect. Its `Debug` form hides credentials: the
/// user information and the query of the URL, and the values of `Authorization` and `Cookie`.
///
/// ```
/// use sansocket::handshake::ClientRequest;
///
/// let request = ClientRequest::new("wss://example.com/chat")?
///     .subprotocol("chat.v2")?
///     .header("Authorization", "Bearer s3cret")?;
/// assert_eq!((request.url().host(), request.url().port()), ("example.com", 443));
/// assert!(request.header("Sec-WebSocket-Key", "mine").is_err());
/// # Ok::<(), sansocket::handshake::RequestError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClientRequest {
    pub(super) url: WsUrl,
    pub(super) subprotocols: Vec<String>,
    pub(super) headers: OwnedHeaders,
}

impl ClientRequest {
    /// For a `ws` or `wss` URL, see [`WsUrl::parse`].
    ///
    /// User information in the URL becomes an `Authorization` field, which a later
    /// [`header`](Self::header) of that name replaces.
    ///
    /// # Errors
    ///
    /// [`RequestError::Url`].
    pub fn new(url: &str) -> Result<Self, RequestError> {
        WsUrl::parse(url).map(Self::from).map_err(RequestError::Url)
    }

    /// Adds a field.
    ///
    /// `Authorization`, `Cookie`, `Origin` and `User-Agent` occur at most once in a request, so that a
    /// later one replaces an earlier; others are added.
    ///
    /// # Errors
    ///
    /// [`FieldError::NameReserved`] for `Host`, `Upgrade`, `Connection` and `Sec-WebSocket-*`, which
    /// the handshake writes, and for `Content-Length`, `Transfer-Encoding`, `Trailer` and `TE`, since
    /// the request has no body. (`Host` is the URL's; to reach that host at another address, have the
    /// adapter connect there.) The other [`FieldError`]s for bytes that would break the request.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, RequestError> {
        check_not_reserved(name, &RESERVED)?;
        let mut added = OwnedHeaders::new();
        added.push(name, &value)?;
        if SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name)) {
            self.headers.remove(name);
        }
        self.headers.push(name, value)?;
        Ok(self)
    }

    /// Sets a parameter of the URL's query, see [`WsUrl::with_query_parameter`].
    #[must_use]
    pub fn query_parameter(mut self, name: &str, value: &str) -> Self {
        self.url = self.url.with_query_parameter(name, value);
        self
    }

    /// Offers a subprotocol, after those offered before: the order is the client's preference.
    ///
    /// # Errors
    ///
    /// [`SubprotocolError::NotAToken`] and [`SubprotocolError::Repeated`]. RFC 6455 section 4.1, item 10.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, RequestError> {
        check_subprotocol(name)?;
        if self.subprotocols.iter().any(|offered| offered == name) {
            return Err(SubprotocolError::Repeated.into());
        }
        self.subprotocols.push(name.to_owned());
        Ok(self)
    }

    /// The URL, with all that an adapter needs to connect.
    pub fn url(&self) -> &WsUrl {
        &self.url
    }

    /// The subprotocols on offer.
    pub fn subprotocols(&self) -> &[String] {
        &self.subprotocols
    }

    /// The fields of the application.
    pub fn headers(&self) -> &OwnedHeaders {
        &self.headers
    }

    /// Appends the request with the key of this attempt. RFC 6455 section 4.1.
    ///
    /// `extensions` is the value of `Sec-WebSocket-Extensions`: what is offered. A value that does not
    /// follow its grammar is left out, so that nothing that could end the head reaches the wire.
    pub fn encode(&self, key: &ClientKey, extensions: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.url.target().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_field("Host", self.url.authority(), out);
        write_field("Upgrade", "websocket", out);
        write_field("Connection", "Upgrade", out);
        write_field("Sec-WebSocket-Key", key.as_bytes(), out);
        write_field("Sec-WebSocket-Version", "13", out);
        if !self.subprotocols.is_empty() {
            write_field("Sec-WebSocket-Protocol", self.subprotocols.join(", "), out);
        }
        write_extensions(extensions, out);
        if let (Some(authorization), None) = (self.url.authorization(), self.headers.value("Authorization")) {
            write_field("Authorization", authorization, out);
        }
        self.headers.encode(out);
        out.extend_from_slice(b"\r\n");
    }
}

impl From<WsUrl> for ClientRequest {
    fn from(url: WsUrl) -> Self {
        Self { url, subprotocols: Vec::new(), headers: OwnedHeaders::new() }
    }
}

impl fmt::Debug for ClientRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("url", &self.url)
            .field("subprotocols", &self.subprotocols)
            .field("headers", &self.headers)
            .finish()
    }
}

/// Why a request of the application cannot be sent. Nothing has been sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The URL is malformed, or not for a WebSocket.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A field that would break the request or contradict it.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A subprotocol that is malformed, or offered twice.
    #[error(transparent)]
    Subprotocol(#[from] SubprotocolError),
}

const RESERVED: [&str; 8] =
    ["Host", "Upgrade", "Connection", "Sec-WebSocket-*", "Content-Length", "Transfer-Encoding", "Trailer", "TE"];

/// RFC 9110 sections 10.1.5 and 11.6.2, RFC 6265 section 5.4, RFC 6454 section 7.3.
const SINGLE: [&str; 4] = ["Authorization", "Cookie", "Origin", "User-Agent"];

#[cfg(test)]
mod tests {
    use super::super::{OriginPolicy, encode_key, parse_request};
    use super::*;

    fn encode(request: &ClientRequest, extensions: Option<&str>) -> String {
        let mut wire = Vec::new();
        request.encode(&encode_key(*b"the sample nonce"), extensions, &mut wire);
        String::from_utf8(wire).unwrap()
    }

    #[test]
    fn a_request_has_what_the_rfc_wants() {
        // RFC 6455 sections 1.2 and 4.1.
        let request = ClientRequest::new("ws://server.example.com/chat").unwrap();
        assert_eq!(
            encode(&request, None),
            "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let request = ClientRequest::new("wss://u:p@[::1]:8443?x").unwrap();
        let request = request.subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
        let request = request.header("Origin", "http://example.com").unwrap();
        assert_eq!(
            encode(&request, Some("permessage-deflate; client_max_window_bits")),
            "GET /?x HTTP/1.1\r\nHost: [::1]:8443\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat, superchat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
             Authorization: Basic dTpw\r\nOrigin: http://example.com\r\n\r\n"
        );
    }

    #[test]
    fn every_request_is_accepted_by_the_server_of_this_crate() {
        for url in ["ws://h", "wss://h:1/a?b", "ws://u:p@[::1]/", "wss://h/?a=%20"] {
            let origin = url.replace("ws", "http").replace("u:p@", "");
            let origin: String = origin.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            let request = ClientRequest::new(url).unwrap().header("Origin", &origin).unwrap();
            let wire = encode(&request, Some("a;b=1"));
            let head = parse_request(wire.as_bytes(), 20).unwrap();
            assert!(head.check(&OriginPolicy::default()).is_ok(), "{url}");
            assert!(OriginPolicy::SameOrigin.allows(&head.headers), "{url} from {origin}");
        }
    }

    #[test]
    fn what_the_handshake_writes_cannot_be_set() {
        for name in [
            "host",
            "UPGRADE",
            "Connection",
            "Sec-WebSocket-Key",
            "sec-websocket-version",
            "Sec-WebSocket-Protocol",
            "Content-Length",
            "Transfer-Encoding",
            "te",
            "Trailer",
        ] {
            let refused = ClientRequest::new("ws://h").unwrap().header(name, "x").unwrap_err();
            assert!(matches!(refused, RequestError::Field(FieldError::NameReserved { .. })), "{name}");
        }
    }

    #[test]
    fn fields_that_occur_once_are_replaced_and_others_added() {
        let request = ClientRequest::new("ws://u:p@h").unwrap();
        let request = request.header("authorization", "Bearer 1").unwrap().header("Authorization", "Bearer 2").unwrap();
        let request = request.header("X", "1").unwrap().header("x", "2").unwrap();
        let wire = encode(&request, None);
        assert_eq!(wire.to_lowercase().matches("authorization:").count(), 1, "{wire}");
        assert!(wire.ends_with("\r\nAuthorization: Bearer 2\r\nX: 1\r\nx: 2\r\n\r\n"), "{wire}");
    }

    #[test]
    fn nothing_of_the_application_breaks_the_request() {
        // CVE-2026-1527: CR, LF or NUL in a string of the application was written as it was.
        let request = || ClientRequest::new("ws://h").unwrap();
        for bad in ["\r", "\n", "\0", "\r\n", "\x01", "\x7f", "\x1b"] {
            for text in [bad.to_owned(), format!("a{bad}b"), format!("{bad}a"), format!("a{bad}")] {
                assert!(request().header("X", &text).is_err(), "{text:?}");
                assert!(request().header(&text, "x").is_err(), "{text:?}");
                assert!(request().subprotocol(&text).is_err(), "{text:?}");
                assert!(ClientRequest::new(&format!("ws://h/{text}")).is_err(), "{text:?}");
                assert!(ClientRequest::new(&format!("ws://{text}/")).is_err(), "{text:?}");
                let wire = encode(&request(), Some(&text));
                assert!(!wire.contains("Extensions"), "{wire:?}");
            }
        }
    }

    #[test]
    fn subprotocols_are_distinct_tokens() {
        let request = ClientRequest::new("ws://h").unwrap().subprotocol("a").unwrap();
        assert_eq!(request.clone().subprotocol("a"), Err(SubprotocolError::Repeated.into()));
        for name in ["", "a b", "a,b", "a/b", "\u{e9}"] {
            assert_eq!(request.clone().subprotocol(name), Err(SubprotocolError::NotAToken.into()), "{name}");
        }
        assert_eq!(request.subprotocol("A").unwrap().subprotocols(), ["a", "A"]);
    }

    #[test]
    fn debug_and_errors_hide_credentials() {
        let request = ClientRequest::new("wss://u:s3cret@h/?token=s3cret").unwrap();
        let request = request.header("Cookie", "id=s3cret").unwrap().header("Authorization", "Bearer s3cret").unwrap();
        let debug = format!("{request:?}");
        assert!(!debug.contains("s3cret") && !debug.contains("czNjcmV0"), "{debug}");
        assert!(
            debug.starts_with("ClientRequest { url: wss://(hidden)@h/?(hidden), subprotocols: [], headers: "),
            "{debug}"
        );
        let error = request.header("Authorization", "s3cret\n").unwrap_err();
        assert_eq!(error.to_string(), "byte 0x0a at offset 6 is not allowed in the value of a header field");
    }
}
