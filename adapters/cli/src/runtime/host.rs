//! What a server needs of an asynchronous runtime beyond what a client does.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use sansocket_async_std::{AsyncStd, Dial, Runtime, Smol};
use sansocket_std::rustls::ServerConfig;
use sansocket_tokio::Tokio;

/// A runtime that listens.
pub(crate) trait Host: Dial {
    /// A listener.
    type Listener: Send + Sync + 'static;
    /// TLS with a client.
    type Secured: Send + 'static;

    /// Hands the listener over.
    fn listen(listener: TcpListener) -> io::Result<Self::Listener>;
    /// Waits for a client.
    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<(Self::Tcp, SocketAddr)>> + Send;
    /// Agrees on TLS with a client.
    fn secured(tcp: Self::Tcp, config: Arc<ServerConfig>) -> impl Future<Output = io::Result<Self::Secured>> + Send;
}

/// What `work` comes to, unless it takes longer.
pub(crate) async fn within<R: Runtime, O>(
    timeout: Option<Duration>,
    work: impl Future<Output = io::Result<O>>,
) -> io::Result<O> {
    let Some(deadline) = timeout.and_then(|timeout| R::now().checked_add(timeout)) else {
        return work.await;
    };
    let late = async {
        R::sleep_until(deadline).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    future::or(work, late).await
}

impl Host for Tokio {
    type Listener = tokio::net::TcpListener;
    type Secured = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Tcp, SocketAddr)> {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }

    async fn secured(tcp: Self::Tcp, config: Arc<ServerConfig>) -> io::Result<Self::Secured> {
        tokio_rustls::TlsAcceptor::from(config).accept(tcp).await
    }
}

macro_rules! host {
    ($runtime:ty, $net:ident, $listen:expr) => {
        impl Host for $runtime {
            type Listener = $net::net::TcpListener;
            type Secured = futures_rustls::server::TlsStream<$net::net::TcpStream>;

            fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
                listener.set_nonblocking(true)?;
                $listen(listener)
            }

            async fn accept(listener: &Self::Listener) -> io::Result<(Self::Tcp, SocketAddr)> {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((stream, peer))
            }

            async fn secured(tcp: Self::Tcp, config: Arc<ServerConfig>) -> io::Result<Self::Secured> {
                futures_rustls::TlsAcceptor::from(config).accept(tcp).await
            }
        }
    };
}

host!(Smol, smol, smol::net::TcpListener::try_from);
host!(AsyncStd, async_std, |listener| Ok(async_std::net::TcpListener::from(listener)));
