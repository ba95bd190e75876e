//! A client, a server and the network between them in virtual time, seeded: connects that are refused, slow or never answered, servers that die
//! in the handshake, before the credentials are answered and in the middle of a frame, links that are cut, half-open or stalled.
//!
//! `SANSOCKET_SEED` replays a failure, `SANSOCKET_SEEDS` says how many to run.

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

#[cfg(feature = "json")]
use sansocket::client::NotSent;
use sansocket::client::{
    Auth, AuthAnswer, Cause, Client, ClientConfig, ClientEvent, ClientState, ConnectFailure, ConnectFailureKind,
    Delivery, DropReason, End, Order, Outcome, Overflow, Prepared, RejectReason, Rejected, Token,
};
use sansocket::connection::CONTROL_ROOM;
use sansocket::{
    Acceptance, ClientOptions, CloseCause, CloseCode, Config, Connection, Event, RecvBuf, Rejection, StreamOrder,
};
#[cfg(feature = "json")]
use support::json_peer::JsonPeer;
use support::{MS, Rng, SEC, for_each_seed, number_from_environment};

/// What happens on the way from end to end: everything accepted has one outcome, what is promised of it holds, and the client is back in time.
#[test]
fn whatever_the_network_does_each_message_has_one_outcome_and_the_client_comes_back() {
    let seeds = number_from_environment("SANSOCKET_SEEDS");
    for_each_seed(seeds.unwrap_or(400), |seed| World::new(seed).run());
}

/// The same with messages that have a type, with requests, and half of the time with acknowledgements: each request has one result, in time, and
/// each message is acted on once as long as neither end forgets.
#[cfg(feature = "json")]
#[test]
fn whatever_the_network_does_each_request_has_one_result_and_each_message_is_acted_on_once() {
    let seeds = number_from_environment("SANSOCKET_SEEDS");
    for_each_seed(seeds.unwrap_or(400), |seed| World::with_json(seed).run());
}

#[test]
fn the_same_seed_gives_the_same_story() {
    let story = |seed| {
        let mut world = World::new(seed);
        world.run();
        (world.now - world.start, world.received.clone(), world.outcomes.clone(), world.links_made)
    };
    for seed in 1000..1010 {
        assert_eq!(story(seed), story(seed));
    }
}

struct World {
    rng: Rng,
    start: Instant,
    now: Instant,
    client: Client,
    input: RecvBuf,
    delivery: Delivery,
    overflow: Overflow,
    has_auth: bool,
    may_drop: bool,
    has_age_max: bool,
    messages_max: usize,
    bytes_max: usize,
    high_water_mark: usize,
    /// What the adapter has been told to do, and when the result is there.
    connecting: Option<(Option<Instant>, bool)>,
    /// The last is the client's, if it has a transport.
    links: Vec<Link>,
    has_transport: bool,
    links_made: usize,
    /// From then on, everything works.
    well_at: Instant,
    next_send: Option<Instant>,
    /// The numbers of the messages, in the order in which the server received them.
    received: Vec<u64>,
    sent: BTreeMap<Token, u64>,
    outcomes: BTreeMap<Token, Outcome>,
    in_doubt: u64,
    /// How many messages were sent when the connection opened.
    sent_before: u64,
    ready_since: Option<Instant>,
    last_attempt: u32,
    end: Option<End>,
    steps: u32,
    #[cfg(feature = "json")]
    json: Option<JsonPeer>,
}

/// One transport with the server's end of it.
struct Link {
    server: Connection,
    buf: RecvBuf,
    to_server: VecDeque<(Instant, Segment)>,
    to_client: VecDeque<(Instant, Segment)>,
    delay: Duration,
    chunk_max: usize,
    fault: Option<(Trigger, Fault)>,
    is_silent: bool,
    is_writable: bool,
    server_is_gone: bool,
    greeting: Greeting,
    /// Whether messages may come: there are no credentials to send, or they came.
    is_authenticated: bool,
    bytes_to_server: usize,
    /// What its application has to say, until there is room.
    replies: VecDeque<String>,
}

enum Segment {
    Bytes(Vec<u8>),
    Eof,
    Reset,
}

