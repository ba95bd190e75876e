//! The core of a client and what its handles have to do with it. It neither waits nor wakes: an adapter puts it under a lock, and looks after each
//! turn at what has [changed](Hub::take_changes).

mod arrivals;
#[cfg(feature = "json")]
mod typed;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use sansocket::client::{Client, ClientEvent, ClientState, End, Order, Outcome, RejectReason, Rejected, Token};
use sansocket::{CloseCode, Message, RecvBuf, SendError};

use crate::client::Missed;
use arrivals::Arrivals;
pub use arrivals::{INBOX_LEN_MAX, INBOX_MESSAGES_MAX};
#[cfg(feature = "json")]
pub use typed::encode;

/// A client, what has arrived for its handles, and what they wait for.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    /// Whether anybody can receive; what arrives is discarded otherwise.
    receives: bool,
    inbox: Arrivals<Message>,
    #[cfg(feature = "json")]
    typed: typed::Typed,
    feeds: BTreeMap<u64, Feed>,
    next_feed: u64,
    /// Of what has happened since the beginning, for the first who wants to know.
    first_feed: Option<u64>,
    /// Messages whose outcome somebody wants to know.
    receipts: BTreeMap<Token, Option<Outcome>>,
    /// As everybody knows.
    state: ClientState,
    end: Option<End>,
    /// Whether a message was refused for want of room since the queue was last looked after.
    refused: bool,
    changes: Changes,
}

/// Events for one of those who want them.
#[derive(Debug, Default)]
struct Feed {
    events: VecDeque<ClientEvent>,
    missed: u64,
}

/// What has changed since the last look: who is to be woken.
#[derive(Debug, Default)]
pub struct Changes {
    /// There are messages, or the end.
    pub messages: bool,
    /// There may be room in the queue.
    pub room: bool,
    /// There are events.
    pub events: bool,
    /// The state is another, or the client has ended.
    pub state: bool,
    /// These messages have an outcome.
    pub outcomes: Vec<Token>,
    /// These requests have their result.
    #[cfg(feature = "json")]
    pub answers: Vec<sansocket::json::RequestId>,
    /// Whoever drives the client has something to do.
    pub driver: bool,
}

/// What is there for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled<T> {
    /// This.
    Ready(T),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Ended,
}

impl Hub {
    /// Of a client that has just been made.
    pub fn new(client: Client) -> Self {
        let mut hub = Self {
            state: client.state(),
            client,
            receives: true,
            inbox: Arrivals::default(),
            #[cfg(feature = "json")]
            typed: typed::Typed::default(),
            feeds: BTreeMap::new(),
            next_feed: 0,
            first_feed: None,
            receipts: BTreeMap::new(),
            end: None,
            refused: false,
            changes: Changes::default(),
        };
        hub.first_feed = Some(hub.add_feed());
        hub
    }

    /// The client, to look at.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client, for whoever drives it.
    pub fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What has changed. To be asked at the end of each turn.
    pub fn take_changes(&mut self) -> Changes {
        let state = self.client.state();
        if std::mem::replace(&mut self.state, state) != state {
            self.changes.state = true;
            self.changes.room |= state >= ClientState::Closing;
        }
        std::mem::take(&mut self.changes)
    }

    /// Whoever drives the client has this turn, and need not be told what it changed.
    pub fn driver_knows(&mut self) {
        self.changes.driver = false;
    }

    /// How the client ended, once it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What is to be done with the transport.
    pub fn poll_order(&mut self, now: Instant) -> Option<Order> {
        self.client.poll_order(now)
    }

    /// Takes in all that has arrived and happened. When the inbox is full, messages stay where they are.
    ///
    /// Whether it is not done, and goes on in the next call, once others had their turn.
    pub fn decode(&mut self, now: Instant, input: &mut RecvBuf) -> bool {
        let is_inflating = loop {
            let event = if self.is_held() {
                self.client.poll_control_event(now, input)
            } else {
                self.client.poll_event(now, input)
            };
            match event {
                #[cfg(feature = "deflate")]
                Some(ClientEvent::Inflating) => break true,
                Some(event) => self.happened(event),
                None => break false,
            }
        };
        // Not only messages with an outcome make room, and of a request's nothing is told.
        self.changes.room |= std::mem::take(&mut self.refused);
        is_inflating
    }

