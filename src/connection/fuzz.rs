//! What must hold of any bytes from a peer. Run by `fuzz/` and by the tests.
//!
//! The first byte of the input says how the rest is cut, the second what the connection is like and how its peer leaves ([`Choices`]); the rest is
//! what the peer sends.

mod operations;

use std::time::{Duration, Instant};

use super::*;
use crate::buffer::{READ_SIZE, RecvBuf};
#[cfg(feature = "deflate")]
use crate::deflate::INFLATION_RATIO_FREE_LEN;
use crate::frame::CloseCode;
use crate::handshake::{Acceptance, OwnedRequestHead};
use crate::message::{Message, MessageKind};
pub use operations::operations;

/// A peer of an open connection, in both roles.
pub fn open(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        check(data, |choices, now| Connection::open(role, choices.config(), [7; 32], now));
    }
}

/// A peer with whom permessage-deflate was agreed on, in both roles.
#[cfg(feature = "deflate")]
pub fn deflate(data: &[u8]) {
    use crate::deflate::{DeflateConfig, DeflateParams};

    let pool = crate::deflate::DeflatePool::new(2);
    let config = |choices: Choices| {
        let mut deflate = DeflateConfig { inflated_per_poll_max: 500, pool: pool.clone(), ..DeflateConfig::default() };
        let mut config = choices.config();
        if choices.has(5) {
            deflate.inflation_ratio_max = 3;
            config.message_len_max = 2 * INFLATION_RATIO_FREE_LEN;
        }
        Config { deflate: Some(deflate), ..config }
    };
    let params =
        DeflateParams { client_max_window_bits: 9, server_no_context_takeover: true, ..DeflateParams::default() };
    for role in [Role::Server, Role::Client] {
        check(data, |choices, now| Connection::open(role, config(choices), [7; 32], now).with_deflate(Some(params)));
    }
}

/// The offers of a client and the answer of a server, a line each: what is agreed on is within the RFC's limits and one's own.
#[cfg(feature = "deflate")]
pub fn extensions(data: &[u8]) {
    use crate::handshake::{check_connect_response, parse_extensions};

    let lines = data.split(|&byte| byte == b'\n');
    let fields: Vec<(&str, &[u8])> = lines.map(|line| ("Sec-WebSocket-Extensions", line)).collect();
    let config = Config { deflate: Some(crate::deflate::DeflateConfig::default()), ..Choices(0).config() };
    let limit = 12;

    let chosen = config.choose_extensions(&fields[..]);
    assert_eq!(chosen.header().is_some(), chosen.deflate().is_some());
    if let (Some(header), Some(params)) = (chosen.header(), chosen.deflate()) {
        assert!(parse_extensions([header.as_bytes()]).is_ok_and(|answer| answer.len() == 1), "{header}");
        assert!((8..=limit).contains(&params.server_max_window_bits), "{params:?}");
        assert!((8..=15).contains(&params.client_max_window_bits), "{params:?}");
    }

    let offered = config.offered_extensions();
    let Ok(accepted) = check_connect_response(200, &fields[..], &[""; 0], offered.as_deref()) else {
        return;
    };
    if let Ok(agreed) = config.check_extensions(&accepted)
        && let Some(params) = agreed.deflate()
    {
        assert_eq!(accepted.extensions.len(), 1, "{accepted:?}");
        assert!((8..=15).contains(&params.server_max_window_bits), "{params:?}");
        assert!((8..=limit).contains(&params.client_max_window_bits), "{params:?}");
    }
}

/// A client of a server, handshake first.
pub fn request(data: &[u8]) {
    check(data, |choices, now| Connection::server(choices.config(), [7; 32], now));
}

/// A server of a client, handshake first. With this seed the accept key is always the same.
pub fn response(data: &[u8]) {
    let request = ClientRequest::new("ws://localhost/").and_then(|request| request.subprotocol("chat"));
    let Ok(request) = request else {
        unreachable!("a fixed request is well-formed");
    };
    check(data, |choices, now| Connection::client(&request, choices.config(), [7; 32], now));
}

/// What the second byte of the input says, bit by bit: 0, messages are taken in pieces; 1 and 2, which kinds are accepted; 3, the peer falls
/// silent instead of leaving; 4, an idle timeout takes the place of the heartbeat; 5, compressed messages may be long, but not inflate by much.
#[derive(Clone, Copy)]
struct Choices(u8);

