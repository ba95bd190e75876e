//! What must hold of any bytes from a peer. Run by `fuzz/` and by the tests.
//!
//! The first two bytes of the input say how the rest is cut; the rest is what the peer sends, and then it is gone.

mod operations;

use std::time::{Duration, Instant};

use super::*;
use crate::buffer::{READ_SIZE, RecvBuf};
use crate::frame::CloseCode;
use crate::handshake::Acceptance;
use crate::message::{Message, MessageKind};
pub use operations::operations;

/// A peer of an open connection, in both roles.
pub fn open(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        check(data, |now| Connection::open(role, config(), [7; 32], now));
    }
}

/// A peer with whom permessage-deflate was agreed on, in both roles.
#[cfg(feature = "deflate")]
pub fn deflate(data: &[u8]) {
    use crate::deflate::{DeflateConfig, DeflateParams};

    let pool = crate::deflate::DeflatePool::new(2);
    let config = || {
        let deflate = DeflateConfig { inflated_per_poll_max: 1000, pool: pool.clone(), ..DeflateConfig::default() };
        Config { deflate: Some(deflate), ..config() }
    };
    let params =
        DeflateParams { client_max_window_bits: 9, server_no_context_takeover: true, ..DeflateParams::default() };
    for role in [Role::Server, Role::Client] {
        check(data, |now| Connection::open(role, config(), [7; 32], now).with_deflate(Some(params)));
    }
}

/// The offers of a client and the answer of a server, a line each: what is agreed on is within the RFC's limits and one's own.
#[cfg(feature = "deflate")]
pub fn extensions(data: &[u8]) {
    use crate::handshake::{check_connect_response, parse_extensions};

    let lines = data.split(|&byte| byte == b'\n');
    let fields: Vec<(&str, &[u8])> = lines.map(|line| ("Sec-WebSocket-Extensions", line)).collect();
    let config = Config { deflate: Some(crate::deflate::DeflateConfig::default()), ..config() };
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
    check(data, |now| Connection::server(config(), [7; 32], now));
}

/// A server of a client, handshake first. With this seed the accept key is always the same.
pub fn response(data: &[u8]) {
    let request = ClientRequest::new("ws://localhost/").and_then(|request| request.subprotocol("chat"));
    let Ok(request) = request else {
        unreachable!("a fixed request is well-formed");
    };
    check(data, |now| Connection::client(&request, config(), [7; 32], now));
}

fn config() -> Config {
    // Small, so that short inputs reach the limits.
    Config {
        frame_len_max: 4096,
        message_len_max: 8192,
        fragments_max: 16,
        headers_max: 8,
        head_len_max: 512,
        refusal_body_len_max: 64,
        unsent_pongs_max: 4,
        ..Config::default()
    }
}

fn check(data: &[u8], connect: impl Fn(Instant) -> Connection) {
    let Some((&[sizes, pieces], wire)) = data.split_first_chunk() else {
        return;
    };
    let whole = run(&connect, wire, |_| usize::MAX, false);
    let cut = |i: usize| 1 + (usize::from(sizes) >> (i % 8)) % 40;
    assert_eq!(run(&connect, wire, cut, pieces & 1 == 1), whole, "the cut changes the events");
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
    Request(String),
    Open,
    Refused(u16),
    Message(Message),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(CloseCode, String),
}

fn run(connect: impl Fn(Instant) -> Connection, wire: &[u8], cut: impl Fn(usize) -> usize, in_pieces: bool) -> Seen {
    let start = Instant::now();
    let mut connection = connect(start);
    let compresses = connection.is_compressing();
    let mut driver = Driver { in_pieces, ..Driver::default() };
    let mut rest = wire;
    let mut received = 0;
    let mut reads = 0;
    driver.drain(&mut connection, start);
    while !rest.is_empty() && connection.wants_read() {
        let spare = driver.buf.spare_mut();
        let n = spare.len().min(rest.len()).min(cut(reads));
        spare[..n].copy_from_slice(&rest[..n]);
        driver.buf.advance_received(n);
        rest = &rest[n..];
        received += n;
        reads += 1;
        driver.drain(&mut connection, start);
        // A compressed message grows up to its limit, which the storage may overshoot by doubling.
        let inflated = if compresses { 3 * 8192 } else { 0 };
        let bound = 2 * received + 2 * READ_SIZE + inflated;
        assert!(driver.buf.capacity() <= bound, "memory grows with what was received");
    }
    connection.handle_eof();
    driver.drain(&mut connection, start);
    let mut now = start;
    while let Some(at) = connection.poll_timeout() {
        now = now.max(at) + Duration::from_millis(1);
        connection.handle_timeout(now);
        assert!(connection.poll_timeout().is_none_or(|next| next > now), "a hot loop");
        driver.drain(&mut connection, now);
    }
    assert!(driver.seen.closed.is_some(), "no end");
    // One poll for each read finds nothing more, and each event costs a byte at least; inflated ones come from few.
    let bound = 4 * received + 2 * reads + 64 + if compresses { 8192 / 1000 * received } else { 0 };
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

#[derive(Default)]
struct Driver {
    buf: RecvBuf,
    seen: Seen,
    in_pieces: bool,
    /// The message that arrives in pieces.
    begun: Vec<u8>,
    dropped: bool,
    polls: usize,
}

impl Driver {
    /// Polls until nothing happens, writing everything in between.
    fn drain(&mut self, connection: &mut Connection, now: Instant) {
        loop {
            let before = (self.buf.len(), connection.buffered_len(), self.seen.told.len());
            let mut accept = false;
            let event = match self.in_pieces {
                true => connection.poll_event_in_pieces(now, &mut self.buf),
                false => connection.poll_event(now, &mut self.buf),
            };
            self.polls += 1;
            let happened = event.is_some();
            if let Some(event) = event {
                assert!(self.seen.closed.is_none(), "{event:?} after the end");
                let told = match event {
                    Event::Request(head) => {
                        accept = true;
                        Some(Told::Request(format!("{head:?}")))
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
                    Event::Inflating => None,
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
            let after = (self.buf.len(), connection.buffered_len(), self.seen.told.len());
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
