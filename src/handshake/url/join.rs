//! References from one URL to another (RFC 3986 section 5).

use std::borrow::Cow;

use super::{UrlError, WsUrl, check_characters};

impl WsUrl {
    /// The URL that `reference` means on a page of this one: an absolute URL, or a relative one of any form.
    ///
    /// `http` counts as `ws` and `https` as `wss`, since that is how servers write `Location`. Dot segments are removed,
    /// a fragment is ignored. User information is inherited together with the host, as RFC 3986 says: a reference that names
    /// a host, even the same one, has its own or none. Whether to *go* there is another question, which
    /// [`ClientRequest::redirected`](crate::handshake::ClientRequest::redirected) answers.
    ///
    /// ```
    /// use sansocket::handshake::WsUrl;
    ///
    /// let url = WsUrl::parse("wss://example.com/chat/room?id=7")?;
    /// assert_eq!(url.join("../lobby")?.target(), "/lobby");
    /// assert_eq!(url.join("//eu.example.com")?.authority(), "eu.example.com");
    /// assert_eq!(url.join("https://example.com:8443/")?.port(), 8443);
    /// # Ok::<(), sansocket::handshake::UrlError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UrlError`], with offsets that count from the start of the reference.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
        check_characters(reference)?;
        // RFC 3986 section 5.2.2.
        let (scheme, rest) = match split_scheme(reference) {
            Some((scheme, rest)) => (websocket_scheme(scheme)?, rest),
            None => (self.scheme(), reference),
        };
        if let Some(rest) = rest.strip_prefix("//") {
            let mut url = Self::parse(&format!("{scheme}://{rest}"))?;
            url.target = without_dot_segments(&url.target).into();
            return Ok(url);
        }
        if rest.len() != reference.len() {
            // `https:path`: a scheme without a host.
            return Err(UrlError::HostEmpty);
        }
        Ok(Self { target: self.resolve(reference).into(), ..self.clone() })
    }

    /// The target that a reference without a host means. RFC 3986 section 5.2.2.
    fn resolve(&self, reference: &str) -> String {
        let (path, query) = split_query(reference);
        let (base_path, base_query) = split_query(&self.target);
        let (path, query) = match path {
            "" if query.is_empty() => (Cow::Borrowed(base_path), base_query),
            "" => (base_path.into(), query),
            _ if path.starts_with('/') => (path.into(), query),
            _ => {
                // RFC 3986 section 5.2.3; a target has at least one slash.
                let (folder, _) = base_path.rsplit_once('/').unwrap_or_default();
                (format!("{folder}/{path}").into(), query)
            }
        };
        without_dot_segments(&format!("{path}{query}"))
    }

    /// Whether both are of one scheme, host and port. RFC 6454 section 5.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.is_secure, &self.host, self.port) == (other.is_secure, &other.host, other.port)
    }

    /// Takes over the user information of `other`, unless there is some already.
    pub(in crate::handshake) fn inherit_userinfo(&mut self, other: &Self) {
        if self.authorization.is_none() {
            self.authorization.clone_from(&other.authorization);
        }
    }
}

/// The scheme of a reference and what follows its colon, if there is one. RFC 3986 sections 3.1 and 4.2.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    // In a relative reference a colon comes later than the first slash or question mark.
    (!scheme.contains(['/', '?'])).then_some((scheme, rest))
}

fn websocket_scheme(scheme: &str) -> Result<&'static str, UrlError> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("ws") || scheme.eq_ignore_ascii_case("http") => Ok("ws"),
        _ if scheme.eq_ignore_ascii_case("wss") || scheme.eq_ignore_ascii_case("https") => Ok("wss"),
        _ => Err(UrlError::SchemeUnsupported),
    }
}

/// The path, and the query with its question mark.
fn split_query(target: &str) -> (&str, &str) {
    target.split_at_checked(target.find('?').unwrap_or(target.len())).unwrap_or((target, ""))
}