impl Choices {
    fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 == 1
    }

    fn config(self) -> Config {
        let kinds = [Accepts::TextAndBinary, Accepts::TextOnly, Accepts::BinaryOnly, Accepts::TextAndBinary];
        let config = Config { accepts: kinds[usize::from(self.0 >> 1 & 3)], ..config() };
        match self.has(4) {
            true => Config { ping_interval: None, idle_timeout: Some(Duration::from_secs(5)), ..config },
            false => config,
        }
    }
}

fn config() -> Config {
    // Small, so that short inputs reach the limits.
    Config {
        frame_len_max: 1000,
        message_len_max: 2000,
        fragments_max: 16,
        headers_max: 8,
        head_len_max: 512,
        refusal_body_len_max: 64,
        unsent_pongs_max: 4,
        ..Config::default()
    }
}

fn check(data: &[u8], connect: impl Fn(Choices, Instant) -> Connection) {
    let Some((&[sizes, choices], wire)) = data.split_first_chunk() else {
        return;
    };
    let choices = Choices(choices);
    let ends_silently = choices.has(3);
    let connect = |now| connect(choices, now);
    let whole = run(connect, wire, |_| usize::MAX, ends_silently, Driver::new(READ_SIZE, false));
    let cut = |i: usize| 1 + (usize::from(sizes) >> (i % 8)) % 40;
    let driver = Driver::new(64, choices.has(0));
    assert_eq!(run(connect, wire, cut, ends_silently, driver), whole, "the cut changes the events");
}

/// All that a caller can see of a connection whose peer sends `wire` and goes.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    told: Vec<Told>,
    sent: Vec<u8>,
    closed: Option<Closed>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Request(OwnedRequestHead),
    Open,
    Refused(u16),
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
}

fn run(
    connect: impl Fn(Instant) -> Connection,
    wire: &[u8],
    cut: impl Fn(usize) -> usize,
    ends_silently: bool,
    mut driver: Driver,
) -> Seen {
    let start = Instant::now();
    let mut connection = connect(start);
    let compresses = connection.is_compressing();
    let mut rest = wire;
    let mut reads = 0;
    driver.drain(&mut connection, start);
    while !rest.is_empty() && connection.wants_read() {
        let spare = driver.buf.spare_mut();
        let n = spare.len().min(rest.len()).min(cut(reads));
        spare[..n].copy_from_slice(&rest[..n]);
        driver.buf.advance_received(n);
        rest = &rest[n..];
        driver.received += n;
        reads += 1;
        driver.drain(&mut connection, start);
        driver.check_memory(compresses);
    }
    if !ends_silently {
        connection.handle_eof();
    }
    driver.drain(&mut connection, start);
    let mut now = start;
    while let Some(at) = connection.poll_timeout() {
        assert!(at < start + END_WITHIN, "no end in time");
        now = now.max(at) + Duration::from_millis(1);
        connection.handle_timeout(now);
        assert!(connection.poll_timeout().is_none_or(|next| next > now), "a hot loop");
        driver.drain(&mut connection, now);
    }
    let received = driver.received;
    assert!(driver.seen.closed.is_some(), "no end");
    // One poll for each read finds nothing more, and each event costs a byte at least. A byte inflates to at most 1,032, and a poll inflates some 256
    // of them at least.
    let bound = 4 * received + 2 * reads + 64 + if compresses { 5 * received } else { 0 };
    assert!(driver.polls <= bound, "{} polls for {received} bytes in {reads} reads", driver.polls);
    assert_eq!(connection.state(), ReadyState::Closed);
    driver.seen
}

impl Connection {
    fn is_compressing(&self) -> bool {
        #[cfg(feature = "deflate")]
        return self.deflate.is_some();
        #[cfg(not(feature = "deflate"))]
        false
    }
}

struct Driver {
    buf: RecvBuf,
    read_size: usize,
    received: usize,
    /// The most that a poll has left in the buffer, or lent from it.
    peak: usize,
    seen: Seen,
    in_pieces: bool,
    /// The message that arrives in pieces.
    begun: Vec<u8>,
    dropped: bool,
    /// How often others had their turn while a message was inflated. Each time at least a final block of 10 bits had been taken, or 256 bytes
    /// had come of others, at most 1,032 of each byte.
    turns: usize,
    polls: usize,
}

impl Driver {
    fn new(read_size: usize, in_pieces: bool) -> Self {
        Self {
            buf: RecvBuf::with_read_size(read_size),
            read_size,
            received: 0,
            peak: 0,
            seen: Seen::default(),
            in_pieces,
            begun: Vec::new(),
            dropped: false,
            turns: 0,
            polls: 0,
        }
    }

