//! One attempt to connect, step by step.

use std::sync::Arc;
use std::time::Instant;

use super::ClientOptions;
use crate::connection::{Config, Connection};
use crate::handshake::{ClientRequest, RedirectError, Refusal};
use crate::proxy::{Prelude, PreludeConfig, PreludeError, Proxy, ProxyUrlError};

/// The way to an open connection. Whoever owns sockets goes it:
///
/// 1. Connect to [`address`](Self::address): the server's, or a proxy's.
/// 2. If there is a [`prelude`](Self::prelude), drive it to its end.
/// 3. If there is a [`tls_host`](Self::tls_host), speak TLS with it, and check that the certificate is for that host.
/// 4. Drive the [`connection`](Self::connection).
/// 5. When it is refused, [`redirect`](Self::redirect) tells whether to begin again at 1.
///
/// All of 1 to 3 within [`ClientOptions::connect_timeout`].
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Of the next hop: the request, and the redirects that are left.
    options: ClientOptions,
}

impl Attempt {
    pub(super) fn new(options: ClientOptions) -> Self {
        Self { options }
    }

    /// The host and the port to connect to by TCP. An IPv6 address is without brackets.
    ///
    /// # Errors
    /// [`ProxyUrlError`] when the rules name a proxy that cannot be used: going there directly would be against what was wanted.
    pub fn address(&self) -> Result<(&str, u16), ProxyUrlError> {
        let url = self.request().url();
        Ok(match self.proxy()? {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (url.host(), url.port()),
        })
    }

    /// The proxy on the way, if any.
    ///
    /// # Errors
    /// As [`address`](Self::address).
    pub fn proxy(&self) -> Result<Option<&Proxy>, ProxyUrlError> {
        self.options.proxy.proxy_for(self.request())
    }

    /// What to do first on a stream to a proxy; `None` when it goes to the server.
    ///
    /// # Errors
    /// [`PreludeError`] when the proxy cannot be asked for this server, as a SOCKS5 proxy for a name of more than 255 bytes.
    pub fn prelude(&self, now: Instant) -> Result<Option<Prelude>, PreludeError> {
        // `address` has reported an unusable proxy.
        let proxy = self.proxy().ok().flatten();
        let config = PreludeConfig::default();
        proxy.map(|proxy| proxy.prelude(self.request().url(), &config, now)).transpose()
    }

    /// The host whose certificate to ask for; `None` when the server speaks no TLS. An IPv6 address is without brackets.
    pub fn tls_host(&self) -> Option<&str> {
        let url = self.request().url();
        url.is_secure().then(|| url.host())
    }

    /// The connection, whose first bytes are the request. `seed` must come from the operating system's randomness, anew for each.
    pub fn connection(&self, seed: [u8; 32], now: Instant) -> Connection {
        Connection::client(self.request(), Arc::clone(self.config()), seed, now)
    }

    /// Whether to go on to where a refusal points: `true` when the attempt has been led there, `false` when the refusal is the
    /// answer, because it is no redirect or none is to be followed.
    ///
    /// # Errors
    /// [`RedirectError`] for a redirect that may not be followed, or not any more.
    pub fn redirect(&mut self, refusal: &Refusal) -> Result<bool, RedirectError> {
        if self.options.redirects.max() == 0 {
            return Ok(false);
        }
        match self.options.redirects.follow(&self.options.request, refusal) {
            Ok(next) => self.options.request = next,
            Err(RedirectError::NotARedirect { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The request as it is by now.
    pub fn request(&self) -> &ClientRequest {
        &self.options.request
    }

    /// The limits and deadlines of the connection.
    pub fn config(&self) -> &Arc<Config> {
        &self.options.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::OwnedHeaders;
    use crate::proxy::ProxyRules;

    fn to(status: u16, location: &str) -> Refusal {
        let mut headers = OwnedHeaders::new();
        headers.push("Location", location).unwrap();
        Refusal { status, headers, body: Default::default(), body_truncated: false }
    }

    /// Where an attempt connects, what it says to a proxy, and with whom it speaks TLS.
    fn way(attempt: &Attempt) -> (String, Option<String>, Option<&str>) {
        let (host, port) = attempt.address().unwrap();
        let prelude = attempt.prelude(Instant::now()).unwrap();
        let asked =
            prelude.map(|prelude| String::from_utf8_lossy(prelude.outgoing()).lines().next().unwrap().to_owned());
        (format!("{host} {port}"), asked, attempt.tls_host())
    }

    #[test]
    fn the_way_leads_to_the_server_or_by_a_proxy() {
        let proxy: Proxy = "http://proxy.example:3128".parse().unwrap();
        let rules = ProxyRules::new().https(Some("proxy.example:3128")).no_proxy(Some("[::1]"));
        let direct = |url| ClientOptions::new(url).unwrap();
        let connect = |to| Some(format!("CONNECT {to} HTTP/1.1"));
        let table = [
            (direct("ws://h/a"), "h 80", None, None),
            (direct("wss://h:8443/a"), "h 8443", None, Some("h")),
            (direct("wss://[::1]/"), "::1 443", None, Some("::1")),
            (direct("ws://h/").proxy(proxy.clone()), "proxy.example 3128", connect("h:80"), None),
            (direct("wss://h/").proxy(proxy), "proxy.example 3128", connect("h:443"), Some("h")),
            (direct("wss://h/").proxy_rules(rules.clone()), "proxy.example 3128", connect("h:443"), Some("h")),
            (direct("ws://h/").proxy_rules(rules.clone()), "h 80", None, None),
            (direct("wss://[::1]/").proxy_rules(rules), "::1 443", None, Some("::1")),
        ];
        for (options, address, asked, tls_host) in table {
            assert_eq!(way(&options.attempt()), (address.to_owned(), asked, tls_host), "{options:?}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_passed_by() {
        let options = ClientOptions::new("wss://h/").unwrap().proxy_rules(ProxyRules::new().all(Some("ftp://p")));
        assert!(options.attempt().address().is_err());
    }

    #[test]
    fn a_redirect_leads_on_if_it_may() {
        let options = ClientOptions::new("ws://a/1").unwrap();
        assert_eq!(options.attempt().redirect(&to(302, "wss://b/2")), Ok(false));
        let options = options.redirects(1);
        for _ in 0..2 {
            let mut attempt = options.attempt();
            assert_eq!(attempt.redirect(&to(403, "wss://b/2")), Ok(false));
            assert_eq!(attempt.redirect(&to(302, "wss://b/2")), Ok(true));
            assert_eq!(way(&attempt), ("b 443".to_owned(), None, Some("b")));
            assert_eq!(attempt.redirect(&to(302, "/3")), Err(RedirectError::TooMany { max: 1 }));
        }
        let mut attempt = ClientOptions::new("wss://a/").unwrap().redirects(9).attempt();
        assert_eq!(attempt.redirect(&to(302, "ws://a/")), Err(RedirectError::Downgrade));
        assert_eq!(attempt.tls_host(), Some("a"));
    }

    #[test]
    fn a_redirect_may_need_another_proxy() {
        let rules = ProxyRules::new().https(Some("secure:1")).http(Some("plain:2"));
        let mut attempt = ClientOptions::new("ws://a/").unwrap().proxy_rules(rules).redirects(1).attempt();
        assert_eq!(attempt.address(), Ok(("plain", 2)));
        assert_eq!(attempt.redirect(&to(307, "https://a/")), Ok(true));
        assert_eq!(attempt.address(), Ok(("secure", 1)));
    }
}
