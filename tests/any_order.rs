//! Any sequence of calls: nothing panics, the end is told once and last, no deadline is due again at once, and memory is bounded by what arrived, what was
//! ordered and the limits.

mod support;

use std::io::IoSlice;
use std::time::{Duration, Instant};

use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sansocket::connection::CONTROL_ROOM;
#[cfg(feature = "deflate")]
use sansocket::deflate::{Compression, DeflateConfig, DeflateParams, DeflatePool, PreparedMessage};
use sansocket::{
    Acceptance, Accepts, ClientRequest, CloseCode, Config, Connection, Event, FragmentPosition, Message, MessageKind,
    ReadyState, RecvBuf, Rejection, Role, SendError, StreamOrder,
};
use support::*;

#[derive(Clone, Debug)]
enum Op {
    Receive(Vec<u8>),
    Frames(Vec<Frame>),
    Request,
    Response,
    Poll,
    PollInPieces,
    PollControl,
    TakePayload,
    TakeMessage,
    Eof,
    TransportError,
    Timeout,
    /// To the next deadline, and so much further.
    Skip(u16),
    /// Anywhere: so many milliseconds after the start.
    Time(u32),
    Accept,
    Reject(u16),
    Close(u16, String),
    Abort,
    SendText(String),
    SendBinary(usize),
    SendShared(usize),
    SendMessage(String),
    /// A text that was compressed before.
    #[cfg(feature = "deflate")]
    SendPrepared(usize),
    /// Always compressed, or never.
    #[cfg(feature = "deflate")]
    SendAnyway(bool, String),
    Fragment(bool, bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Advance(usize),
    PollStream,
    Release,
    ReleaseBuf,
    ConsumeUnread(usize),
    SpareOnly(usize),
    SwapBuf,
    TakeOver,
    FreshBuf,
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20),
        "\\PC{0,20}".prop_map(String::into_bytes),
        (0..200_usize).prop_map(|len| vec![b'x'; len]),
    ];
    let frame = (0..19_u8, payload, 0..40_u8).prop_map(|(kind, payload, twist)| {
        let frame = match kind {
            0..=3 => text(&payload),
            4..=6 => binary(&payload),
            7..=9 => continuation(&payload),
            10 | 11 => ping(&payload),
            12 => pong(&payload),
            13 => close(1000 + u16::from(payload.len() as u8), &payload),
            14 => close_empty(),
            15 => text(zipped(&payload)).rsv(RSV1),
            16 => binary(zipped(&payload.repeat(100))).rsv(RSV1),
            17 => text(&payload).rsv(RSV1),
            _ => opcode(payload.len() as u8 & 0xF, &payload),
        };
        match twist {
            0..=3 => frame.more(),
            4 => frame.rsv(1),
            5 => frame.wrongly_masked(),
            6 => frame.len_in_64_bits(),
            7 => frame.promising(1 << 40),
            8 => frame.promising(payload.len() as u64 + 1),
            9 => frame.promising(1 << 20),
            10 => frame.rsv(RSV1),
            _ => frame,
        }
    });
    proptest::collection::vec(frame, 1..6)
}

