//! Following a redirect without giving secrets away (RFC 9110 sections 10.2.2 and 15.4).

use thiserror::Error;

use super::client::ClientRequest;
use super::headers::{HeaderMap as _, Single};
use super::refusal::Refusal;
use super::url::UrlError;

impl ClientRequest {
    /// The request that a redirect asks for: the same one, at the place that `Location` names.
    ///
    /// `Location` may be relative, and `http` in it means `ws`; see [`WsUrl::join`](super::WsUrl::join). When it leads to
    /// another scheme, host or port, what is meant for this server stays behind: `Authorization`, `Cookie`,
    /// `Proxy-Authorization` and the user information of the URL. A secret in a field of any other name, or in a subprotocol,
    /// is not known to be one; whoever sends such fields should look at [`url`](Self::url) first. User information in `Location` itself
    /// is used.
    ///
    /// How often to do this is up to the caller, or to [`Redirects`].
    ///
    /// ```
    /// use sansocket::handshake::{ClientRequest, OwnedHeaders, Refusal};
    ///
    /// let request = ClientRequest::new("wss://example.com/chat")?.header("Authorization", "Bearer s3cret")?;
    /// let mut headers = OwnedHeaders::new();
    /// headers.push("Location", "https://other.example/chat")?;
    /// let refusal = Refusal { status: 307, headers, body: Default::default(), body_truncated: false };
    /// let next = request.redirected(&refusal)?;
    /// assert_eq!(next.url().host(), "other.example");
    /// assert_eq!(next.headers().get("Authorization"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`RedirectError`]; the refusal is to be reported then.
    pub fn redirected(&self, refusal: &Refusal) -> Result<Self, RedirectError> {
        if !matches!(refusal.status, 301 | 302 | 303 | 307 | 308) {
            return Err(RedirectError::NotARedirect { status: refusal.status });
        }
        let location = match Single::of(refusal.headers.values("Location")) {
            Single::Missing => return Err(RedirectError::LocationMissing),
            Single::Repeated => return Err(RedirectError::LocationRepeated),
            Single::Once(location) => std::str::from_utf8(location).map_err(|_| RedirectError::LocationNotText)?,
        };
        let mut next = self.clone();
        next.url = self.url.join(location).map_err(RedirectError::LocationInvalid)?;
        if self.url.is_secure() && !next.url.is_secure() {
            return Err(RedirectError::Downgrade);
        }
        if self.url.is_same_origin(&next.url) {
            next.url.inherit_userinfo(&self.url);
        } else {
            for name in CREDENTIALS {
                next.headers.remove(name);
            }
        }
        Ok(next)
    }
}

/// Counts the redirects of one attempt to connect.
///
/// The default allows none: RFC 6455 section 4.1 leaves it to the client whether to follow, and browsers do not.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Redirects {
    max: u32,
    followed: u32,
}

impl Redirects {
    /// Allows `max` redirects in a row, which also ends loops; 0 allows none.
    pub const fn new(max: u32) -> Self {
        Self { max, followed: 0 }
    }

    /// The next request of the chain, by [`ClientRequest::redirected`].
    ///
    /// # Errors
    ///
    /// [`RedirectError::TooMany`] when the allowed number has been followed; the errors of
    /// [`ClientRequest::redirected`], which count as none.
    pub fn follow(&mut self, request: &ClientRequest, refusal: &Refusal) -> Result<ClientRequest, RedirectError> {
        let next = request.redirected(refusal)?;
        if self.followed >= self.max {
            return Err(RedirectError::TooMany { max: self.max });
        }
        self.followed = self.followed.saturating_add(1);
        Ok(next)
    }

    /// How many are allowed in a row.
    pub fn max(&self) -> u32 {
        self.max
    }

    /// How many have been followed.
    pub fn followed(&self) -> u32 {
        self.followed
    }
}

