//! `ws` and `wss` URLs (RFC 6455 section 3, RFC 3986).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::authority::{Authority, AuthorityError};

mod join;
mod query;

/// A `ws` or `wss` URL, checked and taken apart.
///
/// Its `Debug` form hides the user information and the query, where tokens tend to be.
///
/// ```
/// use sansocket::handshake::WsUrl;
///
/// let url: WsUrl = "wss://Example.com/chat?room=7".parse()?;
/// assert!(url.is_secure());
/// assert_eq!((url.host(), url.port(), url.target()), ("example.com", 443, "/chat?room=7"));
/// assert_eq!(url.authority(), "example.com");
/// # Ok::<(), sansocket::handshake::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WsUrl {
    is_secure: bool,
    /// In lower case, an IPv6 address without its brackets.
    host: Box<str>,
    port: u16,
    target: Box<str>,
    authorization: Option<Box<str>>,
}

impl WsUrl {
    /// Parses a URL strictly: what would have to be guessed at is refused.
    ///
    /// The scheme is `ws` or `wss` in any case; a host is needed, and an IPv6 address stands in
    /// brackets; a port is 1 to 65535; a missing path is `/`. User information becomes
    /// [`authorization`](Self::authorization). Nothing is percent-encoded on the way, so that what
    /// is sent is what was written.
    ///
    /// # Errors
    ///
    /// [`UrlError`] says what is wrong and what to write instead.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        check_characters(url)?;
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::SchemeUnsupported)?;
        let is_secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(UrlError::SchemeUnsupported),
        };
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(path_at).unwrap_or((rest, ""));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let authority = Authority::parse(host)?;
        Ok(Self {
            is_secure,
            host: authority.host.to_ascii_lowercase().into(),
            port: authority.port.unwrap_or(default_port(is_secure)),
            target: if target.starts_with('/') { target.into() } else { format!("/{target}").into() },
            authorization: userinfo.map(basic_authorization).transpose()?.map(Into::into),
        })
    }

    /// `ws` or `wss`.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "wss" } else { "ws" }
    }

    /// Whether the connection is to be made over TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The host in lower case, for name resolution and TLS; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 if the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path and the query, as they go into the request; begins with a slash.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The value of `Host`: the host, in brackets if need be, and the port unless it is the scheme's own.
    ///
    /// RFC 6455 section 4.1, item 4.
    pub fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = &self.host;
        if self.port == default_port(self.is_secure) {
            format!("{open}{host}{close}")
        } else {
            format!("{open}{host}{close}:{}", self.port)
        }
    }

    /// The value of `Authorization` for the user information of the URL, if it has any: a secret.
    ///
    /// RFC 7617 section 2.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

impl FromStr for WsUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

impl fmt::Debug for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let userinfo = if self.authorization.is_some() { "(hidden)@" } else { "" };
        let (path, query) = match self.target.split_once('?') {
            Some((path, _)) => (path, "?(hidden)"),
            None => (&*self.target, ""),
        };
        write!(f, "{}://{userinfo}{}{path}{query}", self.scheme(), self.authority())
    }
}

/// What is wrong with a URL.
///
/// It never shows the URL, which may hold a secret.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not `ws://` and not `wss://` (RFC 6455 section 3).
    #[error("the URL must begin with ws:// or wss://")]
    SchemeUnsupported,
    /// A byte that no URL has (RFC 3986 section 2).
    #[error(
        "byte {byte:#04x} at offset {offset} is not allowed in a URL: percent-encode it, or, in a host name, write the \
         name in Punycode"
    )]
    CharacterForbidden {
        /// The byte.
        byte: u8,
        /// Where it is in the URL.
        offset: usize,
    },
    /// A percent sign without two hexadecimal digits (RFC 3986 section 2.1).
    #[error("the percent sign at offset {offset} of the URL does not begin an escape: write %25")]
    PercentInvalid {
        /// Where it is in the URL.
        offset: usize,
    },
    /// A fragment, which never reaches a server (RFC 6455 section 3).
    #[error("the URL must have no fragment: percent-encode # as %23")]
    FragmentPresent,
    /// No host.
    #[error("the URL has no host")]
    HostEmpty,
    /// Neither a name nor an address.
    #[error("the host of the URL is neither a name nor an address; an IPv6 address stands in brackets, without a zone")]
    HostInvalid,
    /// Not 1 to 65535.
    #[error("the port of the URL must be 1 to 65535")]
    PortInvalid,
    /// User information that is no `user:password` (RFC 7617 section 2).
    #[error(
        "the user information of the URL must be user:password: no colon in the user, no control byte, and @ as %40"
    )]
    UserinfoInvalid,
}