    /// Whoever drives the client is gone, and nobody will any more.
    pub fn cut_off(&mut self, now: Instant) {
        self.client.abort(now);
        self.decode(now, &mut RecvBuf::default());
    }

    /// See [`Client::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&mut self, now: Instant, message: Message) -> Result<Token, Rejected> {
        let sent = self.client.send(now, message);
        match &sent {
            Ok(_) => self.changes.driver = true,
            Err(rejected) => self.rejected(rejected),
        }
        sent
    }

    fn rejected(&mut self, rejected: &Rejected) {
        self.refused |= matches!(rejected.reason, RejectReason::Full { .. });
    }

    /// Keeps the outcome of a message that has just been accepted, until it is [taken](Self::take_outcome) or [forgotten](Self::forget).
    pub fn track(&mut self, token: Token) {
        self.receipts.insert(token, None);
    }

    /// The outcome of a message that is tracked, once.
    pub fn take_outcome(&mut self, token: Token) -> Option<Outcome> {
        let outcome = (*self.receipts.get(&token)?)?;
        self.receipts.remove(&token);
        Some(outcome)
    }

    /// Nobody wants to know any more what becomes of it.
    pub fn forget(&mut self, token: Token) {
        self.receipts.remove(&token);
    }

    /// See [`Client::acknowledge`].
    pub fn acknowledge(&mut self, now: Instant, token: Token) {
        self.client.acknowledge(now, token);
        self.changes.driver = true;
    }

    /// See [`Client::reauthenticate`].
    pub fn reauthenticate(&mut self, now: Instant, credentials: Message) {
        self.client.reauthenticate(now, credentials);
        self.changes.driver = true;
    }

    /// See [`Client::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(
        &mut self,
        now: Instant,
        code: CloseCode,
        reason: &str,
        drain_timeout: Duration,
    ) -> Result<(), SendError> {
        self.changes.driver = true;
        self.client.close(now, code, reason, drain_timeout)
    }

    /// See [`Client::abort`].
    pub fn abort(&mut self, now: Instant) {
        self.client.abort(now);
        self.changes.driver = true;
    }

    /// All handles are gone: closes with 1001 once the queue has drained, within [`DRAIN_TIMEOUT`].
    pub fn abandon(&mut self, now: Instant) {
        // A code and a reason that may be sent.
        let _ = self.close(now, CloseCode::GOING_AWAY, "", DRAIN_TIMEOUT);
    }

    /// The next message.
    pub fn take_message(&mut self) -> Polled<Message> {
        let next = self.inbox.pop(&mut self.changes);
        self.or_end(next)
    }

    fn or_end<T>(&self, next: Option<T>) -> Polled<T> {
        match next {
            Some(next) => Polled::Ready(next),
            None if self.end.is_some() => Polled::Ended,
            None => Polled::Nothing,
        }
    }

    /// Nobody receives any more: what arrives is discarded.
    pub fn stop_receiving(&mut self) {
        self.receives = false;
        self.inbox = Arrivals::default();
        self.changes.driver = true;
    }

    /// Whether messages stay with the peer for now.
    pub fn is_held(&self) -> bool {
        #[cfg(feature = "json")]
        if self.typed.is_held() {
            return true;
        }
        self.inbox.is_held()
    }

    /// Somebody wants the events: the first gets all since the beginning, others those from now on.
    pub fn subscribe(&mut self) -> u64 {
        self.first_feed.take().unwrap_or_else(|| self.add_feed())
    }

    fn add_feed(&mut self) -> u64 {
        self.next_feed += 1;
        self.feeds.insert(self.next_feed, Feed::default());
        self.next_feed
    }

    /// And not any more.
    pub fn unsubscribe(&mut self, feed: u64) {
        self.feeds.remove(&feed);
    }

    /// The next event.
    pub fn take_event(&mut self, feed: u64) -> Polled<Result<ClientEvent, Missed>> {
        let Some(feed) = self.feeds.get_mut(&feed) else { return Polled::Ended };
        if feed.missed > 0 {
            return Polled::Ready(Err(Missed(std::mem::take(&mut feed.missed))));
        }
        match feed.events.pop_front() {
            Some(event) => Polled::Ready(Ok(event)),
            None if self.end.is_some() => Polled::Ended,
            None => Polled::Nothing,
        }
    }

    /// The state, if it is not the one that was `seen`; the end is reached when that has been seen.
    pub fn state_after(&self, seen: Option<ClientState>) -> Polled<ClientState> {
        let state = self.client.state();
        match seen {
            Some(seen) if seen != state => Polled::Ready(state),
            None => Polled::Ready(state),
            Some(ClientState::Closed) => Polled::Ended,
            Some(_) => Polled::Nothing,
        }
    }

    fn happened(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Message(message) => self.arrived(message),
            #[cfg(feature = "json")]
            ClientEvent::Json(event) => self.arrived_typed(event),
            ClientEvent::Outcome(token, outcome) => {
                if let Some(receipt) = self.receipts.get_mut(&token) {
                    *receipt = Some(outcome);
                    self.changes.outcomes.push(token);
                }
                if matches!(outcome, Outcome::Dropped(_) | Outcome::Unconfirmed) {
                    self.feed(&event);
                }
            }
            ClientEvent::Ended(ref end) => {
                self.end = Some(end.clone());
                (self.changes.messages, self.changes.room, self.changes.state) = (true, true, true);
                self.feed(&event);
                self.changes.events = true;
            }
            event => self.feed(&event),
        }
    }

    fn arrived(&mut self, message: Message) {
        // A client that closes is past slowing its peer down.
        if !self.receives || self.inbox.is_held() && self.client.state() >= ClientState::Closing {
            return;
        }
        let len = message.as_bytes().len();
        self.inbox.push(message, len);
        self.changes.messages = true;
    }

    fn feed(&mut self, event: &ClientEvent) {
        for (key, feed) in &mut self.feeds {
            // What the peer says is not kept for somebody who may never come.
            if self.first_feed == Some(*key) && is_said(event) {
                continue;
            }
            if feed.events.len() >= EVENTS_MAX {
                feed.events.pop_front();
                feed.missed += 1;
            }
            feed.events.push_back(event.clone());
            self.changes.events = true;
        }
    }
}

