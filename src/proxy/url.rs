//! The URL of a proxy.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use thiserror::Error;

use super::http::check_connect_field;
use super::{Credentials, Prelude, PreludeConfig, PreludeError, Target};
use crate::handshake::{Authority, OwnedHeaders, UrlError, WsUrl, check_characters, percent_decoded};

/// A proxy: its kind, where it is, and what to tell it.
///
/// Its `Display` form is a URL without credentials; its `Debug` form hides them.
///
/// ```
/// use sansocket::proxy::{Proxy, ProxyKind};
///
/// let proxy: Proxy = "socks5h://user:pass@proxy.example".parse()?;
/// assert_eq!((proxy.kind(), proxy.host(), proxy.port()), (ProxyKind::Socks5, "proxy.example", 1080));
/// assert_eq!(proxy.to_string(), "socks5h://proxy.example:1080");
/// # Ok::<(), sansocket::proxy::ProxyUrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    address: Target,
    credentials: Option<Credentials>,
    headers: OwnedHeaders,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyKind {
    /// HTTP/1.1 with `CONNECT` (RFC 9110 section 9.3.6), in the clear.
    Http,
    /// SOCKS5 (RFC 1928).
    Socks5,
}

impl Proxy {
    /// Parses `http://`, `socks5://` or `socks5h://`, then `[user[:password]@]host[:port]` and perhaps a slash.
    ///
    /// Without a scheme it is `http`, and without a port 1080, whatever the scheme: so says curl. With either SOCKS scheme the
    /// proxy resolves the names, since the core resolves none. What is special in user or password is percent-encoded.
    ///
    /// # Errors
    ///
    /// [`ProxyUrlError`].
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        check_characters(url).map_err(ProxyUrlError::Url)?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "https" => return Err(ProxyUrlError::TlsUnsupported),
            _ => return Err(ProxyUrlError::SchemeUnsupported),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?']) {
            return Err(ProxyUrlError::PathPresent);
        }
        let (credentials, host) = match rest.rsplit_once('@') {
            Some((userinfo, host)) => (Some(credentials(userinfo, kind)?), host),
            None => (None, rest),
        };
        let Authority { host, port } = Authority::parse(host).map_err(|error| ProxyUrlError::Url(error.into()))?;
        let address = Target::new(&host.to_ascii_lowercase(), port.unwrap_or(PORT))
            .map_err(|_| ProxyUrlError::Url(UrlError::HostInvalid))?;
        Ok(Self { kind, address, credentials, headers: OwnedHeaders::new() })
    }

    /// Logs in with `credentials`, in place of those of the URL.
    pub fn login(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Adds a field to the request to an HTTP proxy: its `User-Agent`, or a `Proxy-Authorization` other than Basic, which goes
    /// before the credentials. SOCKS5 has no fields.
    ///
    /// # Errors
    ///
    /// [`PreludeError::Field`] for bytes that would break the request, and for fields that would contradict it, see
    /// [`Prelude::http_connect`].
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, PreludeError> {
        check_connect_field(name)?;
        self.headers.push(name, value)?;
        Ok(self)
    }

    /// What it speaks.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its host in lower case, for name resolution; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.address.host()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Asks for a tunnel to the server of `url`, over a stream to [`host`](Self::host) and [`port`](Self::port).
    ///
    /// # Errors
    ///
    /// Those of [`Prelude::http_connect`] and [`Prelude::socks5`].
    pub fn prelude(&self, url: &WsUrl, config: &PreludeConfig, now: Instant) -> Result<Prelude, PreludeError> {
        let (target, credentials) = (Target::from(url), self.credentials.as_ref());
        match self.kind {
            ProxyKind::Http => Prelude::http_connect(&target, credentials, &self.headers, config, now),
            ProxyKind::Socks5 => Prelude::socks5(&target, credentials, config, now),
        }
    }
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        Self::parse(url)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5h",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// What is wrong with the URL of a proxy.
///
/// It never shows the URL, which may hold a password.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// None of the schemes that are supported.
    #[error("the URL of a proxy must begin with http://, socks5:// or socks5h://")]
    SchemeUnsupported,
    /// `https`: a proxy behind TLS. (That is another matter than `wss` through a proxy, which is fine.)
    #[error("proxies behind TLS (https://) are not supported: use http://, which carries wss just as well")]
    TlsUnsupported,
    /// Something follows the host and the port.
    #[error("the URL of a proxy ends after its host and port; percent-encode / and ? in a password")]
    PathPresent,
    /// Malformed as any URL can be.
    #[error("proxy: {0}")]
    Url(UrlError),
}

/// RFC 3986 section 3.2.1.
fn credentials(userinfo: &str, kind: ProxyKind) -> Result<Credentials, ProxyUrlError> {
    let invalid = ProxyUrlError::Url(UrlError::UserinfoInvalid);
    // A bare @ makes people misread which host a URL is for.
    if userinfo.is_empty() || userinfo.contains(['@', '[', ']']) {
        return Err(invalid);
    }
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let credentials = Credentials::new(percent_decoded(user), percent_decoded(password)).map_err(|_| invalid)?;
    if kind == ProxyKind::Http && credentials.basic().is_err() {
        return Err(invalid);
    }
    Ok(credentials)
}

