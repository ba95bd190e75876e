//! WebSockets over HTTP/2 and HTTP/3: extended `CONNECT` (RFC 8441, RFC 9220), both sides, as pure functions.
//!
//! One stream takes the place of the connection. The request is a `CONNECT` whose `:protocol` is `websocket`; any 2xx answers
//! it, and the stream's data are frames from then on. `:protocol` proves what `Upgrade`, `Connection`,
//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` prove in HTTP/1.1, so these are not there (RFC 8441 section 5); the version,
//! the subprotocols, the extensions and the origin are negotiated as ever. An HTTP library does all the rest,
//! and [`Connection::open`](crate::Connection::open) what comes after.
//!
//! ```
//! use sansocket::handshake::*;
//!
//! // The client hands these to its HTTP library, once the server's settings have SETTINGS_ENABLE_CONNECT_PROTOCOL …
//! let request = ClientRequest::new("wss://example.com/chat")?.subprotocol("chat")?;
//! let connect = connect_request(&request, None);
//!
//! // … the server finds them in a request, checks them and accepts …
//! let pseudo = connect.pseudo_headers();
//! let asked = check_extended_connect(&pseudo, &connect.headers, &OriginPolicy::default())?;
//! assert_eq!((asked.path, &asked.subprotocols[..]), ("/chat", &["chat"][..]));
//! let fields = connect_acceptance(&asked, &Acceptance::new().subprotocol("chat")?, None)?; // with status 200
//!
//! // … and the client checks the answer.
//! let accepted = check_connect_response(200, &fields, request.subprotocols(), None)?;
//! assert_eq!(accepted.subprotocol, Some("chat"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use thiserror::Error;

use super::answer::{Acceptance, AnswerError};
use super::authority::Authority;
use super::client::ClientRequest;
use super::extension::{Extensions, parse_extensions};
use super::head::without_query;
use super::headers::{HeaderMap, OwnedHeaders, Single};
use super::origin::OriginPolicy;
use super::request_fault::RequestFault;
use super::response::{Accepted, ResponseFault, accepted_extensions, accepted_subprotocol};
use super::subprotocol::{SubprotocolError, offered_subprotocols};

