//! Requests and answers in the types of the `http` crate, which hyper, axum and most HTTP servers of Rust speak (feature `http`).
//!
//! Such a server parses the request and writes the answer; what is decided and what the answer says is the same as ever.
//! An `http::HeaderMap` is a [`HeaderMap`] here, so every function of [`handshake`](super) takes one.
//!
//! ```
//! use sansocket::handshake::{Acceptance, OriginPolicy, check_http_request, choose_subprotocol};
//!
//! let request = http::Request::get("/chat")
//!     .header("Host", "example.com")
//!     .header("Connection", "Upgrade")
//!     .header("Upgrade", "websocket")
//!     .header("Sec-WebSocket-Version", "13")
//!     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
//!     .header("Sec-WebSocket-Protocol", "chat.v1, chat.v2")
//!     .body(())?;
//! let upgrade = check_http_request(&request, &OriginPolicy::default())?;
//! let mut acceptance = Acceptance::new();
//! if let Some(chosen) = choose_subprotocol(request.headers(), &["chat.v2"])? {
//!     acceptance = acceptance.subprotocol(chosen)?;
//! }
//! let answer = acceptance.to_response(&upgrade.accept, None)?;
//! assert_eq!(answer.status(), 101);
//! assert_eq!(answer.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "chat.v2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};

use super::accept_key::AcceptKey;
use super::answer::{Acceptance, Rejection, has_no_body};
use super::extended_connect::{ConnectFault, ConnectFields, PseudoHeaders};
use super::extension::parse_extensions;
use super::head::{HttpVersion, check_target};
use super::headers::{HeaderMap, OwnedHeaders};
use super::origin::OriginPolicy;
use super::request_fault::RequestFault;
use super::server::{UpgradeRequest, check_request};

/// Decides whether a request asks for a WebSocket in HTTP/1.1, target included: [`RequestHead::check`](super::RequestHead::check) for an
/// HTTP server's own type.
///
/// # Errors
///
/// As [`RequestHead::check`](super::RequestHead::check); [`RequestFault::to_response`] makes the answer.
pub fn check_http_request<B>(request: &Request<B>, origin: &OriginPolicy) -> Result<UpgradeRequest, RequestFault> {
    let upgrade = check_request(request.method().as_str(), version_of(request), request.headers(), origin)?;
    let uri = request.uri();
    if uri.scheme().is_none() && uri.authority().is_none() {
        check_target(uri.path(), request.headers())?;
    } else {
        check_target(&uri.to_string(), request.headers())?;
    }
    Ok(upgrade)
}

/// Names are compared without regard to case.
impl HeaderMap for http::HeaderMap {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

/// All lines, in order.
///
/// Fails only for what is beyond the map's own limits: a name above 64 KiB, or more than about 24,000 lines.
impl TryFrom<&OwnedHeaders> for http::HeaderMap {
    type Error = http::Error;

    fn try_from(fields: &OwnedHeaders) -> Result<Self, http::Error> {
        let mut map = Self::new();
        for (name, value) in fields.iter() {
            map.try_append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(value)?)?;
        }
        Ok(map)
    }
}

impl Acceptance {
    /// The 101 answer, as [`encode_acceptance`](super::encode_acceptance) writes it.
    ///
    /// The subprotocol is written as it is: [`check`](Self::check) first whether the request offered it. Of `extensions`, a value that does
    /// not follow its grammar is left out.
    ///
    /// # Errors
    ///
    /// `http::Error` for fields of the application beyond the limits of `http::HeaderMap`.
    pub fn to_response(&self, accept: &AcceptKey, extensions: Option<&str>) -> Result<Response<()>, http::Error> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        *headers = self.headers().try_into()?;
        headers.try_insert(CONNECTION, HeaderValue::from_static("Upgrade"))?;
        headers.try_insert(UPGRADE, HeaderValue::from_static("websocket"))?;
        headers.try_insert("sec-websocket-accept", HeaderValue::from_str(accept.as_str())?)?;
        if let Some(subprotocol) = self.chosen_subprotocol() {
            headers.try_insert("sec-websocket-protocol", HeaderValue::from_str(subprotocol)?)?;
        }
        if let Some(extensions) = extensions.filter(|value| parse_extensions([value.as_bytes()]).is_ok()) {
            headers.try_insert("sec-websocket-extensions", HeaderValue::from_str(extensions)?)?;
        }
        Ok(response)
    }
}

