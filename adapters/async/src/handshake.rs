//! The opening handshake of both sides.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use sansocket::handshake::OwnedRequestHead;
use sansocket::{
    Acceptance, ClientRequest, CloseCause, Closed, Config, Connection, Event, RecvBuf, Refusal, Rejection,
};

use crate::driver::{Driver, Shared};
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
    loop {
        match drive::<T, R>(&shared).await {
            Step::Open => return Ok(WebSocket::start(shared)),
            Step::Refused(refusal) => return Err(HandshakeError::Refused(refusal)),
            Step::Closed(closed) => return Err(ended(&shared, closed)),
            Step::Request(_) => {} // Only a server gets one.
        }
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
    loop {
        match drive::<T, R>(&shared).await {
            Step::Request(request) => return Ok(Incoming { shared, request, runtime: PhantomData }),
            Step::Closed(closed) => return Err(ended(&shared, closed)),
            Step::Open | Step::Refused(_) => {} // Only a client is told so.
        }
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
        self.shared.look(|driver| driver.transport().map(look))
    }

    /// Accepts the request. If the client has gone meanwhile, receiving tells.
    ///
    /// # Errors
    /// [`HandshakeError::Answer`] for a subprotocol that the client did not offer, who then sees the stream end.
    pub async fn accept(self, acceptance: &Acceptance) -> Result<WebSocket<T, R>, HandshakeError> {
        self.shared.turn(|driver| {
            let now = R::now();
            driver.connection.accept(now, acceptance)?;
            driver.write_out(now);
            Ok::<_, HandshakeError>(())
        })?;
        Ok(WebSocket::start(self.shared))
    }

    /// Rejects the request, and sees the answer out.
    ///
    /// # Errors
    /// [`HandshakeError::Ended`] when the client has gone before it had the answer.
    pub async fn reject(self, rejection: &Rejection) -> Result<(), HandshakeError> {
        self.shared.turn(|driver| driver.connection.reject(R::now(), rejection))?;
        loop {
            match drive::<T, R>(&self.shared).await {
                Step::Closed(closed) if matches!(closed.cause, CloseCause::Refused(_)) => return Ok(()),
                Step::Closed(closed) => return Err(ended(&self.shared, closed)),
                Step::Request(_) | Step::Open | Step::Refused(_) => {}
            }
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
        loop {
            let (step, deadline) = shared.turn(|driver| {
                let step = driver.poll_handshake(R::now(), cx);
                (step, driver.connection.poll_timeout())
            });
            if step.is_ready() {
                return step;
            }
            let Some(at) = deadline else {
                return Poll::Pending;
            };
            if sleep.as_ref().is_none_or(|(set, _)| *set != at) {
                sleep = Some((at, Box::pin(R::sleep_until(at))));
            }
            if let Some((_, sleep)) = &mut sleep {
                ready!(sleep.as_mut().poll(cx));
            }
            sleep = None;
            shared.turn(|driver| driver.connection.handle_timeout(R::now()));
        }
    })
    .await
}

impl<T: Transport> Driver<T> {
    fn poll_handshake(&mut self, now: Instant, cx: &Context<'_>) -> Poll<Step> {
        let mut rounds = 0;
        loop {
            return Poll::Ready(match self.connection.poll_event(now, &mut self.buf) {
                Some(Event::Request(request)) => Step::Request(request.to_owned()),
                Some(Event::Open(_)) => Step::Open,
                Some(Event::Refused(refusal)) => Step::Refused(refusal),
                Some(Event::Closed(closed)) => Step::Closed(closed),
                Some(_) => continue,
                None => {
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                    continue;
                }
            });
        }
    }
}

fn ended<T: Transport>(shared: &Shared<T>, closed: Closed) -> HandshakeError {
    HandshakeError::Ended { closed, source: shared.look(Driver::failure) }
}

fn seed() -> Result<[u8; 32], HandshakeError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| HandshakeError::Seed(error.into()))?;
    Ok(seed)
}