impl From<AuthorityError> for UrlError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::HostEmpty => Self::HostEmpty,
            AuthorityError::HostInvalid => Self::HostInvalid,
            AuthorityError::PortInvalid => Self::PortInvalid,
        }
    }
}

fn default_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

/// Every byte must be one that a URL may hold, and each `%` must begin an escape.
///
/// Square brackets are let through in queries, against RFC 3986: browsers send them as they are.
pub(crate) fn check_characters(url: &str) -> Result<(), UrlError> {
    for (offset, byte) in url.bytes().enumerate() {
        match byte {
            b'#' => return Err(UrlError::FragmentPresent),
            b'%' => {
                let digits = url.as_bytes().get(offset..).and_then(|rest| rest.get(1..3)).unwrap_or_default();
                if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(UrlError::PercentInvalid { offset });
                }
            }
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                return Err(UrlError::CharacterForbidden { byte, offset });
            }
            _ if byte.is_ascii_graphic() => {}
            _ => return Err(UrlError::CharacterForbidden { byte, offset }),
        }
    }
    Ok(())
}

/// `Basic` and the Base64 of `user:password`. RFC 7617 section 2.
fn basic_authorization(userinfo: &str) -> Result<String, UrlError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (user, password) = (percent_decoded(user), percent_decoded(password));
    // A colon would move the end of the name; control bytes are excluded by the RFC. A bare @ makes
    // people misread which host a URL is for.
    let is_text = |part: &[u8]| !part.iter().any(u8::is_ascii_control);
    if userinfo.contains(['@', '[', ']'])
        || userinfo.is_empty()
        || user.contains(&b':')
        || !is_text(&user)
        || !is_text(&password)
    {
        return Err(UrlError::UserinfoInvalid);
    }
    Ok(format!("Basic {}", STANDARD.encode([&user[..], b":", &password].concat())))
}

