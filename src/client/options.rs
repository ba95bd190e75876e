//! What a client asks for, and which ways to the server it may take.

use std::sync::Arc;
use std::time::Duration;

use super::Attempt;
use crate::connection::Config;
use crate::handshake::{ClientRequest, Redirects, RequestError};
use crate::proxy::{Proxy, ProxyRules, ProxyUrlError};

/// A request, and how to put it to the server: limits and deadlines, proxy, redirects. It serves any number of attempts.
///
/// The connectors of the adapters are built around it. They take one that was made here, too:
///
/// ```
/// use sansocket::client::ClientOptions;
///
/// let options = ClientOptions::new("wss://example.com/chat")?
///     .header("Authorization", "Bearer s3cret")?
///     .subprotocol("chat.v2")?
///     .redirects(3);
/// assert_eq!(options.attempt().address(), Ok(("example.com", 443)));
/// # Ok::<(), sansocket::handshake::RequestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(super) request: ClientRequest,
    pub(super) config: Arc<Config>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) proxy: ProxyChoice,
    pub(super) redirects: Redirects,
}

/// Which proxy serves which URL.
#[derive(Clone, Debug)]
pub(super) enum ProxyChoice {
    Direct,
    Always(Box<Proxy>),
    Rules(Arc<ProxyRules>),
}

impl ClientOptions {
    /// For a `ws` or `wss` URL.
    ///
    /// # Errors
    /// [`RequestError::Url`] when it is no such URL.
    pub fn new(url: &str) -> Result<Self, RequestError> {
        Ok(ClientRequest::new(url)?.into())
    }

    /// Adds a header field to the request, see [`ClientRequest::header`].
    ///
    /// # Errors
    /// [`RequestError`] for a field that would break the request or that the handshake writes itself.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, RequestError> {
        Ok(Self { request: self.request.header(name, value)?, ..self })
    }

    /// Sets a parameter of the URL's query, in place of those of the same name: a token, for servers that browsers talk to. See
    /// [`WsUrl::with_query_parameter`](crate::handshake::WsUrl::with_query_parameter).
    #[must_use]
    pub fn query_parameter(self, name: &str, value: &str) -> Self {
        Self { request: self.request.query_parameter(name, value), ..self }
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    /// [`RequestError`] for what is no token, or is offered already.
    pub fn subprotocol(self, name: &str) -> Result<Self, RequestError> {
        Ok(Self { request: self.request.subprotocol(name)?, ..self })
    }

    /// Sets the limits and deadlines of the connection.
    pub fn config(self, config: impl Into<Arc<Config>>) -> Self {
        Self { config: config.into(), ..self }
    }

    /// How long it may take until there is a stream on which the handshake can begin: the name resolved, TCP connected, the proxy's
    /// tunnel open, TLS agreed. Anew for each redirect. `None` for as long as the system tries.
    ///
    /// 10 s unless set: as long as the handshake may take, which is another deadline ([`Config::handshake_timeout`]). The system alone would
    /// try for minutes.
    pub fn connect_timeout(self, timeout: Option<Duration>) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// Goes through this proxy, whatever the server.
    pub fn proxy(self, proxy: Proxy) -> Self {
        Self { proxy: ProxyChoice::Always(Box::new(proxy)), ..self }
    }

    /// Goes through the proxy that the rules name for the server, if any.
    pub fn proxy_rules(self, rules: impl Into<Arc<ProxyRules>>) -> Self {
        Self { proxy: ProxyChoice::Rules(rules.into()), ..self }
    }

    /// Follows up to `max` redirects (301, 302, 303, 307 and 308) in a row.
    ///
    /// 0 unless set: RFC 6455 section 4.1 leaves it to the client, and browsers do not. What is given away on the way, and what
    /// is not, says [`ClientRequest::redirected`].
    pub fn redirects(self, max: u32) -> Self {
        Self { redirects: Redirects::new(max), ..self }
    }

    /// Begins an attempt to connect.
    pub fn attempt(&self) -> Attempt {
        Attempt::new(self.clone())
    }

    /// The request.
    pub fn request(&self) -> &ClientRequest {
        &self.request
    }

    /// How long it may take until the stream is there, see [`connect_timeout`](Self::connect_timeout).
    pub fn time_to_connect(&self) -> Option<Duration> {
        self.connect_timeout
    }
}

impl ProxyChoice {
    pub(super) fn proxy_for(&self, request: &ClientRequest) -> Result<Option<&Proxy>, ProxyUrlError> {
        match self {
            Self::Direct => Ok(None),
            Self::Always(proxy) => Ok(Some(proxy)),
            Self::Rules(rules) => rules.proxy_for(request.url()),
        }
    }
}

impl From<ClientRequest> for ClientOptions {
    fn from(request: ClientRequest) -> Self {
        Self {
            request,
            config: Arc::default(),
            connect_timeout: Some(CONNECT_TIMEOUT),
            proxy: ProxyChoice::Direct,
            redirects: Redirects::default(),
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