/// A compressed message, as another library makes it: it ends with a final block, behind which stands the header of an empty one.
fn zipped(message: &[u8]) -> Vec<u8> {
    [&compress_to_vec(message, 9)[..], &[0x00]].concat()
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..130);
    let op = prop_oneof![
        2 => bytes().prop_map(Op::Receive),
        8 => frames().prop_map(Op::Frames),
        4 => Just(Op::Frames(vec![text("hi")])),
        2 => (1..6_usize).prop_map(|count| Op::Frames(vec![ping("ping"); count])),
        3 => Just(Op::Request),
        3 => Just(Op::Response),
        8 => Just(Op::Poll),
        3 => Just(Op::PollInPieces),
        2 => Just(Op::PollControl),
        2 => Just(Op::TakePayload),
        2 => Just(Op::TakeMessage),
        1 => Just(Op::Eof),
        1 => Just(Op::TransportError),
        4 => Just(Op::Timeout),
        3 => any::<u16>().prop_map(Op::Skip),
        2 => (0..200_000_u32).prop_map(Op::Time),
        3 => Just(Op::Accept),
        1 => any::<u16>().prop_map(Op::Reject),
        1 => (0..5010_u16, "\\PC{0,60}").prop_map(|(code, reason)| Op::Close(code, reason)),
        1 => Just(Op::Abort),
        2 => "\\PC{0,30}".prop_map(Op::SendText),
        2 => (0..3000_usize).prop_map(Op::SendBinary),
        1 => (0..9000_usize).prop_map(Op::SendShared),
        1 => "\\PC{0,30}".prop_map(Op::SendMessage),
        2 => (any::<bool>(), any::<bool>(), bytes()).prop_map(|(text, last, payload)| Op::Fragment(text, last, payload)),
        1 => bytes().prop_map(Op::Ping),
        1 => bytes().prop_map(Op::Pong),
        5 => prop_oneof![0..200_usize, Just(usize::MAX)].prop_map(Op::Advance),
        3 => Just(Op::PollStream),
        2 => Just(Op::Release),
        1 => Just(Op::ReleaseBuf),
        1 => (0..50_usize).prop_map(Op::ConsumeUnread),
        1 => (0..50_usize).prop_map(Op::SpareOnly),
        1 => Just(Op::SwapBuf),
        1 => Just(Op::TakeOver),
        1 => Just(Op::FreshBuf),
    ];
    #[cfg(feature = "deflate")]
    let op = prop_oneof![
        40 => op,
        1 => (0..9000_usize).prop_map(Op::SendPrepared),
        1 => (any::<bool>(), "\\PC{0,30}").prop_map(|(always, text)| Op::SendAnyway(always, text)),
    ];
    op
}

/// What a connection is made with.
#[derive(Clone, Debug)]
struct Setup {
    config: Config,
    #[cfg(feature = "deflate")]
    params: Option<DeflateParams>,
}

#[cfg(not(feature = "deflate"))]
fn any_setup() -> impl Strategy<Value = Setup> {
    any_config().prop_map(|config| Setup { config })
}

/// Half of the time with compression, by settings in and out of their ranges.
#[cfg(feature = "deflate")]
fn any_setup() -> impl Strategy<Value = Setup> {
    let windows = || (any::<bool>(), 0..20_u8);
    let params = (windows(), windows()).prop_map(|(server, client)| DeflateParams {
        server_no_context_takeover: server.0,
        client_no_context_takeover: client.0,
        server_max_window_bits: server.1,
        client_max_window_bits: client.1,
    });
    let small = || select(&[0, 1, 50, 1000, usize::MAX][..]);
    let deflate = ((0..12_u8, 0..12_u8, 0..20_u8), small(), small(), 0..3_usize).prop_map(
        |((level, memory_level, window_bits), message_len_min, inflated_per_poll_max, idle_max)| {
            let mut deflate = DeflateConfig::default();
            (deflate.level, deflate.memory_level, deflate.window_bits) = (level, memory_level, window_bits);
            (deflate.message_len_min, deflate.inflated_per_poll_max) = (message_len_min, inflated_per_poll_max);
            deflate.pool = DeflatePool::new(idle_max);
            deflate
        },
    );
    (any_config(), proptest::option::of(deflate), proptest::option::weighted(0.9, params)).prop_map(
        |(mut config, deflate, params)| {
            config.deflate = deflate;
            Setup { config, params }
        },
    )
}

fn any_config() -> impl Strategy<Value = Config> {
    let timeout = || {
        prop_oneof![
            Just(None),
            Just(Some(Duration::ZERO)),
            Just(Some(Duration::MAX)),
            (1..60_000_u64).prop_map(|ms| Some(Duration::from_millis(ms))),
        ]
    };
    let small = || prop_oneof![Just(0_usize), Just(1), 0..2000_usize, Just(usize::MAX)];
    let timeouts = (timeout(), timeout(), timeout(), timeout(), timeout(), timeout(), timeout());
    let limits = (small(), small(), small(), small(), small(), small(), small(), small());
    let accepts = select(&[Accepts::TextAndBinary, Accepts::TextOnly, Accepts::BinaryOnly][..]);
    (any::<bool>(), timeouts, any::<bool>(), limits, accepts).prop_map(
        |(other_times, timeouts, other_limits, limits, accepts)| {
            let mut config = Config::default();
            if other_times {
                (config.handshake_timeout, config.ping_interval, config.pong_timeout) =
                    (timeouts.0, timeouts.1, timeouts.2);
                (config.idle_timeout, config.write_timeout) = (timeouts.3, timeouts.4);
                (config.message_timeout, config.close_timeout) = (timeouts.5, timeouts.6);
            }
            if other_limits {
                (config.frame_len_max, config.message_len_max) = (limits.0 as u64, limits.1 as u64);
                (config.fragments_max, config.head_len_max) = (limits.2 as u32, limits.3.max(300));
                (config.headers_max, config.refusal_body_len_max) = (limits.4, limits.5);
                (config.high_water_mark, config.unsent_pongs_max) = (limits.6, limits.7 as u32);
                config.accepts = accepts;
            }
            config
        },
    )
}

