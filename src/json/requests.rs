//! Requests that wait for an answer, and which answer belongs to which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{EncodeError, Envelope, Ids, JsonConfig, MalformedReason, OnLost, Payload};
use crate::message::Message;

/// Names a request. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a message means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonEvent {
    /// A message with a type. With an id, it is a request of the peer's ([`JsonConfig::peer_requests`]), to be answered by
    /// [`EnvelopeFormat::answer`](super::EnvelopeFormat::answer).
    Message(Envelope),
    /// The result of a request: each has exactly one.
    Answer(RequestId, Result<Payload, RequestFailure>),
    /// An answer to a request that has had its result: a second one, or one that came too late.
    Duplicate(RequestId, Envelope),
    /// An id that no request has had.
    Unknown(Envelope),
    /// The peer has received what has a number up to this one. A [`Client`](crate::client::Client) acts on it and reports it as the outcomes of
    /// messages.
    Acknowledged(u64),
    /// The peer has another session than before: what it had received and not acknowledged is sent again, and may be acted on twice. Only a
    /// [`Client`](crate::client::Client) tells.
    PeerRestarted,
    /// No envelope.
    Malformed(Message, MalformedReason),
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFailure {
    /// The peer answered with an error.
    #[error("answered with an error: {0}")]
    Error(Payload),
    /// There was no answer in time. If it had not left by then, it never will, unless it was in the output of the connection already; it is not
    /// sent again on another.
    #[error("no answer in time")]
    TimedOut,
    /// The connection was lost behind it; the peer may have received it.
    #[error("the connection was lost before the answer came")]
    Lost,
    /// It never left: it made room for other messages.
    #[error("dropped to make room for other messages")]
    Overflow,
    /// It never left: it was too old.
    #[error("dropped since it had waited too long to be sent")]
    Expired,
    /// The client ended.
    #[error("the client has ended")]
    Ended,
}

/// Why a request was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RequestRefused {
    /// Too many wait for an answer.
    #[error("{max} requests wait for an answer already")]
    TooMany {
        /// [`JsonConfig::pending_max`].
        max: usize,
    },
    /// The payload cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Tells which answer belongs to which request, and which request has waited too long. It sends nothing itself.
///
/// ```
/// use sansocket::json::{JsonConfig, RequestFailure, Requests};
/// use std::time::{Duration, Instant};
///
/// let mut now = Instant::now();
/// let mut requests = Requests::new(JsonConfig::default());
/// let (id, _message) = requests.request(now, "history", &7, Duration::from_secs(5))?;
///
/// now = requests.poll_timeout().unwrap();
/// requests.handle_timeout(now);
/// assert_eq!(requests.poll_failure(), Some((id, RequestFailure::TimedOut)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Requests {
    config: JsonConfig,
    next_id: u64,
    pending: BTreeMap<RequestId, Pending>,
    /// Of those that are not overdue.
    deadlines: BTreeSet<(Instant, RequestId)>,
    /// They have waited too long, unless an answer comes before the failure is polled.
    overdue: BTreeSet<(Instant, RequestId)>,
    failed: VecDeque<(RequestId, RequestFailure)>,
}

struct Pending {
    deadline: Option<Instant>,
    /// To send it again, if that is wanted.
    message: Option<Message>,
}

impl Requests {
    /// None so far.
    pub fn new(config: JsonConfig) -> Self {
        Self {
            config,
            next_id: 1,
            pending: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            overdue: BTreeSet::new(),
            failed: VecDeque::new(),
        }
    }

    /// Begins a request: the message is to be sent. It fails when there is no answer within `timeout`; less than a millisecond counts as one.
    ///
    /// # Errors
    /// [`RequestRefused`]; nothing has happened then.
    #[expect(clippy::arithmetic_side_effects, reason = "nobody lives to make 2⁶⁴ requests")]
    pub fn request<P: Serialize + ?Sized>(
        &mut self,
        now: Instant,
        kind: &str,
        payload: &P,
        timeout: Duration,
    ) -> Result<(RequestId, Message), RequestRefused> {
        let max = self.config.pending_max;
        if self.pending.len().saturating_add(self.failed.len()) >= max {
            return Err(RequestRefused::TooMany { max });
        }
        let id = RequestId(self.next_id);
        let message = self.config.format.request(kind, &self.config.ids, id.0, payload)?;
        self.next_id += 1;
        let deadline = now.checked_add(timeout.max(Duration::from_millis(1)));
        self.deadlines.extend(deadline.map(|at| (at, id)));
        let to_resend = (self.config.on_lost == OnLost::Resend).then(|| message.clone());
        self.pending.insert(id, Pending { deadline, message: to_resend });
        Ok((id, message))
    }