    /// Memory grows with what was received, not with what was promised.
    fn check_memory(&self, compresses: bool) {
        // Each storage doubles when it is full; that of an inflated message begins with four times what it comes from, and a little.
        let inflated = if compresses { 2 * (self.peak + 256) + 4 * self.received + 512 } else { 0 };
        let bound = 2 * self.received + 2 * self.read_size + inflated;
        assert!(self.buf.capacity() <= bound, "{} bytes for {} received", self.buf.capacity(), self.received);
    }

    /// The last message is within the limits, as far as it has come.
    fn check_message(&self, config: &Config) {
        let whole = if let Some(Told::Message(message)) = self.seen.told.last() { message.as_bytes() } else { &[] };
        let len = self.begun.len().max(whole.len());
        assert!(len as u64 <= config.message_len_max, "a message of {len} bytes");
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &config.deflate {
            let inflated_max = (self.received as u64).saturating_mul(deflate.inflation_ratio_max.into());
            assert!(len as u64 <= INFLATION_RATIO_FREE_LEN.max(inflated_max), "a message of {len} bytes");
        }
    }

    /// Polls until nothing happens, writing everything in between.
    fn drain(&mut self, connection: &mut Connection, now: Instant) {
        loop {
            let before = (self.buf.len(), connection.buffered_len(), self.seen.told.len(), self.turns);
            let mut accept = false;
            let event = match self.in_pieces {
                true => connection.poll_event_in_pieces(now, &mut self.buf),
                false => connection.poll_event(now, &mut self.buf),
            };
            self.polls += 1;
            let happened = event.is_some();
            let lent_len = event.as_ref().map_or(0, lent_len);
            if let Some(event) = event {
                assert!(self.seen.closed.is_none(), "{event:?} after the end");
                let told = match event {
                    Event::Request(head) => {
                        accept = true;
                        Some(Told::Request(head.to_owned()))
                    }
                    Event::Open(_) => Some(Told::Open),
                    Event::Refused(refusal) => Some(Told::Refused(refusal.status)),
                    Event::Text(text) => Some(Told::Message(text.into())),
                    Event::Binary(bytes) => Some(Told::Message(bytes.into())),
                    Event::TextPiece { text, last } => {
                        assert!(last || !text.is_empty(), "an empty piece");
                        self.begun.extend(text.as_bytes());
                        let whole = last.then(|| String::from_utf8(std::mem::take(&mut self.begun)));
                        whole.map(|text| Told::Message(text.expect("pieces of text are text").into()))
                    }
                    Event::BinaryPiece { bytes, last } => {
                        assert!(last || !bytes.is_empty(), "an empty piece");
                        self.begun.extend(bytes);
                        last.then(|| Told::Message(std::mem::take(&mut self.begun).into()))
                    }
                    #[cfg(feature = "deflate")]
                    Event::Inflating => {
                        self.turns += 1;
                        assert!(self.turns <= 5 * self.received, "no progress");
                        None
                    }
                    Event::Ping(payload) => Some(Told::Ping(payload.to_vec())),
                    Event::Pong { payload, .. } => Some(Told::Pong(payload.to_vec())),
                    Event::CloseReceived { code, reason } => Some(Told::Close(code, reason.to_owned())),
                    Event::Closed(closed) => {
                        self.seen.closed = Some(closed);
                        None
                    }
                };
                self.seen.told.extend(told);
            }
            self.peak = self.peak.max(lent_len).max(self.buf.len());
            self.check_message(connection.config());
            if accept {
                connection.accept(now, &Acceptance::new()).expect("a request waits");
            }
            let wrote = connection.buffered_len() > 0;
            while connection.buffered_len() > 0 {
                let n = connection.outgoing().len();
                self.seen.sent.extend(connection.outgoing());
                connection.advance_outgoing(now, n);
            }
            if let Some(order) = connection.poll_stream() {
                assert!(!self.dropped, "{order:?} after the last order");
                self.dropped = order == StreamOrder::Drop;
            }
            let after = (self.buf.len(), connection.buffered_len(), self.seen.told.len(), self.turns);
            assert!(
                !happened || before != after || self.seen.closed.is_some() || wrote || self.in_pieces,
                "no progress"
            );
            if !happened && !wrote {
                return;
            }
        }
    }
}

fn lent_len(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) | Event::TextPiece { text, .. } => text.len(),
        Event::Binary(bytes) | Event::BinaryPiece { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

/// How long it takes at most to notice that a peer is silent: handshake 10 s, ping 25 s and pong 20 s (or idle 5 s), and close 10 s.
const END_WITHIN: Duration = Duration::from_secs(10 + 25 + 20 + 10);
