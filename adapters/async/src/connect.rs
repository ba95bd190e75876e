//! The client's way in.

use std::future::{Future as _, poll_fn};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sansocket::{ClientRequest, Config};

use crate::{ConnectError, Dial, Runtime, WebSocket, Wrap, connect_over};

/// A client's request and how to connect with it; serves any number of attempts.
pub struct Connector<R> {
    request: ClientRequest,
    config: Arc<Config>,
    connect_timeout: Option<Duration>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Connector<R> {
    /// For a `ws` or `wss` URL.
    ///
    /// # Errors
    /// [`ConnectError::Request`] when it is no such URL.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Ok(ClientRequest::new(url)?.into())
    }

    /// Adds a header field to the request, see [`ClientRequest::header`].
    ///
    /// # Errors
    /// [`ConnectError::Request`] for a field that would break the request or that the handshake writes itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.request = self.request.header(name, value)?;
        Ok(self)
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    /// [`ConnectError::Request`] for what is no token, or is offered already.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, ConnectError> {
        self.request = self.request.subprotocol(name)?;
        Ok(self)
    }

    /// Sets the limits and deadlines of the connection.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// How long it may take until one of the host's addresses is connected, the name resolved included; `None` for as long as the
    /// system tries.
    ///
    /// 10 s unless set: as long as the handshake may take, which is another deadline ([`Config::handshake_timeout`]).
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Shakes hands over a stream that is connected already, whatever it runs over: TLS, a Unix socket, a proxy.
    ///
    /// The host of the URL is what the server is told.
    ///
    /// # Errors
    /// [`ConnectError::Handshake`].
    pub async fn handshake<S>(&self, stream: S) -> Result<WebSocket<R::Transport, R>, ConnectError>
    where
        R: Wrap<S>,
    {
        Ok(connect_over(R::wrap(stream), &self.request, Arc::clone(&self.config)).await?)
    }
}

impl<R: Dial> Connector<R> {
    /// Connects by TCP to the host of the URL, then shakes hands.
    ///
    /// # Errors
    /// [`ConnectError`], [`ConnectError::TlsUnsupported`] for a `wss` URL.
    pub async fn connect(&self) -> Result<WebSocket<<R as Wrap<R::Tcp>>::Transport, R>, ConnectError> {
        let url = self.request.url();
        let (host, port) = (url.host(), url.port());
        if url.is_secure() {
            return Err(ConnectError::TlsUnsupported { host: host.into(), port });
        }
        let mut dial = pin!(R::dial(host, port));
        let mut sleep =
            pin!(self.connect_timeout.and_then(|timeout| R::now().checked_add(timeout)).map(R::sleep_until));
        let dialled = poll_fn(|cx| {
            if let Poll::Ready(dialled) = dial.as_mut().poll(cx) {
                return Poll::Ready(Some(dialled));
            }
            match sleep.as_mut().as_pin_mut() {
                Some(sleep) => sleep.poll(cx).map(|_| None),
                None => Poll::Pending,
            }
        });
        match dialled.await {
            Some(Ok(stream)) => self.handshake(stream).await,
            Some(Err(source)) => Err(ConnectError::Io { host: host.into(), port, source }),
            None => {
                let timeout = self.connect_timeout.unwrap_or_default();
                Err(ConnectError::TimedOut { host: host.into(), port, timeout })
            }
        }
    }
}

impl<R> From<ClientRequest> for Connector<R> {
    fn from(request: ClientRequest) -> Self {
        Self { request, config: Arc::default(), connect_timeout: Some(CONNECT_TIMEOUT), runtime: PhantomData }
    }
}

impl<R> Clone for Connector<R> {
    fn clone(&self) -> Self {
        Self { request: self.request.clone(), config: Arc::clone(&self.config), ..*self }
    }
}

impl<R> std::fmt::Debug for Connector<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("request", &self.request).finish_non_exhaustive()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
