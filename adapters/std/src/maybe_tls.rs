//! What a client connects by.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::time::Duration;

use sansocket_common::{Tls, TlsError};

#[cfg(feature = "rustls")]
use crate::TlsStream;
use crate::Transport;

/// What a client connects by: a stream, with or without TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum MaybeTls<S> {
    /// Of a `ws` URL.
    Plain(S),
    /// Of a `wss` URL.
    #[cfg(feature = "rustls")]
    Tls(Box<TlsStream<S>>),
}

impl<S: Transport> MaybeTls<S> {
    /// Agrees on TLS with a server.
    #[cfg(feature = "rustls")]
    pub(crate) fn secure(stream: S, host: &str, tls: &Tls, timeout: Option<Duration>) -> Result<Self, TlsError> {
        Ok(Self::Tls(Box::new(TlsStream::client(stream, host, tls, timeout)?)))
    }

    #[cfg(not(feature = "rustls"))]
    pub(crate) fn secure(_: S, _: &str, _: &Tls, _: Option<Duration>) -> Result<Self, TlsError> {
        Err(TlsError::NotBuilt)
    }

    /// The stream, the one underneath if there is TLS.
    pub fn get_ref(&self) -> &S {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    fn transport(&self) -> &dyn Transport
    where
        S: Sized,
    {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Self::Tls(tls) => &**tls,
        }
    }
}

impl<S: Transport> Transport for MaybeTls<S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.transport().read(buf)
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.transport().write_vectored(bufs)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.transport().set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.transport().set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.transport().shutdown(how)
    }

    fn left_nothing(&self, offered: usize, read: usize) -> bool {
        self.transport().left_nothing(offered, read)
    }

    fn prepare(&self) -> io::Result<()> {
        self.transport().prepare()
    }
}
