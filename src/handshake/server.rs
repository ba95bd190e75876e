//! The server's decision whether a request asks for a WebSocket (RFC 6455 section 4.2.1).

use super::accept_key::{AcceptKey, accept_key, is_key};
use super::authority::Authority;
use super::extension::Extensions;
use super::head::HttpVersion;
use super::headers::{HeaderMap, Single};
use super::origin::OriginPolicy;
use super::request_fault::RequestFault;
use super::subprotocol::offered_subprotocols;
use super::token::{has_protocol, has_token};

/// A request that asks for a WebSocket in due form.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UpgradeRequest {
    /// What `Sec-WebSocket-Accept` of the answer must be.
    pub accept: AcceptKey,
}

/// Decides whether a request asks for a WebSocket: the checks of RFC 6455 section 4.2.1.
///
/// For an HTTP server that parsed the head itself; one that has a [`RequestHead`](super::RequestHead)
/// calls [`RequestHead::check`](super::RequestHead::check), which also looks at the target.
///
/// # Security
///
/// A browser lets any page connect anywhere, with its visitor's cookies; only the origin tells such a
/// page from one of your own. [`OriginPolicy::default`] is the safe choice. RFC 6455 section 10.2.
///
/// # Errors
///
/// The first fault in this order: method, HTTP version, body, `Host`, `Upgrade`, `Connection`,
/// `Sec-WebSocket-Version`, `Sec-WebSocket-Key`, `Sec-WebSocket-Protocol`, `Sec-WebSocket-Extensions`, origin.
/// So what is no WebSocket request at all is told so before details are.
///
/// ```
/// use sansocket::handshake::{HttpVersion, OriginPolicy, RequestFault, check_request};
///
/// let plain = [("Host", "example.com"), ("Accept", "*/*")];
/// let fault = check_request("GET", HttpVersion::Http11, &plain, &OriginPolicy::default()).unwrap_err();
/// assert_eq!((fault, fault.status()), (RequestFault::UpgradeMissing, 426));
/// ```
pub fn check_request(
    method: &str,
    version: HttpVersion,
    headers: &(impl HeaderMap + ?Sized),
    origin: &OriginPolicy,
) -> Result<UpgradeRequest, RequestFault> {
    if method != "GET" {
        return Err(RequestFault::MethodNotGet);
    }
    if version != HttpVersion::Http11 {
        return Err(RequestFault::HttpVersion);
    }
    check_no_body(headers)?;
    match Single::of(headers.values("Host")) {
        Single::Missing => return Err(RequestFault::HostMissing),
        Single::Repeated => return Err(RequestFault::HostRepeated),
        Single::Once(host) if Authority::parse_bytes(host).is_ok() => {}
        Single::Once(_) => return Err(RequestFault::HostMalformed),
    }
    if !has_protocol(headers.values("Upgrade"), "websocket") {
        return Err(RequestFault::UpgradeMissing);
    }
    if !has_token(headers.values("Connection"), "upgrade") {
        return Err(RequestFault::ConnectionMissing);
    }
    match Single::of(headers.values("Sec-WebSocket-Version")) {
        Single::Missing => return Err(RequestFault::VersionMissing),
        Single::Once(b"13") => {}
        Single::Once(_) | Single::Repeated => return Err(RequestFault::VersionUnsupported),
    }
    let accept = match Single::of(headers.values("Sec-WebSocket-Key")) {
        Single::Missing => return Err(RequestFault::KeyMissing),
        Single::Repeated => return Err(RequestFault::KeyRepeated),
        Single::Once(key) if is_key(key) => accept_key(key),
        Single::Once(_) => return Err(RequestFault::KeyMalformed),
    };
    offered_subprotocols(headers)?;
    if Extensions::new(headers.values("Sec-WebSocket-Extensions")).any(|extension| extension.is_err()) {
        return Err(RequestFault::ExtensionMalformed);
    }
    origin.check(headers)?;
    Ok(UpgradeRequest { accept })
}