impl Rejection {
    /// The answer, without what an HTTP server writes itself: `Content-Length`, and whether the connection goes on.
    ///
    /// # Errors
    ///
    /// `http::Error` for fields of the application beyond the limits of `http::HeaderMap`.
    pub fn to_response(&self) -> Result<Response<Bytes>, http::Error> {
        let body = if has_no_body(self.status()) { Bytes::new() } else { self.body_bytes().clone() };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status())?;
        let headers = response.headers_mut();
        *headers = self.headers().try_into()?;
        if headers.contains_key(UPGRADE) {
            // RFC 9110 section 7.8: who sends Upgrade lists it in Connection.
            headers.try_insert(CONNECTION, HeaderValue::from_static("Upgrade"))?;
        }
        Ok(response)
    }
}

impl RequestFault {
    /// The answer, as [`encode_response`](Self::encode_response) writes it, without what an HTTP server writes itself: `Content-Length`, and
    /// whether the connection goes on.
    pub fn to_response(self) -> Response<Bytes> {
        let text = if self == Self::MethodNotGet { String::new() } else { format!("{self}\n") };
        let mut response = fault_response(self.status(), self.headers(), text);
        if self.status() == 426 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        response
    }
}

impl ConnectFault {
    /// The answer, with a line of text that says what is wrong.
    pub fn to_response(self) -> Response<Bytes> {
        fault_response(self.status(), self.headers(), format!("{self}\n"))
    }
}

impl<'a> PseudoHeaders<'a> {
    /// Those of a request that came over HTTP/2 or HTTP/3.
    ///
    /// `protocol` is `:protocol`, which the `http` crate knows nothing of: HTTP libraries put it into the extensions of the request, as
    /// `hyper::ext::Protocol` and `h2::ext::Protocol`.
    pub fn of_http_request<B>(request: &'a Request<B>, protocol: Option<&'a str>) -> Self {
        let uri = request.uri();
        Self {
            method: request.method().as_str(),
            protocol,
            scheme: uri.scheme_str(),
            authority: uri.authority().map(http::uri::Authority::as_str),
            path: uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        }
    }
}

impl ConnectFields<'_> {
    /// The request, but for `:protocol`, which is `websocket` and goes into its extensions in the type of the HTTP library.
    ///
    /// # Errors
    ///
    /// `http::Error` for fields of the application beyond the limits of `http::HeaderMap`, and a URL beyond those of `http::Uri`: 64 KiB.
    pub fn to_request(&self) -> Result<Request<()>, http::Error> {
        let uri = http::Uri::builder().scheme(self.scheme).authority(self.authority.as_str()).path_and_query(self.path);
        let mut request = Request::new(());
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = uri.build()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = (&self.headers).try_into()?;
        Ok(request)
    }
}

fn version_of<B>(request: &Request<B>) -> HttpVersion {
    match request.version() {
        Version::HTTP_11 => HttpVersion::Http11,
        Version::HTTP_2 => HttpVersion::Http2,
        Version::HTTP_3 => HttpVersion::Http3,
        // HTTP/0.9 cannot upgrade either.
        _ => HttpVersion::Http10,
    }
}