/// Why a refusal is not followed to where it points.
///
/// It never shows the place, which may hold a secret.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The status is none of 301, 302, 303, 307 and 308.
    #[error("status {status} is no redirect")]
    NotARedirect {
        /// The status.
        status: u16,
    },
    /// No `Location`.
    #[error("the redirect has no Location")]
    LocationMissing,
    /// More than one `Location`, of which one might be somebody else's.
    #[error("Location of the redirect occurs more than once")]
    LocationRepeated,
    /// `Location` is not even text.
    #[error("Location of the redirect is not UTF-8")]
    LocationNotText,
    /// `Location` is no reference to a WebSocket.
    #[error("Location of the redirect: {0}")]
    LocationInvalid(UrlError),
    /// To another scheme, host or port, where the first message would give the credentials away that are meant for this one.
    #[error("the redirect leads to another server, which the credentials of the first message are not for")]
    Credentials,
    /// From `wss` to `ws`: what was to be secret would go out in the clear.
    #[error("the redirect leads from wss to ws, which is not secure")]
    Downgrade,
    /// One more than is allowed.
    #[error("one more redirect than the {max} that are allowed")]
    TooMany {
        /// The limit.
        max: u32,
    },
}

/// The fields that are meant for one server.
const CREDENTIALS: [&str; 4] = ["Authorization", "Cookie", "Cookie2", "Proxy-Authorization"];

#[cfg(test)]
mod tests {
    use super::super::{OwnedHeaders, encode_key};
    use super::*;

    fn refusal(status: u16, locations: &[&[u8]]) -> Refusal {
        let mut headers = OwnedHeaders::new();
        for location in locations {
            headers.push("location", location).unwrap();
        }
        Refusal { status, headers, body: Default::default(), body_truncated: false }
    }

    fn to(location: &str) -> Refusal {
        refusal(302, &[location.as_bytes()])
    }

