//! Messages with a type and requests, joined to the queue: a request fails when its message is dropped, and its message is not sent any more
//! when the request has its result.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Client, State};
use crate::client::queue::Finished;
use crate::client::{ClientConfig, ClientEvent, Delivery, DropReason, Outcome, Rejected, Token};
use crate::connection::Keystream;
use crate::json::{
    Deduplicator, EncodeError, Envelope, EnvelopeFormat, JsonEvent, Payload, RequestFailure, RequestId, RequestRefused,
    Requests,
};
use crate::message::Message;

/// What a client with [`ClientConfig::json`](crate::client::ClientConfig::json) knows besides.
pub(super) struct Typed {
    requests: Requests,
    /// The messages of pending requests, and since when they wait.
    messages: BTreeMap<RequestId, (Token, Instant)>,
    /// With [`EnvelopeFormat::acks`].
    acks: Option<Acks>,
}

/// Acknowledged delivery.
struct Acks {
    session: String,
    /// The peer's session, as far as it is known.
    peer: Option<String>,
    received: Deduplicator,
    /// The number that the peer is to be told.
    due: Option<u64>,
}

/// Why a message or a request was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The queue did not take it.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// Its payload cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Too many requests wait for an answer.
    #[error("{max} requests wait for an answer already")]
    TooMany {
        /// [`JsonConfig::pending_max`](crate::json::JsonConfig::pending_max).
        max: usize,
    },
    /// The client speaks no JSON: [`ClientConfig::json`](crate::client::ClientConfig::json) is not set.
    #[error("the client is not configured to speak JSON")]
    NotConfigured,
}

