//! Messages with a type, and requests (feature `json`).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::client::{RejectReason, Rejected, Token};
use sansocket::json::{Envelope, Payload};
use sansocket_common::client::{NotSent, RequestError};
use sansocket_common::hub::encode;
use serde::Serialize;

use super::shared::answer;
use super::{Client, Lease};

/// With [`ClientConfig::json`](sansocket::client::ClientConfig::json) (feature `json`).
///
/// Texts that arrive are taken apart then. Those with a type go to who [subscribed](Self::subscribe) to it, answers to who made the request;
/// what nobody waits for, and what is malformed, is told by the [events](Self::events). Binary messages go to the [`Inbox`](super::Inbox) as ever.
/// Answers come behind what has arrived before them: they wait as long as that is not received.
impl Client {
    /// Sends a message with a type: waits until there is room in the queue, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn send_typed<P: Serialize + ?Sized>(&self, kind: &str, payload: &P) -> Result<Token, NotSent> {
        let payload = encode(payload)?;
        self.lease.shared.wait(|hub| match hub.send_typed(Instant::now(), kind, &payload) {
            Err(NotSent::Rejected(Rejected { reason: RejectReason::Full { .. }, .. })) => None,
            sent => Some(sent),
        })
    }

    /// Sends a request, and waits for the answer, for `timeout` at most.
    ///
    /// # Errors
    /// [`RequestError::NotSent`] when it was not accepted, as when the queue is full; [`RequestError::Failed`] when the peer answered with an error, or
    /// not in time, or when the connection was lost and the configuration does not carry requests over.
    pub fn request<P: Serialize + ?Sized>(
        &self,
        kind: &str,
        payload: &P,
        timeout: Duration,
    ) -> Result<Payload, RequestError> {
        let payload = encode(payload)?;
        let shared = &self.lease.shared;
        let id = shared.turn(|core| core.hub.request(Instant::now(), kind, &payload, timeout))?;
        Ok(shared.wait(|hub| hub.take_answer(id))?)
    }

    /// Answers a request of the peer's, by its id ([`Envelope::id`]); see
    /// [`JsonConfig::peer_requests`](sansocket::json::JsonConfig::peer_requests). Never waits.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer<P: Serialize + ?Sized>(&self, id: &Payload, payload: &P) -> Result<Token, NotSent> {
        let payload = encode(payload)?;
        self.lease.shared.turn(|core| core.hub.answer(Instant::now(), id, &payload))
    }

    /// Answers a request of the peer's with an error. Never waits.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer_error<E: Serialize + ?Sized>(&self, id: &Payload, error: &E) -> Result<Token, NotSent> {
        let error = encode(error)?;
        self.lease.shared.turn(|core| core.hub.answer_error(Instant::now(), id, &error))
    }

    /// Receives the messages of a type from now on, until the subscription is dropped. Each of several subscriptions to one type gets all of them.
    pub fn subscribe(&self, kind: &str) -> Subscription {
        Subscription::new(Arc::clone(&self.lease), Some(kind))
    }

    /// Receives the messages of all types that nobody is subscribed to when they arrive.
    pub fn subscribe_to_others(&self) -> Subscription {
        Subscription::new(Arc::clone(&self.lease), None)
    }
}

/// Messages of a type, or of all that nobody else wants. It is an iterator, too.
///
/// It keeps the client from closing, and slows the peer down, as an [`Inbox`](super::Inbox) does, with the same limits: so receive, or drop it.
pub struct Subscription {
    lease: Arc<Lease>,
    id: u64,
}

impl Subscription {
    fn new(lease: Arc<Lease>, kind: Option<&str>) -> Self {
        let id = lease.shared.turn(|core| core.hub.subscribe_to(kind));
        Self { lease, id }
    }

    /// Waits for the next message; `None` when the client has ended.
    pub fn recv(&mut self) -> Option<Envelope> {
        self.lease.shared.wait(|hub| answer(hub.take_envelope(self.id)))
    }

    /// The same for so long at most; `None` when nothing came by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Option<Envelope>> {
        self.lease.shared.wait_until(Instant::now().checked_add(timeout), |hub| answer(hub.take_envelope(self.id)))
    }
}

impl Iterator for Subscription {
    type Item = Envelope;

    fn next(&mut self) -> Option<Envelope> {
        self.recv()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.lease.shared.turn(|core| core.hub.unsubscribe_from(self.id));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.id).finish()
    }
}