    /// What a message means. A binary one is malformed.
    pub fn handle_message(&mut self, message: &Message) -> JsonEvent {
        let Message::Text(text) = message else {
            return JsonEvent::Malformed(message.clone(), MalformedReason::Json("it is binary".to_owned()));
        };
        match self.config.format.decode(text) {
            Ok(envelope) => self.handle_envelope(envelope),
            Err(why) => JsonEvent::Malformed(message.clone(), why),
        }
    }

    /// What a message means that has been taken apart.
    pub fn handle_envelope(&mut self, envelope: Envelope) -> JsonEvent {
        let Some(json) = &envelope.id else {
            return match envelope.ack {
                Some(ack) if envelope.kind.is_empty() => JsonEvent::Acknowledged(ack),
                _ => JsonEvent::Message(envelope),
            };
        };
        match self.config.ids.read(json).map(RequestId) {
            Some(id) if self.forget(id) => {
                JsonEvent::Answer(id, envelope.error.map_or(Ok(envelope.payload), |e| Err(RequestFailure::Error(e))))
            }
            Some(id) if (1..self.next_id).contains(&id.0) => JsonEvent::Duplicate(id, envelope),
            _ if self.config.peer_requests && !envelope.kind.is_empty() => JsonEvent::Message(envelope),
            _ => JsonEvent::Unknown(envelope),
        }
    }

    /// The connection is lost, and with it the answers: what becomes of the requests says [`JsonConfig::on_lost`]. Returns what is to be
    /// sent again.
    pub fn handle_lost(&mut self) -> Vec<(RequestId, Message)> {
        self.lose(|_| true)
    }

    /// Notes which requests have waited too long. When everything that arrived has been reported, poll for failures.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            self.overdue.insert((at, id));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// The next request that has failed other than by an answer.
    pub fn poll_failure(&mut self) -> Option<(RequestId, RequestFailure)> {
        while let Some((_, id)) = self.overdue.pop_first() {
            self.fail(id, RequestFailure::TimedOut);
        }
        self.failed.pop_front()
    }

    /// Nobody waits for the answer any more: there is no result. Whether the request was pending.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        self.forget(id)
    }

    /// How many wait for an answer.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// As it was given.
    pub fn config(&self) -> &JsonConfig {
        &self.config
    }

    /// The request has failed, unless it has a result.
    pub(crate) fn fail(&mut self, id: RequestId, why: RequestFailure) {
        if self.forget(id) {
            self.failed.push_back((id, why));
        }
    }

    /// All have failed.
    pub(crate) fn fail_all(&mut self, why: &RequestFailure) {
        while let Some((id, _)) = self.pending.first_key_value() {
            self.fail(*id, why.clone());
        }
    }

    /// The connection is lost, on which these requests were sent.
    pub(crate) fn lose(&mut self, was_sent: impl Fn(RequestId) -> bool) -> Vec<(RequestId, Message)> {
        let of = |(id, pending): (&RequestId, &Pending)| was_sent(*id).then(|| (*id, pending.message.clone()));
        let sent: Vec<_> = self.pending.iter().filter_map(of).collect();
        match self.config.on_lost {
            OnLost::Fail => sent.iter().for_each(|(id, _)| self.fail(*id, RequestFailure::Lost)),
            OnLost::Wait => {}
            OnLost::Resend => return sent.into_iter().filter_map(|(id, message)| Some((id, message?))).collect(),
        }
        Vec::new()
    }

    fn forget(&mut self, id: RequestId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(at) = pending.deadline {
            self.deadlines.remove(&(at, id));
            self.overdue.remove(&(at, id));
        }
        true
    }
}

impl Ids {
    /// The number in an id of ours.
    fn read(&self, json: &Payload) -> Option<u64> {
        let text = json.text();
        let number = match (self, &text) {
            (Self::Number, Some(text)) => text,
            (Self::Number, None) => json.as_str(),
            (Self::Text(prefix), Some(text)) => text.strip_prefix(&**prefix)?,
            (Self::Text(_), None) => return None,
        };
        // As we write it: no sign, no zero in front.
        let is_ours = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        number.parse().ok().filter(|_| is_ours)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}