/// A connection in any state, and the caller who mistreats it.
struct Caller {
    connection: Connection,
    buf: RecvBuf,
    other_buf: RecvBuf,
    start: Instant,
    now: Instant,
    closed: bool,
    orders: Vec<StreamOrder>,
    response: Vec<u8>,
    /// How many bytes arrived, in whatever buffer.
    received: usize,
    /// The most that a poll has left in a buffer, or lent from it.
    peak: usize,
    /// The most output that one order made.
    order_len_max: usize,
    /// Whether something was told that no order has answered.
    may_answer: bool,
    /// How many pings were told since output was written.
    pings: u32,
    transport_failed: bool,
}

impl Caller {
    fn new(role: Role, is_open: bool, setup: Setup) -> Self {
        let config = setup.config;
        // Far enough in the future that time can go back before the start of the connection.
        let start = Instant::now();
        let now = start + Duration::from_secs(60);
        let request = ClientRequest::new("ws://localhost/").unwrap().subprotocol("chat").unwrap();
        let connection = match (is_open, role) {
            (true, role) => Connection::open(role, config, SEED, now),
            (false, Role::Client) => Connection::client(&request, config, SEED, now),
            (false, Role::Server) => Connection::server(config, SEED, now),
        };
        #[cfg(feature = "deflate")]
        let connection = connection.with_deflate(setup.params);
        let head = String::from_utf8_lossy(connection.outgoing()).into_owned();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = sansocket::handshake::accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept.as_str()
        );
        Self {
            received: 0,
            peak: 0,
            may_answer: false,
            pings: 0,
            transport_failed: false,
            order_len_max: connection.buffered_len(),
            connection,
            buf: RecvBuf::with_read_size(READ_SIZE),
            other_buf: RecvBuf::with_read_size(READ_SIZE),
            start,
            now,
            closed: false,
            orders: Vec::new(),
            response: response.into_bytes(),
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        let connection = &mut self.connection;
        let buf = &mut self.buf;
        let (len_before, waiting) = (buf.len(), connection.buffered_len());
        match op {
            Op::Receive(bytes) => buf.extend_from_slice(bytes),
            Op::Frames(frames) => buf.extend_from_slice(&wire_to(connection.role(), frames)),
            Op::Request => buf.extend_from_slice(REQUEST),
            Op::Response => buf.extend_from_slice(&self.response),
            Op::Poll | Op::PollInPieces | Op::PollControl => {
                let event = match op {
                    Op::Poll => connection.poll_event(now, buf),
                    Op::PollInPieces => connection.poll_event_in_pieces(now, buf),
                    _ => connection.poll_control_event(now, buf),
                };
                if let Some(event) = event {
                    assert!(!self.closed, "{event:?} after the end");
                    self.closed = matches!(event, Event::Closed(_));
                    let seen = Seen::from(&event);
                    self.may_answer = true;
                    self.pings += u32::from(matches!(seen, Seen::Ping(_)));
                    let lent_len = match seen {
                        Seen::Text(text) | Seen::TextPiece(text, _) => text.len(),
                        Seen::Binary(bytes) | Seen::BinaryPiece(bytes, _) => bytes.len(),
                        _ => 0,
                    };
                    assert!(lent_len as u64 <= connection.config().message_len_max, "a message of {lent_len} bytes");
                    self.peak = self.peak.max(lent_len);
                }
                self.peak = self.peak.max(buf.len());
            }
            Op::TakePayload => drop(buf.take_payload()),
            Op::TakeMessage => drop(buf.take_message()),
            Op::Eof => connection.handle_eof(),
            Op::TransportError => {
                self.transport_failed = true;
                connection.handle_transport_error();
            }
            Op::Timeout => {
                connection.handle_timeout(now);
                assert!(connection.poll_timeout().is_none_or(|next| next > now), "a hot loop");
            }
            Op::Skip(further) => {
                if let Some(next) = connection.poll_timeout() {
                    self.now = next + Duration::from_millis(u64::from(*further));
                    connection.handle_timeout(self.now);
                    assert!(connection.poll_timeout().is_none_or(|next| next > self.now), "a hot loop");
                }
            }
            Op::Time(ms) => self.now = self.start + Duration::from_millis(u64::from(*ms)),
            Op::Accept => drop(connection.accept(now, &Acceptance::new())),
            Op::Reject(status) => {
                if let Ok(rejection) = Rejection::new(*status) {
                    let _ = connection.reject(now, &rejection.body("no"));
                }
            }
            Op::Close(code, reason) => drop(connection.close(now, CloseCode(*code), reason)),
            Op::Abort => connection.abort(),
            Op::SendText(text) => self.holds_send(|connection| connection.send_text(now, text)),
            Op::SendBinary(len) => self.holds_send(|connection| connection.send_binary(now, &vec![7; *len])),
            Op::SendShared(len) => {
                self.holds_send(|connection| connection.send_binary_shared(now, &vec![7; *len].into()));
            }
            Op::SendMessage(text) => self.holds_send(|connection| connection.send(now, &Message::from(&text[..]))),
            #[cfg(feature = "deflate")]
            Op::SendPrepared(len) => {
                let prepared = PreparedMessage::new("ab".repeat(*len), &DeflateConfig::default());
                self.holds_send(|connection| connection.send_prepared(now, &prepared));
            }
            #[cfg(feature = "deflate")]
            Op::SendAnyway(always, text) => {
                let compression = if *always { Compression::Always } else { Compression::Never };
                let send = |connection: &mut Connection| connection.send_text(now, text);
                self.holds_send(|connection| connection.with_compression(compression, send));
            }
            Op::Fragment(is_text, last, payload) => {
                let position = if *last { FragmentPosition::Last } else { FragmentPosition::More };
                self.holds_send(|connection| match is_text {
                    true if payload.len() % 2 == 0 => {
                        connection.send_text_fragment(now, &String::from_utf8_lossy(payload), position)
                    }
                    true => connection.send_fragment(now, MessageKind::Text, payload, position),
                    false => connection.send_binary_fragment(now, payload, position),
                });
            }
            Op::Ping(payload) => self.holds_send(|connection| connection.ping(now, payload)),
            Op::Pong(payload) => self.holds_send(|connection| connection.pong(now, payload)),
            Op::Advance(n) => {
                if *n > 0 && waiting > 0 {
                    self.pings = 0;
                }
                connection.advance_outgoing(now, *n);
            }
            Op::PollStream => {
                if let Some(order) = connection.poll_stream() {
                    assert!(!self.orders.contains(&order), "{order:?} twice");
                    assert!(!self.orders.contains(&StreamOrder::Drop), "{order:?} after the last order");
                    self.orders.push(order);
                }
            }
            Op::Release => connection.release(),
            Op::ReleaseBuf => buf.release(),
            Op::ConsumeUnread(len) => buf.consume_unread(*len),
            Op::SpareOnly(len) => {
                assert!(!buf.spare_mut().is_empty());
                buf.advance_received(*len);
            }
            Op::SwapBuf => std::mem::swap(buf, &mut self.other_buf),
            Op::TakeOver => self.other_buf.take_over(buf),
            Op::FreshBuf => *buf = RecvBuf::with_read_size(READ_SIZE),
        }
        if matches!(op, Op::Receive(_) | Op::Frames(_) | Op::Request | Op::Response | Op::SpareOnly(_)) {
            self.received += self.buf.len() - len_before;
        }
        if !matches!(op, Op::Poll | Op::PollInPieces | Op::PollControl | Op::Timeout | Op::Skip(_)) {
            let ordered = self.connection.buffered_len().saturating_sub(waiting);
            self.order_len_max = self.order_len_max.max(ordered);
        }
        self.hold();
    }