/// `text`, whose escapes are known to be whole, with the bytes that they stand for.
pub(crate) fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escape = if byte == b'%' { after.split_first_chunk::<2>() } else { None };
        match escape.and_then(|([high, low], after)| Some((hex_digit(*high)? << 4 | hex_digit(*low)?, after))) {
            Some((unescaped, after)) => {
                decoded.push(unescaped);
                rest = after;
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_urls_are_taken_apart() {
        // RFC 6455 section 3: (URL, secure, host, port, target, Host).
        let table = [
            ("ws://example.com", false, "example.com", 80, "/", "example.com"),
            ("wss://example.com", true, "example.com", 443, "/", "example.com"),
            ("WSS://EXAMPLE.com/Chat", true, "example.com", 443, "/Chat", "example.com"),
            ("ws://example.com:80/", false, "example.com", 80, "/", "example.com"),
            ("wss://example.com:443/", true, "example.com", 443, "/", "example.com"),
            ("wss://example.com:80/", true, "example.com", 80, "/", "example.com:80"),
            ("ws://example.com:443/", false, "example.com", 443, "/", "example.com:443"),
            ("ws://localhost:9001/getCaseCount", false, "localhost", 9001, "/getCaseCount", "localhost:9001"),
            ("ws://h?a=b", false, "h", 80, "/?a=b", "h"),
            ("ws://h/?a=b&c=d/e?f", false, "h", 80, "/?a=b&c=d/e?f", "h"),
            ("ws://h/a%20b;c,d:e@f", false, "h", 80, "/a%20b;c,d:e@f", "h"),
            ("ws://h/?a[]=1", false, "h", 80, "/?a[]=1", "h"),
            ("ws://h?to=ws://other/", false, "h", 80, "/?to=ws://other/", "h"),
            ("ws://h//other/../x", false, "h", 80, "//other/../x", "h"),
            ("ws://127.0.0.1:65535/", false, "127.0.0.1", 65535, "/", "127.0.0.1:65535"),
            ("ws://[::1]/", false, "::1", 80, "/", "[::1]"),
            ("wss://[2001:DB8::1]:8443/x", true, "2001:db8::1", 8443, "/x", "[2001:db8::1]:8443"),
            ("ws://my_host/", false, "my_host", 80, "/", "my_host"),
        ];
        for (text, is_secure, host, port, target, authority) in table {
            let url = WsUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (url.is_secure(), url.host(), url.port(), url.target(), &*url.authority(), url.authorization()),
                (is_secure, host, port, target, authority, None),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_urls_are_refused_with_what_is_wrong() {
        use UrlError::*;
        let forbidden = |byte, offset| CharacterForbidden { byte, offset };
        let table = [
            ("", SchemeUnsupported),
            ("example.com", SchemeUnsupported),
            ("//example.com", SchemeUnsupported),
            ("ws:example.com", SchemeUnsupported),
            ("ws:/example.com", SchemeUnsupported),
            ("http://example.com", SchemeUnsupported),
            ("https://example.com", SchemeUnsupported),
            ("wsss://example.com", SchemeUnsupported),
            ("ws", SchemeUnsupported),
            ("://example.com", SchemeUnsupported),
            ("ws://", HostEmpty),
            ("ws:///path", HostEmpty),
            ("ws://?query", HostEmpty),
            ("ws://:80/", HostEmpty),
            ("ws://a:b@/", HostEmpty),
            ("ws://h:0/", PortInvalid),
            ("ws://h:/", PortInvalid),
            ("ws://h:65536/", PortInvalid),
            ("ws://h:-1/", PortInvalid),
            ("ws://h:80x/", PortInvalid),
            ("ws://::1/", HostEmpty),
            ("ws://2001:db8::1/", PortInvalid),
            ("ws://[::1/", HostInvalid),
            ("ws://[::1]x/", HostInvalid),
            ("ws://[fe80::1%25eth0]/", HostInvalid),
            ("ws://[localhost]/", HostInvalid),
            ("ws://a%41/", HostInvalid),
            ("ws://a,b/", HostInvalid),
            ("ws://h/#", FragmentPresent),
            ("ws://h/a#b", FragmentPresent),
            ("ws://h#b", FragmentPresent),
            ("ws://h/a b", forbidden(b' ', 8)),
            (" ws://h/", forbidden(b' ', 0)),
            ("ws://h/\t", forbidden(b'\t', 7)),
            ("ws://h/caf\u{e9}", forbidden(0xc3, 10)),
            ("ws://b\u{fc}cher.example/", forbidden(0xc3, 6)),
            ("ws://good.com\\@evil.com/", forbidden(b'\\', 13)),
            ("ws://h/\"", forbidden(b'"', 7)),
            ("ws://h/{id}", forbidden(b'{', 7)),
            ("ws://h/%", PercentInvalid { offset: 7 }),
            ("ws://h/%4", PercentInvalid { offset: 7 }),
            ("ws://h/%g0", PercentInvalid { offset: 7 }),
            ("ws://h/100%/x", PercentInvalid { offset: 10 }),
            ("ws://@h/", UserinfoInvalid),
            ("ws://a@b@h/", UserinfoInvalid),
            ("ws://a%3ab:c@h/", UserinfoInvalid),
            ("ws://a%0d%0a:c@h/", UserinfoInvalid),
            ("ws://a:%00@h/", UserinfoInvalid),
        ];
        for (text, error) in table {
            assert_eq!(WsUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn no_control_byte_gets_into_any_part() {
        for byte in (0..0x20).chain([0x7f]) {
            let bad = char::from(byte);
            for text in [
                format!("w{bad}s://h/"),
                format!("ws://u{bad}@h/"),
                format!("ws://h{bad}/"),
                format!("ws://h:8{bad}0/"),
                format!("ws://h/{bad}"),
                format!("ws://h/?{bad}"),
            ] {
                assert!(matches!(WsUrl::parse(&text), Err(UrlError::CharacterForbidden { .. })), "{text:?}");
            }
        }
    }

    #[test]
    fn user_information_becomes_basic_authorization() {
        // RFC 7617 section 2, the first with the example of the RFC.
        let table = [
            ("ws://Aladdin:open%20sesame@h/", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("ws://user@h/", "Basic dXNlcjo="),
            ("ws://:pass@h/", "Basic OnBhc3M="),
            ("ws://a:b:c@h/", "Basic YTpiOmM="),
            ("ws://a:%40%3a@h/", "Basic YTpAOg=="),
            ("ws://test:123%C2%A3@h/", "Basic dGVzdDoxMjPCow=="),
        ];
        for (text, expected) in table {
            let url = WsUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.authorization()), ("h", Some(expected)), "{text}");
        }
        // An @ after the authority is part of the path.
        assert_eq!(WsUrl::parse("ws://h/@x").unwrap().authorization(), None);
    }

    #[test]
    fn debug_hides_credentials() {
        let debug = format!("{:?}", WsUrl::parse("wss://user:hunter2@h:1/path?token=s3cret").unwrap());
        assert_eq!(debug, "wss://(hidden)@h:1/path?(hidden)");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(ws{1,2}://)?[a-z0-9%:@/?#\\[\\].\u{e9} -]{0,40}") {
            if let Ok(url) = WsUrl::parse(&text) {
                let again = format!("{}://{}{}", url.scheme(), url.authority(), url.target());
                let again = WsUrl::parse(&again).unwrap();
                prop_assert_eq!((again.host(), again.port(), again.target()), (url.host(), url.port(), url.target()));
                prop_assert!(url.target().starts_with('/') && !url.host().is_empty() && url.port() != 0);
            }
        }
    }
}