/// The default of curl for all kinds of proxy but those behind TLS.
const PORT: u16 = 1080;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_are_taken_apart() {
        use ProxyKind::*;
        let table = [
            ("http://proxy.example:3128", Http, "proxy.example", 3128, None),
            ("HTTP://Proxy.Example:3128/", Http, "proxy.example", 3128, None),
            ("http://proxy", Http, "proxy", 1080, None),
            ("proxy:3128", Http, "proxy", 3128, None),
            ("proxy", Http, "proxy", 1080, None),
            ("127.0.0.1:8080", Http, "127.0.0.1", 8080, None),
            ("[::1]:8080", Http, "::1", 8080, None),
            ("u:p@proxy", Http, "proxy", 1080, Some(("u", "p"))),
            ("socks5://proxy", Socks5, "proxy", 1080, None),
            ("socks5h://proxy:9050", Socks5, "proxy", 9050, None),
            ("SOCKS5H://[2001:DB8::1]:9050", Socks5, "2001:db8::1", 9050, None),
            ("http://user@proxy", Http, "proxy", 1080, Some(("user", ""))),
            ("http://:token@proxy", Http, "proxy", 1080, Some(("", "token"))),
            ("http://us%40er:p%2Fw%3A%25@proxy", Http, "proxy", 1080, Some(("us@er", "p/w:%"))),
            ("http://u:a:b@proxy", Http, "proxy", 1080, Some(("u", "a:b"))),
            ("socks5://a%3Ab:c@proxy", Socks5, "proxy", 1080, Some(("a:b", "c"))),
        ];
        for (url, kind, host, port, login) in table {
            let proxy = Proxy::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((proxy.kind(), proxy.host(), proxy.port()), (kind, host, port), "{url}");
            let expected = login.map(|(user, password)| Credentials::new(user, password).unwrap());
            assert_eq!(proxy.credentials, expected, "{url}");
            assert_eq!(Proxy::parse(&proxy.to_string()).unwrap(), Proxy { credentials: None, ..proxy });
        }
    }

    #[test]
    fn bad_urls_are_refused_with_what_is_wrong() {
        use ProxyUrlError::*;
        let table = [
            ("https://proxy", TlsUnsupported),
            ("HTTPS://u:p@proxy:3128", TlsUnsupported),
            ("socks4://proxy", SchemeUnsupported),
            ("socks4a://proxy", SchemeUnsupported),
            ("socks://proxy", SchemeUnsupported),
            ("ws://proxy", SchemeUnsupported),
            ("://proxy", SchemeUnsupported),
            ("http://proxy/x", PathPresent),
            ("http://proxy//", PathPresent),
            ("http://proxy?x", PathPresent),
            ("http://u:p/w@proxy", PathPresent),
            ("", Url(UrlError::HostEmpty)),
            ("http://", Url(UrlError::HostEmpty)),
            ("http://u:p@", Url(UrlError::HostEmpty)),
            ("http://proxy:0", Url(UrlError::PortInvalid)),
            ("http://proxy:", Url(UrlError::PortInvalid)),
            ("http://proxy:65536", Url(UrlError::PortInvalid)),
            ("http://pro,xy", Url(UrlError::HostInvalid)),
            ("http://[::1", Url(UrlError::HostInvalid)),
            ("http://@proxy", Url(UrlError::UserinfoInvalid)),
            ("http://a@b@proxy", Url(UrlError::UserinfoInvalid)),
            ("http://a%3Ab:c@proxy", Url(UrlError::UserinfoInvalid)),
            ("http://a%0d%0aX:c@proxy", Url(UrlError::UserinfoInvalid)),
            ("socks5://a:%00@proxy", Url(UrlError::UserinfoInvalid)),
            ("http://proxy#x", Url(UrlError::FragmentPresent)),
            ("http://pro xy", Url(UrlError::CharacterForbidden { byte: b' ', offset: 10 })),
            ("http://proxy\r\nX: y", Url(UrlError::CharacterForbidden { byte: b'\r', offset: 12 })),
            ("http://proxy\0", Url(UrlError::CharacterForbidden { byte: 0, offset: 12 })),
            ("http://%zz@proxy", Url(UrlError::PercentInvalid { offset: 7 })),
        ];
        for (url, error) in table {
            assert_eq!(Proxy::parse(url), Err(error), "{url:?}");
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_credentials() {
        let proxy = Proxy::parse("http://someone:s3cret@proxy:3128").unwrap();
        let proxy = proxy.header("Proxy-Authorization", "Bearer s3cret").unwrap();
        let shown = format!("{proxy:?} {proxy}");
        assert!(!shown.contains("s3cret") && !shown.contains("someone"), "{shown}");
        assert!(shown.ends_with(" http://proxy:3128"), "{shown}");
    }

    #[test]
    fn a_field_that_would_break_the_request_is_refused() {
        let proxy = || Proxy::parse("http://proxy").unwrap();
        for name in [
            "host",
            "Connection",
            "UPGRADE",
            "content-length",
            "Transfer-Encoding",
            "te",
            "Trailer",
            "a b",
            "a\r\nb",
            "",
        ] {
            assert!(matches!(proxy().header(name, "x"), Err(PreludeError::Field(_))), "{name:?}");
        }
        for value in ["\r", "\n", "\0", "a\r\nb: c"] {
            assert!(proxy().header("X", value).is_err(), "{value:?}");
        }
    }
}
