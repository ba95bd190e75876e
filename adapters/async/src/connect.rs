//! The client's way in.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use sansocket::client::Attempt;
use sansocket::{ClientOptions, ClientRequest, Connection, RecvBuf};
use sansocket_common::{ConnectError, Tls, TlsError, follow, seed};

use crate::handshake::complete;
use crate::{Dial, MaybeTls, Runtime, WebSocket, Wrap, prelude};

/// A client's request and how to connect with it; serves any number of attempts.
pub struct Connector<R> {
    pub(crate) options: ClientOptions,
    tls: Tls,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Connector<R> {
    sansocket_common::connector_methods!();

    /// Shakes hands over a stream that is connected already, whatever it runs over: a Unix socket, TLS of another library, a tunnel.
    ///
    /// The host of the URL is what the server is told. Proxies, redirects and TLS are the caller's then.
    ///
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// [`ConnectError::Refused`] when the server answers with another status than 101, [`ConnectError::Handshake`] when there is no answer in
    /// time, or a faulty one; [`ConnectError::Seed`].
    pub async fn handshake<S>(&self, stream: S) -> Result<WebSocket<R::Transport, R>, ConnectError>
    where
        R: Wrap<S>,
    {
        let connection = connection::<R>(&self.options.attempt())?;
        complete(connection, R::wrap(stream), RecvBuf::default()).await
    }
}

/// What a client that connects by itself has to do with.
pub(crate) type ClientStream<R> = MaybeTls<<R as Wrap<<R as Dial>::Tcp>>::Transport, <R as Dial>::Tls>;

impl<R: Dial> Connector<R> {
    /// Connects to the server of the URL: by way of a proxy if one was named, with TLS if it is a `wss` URL, and on to where the
    /// server redirects if that is allowed.
    ///
    /// The addresses of a host are tried in turn: the next one when one has failed, or beside it when it has not answered for 250 ms.
    ///
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// [`ConnectError`], which says what to do.
    pub async fn connect(&self) -> Result<WebSocket<ClientStream<R>, R>, ConnectError> {
        let mut attempt = self.options.attempt();
        loop {
            let (stream, received) = self.reach(&attempt).await?;
            match complete(connection::<R>(&attempt)?, stream, received).await {
                Err(ConnectError::Refused(refusal)) => follow(&mut attempt, refusal)?,
                done => return done,
            }
        }
    }

    /// A stream to the server, and what it has said already.
    async fn reach(&self, attempt: &Attempt) -> Result<(ClientStream<R>, RecvBuf), ConnectError> {
        let timeout = self.options.time_to_connect();
        let reached = within::<R, _>(timeout, self.go(attempt)).await;
        reached.unwrap_or_else(|| Err(ConnectError::timed_out(attempt, timeout.unwrap_or_default())))
    }

    pub(crate) async fn go(&self, attempt: &Attempt) -> Result<(ClientStream<R>, RecvBuf), ConnectError> {
        let mut received = RecvBuf::default();
        let (host, port) = attempt.address()?;
        let addresses = resolve::<R>(host, port).await?;
        let dialled = dial::<R>(&addresses).await;
        let mut tcp = R::wrap(dialled.map_err(|source| ConnectError::Io { host: host.into(), port, source })?);
        if let Some(prelude) = attempt.prelude(R::now())? {
            prelude::complete::<_, R>(&mut tcp, prelude, &mut received)
                .await
                .map_err(|source| ConnectError::Proxy { host: host.into(), port, source })?;
        }
        let Some(host) = attempt.tls_host() else {
            return Ok((MaybeTls::Plain(tcp), received));
        };
        let secured =
            if received.is_empty() { R::secure(tcp, host, &self.tls).await } else { Err(TlsError::spoke_first()) };
        let port = attempt.request().url().port();
        let tls = secured.map_err(|source| ConnectError::Tls { host: host.into(), port, source })?;
        Ok((MaybeTls::Tls(tls), received))
    }
}

async fn resolve<R: Dial>(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    let resolved = R::resolve(host, port).await.and_then(|addresses| match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    });
    resolved.map_err(|source| ConnectError::Resolve { host: host.into(), source })
}

/// An address that has not answered yet.
type Dialling<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Connects to the address that answers first. The next one is tried when one has failed, or when the last has been silent for [`STAGGER`]: so
/// none that never answers hides the others. RFC 8305 section 5.
async fn dial<R: Dial>(addresses: &[SocketAddr]) -> io::Result<R::Tcp> {
    let mut untried = addresses.iter();
    let mut under_way: Vec<Dialling<R::Tcp>> = Vec::new();
    let mut patience: Option<Pin<Box<R::Sleep>>> = None;
    let mut failure = None;
    poll_fn(|cx| {
        loop {
            let count = under_way.len();
            let mut i = 0;
            while let Some(attempt) = under_way.get_mut(i) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => i += 1,
                    Poll::Ready(Ok(tcp)) => return Poll::Ready(Ok(tcp)),
                    Poll::Ready(Err(error)) => {
                        failure = Some(error);
                        drop(under_way.remove(i));
                    }
                }
            }
            let has_failed = under_way.len() < count;
            if !has_failed && patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_pending()) {
                return Poll::Pending;
            }
            patience = None;
            if let Some(address) = untried.next() {
                under_way.push(Box::pin(R::dial(*address)));
                patience = R::now().checked_add(STAGGER).map(|at| Box::pin(R::sleep_until(at)));
            } else if under_way.is_empty() {
                return Poll::Ready(Err(failure.take().unwrap_or_else(|| io::ErrorKind::NotFound.into())));
            } else {
                return Poll::Pending;
            }
        }
    })
    .await
}

fn connection<R: Runtime>(attempt: &Attempt) -> Result<Connection, ConnectError> {
    Ok(attempt.connection(seed().map_err(ConnectError::Seed)?, R::now()))
}

/// What `work` comes to, unless it takes longer.
async fn within<R: Runtime, O>(timeout: Option<Duration>, work: impl Future<Output = O>) -> Option<O> {
    let deadline: Option<Instant> = timeout.and_then(|timeout| R::now().checked_add(timeout));
    let mut work = pin!(work);
    let mut sleep = pin!(deadline.map(R::sleep_until));
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(cx).map(|_| None),
            None => Poll::Pending,
        }
    })
    .await
}

impl<R> From<ClientOptions> for Connector<R> {
    fn from(options: ClientOptions) -> Self {
        Self { options, tls: Tls::default(), runtime: PhantomData }
    }
}

impl<R> From<ClientRequest> for Connector<R> {
    fn from(request: ClientRequest) -> Self {
        ClientOptions::from(request).into()
    }
}

impl<R> Clone for Connector<R> {
    fn clone(&self) -> Self {
        Self { options: self.options.clone(), tls: self.tls.clone(), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for Connector<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("options", &self.options).finish_non_exhaustive()
    }
}

/// How long an address may be silent before the next one is tried beside it.
///
/// 250 ms: what RFC 8305 section 5 recommends.
const STAGGER: Duration = Duration::from_millis(250);