    /// A send that is refused has changed nothing, and is not refused for want of room while there is some. One that is taken is an answer when there
    /// is none.
    fn holds_send(&mut self, send: impl FnOnce(&mut Connection) -> Result<(), SendError>) {
        let (waiting, state) = (self.connection.buffered_len(), self.connection.state());
        let has_room = waiting <= self.connection.config().high_water_mark.saturating_add(CONTROL_ROOM);
        match send(&mut self.connection) {
            Ok(()) => {
                assert!(self.connection.buffered_len() > waiting && state == ReadyState::Open);
                assert!(std::mem::take(&mut self.may_answer) || has_room, "{waiting} bytes waited");
            }
            Err(error) => {
                assert_eq!((self.connection.buffered_len(), self.connection.state()), (waiting, state));
                assert!(!has_room || !matches!(error, SendError::AboveHighWaterMark { .. }), "{waiting} bytes waited");
            }
        }
    }

    /// What holds after any call.
    fn hold(&self) {
        let connection = &self.connection;
        assert_eq!(connection.outgoing().is_empty(), connection.buffered_len() == 0);
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = connection.outgoing_slices(&mut slices);
        let in_slices: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        assert!(filled == 64 || in_slices == connection.buffered_len());
        assert_eq!(connection.poll_timeout(), connection.next_deadline().map(|(at, _)| at));
        if self.closed {
            assert_eq!(connection.state(), ReadyState::Closed);
        }
        if connection.state() == ReadyState::Closed {
            assert!(
                connection.poll_timeout().is_none() && connection.outgoing().is_empty() && !connection.wants_read()
            );
        }
        assert!(connection.state() == ReadyState::Closed || !self.orders.contains(&StreamOrder::Drop));
        self.hold_bounds();
        drop(format!("{connection:?} {:?}", self.buf));
    }