/// Nothing in it comes from outside, so nothing is left out.
fn fault_response(status: u16, fields: &'static [(&'static str, &'static str)], text: String) -> Response<Bytes> {
    let has_text = !text.is_empty();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    for (name, value) in fields {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if has_text {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::super::{connect_request, encode_acceptance, encode_rejection, parse_response};
    use super::*;
    use crate::ClientRequest;

    fn request(target: &str) -> Request<()> {
        Request::get(target)
            .header("host", "example.com")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
    }

    /// The fields, sorted; what the two ways of writing an answer must have in common.
    fn fields<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<(String, Vec<u8>)> {
        let mut lines: Vec<_> = lines.map(|(name, value)| (name.to_lowercase(), value.to_vec())).collect();
        lines.retain(|(name, _)| name != "content-length");
        lines.sort();
        lines
    }

    fn http_fields<B>(response: &Response<B>) -> Vec<(String, Vec<u8>)> {
        fields(response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    #[test]
    fn a_request_is_held_to_the_same_rules() {
        let policy = OriginPolicy::default();
        let accept = check_http_request(&request("/chat?room=7"), &policy).unwrap().accept;
        assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(check_http_request(&request("http://example.com/chat"), &policy).is_ok());
        type Change = fn(&mut Request<()>);
        let table: [(Change, RequestFault); 9] = [
            (|request| *request.method_mut() = http::Method::POST, RequestFault::MethodNotGet),
            (|request| *request.version_mut() = Version::HTTP_10, RequestFault::HttpVersion),
            (|request| *request.version_mut() = Version::HTTP_2, RequestFault::HttpVersion),
            (|request| set(request, "upgrade", "h2c"), RequestFault::UpgradeMissing),
            (|request| set(request, "sec-websocket-version", "8"), RequestFault::VersionUnsupported),
            (|request| add(request, "host", "example.com"), RequestFault::HostRepeated),
            (|request| set(request, "origin", "https://evil.com"), RequestFault::OriginForbidden),
            (|request| target(request, "http://evil.com/chat"), RequestFault::TargetHostMismatch),
            (|request| target(request, "*"), RequestFault::TargetMalformed),
        ];
        for (change, fault) in table {
            let mut request = request("/chat");
            change(&mut request);
            assert_eq!(check_http_request(&request, &policy), Err(fault));
        }
    }

    fn set(request: &mut Request<()>, name: &'static str, value: &'static str) {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }

    fn add(request: &mut Request<()>, name: &'static str, value: &'static str) {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }

    fn target(request: &mut Request<()>, target: &'static str) {
        *request.uri_mut() = http::Uri::from_static(target);
    }

    #[test]
    fn an_acceptance_is_the_answer_that_goes_over_the_wire() {
        let accept = check_http_request(&request("/"), &OriginPolicy::Any).unwrap().accept;
        let acceptance = Acceptance::new().subprotocol("chat").unwrap();
        let acceptance = acceptance.header("Set-Cookie", "a=1").unwrap().header("Set-Cookie", b"b=\xff").unwrap();
        for extensions in [None, Some("permessage-deflate"), Some("a\r\nb")] {
            let mut wire = Vec::new();
            encode_acceptance(&acceptance, &accept, extensions, &mut wire);
            let written = parse_response(&wire, 10).unwrap();
            let response = acceptance.to_response(&accept, extensions).unwrap();
            assert_eq!(
                (response.status().as_u16(), http_fields(&response)),
                (written.status, fields(written.headers.iter()))
            );
        }
    }

    #[test]
    fn a_rejection_is_the_answer_that_goes_over_the_wire() {
        for (status, body) in [(401, "who are you?\n"), (426, ""), (204, "left out")] {
            let rejection = Rejection::new(status).unwrap().header("Upgrade", "websocket").unwrap().body(body);
            let mut wire = Vec::new();
            encode_rejection(&rejection, &mut wire);
            let head_len = wire.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let response = rejection.to_response().unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["connection"], "Upgrade");
            assert_eq!(response.headers()["upgrade"], "websocket");
            assert_eq!(response.body(), &wire[head_len..]);
        }
    }

    #[test]
    fn the_answers_to_faults_say_what_their_wire_form_says() {
        for fault in [
            RequestFault::MethodNotGet,
            RequestFault::HttpVersion,
            RequestFault::UpgradeMissing,
            RequestFault::KeyMissing,
            RequestFault::OriginForbidden,
        ] {
            let mut wire = Vec::new();
            fault.encode_response(&mut wire);
            let head_len = wire.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let (head, body) = wire.split_at(head_len);
            let written = parse_response(head, 10).unwrap();
            let response = fault.to_response();
            assert_eq!((response.status().as_u16(), &response.body()[..]), (written.status, body));
            let without_connection = |mut fields: Vec<(String, Vec<u8>)>| {
                fields.retain(|(name, _)| name != "connection");
                fields
            };
            assert_eq!(
                without_connection(http_fields(&response)),
                without_connection(fields(written.headers.iter())),
                "{fault:?}"
            );
            // Whether the connection goes on is the server's business, but who sends Upgrade lists it.
            assert_eq!(response.headers().contains_key("connection"), fault.status() == 426);
        }
        let fault = ConnectFault::Request(RequestFault::VersionMissing).to_response();
        assert_eq!((fault.status().as_u16(), &fault.headers()["sec-websocket-version"]), (400, &"13".parse().unwrap()));
        assert!(!fault.headers().contains_key("connection"), "RFC 9113 section 8.2.2");
    }

    #[test]
    fn what_the_map_cannot_hold_is_an_error_and_no_panic() {
        let mut fields = OwnedHeaders::new();
        for n in 0..40_000 {
            fields.push(&format!("x-{n}"), "").unwrap();
        }
        assert!(http::HeaderMap::try_from(&fields).is_err());
        let mut fields = OwnedHeaders::new();
        fields.push(&"x".repeat(70_000), "").unwrap();
        assert!(http::HeaderMap::try_from(&fields).is_err());
    }

    #[test]
    fn an_extended_connect_survives_the_types_of_the_http_crate() {
        let request = ClientRequest::new("wss://example.com:8443/chat?room=7").unwrap().subprotocol("chat").unwrap();
        let fields = connect_request(&request, None);
        let sent = fields.to_request().unwrap();
        assert_eq!(PseudoHeaders::of_http_request(&sent, Some("websocket")), fields.pseudo_headers());
        assert_eq!(sent.headers()["sec-websocket-protocol"], "chat");
    }
}
