//! The builder methods that every `Connector` has.

/// The methods that set a connector up, for its `impl`. It has to have the fields `options: ClientOptions` and `tls: Tls`.
#[macro_export]
macro_rules! connector_methods {
    () => {
        /// For a `ws` or `wss` URL.
        ///
        /// # Errors
        /// [`ConnectError::Request`](crate::ConnectError::Request) when it is no such URL.
        pub fn new(url: &str) -> Result<Self, $crate::ConnectError> {
            Ok($crate::sansocket::ClientOptions::new(url)?.into())
        }

        /// Adds a header field to the request, see [`ClientRequest::header`]($crate::sansocket::ClientRequest::header).
        ///
        /// # Errors
        /// [`ConnectError::Request`](crate::ConnectError::Request) for a field that would break the request or that the handshake
        /// writes itself.
        pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, $crate::ConnectError> {
            self.options = self.options.header(name, value)?;
            Ok(self)
        }

        /// Offers a subprotocol, after those offered before.
        ///
        /// # Errors
        /// [`ConnectError::Request`](crate::ConnectError::Request) for what is no token, or is offered already.
        pub fn subprotocol(mut self, name: &str) -> Result<Self, $crate::ConnectError> {
            self.options = self.options.subprotocol(name)?;
            Ok(self)
        }

        /// Sets the limits and deadlines of the connection.
        pub fn config(mut self, config: impl Into<std::sync::Arc<$crate::sansocket::Config>>) -> Self {
            self.options = self.options.config(config);
            self
        }

        /// How long it may take until there is a stream on which the handshake can begin, 10 s unless set; see
        /// [`ClientOptions::connect_timeout`]($crate::sansocket::ClientOptions::connect_timeout).
        pub fn connect_timeout(mut self, timeout: Option<std::time::Duration>) -> Self {
            self.options = self.options.connect_timeout(timeout);
            self
        }

        /// Goes through a proxy: HTTP `CONNECT` or SOCKS5, with or without credentials. It resolves the names.
        pub fn proxy(mut self, proxy: $crate::sansocket::proxy::Proxy) -> Self {
            self.options = self.options.proxy(proxy);
            self
        }

        /// Goes through the proxy that the environment names for the server, if any: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`,
        /// as they are now; see [`ProxyRules::from_variables`]($crate::sansocket::proxy::ProxyRules::from_variables).
        pub fn proxy_from_env(mut self) -> Self {
            self.options = self.options.proxy_rules($crate::proxy_rules_from_env());
            self
        }

        /// Follows up to `max` redirects in a row, 0 unless set; see
        /// [`ClientOptions::redirects`]($crate::sansocket::ClientOptions::redirects).
        pub fn redirects(mut self, max: u32) -> Self {
            self.options = self.options.redirects(max);
            self
        }

        /// Speaks TLS in this way with servers of `wss` URLs: a `rustls::ClientConfig`, if it is not to be the default of [`Tls`](crate::Tls).
        pub fn tls(mut self, tls: impl Into<$crate::Tls>) -> Self {
            self.tls = tls.into();
            self
        }
    };
}
