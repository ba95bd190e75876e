//! The client's way in.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use sansocket::client::Attempt;
use sansocket::{ClientOptions, ClientRequest, Connection, RecvBuf};
use sansocket_common::{ConnectError, Tls, TlsError, follow, seed};

use crate::websocket::Opened;
use crate::{MaybeTls, Transport, WebSocket, prelude};

/// Connects to a `ws://` or `wss://` URL with the defaults of [`Connector`] and [`Config`](crate::Config).
///
/// # Errors
/// [`ConnectError`], which says what to do.
pub fn connect(url: &str) -> Result<WebSocket<MaybeTls<TcpStream>>, ConnectError> {
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
///     .proxy_from_env()
///     .connect()?;
/// # Ok::<(), sansocket_std::ConnectError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    pub(crate) options: ClientOptions,
    tls: Tls,
}

impl Connector {
    sansocket_common::connector_methods!();

    /// Connects to the server of the URL: by way of a proxy if one was named, with TLS if it is a `wss` URL, and on to where the
    /// server redirects if that is allowed.
    ///
    /// The addresses of a host are tried in turn, each with an equal share of the time that is left. To resolve a name is not covered
    /// by [`connect_timeout`](Self::connect_timeout): the system offers no way to stop it.
    ///
    /// # Errors
    /// [`ConnectError`], which says what to do.
    pub fn connect(&self) -> Result<WebSocket<MaybeTls<TcpStream>>, ConnectError> {
        let mut attempt = self.options.attempt();
        loop {
            let (stream, received) = self.reach(&attempt)?;
            match shake_hands(&attempt, stream, received) {
                Err(ConnectError::Refused(refusal)) => follow(&mut attempt, refusal)?,
                done => return done,
            }
        }
    }

    /// Shakes hands over a stream that is connected already, whatever it runs over: a Unix socket, TLS of another library, a tunnel.
    ///
    /// The host of the URL is what the server is told. Proxies, redirects and TLS are the caller's then.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] when the server answers with another status than 101, [`ConnectError::Handshake`] when there is no answer in
    /// time, or a faulty one; [`ConnectError::Setup`], [`ConnectError::Seed`].
    pub fn handshake<S: Transport>(&self, stream: S) -> Result<WebSocket<S>, ConnectError> {
        shake_hands(&self.options.attempt(), stream, RecvBuf::new())
    }

    /// A stream to the server, and what it has said already.
    pub(crate) fn reach(&self, attempt: &Attempt) -> Result<(MaybeTls<TcpStream>, RecvBuf), ConnectError> {
        let (host, port) = attempt.address()?;
        let addresses = resolve(host, port)?;
        let time = Time::new(self.options.time_to_connect());
        let late = || ConnectError::timed_out(attempt, time.allowed());
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut && time.deadline.is_some();
        let tcp = match time.connect(&addresses) {
            Ok(tcp) => tcp,
            Err(error) if is_late(&error) => return Err(late()),
            Err(source) => return Err(ConnectError::Io { host: host.into(), port, source }),
        };
        tcp.prepare().map_err(ConnectError::Setup)?;
        let mut received = RecvBuf::new();
        if let Some(prelude) = attempt.prelude(Instant::now())? {
            let outcome = prelude::complete(&tcp, prelude, &mut received, time.deadline).ok_or_else(late)?;
            outcome.map_err(|source| ConnectError::Proxy { host: host.into(), port, source })?;
        }
        let stream = match attempt.tls_host() {
            None => MaybeTls::Plain(tcp),
            Some(host) => {
                let left = time.left().map_err(|()| late())?;
                let tls = if received.is_empty() {
                    MaybeTls::secure(tcp, host, &self.tls, left)
                } else {
                    Err(TlsError::spoke_first())
                };
                tls.map_err(|source| match source {
                    TlsError::Handshake(error) if is_late(&error) => late(),
                    source => ConnectError::Tls { host: host.into(), port: attempt.request().url().port(), source },
                })?
            }
        };
        Ok((stream, received))
    }
}

fn shake_hands<S: Transport>(attempt: &Attempt, stream: S, received: RecvBuf) -> Result<WebSocket<S>, ConnectError> {
    stream.prepare().map_err(ConnectError::Setup)?;
    let connection: Connection = attempt.connection(seed().map_err(ConnectError::Seed)?, Instant::now());
    let mut socket = WebSocket::new(connection, stream, received);
    match socket.open(None) {
        Opened::Open | Opened::Unfit(_) => Ok(socket),
        Opened::Refused(refusal) => Err(ConnectError::Refused(refusal)),
        Opened::Closed { closed, source } => Err(ConnectError::Handshake { closed, source }),
    }
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source| ConnectError::Resolve { host: host.into(), source };
    let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// The time until there has to be a stream to the server.
struct Time {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Time {
    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)) }
    }

    fn allowed(&self) -> Duration {
        self.timeout.unwrap_or_default()
    }

    /// `None` for any time, an error for none.
    fn left(&self) -> Result<Option<Duration>, ()> {
        match self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => Err(()),
            left => Ok(left),
        }
    }

    /// Connects to the first address that answers.
    fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::NotFound.into();
        for (tried, address) in addresses.iter().enumerate() {
            let attempt = match self.left() {
                Ok(None) => TcpStream::connect(address),
                Ok(Some(left)) => {
                    let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
                    TcpStream::connect_timeout(address, share.max(CONNECT_TIMEOUT_MIN))
                }
                Err(()) => return Err(io::ErrorKind::TimedOut.into()),
            };
            last = match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
        }
        Err(last)
    }
}

impl From<ClientOptions> for Connector {
    fn from(options: ClientOptions) -> Self {
        Self { options, tls: Tls::default() }
    }
}

impl From<ClientRequest> for Connector {
    fn from(request: ClientRequest) -> Self {
        ClientOptions::from(request).into()
    }
}

/// [`TcpStream::connect_timeout`] refuses to wait for no time at all.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_millis(1);
