//! What must hold of a client whatever is called, arrives, and when. Run by `fuzz/` and by the tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::buffer::RecvBuf;
use crate::connection::{CloseCause, Config, Connection, Event, StreamOrder};
use crate::frame::CloseCode;
use crate::handshake::{Acceptance, Rejection};
use crate::program::Program;

/// Runs bytes as a program: orders obeyed or not, streams that fail, servers that answer, refuse, redirect, or send any bytes. Each message that was
/// accepted has one outcome, and that is what became of it; messages arrive in order, and no server finds fault with the client; the end is told once and
/// last, and no deadline is due again at once.
pub fn client(data: &[u8]) {
    let mut program = Program::new(data);
    let mut world = World::new(&mut program);
    while !program.is_over() {
        world.step(&mut program);
    }
    world.end();
}

struct World {
    now: Instant,
    client: Client,
    input: RecvBuf,
    transport: Transport,
    server: Option<Server>,
    servers_config: Config,
    /// In this order: the first is number 0, and says so.
    accepted: Vec<Token>,
    /// The numbers of those that servers received.
    received: Vec<usize>,
    /// Whether bytes get lost on the way, and others are made up.
    corrupts: bool,
    /// What the client may take for received without further proof: somebody has said so.
    vouched: Option<Token>,
    delivery: Delivery,
    overflow: Overflow,
    has_age_max: bool,
    /// How many requests may come on top of the queue's bounds.
    again_max: usize,
    /// Requests without a result.
    #[cfg(feature = "json")]
    asked: std::collections::BTreeSet<crate::json::RequestId>,
    outcomes: BTreeMap<Token, Outcome>,
    /// How many messages were sent when the connection opened.
    sent_before: u64,
    in_doubt: u64,
    end: Option<End>,
    closing: bool,
    aborted: bool,
}

/// What the adapter is at.
#[derive(Clone, Copy, PartialEq)]
enum Transport {
    None,
    Connecting,
    Connected,
}

struct Server {
    connection: Connection,
    buf: RecvBuf,
    status: u16,
    /// The number of the last message.
    last: Option<usize>,
}

impl World {
    fn new(program: &mut Program<'_>) -> Self {
        let now = Instant::now();
        let settings = program.byte();
        let mut config = ClientConfig::default();
        let is_set = |bit: u8| settings >> bit & 1 == 1;
        let choice = program.below(12);
        let corrupts = choice % 6 < 3;
        config.queue.delivery = [Delivery::AtMostOnce, Delivery::AtLeastOnce, Delivery::Acknowledged][choice % 3];
        config.queue.overflow = [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest][program.below(3)];
        config.queue.messages_max = 8;
        config.queue.bytes_max = 4000;
        config.queue.age_max = is_set(1).then_some(Duration::from_secs(20));
        let (overflow, has_age_max) = (config.queue.overflow, is_set(1));
        let speaks_json = cfg!(feature = "json") && is_set(6);
        let again_max = if speaks_json && is_set(0) { PENDING_MAX } else { 0 };
        let delivery = if speaks_json && is_set(7) { Delivery::Acknowledged } else { config.queue.delivery };
        config.asks_before_attempt = is_set(2);
        config.auth = is_set(3).then(|| {
            Auth::new("credentials", |message| match message.as_text() {
                Some("yes") => AuthAnswer::Accepted,
                Some("no") => AuthAnswer::Refused("no".to_owned()),
                _ => AuthAnswer::Other,
            })
        });
        #[cfg(feature = "json")]
        if is_set(6) {
            let mut json = crate::json::JsonConfig::default();
            json.pending_max = PENDING_MAX;
            json.on_lost = if is_set(0) { crate::json::OnLost::Resend } else { crate::json::OnLost::Fail };
            json.format.acks = is_set(7).then(crate::json::AckFields::default);
            config.json = Some(json);
        }
        if is_set(4) {
            config.heartbeat.beat = Beat::Message {
                message: "beat".into(),
                is_answer: Arc::new(|message| message.as_text() == Some("beat")),
            };
        }
        let servers_config = Config {
            #[cfg(feature = "deflate")]
            deflate: (choice >= 6).then(small_deflate),
            ..Config::default()
        };
        let limits = Config { high_water_mark: if is_set(5) { 1 } else { 1000 }, ..servers_config.clone() };
        let options = match ClientOptions::new("ws://localhost/") {
            Ok(options) => options.config(limits).redirects(2),
            Err(error) => unreachable!("a fixed request is well-formed: {error}"),
        };
        Self {
            now,
            client: Client::new(options, config, [7; 32], now),
            input: RecvBuf::new(),
            transport: Transport::None,
            server: None,
            servers_config,
            accepted: Vec::new(),
            received: Vec::new(),
            corrupts,
            vouched: None,
            delivery,
            overflow,
            has_age_max,
            again_max,
            #[cfg(feature = "json")]
            asked: Default::default(),
            outcomes: BTreeMap::new(),
            sent_before: 0,
            in_doubt: 0,
            end: None,
            closing: false,
            aborted: false,
        }
    }

