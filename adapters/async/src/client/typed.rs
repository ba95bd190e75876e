//! Messages with a type, and requests (feature `json`).

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use sansocket::client::{RejectReason, Rejected, Token};
use sansocket::json::{Envelope, Payload, RequestId};
use sansocket_common::client::{NotSent, RequestError};
use sansocket_common::hub::encode;
use serde::Serialize;

use super::shared::{For, Place, Shared, wait_for};
use super::{Client, Lease};
use crate::Runtime;

/// With [`ClientConfig::json`](sansocket::client::ClientConfig::json) (feature `json`).
///
/// Texts that arrive are taken apart then. Those with a type go to who [subscribed](Self::subscribe) to it, answers to who made the request;
/// what nobody waits for, and what is malformed, is told by the [events](Self::events). Binary messages go to the [`Inbox`](super::Inbox) as ever.
/// Answers come behind what has arrived before them: they wait as long as that is not received.
impl<R: Runtime> Client<R> {
    /// Sends a message with a type: waits until there is room in the queue, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub async fn send_typed<P: Serialize + ?Sized>(&self, kind: &str, payload: &P) -> Result<Token, NotSent> {
        let payload = encode(payload)?;
        wait_for(&self.lease.shared, For::Room, |hub| match hub.send_typed(R::now(), kind, &payload) {
            Err(NotSent::Rejected(Rejected { reason: RejectReason::Full { .. }, .. })) => Poll::Pending,
            sent => Poll::Ready(sent),
        })
        .await
    }

    /// Sends a request, and waits for the answer, for `timeout` at most. Dropped before it is ready, it gives the request up; if that has not left by then,
    /// it never will.
    ///
    /// # Errors
    /// [`RequestError::NotSent`] when it was not accepted, as when the queue is full; [`RequestError::Failed`] when the peer answered with an error, or
    /// not in time, or when the connection was lost and the configuration does not carry requests over.
    pub async fn request<P: Serialize + ?Sized>(
        &self,
        kind: &str,
        payload: &P,
        timeout: Duration,
    ) -> Result<Payload, RequestError> {
        let payload = encode(payload)?;
        let shared = &*self.lease.shared;
        let id = shared.turn(|hub| hub.request(R::now(), kind, &payload, timeout))?;
        let mut pending =
            Pending::<R> { place: Place::for_answer(shared, id.0), id, runtime: std::marker::PhantomData };
        let place = &mut pending.place;
        let answer = poll_fn(|cx| place.poll(cx, |hub| hub.take_answer(id).map_or(Poll::Pending, Poll::Ready))).await;
        Ok(answer?)
    }

    /// Answers a request of the peer's, by its id ([`Envelope::id`]); see
    /// [`JsonConfig::peer_requests`](sansocket::json::JsonConfig::peer_requests). Never waits.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer<P: Serialize + ?Sized>(&self, id: &Payload, payload: &P) -> Result<Token, NotSent> {
        let payload = encode(payload)?;
        self.lease.shared.turn(|hub| hub.answer(R::now(), id, &payload))
    }

    /// Answers a request of the peer's with an error. Never waits.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer_error<E: Serialize + ?Sized>(&self, id: &Payload, error: &E) -> Result<Token, NotSent> {
        let error = encode(error)?;
        self.lease.shared.turn(|hub| hub.answer_error(R::now(), id, &error))
    }

    /// Receives the messages of a type from now on, until the subscription is dropped. Each of several subscriptions to one type gets all of them.
    pub fn subscribe(&self, kind: &str) -> Subscription<R> {
        Subscription::new(Arc::clone(&self.lease), Some(kind))
    }

    /// Receives the messages of all types that nobody is subscribed to when they arrive.
    pub fn subscribe_to_others(&self) -> Subscription<R> {
        Subscription::new(Arc::clone(&self.lease), None)
    }
}

/// A request that waits for its answer.
struct Pending<'a, R: Runtime> {
    place: Place<&'a Shared>,
    id: RequestId,
    runtime: std::marker::PhantomData<fn() -> R>,
}

impl<R: Runtime> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        self.place.shared().turn(|hub| hub.give_up_request(R::now(), self.id));
    }
}

/// Messages of a type, or of all that nobody else wants.
///
/// It keeps the client from closing, and slows the peer down, as an [`Inbox`](super::Inbox) does, with the same limits: so receive, or drop it.
pub struct Subscription<R: Runtime> {
    // Before the lease, which would close the client.
    place: Place<Arc<Shared>>,
    id: u64,
    _lease: Arc<Lease<R>>,
}

impl<R: Runtime> Subscription<R> {
    fn new(lease: Arc<Lease<R>>, kind: Option<&str>) -> Self {
        let id = lease.shared.turn(|hub| hub.subscribe_to(kind));
        Self { place: Place::new(Arc::clone(&lease.shared), For::Messages), id, _lease: lease }
    }

    /// Receives the next message; `None` when the client has ended.
    pub async fn recv(&mut self) -> Option<Envelope> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Envelope>> {
        let id = self.id;
        self.place.poll_next(cx, |hub| hub.take_envelope(id))
    }
}

impl<R: Runtime> Stream for Subscription<R> {
    type Item = Envelope;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Envelope>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<R: Runtime> Drop for Subscription<R> {
    fn drop(&mut self) {
        self.place.shared().turn(|hub| hub.unsubscribe_from(self.id));
    }
}

impl<R: Runtime> fmt::Debug for Subscription<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.id).finish()
    }
}
