#![doc = include_str!("../README.md")]

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_io::Timer;
use futures_io::{AsyncRead, AsyncWrite};

#[cfg(feature = "rustls")]
pub use futures_rustls::rustls;
pub use sansocket;
#[cfg(feature = "json")]
pub use sansocket_async::Subscription;
pub use sansocket_async::{
    Acceptor, Client, Connector, Dial, Events, Inbox, Incoming, MaybeTls, MessageReader, MessageRef, MessageWriter,
    ReadFrom, Receipt, Receiver, Runtime, Sender, StateWatch, Transport, WebSocket, Wrap, WriteTo,
};
pub use sansocket_common::client;

#[cfg(feature = "http")]
pub use sansocket_async::{Upgrade, UpgradeError};

sansocket_common::reexports!();

/// A stream of `futures-io` as a [`Transport`].
#[derive(Debug)]
pub struct Io<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for Io<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
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
        // To close a TcpStream of async-std only flushes it, so that the peer would wait for the end of the stream.
        #[cfg(feature = "async-std")]
        if let Some(stream) = (&self.0 as &dyn std::any::Any).downcast_ref::<async_std::net::TcpStream>() {
            return Poll::Ready(stream.shutdown(std::net::Shutdown::Write));
        }
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A timer of `async-io`.
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(())
    }
}

/// The WebSocket of a client that connected by itself, with TLS or without.
pub type ClientWebSocket<R> = WebSocket<MaybeTls<Io<<R as Dial>::Tcp>, SecureIo<<R as Dial>::Tcp>>, R>;

/// TLS over a stream as a [`Transport`].
#[cfg(feature = "rustls")]
pub type SecureIo<S> = Io<futures_rustls::client::TlsStream<S>>;
/// TLS, which is not built in.
#[cfg(not(feature = "rustls"))]
pub type SecureIo<S> = sansocket_async::NoTls<S>;

#[cfg(feature = "rustls")]
async fn secure<S>(stream: Io<S>, host: &str, tls: &Tls) -> Result<SecureIo<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connector = futures_rustls::TlsConnector::from(tls.config()?);
    let stream = connector.connect(Tls::server_name(host)?, stream.0).await.map_err(TlsError::Handshake)?;
    Tls::check_alpn(stream.get_ref().1.alpn_protocol())?;
    Ok(Io(stream))
}

#[cfg(not(feature = "rustls"))]
async fn secure<S>(_: Io<S>, _: &str, _: &Tls) -> Result<SecureIo<S>, TlsError> {
    Err(TlsError::NotBuilt)
}

/// The runtime of async-std, which is no longer developed: see [`Smol`].
#[cfg(feature = "async-std")]
#[derive(Clone, Copy, Debug)]
pub enum AsyncStd {}

/// The runtime of smol.
#[cfg(feature = "smol")]
#[derive(Clone, Copy, Debug)]
pub enum Smol {}

/// What a runtime needs beyond `futures-io` and `async-io`: how it spawns, its TCP stream, and how it resolves names.
macro_rules! runtime {
    ($runtime:ident, $tcp:ty, $spawn:expr, $resolve:expr) => {
        impl Runtime for $runtime {
            type Sleep = Sleep;

            fn now() -> Instant {
                Instant::now()
            }

            fn sleep_until(at: Instant) -> Sleep {
                Sleep(Timer::at(at))
            }

            fn spawn(task: impl Future<Output = ()> + Send + 'static) {
                $spawn(task);
            }
        }

        impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wrap<S> for $runtime {
            type Transport = Io<S>;

            fn wrap(stream: S) -> Io<S> {
                if let Some(tcp) = (&stream as &dyn std::any::Any).downcast_ref::<$tcp>() {
                    // Nagle's algorithm would hold small messages back. Of a stream that is gone, reading tells.
                    let _ = tcp.set_nodelay(true);
                }
                Io(stream)
            }
        }

        impl<S: AsyncRead> ReadFrom<S> for $runtime {
            fn poll_read(reader: Pin<&mut S>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                reader.poll_read(cx, buf)
            }
        }

        impl<S: AsyncWrite> WriteTo<S> for $runtime {
            fn poll_write(writer: Pin<&mut S>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                writer.poll_write(cx, buf)
            }

            fn poll_flush(writer: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                writer.poll_flush(cx)
            }
        }

        impl Dial for $runtime {
            type Tcp = $tcp;
            type Tls = SecureIo<$tcp>;

            async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
                Ok($resolve((host, port)).await?.into_iter().collect())
            }

            async fn dial(address: SocketAddr) -> io::Result<$tcp> {
                let stream = <$tcp>::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(stream)
            }

            async fn secure(tcp: Io<$tcp>, host: &str, tls: &Tls) -> Result<Self::Tls, TlsError> {
                secure(tcp, host, tls).await
            }
        }
    };
}

#[cfg(feature = "async-std")]
runtime!(AsyncStd, async_std::net::TcpStream, |task| drop(async_std::task::spawn(task)), |host| {
    async_std::net::ToSocketAddrs::to_socket_addrs(&host)
});

#[cfg(feature = "smol")]
runtime!(Smol, smol::net::TcpStream, |task| smol::spawn(task).detach(), smol::net::resolve);