#[derive(Clone, Copy)]
enum Trigger {
    At(Instant),
    /// So many bytes of the client have arrived: in the middle of the handshake, or of a frame.
    Bytes(usize),
}

#[derive(Clone, Copy)]
enum Fault {
    Reset,
    /// Nobody is told.
    Silence,
    Close(u16),
}

/// How a server answers.
#[derive(Clone, Copy, PartialEq)]
enum Greeting {
    Accept,
    Status(u16, Option<u32>),
    Nothing,
    /// It accepts, but says nothing to the credentials.
    DeafToAuth,
    /// It closes with this code instead of an answer to the credentials.
    CloseOnAuth(u16),
}

/// Above these, the test does not believe in progress.
const STEPS_MAX: u32 = 200_000;
const MESSAGES: u64 = 60;
/// No wait of the client's lasts longer: the heartbeat (25 s and 20 s), a close (10 s), a delay (60 s, and 20 s that a server asks for), and a
/// connect with handshake and credentials.
const BACK_WITHIN: Duration = Duration::from_secs(45 + 10 + 80 + 5);

impl World {
    fn new(seed: u64) -> Self {
        Self::with(seed, Rng::new(seed), ClientConfig::default())
    }

    #[cfg(feature = "json")]
    fn with_json(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut config = ClientConfig::default();
        let (peer, json) = JsonPeer::new(&mut rng);
        config.json = Some(json);
        let mut world = Self::with(seed, rng, config);
        if peer.has_acks {
            world.delivery = Delivery::Acknowledged;
        }
        world.json = Some(peer);
        world
    }

    fn with(seed: u64, mut rng: Rng, mut config: ClientConfig) -> Self {
        let start = Instant::now();
        config.backoff.retry_after_max = 20 * SEC;
        config.queue.delivery = [Delivery::AtMostOnce, Delivery::AtLeastOnce][rng.below(2)];
        config.queue.overflow = [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest][rng.below(3)];
        config.queue.messages_max = [5, 20, 1000][rng.below(3)];
        config.queue.bytes_max = [30_000, 1_000_000][rng.below(2)];
        config.queue.age_max = rng.once_in(4).then_some(40 * SEC);
        config.asks_before_attempt = rng.once_in(3);
        config.auth = rng.once_in(2).then(|| {
            Auth::new("credentials", |message| match message.as_text() {
                Some("welcome") => AuthAnswer::Accepted,
                Some("go away") => AuthAnswer::Refused("go away".into()),
                _ => AuthAnswer::Other,
            })
        });
        // Codes of the simulated server, some of which mean stop by default.
        config.retry = config.retry.close_code(1000..=4999, sansocket::client::Verdict::Retry);
        let mut limits = Config::default();
        limits.high_water_mark = [1, 1000, 65_536][rng.below(3)];
        let high_water_mark = limits.high_water_mark;
        let options = ClientOptions::new("ws://localhost/").unwrap().config(limits);
        let (delivery, overflow) = (config.queue.delivery, config.queue.overflow);
        let (messages_max, bytes_max) = (config.queue.messages_max, config.queue.bytes_max);
        let has_auth = config.auth.is_some();
        let age_max = config.queue.age_max;
        let client = Client::new(options, config, [seed as u8; 32], start);
        let may_drop = age_max.is_some() || overflow == Overflow::DropOldest;
        let well_at = start + MS * rng.below(400_000) as u32;
        Self {
            rng,
            start,
            now: start,
            client,
            input: RecvBuf::new(),
            delivery,
            overflow,
            has_auth,
            may_drop,
            has_age_max: age_max.is_some(),
            messages_max,
            bytes_max,
            high_water_mark,
            connecting: None,
            links: Vec::new(),
            has_transport: false,
            links_made: 0,
            well_at,
            next_send: Some(start),
            received: Vec::new(),
            sent: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            in_doubt: 0,
            sent_before: 0,
            ready_since: None,
            last_attempt: 0,
            end: None,
            steps: 0,
            #[cfg(feature = "json")]
            json: None,
        }
    }

