//! Any sequence of calls: nothing panics, the end is told once and last, and no deadline is due again at once.

mod support;

use std::io::IoSlice;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use sansocket::{
    Acceptance, ClientRequest, CloseCode, Config, Connection, Event, FragmentPosition, Message, MessageKind,
    ReadyState, RecvBuf, Rejection, Role, StreamOrder,
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
    let frame = (0..16_u8, payload, 0..20_u8).prop_map(|(kind, payload, twist)| {
        let frame = match kind {
            0..=3 => text(&payload),
            4..=6 => binary(&payload),
            7..=9 => continuation(&payload),
            10 | 11 => ping(&payload),
            12 => pong(&payload),
            13 => close(1000 + u16::from(payload.len() as u8), &payload),
            14 => close_empty(),
            _ => opcode(payload.len() as u8 & 0xF, &payload),
        };
        match twist {
            0..=3 => frame.more(),
            4 => frame.rsv(1),
            5 => frame.wrongly_masked(),
            6 => frame.len_in_64_bits(),
            7 => frame.promising(1 << 40),
            8 => frame.promising(payload.len() as u64 + 1),
            _ => frame,
        }
    });
    proptest::collection::vec(frame, 1..6)
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..130);
    prop_oneof![
        2 => bytes().prop_map(Op::Receive),
        8 => frames().prop_map(Op::Frames),
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
        1 => Just(Op::Release),
        1 => Just(Op::ReleaseBuf),
        1 => (0..50_usize).prop_map(Op::ConsumeUnread),
        1 => (0..50_usize).prop_map(Op::SpareOnly),
        1 => Just(Op::SwapBuf),
        1 => Just(Op::TakeOver),
        1 => Just(Op::FreshBuf),
    ]
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
    (any::<bool>(), timeouts, any::<bool>(), limits).prop_map(|(other_times, timeouts, other_limits, limits)| {
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
        }
        config
    })
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
}

impl Caller {
    fn new(role: Role, is_open: bool, config: Config) -> Self {
        // Far enough in the future that time can go back before the start of the connection.
        let start = Instant::now();
        let now = start + Duration::from_secs(60);
        let request = ClientRequest::new("ws://localhost/").unwrap().subprotocol("chat").unwrap();
        let connection = match (is_open, role) {
            (true, role) => Connection::open(role, config, SEED, now),
            (false, Role::Client) => Connection::client(&request, config, SEED, now),
            (false, Role::Server) => Connection::server(config, SEED, now),
        };
        let head = String::from_utf8_lossy(connection.outgoing()).into_owned();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = sansocket::handshake::accept_key(key.as_bytes());
        let response = format!(
            "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            accept.as_str()
        );
        Self {
            connection,
            buf: RecvBuf::with_read_size(64),
            other_buf: RecvBuf::new(),
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
                    drop(Seen::from(&event));
                }
            }
            Op::TakePayload => drop(buf.take_payload()),
            Op::TakeMessage => drop(buf.take_message()),
            Op::Eof => connection.handle_eof(),
            Op::TransportError => connection.handle_transport_error(),
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
            Op::Advance(n) => connection.advance_outgoing(now, *n),
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
            Op::FreshBuf => *buf = RecvBuf::new(),
        }
        self.hold();
    }

    /// A send that is refused has changed nothing.
    fn holds_send<E>(&mut self, send: impl FnOnce(&mut Connection) -> Result<(), E>) {
        let (waiting, state) = (self.connection.buffered_len(), self.connection.state());
        match send(&mut self.connection) {
            Ok(()) => assert!(self.connection.buffered_len() > waiting && state == ReadyState::Open),
            Err(_) => assert_eq!((self.connection.buffered_len(), self.connection.state()), (waiting, state)),
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
        drop(format!("{connection:?} {:?}", self.buf));
    }

    /// However it was treated, an abort ends it.
    fn finish(mut self) {
        for op in [Op::Abort, Op::Poll, Op::Poll, Op::PollStream, Op::PollStream] {
            self.apply(&op);
        }
        assert!(self.closed && self.orders.last() == Some(&StreamOrder::Drop));
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_calls_panics_or_tells_the_end_twice(
        is_server: bool,
        is_open: bool,
        config in any_config(),
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut caller = Caller::new(if is_server { Role::Server } else { Role::Client }, is_open, config);
        for op in &ops {
            caller.apply(op);
        }
        caller.finish();
    }

    /// The same bytes give the same events, however they are cut; here for bytes that nobody thought of.
    #[test]
    fn no_cut_changes_what_any_bytes_give(
        is_server: bool,
        frames in frames(),
        more in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(any::<Index>(), 0..6),
    ) {
        let role = if is_server { Role::Server } else { Role::Client };
        let wire = [wire_to(role, &frames), more].concat();
        let run = |cuts: &[usize]| {
            let mut bench = Bench::open(role, config(|_| {}));
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