    /// What a request shows of each secret when it is sent.
    fn secrets(request: &ClientRequest) -> String {
        let mut wire = Vec::new();
        request.encode(&encode_key([0; 16]), None, &mut wire);
        let wire = String::from_utf8(wire).unwrap();
        let lines = wire.lines().filter(|line| line.contains("s3cret") || line.contains("Basic "));
        lines.map(|line| line.split(':').next().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_redirect_is_followed_and_nothing_else_is() {
        let request = ClientRequest::new("ws://h/a").unwrap();
        for status in 200..=599 {
            let next = request.redirected(&refusal(status, &[b"/b"]));
            match status {
                301 | 302 | 303 | 307 | 308 => assert_eq!(next.unwrap().url().target(), "/b"),
                _ => assert_eq!(next, Err(RedirectError::NotARedirect { status })),
            }
        }
    }

    #[test]
    fn credentials_stay_with_their_scheme_host_and_port() {
        let base = |url: &str| {
            let request = ClientRequest::new(url).unwrap().subprotocol("chat").unwrap().header("X", "kept").unwrap();
            request.header("COOKIE", "s3cret").unwrap().header("Proxy-Authorization", "s3cret").unwrap()
        };
        // (from, to, whether they go along)
        let table = [
            ("ws://h/a", "/b", true),
            ("ws://h/a", "ws://h/b", true),
            ("ws://h/a", "http://h:80/b", true),
            ("wss://h/a", "https://H:443/b", true),
            ("wss://h:8443/a", "//h:8443/b", true),
            ("ws://h/a", "wss://h/b", false),     // scheme
            ("ws://h:1/a", "wss://h:1/b", false), // scheme alone
            ("ws://h/a", "ws://h:8080/b", false), // port
            ("wss://h/a", "wss://h:80/b", false), // port
            ("ws://h/a", "ws://h.evil/b", false), // host
            ("ws://h/a", "//sub.h/b", false),     // host
            ("ws://h/a", "ws://h./b", false),     // another name, even if DNS says otherwise
            ("ws://[::1]/a", "ws://[::1]:81/", false),
            ("wss://h/a", "https://evil/h/", false),
        ];
        for (from, location, kept) in table {
            let userinfo = from.replace("://", "://user:pass@");
            for (from, expected) in [
                (from.to_owned(), "Cookie Proxy-Authorization"),
                (userinfo, "Authorization Cookie Proxy-Authorization"),
            ] {
                let request = base(&from);
                assert_eq!(secrets(&request).replace("COOKIE", "Cookie"), expected, "{from}");
                let next = request.redirected(&to(location)).unwrap();
                let found = secrets(&next).replace("COOKIE", "Cookie");
                assert_eq!(found, if kept { expected } else { "" }, "{from} to {location}");
                assert_eq!(next.headers().get("X"), Some("kept"));
                assert_eq!(next.subprotocols(), ["chat"]);
            }
        }
    }

    #[test]
    fn an_authorization_field_stays_behind_as_cookies_do() {
        let request = ClientRequest::new("wss://h/").unwrap().header("authorization", "Bearer s3cret").unwrap();
        assert_eq!(secrets(&request.redirected(&to("/x")).unwrap()), "authorization");
        assert_eq!(secrets(&request.redirected(&to("//other/x")).unwrap()), "");
    }

    #[test]
    fn user_information_of_the_location_is_for_its_own_server() {
        let request = ClientRequest::new("ws://user:pass@h/").unwrap();
        let next = request.redirected(&to("ws://u:p@other/")).unwrap();
        assert_eq!(next.url().authorization(), Some("Basic dTpw"));
        let next = request.redirected(&to("ws://u:p@h/")).unwrap();
        assert_eq!(next.url().authorization(), Some("Basic dTpw"));
    }

    #[test]
    fn a_redirect_to_the_clear_is_refused() {
        let request = ClientRequest::new("wss://h/").unwrap();
        for location in ["ws://h/", "http://h/", "ws://other/", "HTTP://h:443/"] {
            assert_eq!(request.redirected(&to(location)), Err(RedirectError::Downgrade), "{location}");
        }
        let request = ClientRequest::new("ws://h/").unwrap();
        assert!(request.redirected(&to("https://h/")).unwrap().url().is_secure());
    }

    #[test]
    fn a_location_that_is_missing_or_malformed_is_said_to_be_so() {
        use RedirectError::*;
        let request = ClientRequest::new("ws://h/").unwrap();
        let table: &[(&[&[u8]], RedirectError)] = &[
            (&[], LocationMissing),
            (&[b"/a", b"/b"], LocationRepeated),
            (&[b"/caf\xe9"], LocationNotText),
            (&[b"ftp://h/"], LocationInvalid(UrlError::SchemeUnsupported)),
            (&[b"/a b"], LocationInvalid(UrlError::CharacterForbidden { byte: b' ', offset: 2 })),
            (&[b"//"], LocationInvalid(UrlError::HostEmpty)),
        ];
        for (locations, expected) in table {
            assert_eq!(request.redirected(&refusal(302, locations)), Err(*expected), "{locations:?}");
        }
        // RFC 9110 section 10.2.2: an empty reference is one to the same place; a fragment changes nothing for a server.
        for location in ["", "#top"] {
            assert_eq!(request.redirected(&to(location)).unwrap(), request);
        }
    }

    #[test]
    fn redirects_are_followed_up_to_the_limit() {
        let request = ClientRequest::new("ws://h/").unwrap();
        for max in [0, 1, 5] {
            let mut redirects = Redirects::new(max);
            for hop in 1..=max {
                assert!(redirects.follow(&request, &to("/loop")).is_ok(), "hop {hop} of {max}");
            }
            assert_eq!(redirects.follow(&request, &to("/loop")), Err(RedirectError::TooMany { max }));
            assert_eq!(redirects.followed(), max);
        }
        assert_eq!(Redirects::default(), Redirects::new(0));
        let mut redirects = Redirects::new(1);
        assert_eq!(redirects.follow(&request, &refusal(403, &[])), Err(RedirectError::NotARedirect { status: 403 }));
        assert_eq!(redirects.followed(), 0);
    }
}
