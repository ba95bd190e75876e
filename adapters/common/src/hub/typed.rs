//! Messages with a type, for those who subscribed to it; and requests (feature `json`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sansocket::client::{ClientEvent, ClientState, NotSent, Token};
use sansocket::json::{Envelope, JsonEvent, Payload, RequestFailure, RequestId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::arrivals::Arrivals;
use super::{Hub, Polled};

#[derive(Debug, Default)]
pub(super) struct Typed {
    subscriptions: BTreeMap<u64, Subscription>,
    next_subscription: u64,
    /// Requests whose result somebody waits for.
    answers: BTreeMap<RequestId, Option<Result<Payload, RequestFailure>>>,
}

#[derive(Debug)]
struct Subscription {
    /// `None` for what nobody else wants.
    kind: Option<String>,
    arrivals: Arrivals<Envelope>,
}

impl Typed {
    pub(super) fn is_held(&self) -> bool {
        self.subscriptions.values().any(|subscription| subscription.arrivals.is_held())
    }
}

/// JSON that is written already, so that no code of the application's runs under a lock.
///
/// # Errors
/// [`NotSent::Encode`].
pub fn encode<P: Serialize + ?Sized>(payload: &P) -> Result<Box<RawValue>, NotSent> {
    serde_json::value::to_raw_value(payload).map_err(|error| NotSent::Encode(error.into()))
}

impl Hub {
    /// See [`Client::send_typed`](sansocket::client::Client::send_typed).
    ///
    /// # Errors
    /// As there.
    pub fn send_typed(&mut self, now: Instant, kind: &str, payload: &RawValue) -> Result<Token, NotSent> {
        let sent = self.client.send_typed(now, kind, payload);
        self.queued(sent)
    }

    /// See [`Client::answer`](sansocket::client::Client::answer).
    ///
    /// # Errors
    /// As there.
    pub fn answer(&mut self, now: Instant, id: &Payload, payload: &RawValue) -> Result<Token, NotSent> {
        let sent = self.client.answer(now, id, payload);
        self.queued(sent)
    }

    /// See [`Client::answer_error`](sansocket::client::Client::answer_error).
    ///
    /// # Errors
    /// As there.
    pub fn answer_error(&mut self, now: Instant, id: &Payload, error: &RawValue) -> Result<Token, NotSent> {
        let sent = self.client.answer_error(now, id, error);
        self.queued(sent)
    }

    fn queued(&mut self, sent: Result<Token, NotSent>) -> Result<Token, NotSent> {
        match &sent {
            Ok(_) => self.changes.driver = true,
            Err(NotSent::Rejected(rejected)) => self.rejected(rejected),
            Err(_) => {}
        }
        sent
    }

    /// Begins a request whose result is kept until it is [taken](Self::take_answer) or [given up](Self::give_up_request).
    ///
    /// # Errors
    /// As [`Client::request`](sansocket::client::Client::request).
    pub fn request(
        &mut self,
        now: Instant,
        kind: &str,
        payload: &RawValue,
        timeout: Duration,
    ) -> Result<RequestId, NotSent> {
        let id = self.client.request(now, kind, payload, timeout)?;
        self.typed.answers.insert(id, None);
        self.changes.driver = true;
        Ok(id)
    }

    /// The result of a request, once.
    pub fn take_answer(&mut self, id: RequestId) -> Option<Result<Payload, RequestFailure>> {
        let answer = self.typed.answers.get_mut(&id)?.take()?;
        self.typed.answers.remove(&id);
        Some(answer)
    }

    /// Nobody waits for the answer any more. If the request has not left, it never will.
    pub fn give_up_request(&mut self, now: Instant, id: RequestId) {
        if let Some(None) = self.typed.answers.remove(&id) {
            self.client.cancel_request(now, id);
            self.changes.driver = true;
        }
    }

    /// Somebody receives messages of a type from now on, or with `None` those of types that nobody else does.
    pub fn subscribe_to(&mut self, kind: Option<&str>) -> u64 {
        self.typed.next_subscription += 1;
        let subscription = Subscription { kind: kind.map(str::to_owned), arrivals: Arrivals::default() };
        self.typed.subscriptions.insert(self.typed.next_subscription, subscription);
        self.typed.next_subscription
    }

    /// And not any more.
    pub fn unsubscribe_from(&mut self, subscription: u64) {
        self.typed.subscriptions.remove(&subscription);
        self.changes.driver = true;
    }

    /// The next message of a subscription.
    pub fn take_envelope(&mut self, subscription: u64) -> Polled<Envelope> {
        let subscription = self.typed.subscriptions.get_mut(&subscription);
        let next = subscription.and_then(|subscription| subscription.arrivals.pop(&mut self.changes));
        self.or_end(next)
    }

    pub(super) fn arrived_typed(&mut self, event: JsonEvent) {
        match event {
            JsonEvent::Answer(id, result) => {
                if let Some(answer) = self.typed.answers.get_mut(&id) {
                    *answer = Some(result);
                    self.changes.answers.push(id);
                }
            }
            JsonEvent::Message(envelope) => {
                if !self.deliver(&envelope) {
                    self.feed(&ClientEvent::Json(JsonEvent::Message(envelope)));
                }
            }
            event => self.feed(&ClientEvent::Json(event)),
        }
    }

    /// Whether anybody wants it.
    fn deliver(&mut self, envelope: &Envelope) -> bool {
        let is_closing = self.client.state() >= ClientState::Closing;
        let is_wanted = |subscription: &Subscription| subscription.kind.as_deref() == Some(&*envelope.kind);
        let kind = self.typed.subscriptions.values().any(is_wanted).then_some(&*envelope.kind);
        let len = envelope.kind.len() + envelope.payload.as_str().len();
        let mut is_taken = false;
        for subscription in self.typed.subscriptions.values_mut().filter(|it| it.kind.as_deref() == kind) {
            is_taken = true;
            // A client that closes is past slowing its peer down.
            if !(is_closing && subscription.arrivals.is_held()) {
                subscription.arrivals.push(envelope.clone(), len);
                self.changes.messages = true;
            }
        }
        is_taken
    }
}
