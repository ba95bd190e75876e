//! What a simulated client asks, and the application behind all simulated servers, which answers and acknowledges.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use sansocket::ByteString;
use sansocket::client::{Client, NotSent};
use sansocket::json::{
    AckFields, Deduplicator, EnvelopeFormat, Ids, JsonConfig, JsonEvent, OnLost, RequestFailure, RequestId,
};

use super::{MS, Rng};

pub(crate) struct JsonPeer {
    format: EnvelopeFormat,
    pub(crate) has_acks: bool,
    pending_max: usize,
    on_lost: OnLost,

    /// The client's side: until when there must be a result, and what came.
    asked: BTreeMap<RequestId, Instant>,
    results: BTreeMap<RequestId, Result<(), RequestFailure>>,
    /// By the server's session.
    pushes_got: Vec<(u64, u64)>,

    /// The server's side. A new session begins when it restarts.
    pub(crate) session: u64,
    deduplicator: Deduplicator,
    outbox: VecDeque<(u64, String)>,
    acknowledged: Vec<(u64, u64)>,
    next_push: u64,
    /// How often each request came.
    requests_got: BTreeMap<String, u32>,
    rng: Rng,
}

impl JsonPeer {
    pub(crate) fn new(rng: &mut Rng) -> (Self, JsonConfig) {
        let mut config = JsonConfig::default();
        config.pending_max = [1, 5, 100][rng.below(3)];
        config.on_lost = [OnLost::Fail, OnLost::Wait, OnLost::Resend][rng.below(3)];
        config.ids = [Ids::Number, Ids::Text("c".into())][rng.below(2)].clone();
        let has_acks = rng.once_in(2);
        config.format.acks = has_acks.then(AckFields::default);
        let peer = Self {
            format: config.format.clone(),
            has_acks,
            pending_max: config.pending_max,
            on_lost: config.on_lost,
            asked: BTreeMap::new(),
            results: BTreeMap::new(),
            pushes_got: Vec::new(),
            session: 0,
            deduplicator: Deduplicator::new(1),
            outbox: VecDeque::new(),
            acknowledged: Vec::new(),
            next_push: 1,
            requests_got: BTreeMap::new(),
            rng: Rng::new(rng.next()),
        };
        (peer, config)
    }

    pub(crate) fn ask(&mut self, client: &mut Client, now: Instant) {
        let timeout = MS * self.rng.below(60_000) as u32;
        let number = self.asked.len();
        match client.request(now, "ask", &number, timeout) {
            Ok(id) => drop(self.asked.insert(id, now + timeout.max(MS))),
            Err(NotSent::TooMany { max }) => {
                assert_eq!(max, self.pending_max);
                assert!(client.pending_requests() <= max);
            }
            Err(NotSent::Rejected(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert!(client.pending_requests() <= self.pending_max);
    }

    pub(crate) fn event(&mut self, now: Instant, event: JsonEvent) {
        match event {
            JsonEvent::Answer(id, result) => {
                let deadline = self.asked[&id];
                assert!(now <= deadline, "a result {:?} too late", now - deadline);
                let result = result.map(|payload| {
                    let answered: String = payload.parse().unwrap();
                    assert!(self.requests_got.contains_key(&answered));
                });
                assert!(result != Err(RequestFailure::TimedOut) || now == deadline, "{result:?} too early");
                assert_eq!(self.results.insert(id, result), None, "a second result");
            }
            JsonEvent::Duplicate(id, _) => assert!(self.results.contains_key(&id)),
            JsonEvent::Message(envelope) => {
                let session = envelope.session.map_or(self.session, |session| session.parse().unwrap());
                self.pushes_got.push((session, envelope.payload.parse().unwrap()));
            }
            JsonEvent::PeerRestarted => assert!(self.session > 0),
            other => panic!("{other:?}"),
        }
    }

    /// It has forgotten everything.
    pub(crate) fn restart(&mut self) {
        self.session += 1;
        self.deduplicator = Deduplicator::new(1);
        self.outbox.clear();
        self.next_push = 1;
    }

    /// What the server says on a new connection: what was not acknowledged on the one before.
    pub(crate) fn ready(&mut self) -> Vec<String> {
        self.outbox.iter().map(|(_, text)| text.clone()).collect()
    }

    /// What the server says to a message; the numbers that it acts on go to `received`.
    pub(crate) fn handle(&mut self, text: &str, received: &mut Vec<u64>) -> Vec<String> {
        let envelope = self.format.decode(&ByteString::from(text)).unwrap();
        let mut replies = Vec::new();
        if let Some(ack) = envelope.ack {
            let session = self.session;
            while self.outbox.front().is_some_and(|(seq, _)| *seq <= ack) {
                self.acknowledged.extend(self.outbox.pop_front().map(|(seq, _)| (session, seq)));
            }
            return replies;
        }
        if let Some(id) = &envelope.id {
            *self.requests_got.entry(id.to_string()).or_default() += 1;
            let answer = self.format.answer(id, id.as_str()).unwrap();
            if !self.rng.once_in(5) {
                replies.push(answer.as_text().unwrap().to_owned());
            }
            if self.rng.once_in(5) {
                replies.push(answer.as_text().unwrap().to_owned());
            }
            return replies;
        }
        let is_new = match envelope.seq {
            Some(seq) => {
                let is_new = self.deduplicator.accept(envelope.session.as_deref().unwrap(), seq);
                replies.push(self.say(|format, session| format.ack(seq, session).unwrap()));
                is_new
            }
            None => true,
        };
        if is_new {
            let text: String = envelope.payload.parse().unwrap();
            received.push(text.split(' ').next().unwrap().parse().unwrap());
            if self.rng.once_in(3) {
                let seq = self.next_push;
                self.next_push += 1;
                let push = self.say(|format, session| format.numbered("push", &seq, seq, session).unwrap());
                if self.has_acks {
                    self.outbox.push_back((seq, push.clone()));
                }
                replies.push(push);
            }
        }
        replies
    }

    fn say(&self, make: impl FnOnce(&EnvelopeFormat, &str) -> sansocket::Message) -> String {
        make(&self.format, &self.session.to_string()).as_text().unwrap().to_owned()
    }

    /// At the end. The queue may send things twice, and may drop what it has sent once already.
    pub(crate) fn judge(&self, may_double: bool, may_drop: bool) {
        assert_eq!(self.asked.keys().collect::<Vec<_>>(), self.results.keys().collect::<Vec<_>>(), "one result each");
        if self.on_lost != OnLost::Resend && !may_double {
            assert!(self.requests_got.values().all(|count| *count == 1), "{:?}", self.requests_got);
        }
        if self.on_lost != OnLost::Fail && !may_drop {
            assert!(self.results.values().all(|result| *result != Err(RequestFailure::Lost)), "{:?}", self.results);
        }
        if self.has_acks {
            let mut sorted = self.pushes_got.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(self.pushes_got, sorted, "each once, in order");
            let got = |push| self.pushes_got.binary_search(push).is_ok();
            assert!(self.acknowledged.iter().all(got), "what is acknowledged has been handed out");
        }
    }
}
