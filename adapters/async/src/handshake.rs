//! The opening handshake of both sides.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use sansocket::handshake::OwnedRequestHead;
use sansocket::{Acceptance, CloseCause, Closed, Config, Connection, Event, RecvBuf, Refusal, Rejection};
use sansocket_common::{AcceptError, ConnectError, seed};

use crate::driver::{Driver, Shared};
use crate::{Runtime, Transport, WebSocket};

/// Sees a client's handshake through.
pub(crate) async fn complete<T: Transport, R: Runtime>(
    connection: Connection,
    transport: T,
    received: RecvBuf,
) -> Result<WebSocket<T, R>, ConnectError> {
    let shared = Shared::new(connection, transport, received);
    loop {
        match drive::<T, R>(&shared).await {
            Step::Open => return Ok(WebSocket::start(shared)),
            Step::Refused(refusal) => return Err(ConnectError::Refused(refusal)),
            Step::Closed(closed) => {
                return Err(ConnectError::Handshake { closed, source: shared.look(Driver::failure) });
            }
            Step::Request(_) => {} // Only a server gets one.
        }
    }
}

/// Receives a client's request; the caller accepts or rejects it in its own time.
///
/// A faulty request, and one of a forbidden origin, is answered here.
///
/// # Errors
/// [`AcceptError::Handshake`] when there is no request in time, or a faulty one; [`AcceptError::Seed`].
pub(crate) async fn receive_request<T: Transport, R: Runtime>(
    transport: T,
    config: Arc<Config>,
) -> Result<Incoming<T, R>, AcceptError> {
    let connection = Connection::server(config, seed().map_err(AcceptError::Seed)?, R::now());
    let shared = Shared::new(connection, transport, RecvBuf::default());
    loop {
        match drive::<T, R>(&shared).await {
            Step::Request(request) => return Ok(Incoming { shared, request, runtime: PhantomData }),
            Step::Closed(closed) => return Err(failed(&shared, closed)),
            Step::Open | Step::Refused(_) => {} // Only a client is told so.
        }
    }
}

/// A client's request that waits for an answer. Dropping it drops the stream.
///
/// The handshake deadline ([`Config::handshake_timeout`]) runs on, but nothing happens meanwhile: [`accept`](Self::accept) tells when it has passed.
/// Put a time limit around what the decision waits for, so that the client is answered in time.
pub struct Incoming<T: Transport, R: Runtime> {
    shared: Arc<Shared<T>>,
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
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// [`AcceptError::Answer`] for a subprotocol that the client did not offer, who then sees the stream end;
    /// [`AcceptError::Handshake`] when the handshake deadline has passed: the client is told 503 instead.
    pub async fn accept(self, acceptance: &Acceptance) -> Result<WebSocket<T, R>, AcceptError> {
        let is_in_time = self.shared.turn(|driver| {
            let now = R::now();
            if driver.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
                driver.connection.handle_timeout(now);
                return Ok(false);
            }
            driver.connection.accept(now, acceptance)?;
            driver.write_out(now);
            Ok::<_, AcceptError>(true)
        })?;
        if is_in_time {
            return Ok(WebSocket::start(self.shared));
        }
        loop {
            if let Step::Closed(closed) = drive::<T, R>(&self.shared).await {
                return Err(failed(&self.shared, closed));
            }
        }
    }

    /// Rejects the request, and sees the answer out.
    ///
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// [`AcceptError::Handshake`] when the client has gone before it had the answer.
    pub async fn reject(self, rejection: &Rejection) -> Result<(), AcceptError> {
        self.shared.turn(|driver| driver.connection.reject(R::now(), rejection))?;
        loop {
            match drive::<T, R>(&self.shared).await {
                Step::Closed(closed) if matches!(closed.cause, CloseCause::Refused(_)) => return Ok(()),
                Step::Closed(closed) => return Err(failed(&self.shared, closed)),
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
            return Poll::Ready(match self.connection.poll_event(now, self.buf.get()) {
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

fn failed<T: Transport>(shared: &Shared<T>, closed: Closed) -> AcceptError {
    AcceptError::Handshake { closed, source: shared.look(Driver::failure) }
}