    fn run(&mut self) {
        let mut closing = false;
        loop {
            self.settle();
            if !closing && self.next_send.is_none() && self.now >= self.well_at && self.is_back() {
                self.client.close(self.now, CloseCode::NORMAL, "done", 600 * SEC).unwrap();
                closing = true;
                continue;
            }
            let Some(next) = self.next_due() else { break };
            self.now = next.max(self.now);
            assert!(
                self.now < self.well_at + BACK_WITHIN || closing || self.is_back(),
                "not back {:?} after all is well, but {}",
                self.now - self.well_at,
                self.client.state(),
            );
        }
        self.judge();
    }

    fn is_back(&self) -> bool {
        self.client.state() == ClientState::Open && self.links.last().is_some_and(|link| !link.is_lost())
    }

    /// All that happens at this moment.
    fn settle(&mut self) {
        loop {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "no end of it: {:?}, {:?}", self.now - self.start, self.client);
            let mut progress = self.orders();
            progress |= self.connect_results();
            progress |= self.application();
            progress |= self.client_turn();
            for at in 0..self.links.len() {
                progress |= self.server_turn(at);
            }
            self.check_bounds();
            if !progress {
                return;
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        if self.end.is_some() {
            // What is still under way arrives.
            return self.links.iter().filter_map(Link::next_arrival).filter(|at| *at > self.now).min();
        }
        let mut due: Vec<Instant> = Vec::new();
        due.extend(self.client.poll_timeout());
        assert!(!due.is_empty(), "waits without a deadline: {:?}", self.client);
        due.extend(self.next_send);
        due.extend(self.connecting.and_then(|(at, _)| at));
        due.extend((self.now < self.well_at).then_some(self.well_at));
        for (at, link) in self.links.iter().enumerate() {
            due.extend(link.next_arrival());
            due.extend(link.server.poll_timeout().filter(|_| !link.server_is_gone));
            if self.has_transport && at + 1 == self.links.len() {
                due.extend(link.to_client.front().map(|(at, _)| *at).filter(|_| self.client.wants_read()));
            }
            if let Some((Trigger::At(at), _)) = link.fault {
                due.push(at);
            }
        }
        due.into_iter().filter(|at| *at > self.now).min()
    }

    fn orders(&mut self) -> bool {
        let mut progress = false;
        while let Some(order) = self.client.poll_order(self.now) {
            progress = true;
            match order {
                Order::Prepare { .. } => {
                    let prepared = match self.rng.below(4) {
                        0 if self.now < self.well_at => Prepared::Failed("no token".into()),
                        1 => Prepared::Credentials("credentials".into()),
                        _ => Prepared::Unchanged,
                    };
                    self.client.handle_prepared(self.now, prepared);
                }
                Order::Connect(_) => {
                    assert!(!self.has_transport && self.connecting.is_none(), "two transports at once");
                    let delay = MS * self.rng.below(2000) as u32;
                    self.connecting = Some(match self.rng.below(8) {
                        0 if self.now < self.well_at => (None, false),
                        1 | 2 if self.now < self.well_at => (Some(self.now + delay), false),
                        _ => (Some(self.now + delay), true),
                    });
                }
                Order::ShutdownWrite => self.end_output(),
                Order::Drop => {
                    self.connecting = None;
                    if std::mem::take(&mut self.has_transport) {
                        self.end_output();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        progress
    }

    fn end_output(&mut self) {
        self.links.last_mut().unwrap().send_to_server(self.now, Segment::Eof);
    }

    fn connect_results(&mut self) -> bool {
        let Some((Some(at), succeeds)) = self.connecting else { return false };
        if at > self.now {
            return false;
        }
        self.connecting = None;
        if succeeds {
            self.input = RecvBuf::new();
            self.has_transport = true;
            self.links_made += 1;
            let link = self.link();
            self.links.push(link);
            self.client.handle_connected(self.now);
        } else {
            let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: "refused".into() };
            self.client.handle_connect_failed(self.now, failure);
        }
        true
    }

    /// A transport with a server at the other end, and what goes wrong with them.
    fn link(&mut self) -> Link {
        #[cfg(feature = "json")]
        if let Some(peer) = &mut self.json
            && self.now < self.well_at
            && self.rng.once_in(8)
        {
            peer.restart();
            self.links.iter_mut().for_each(|link| link.fail(self.now, Fault::Reset));
        }
        let rng = &mut self.rng;
        let is_well = self.now >= self.well_at;
        let fault = match rng.below(5) {
            _ if is_well => None,
            0 => Some(Trigger::Bytes(rng.below(3000))),
            1 => Some(Trigger::Bytes(rng.below(100_000))),
            2 => Some(Trigger::At(self.now + MS * rng.below(3000) as u32)),
            _ => Some(Trigger::At(self.now + MS * rng.below(60_000) as u32)),
        };
        let how = [Fault::Reset, Fault::Silence, Fault::Close(1000), Fault::Close(1012)][rng.below(4)];
        let greeting = match rng.below(12) {
            _ if is_well => Greeting::Accept,
            0 => Greeting::Status(503, Some(rng.below(100) as u32)),
            1 => Greeting::Status(500, None),
            2 => Greeting::Nothing,
            3 => Greeting::DeafToAuth,
            4 => Greeting::CloseOnAuth(1011),
            _ => Greeting::Accept,
        };
        let mut limits = Config::default();
        limits.high_water_mark = [1, 65_536][rng.below(2)];
        let seed = std::array::from_fn(|_| rng.next() as u8);
        Link {
            server: Connection::server(limits, seed, self.now),
            buf: RecvBuf::new(),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            delay: MS * rng.below(300) as u32,
            chunk_max: [100, 1000, 100_000][rng.below(3)],
            fault: fault.map(|trigger| (trigger, how)),
            is_silent: false,
            is_writable: true,
            server_is_gone: false,
            greeting,
            is_authenticated: !self.has_auth,
            bytes_to_server: 0,
            replies: VecDeque::new(),
        }
    }

    fn application(&mut self) -> bool {
        if self.next_send.is_none_or(|at| at > self.now) {
            return false;
        }
        let number = self.sent.len() as u64;
        let len = [0, 10, 500, 9000][self.rng.below(4)];
        match self.send(format!("{number} {}", "x".repeat(len))) {
            Ok(token) => {
                assert!(self.sent.last_key_value().is_none_or(|(last, _)| *last < token));
                self.sent.insert(token, number);
            }
            Err(rejected) => {
                assert!(matches!(rejected.reason, RejectReason::Full { .. }), "{rejected:?}");
                // The newest is not refused for want of room when it may be dropped.
                assert_ne!(self.overflow, Overflow::DropNewest);
            }
        }
        let gap = [0, 10, 1000, 20_000][self.rng.below(4)];
        let next = self.now + MS * self.rng.below(gap + 1) as u32;
        self.next_send = (self.sent.len() < MESSAGES as usize && self.now < self.well_at + 30 * SEC).then_some(next);
        true
    }

    #[cfg(feature = "json")]
    fn send(&mut self, text: String) -> Result<Token, Rejected> {
        let Some(peer) = &mut self.json else { return self.client.send(self.now, text) };
        if self.rng.once_in(2) {
            peer.ask(&mut self.client, self.now);
        }
        self.client
            .send_typed(self.now, "said", &text)
            .map_err(|error| if let NotSent::Rejected(rejected) = error { rejected } else { panic!("{error:?}") })
    }

    #[cfg(not(feature = "json"))]
    fn send(&mut self, text: String) -> Result<Token, Rejected> {
        self.client.send(self.now, text)
    }

    fn client_turn(&mut self) -> bool {
        let now = self.now;
        let mut progress = false;
        if self.has_transport {
            let link = self.links.last_mut().unwrap();
            while self.client.wants_read()
                && let Some((at, _)) = link.to_client.front()
                && *at <= now
            {
                match link.to_client.pop_front().unwrap().1 {
                    Segment::Bytes(bytes) => self.input.extend_from_slice(&bytes),
                    Segment::Eof => self.client.handle_eof(),
                    Segment::Reset => self.client.handle_transport_error(),
                }
                progress = true;
            }
            if matches!(link.to_client.front(), Some((_, Segment::Reset))) {
                link.to_client.pop_front();
                self.client.handle_transport_error();
                progress = true;
            }
        }
        while let Some(event) = self.client.poll_event(now, &mut self.input) {
            self.event(event);
            progress = true;
        }
        if self.has_transport && !self.client.outgoing().is_empty() {
            let link = self.links.last_mut().unwrap();
            let under_way: usize = link.to_server.iter().map(|(_, segment)| segment.len()).sum();
            let room = WINDOW.saturating_sub(under_way).min(link.chunk_max);
            let n = self.client.outgoing().len().min(room);
            if n > 0 {
                let bytes = self.client.outgoing()[..n].to_vec();
                link.send_to_server(now, Segment::Bytes(bytes));
                self.client.advance_outgoing(now, n);
                progress = true;
            }
        }
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
            while let Some(event) = self.client.poll_event(now, &mut self.input) {
                self.event(event);
            }
            assert!(self.client.poll_timeout().is_none_or(|at| at > now), "a hot loop: {:?}", self.client);
            progress = true;
        }
        progress
    }

    fn event(&mut self, event: ClientEvent) {
        assert!(self.end.is_none(), "{event:?} after the end");
        match event {
            ClientEvent::Ready { .. } => {
                self.ready_since = Some(self.now);
            }
            ClientEvent::Opened { .. } => self.sent_before = self.client.metrics(self.now).messages_sent,
            ClientEvent::Lost { in_doubt, cause } => {
                assert!(!is_fault(&cause), "{cause:?} of an honest server");
                let sent = self.client.metrics(self.now).messages_sent - self.sent_before;
                assert!(in_doubt <= sent, "{in_doubt} in doubt, {sent} sent");
                self.in_doubt += in_doubt;
                if self.ready_since.take().is_some_and(|since| self.now - since >= 10 * SEC) {
                    self.last_attempt = 0;
                }
            }
            ClientEvent::AttemptFailed { cause, .. } => assert!(!is_fault(&cause), "{cause:?} of an honest server"),
            ClientEvent::Reconnecting { attempt, delay } => {
                assert_eq!(attempt, self.last_attempt + 1, "only a connection that lasted begins a new series");
                self.last_attempt = attempt;
                let cap = (5 * SEC * 2_u32.saturating_pow(attempt - 1).min(12)).min(60 * SEC);
                assert!(delay <= cap + 20 * SEC, "{delay:?}");
            }
            ClientEvent::Outcome(token, outcome) => {
                assert!(self.sent.contains_key(&token));
                assert_eq!(self.outcomes.insert(token, outcome), None, "a second outcome");
            }
            #[cfg(feature = "json")]
            ClientEvent::Json(event) => self.json.as_mut().unwrap().event(self.now, event),
            ClientEvent::Ended(end) => self.end = Some(end),
            _ => {}
        }
    }

    fn check_bounds(&self) {
        let metrics = self.client.metrics(self.now);
        // Requests that are sent again had left the queue, and others may have taken their place.
        #[cfg(feature = "json")]
        let again = self.client.pending_requests();
        #[cfg(not(feature = "json"))]
        let again = 0;
        assert!(metrics.queued_messages <= self.messages_max + again, "{metrics:?}");
        assert!(metrics.queued_bytes <= self.bytes_max + again * 100, "{metrics:?}");
        let buffered = self.client.connection().map_or(0, Connection::buffered_len);
        // The mark and the room above it, a message and an answer; pings and a Close.
        let bound = self.high_water_mark + CONTROL_ROOM + 2 * 9_100 + 4 * 131;
        assert!(buffered <= bound, "{buffered} bytes are buffered, at most {bound} may be");
    }

    fn server_turn(&mut self, at: usize) -> bool {
        let now = self.now;
        let is_well = now >= self.well_at;
        let link = &mut self.links[at];
        if link.server_is_gone {
            link.to_server.clear();
            return false;
        }
        let mut progress = false;
        while let Some((arrives, _)) = link.to_server.front()
            && *arrives <= now
            && !link.fault.is_some_and(|(trigger, _)| trigger.is_due(now, link.bytes_to_server))
        {
            match &mut link.to_server.front_mut().unwrap().1 {
                Segment::Bytes(bytes) => {
                    let n = match link.fault {
                        Some((Trigger::Bytes(at), _)) => bytes.len().min(at - link.bytes_to_server),
                        _ => bytes.len(),
                    };
                    link.buf.extend_from_slice(&bytes[..n]);
                    link.bytes_to_server += n;
                    bytes.drain(..n);
                    if bytes.is_empty() {
                        link.to_server.pop_front();
                    }
                }
                _ => {
                    link.server.handle_eof();
                    link.to_server.pop_front();
                }
            }
            progress = true;
        }
        let received = &mut self.received;
        #[cfg(feature = "json")]
        if let Some(peer) = &mut self.json {
            progress |= link.serve(now, &mut |text| match text {
                Some(text) => peer.handle(text, received),
                None => peer.ready(),
            });
            return progress | link.strike(now, is_well);
        }
        progress |= link.serve(now, &mut |text| {
            received.extend(text.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap()));
            Vec::new()
        });
        progress | link.strike(now, is_well)
    }

    /// The story is over: does everything fit?
    fn judge(&mut self) {
        for link in &mut self.links {
            link.server.abort(); // which keeps the cause of an end that has begun
            let closed = link.server.closed().expect("it was aborted");
            assert!(!matches!(closed.cause, CloseCause::Protocol(_) | CloseCause::Request(_)), "{closed:?}");
        }
        assert!(matches!(&self.end, Some(End::Closed(Some(closed))) if closed.clean), "{:?}", self.end);
        assert_eq!(self.sent.keys().collect::<Vec<_>>(), self.outcomes.keys().collect::<Vec<_>>(), "one outcome each");
        assert!(self.received.iter().all(|number| *number < MESSAGES));
        let mut firsts = Vec::new();
        for number in &self.received {
            if !firsts.contains(number) {
                firsts.push(*number);
            }
        }
        assert!(firsts.is_sorted(), "order is kept: {:?}", self.received);
        #[cfg(feature = "json")]
        let is_once = match &self.json {
            Some(peer) => {
                peer.judge(self.delivery != Delivery::AtMostOnce, self.may_drop);
                self.delivery == Delivery::AtMostOnce || (peer.has_acks && peer.session == 0)
            }
            None => self.delivery == Delivery::AtMostOnce,
        };
        #[cfg(not(feature = "json"))]
        let is_once = self.delivery == Delivery::AtMostOnce;
        if is_once {
            assert_eq!(firsts, self.received, "once");
        }
        let mut lost = 0;
        let at_most_once = self.delivery == Delivery::AtMostOnce;
        for (token, outcome) in &self.outcomes {
            let is_received = firsts.binary_search(&self.sent[token]).is_ok();
            let holds = match outcome {
                Outcome::Written => {
                    lost += u64::from(!is_received);
                    at_most_once
                }
                Outcome::Confirmed => is_received && !at_most_once,
                Outcome::Dropped(DropReason::Expired) => !is_received && self.has_age_max,
                Outcome::Dropped(DropReason::Overflow) => !is_received && self.overflow != Overflow::Refuse,
                Outcome::Dropped(DropReason::Ended) => false, // it was closed when all was well
                Outcome::Unconfirmed => !at_most_once && self.may_drop,
            };
            assert!(holds, "{outcome:?} of {token:?}, which was received: {is_received}");
        }
        assert!(lost <= self.in_doubt, "{lost} were lost, {} were reported as in doubt", self.in_doubt);
    }
}

/// Whether it says that the server broke the protocol.
fn is_fault(cause: &Cause) -> bool {
    let Cause::Closed(closed) = cause else { return false };
    matches!(closed.cause, CloseCause::Protocol(_) | CloseCause::Response(_))
}

/// How many bytes may be under way to the server.
const WINDOW: usize = 20_000;

impl Trigger {
    fn is_due(self, now: Instant, bytes: usize) -> bool {
        match self {
            Self::At(at) => at <= now,
            Self::Bytes(at) => bytes >= at,
        }
    }
}

impl Segment {
    fn len(&self) -> usize {
        if let Self::Bytes(bytes) = self { bytes.len() } else { 0 }
    }
}

impl Link {
    fn next_arrival(&self) -> Option<Instant> {
        self.to_server.front().map(|(at, _)| *at).filter(|_| !self.server_is_gone && !self.is_silent)
    }

    /// Whether it has failed, perhaps without anybody's notice.
    fn is_lost(&self) -> bool {
        self.is_silent || self.server_is_gone
    }

    fn send_to_server(&mut self, now: Instant, segment: Segment) {
        if !self.is_silent {
            self.to_server.push_back((now + self.delay, segment));
        } else if let Segment::Bytes(bytes) = segment {
            // It still fills the window.
            self.to_server.push_back((now + 10_000_000 * SEC, Segment::Bytes(bytes)));
        }
    }

    fn send_to_client(&mut self, now: Instant, segment: Segment) {
        if !self.is_silent {
            self.to_client.push_back((now + self.delay, segment));
        }
    }

    /// Lets go wrong what is to; whether it did.
    fn strike(&mut self, now: Instant, is_well: bool) -> bool {
        let Some((_, fault)) = self.fault.take_if(|(trigger, _)| trigger.is_due(now, self.bytes_to_server)) else {
            return false;
        };
        if !is_well {
            self.fail(now, fault);
        }
        true
    }

    fn fail(&mut self, now: Instant, fault: Fault) {
        match fault {
            Fault::Reset => {
                self.server_is_gone = true;
                self.to_server.clear();
                self.to_client.clear();
                self.to_client.push_back((now, Segment::Reset));
            }
            Fault::Silence => {
                self.is_silent = true;
                self.server_is_gone = true;
                self.to_client.clear();
            }
            Fault::Close(code) => drop(self.server.close(now, CloseCode(code), "")),
        }
    }

    /// The server's application.
    ///
    /// `application` is told when messages may leave, and what comes; it returns what to say.
    fn serve(&mut self, now: Instant, application: &mut dyn FnMut(Option<&str>) -> Vec<String>) -> bool {
        let mut progress = false;
        while let Some(event) = self.server.poll_event(now, &mut self.buf) {
            progress = true;
            match event {
                Event::Request(_) => match self.greeting {
                    Greeting::Nothing => {}
                    Greeting::Status(status, retry_after) => {
                        let mut rejection = Rejection::new(status).unwrap();
                        if let Some(seconds) = retry_after {
                            rejection = rejection.header("Retry-After", seconds.to_string()).unwrap();
                        }
                        self.server.reject(now, &rejection).unwrap();
                    }
                    _ => {
                        self.server.accept(now, &Acceptance::new()).unwrap();
                        if self.is_authenticated {
                            self.replies.extend(application(None));
                        }
                    }
                },
                Event::Text("credentials") => {
                    self.is_authenticated = true;
                    match self.greeting {
                        Greeting::DeafToAuth => self.is_authenticated = false,
                        Greeting::CloseOnAuth(code) => drop(self.server.close(now, CloseCode(code), "")),
                        _ => {
                            let _ = self.server.send_text(now, "welcome"); // it may be closing
                            self.replies.extend(application(None));
                        }
                    }
                }
                Event::Text(_) if !self.is_authenticated => panic!("a message before the credentials were accepted"),
                Event::Text(text) => self.replies.extend(application(Some(text))),
                _ => {}
            }
        }
        while let Some(reply) = self.replies.front()
            && self.server.send_text(now, reply).is_ok()
        {
            self.replies.pop_front();
        }
        while self.is_writable && !self.server.outgoing().is_empty() {
            let bytes = self.server.outgoing().to_vec();
            self.server.advance_outgoing(now, bytes.len());
            self.send_to_client(now, Segment::Bytes(bytes));
            progress = true;
        }
        while let Some(order) = self.server.poll_stream() {
            if self.is_writable {
                self.send_to_client(now, Segment::Eof);
            }
            self.is_writable = false;
            self.server_is_gone |= order == StreamOrder::Drop;
            progress = true;
        }
        if self.server.poll_timeout().is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
            progress = true;
        }
        progress
    }
}