    fn step(&mut self, program: &mut Program<'_>) {
        let now = self.now;
        match program.byte() {
            0..=39 => self.obey(program),
            40..=59 => match self.transport {
                Transport::Connecting if program.byte() & 3 != 0 => self.connect(program),
                Transport::Connecting => self.connect_failed(program),
                // Nobody asked.
                _ if program.byte() & 1 == 0 => self.client.handle_connected(now),
                _ => self.client.handle_prepared(now, Prepared::Unchanged),
            },
            60..=95 => self.transfer(program.len()),
            96..=99 => {
                let end = program.below(4);
                self.end_in_a_write(program.len(), end);
            }
            100..=129 => self.poll(),
            130..=159 => {
                let text = format!("#{} {}", self.accepted.len(), "x".repeat(program.len()));
                if let Ok(token) = self.client.send(now, text) {
                    assert!(self.end.is_none() && !self.closing, "accepted after the end");
                    self.accepted.push(token);
                }
            }
            #[cfg(feature = "json")]
            160..=163 => self.speak_json(program),
            160..=169 => {
                let texts = ["yes", "no", "beat", "hello"];
                let text = texts[program.below(4)];
                if let Some(server) = &mut self.server {
                    let _ = server.connection.send_text(now, text);
                }
            }
            170..=174 => {
                let token = Token(u64::from(program.byte()));
                self.vouched = self.vouched.max(Some(token));
                self.client.acknowledge(now, token);
            }
            175..=177 => self.client.reauthenticate(now, "new"),
            178 => self.client.handle_wall_clock(now, Duration::from_secs(u64::from(program.byte()) << 24)),
            179..=182 if self.corrupts => self.input.extend_from_slice(program.bytes()),
            183..=185 => self.client.handle_eof(),
            186 => self.client.handle_transport_error(),
            187 => {
                let code = CloseCode(1000 + u16::from(program.byte()));
                let timeout = Duration::from_secs(u64::from(program.byte()));
                self.closing |= self.client.close(now, code, "", timeout).is_ok();
            }
            188 if program.byte() == 7 => self.abort(),
            189..=209 => self.now += Duration::from_millis(u64::from(program.byte())),
            210..=219 => self.now += Duration::from_secs(u64::from(program.byte())),
            220..=229 => {
                if let Some(at) = self.client.poll_timeout() {
                    self.now = self.now.max(at);
                }
                self.timeout();
            }
            230..=239 => self.timeout(),
            240 => {
                if let Some(server) = &mut self.server {
                    let _ = server.connection.close(now, CloseCode(1000 + u16::from(program.byte())), "");
                }
            }
            241.. if self.corrupts => self.client.advance_outgoing(now, program.len()), // lost
            _ => {}
        }
        // Requests that are sent again come on top; each of these is shorter than 100 bytes.
        assert!(self.client.metrics(self.now).queued_messages <= 8 + self.again_max);
        assert!(self.client.metrics(self.now).queued_bytes <= 4000 + 100 * self.again_max);
    }

