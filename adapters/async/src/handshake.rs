//! The opening handshake of both sides.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use sansocket::handshake::OwnedRequestHead;
use sansocket::{Acceptance, ClientRequest, Closed, Config, Connection, Event, RecvBuf, Refusal, Rejection};

use crate::driver::{Driver, Shared};
use crate::wakers::Wakers;
use crate::{HandshakeError, Runtime, Transport, WebSocket};

/// Shakes hands as a client, over a stream that is connected already.
///
/// # Errors
/// [`HandshakeError::Refused`] when the server answers with another status than 101, [`HandshakeError::Ended`] when there is no answer in
/// time, or a faulty one.
pub async fn connect_over<T: Transport, R: Runtime>(
    transport: T,
    request: &ClientRequest,
    config: Arc<Config>,
) -> Result<WebSocket<T, R>, HandshakeError> {
    let connection = Connection::client(request, config, seed()?, R::now());
    let shared = Shared::new(connection, transport, RecvBuf::default());
    match drive::<T, R>(&shared).await {
        Step::Open => Ok(WebSocket::start(shared)),
        Step::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
        Step::Closed(closed) => Err(shared.lock().handshake_error(closed)),
        Step::Request(_) => Err(shared.lock().abandon_handshake()),
    }
}

/// Receives a client's request; the caller accepts or rejects it in its own time.
///
/// A faulty request, and one of a forbidden origin, is answered here.
///
/// # Errors
/// [`HandshakeError::Ended`] when there is no request in time, or a faulty one.
pub async fn receive_request<T: Transport, R: Runtime>(
    transport: T,
    config: Arc<Config>,
) -> Result<Incoming<T, R>, HandshakeError> {
    let connection = Connection::server(config, seed()?, R::now());
    let shared = Shared::new(connection, transport, RecvBuf::default());
    match drive::<T, R>(&shared).await {
        Step::Request(request) => Ok(Incoming { shared, request, runtime: PhantomData }),
        Step::Closed(closed) => Err(shared.lock().handshake_error(closed)),
        Step::Open | Step::Refused(_) => Err(shared.lock().abandon_handshake()),
    }
}

/// A client's request that waits for an answer. Dropping it drops the stream.
///
/// The handshake deadline ([`Config::handshake_timeout`]) is not served meanwhile: put a time limit around what the decision waits for.
pub struct Incoming<T: Transport, R: Runtime> {
    shared: Shared<T>,
    request: OwnedRequestHead,
    runtime: PhantomData<fn() -> R>,
}

impl<T: Transport, R: Runtime> Incoming<T, R> {
    /// What the client asks for: path, query, header fields.
    pub fn request(&self) -> &OwnedRequestHead {
        &self.request
    }

    /// Looks at the stream, for the client's address.
    pub fn with_transport<O>(&self, look: impl FnOnce(&T) -> O) -> Option<O> {
        self.shared.lock().transport().map(look)
    }

    /// Accepts the request.
    ///
    /// # Errors
    /// [`HandshakeError::Answer`] for a subprotocol that the client did not offer, who then sees the stream end;
    /// [`HandshakeError::Ended`] when the client has gone.
    pub async fn accept(self, acceptance: &Acceptance) -> Result<WebSocket<T, R>, HandshakeError> {
        let closed = {
            let mut driver = self.shared.lock();
            let now = R::now();
            driver.connection.accept(now, acceptance)?;
            driver.write_out(now);
            driver.closed.clone()
        };
        match closed {
            Some(closed) => Err(self.shared.lock().handshake_error(closed)),
            None => Ok(WebSocket::start(self.shared)),
        }
    }

    /// Rejects the request, and sees the answer out.
    ///
    /// # Errors
    /// [`HandshakeError::Ended`] when the client has gone before it had the answer.
    pub async fn reject(self, rejection: &Rejection) -> Result<(), HandshakeError> {
        self.shared.lock().connection.reject(R::now(), rejection)?;
        match drive::<T, R>(&self.shared).await {
            Step::Closed(closed) if matches!(closed.cause, sansocket::CloseCause::Refused(_)) => Ok(()),
            Step::Closed(closed) => Err(self.shared.lock().handshake_error(closed)),
            Step::Request(_) | Step::Open | Step::Refused(_) => Err(self.shared.lock().abandon_handshake()),
        }
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for Incoming<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Where a handshake has got to.
enum Step {
    Request(OwnedRequestHead),
    Open,
    Refused(Box<Refusal>),
    Closed(Closed),
}

async fn drive<T: Transport, R: Runtime>(shared: &Shared<T>) -> Step {
    let mut sleep: Option<(Instant, Pin<Box<R::Sleep>>)> = None;
    poll_fn(|cx| {
        let mut driver = shared.lock();
        loop {
            let now = R::now();
            if let Some(step) = driver.poll_handshake(now, &shared.wakers, cx) {
                shared.wakers.clear_reader();
                return Poll::Ready(step);
            }
            let Some(at) = driver.connection.poll_timeout() else {
                return Poll::Pending;
            };
            if sleep.as_ref().is_none_or(|(set, _)| *set != at) {
                sleep = Some((at, Box::pin(R::sleep_until(at))));
            }
            if let Some((_, sleep)) = &mut sleep
                && sleep.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            sleep = None;
            driver.connection.handle_timeout(R::now());
        }
    })
    .await
}

impl<T: Transport> Driver<T> {
    fn poll_handshake(&mut self, now: Instant, wakers: &Wakers, cx: &Context<'_>) -> Option<Step> {
        wakers.set_reader(cx);
        loop {
            match self.connection.poll_event(now, &mut self.buf) {
                Some(Event::Request(request)) => return Some(Step::Request(request.to_owned())),
                Some(Event::Open(_)) => return Some(Step::Open),
                Some(Event::Refused(refusal)) => return Some(Step::Refused(refusal)),
                Some(Event::Closed(closed)) => {
                    self.obey();
                    return Some(Step::Closed(closed));
                }
                Some(_) => {}
                None => {
                    if self.poll_stream(now, wakers).is_pending() {
                        self.park();
                        return None;
                    }
                }
            }
        }
    }

    fn handshake_error(&self, closed: Closed) -> HandshakeError {
        HandshakeError::Ended { closed, source: self.failure() }
    }

    /// The connection said what its role never does; there is nothing to go on with.
    fn abandon_handshake(&mut self) -> HandshakeError {
        self.connection.abort();
        self.obey();
        HandshakeError::Seed(std::io::Error::other("the handshake took a turn that does not exist"))
    }
}

fn seed() -> Result<[u8; 32], HandshakeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| HandshakeError::Seed(error.into()))?;
    Ok(seed)
}