/// Whether an event is as large as the peer likes.
fn is_said(event: &ClientEvent) -> bool {
    #[cfg(feature = "json")]
    return matches!(event, ClientEvent::Json(_));
    #[cfg(not(feature = "json"))]
    {
        let _ = event;
        false
    }
}

/// What time it is, since 1970-01-01T00:00:00Z. Nothing, if the clock says that it is earlier.
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// How many events wait for one of those who want them; the oldest make room, and are counted.
///
/// 256: a day of a network that fails every ten minutes.
pub const EVENTS_MAX: usize = 256;
/// How long messages may still leave once all handles are gone.
///
/// 10 s: as long as it may take to connect.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use sansocket::client::{ClientConfig, ClientOptions, ConnectFailure, ConnectFailureKind, DropReason};
    use sansocket::{Acceptance, Config, Connection, Event};

    /// A hub whose client is connected to a server, and what arrives from there.
    struct Rig {
        hub: Hub,
        server: Connection,
        server_input: RecvBuf,
        input: RecvBuf,
        now: Instant,
    }

    impl Rig {
        fn new(change: impl FnOnce(&mut ClientConfig)) -> Self {
            let mut config = ClientConfig::default();
            change(&mut config);
            let now = Instant::now();
            let client = Client::new(ClientOptions::new("ws://localhost/").unwrap(), config, [7; 32], now);
            let mut hub = Hub::new(client);
            assert!(matches!(hub.poll_order(now), Some(Order::Connect(_))));
            hub.client_mut().handle_connected(now);
            let server = Connection::server(Config::default(), [9; 32], now);
            let mut rig = Self { hub, server, server_input: RecvBuf::new(), input: RecvBuf::new(), now };
            rig.exchange();
            assert_eq!(rig.hub.client().state(), ClientState::Open);
            rig
        }

        fn exchange(&mut self) {
            let now = self.now;
            for _ in 0..4 {
                self.hub.decode(now, &mut self.input);
                let out = self.hub.client().outgoing().to_vec();
                self.server_input.extend_from_slice(&out);
                self.hub.client_mut().advance_outgoing(now, out.len());
                while let Some(event) = self.server.poll_event(now, &mut self.server_input) {
                    if let Event::Request(_) = event {
                        self.server.accept(now, &Acceptance::new()).unwrap();
                    }
                }
                self.input.extend_from_slice(self.server.outgoing());
                self.server.advance_outgoing(now, self.server.outgoing().len());
            }
        }

        fn serve(&mut self, messages: usize, len: usize) {
            for _ in 0..messages {
                self.server.send_binary(self.now, &vec![7; len]).unwrap();
                self.exchange();
            }
        }
    }

    #[test]
    fn messages_stay_with_the_peer_while_the_inbox_is_full() {
        for (messages, is_held) in [(INBOX_MESSAGES_MAX - 1, false), (INBOX_MESSAGES_MAX, true)] {
            let mut rig = Rig::new(|_| ());
            rig.serve(messages, 1);
            assert_eq!((rig.hub.inbox.len(), rig.hub.is_held()), (messages, is_held), "{messages}");
            rig.serve(1, 1);
            assert_eq!(rig.hub.inbox.len(), INBOX_MESSAGES_MAX);
            assert_eq!(rig.hub.client().wants_read(), !is_held);
        }
    }

    #[test]
    fn so_they_do_when_it_holds_enough_bytes() {
        let len = INBOX_LEN_MAX - size_of::<Message>();
        for (len, is_held) in [(len - 1, false), (len, true), (len + 1, true)] {
            let mut rig = Rig::new(|_| ());
            rig.serve(1, len);
            assert_eq!(rig.hub.is_held(), is_held, "{len}");
        }
    }

    #[test]
    fn the_peer_is_read_again_when_all_have_been_received() {
        let mut rig = Rig::new(|_| ());
        rig.serve(INBOX_MESSAGES_MAX + 1, 1);
        for left in (0..INBOX_MESSAGES_MAX).rev() {
            rig.hub.take_changes();
            assert!(matches!(rig.hub.take_message(), Polled::Ready(_)));
            assert_eq!(rig.hub.take_changes().driver, left == 0);
            assert_eq!(rig.hub.is_held(), left > 0);
        }
        assert_eq!(rig.hub.take_message(), Polled::Nothing);
        rig.exchange();
        assert!(rig.hub.take_changes().messages && rig.hub.client().wants_read());
        assert!(matches!(rig.hub.take_message(), Polled::Ready(_)));
    }

    #[test]
    fn without_a_receiver_messages_are_discarded() {
        let mut rig = Rig::new(|_| ());
        rig.serve(INBOX_MESSAGES_MAX, 1);
        rig.hub.stop_receiving();
        rig.serve(INBOX_MESSAGES_MAX, 1);
        assert!(rig.hub.inbox.len() == 0 && rig.hub.client().wants_read());
    }

    #[test]
    fn a_client_that_closes_keeps_what_the_inbox_holds_and_no_more() {
        let mut rig = Rig::new(|_| ());
        rig.serve(INBOX_MESSAGES_MAX - 1, 1);
        rig.hub.close(rig.now, CloseCode::NORMAL, "", Duration::from_secs(1)).unwrap();
        for _ in 0..3 {
            rig.server.send_binary(rig.now, &[7]).unwrap();
        }
        rig.exchange();
        assert_eq!(rig.hub.inbox.len(), INBOX_MESSAGES_MAX);
    }

    #[test]
    fn whoever_does_not_read_events_misses_the_oldest_and_is_told_how_many() {
        for (events, missed) in [(EVENTS_MAX - 1, 0), (EVENTS_MAX, 0), (EVENTS_MAX + 1, 1), (EVENTS_MAX + 100, 100)] {
            let mut rig = Rig::new(|_| ());
            rig.hub.subscribe(); // Is told of the beginning, too.
            let feed = rig.hub.subscribe();
            (0..events).for_each(|_| rig.hub.happened(ClientEvent::Drained));
            if missed > 0 {
                assert_eq!(rig.hub.take_event(feed), Polled::Ready(Err(Missed(missed))));
            }
            let kept = std::iter::from_fn(|| match rig.hub.take_event(feed) {
                Polled::Ready(event) => Some(event.unwrap()),
                Polled::Nothing | Polled::Ended => None,
            });
            assert_eq!(kept.count(), events.min(EVENTS_MAX));
        }
    }

    #[test]
    fn an_outcome_is_kept_for_whoever_asked_and_nobody_else() {
        let mut rig = Rig::new(|_| ());
        let [first, second, third] = ["1", "2", "3"].map(|text| rig.hub.send(rig.now, text.into()).unwrap());
        rig.hub.track(first);
        rig.hub.track(second);
        rig.hub.forget(second);
        assert_eq!(rig.hub.take_outcome(first), None);
        rig.hub.take_changes();
        rig.exchange();
        assert_eq!(rig.hub.take_changes().outcomes, [first]);
        assert_eq!(rig.hub.take_outcome(first), Some(Outcome::Written));
        for token in [first, second, third] {
            assert_eq!(rig.hub.take_outcome(token), None);
        }
        assert!(rig.hub.receipts.is_empty());
    }

    #[test]
    fn when_the_driver_is_gone_everybody_is_told() {
        let mut rig = Rig::new(|_| ());
        let token = rig.hub.send(rig.now, "1".into()).unwrap();
        rig.hub.track(token);
        let feed = rig.hub.subscribe();
        rig.hub.cut_off(rig.now);
        let changes = rig.hub.take_changes();
        assert!(changes.messages && changes.room && changes.state && changes.events);
        assert_eq!(rig.hub.take_outcome(token), Some(Outcome::Dropped(DropReason::Ended)));
        assert_eq!(rig.hub.take_message(), Polled::Ended);
        assert_eq!(rig.hub.end(), Some(&End::Aborted));
        assert_eq!(rig.hub.state_after(Some(ClientState::Open)), Polled::Ready(ClientState::Closed));
        assert_eq!(rig.hub.state_after(Some(ClientState::Closed)), Polled::Ended);
        while let Polled::Ready(event) = rig.hub.take_event(feed) {
            event.unwrap();
        }
        assert_eq!(rig.hub.take_event(feed), Polled::Ended);
    }

    #[test]
    fn the_first_who_asks_is_told_from_the_beginning_and_others_from_now_on() {
        let mut now = Instant::now();
        let options = ClientOptions::new("ws://localhost/").unwrap();
        let mut hub = Hub::new(Client::new(options, ClientConfig::default(), [7; 32], now));
        let mut fail = |hub: &mut Hub| {
            assert!(matches!(hub.poll_order(now), Some(Order::Connect(_))));
            let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: "refused".into() };
            hub.client_mut().handle_connect_failed(now, failure);
            hub.decode(now, &mut RecvBuf::default());
            now = hub.client().poll_timeout().unwrap();
            hub.client_mut().handle_timeout(now);
        };
        let count = |hub: &mut Hub, feed| {
            std::iter::from_fn(|| match hub.take_event(feed) {
                Polled::Ready(event) => Some(event.unwrap()),
                Polled::Nothing | Polled::Ended => None,
            })
            .count()
        };
        fail(&mut hub);
        let (first, second) = (hub.subscribe(), hub.subscribe());
        assert_eq!((count(&mut hub, first), count(&mut hub, second)), (2, 0), "failed, and about to reconnect");
        fail(&mut hub);
        assert_eq!((count(&mut hub, first), count(&mut hub, second)), (2, 2));
    }
}
