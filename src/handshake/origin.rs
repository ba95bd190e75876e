//! Which web pages may connect (RFC 6454, RFC 6455 section 10.2).
//!
//! A browser lets any page open a WebSocket to any host, and sends the user's cookies along. The one
//! thing that tells a foreign page from the site's own is `Origin`, and only the server can check it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::authority::Authority;
use super::headers::{HeaderMap, Single};
use super::request_fault::RequestFault;

/// Which origins may connect.
///
/// A request without `Origin` is always allowed: browsers always send it, and a program that is no
/// browser could send any. So this protects users of browsers, and authenticates nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Pages of the host that they connect to: `Origin` names the host and the port of `Host`.
    ///
    /// The server cannot know whether TLS ended before it, so both `http` and `https` pages count,
    /// and a missing port in `Host` is the default port of the page's scheme. Behind a proxy that
    /// rewrites `Host`, use [`List`](Self::List).
    #[default]
    SameOrigin,
    /// Pages of these origins, and no others; the server's own must be among them.
    List(Vec<Origin>),
    /// Any page. For services that are public, or that authenticate without cookies.
    Any,
}

impl OriginPolicy {
    /// The policy that allows `origins`.
    ///
    /// ```
    /// use sansocket::handshake::OriginPolicy;
    ///
    /// let policy = OriginPolicy::list(["https://example.com", "https://admin.example.com:8443"])?;
    /// assert!(policy.allows(&[("Origin", "https://EXAMPLE.com:443")]));
    /// assert!(!policy.allows(&[("Origin", "https://example.com.evil")]));
    /// # Ok::<(), sansocket::handshake::OriginError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OriginError`] for the first that is no origin.
    pub fn list<S: AsRef<str>>(origins: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        origins.into_iter().map(|origin| Origin::parse(origin.as_ref())).collect::<Result<_, _>>().map(Self::List)
    }

    /// Whether a request with these header fields may connect.
    ///
    /// `null`, a malformed `Origin`, and more than one are foreign to every policy but `Any`.
    pub fn allows(&self, headers: &(impl HeaderMap + ?Sized)) -> bool {
        if matches!(self, Self::Any) {
            return true;
        }
        let origin = match Single::of(headers.values("Origin")) {
            Single::Missing => return true,
            Single::Repeated => return false,
            Single::Once(origin) => std::str::from_utf8(origin).ok().and_then(Parts::parse),
        };
        let Some(origin) = origin else { return false };
        match self {
            Self::Any => true,
            Self::List(allowed) => allowed.iter().any(|allowed| allowed.parts().is_same(&origin)),
            Self::SameOrigin => match Single::of(headers.values("Host")) {
                Single::Once(host) => Authority::parse_bytes(host).is_ok_and(|host| origin.is_of(&host)),
                Single::Missing | Single::Repeated => false,
            },
        }
    }

    /// [`allows`](Self::allows) as a fault, so that the 403 is at hand.
    ///
    /// # Errors
    ///
    /// [`RequestFault::OriginForbidden`].
    pub fn check(&self, headers: &(impl HeaderMap + ?Sized)) -> Result<(), RequestFault> {
        if self.allows(headers) { Ok(()) } else { Err(RequestFault::OriginForbidden) }
    }
}

/// A scheme, a host and a port: where a web page comes from. RFC 6454 section 4.
///
/// Scheme and host are held in lower case, and a default port is the same as none.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
}

impl Origin {
    /// Parses `scheme://host[:port]` and nothing more: no path, not even a slash, and no user.
    ///
    /// The scheme may be any, for the sake of browser extensions and apps in web views.
    ///
    /// # Errors
    ///
    /// [`OriginError`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let parts = Parts::parse(text).ok_or(OriginError)?;
        Ok(Self {
            scheme: parts.scheme.to_ascii_lowercase().into(),
            host: parts.authority.host.to_ascii_lowercase().into(),
            port: parts.port(),
        })
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which is the scheme's own if none was named; `None` when that is not known.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    fn parts(&self) -> Parts<'_> {
        Parts { scheme: &self.scheme, authority: Authority { host: &self.host, port: self.port } }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::parse(text)
    }
}

