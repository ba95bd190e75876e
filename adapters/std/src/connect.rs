//! The client's way in.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::handshake::RequestError;
use sansocket::{ClientRequest, Config, Connection, RecvBuf};

use crate::websocket::Opened;
use crate::{ConnectError, Transport, WebSocket, seed};

/// Connects to a `ws://` URL with the defaults of [`Connector`] and [`Config`].
///
/// # Errors
/// [`ConnectError`], which says what to do.
pub fn connect(url: &str) -> Result<WebSocket<TcpStream>, ConnectError> {
    Connector::new(url)?.connect()
}

/// A client's request and how to connect with it; serves any number of attempts.
///
/// ```no_run
/// use sansocket_std::{Config, Connector};
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.ping_interval = Some(Duration::from_secs(10));
/// let socket = Connector::new("ws://example.com/chat")?
///     .header("Authorization", "Bearer s3cret")?
///     .subprotocol("chat.v2")?
///     .config(config)
///     .connect()?;
/// # Ok::<(), sansocket_std::ConnectError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    request: ClientRequest,
    config: Arc<Config>,
    connect_timeout: Option<Duration>,
}

impl Connector {
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
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.map(|request| request.header(name, value))
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    /// [`ConnectError::Request`] for what is no token, or is offered already.
    pub fn subprotocol(self, name: &str) -> Result<Self, ConnectError> {
        self.map(|request| request.subprotocol(name))
    }

    /// Sets the limits and deadlines of the connection.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// How long it may take until one of the host's addresses is connected, in total; `None` for as long as the system tries.
    ///
    /// 10 s unless set: as long as the handshake may take, which is another deadline ([`Config::handshake_timeout`]). The system
    /// alone would try for minutes. The addresses are tried in turn, each with an equal share of what is left. Resolving
    /// the name is not covered: the system offers no way to stop it.
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Connects by TCP to the host of the URL, then shakes hands.
    ///
    /// # Errors
    /// [`ConnectError`], [`ConnectError::TlsUnsupported`] for a `wss` URL.
    pub fn connect(&self) -> Result<WebSocket<TcpStream>, ConnectError> {
        let url = self.request.url();
        if url.is_secure() {
            return Err(ConnectError::TlsUnsupported { host: url.host().into(), port: url.port() });
        }
        self.handshake(self.connect_tcp()?)
    }

    /// Shakes hands over a stream that is connected already, whatever it runs over: TLS, a Unix socket, a proxy.
    ///
    /// The host of the URL is what the server is told.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] when the server answers with another status, [`ConnectError::Handshake`] when there is no answer in time, or
    /// a faulty one.
    pub fn handshake<S: Transport>(&self, stream: S) -> Result<WebSocket<S>, ConnectError> {
        stream.prepare().map_err(ConnectError::Setup)?;
        let now = Instant::now();
        let seed = seed().map_err(ConnectError::Seed)?;
        let connection = Connection::client(&self.request, Arc::clone(&self.config), seed, now);
        let mut socket = WebSocket::new(connection, stream, RecvBuf::new());
        match socket.open(None) {
            Opened::Open => Ok(socket),
            Opened::Refused(refusal) => Err(ConnectError::Refused(refusal)),
            Opened::Unfit(_) => Ok(socket),
            Opened::Closed { closed, source } => Err(ConnectError::Handshake { closed, source }),
        }
    }

    fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let (host, port) = (self.request.url().host(), self.request.url().port());
        let resolve = |source| ConnectError::Resolve { host: host.into(), source };
        let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(resolve)?.collect();
        let begun = Instant::now();
        let mut last = resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        for (tried, address) in addresses.iter().enumerate() {
            let attempt = match self.connect_timeout {
                None => TcpStream::connect(address),
                Some(timeout) => {
                    let left = timeout.saturating_sub(begun.elapsed());
                    let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
                    TcpStream::connect_timeout(address, share.max(CONNECT_TIMEOUT_MIN))
                }
            };
            last = match (attempt, self.connect_timeout) {
                (Ok(stream), _) => return Ok(stream),
                (Err(error), Some(timeout)) if error.kind() == io::ErrorKind::TimedOut => {
                    ConnectError::TimedOut { host: host.into(), port, timeout }
                }
                (Err(source), _) => ConnectError::Io { address: *address, source },
            };
        }
        Err(last)
    }

    fn map(
        mut self,
        change: impl FnOnce(ClientRequest) -> Result<ClientRequest, RequestError>,
    ) -> Result<Self, ConnectError> {
        self.request = change(self.request)?;
        Ok(self)
    }
}

impl From<ClientRequest> for Connector {
    fn from(request: ClientRequest) -> Self {
        Self { request, config: Arc::default(), connect_timeout: Some(CONNECT_TIMEOUT) }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// [`TcpStream::connect_timeout`] refuses to wait for no time at all.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_millis(1);