/// The setting by which a server allows extended `CONNECT`; its value is then 1.
///
/// A client must not send such a request before it has seen the setting. RFC 8441 section 3; the number is the same in HTTP/3
/// (RFC 9220 section 3).
pub const SETTINGS_ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// The pseudo-header fields of a request, as the HTTP library found them. RFC 9113 section 8.3.1, RFC 8441 section 4.
///
/// Its `Debug` form hides the query.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
pub struct PseudoHeaders<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:protocol`.
    pub protocol: Option<&'a str>,
    /// `:scheme`.
    pub scheme: Option<&'a str>,
    /// `:authority`.
    pub authority: Option<&'a str>,
    /// `:path`, with the query.
    pub path: Option<&'a str>,
}

impl fmt::Debug for PseudoHeaders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PseudoHeaders")
            .field("method", &self.method)
            .field("protocol", &self.protocol)
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .field("path", &self.path.map(without_query))
            .finish()
    }
}

/// A request that asks for a WebSocket in due form.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendedConnect<'a> {
    /// The host, with the port unless it is the scheme's own.
    pub authority: &'a str,
    /// The path and the query, still percent-encoded; begins with a slash.
    pub path: &'a str,
    /// Whether the URL is a `wss` one.
    pub is_secure: bool,
    /// The subprotocols on offer, in the client's order of preference.
    pub subprotocols: Vec<&'a str>,
}

impl fmt::Debug for ExtendedConnect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendedConnect")
            .field("authority", &self.authority)
            .field("path", &without_query(self.path))
            .field("is_secure", &self.is_secure)
            .field("subprotocols", &self.subprotocols)
            .finish()
    }
}

/// The server's decision whether a request asks for a WebSocket. RFC 8441 section 5, RFC 9220 section 3.
///
/// `origin` compares `Origin` with `:authority`, as it does with `Host` in HTTP/1.1. The choice of a subprotocol is the
/// application's: see [`connect_acceptance`].
///
/// # Errors
///
/// The first [`ConnectFault`] in this order: method, `:protocol`, `:scheme`, `:authority`, `:path`, fields that have no
/// place in such a request, `Host`, `Sec-WebSocket-Version`, `Sec-WebSocket-Protocol`, `Sec-WebSocket-Extensions`, `Origin`.
pub fn check_extended_connect<'a>(
    pseudo: &PseudoHeaders<'a>,
    headers: &'a (impl HeaderMap + ?Sized),
    origin: &OriginPolicy,
) -> Result<ExtendedConnect<'a>, ConnectFault> {
    if pseudo.method != "CONNECT" {
        return Err(ConnectFault::MethodNotConnect);
    }
    match pseudo.protocol {
        None => return Err(ConnectFault::ProtocolMissing),
        Some("websocket") => {}
        Some(_) => return Err(ConnectFault::ProtocolUnsupported),
    }
    let is_secure = match pseudo.scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
        _ => return Err(ConnectFault::SchemeInvalid),
    };
    let authority = pseudo.authority.ok_or(ConnectFault::AuthorityInvalid)?;
    let host = Authority::parse(authority).map_err(|_| ConnectFault::AuthorityInvalid)?;
    let path = pseudo.path.filter(|path| is_path(path)).ok_or(ConnectFault::PathInvalid)?;
    if let Some(name) = OUT_OF_PLACE.into_iter().find(|name| headers.value(name).is_some()) {
        return Err(ConnectFault::FieldOutOfPlace { name });
    }
    let default_port = if is_secure { 443 } else { 80 };
    match Single::of(headers.values("Host")) {
        Single::Missing => {}
        Single::Once(named) if Authority::parse_bytes(named).is_ok_and(|named| named.is_same(&host, default_port)) => {}
        Single::Once(_) | Single::Repeated => return Err(ConnectFault::HostMismatch),
    }
    match Single::of(headers.values("Sec-WebSocket-Version")) {
        Single::Missing => return Err(RequestFault::VersionMissing.into()),
        Single::Once(b"13") => {}
        Single::Once(_) | Single::Repeated => return Err(RequestFault::VersionUnsupported.into()),
    }
    let subprotocols = offered_subprotocols(headers)?;
    if Extensions::new(headers.values("Sec-WebSocket-Extensions")).any(|extension| extension.is_err()) {
        return Err(RequestFault::ExtensionMalformed.into());
    }
    origin.check(&OfAuthority { authority, headers })?;
    Ok(ExtendedConnect { authority, path, is_secure, subprotocols })
}

/// What a server found wrong with a request; each knows its status.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectFault {
    /// The method is not `CONNECT`: a request of another kind. 405.
    #[error("a WebSocket over this version of HTTP begins with an extended CONNECT")]
    MethodNotConnect,
    /// No `:protocol`: a plain `CONNECT`, as to a proxy. 400.
    #[error(":protocol is missing; it must be websocket")]
    ProtocolMissing,
    /// A `:protocol` other than `websocket`. 501 (RFC 9220 section 3).
    #[error(":protocol must be websocket")]
    ProtocolUnsupported,
    /// `:scheme` is neither `https`, for `wss`, nor `http`, for `ws`. 400.
    #[error(":scheme must be https or http")]
    SchemeInvalid,
    /// `:authority` is missing, or not a host with an optional port. 400.
    #[error(":authority must be a host name or an IP address, with an optional port")]
    AuthorityInvalid,
    /// `:path` is missing, or not a path with an optional query. 400.
    #[error(":path must begin with a slash, and have no fragment")]
    PathInvalid,
    /// A field that would frame a body, or is about one connection (RFC 9113 section 8.2.2). 400.
    #[error("{name} has no place in an extended CONNECT")]
    FieldOutOfPlace {
        /// Its name.
        name: &'static str,
    },
    /// `Host` names another host than `:authority`, or occurs more than once (RFC 9113 section 8.3.1). 400.
    #[error("Host and :authority name different hosts")]
    HostMismatch,
    /// What can be wrong in HTTP/1.1, too.
    #[error(transparent)]
    Request(#[from] RequestFault),
}

impl ConnectFault {
    /// The status of the answer: 400, 403, 405 or 501.
    ///
    /// Never 426: its `Upgrade` must not be sent here (RFC 9113 section 8.2.2).
    pub fn status(self) -> u16 {
        match self {
            Self::MethodNotConnect => 405,
            Self::ProtocolUnsupported => 501,
            Self::Request(RequestFault::OriginForbidden) => 403,
            _ => 400,
        }
    }

    /// The fields that the answer needs: which method or which version would do. RFC 9110 section 15.5.6, RFC 6455 section 4.4.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::MethodNotConnect => &[("allow", "CONNECT")],
            Self::Request(RequestFault::VersionMissing | RequestFault::VersionUnsupported) => {
                &[("sec-websocket-version", "13")]
            }
            _ => &[],
        }
    }
}

/// The fields of the answer that accepts, beside the status 200; names are in lower case, as HTTP/2 wants them.
///
/// `extensions` is the value of `Sec-WebSocket-Extensions`, as in [`encode_acceptance`](super::encode_acceptance). RFC 8441
/// section 5.
///
/// # Errors
///
/// [`SubprotocolError::NotOffered`].
pub fn connect_acceptance(
    request: &ExtendedConnect<'_>,
    acceptance: &Acceptance,
    extensions: Option<&str>,
) -> Result<OwnedHeaders, AnswerError> {
    let mut fields = OwnedHeaders::new();
    if let Some(chosen) = acceptance.chosen_subprotocol() {
        if !request.subprotocols.contains(&chosen) {
            return Err(SubprotocolError::NotOffered.into());
        }
        fields.push("sec-websocket-protocol", chosen)?;
    }
    push_extensions(extensions, &mut fields);
    push_all(acceptance.headers(), &mut fields);
    Ok(fields)
}

/// A client's request, to be handed to an HTTP library.
///
/// Its `Debug` form hides the query and credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectFields<'a> {
    /// `:scheme`: `https` or `http`.
    pub scheme: &'static str,
    /// `:authority`.
    pub authority: String,
    /// `:path`, with the query.
    pub path: &'a str,
    /// The fields; names are in lower case, as HTTP/2 wants them.
    pub headers: OwnedHeaders,
}

impl ConnectFields<'_> {
    /// All pseudo-header fields: these, `CONNECT` as `:method` and `websocket` as `:protocol`.
    pub fn pseudo_headers(&self) -> PseudoHeaders<'_> {
        PseudoHeaders {
            method: "CONNECT",
            protocol: Some("websocket"),
            scheme: Some(self.scheme),
            authority: Some(&self.authority),
            path: Some(self.path),
        }
    }
}

impl fmt::Debug for ConnectFields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectFields")
            .field("pseudo_headers", &self.pseudo_headers())
            .field("headers", &self.headers)
            .finish()
    }
}

/// A client's request as an extended `CONNECT`. RFC 8441 section 5.
///
/// `extensions` is what is offered, as in [`ClientRequest::encode`]. Fields of the application that are about one
/// connection are left out: they would make the request malformed (RFC 9113 section 8.2.2).
pub fn connect_request<'a>(request: &'a ClientRequest, extensions: Option<&str>) -> ConnectFields<'a> {
    let url = request.url();
    let mut headers = OwnedHeaders::new();
    // None of these can fail: they have been checked when they came into the request.
    let _ = headers.push("sec-websocket-version", "13");
    if !request.subprotocols().is_empty() {
        let _ = headers.push("sec-websocket-protocol", request.subprotocols().join(", "));
    }
    push_extensions(extensions, &mut headers);
    if let (Some(authorization), None) = (url.authorization(), request.headers().get_bytes("Authorization")) {
        let _ = headers.push("authorization", authorization);
    }
    push_all(request.headers(), &mut headers);
    let scheme = if url.is_secure() { "https" } else { "http" };
    ConnectFields { scheme, authority: url.authority(), path: url.target(), headers }
}

/// The client's check that an answer opens the WebSocket that was asked for. RFC 8441 section 5.
///
/// Any 2xx does: that is what success means for a `CONNECT` (RFC 9110 section 9.3.6). Interim answers are the HTTP library's
/// to skip. `subprotocols` and `extensions` are what was offered.
///
/// # Errors
///
/// [`ResponseFault::Status`] first, then the faults of the extensions and the subprotocol.
pub fn check_connect_response<'h>(
    status: u16,
    headers: &'h (impl HeaderMap + ?Sized),
    subprotocols: &[impl AsRef<str>],
    extensions: Option<&str>,
) -> Result<Accepted<'h>, ResponseFault> {
    if !(200..=299).contains(&status) {
        return Err(ResponseFault::Status { status });
    }
    Ok(Accepted {
        extensions: accepted_extensions(headers, extensions)?,
        subprotocol: accepted_subprotocol(headers, subprotocols)?,
    })
}

/// Header fields among which `Host` is what `:authority` says.
struct OfAuthority<'r, H: ?Sized> {
    authority: &'r str,
    headers: &'r H,
}

impl<H: HeaderMap + ?Sized> HeaderMap for OfAuthority<'_, H> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let host = name.eq_ignore_ascii_case("Host").then_some(self.authority.as_bytes());
        let others = host.is_none().then(|| self.headers.values(name));
        host.into_iter().chain(others.into_iter().flatten())
    }
}

/// RFC 9113 section 8.3.1, RFC 3986 sections 3.3 and 3.4.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Adds the extensions, unless they do not follow their grammar.
fn push_extensions(extensions: Option<&str>, fields: &mut OwnedHeaders) {
    if let Some(extensions) = extensions
        && parse_extensions([extensions.as_bytes()]).is_ok()
    {
        let _ = fields.push("sec-websocket-extensions", extensions);
    }
}

/// Adds what the application added, with names in lower case (RFC 9113 section 8.2.1).
fn push_all(added: &OwnedHeaders, fields: &mut OwnedHeaders) {
    for (name, value) in added.iter() {
        if !OUT_OF_PLACE.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            let _ = fields.push(&name.to_ascii_lowercase(), value);
        }
    }
}

/// RFC 9113 section 8.2.2; and, since the stream's data are frames, what would announce a body (RFC 9110 section 9.3.6).
const OUT_OF_PLACE: [&str; 6] =
    ["Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Content-Length"];

#[cfg(test)]
mod tests;