    /// Memory grows with what was received and ordered, not with what was promised.
    fn hold_bounds(&self) {
        // Each storage doubles when it is full; that of an inflated message begins with four times what it comes from, and a little.
        let inflated = 2 * (self.peak + 256) + 4 * self.received + 512;
        let bound = 2 * self.received + 2 * READ_SIZE + if cfg!(feature = "deflate") { inflated } else { 0 };
        for buf in [&self.buf, &self.other_buf] {
            assert!(buf.capacity() <= bound, "{} bytes for {} received", buf.capacity(), self.received);
        }
        let config = self.connection.config();
        // With the transport gone, pings are not answered.
        assert!(self.pings <= config.unsent_pongs_max.max(1) || self.transport_failed, "{} pings", self.pings);
        // Pongs; a heartbeat, a Close, and what is said to a request that is none.
        let unordered = (config.unsent_pongs_max.max(1) as usize).saturating_mul(131).saturating_add(2 * 131 + 512);
        let ordered = config.high_water_mark.saturating_add(CONTROL_ROOM + 2 * self.order_len_max);
        assert!(self.connection.buffered_len() <= ordered.saturating_add(unordered), "{:?}", self.connection);
    }

    /// However it was treated, an abort ends it.
    fn finish(mut self) {
        for op in [Op::Abort, Op::Poll, Op::Poll, Op::PollStream, Op::PollStream] {
            self.apply(&op);
        }
        assert!(self.closed && self.orders.last() == Some(&StreamOrder::Drop));
    }
}

const READ_SIZE: usize = 64;

/// As the tests write reserved bits.
const RSV1: u8 = 0b100;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_panics_or_tells_the_end_twice(
        is_server: bool,
        is_open: bool,
        setup in any_setup(),
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut caller = Caller::new(if is_server { Role::Server } else { Role::Client }, is_open, setup);
        for op in &ops {
            caller.apply(op);
        }
        caller.finish();
    }

    /// The same bytes give the same events, however they are cut; here for bytes that nobody thought of.
    #[test]
    fn no_cut_changes_what_any_bytes_give(
        is_server: bool,
        deflates: bool,
        frames in frames(),
        more in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(any::<Index>(), 0..6),
    ) {
        let role = if is_server { Role::Server } else { Role::Client };
        let wire = [wire_to(role, &frames), more].concat();
        let run = |cuts: &[usize]| {
            let mut bench = Bench::open(role, config(|_| {}));
            #[cfg(feature = "deflate")]
            {
                let config = config(|config| config.deflate = deflates.then(DeflateConfig::default));
                bench.connection = Connection::open(role, config, SEED, bench.now).with_deflate(Some(DeflateParams::default()));
            }
            let mut seen = Vec::new();
            for pair in cuts.windows(2) {
                seen.extend(bench.receive(&wire[pair[0]..pair[1]]));
            }
            let sent = bench.flush();
            seen.extend(bench.eof());
            (seen, sent)
        };
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).chain([0, wire.len()]).collect();
        at.sort_unstable();
        prop_assert_eq!(run(&at), run(&[0, wire.len()]));
    }
}