/// With [`ClientConfig::json`](crate::client::ClientConfig::json) (feature `json`).
impl Client {
    /// Accepts a message with a type, as [`send`](Self::send) does. With [`EnvelopeFormat::acks`] it has a number, and its outcome is that it was
    /// acknowledged.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn send_typed<P: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        kind: &str,
        payload: &P,
    ) -> Result<Token, NotSent> {
        let typed = self.typed.as_ref().ok_or(NotSent::NotConfigured)?;
        let format = &typed.requests.config().format;
        let message = match &typed.acks {
            Some(acks) => format.numbered(kind, payload, self.queue.next_token().0, &acks.session)?,
            None => format.message(kind, payload)?,
        };
        Ok(self.send(now, message)?)
    }

    /// Accepts a request. It waits in the queue as messages do, and has exactly one result,
    /// [`JsonEvent::Answer`], within `timeout` from now; its message has no [`Outcome`] besides. It is sent
    /// again on the next connection until it has left, with [`Delivery::AtLeastOnce`] until a pong confirms it, with [`Delivery::Acknowledged`] until
    /// its answer comes; and if the connection is lost behind that, [`JsonConfig::on_lost`](crate::json::JsonConfig::on_lost) says what becomes of it.
    ///
    /// ```
    /// use sansocket::client::{Client, ClientConfig, ClientOptions};
    /// use sansocket::json::JsonConfig;
    /// use std::time::{Duration, Instant};
    ///
    /// let now = Instant::now();
    /// let mut config = ClientConfig::default();
    /// config.json = Some(JsonConfig::default());
    /// let mut client = Client::new(ClientOptions::new("ws://example.com/")?, config, [7; 32], now);
    /// client.send_typed(now, "join", "room 7")?;
    /// let id = client.request(now, "history", &7, Duration::from_secs(5))?;
    /// // … and the loop, until there is `ClientEvent::Json(JsonEvent::Answer(id, result))`.
    /// # let _ = id;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn request<P: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        kind: &str,
        payload: &P,
        timeout: Duration,
    ) -> Result<RequestId, NotSent> {
        let typed = self.typed.as_mut().ok_or(NotSent::NotConfigured)?;
        let (id, message) = typed.requests.request(now, kind, payload, timeout)?;
        match self.accept(now, message, NonZeroU64::new(id.0)) {
            Ok(token) => {
                if let Some(typed) = &mut self.typed {
                    typed.messages.insert(id, (token, now));
                }
                Ok(id)
            }
            Err(rejected) => {
                if let Some(typed) = &mut self.typed {
                    typed.requests.cancel(id);
                }
                Err(rejected.into())
            }
        }
    }

    /// Accepts an answer to a request of the peer's, see [`JsonConfig::peer_requests`](crate::json::JsonConfig::peer_requests).
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer<P: Serialize + ?Sized>(&mut self, now: Instant, id: &Payload, payload: &P) -> Result<Token, NotSent> {
        let message = self.format()?.answer(id, payload)?;
        Ok(self.send(now, message)?)
    }

    /// Accepts the answer that a request of the peer's has failed.
    ///
    /// # Errors
    /// [`NotSent`]; nothing has happened then.
    pub fn answer_error<E: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        id: &Payload,
        error: &E,
    ) -> Result<Token, NotSent> {
        let message = self.format()?.error_answer(id, error)?;
        Ok(self.send(now, message)?)
    }

    /// Nobody waits for the answer any more: the request has no result. If its message has not left, it never will, unless it is in the output of
    /// the connection already; it is not sent again on another. Whether the request was pending.
    pub fn cancel_request(&mut self, now: Instant, id: RequestId) -> bool {
        let was_pending = self.typed.as_mut().is_some_and(|typed| typed.requests.cancel(id));
        self.request_done(now, id);
        was_pending
    }

    /// How many requests wait for an answer.
    pub fn pending_requests(&self) -> usize {
        self.typed.as_ref().map_or(0, |typed| typed.requests.pending_len())
    }

    /// A message arrived that is neither an answer to credentials nor to a beat.
    pub(super) fn received_json(&mut self, now: Instant, message: &Message) {
        let Some(typed) = &mut self.typed else { return };
        let event = match (message, typed.requests.config().format.acks.is_some()) {
            (Message::Text(text), true) => match typed.requests.config().format.decode(text) {
                Ok(envelope) => return self.received_envelope(now, envelope),
                Err(why) => JsonEvent::Malformed(message.clone(), why),
            },
            _ => typed.requests.handle_message(message),
        };
        self.received_event(now, event);
    }

    /// One that may have a number, or acknowledge one of ours.
    fn received_envelope(&mut self, now: Instant, envelope: Envelope) {
        let Some(Typed { requests, acks: Some(acks), .. }) = &mut self.typed else { return };
        if let Some(session) = envelope.session.as_deref()
            && acks.peer.as_deref() != Some(session)
            && acks.peer.replace(session.to_owned()).is_some()
        {
            self.events.push_back(ClientEvent::Json(JsonEvent::PeerRestarted));
        }
        if let Some(ack) = envelope.ack {
            self.queue.confirm(Token(ack));
        }
        let is_new = envelope.seq.is_none_or(|seq| {
            let session = envelope.session.as_deref().unwrap_or_default();
            let is_new = acks.received.accept(session, seq);
            acks.due = acks.received.highest(session);
            is_new
        });
        if is_new {
            match requests.handle_envelope(envelope) {
                JsonEvent::Acknowledged(_) => {}
                event => self.received_event(now, event),
            }
        }
        self.drain(now);
    }

    /// Tells the peer what has arrived, when everything that did has been handed out.
    pub(super) fn send_ack(&mut self, now: Instant) {
        let (Some(Typed { requests, acks: Some(acks), .. }), State::Linked(link)) = (&mut self.typed, &mut self.state)
        else {
            return;
        };
        if let Some(due) = acks.due
            && link.is_ready
            && let Ok(message) = requests.config().format.ack(due, &acks.session)
            && link.connection.send(now, &message).is_ok()
        {
            acks.due = None;
        }
    }

    fn received_event(&mut self, now: Instant, event: JsonEvent) {
        let Some(typed) = &mut self.typed else { return };
        if let JsonEvent::Answer(id, _) = &event {
            // Whoever answers has received it, and all before it.
            if self.queue.delivery() != Delivery::AtMostOnce
                && let Some((token, _)) = typed.messages.get(id)
            {
                self.queue.confirm(*token);
            }
            self.request_done(now, *id);
        }
        self.events.push_back(ClientEvent::Json(event));
    }

    /// The queue is done with the message of a request.
    pub(super) fn request_left(&mut self, finished: &Finished) {
        let (Some(typed), Some(id)) = (&mut self.typed, finished.request) else { return };
        let failure = match finished.outcome {
            Outcome::Written | Outcome::Confirmed => return,
            Outcome::Unconfirmed => RequestFailure::Lost,
            Outcome::Dropped(DropReason::Overflow) => RequestFailure::Overflow,
            Outcome::Dropped(DropReason::Expired) => RequestFailure::Expired,
            Outcome::Dropped(DropReason::Ended) => RequestFailure::Ended,
        };
        typed.requests.fail(RequestId(id.get()), failure);
    }

    /// The connection is lost: what becomes of requests that the queue is done with; how many are sent again.
    pub(super) fn requests_lost(&mut self) -> u64 {
        let Some(typed) = &mut self.typed else { return 0 };
        let (queue, messages) = (&mut self.queue, &typed.messages);
        let again = typed.requests.lose(|id| messages.get(&id).is_some_and(|(token, _)| !queue.contains(*token)));
        let count = again.len() as u64;
        for (id, message) in again.into_iter().rev() {
            if let Some((token, since)) = messages.get(&id) {
                queue.restore(*token, message, *since, NonZeroU64::new(id.0));
            }
        }
        count
    }

    /// The next request that has failed.
    pub(super) fn poll_request_failure(&mut self, now: Instant) -> Option<ClientEvent> {
        let (id, why) = self.typed.as_mut()?.requests.poll_failure()?;
        self.request_done(now, id);
        Some(ClientEvent::Json(JsonEvent::Answer(id, Err(why))))
    }

    /// A request has its result: its message need not leave any more.
    fn request_done(&mut self, now: Instant, id: RequestId) {
        if let Some(typed) = &mut self.typed
            && let Some((token, _)) = typed.messages.remove(&id)
        {
            self.queue.cancel(token);
            self.drain(now);
        }
    }

    fn format(&self) -> Result<&EnvelopeFormat, NotSent> {
        let typed = self.typed.as_ref().ok_or(NotSent::NotConfigured)?;
        Ok(&typed.requests.config().format)
    }
}

impl Typed {
    pub(super) fn new(mut config: ClientConfig, keystream: &mut Keystream) -> (ClientConfig, Option<Self>) {
        let Some(json) = config.json.clone() else { return (config, None) };
        let acks = json.format.acks.is_some().then(|| {
            config.queue.delivery = Delivery::Acknowledged;
            let session = format!("{:016x}", u64::from_le_bytes(keystream.take()));
            Acks { session, peer: None, received: Deduplicator::new(1), due: None }
        });
        (config, Some(Self { requests: Requests::new(json), messages: BTreeMap::new(), acks }))
    }

    /// The connection is lost: on the next, what is not acknowledged comes again.
    pub(super) fn link_lost(&mut self) {
        if let Some(acks) = &mut self.acks {
            acks.due = None;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.requests.handle_timeout(now);
    }

    pub(super) fn end(&mut self) {
        self.requests.fail_all(&RequestFailure::Ended);
    }
}

impl From<RequestRefused> for NotSent {
    fn from(refused: RequestRefused) -> Self {
        match refused {
            RequestRefused::TooMany { max } => Self::TooMany { max },
            RequestRefused::Encode(error) => Self::Encode(error),
        }
    }
}
