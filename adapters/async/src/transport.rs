//! What a stream and a runtime have to offer. The adapters implement it once for each runtime.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use sansocket_common::{Tls, TlsError};

/// An asynchronous byte stream.
///
/// As everywhere, `Poll::Pending` means that the waker of `cx` is woken when it is worth trying again, and that nothing has happened.
pub trait Transport: Send + Unpin + 'static {
    /// Reads some bytes; 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes some of the bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    /// Sees out what was written, where a layer in between keeps it, as TLS does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends the writing direction.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A runtime on whose streams of type `S` a WebSocket can run.
pub trait Wrap<S>: Runtime {
    /// `S` as a [`Transport`].
    type Transport: Transport;

    /// Makes a transport of a stream. Of TCP, with `TCP_NODELAY` set.
    fn wrap(stream: S) -> Self::Transport;
}

/// A runtime that connects by TCP, and speaks TLS over it.
pub trait Dial: Wrap<Self::Tcp> {
    /// A TCP connection.
    type Tcp: Send;
    /// TLS over it; [`NoTls`] where it is not built in.
    type Tls: Transport;

    /// The addresses of a host, in the order in which they are to be tried.
    fn resolve(host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Connects to this address, with `TCP_NODELAY` set.
    fn dial(address: SocketAddr) -> impl Future<Output = io::Result<Self::Tcp>> + Send;

    /// Agrees on TLS with the server, whose certificate has to be for `host`, and checks what it chose by ALPN.
    fn secure(
        tcp: <Self as Wrap<Self::Tcp>>::Transport,
        host: &str,
        tls: &Tls,
    ) -> impl Future<Output = Result<Self::Tls, TlsError>> + Send;
}

/// A runtime: its clock, its timers and its tasks.
pub trait Runtime: Send + Sync + 'static {
    /// A timer.
    type Sleep: Future + Send + 'static;

    /// The runtime's time, which tests may have stopped.
    fn now() -> Instant;
    /// Is ready at `at`.
    fn sleep_until(at: Instant) -> Self::Sleep;
    /// Runs a task beside the others.
    fn spawn(task: impl Future<Output = ()> + Send + 'static);
}

/// What a client connects by: TCP, with or without TLS.
#[derive(Debug)]
pub enum MaybeTls<P, S> {
    /// Of a `ws` URL.
    Plain(P),
    /// Of a `wss` URL.
    Tls(S),
}

/// TLS over a stream, of an adapter that is built without: there is none.
#[derive(Debug)]
pub struct NoTls<S>(Infallible, PhantomData<S>);

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            MaybeTls::Plain($stream) => $call,
            MaybeTls::Tls($stream) => $call,
        }
    };
}

impl<P: Transport, S: Transport> Transport for MaybeTls<P, S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, slices))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }
}

impl<S: Send + Unpin + 'static> Transport for NoTls<S> {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_write(&mut self, _: &mut Context<'_>, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}