/// As a browser writes it: without the scheme's own port. RFC 6454 section 6.2.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{}{close}", self.scheme, self.host)?;
        match self.port {
            Some(port) if default_port(&self.scheme) != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no origin.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[error("an origin is scheme://host or scheme://host:port, without a path or a slash at the end")]
pub struct OriginError;

/// An origin, lent.
struct Parts<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        // RFC 3986 section 3.1.
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let authority = Authority::parse(authority).ok()?;
        is_scheme.then_some(Self { scheme, authority })
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| default_port(self.scheme))
    }

    /// RFC 6454 section 5.
    fn is_same(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.authority.host.eq_ignore_ascii_case(other.authority.host)
            && self.port() == other.port()
    }

    /// Whether this is a web page of `host`.
    fn is_of(&self, host: &Authority<'_>) -> bool {
        let is_web = self.scheme.eq_ignore_ascii_case("http") || self.scheme.eq_ignore_ascii_case("https");
        is_web && default_port(self.scheme).is_some_and(|port| self.authority.is_same(host, port))
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss") => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same_origin(origin: &str, host: &str) -> bool {
        OriginPolicy::SameOrigin.allows(&[("Host", host), ("Origin", origin)])
    }

    #[test]
    fn a_page_of_the_same_host_and_port_may_connect() {
        let table = [
            ("http://good.com", "good.com"),
            ("https://good.com", "good.com"),
            ("HTTPS://GOOD.com", "good.COM"),
            ("http://good.com", "good.com:80"),
            ("http://good.com:80", "good.com"),
            ("https://good.com", "good.com:443"), // TLS ended before the server
            ("https://good.com:443", "good.com"),
            ("http://good.com:8080", "good.com:8080"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("http://localhost", "localhost"),
        ];
        for (origin, host) in table {
            assert!(same_origin(origin, host), "{origin} to {host}");
        }
    }

    #[test]
    fn a_foreign_page_may_not_connect_however_its_origin_is_dressed() {
        // RFC 6455 section 10.2; RFC 6454 sections 4 to 6.
        let table = [
            ("http://evil.com", "good.com"),
            ("http://good.com.evil", "good.com"), // the host as a prefix
            ("http://good.com.evil.com", "good.com"),
            ("http://evilgood.com", "good.com"),  // the host as a suffix
            ("http://evil.good.com", "good.com"), // a subdomain is another origin
            ("http://good.com", "www.good.com"),
            ("http://good.co", "good.com"),
            ("http://good.com.", "good.com"), // the trailing dot, too
            ("http://good.com:81", "good.com"),
            ("http://good.com", "good.com:81"),
            ("http://good.com:443", "good.com"), // not the default port of http
            ("https://good.com:80", "good.com"),
            ("https://good.com", "good.com:80"),
            ("http://localhost:3000", "localhost:3001"),
            ("http://good.com@evil.com", "good.com"), // user information
            ("http://evil.com@good.com", "good.com"),
            ("http://good.com:80@evil.com", "good.com"),
            ("http://evil.com#good.com", "good.com"),
            ("http://evil.com?good.com", "good.com"),
            ("http://evil.com/good.com", "good.com"),
            ("http://good.com/", "good.com"), // no origin: a slash
            ("http://good.com\\.evil.com", "good.com"),
            ("http://good.com, http://evil.com", "good.com"),
            ("http://evil.com http://good.com", "good.com"), // the list form of RFC 6454 section 7.1
            ("http://good.com%2eevil.com", "good.com"),
            ("http://good.com\u{3002}", "good.com"),
            ("http:good.com", "good.com"),
            ("good.com", "good.com"),
            ("//good.com", "good.com"),
            ("null", "good.com"),
            ("null", "null"),
            ("", "good.com"),
            ("file://", "good.com"),
            ("ftp://good.com:80", "good.com:80"),
            ("ws://good.com", "good.com"), // no page has this scheme
            ("chrome-extension://good.com:80", "good.com:80"),
            ("http://good.com:", "good.com"),
            ("http://good.com:0", "good.com"),
            ("http://good.com:080a", "good.com"),
        ];
        for (origin, host) in table {
            assert!(!same_origin(origin, host), "{origin} to {host}");
        }
    }

    #[test]
    fn a_suffix_of_the_host_is_not_the_same_origin() {
        let host = "app.good.com";
        for start in 1..host.len() {
            assert!(!same_origin(&format!("https://{}", &host[start..]), host));
            assert!(!same_origin(&format!("https://{}", &host[..start]), host));
        }
        assert!(same_origin("https://app.good.com", host));
    }

    #[test]
    fn a_request_without_an_origin_is_allowed_and_one_with_two_is_not() {
        let list = OriginPolicy::list(["http://good.com"]).unwrap();
        for policy in [OriginPolicy::SameOrigin, list] {
            assert!(policy.allows(&[("Host", "good.com")]));
            let twice = [("Host", "good.com"), ("Origin", "http://good.com"), ("origin", "http://good.com")];
            assert!(!policy.allows(&twice));
            assert_eq!(policy.check(&twice), Err(RequestFault::OriginForbidden));
        }
        let hosts = [("Host", "good.com"), ("Host", "good.com"), ("Origin", "http://good.com")];
        assert!(!OriginPolicy::SameOrigin.allows(&hosts));
        assert!(!OriginPolicy::SameOrigin.allows(&[("Origin", "http://good.com")]));
        let bytes: [(&str, &[u8]); 2] = [("Host", b"good.com"), ("Origin", b"http://good.com\xff")];
        assert!(!OriginPolicy::SameOrigin.allows(&bytes));
    }

    #[test]
    fn an_origin_has_a_scheme_a_host_and_a_port() {
        for (text, scheme, host, port) in [
            ("https://good.com", "https", "good.com", Some(443)),
            ("http://good.com:8080", "http", "good.com", Some(8080)),
            ("http://[::1]", "http", "::1", Some(80)),
            ("app://x", "app", "x", None),
        ] {
            let origin = Origin::parse(text).unwrap();
            assert_eq!((origin.scheme(), origin.host(), origin.port()), (scheme, host, port));
            assert_eq!(format!("{origin:?}"), text);
        }
    }

    #[test]
    fn a_list_compares_scheme_host_and_port() {
        let policy = OriginPolicy::list(["https://Good.com", "http://dev.local:3000", "app://x", "ext://y:1"]).unwrap();
        let table = [
            ("https://good.com", true),
            ("HTTPS://GOOD.COM:443", true),
            ("http://dev.local:3000", true),
            ("app://x", true),
            ("ext://y:1", true),
            ("http://good.com", false), // another scheme
            ("https://good.com:8443", false),
            ("http://dev.local", false),
            ("https://good.com.evil", false),
            ("https://evilgood.com", false),
            ("https://good.com/", false),
            ("app://x:1", false),
            ("app://x:443", false),
            ("ext://y", false),
            ("null", false),
            ("", false),
        ];
        for (origin, allowed) in table {
            assert_eq!(policy.allows(&[("Host", "evil.com"), ("Origin", origin)]), allowed, "{origin}");
        }
        assert!(!OriginPolicy::List(vec![]).allows(&[("Host", "good.com"), ("Origin", "http://good.com")]));
    }

    #[test]
    fn any_allows_whatever_comes() {
        for origin in ["http://evil.com", "null", "", "?"] {
            assert!(OriginPolicy::Any.allows(&[("Origin", origin), ("Origin", origin)]));
        }
    }

    #[test]
    fn the_default_is_the_same_origin() {
        assert_eq!(OriginPolicy::default(), OriginPolicy::SameOrigin);
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        // RFC 6454 section 6.2.
        let table = [
            ("HTTP://A.com:80", "http://a.com"),
            ("https://a.com:443", "https://a.com"),
            ("https://a.com:80", "https://a.com:80"),
            ("http://[2001:DB8::1]:81", "http://[2001:db8::1]:81"),
            ("moz-extension://5a-b", "moz-extension://5a-b"),
        ];
        for (text, written) in table {
            let origin = Origin::parse(text).unwrap();
            assert_eq!(origin.to_string(), written);
            assert_eq!(Origin::parse(written), Ok(origin));
        }
        for text in [
            "",
            "null",
            "a.com",
            "http://",
            "http://a.com/",
            "http://a b",
            "1http://a",
            "http://u@a",
            "://a",
            "http://a\r\n",
            "http://*.a.com",
            "*",
        ] {
            assert_eq!(Origin::parse(text), Err(OriginError), "{text:?}");
        }
    }
}
