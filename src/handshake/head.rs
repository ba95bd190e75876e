//! Parses the heads of requests and answers (RFC 9112 sections 3 to 5).

use std::fmt;

use super::authority::Authority;
use super::headers::{HeaderMap, Headers, OwnedHeaders, Single};
use super::origin::OriginPolicy;
use super::request_fault::RequestFault;
use super::response::ResponseFault;
use super::scanner::is_one_head;
use super::server::{UpgradeRequest, check_request};

/// The version of HTTP in which a request or an answer came.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.0, which cannot upgrade.
    Http10,
    /// HTTP/1.1: the only one that upgrades by `GET`.
    Http11,
    /// HTTP/2, where a WebSocket begins with an extended `CONNECT` instead (RFC 8441).
    Http2,
    /// HTTP/3, where a WebSocket begins with an extended `CONNECT` instead (RFC 9220).
    Http3,
}

/// The head of a request, lent from the buffer that holds it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHead<'b> {
    /// The method, a token in the case in which it came.
    pub method: &'b str,
    /// The request target as it came: visible ASCII, no more is checked yet.
    pub target: &'b str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: HttpVersion,
    /// The header fields.
    pub headers: Headers<'b>,
}

impl<'b> RequestHead<'b> {
    /// The path of the target, still percent-encoded: what stands before the first `?`.
    ///
    /// Of a target in absolute form, only what comes after the host; `/` when nothing does.
    pub fn path(&self) -> &'b str {
        path(self.target)
    }

    /// The query of the target, still percent-encoded: what stands after the first `?`, if there is one.
    pub fn query(&self) -> Option<&'b str> {
        query(self.target)
    }

    /// A copy that outlives the buffer, for whoever decides later.
    pub fn to_owned(&self) -> OwnedRequestHead {
        OwnedRequestHead {
            method: self.method.into(),
            target: self.target.into(),
            version: self.version,
            headers: self.headers.to_owned(),
        }
    }

    /// Decides whether this is a request for a WebSocket, as [`check_request`] does, and checks the
    /// target, too.
    ///
    /// The target must be in origin form (`/path?query`) or in absolute form
    /// (`http://host/path?query`), where the host must be the one of the `Host` field.
    ///
    /// # Errors
    ///
    /// The first fault in the order of [`check_request`]; then [`RequestFault::TargetMalformed`] and
    /// [`RequestFault::TargetHostMismatch`].
    pub fn check(&self, origin: &OriginPolicy) -> Result<UpgradeRequest, RequestFault> {
        let upgrade = check_request(self.method, self.version, &self.headers, origin)?;
        check_target(self.target, &self.headers)?;
        Ok(upgrade)
    }
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("target", &without_query(self.target))
            .field("version", &self.version)
            .field("headers", &self.headers)
            .finish()
    }
}

/// The head of a request, owned.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedRequestHead {
    /// The method, a token in the case in which it came.
    pub method: String,
    /// The request target as it came.
    pub target: String,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: HttpVersion,
    /// The header fields.
    pub headers: OwnedHeaders,
}

impl OwnedRequestHead {
    /// The path of the target, as [`RequestHead::path`].
    pub fn path(&self) -> &str {
        path(&self.target)
    }

    /// The query of the target, as [`RequestHead::query`].
    pub fn query(&self) -> Option<&str> {
        query(&self.target)
    }
}

impl fmt::Debug for OwnedRequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedRequestHead")
            .field("method", &self.method)
            .field("target", &without_query(&self.target))
            .field("version", &self.version)
            .field("headers", &self.headers)
            .finish()
    }
}

/// The head of an answer, lent from the buffer that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHead<'b> {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; empty when there is none, or when it is not ASCII.
    pub reason: &'b str,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: HttpVersion,
    /// The header fields.
    pub headers: Headers<'b>,
}

impl ResponseHead<'_> {
    /// Whether another answer to the same request follows: 100 Continue, 103 Early Hints and the like.
    ///
    /// A client reads on from the next byte, whatever the status says. It should do so a few times
    /// only. RFC 9110 section 15.2.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

/// Parses the head of a request, as found by [`HeadScanner`](super::HeadScanner).
///
/// `head` is the whole head with its final empty line and nothing after it. Only its form is
/// checked; [`RequestHead::check`] decides whether it asks for a WebSocket. RFC 9112 sections 3 to 5;
/// the obsolete folding of lines is refused (section 5.2).
///
/// # Errors
///
/// [`RequestFault::TooManyHeaders`] when there are more than `headers_max` lines,
/// [`RequestFault::HttpVersion`] when the version is well-formed but neither 1.0 nor 1.1,
/// [`RequestFault::Malformed`] otherwise.
pub fn parse_request(head: &[u8], headers_max: usize) -> Result<RequestHead<'_>, RequestFault> {
    if !is_one_head(head) {
        return Err(RequestFault::Malformed);
    }
    let head = head.strip_prefix(b"\r\n").unwrap_or(head); // RFC 9112 section 2.2
    let lines = field_lines(head);
    if lines > headers_max {
        return Err(RequestFault::TooManyHeaders { max: headers_max });
    }
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut request = httparse::Request::new(&mut fields);
    let (method, target, version) = match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => (request.method, request.path, request.version),
        Err(httparse::Error::Version) => return Err(request_version_fault(head)),
        Ok(httparse::Status::Partial) | Err(_) => return Err(RequestFault::Malformed),
    };
    let parsed = request.headers.len();
    fields.truncate(parsed);
    let (Some(method), Some(target), Some(version)) = (method, target, version.and_then(minor_version)) else {
        return Err(RequestFault::Malformed);
    };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(RequestFault::Malformed);
    }
    Ok(RequestHead { method, target, version, headers: Headers::from_parsed(fields) })
}