/// A body would be read as frames here and as a body by a proxy, or the reverse: request smuggling.
fn check_no_body(headers: &(impl HeaderMap + ?Sized)) -> Result<(), RequestFault> {
    if headers.value("Transfer-Encoding").is_some() {
        return Err(RequestFault::BodyNotAllowed);
    }
    match Single::of(headers.values("Content-Length")) {
        Single::Missing | Single::Once(b"0") => Ok(()),
        Single::Once(_) | Single::Repeated => Err(RequestFault::BodyNotAllowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455 section 1.2, as the header fields that are checked.
    const RFC: [(&str, &str); 7] = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", "http://example.com"),
        ("Sec-WebSocket-Protocol", "chat, superchat"),
        ("Sec-WebSocket-Version", "13"),
    ];

    fn check(headers: &[(&str, &str)]) -> Result<UpgradeRequest, RequestFault> {
        check_request("GET", HttpVersion::Http11, headers, &OriginPolicy::Any)
    }

    /// The request of the RFC with the lines of `name` replaced by `values`.
    fn with<'a>(name: &'a str, values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let others = RFC.into_iter().filter(|(field, _)| *field != name);
        others.chain(values.iter().map(|value| (name, *value))).collect()
    }

    #[test]
    fn the_request_of_the_rfc_is_accepted() {
        assert_eq!(check(&RFC).unwrap().accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn names_and_tokens_are_compared_without_case() {
        let upper: Vec<_> = RFC.iter().map(|(name, value)| (name.to_uppercase(), *value)).collect();
        assert!(check_request("GET", HttpVersion::Http11, &upper, &OriginPolicy::Any).is_ok());
        assert!(check(&with("Upgrade", &["WebSocket"])).is_ok());
        assert!(check(&with("Connection", &["keep-alive, UPGRADE"])).is_ok());
    }

    #[test]
    fn the_method_is_get_in_http_1_1() {
        // RFC 6455 section 4.2.1, item 1.
        for method in ["POST", "HEAD", "CONNECT", "OPTIONS", "get", "GET ", ""] {
            let found = check_request(method, HttpVersion::Http11, &RFC, &OriginPolicy::Any);
            assert_eq!(found, Err(RequestFault::MethodNotGet), "{method}");
        }
        for version in [HttpVersion::Http10, HttpVersion::Http2, HttpVersion::Http3] {
            assert_eq!(
                check_request("GET", version, &RFC, &OriginPolicy::Any),
                Err(RequestFault::HttpVersion),
                "{version:?}"
            );
        }
    }

    #[test]
    fn each_field_is_held_to_its_rule() {
        use RequestFault::*;
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let table: &[(&str, &[&str], Result<(), RequestFault>)] = &[
            // Item 2, RFC 9112 section 3.2.
            ("Host", &[], Err(HostMissing)),
            ("Host", &["a", "a"], Err(HostRepeated)),
            ("Host", &[""], Err(HostMalformed)),
            ("Host", &["a b"], Err(HostMalformed)),
            ("Host", &["a, a"], Err(HostMalformed)),
            ("Host", &["a:99999"], Err(HostMalformed)),
            ("Host", &["http://a"], Err(HostMalformed)),
            ("Host", &["user@a"], Err(HostMalformed)),
            ("Host", &["a:8080"], Ok(())),
            ("Host", &["[::1]:8080"], Ok(())),
            // Item 3.
            ("Upgrade", &[], Err(UpgradeMissing)),
            ("Upgrade", &["h2c"], Err(UpgradeMissing)),
            ("Upgrade", &["websockets"], Err(UpgradeMissing)),
            ("Upgrade", &["websocket "], Ok(())),
            ("Upgrade", &["h2c", "websocket"], Ok(())),
            // Item 4.
            ("Connection", &[], Err(ConnectionMissing)),
            ("Connection", &["keep-alive"], Err(ConnectionMissing)),
            ("Connection", &["notupgradeatall"], Err(ConnectionMissing)),
            ("Connection", &["keep-alive", "upgrade"], Ok(())),
            // Item 6 and section 4.4.
            ("Sec-WebSocket-Version", &[], Err(VersionMissing)),
            ("Sec-WebSocket-Version", &["8"], Err(VersionUnsupported)),
            ("Sec-WebSocket-Version", &["013"], Err(VersionUnsupported)),
            ("Sec-WebSocket-Version", &["13, 8"], Err(VersionUnsupported)),
            ("Sec-WebSocket-Version", &["13", "8"], Err(VersionUnsupported)),
            ("Sec-WebSocket-Version", &["130"], Err(VersionUnsupported)),
            // Item 5 and section 11.3.1.
            ("Sec-WebSocket-Key", &[], Err(KeyMissing)),
            ("Sec-WebSocket-Key", &[key, key], Err(KeyRepeated)),
            ("Sec-WebSocket-Key", &[""], Err(KeyMalformed)),
            ("Sec-WebSocket-Key", &["dGhlIHNhbXBsZSBub25jZQ"], Err(KeyMalformed)),
            // Item 8 and section 11.3.4.
            ("Sec-WebSocket-Protocol", &[], Ok(())),
            ("Sec-WebSocket-Protocol", &["a", "b"], Ok(())),
            ("Sec-WebSocket-Protocol", &["a b"], Err(SubprotocolMalformed)),
            ("Sec-WebSocket-Protocol", &[""], Err(SubprotocolMalformed)),
            ("Sec-WebSocket-Protocol", &["a, a"], Err(SubprotocolRepeated)),
            ("Sec-WebSocket-Protocol", &["a", "a"], Err(SubprotocolRepeated)),
            // Item 9 and section 9.1.
            ("Sec-WebSocket-Extensions", &["permessage-deflate; client_max_window_bits"], Ok(())),
            ("Sec-WebSocket-Extensions", &["permessage-deflate;"], Err(ExtensionMalformed)),
            ("Sec-WebSocket-Extensions", &["a", "b;\"c"], Err(ExtensionMalformed)),
            // RFC 9112 section 6: no body.
            ("Content-Length", &["0"], Ok(())),
            ("Content-Length", &["00"], Err(BodyNotAllowed)),
            ("Content-Length", &["1"], Err(BodyNotAllowed)),
            ("Content-Length", &["+0"], Err(BodyNotAllowed)),
            ("Content-Length", &["0, 0"], Err(BodyNotAllowed)),
            ("Content-Length", &["0", "0"], Err(BodyNotAllowed)),
            ("Content-Length", &["0", "5"], Err(BodyNotAllowed)),
            ("Content-Length", &[""], Err(BodyNotAllowed)),
            ("Transfer-Encoding", &["chunked"], Err(BodyNotAllowed)),
            ("Transfer-Encoding", &["identity"], Err(BodyNotAllowed)),
            ("Transfer-Encoding", &[""], Err(BodyNotAllowed)),
        ];
        for (name, values, expected) in table {
            assert_eq!(check(&with(name, values)).map(|_| ()), *expected, "{name}: {values:?}");
        }
    }
}