    #[cfg(feature = "json")]
    fn speak_json(&mut self, program: &mut Program<'_>) {
        let (now, n) = (self.now, program.byte());
        match program.below(4) {
            0 => {
                if let Ok(token) = self.client.send_typed(now, "said", &format!("#{} ", self.accepted.len())) {
                    self.accepted.push(token);
                }
            }
            1 => {
                if let Ok(id) = self.client.request(now, "ask", &n, Duration::from_secs(u64::from(n))) {
                    self.asked.insert(id);
                }
            }
            2 => {
                let id = crate::json::RequestId(u64::from(n));
                // A result that waits to be polled may still come.
                if self.client.cancel_request(now, id) {
                    self.asked.remove(&id);
                }
            }
            _ => {
                let text = match program.below(5) {
                    0 => format!(r#"{{"id":{n},"payload":1}}"#),
                    1 => format!(r#"{{"id":{n},"error":2}}"#),
                    2 => format!(r#"{{"ack":{n},"session":"s{}"}}"#, program.below(2)),
                    3 => format!(r#"{{"type":"said","seq":{n},"session":"s{}"}}"#, program.below(2)),
                    _ => String::from_utf8_lossy(program.bytes()).into_owned(),
                };
                // An answer or an acknowledgement, that of a server's application.
                self.vouched = Some(Token(u64::MAX));
                if let Some(server) = &mut self.server {
                    let _ = server.connection.send_text(now, &text);
                }
            }
        }
    }

    fn obey(&mut self, program: &mut Program<'_>) {
        let Some(order) = self.client.poll_order(self.now) else { return };
        match order {
            Order::Prepare { .. } => {
                let prepared = match program.below(4) {
                    0 => Prepared::Failed("no token".to_owned()),
                    1 => Prepared::Credentials("other".into()),
                    2 => return, // later, or never
                    _ => Prepared::Unchanged,
                };
                self.client.handle_prepared(self.now, prepared);
            }
            Order::Connect(_) => {
                assert!(self.transport == Transport::None, "two transports at once");
                self.transport = Transport::Connecting;
            }
            Order::ShutdownWrite => assert!(self.transport == Transport::Connected),
            Order::Drop => {
                // It may have failed by itself at the same moment.
                self.transport = Transport::None;
                self.drop_server();
            }
        }
    }

    fn connect(&mut self, program: &mut Program<'_>) {
        self.transport = Transport::Connected;
        self.input = RecvBuf::new();
        let status = [101, 101, 101, 101, 101, 302, 401, 503][program.below(8)];
        let connection = Connection::server(self.servers_config.clone(), [9; 32], self.now);
        self.drop_server();
        self.server = Some(Server { connection, buf: RecvBuf::new(), status, last: None });
        self.client.handle_connected(self.now);
    }

    /// The server takes its turn.
    fn served(&mut self) {
        let Some(server) = &mut self.server else { return };
        let received = server.turn(self.now);
        if self.corrupts {
            return;
        }
        for number in received {
            assert!(server.last.is_none_or(|last| last < number), "{number} after {:?} on one connection", server.last);
            server.last = Some(number);
            self.received.push(number);
        }
    }

    fn abort(&mut self) {
        self.client.abort(self.now);
        (self.closing, self.aborted) = (true, true);
    }

    fn connect_failed(&mut self, program: &mut Program<'_>) {
        self.transport = Transport::None;
        let kind = [ConnectFailureKind::Io, ConnectFailureKind::Tls, ConnectFailureKind::Resolve][program.below(3)];
        self.client.handle_connect_failed(self.now, ConnectFailure { kind, message: String::new() });
    }

    /// Servers get what the transport has in hand, and the connection ends before the client hears of that, or goes on.
    fn end_in_a_write(&mut self, n: usize, end: usize) {
        let (Some(server), Transport::Connected) = (&mut self.server, self.transport) else { return };
        let n = n.min(self.client.outgoing().len());
        self.client.lend_outgoing(n);
        server.buf.extend_from_slice(&self.client.outgoing()[..n]);
        self.served();
        match end {
            0 => self.client.handle_eof(),
            1 => self.client.handle_transport_error(),
            2 => self.abort(),
            _ => {}
        }
        self.poll();
        self.client.advance_outgoing(self.now, n);
    }

    /// Moves bytes both ways.
    fn transfer(&mut self, n: usize) {
        let (Some(server), Transport::Connected) = (&mut self.server, self.transport) else { return };
        let n = n.min(self.client.outgoing().len());
        server.buf.extend_from_slice(&self.client.outgoing()[..n]);
        self.client.advance_outgoing(self.now, n);
        self.served();
        let Some(server) = &mut self.server else { return };
        if self.client.wants_read() {
            self.input.extend_from_slice(server.connection.outgoing());
            server.connection.advance_outgoing(self.now, server.connection.outgoing().len());
            if server.connection.poll_stream() == Some(StreamOrder::Drop) || server.connection.closed().is_some() {
                self.client.handle_eof();
            }
        }
    }

    /// No server finds fault with what the client says.
    fn drop_server(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        server.connection.abort();
        let cause = server.connection.closed().map(|closed| closed.cause);
        let is_fault = matches!(cause, Some(CloseCause::Protocol(_) | CloseCause::Request(_)));
        assert!(!is_fault || self.corrupts, "{cause:?}");
    }

    fn poll(&mut self) {
        let mut events = 0;
        while let Some(event) = self.client.poll_event(self.now, &mut self.input) {
            events += 1;
            assert!(events < 10_000, "no end of events: {event:?}");
            assert!(self.end.is_none(), "{event:?} after the end");
            match event {
                ClientEvent::Outcome(token, outcome) => {
                    assert!(self.accepted.contains(&token), "{outcome:?} of a message that was not accepted");
                    let earlier = self.outcomes.insert(token, outcome);
                    assert_eq!(earlier, None, "two outcomes of {token:?}, the second {outcome:?}");
                }
                ClientEvent::Opened { .. } => self.sent_before = self.client.metrics(self.now).messages_sent,
                ClientEvent::Lost { in_doubt, .. } => {
                    let sent = self.client.metrics(self.now).messages_sent - self.sent_before;
                    assert!(in_doubt <= sent, "{in_doubt} in doubt, {sent} sent");
                    self.in_doubt += in_doubt;
                }
                ClientEvent::Ended(end) => self.end = Some(end),
                #[cfg(feature = "json")]
                ClientEvent::Json(crate::json::JsonEvent::Answer(id, _)) => {
                    assert!(self.asked.remove(&id), "a result of {id:?}, which has none to come");
                }
                _ => {}
            }
        }
    }

    fn timeout(&mut self) {
        self.client.handle_timeout(self.now);
        self.poll();
        let next = self.client.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a hot loop: {:?}", self.client);
    }

    /// Closes, and lets every attempt fail, until it is over.
    fn end(&mut self) {
        self.closing = true;
        let _ = self.client.close(self.now, CloseCode::NORMAL, "", Duration::from_secs(1));
        let mut rounds = 0;
        while self.end.is_none() {
            rounds += 1;
            assert!(rounds < 1000, "no end of it: {:?}", self.client);
            self.poll();
            self.obey(&mut Program::new(&[]));
            if let Some(at) = self.client.poll_timeout() {
                self.now = self.now.max(at);
            }
            self.timeout();
        }
        self.obey(&mut Program::new(&[]));
        assert_eq!(self.client.state(), ClientState::Closed);
        assert_eq!(self.client.poll_timeout(), None);
        assert!(self.client.poll_order(self.now).is_none());
        assert!(self.transport == Transport::None, "a transport is left");
        self.drop_server();
        assert_eq!(self.outcomes.len(), self.accepted.len(), "each message has one outcome");
        self.judge();
        #[cfg(feature = "json")]
        assert!(self.asked.is_empty(), "each request has one result");
    }

    /// Each outcome is what became of the message, unless bytes were lost or made up.
    fn judge(&self) {
        if self.corrupts {
            return;
        }
        let mut firsts: Vec<usize> = Vec::new();
        for number in &self.received {
            if !firsts.contains(number) {
                firsts.push(*number);
            }
        }
        assert!(firsts.is_sorted(), "order is kept: {:?}", self.received);
        let at_most_once = self.delivery == Delivery::AtMostOnce;
        assert!(!at_most_once || firsts == self.received, "at most once: {:?}", self.received);
        let mut lost = 0;
        for (number, token) in self.accepted.iter().enumerate() {
            let (outcome, is_received) = (self.outcomes[token], firsts.binary_search(&number).is_ok());
            let is_vouched = self.vouched.is_some_and(|vouched| *token <= vouched);
            let holds = match outcome {
                Outcome::Written => {
                    lost += u64::from(!is_received);
                    at_most_once
                }
                Outcome::Confirmed if is_vouched => !at_most_once,
                Outcome::Confirmed => self.delivery == Delivery::AtLeastOnce && is_received,
                Outcome::Unconfirmed => !at_most_once,
                Outcome::Dropped(DropReason::Expired) => self.has_age_max && !is_received,
                Outcome::Dropped(DropReason::Overflow) => self.overflow != Overflow::Refuse && !is_received,
                Outcome::Dropped(DropReason::Ended) => !is_received,
            };
            assert!(holds, "{outcome:?} of number {number}, {:?} were received", self.received);
        }
        assert!(lost <= self.in_doubt || self.aborted, "{lost} were lost, {} reported as in doubt", self.in_doubt);
    }
}

impl Server {
    /// Does what a server does; the numbers of the messages that arrived.
    fn turn(&mut self, now: Instant) -> Vec<usize> {
        let mut received = Vec::new();
        loop {
            match self.connection.poll_event(now, &mut self.buf) {
                None => return received,
                Some(Event::Request(_)) => {}
                Some(Event::Text(text)) => {
                    received.extend(number(text));
                    continue;
                }
                Some(_) => continue,
            }
            let answered = match (self.status, Rejection::new(self.status)) {
                (302, Ok(rejection)) => match rejection.header("Location", "/elsewhere") {
                    Ok(rejection) => self.connection.reject(now, &rejection),
                    Err(error) => unreachable!("a fixed field is well-formed: {error}"),
                },
                (_, Ok(rejection)) => self.connection.reject(now, &rejection),
                (_, Err(_)) => self.connection.accept(now, &Acceptance::new()),
            };
            assert_eq!(answered, Ok(()));
        }
    }
}

/// Compresses each message, with little memory, and inflates a few bytes at a time.
#[cfg(feature = "deflate")]
fn small_deflate() -> crate::deflate::DeflateConfig {
    crate::deflate::DeflateConfig {
        level: 1,
        memory_level: 1,
        window_bits: 9,
        peer_window_bits: 9,
        message_len_min: 0,
        inflated_per_poll_max: 3,
        ..crate::deflate::DeflateConfig::default()
    }
}

/// The number of a message, which stands between `#` and a space.
fn number(text: &str) -> Option<usize> {
    text.split_once('#')?.1.split_once(' ')?.0.parse().ok()
}

const PENDING_MAX: usize = 4;