/// A target whose path has no `.` and no `..` segment. RFC 3986 section 5.2.4.
fn without_dot_segments(target: &str) -> String {
    let (path, query) = split_query(target);
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push(""); // what a dot segment leaves behind is a folder
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join(base: &str, reference: &str) -> Result<String, UrlError> {
        let url = WsUrl::parse(base).unwrap().join(reference)?;
        Ok(format!("{}://{}{}", url.scheme(), url.authority(), url.target()))
    }

    #[test]
    fn the_examples_of_the_rfc_resolve_as_it_says() {
        // RFC 3986 sections 5.4.1 and 5.4.2, without fragments, and with the scheme of a WebSocket.
        let table = [
            ("ws://g", "ws://g/"),
            ("g", "ws://a/b/c/g"),
            ("./g", "ws://a/b/c/g"),
            ("g/", "ws://a/b/c/g/"),
            ("/g", "ws://a/g"),
            ("//g", "ws://g/"),
            ("?y", "ws://a/b/c/d;p?y"),
            ("g?y", "ws://a/b/c/g?y"),
            ("#s", "ws://a/b/c/d;p?q"),
            ("g#s", "ws://a/b/c/g"),
            ("g?y#s", "ws://a/b/c/g?y"),
            (";x", "ws://a/b/c/;x"),
            ("g;x", "ws://a/b/c/g;x"),
            ("g;x?y#s", "ws://a/b/c/g;x?y"),
            ("", "ws://a/b/c/d;p?q"),
            (".", "ws://a/b/c/"),
            ("./", "ws://a/b/c/"),
            ("..", "ws://a/b/"),
            ("../", "ws://a/b/"),
            ("../g", "ws://a/b/g"),
            ("../..", "ws://a/"),
            ("../../", "ws://a/"),
            ("../../g", "ws://a/g"),
            ("../../../g", "ws://a/g"),
            ("../../../../g", "ws://a/g"),
            ("/./g", "ws://a/g"),
            ("/../g", "ws://a/g"),
            ("g.", "ws://a/b/c/g."),
            (".g", "ws://a/b/c/.g"),
            ("g..", "ws://a/b/c/g.."),
            ("..g", "ws://a/b/c/..g"),
            ("./../g", "ws://a/b/g"),
            ("./g/.", "ws://a/b/c/g/"),
            ("g/./h", "ws://a/b/c/g/h"),
            ("g/../h", "ws://a/b/c/h"),
            ("g;x=1/./y", "ws://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "ws://a/b/c/y"),
            ("g?y/./x", "ws://a/b/c/g?y/./x"),
            ("g?y/../x", "ws://a/b/c/g?y/../x"),
            ("g#s/../x", "ws://a/b/c/g"),
        ];
        for (reference, expected) in table {
            assert_eq!(join("ws://a/b/c/d;p?q", reference).as_deref(), Ok(expected), "{reference:?}");
        }
    }

    #[test]
    fn schemes_hosts_and_ports_come_from_the_reference() {
        let table = [
            ("http://h/x", "ws://h/x"),
            ("HTTPS://h/x", "wss://h/x"),
            ("https://h:443/x", "wss://h/x"),
            ("https://h:80/x", "wss://h:80/x"),
            ("wss://H/x", "wss://h/x"),
            ("//h:1/x", "wss://h:1/x"),
            ("//[::1]/x", "wss://[::1]/x"),
            ("//h", "wss://h/"),
            ("//h?q", "wss://h/?q"),
            ("https://h/a/./b/../c?d/../e", "wss://h/a/c?d/../e"),
            ("https://h/..", "wss://h/"),
            ("/a:b", "wss://base:8443/a:b"),
            ("a/b:c", "wss://base:8443/a/b:c"),
            ("./a:b", "wss://base:8443/a:b"),
            ("?to=http://other/", "wss://base:8443/?to=http://other/"),
            ("/a//b", "wss://base:8443/a//b"),
            ("/x/..//evil.com", "wss://base:8443//evil.com"), // a path, whatever it looks like
            ("/%2e%2e/x", "wss://base:8443/%2e%2e/x"),        // escapes are the server's to read
        ];
        for (reference, expected) in table {
            assert_eq!(join("wss://base:8443", reference).as_deref(), Ok(expected), "{reference:?}");
        }
    }

    #[test]
    fn what_is_no_reference_to_a_websocket_is_refused() {
        use UrlError::*;
        let table = [
            ("ftp://h/", SchemeUnsupported),
            ("javascript:alert(1)", SchemeUnsupported),
            ("a:b", SchemeUnsupported),
            (":b", SchemeUnsupported),
            ("https:h/x", HostEmpty),
            ("wss:/x", HostEmpty),
            ("https://", HostEmpty),
            ("///x", HostEmpty),
            ("//h:0/", PortInvalid),
            ("//a@b@h/", UserinfoInvalid),
            ("//h%41/", HostInvalid),
            ("/a b", CharacterForbidden { byte: b' ', offset: 2 }),
            ("https://h/\\", CharacterForbidden { byte: b'\\', offset: 10 }),
            ("/a\r\nX: y", CharacterForbidden { byte: b'\r', offset: 2 }),
            ("/\0", CharacterForbidden { byte: 0, offset: 1 }),
            ("/%zz", PercentInvalid { offset: 1 }),
            ("/caf\u{e9}", CharacterForbidden { byte: 0xc3, offset: 4 }),
        ];
        for (reference, error) in table {
            assert_eq!(join("wss://base/", reference), Err(error), "{reference:?}");
        }
    }

    #[test]
    fn user_information_goes_with_the_host() {
        let base = WsUrl::parse("ws://user:pass@h/a").unwrap();
        assert_eq!(base.join("/b").unwrap().authorization(), base.authorization());
        assert_eq!(base.join("ws://h/b").unwrap().authorization(), None);
        assert_eq!(base.join("//h/b").unwrap().authorization(), None);
        assert_eq!(base.join("//u:p@h/b").unwrap().authorization(), Some("Basic dTpw"));
    }

    proptest! {
        #[test]
        fn whatever_is_joined_is_a_url_without_dot_segments(
            base in "wss?://h/[a./]{0,8}(\\?[a./?]{0,4})?",
            reference in "(https?:)?(//h)?[a./?:#]{0,12}",
        ) {
            if let Ok(joined) = WsUrl::parse(&base).unwrap().join(&reference) {
                let text = format!("{}://{}{}", joined.scheme(), joined.authority(), joined.target());
                prop_assert_eq!(&WsUrl::parse(&text).unwrap(), &joined);
                let (path, _) = split_query(joined.target());
                prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", text);
            }
        }
    }
}
