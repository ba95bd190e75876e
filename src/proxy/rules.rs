//! Which proxy a URL is reached through: the convention of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use super::no_proxy::NoProxy;
use super::{Proxy, ProxyUrlError};
use crate::handshake::WsUrl;

/// Which proxy to use for which server, from values that usually stand in environment variables.
///
/// The rules are those of curl; where other programs agree on more, that is understood, too, and said so below. The core does not
/// read the environment: either give the values one by one, or a function that looks names up to
/// [`from_variables`](Self::from_variables). An empty value counts as none.
///
/// ```
/// use sansocket::handshake::WsUrl;
/// use sansocket::proxy::ProxyRules;
///
/// let variables = [("https_proxy", "http://proxy.example:3128"), ("no_proxy", "localhost,10.0.0.0/8")];
/// let rules = ProxyRules::from_variables(|name| {
///     variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
/// });
/// let proxy_for = |url: &str| rules.proxy_for(&WsUrl::parse(url).unwrap()).unwrap().map(|proxy| proxy.to_string());
/// assert_eq!(proxy_for("wss://example.com/").as_deref(), Some("http://proxy.example:3128"));
/// assert_eq!(proxy_for("wss://10.1.2.3/"), None);
/// assert_eq!(proxy_for("ws://example.com/"), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyRules {
    https: Option<Result<Proxy, ProxyUrlError>>,
    http: Option<Result<Proxy, ProxyUrlError>>,
    all: Option<Result<Proxy, ProxyUrlError>>,
    no_proxy: NoProxy,
}

impl ProxyRules {
    /// No proxy for any server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the values from the usual variables, by a function that looks up one name.
    ///
    /// For `wss`: `wss_proxy`, `https_proxy`, `all_proxy`; for `ws`: `ws_proxy`, `http_proxy`, `all_proxy`; the first that is set,
    /// each in lower case first, then in upper case. And `no_proxy`, likewise.
    ///
    /// In a CGI program, which `REQUEST_METHOD` tells, `HTTP_PROXY` is the header field `Proxy` of whoever sent the request, and
    /// never looked at ("httpoxy", CVE-2016-5385; curl never looks at it anywhere). Where names have no case, `http_proxy` is the
    /// same variable, and not looked at either.
    pub fn from_variables(mut lookup: impl FnMut(&str) -> Option<String>) -> Self {
        let mut value = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let is_cgi = value("REQUEST_METHOD").is_some();
        let is_caseless = value("Request_Method").is_some();
        let mut first = |names: &[&str]| {
            names.iter().find_map(|name| match *name {
                "HTTP_PROXY" if is_cgi => None,
                "http_proxy" if is_cgi && is_caseless => None,
                name => value(name),
            })
        };
        Self::new()
            .https(first(&["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY"]).as_deref())
            .http(first(&["ws_proxy", "WS_PROXY", "http_proxy", "HTTP_PROXY"]).as_deref())
            .all(first(&["all_proxy", "ALL_PROXY"]).as_deref())
            .no_proxy(first(&["no_proxy", "NO_PROXY"]).as_deref())
    }

    /// The proxy for `wss` URLs: the value of `HTTPS_PROXY`, see [`Proxy::parse`].
    pub fn https(mut self, value: Option<&str>) -> Self {
        self.https = parse(value);
        self
    }

    /// The proxy for `ws` URLs: the value of `HTTP_PROXY`.
    ///
    /// In a CGI program, do not take it from a variable of that name, see [`from_variables`](Self::from_variables).
    pub fn http(mut self, value: Option<&str>) -> Self {
        self.http = parse(value);
        self
    }

    /// The proxy for URLs that have none of their own: the value of `ALL_PROXY`.
    pub fn all(mut self, value: Option<&str>) -> Self {
        self.all = parse(value);
        self
    }

    /// The hosts that are reached without a proxy: the value of `NO_PROXY`, a list with commas.
    ///
    /// | entry | excepts |
    /// |---|---|
    /// | `*` | everything |
    /// | `example.com`, `.example.com`, `*.example.com` | that name, and every name below it |
    /// | `example.com:8080` | the same, on that port |
    /// | `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]:8080` | that address |
    /// | `10.0.0.0/8`, `fd00::/8` | the addresses of that network |
    ///
    /// Case does not matter, nor does a dot at the end of a name. Addresses match URLs with an address only, since names are not
    /// resolved here. `localhost` and loopback addresses are not special, as in curl. Ports, `*.`, and `*` as one entry of several
    /// are what curl does not know. What is no entry is passed over.
    pub fn no_proxy(mut self, value: Option<&str>) -> Self {
        self.no_proxy = value.map(NoProxy::parse).unwrap_or_default();
        self
    }

