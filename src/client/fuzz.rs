//! What must hold of a client whatever is called, arrives, and when. Run by `fuzz/` and by the tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::buffer::RecvBuf;
use crate::connection::{Config, Connection, Event, StreamOrder};
use crate::frame::CloseCode;
use crate::handshake::{Acceptance, Rejection};
use crate::program::Program;

/// Runs bytes as a program: orders obeyed or not, streams that fail, servers that answer, refuse, redirect, or send any bytes. Each message that was
/// accepted has one outcome, the end is told once and last, and no deadline is due again at once.
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
    accepted: Vec<Token>,
    /// Requests without a result.
    #[cfg(feature = "json")]
    asked: std::collections::BTreeSet<crate::json::RequestId>,
    outcomes: BTreeMap<Token, Outcome>,
    end: Option<End>,
    closing: bool,
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
}

impl World {
    fn new(program: &mut Program<'_>) -> Self {
        let now = Instant::now();
        let settings = program.byte();
        let mut config = ClientConfig::default();
        let is_set = |bit: u8| settings >> bit & 1 == 1;
        config.queue.delivery = [Delivery::AtMostOnce, Delivery::AtLeastOnce, Delivery::Acknowledged][program.below(3)];
        config.queue.overflow = [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest][program.below(3)];
        config.queue.messages_max = 8;
        config.queue.bytes_max = 4000;
        config.queue.age_max = is_set(1).then_some(Duration::from_secs(20));
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
        let limits = Config { high_water_mark: if is_set(5) { 1 } else { 1000 }, ..Config::default() };
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
            accepted: Vec::new(),
            #[cfg(feature = "json")]
            asked: Default::default(),
            outcomes: BTreeMap::new(),
            end: None,
            closing: false,
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
            60..=99 => self.transfer(program.len()),
            100..=129 => self.poll(),
            130..=159 => {
                let text = "x".repeat(program.len());
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
            170..=174 => self.client.acknowledge(now, Token(u64::from(program.byte()))),
            175..=177 => self.client.reauthenticate(now, "new"),
            178 => self.client.handle_wall_clock(now, Duration::from_secs(u64::from(program.byte()) << 24)),
            179..=182 => self.input.extend_from_slice(program.bytes()),
            183..=185 => self.client.handle_eof(),
            186 => self.client.handle_transport_error(),
            187 => {
                let code = CloseCode(1000 + u16::from(program.byte()));
                let timeout = Duration::from_secs(u64::from(program.byte()));
                self.closing |= self.client.close(now, code, "", timeout).is_ok();
            }
            188 if program.byte() == 7 => {
                self.client.abort(now);
                self.closing = true;
            }
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
            _ => self.client.advance_outgoing(now, program.len()), // lost
        }
        // Requests that are sent again come on top; each of these is shorter than 100 bytes.
        let again = if cfg!(feature = "json") { PENDING_MAX } else { 0 };
        assert!(self.client.metrics(self.now).queued_messages <= 8 + again);
        assert!(self.client.metrics(self.now).queued_bytes <= 4000 + 100 * again);
    }

    #[cfg(feature = "json")]
    fn speak_json(&mut self, program: &mut Program<'_>) {
        let (now, n) = (self.now, program.byte());
        match program.below(4) {
            0 => {
                if let Ok(token) = self.client.send_typed(now, "said", &n) {
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
                self.server = None;
            }
        }
    }

    fn connect(&mut self, program: &mut Program<'_>) {
        self.transport = Transport::Connected;
        self.input = RecvBuf::new();
        let status = [101, 101, 101, 101, 101, 302, 401, 503][program.below(8)];
        let connection = Connection::server(Config::default(), [9; 32], self.now);
        self.server = Some(Server { connection, buf: RecvBuf::new(), status });
        self.client.handle_connected(self.now);
    }

    fn connect_failed(&mut self, program: &mut Program<'_>) {
        self.transport = Transport::None;
        let kind = [ConnectFailureKind::Io, ConnectFailureKind::Tls, ConnectFailureKind::Resolve][program.below(3)];
        self.client.handle_connect_failed(self.now, ConnectFailure { kind, message: String::new() });
    }

    /// Moves bytes both ways.
    fn transfer(&mut self, n: usize) {
        let (Some(server), Transport::Connected) = (&mut self.server, self.transport) else { return };
        let n = n.min(self.client.outgoing().len());
        server.buf.extend_from_slice(&self.client.outgoing()[..n]);
        self.client.advance_outgoing(self.now, n);
        server.turn(self.now);
        if self.client.wants_read() {
            self.input.extend_from_slice(server.connection.outgoing());
            server.connection.advance_outgoing(self.now, server.connection.outgoing().len());
            if server.connection.poll_stream() == Some(StreamOrder::Drop) || server.connection.closed().is_some() {
                self.client.handle_eof();
            }
        }
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
        assert_eq!(self.outcomes.len(), self.accepted.len(), "each message has one outcome");
        #[cfg(feature = "json")]
        assert!(self.asked.is_empty(), "each request has one result");
    }
}

impl Server {
    fn turn(&mut self, now: Instant) {
        loop {
            let is_request = match self.connection.poll_event(now, &mut self.buf) {
                None => return,
                Some(Event::Request(_)) => true,
                Some(_) => false,
            };
            if !is_request {
                continue;
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

const PENDING_MAX: usize = 4;