/// Parses the head of an answer, as found by [`HeadScanner`](super::HeadScanner).
///
/// `head` is the whole head with its final empty line and nothing after it. Only its form is
/// checked; [`check_response`](super::check_response) decides whether it opens a WebSocket.
/// RFC 9112 sections 4 and 5.
///
/// # Errors
///
/// [`ResponseFault::TooManyHeaders`] when there are more than `headers_max` lines,
/// [`ResponseFault::HttpVersion`] when the version is well-formed but neither 1.0 nor 1.1,
/// [`ResponseFault::Malformed`] otherwise.
pub fn parse_response(head: &[u8], headers_max: usize) -> Result<ResponseHead<'_>, ResponseFault> {
    if !is_one_head(head) || head.starts_with(b"\r\n") {
        return Err(ResponseFault::Malformed);
    }
    let lines = field_lines(head);
    if lines > headers_max {
        return Err(ResponseFault::TooManyHeaders { max: headers_max });
    }
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut response = httparse::Response::new(&mut fields);
    let (status, reason, version) = match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => (response.code, response.reason, response.version),
        Err(httparse::Error::Version) => return Err(response_version_fault(head)),
        Ok(httparse::Status::Partial) | Err(_) => return Err(ResponseFault::Malformed),
    };
    let parsed = response.headers.len();
    fields.truncate(parsed);
    match (status, version.and_then(minor_version)) {
        (Some(status @ 100..=999), Some(version)) => Ok(ResponseHead {
            status,
            reason: reason.unwrap_or_default(),
            version,
            headers: Headers::from_parsed(fields),
        }),
        _ => Err(ResponseFault::Malformed),
    }
}

/// RFC 9112 section 3.2; the fragment is no part of any form of target.
pub(super) fn check_target(target: &str, headers: &(impl HeaderMap + ?Sized)) -> Result<(), RequestFault> {
    if target.contains('#') {
        return Err(RequestFault::TargetMalformed);
    }
    if target.starts_with('/') {
        return Ok(());
    }
    let Some((default_port, authority, _)) = absolute_form(target) else {
        return Err(RequestFault::TargetMalformed);
    };
    let target = Authority::parse(authority).map_err(|_| RequestFault::TargetMalformed)?;
    // RFC 9112 section 3.2.2 lets the target win over the field. Two parsers that disagree on
    // who wins are an attack (and Origin is compared with the field), so they must be the same.
    let same = match Single::of(headers.values("Host")) {
        Single::Once(host) => Authority::parse_bytes(host).is_ok_and(|host| host.is_same(&target, default_port)),
        Single::Missing | Single::Repeated => false,
    };
    if same { Ok(()) } else { Err(RequestFault::TargetHostMismatch) }
}

/// The lines of a whole head between the first and the empty one.
fn field_lines(head: &[u8]) -> usize {
    head.iter().filter(|&&byte| byte == b'\n').count().saturating_sub(2)
}

/// Tells another version from none at all, where the parser knows 1.0 and 1.1 only.
fn request_version_fault(head: &[u8]) -> RequestFault {
    let mut words = first_line(head).split(|&byte| byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some(version), None) if is_version(version) => RequestFault::HttpVersion,
        _ => RequestFault::Malformed,
    }
}

fn response_version_fault(head: &[u8]) -> ResponseFault {
    match first_line(head).split(|&byte| byte == b' ').next() {
        Some(version) if is_version(version) => ResponseFault::HttpVersion,
        _ => ResponseFault::Malformed,
    }
}

fn first_line(head: &[u8]) -> &[u8] {
    head.split(|&byte| byte == b'\r').next().unwrap_or_default()
}

/// RFC 9112 section 2.3.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
}

fn minor_version(minor: u8) -> Option<HttpVersion> {
    match minor {
        0 => Some(HttpVersion::Http10),
        1 => Some(HttpVersion::Http11),
        _ => None,
    }
}

fn path(target: &str) -> &str {
    let path = path_and_query(target).split('?').next().unwrap_or_default();
    if path.is_empty() { "/" } else { path }
}

fn query(target: &str) -> Option<&str> {
    path_and_query(target).split_once('?').map(|(_, query)| query)
}

/// For a log: what is in a query may be a secret.
pub(super) fn without_query(target: &str) -> String {
    target.split_once('?').map_or_else(|| target.to_owned(), |(path, _)| format!("{path}?(hidden)"))
}

fn path_and_query(target: &str) -> &str {
    absolute_form(target).map_or(target, |(_, _, path_and_query)| path_and_query)
}

/// The default port of the scheme, the authority, and what follows it.
fn absolute_form(target: &str) -> Option<(u16, &str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let default_port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => 80,
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => 443,
        _ => return None,
    };
    let (authority, path_and_query) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    Some((default_port, authority, path_and_query))
}

#[cfg(test)]
mod tests;