    /// The proxy to reach `url` through; `None` to go there directly.
    ///
    /// # Errors
    ///
    /// [`ProxyUrlError`] when it is this proxy whose value is malformed or not supported: going there directly would be
    /// against what was wanted.
    pub fn proxy_for(&self, url: &WsUrl) -> Result<Option<&Proxy>, ProxyUrlError> {
        if self.no_proxy.matches(url) {
            return Ok(None);
        }
        let own = if url.is_secure() { &self.https } else { &self.http };
        own.as_ref().or(self.all.as_ref()).map(|proxy| proxy.as_ref().map_err(|error| *error)).transpose()
    }
}

fn parse(value: Option<&str>) -> Option<Result<Proxy, ProxyUrlError>> {
    value.filter(|value| !value.is_empty()).map(Proxy::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy_for(rules: &ProxyRules, url: &str) -> Result<Option<String>, ProxyUrlError> {
        Ok(rules.proxy_for(&WsUrl::parse(url).unwrap())?.map(|proxy| proxy.host().to_owned()))
    }

    fn rules(variables: &[(&str, &str)]) -> ProxyRules {
        ProxyRules::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_stands_in() {
        // (variables, proxy for wss, proxy for ws)
        type Row = (&'static [(&'static str, &'static str)], Option<&'static str>, Option<&'static str>);
        let table: &[Row] = &[
            (&[], None, None),
            (&[("HTTPS_PROXY", "s")], Some("s"), None),
            (&[("HTTP_PROXY", "h")], None, Some("h")),
            (&[("ALL_PROXY", "a")], Some("a"), Some("a")),
            (&[("HTTPS_PROXY", "s"), ("ALL_PROXY", "a")], Some("s"), Some("a")),
            (&[("HTTP_PROXY", "h"), ("ALL_PROXY", "a")], Some("a"), Some("h")),
            (&[("HTTPS_PROXY", ""), ("ALL_PROXY", "a")], Some("a"), Some("a")),
            (&[("https_proxy", "low"), ("HTTPS_PROXY", "up")], Some("low"), None),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "up")], Some("up"), None),
            (&[("http_proxy", "low"), ("HTTP_PROXY", "up")], None, Some("low")),
            (&[("all_proxy", "low"), ("ALL_PROXY", "up")], Some("low"), Some("low")),
            (&[("wss_proxy", "w"), ("https_proxy", "s")], Some("w"), None),
            (&[("WS_PROXY", "w"), ("http_proxy", "h")], None, Some("w")),
            (&[("ALL_PROXY", "a"), ("NO_PROXY", "example.com")], None, None),
            (&[("ALL_PROXY", "a"), ("NO_PROXY", "*")], None, None),
            (&[("ALL_PROXY", "a"), ("no_proxy", "other"), ("NO_PROXY", "*")], Some("a"), Some("a")),
            (&[("ALL_PROXY", "a"), ("no_proxy", ""), ("NO_PROXY", "*")], None, None),
        ];
        for (variables, wss, ws) in table {
            let rules = rules(variables);
            assert_eq!(proxy_for(&rules, "wss://example.com/"), Ok(wss.map(str::to_owned)), "{variables:?}");
            assert_eq!(proxy_for(&rules, "ws://example.com/"), Ok(ws.map(str::to_owned)), "{variables:?}");
        }
    }

    #[test]
    fn a_cgi_program_does_not_take_a_proxy_from_its_visitor() {
        // CVE-2016-5385.
        let cgi = ("REQUEST_METHOD", "GET");
        let visitor = rules(&[cgi, ("HTTP_PROXY", "evil"), ("HTTPS_PROXY", "good")]);
        assert_eq!(proxy_for(&visitor, "ws://h/"), Ok(None));
        assert_eq!(proxy_for(&visitor, "wss://h/"), Ok(Some("good".into())));
        assert_eq!(
            proxy_for(&rules(&[cgi, ("http_proxy", "good"), ("HTTP_PROXY", "evil")]), "ws://h/"),
            Ok(Some("good".into()))
        );
        // Where names have no case.
        let caseless = ProxyRules::from_variables(|name| match name.to_ascii_uppercase().as_str() {
            "REQUEST_METHOD" => Some("GET".into()),
            "HTTP_PROXY" => Some("evil".into()),
            _ => None,
        });
        assert_eq!(proxy_for(&caseless, "ws://h/"), Ok(None));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_no_reason_to_go_directly() {
        let rules =
            rules(&[("HTTPS_PROXY", "https://p"), ("HTTP_PROXY", "h"), ("ALL_PROXY", "a"), ("NO_PROXY", "local")]);
        assert_eq!(proxy_for(&rules, "wss://h/"), Err(ProxyUrlError::TlsUnsupported));
        assert_eq!(proxy_for(&rules, "ws://h/"), Ok(Some("h".into())));
        assert_eq!(proxy_for(&rules, "wss://local/"), Ok(None));
    }

    #[test]
    fn debug_shows_no_credentials() {
        let debug = format!("{:?}", ProxyRules::new().all(Some("http://someone:s3cret@p")));
        assert!(!debug.contains("s3cret") && !debug.contains("someone"), "{debug}");
    }
}
