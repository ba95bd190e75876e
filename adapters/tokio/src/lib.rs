#![doc = include_str!("../README.md")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub use sansocket;
#[cfg(feature = "http")]
pub use sansocket_async::UpgradeError;
pub use sansocket_async::{Events, MaybeTls, MessageRef, Receipt, StateWatch};
pub use sansocket_common::client;
#[cfg(feature = "rustls")]
pub use tokio_rustls::rustls;

sansocket_common::reexports!();

/// A WebSocket over any stream of tokio's.
pub type WebSocket<S> = sansocket_async::WebSocket<Io<S>, Tokio>;
/// The WebSocket of a client that connected by itself, with TLS or without.
pub type ClientWebSocket = sansocket_async::WebSocket<MaybeTls<Io<TcpStream>, SecureIo>, Tokio>;
/// The sending half of a [`WebSocket`]; can be cloned.
pub type Sender<S> = sansocket_async::Sender<Io<S>, Tokio>;
/// The receiving half of a [`WebSocket`].
pub type Receiver<S> = sansocket_async::Receiver<Io<S>, Tokio>;
/// A message that is received in pieces.
pub type MessageReader<'a, S> = sansocket_async::MessageReader<'a, Io<S>, Tokio>;
/// A message that is sent in pieces.
pub type MessageWriter<'a, S> = sansocket_async::MessageWriter<'a, Io<S>, Tokio>;
/// A client's request that waits for an answer.
pub type Incoming<S> = sansocket_async::Incoming<Io<S>, Tokio>;
/// A client's request and how to connect with it.
pub type Connector = sansocket_async::Connector<Tokio>;
/// Shakes hands with clients.
pub type Acceptor = sansocket_async::Acceptor<Tokio>;

/// A client that outlives its connections.
pub type Client = sansocket_async::Client<Tokio>;
/// The messages that a [`Client`] receives.
pub type Inbox = sansocket_async::Inbox<Tokio>;
/// Messages of a type that a [`Client`] receives.
#[cfg(feature = "json")]
pub type Subscription = sansocket_async::Subscription<Tokio>;

/// A request that an HTTP server has received and that is accepted; becomes a [`WebSocket`].
#[cfg(feature = "http")]
pub type Upgrade = sansocket_async::Upgrade<Tokio>;

/// Connects to a `ws://` or `wss://` URL with the defaults of [`Connector`] and [`Config`]. Dropped before it is ready, it drops the stream.
///
/// # Errors
/// [`ConnectError`], which says what to do.
pub async fn connect(url: &str) -> Result<ClientWebSocket, ConnectError> {
    Connector::new(url)?.connect().await
}

/// Accepts whoever asks properly, with the defaults of [`Config`]. Dropped before it is ready, it drops the stream.
///
/// # Errors
/// [`AcceptError`].
pub async fn accept<S>(stream: S) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    Acceptor::new().accept(stream).await
}

/// The runtime.
#[derive(Clone, Copy, Debug)]
pub enum Tokio {}

/// A stream of tokio's as a [`Transport`](sansocket_async::Transport).
#[derive(Debug)]
pub struct Io<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> sansocket_async::Transport for Io<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        Pin::new(&mut self.0).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [slice] => Pin::new(&mut self.0).poll_write(cx, slice),
            slices => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl sansocket_async::Runtime for Tokio {
    type Sleep = tokio::time::Sleep;

    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(at: Instant) -> Self::Sleep {
        tokio::time::sleep_until(at.into())
    }

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> sansocket_async::Wrap<S> for Tokio {
    type Transport = Io<S>;

    fn wrap(stream: S) -> Io<S> {
        if let Some(tcp) = (&stream as &dyn std::any::Any).downcast_ref::<TcpStream>() {
            // Nagle's algorithm would hold small messages back. Of a stream that is gone, reading tells.
            let _ = tcp.set_nodelay(true);
        }
        Io(stream)
    }
}

impl<S: AsyncRead> sansocket_async::ReadFrom<S> for Tokio {
    fn poll_read(reader: Pin<&mut S>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        reader.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
    }
}

impl<S: AsyncWrite> sansocket_async::WriteTo<S> for Tokio {
    fn poll_write(writer: Pin<&mut S>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        writer.poll_write(cx, buf)
    }

    fn poll_flush(writer: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        writer.poll_flush(cx)
    }
}

/// TLS over TCP as a [`Transport`](sansocket_async::Transport).
#[cfg(feature = "rustls")]
pub type SecureIo = Io<tokio_rustls::client::TlsStream<TcpStream>>;
/// TLS, which is not built in.
#[cfg(not(feature = "rustls"))]
pub type SecureIo = sansocket_async::NoTls<TcpStream>;

impl sansocket_async::Dial for Tokio {
    type Tcp = TcpStream;
    type Tls = SecureIo;

    async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    #[cfg(feature = "rustls")]
    async fn secure(tcp: Io<TcpStream>, host: &str, tls: &Tls) -> Result<Self::Tls, TlsError> {
        let connector = tokio_rustls::TlsConnector::from(tls.config()?);
        let stream = connector.connect(Tls::server_name(host)?, tcp.0).await.map_err(TlsError::Handshake)?;
        Tls::check_alpn(stream.get_ref().1.alpn_protocol())?;
        Ok(Io(stream))
    }

    #[cfg(not(feature = "rustls"))]
    async fn secure(_: Io<TcpStream>, _: &str, _: &Tls) -> Result<Self::Tls, TlsError> {
        Err(TlsError::NotBuilt)
    }
}
