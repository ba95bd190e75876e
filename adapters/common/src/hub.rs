//! The core of a client and what its handles have to do with it. It neither waits nor wakes: an adapter puts it under a lock, and looks after each
//! turn at what has [changed](Hub::take_changes).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use sansocket::client::{Client, ClientEvent, ClientState, End, Order, Outcome, Rejected, Token};
use sansocket::{CloseCode, Message, RecvBuf, SendError};

use crate::client::Missed;

/// A client, what has arrived for its handles, and what they wait for.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    /// Whether anybody can receive; what arrives is discarded otherwise.
    receives: bool,
    inbox: VecDeque<Message>,
    /// What the inbox costs, at least, in bytes.
    inbox_len: usize,
    /// Whether the inbox was full and has not been emptied since.
    is_held: bool,
    feeds: BTreeMap<u64, Feed>,
    next_feed: u64,
    /// Messages whose outcome somebody wants to know.
    receipts: BTreeMap<Token, Option<Outcome>>,
    /// As everybody knows.
    state: ClientState,
    end: Option<End>,
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
        Self {
            state: client.state(),
            client,
            receives: true,
            inbox: VecDeque::new(),
            inbox_len: 0,
            is_held: false,
            feeds: BTreeMap::new(),
            next_feed: 0,
            receipts: BTreeMap::new(),
            end: None,
            changes: Changes::default(),
        }
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
    pub fn decode(&mut self, now: Instant, input: &mut RecvBuf) {
        loop {
            let event = if self.is_held() {
                self.client.poll_control_event(now, input)
            } else {
                self.client.poll_event(now, input)
            };
            match event {
                Some(event) => self.happened(event),
                None => return,
            }
        }
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
        self.changes.driver |= sent.is_ok();
        sent
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
        let Some(message) = self.inbox.pop_front() else {
            return if self.end.is_some() { Polled::Ended } else { Polled::Nothing };
        };
        self.inbox_len -= cost(&message);
        // Not at each message, or every one of a flood would take a turn of its own.
        self.changes.driver |= self.is_held && self.inbox.is_empty();
        Polled::Ready(message)
    }

    /// Nobody receives any more: what arrives is discarded.
    pub fn stop_receiving(&mut self) {
        self.receives = false;
        (self.inbox, self.inbox_len) = (VecDeque::new(), 0);
        self.changes.driver |= self.is_held;
    }

    /// Whether messages stay with the peer for now.
    pub fn is_held(&mut self) -> bool {
        let is_full = self.inbox.len() >= INBOX_MESSAGES_MAX || self.inbox_len >= INBOX_LEN_MAX;
        self.is_held = is_full || self.is_held && !self.inbox.is_empty();
        self.is_held
    }

    /// Somebody wants the events from now on.
    pub fn subscribe(&mut self) -> u64 {
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
            ClientEvent::Outcome(token, outcome) => {
                self.changes.room = true;
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
        if !self.receives || self.is_held() && self.client.state() >= ClientState::Closing {
            return;
        }
        self.inbox_len += cost(&message);
        self.inbox.push_back(message);
        self.changes.messages = true;
    }

    fn feed(&mut self, event: &ClientEvent) {
        for feed in self.feeds.values_mut() {
            if feed.events.len() >= EVENTS_MAX {
                feed.events.pop_front();
                feed.missed += 1;
            }
            feed.events.push_back(event.clone());
            self.changes.events = true;
        }
    }
}

/// What time it is, since 1970-01-01T00:00:00Z. Nothing, if the clock says that it is earlier.
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What a message costs that is kept, so that empty ones are not free.
fn cost(message: &Message) -> usize {
    message.as_bytes().len() + size_of::<Message>()
}

/// How many messages wait to be received; when they do, the peer is not read until all have been.
///
/// 256: enough for a receiver to be busy until more have come.
pub const INBOX_MESSAGES_MAX: usize = 256;
/// How many bytes of them, with what holds them; the last message may go beyond.
///
/// 256 KiB: about as much as a stream has under way.
pub const INBOX_LEN_MAX: usize = 256 * 1024;
/// How many events wait for one of those who want them; the oldest make room, and are counted.
///
/// 256: a day of a network that fails every ten minutes.
pub const EVENTS_MAX: usize = 256;
/// How long messages may still leave once all handles are gone.
///
/// 10 s: as long as it may take to connect.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
