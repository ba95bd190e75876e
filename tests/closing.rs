//! The end of a connection: every order of what can lead to it, and what is reported of each. RFC 6455 section 7.

mod support;

use std::time::Duration;

use sansocket::{
    Acceptance, ClientRequest, CloseCause, CloseCode, Closed, Config, Deadline, ReadyState, RecvBuf, Rejection, Role,
    Side, StreamOrder,
};
use support::*;

/// What can happen to a connection, from either side and from below.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    LocalClose,
    RemoteClose,
    Eof,
    TransportError,
    Fault,
    DeadlinePasses,
    Abort,
    Send,
    /// The transport takes all there is.
    Flush,
}

const STEPS: [Step; 9] = [
    Step::LocalClose,
    Step::RemoteClose,
    Step::Eof,
    Step::TransportError,
    Step::Fault,
    Step::DeadlinePasses,
    Step::Abort,
    Step::Send,
    Step::Flush,
];

/// A connection and all that was seen of its end.
struct Run {
    bench: Bench,
    closed: Option<Closed>,
    orders: Vec<StreamOrder>,
    sent: Vec<u8>,
    /// When the end began.
    ending_since: Option<std::time::Instant>,
    is_broken: bool,
}

impl Run {
    fn new(role: Role) -> Self {
        let bench = Bench::open(role, config(|_| {}));
        Self { bench, closed: None, orders: Vec::new(), sent: Vec::new(), ending_since: None, is_broken: false }
    }

    fn step(&mut self, step: Step) {
        let role = self.bench.connection.role();
        let now = self.bench.now;
        let connection = &mut self.bench.connection;
        match step {
            Step::LocalClose => connection.close(now, CloseCode(4000), "local").unwrap(),
            Step::RemoteClose => self.bench.buf.extend_from_slice(&wire_to(role, &[close(4001, "remote")])),
            Step::Fault => self.bench.buf.extend_from_slice(&wire_to(role, &[opcode(3, "")])),
            Step::Eof => connection.handle_eof(),
            Step::TransportError => {
                connection.handle_transport_error();
                self.is_broken = true;
            }
            Step::DeadlinePasses => {
                if let Some(next) = connection.poll_timeout() {
                    self.bench.now = next.max(now);
                    connection.handle_timeout(self.bench.now);
                    assert!(connection.poll_timeout().is_none_or(|next| next > self.bench.now), "a hot loop");
                }
            }
            Step::Abort => connection.abort(),
            Step::Send => drop(connection.send_text(now, "text")),
            Step::Flush if self.is_broken => {}
            Step::Flush => self.sent.extend(self.bench.flush()),
        }
    }

    /// What an adapter does after each step.
    fn settle(&mut self) {
        for seen in self.bench.poll() {
            assert!(self.closed.is_none(), "{seen:?} after the end");
            if let Seen::Closed(closed) = seen {
                self.closed = Some(closed);
            }
        }
        while let Some(order) = self.bench.connection.poll_stream() {
            assert!(!self.orders.contains(&StreamOrder::Drop), "{order:?} after the transport was dropped");
            if order == StreamOrder::ShutdownWrite {
                assert!(self.orders.is_empty(), "shut down twice");
                assert!(self.bench.connection.outgoing().is_empty(), "shut down before all was written");
            }
            self.orders.push(order);
        }
        let connection = &self.bench.connection;
        match connection.state() {
            ReadyState::Closing => drop(self.ending_since.get_or_insert(self.bench.now)),
            ReadyState::Closed => {
                assert!(self.closed.is_some(), "closed, but not told");
                assert_eq!(self.orders.last(), Some(&StreamOrder::Drop), "closed, but not dropped");
                assert_eq!(connection.poll_timeout(), None);
                assert!(connection.outgoing().is_empty() && !connection.wants_read());
            }
            _ => {}
        }
        if self.is_broken {
            assert_eq!(connection.state(), ReadyState::Closed, "a transport that failed has nothing to wait for");
        }
    }

    /// The time that is left, and what has to hold of any end.
    fn finish(mut self) -> Closed {
        if self.bench.connection.state() == ReadyState::Open {
            self.step(Step::LocalClose);
            self.settle();
        }
        if let Some(since) = self.ending_since
            && self.bench.connection.state() == ReadyState::Closing
        {
            self.bench.now = self.bench.now.max(since + close_timeout());
            self.bench.connection.handle_timeout(self.bench.now);
            self.settle();
        }
        assert_eq!(self.bench.connection.state(), ReadyState::Closed, "the close deadline has passed");
        // Whatever else happens, it is over.
        for step in STEPS {
            self.step(step);
            self.settle();
        }
        let closed = self.closed.unwrap();
        let sent = decode(&self.sent);
        let closes = sent.iter().filter(|frame| frame.opcode == 0x8).count();
        assert!(closes <= 1, "{sent:?}");
        assert!(closes == 0 || sent.last().unwrap().opcode == 0x8, "a frame after our Close: {sent:?}");
        assert!(!closed.clean || closes == 1, "clean, but our Close never left: {closed:?}");
        assert!(!closed.clean || closed.cause == CloseCause::CloseFrame, "clean, and yet {closed:?}");
        assert!(closed.clean || closed.cause != CloseCause::CloseFrame, "not clean, and no reason given: {closed:?}");
        closed
    }
}

fn run(role: Role, steps: &[Step], is_flushed: bool) -> Closed {
    let mut run = Run::new(role);
    for step in steps {
        run.step(*step);
        run.settle();
        if is_flushed {
            run.step(Step::Flush);
            run.settle();
        }
    }
    run.finish()
}

fn run_or_tell(role: Role, steps: &[Step], is_flushed: bool) {
    let outcome = std::panic::catch_unwind(|| run(role, steps, is_flushed));
    assert!(outcome.is_ok(), "in {role:?}, output flushed: {is_flushed}, after {steps:?}");
}

/// nhooyr/websocket before 1.8.7, CVE-2024-23672: close races.
#[test]
fn every_order_of_what_ends_a_connection_ends_it_once_and_in_time() {
    fn orders(prefix: &mut Vec<Step>, depth: usize, visit: &mut impl FnMut(&[Step])) {
        visit(prefix);
        if depth > 0 {
            for step in STEPS {
                prefix.push(step);
                orders(prefix, depth - 1, visit);
                prefix.pop();
            }
        }
    }
    let mut count = 0;
    orders(&mut Vec::new(), 4, &mut |steps| {
        for role in ROLES {
            for is_flushed in [false, true] {
                run_or_tell(role, steps, is_flushed);
                count += 1;
            }
        }
    });
    assert_eq!(count, 4 * (1 + 9 + 81 + 729 + 6561));
}

/// Deeper, without repeating a step.
#[test]
fn every_permutation_of_six_steps_ends_once_and_in_time() {
    fn permutations(prefix: &mut Vec<Step>, visit: &mut impl FnMut(&[Step])) {
        if prefix.len() == 6 {
            return visit(prefix);
        }
        // What ends all at once is in the other test: nothing new comes behind it.
        for step in STEPS {
            if !prefix.contains(&step) && !matches!(step, Step::Abort | Step::TransportError) {
                prefix.push(step);
                permutations(prefix, visit);
                prefix.pop();
            }
        }
    }
    permutations(&mut Vec::new(), &mut |steps| {
        for role in ROLES {
            run_or_tell(role, steps, false);
            run_or_tell(role, steps, true);
        }
    });
}

/// The same during the handshake, at either end.
#[test]
fn every_order_of_what_ends_a_handshake_ends_it_once_and_in_time() {
    #[derive(Clone, Copy, Debug)]
    enum Opening {
        Half,
        Whole,
        Bad,
        Accept,
        Reject,
        Other(Step),
    }
    use Opening::*;
    let mut all = vec![Half, Whole, Bad, Accept, Reject];
    all.extend([Step::LocalClose, Step::Eof, Step::TransportError, Step::DeadlinePasses, Step::Flush].map(Other));
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let sequences = all.iter().flat_map(|a| all.iter().flat_map(|b| all.iter().map(|c| [*a, *b, *c])));
    for steps in sequences.collect::<Vec<_>>() {
        for role in ROLES {
            let bench = match role {
                Role::Client => Bench::client(&request, config(|_| {})),
                Role::Server => Bench::server(config(|_| {})),
            };
            let mut run = Run { bench, ..Run::new(role) };
            for step in steps {
                let now = run.bench.now;
                let half: &[u8] = if role == Role::Client { b"HTTP/1.1 403 No\r\n" } else { b"GET / HTTP/1.1\r\n" };
                match step {
                    Half => run.bench.buf.extend_from_slice(half),
                    Whole if role == Role::Client => {
                        run.bench.buf.extend_from_slice(b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno!");
                    }
                    Whole => run.bench.buf.extend_from_slice(REQUEST),
                    Bad => run.bench.buf.extend_from_slice(b"\0\r\n\r\n"),
                    Accept => drop(run.bench.connection.accept(now, &Acceptance::new())),
                    Reject => drop(run.bench.connection.reject(now, &Rejection::new(404).unwrap())),
                    // Frames and heads are not to be told apart here.
                    Other(Step::Flush) if !run.is_broken => drop(run.bench.flush()),
                    Other(step) => run.step(step),
                }
                run.settle();
            }
            let label = format!("{role:?}, {steps:?}");
            if run.bench.connection.state() == ReadyState::Connecting {
                run.step(Step::DeadlinePasses);
                run.settle();
            }
            if !matches!(run.bench.connection.state(), ReadyState::Closed | ReadyState::Closing) {
                run.step(Step::Abort);
                run.settle();
            }
            if run.bench.connection.state() == ReadyState::Closing {
                run.bench.now += close_timeout();
                run.bench.connection.handle_timeout(run.bench.now);
                run.settle();
            }
            assert_eq!(run.bench.connection.state(), ReadyState::Closed, "{label}");
            assert!(run.closed.is_some() && run.orders.last() == Some(&StreamOrder::Drop), "{label}");
        }
    }
}

fn close_timeout() -> Duration {
    Config::default().close_timeout.unwrap()
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Who began it, with which code, whether clean, and why.
#[test]
fn each_end_is_reported_as_what_it_was() {
    use Step::*;
    let frame = CloseCause::CloseFrame;
    let write = CloseCause::Deadline(Deadline::Write);
    let close = CloseCause::Deadline(Deadline::Close);
    // Steps, with `Flush` where the transport takes what waits; who, code, clean; cause, `None` for a protocol error.
    type Row = (&'static [Step], Side, u16, bool, Option<CloseCause>);
    let table: &[Row] = &[
        (&[LocalClose, Flush, RemoteClose, Eof], Side::Local, 4000, true, Some(frame)),
        (&[RemoteClose, Flush, Eof], Side::Remote, 4001, true, Some(frame)),
        // The peer's answer to a Close that only seems to have left.
        (&[LocalClose, RemoteClose, Flush, Eof], Side::Local, 4000, true, Some(frame)),
        (&[RemoteClose, LocalClose, Flush, Eof], Side::Remote, 4001, true, Some(frame)),
        (&[LocalClose, Flush, Eof], Side::Local, 4000, false, Some(CloseCause::EndOfStream)),
        (&[LocalClose, Flush, TransportError], Side::Local, 4000, false, Some(CloseCause::TransportFailed)),
        (&[LocalClose, TransportError], Side::Local, 4000, false, Some(CloseCause::TransportFailed)),
        (&[RemoteClose, TransportError], Side::Remote, 4001, false, Some(CloseCause::TransportFailed)),
        // Both frames are through: how the transport ends does not matter any more.
        (&[RemoteClose, Flush, TransportError], Side::Remote, 4001, true, Some(frame)),
        (&[RemoteClose, Flush, DeadlinePasses], Side::Remote, 4001, true, Some(frame)),
        (&[RemoteClose, Flush, Abort], Side::Remote, 4001, true, Some(frame)),
        (&[LocalClose, Flush, DeadlinePasses], Side::Local, 4000, false, Some(close)),
        (&[LocalClose, DeadlinePasses], Side::Local, 4000, false, Some(close)),
        (&[RemoteClose, DeadlinePasses], Side::Remote, 4001, false, Some(close)),
        (&[LocalClose, Abort], Side::Local, 4000, false, Some(CloseCause::Aborted)),
        (&[RemoteClose, Abort], Side::Remote, 4001, false, Some(CloseCause::Aborted)),
        (&[Abort], Side::Local, 1006, false, Some(CloseCause::Aborted)),
        (&[Eof], Side::Remote, 1006, false, Some(CloseCause::EndOfStream)),
        (&[TransportError], Side::Remote, 1006, false, Some(CloseCause::TransportFailed)),
        (&[Fault, Flush, Eof], Side::Local, 1002, false, None),
        (&[Fault, TransportError], Side::Local, 1002, false, None),
        (&[LocalClose, Fault, Flush, Eof], Side::Local, 4000, false, None),
        (&[Fault, LocalClose, Flush, Eof], Side::Local, 1002, false, None),
        (&[Fault, RemoteClose, Flush, Eof], Side::Local, 1002, false, None),
        (&[Fault, Abort], Side::Local, 1002, false, None),
        (
            &[DeadlinePasses, Flush, DeadlinePasses],
            Side::Local,
            1001,
            false,
            Some(CloseCause::Deadline(Deadline::Pong)),
        ),
        (&[Send, DeadlinePasses, DeadlinePasses], Side::Local, 1006, false, Some(write)),
        (&[Send, RemoteClose, Flush, Eof], Side::Remote, 4001, true, Some(frame)),
    ];
    for (steps, by, code, clean, cause) in table {
        for role in ROLES {
            let closed = run(role, steps, false);
            let label = format!("{role:?}, {steps:?}: {closed:?}");
            assert_eq!((closed.by, closed.code.0, closed.clean), (*by, *code, *clean), "{label}");
            match cause {
                Some(cause) => assert_eq!(closed.cause, *cause, "{label}"),
                None => assert!(matches!(closed.cause, CloseCause::Protocol(_)), "{label}"),
            }
        }
    }
}

/// Section 7.1.1: "the underlying TCP connection, in most normal cases, SHOULD be closed first by the server".
#[test]
fn the_server_ends_the_transport_first_and_the_client_waits_for_it() {
    use Step::*;
    for begin in [&[LocalClose, Flush, RemoteClose][..], &[RemoteClose, Flush]] {
        for role in ROLES {
            let mut run = Run::new(role);
            for step in begin {
                run.step(*step);
                run.settle();
            }
            let expected: &[StreamOrder] = if role == Role::Server { &[StreamOrder::ShutdownWrite] } else { &[] };
            assert_eq!(run.orders, expected, "{role:?}, {begin:?}");
            assert!(run.closed.is_none() && run.bench.connection.wants_read(), "the end of the stream is awaited");
            run.step(Eof);
            run.settle();
            assert!(run.closed.as_ref().unwrap().clean);
        }
    }
}

#[test]
fn what_waits_is_written_before_the_transport_is_shut_down() {
    let mut server = Run::new(Role::Server);
    server.bench.connection.send_binary(server.bench.now, &[7; 10_000]).unwrap();
    server.step(Step::RemoteClose);
    server.settle();
    while server.bench.connection.buffered_len() > 0 {
        assert_eq!(server.orders, []);
        server.sent.extend(&server.bench.connection.outgoing()[..1]);
        server.bench.connection.advance_outgoing(server.bench.now, 1);
        server.settle();
    }
    assert_eq!(server.orders, [StreamOrder::ShutdownWrite]);
    let sent = decode(&server.sent);
    assert_eq!((sent.len(), sent[0].payload.len()), (2, 10_000));
}

#[test]
fn what_arrived_before_the_end_of_the_stream_or_a_failure_is_still_delivered() {
    for role in ROLES {
        for fails in [false, true] {
            let mut bench = Bench::open(role, config(|_| {}));
            bench.buf.extend_from_slice(&wire_to(role, &[text("a"), ping("p"), text("b"), text("half").promising(9)]));
            let seen = if fails { bench.transport_error() } else { bench.eof() };
            let cause = if fails { CloseCause::TransportFailed } else { CloseCause::EndOfStream };
            let [Seen::Text(a), Seen::Ping(_), Seen::Text(b), rest @ ..] = &seen[..] else {
                panic!("{role:?}: {seen:?}");
            };
            assert_eq!((&a[..], &b[..]), ("a", "b"));
            if fails {
                assert!(matches!(rest, [Seen::Closed(closed)] if closed.cause == cause), "{rest:?}");
                assert!(bench.connection.outgoing().is_empty(), "nobody is there to answer");
            } else {
                // The pong still leaves: only the peer's direction has ended.
                assert_eq!(rest, []);
                assert_eq!(bench.flush_frames()[0].opcode, 0xA);
                assert_eq!(only_closed(bench.poll()).cause, cause);
            }
        }
    }
}

/// The bytes and the failure come from the same read: the report is the same as if they had not.
#[test]
fn an_end_is_reported_the_same_when_the_failure_is_noticed_before_the_last_bytes_are_decoded() {
    for role in ROLES {
        // Our Close left, the peer's arrived: clean.
        let mut bench = Bench::open(role, config(|_| {}));
        bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
        bench.flush();
        bench.buf.extend_from_slice(&wire_to(role, &[close(1000, "")]));
        let seen = bench.transport_error();
        let [Seen::CloseReceived(1000, _), Seen::Closed(closed)] = &seen[..] else {
            panic!("{role:?}: {seen:?}");
        };
        assert_eq!((closed.by, closed.clean, closed.cause), (Side::Local, true, CloseCause::CloseFrame), "{role:?}");
        // Ours did not leave, or could not be answered: not clean, and the transport is why.
        for closes in [false, true] {
            let mut bench = Bench::open(role, config(|_| {}));
            if closes {
                bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
            }
            bench.buf.extend_from_slice(&wire_to(role, &[close(1000, "")]));
            let seen = bench.transport_error();
            let [Seen::CloseReceived(1000, _), Seen::Closed(closed)] = &seen[..] else {
                panic!("{role:?}: {seen:?}");
            };
            assert_eq!((closed.clean, closed.cause), (false, CloseCause::TransportFailed), "{role:?}");
        }
    }
}

/// There is nobody to write it to.
#[test]
fn nothing_that_is_queued_after_the_transport_failed_delays_the_end() {
    for fault in [&b"POST / HTTP/1.1\r\n\r\n"[..], b"\0", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut server = Bench::server(config(|_| {}));
        server.buf.extend_from_slice(fault);
        assert!(matches!(only_closed(server.transport_error()).cause, CloseCause::Request(_)), "{fault:?}");
    }
    let mut server = Bench::server(config(|_| {}));
    server.buf.extend_from_slice(REQUEST);
    assert_eq!(server.poll(), [Seen::Request]);
    server.connection.handle_transport_error();
    server.connection.reject(server.now, &Rejection::new(404).unwrap()).unwrap();
    assert_eq!(only_closed(server.poll()).cause, CloseCause::Refused(404));
    for role in ROLES {
        let mut bench = Bench::open(role, config(|config| config.ping_interval = Some(SEC)));
        bench.connection.handle_transport_error();
        bench.at(SEC);
        bench.connection.handle_timeout(bench.now);
        assert_eq!(only_closed(bench.poll()).cause, CloseCause::TransportFailed, "{role:?}");
    }
}

#[test]
fn a_peer_that_ends_its_direction_can_still_be_written_to() {
    let mut server = Bench::server(config(|_| {}));
    server.buf.extend_from_slice(REQUEST);
    assert_eq!(server.poll(), [Seen::Request]);
    server.connection.accept(server.now, &Acceptance::new()).unwrap();
    server.connection.send_text(server.now, "welcome").unwrap();
    assert_eq!(server.eof(), []);
    let written = server.flush();
    assert!(written.starts_with(b"HTTP/1.1 101 ") && written.ends_with(b"welcome"));
    assert_eq!(only_closed(server.poll()).cause, CloseCause::EndOfStream);
}

/// Another buffer in the middle of a message would corrupt it, or take half of it for a header.
#[test]
fn another_buffer_in_the_middle_of_a_message_ends_the_connection() {
    for role in ROLES {
        let wire = wire_to(role, &[text("abcdef"), text("b").more(), continuation("c")]);
        for cut in [1, wire.len() / 3, wire.len() - 4] {
            let mut bench = Bench::open(role, config(|_| {}));
            bench.receive(&wire[..cut]);
            let is_between = bench.buf.is_empty();
            bench.buf = RecvBuf::new();
            bench.poll();
            let state = bench.connection.state();
            assert_eq!(state == ReadyState::Open, is_between, "{role:?}, cut at {cut}");
            if !is_between {
                assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1011);
                assert_eq!(only_closed(bench.eof()).cause, CloseCause::WrongBuffer);
            }
            // One that everything was moved to is the same one.
            let mut bench = Bench::open(role, config(|_| {}));
            let mut seen = bench.receive(&wire[..cut]);
            let mut own = std::mem::take(&mut bench.buf);
            bench.buf.take_over(&mut own);
            seen.extend(bench.receive(&wire[cut..]));
            assert_eq!(seen, [Seen::Text("abcdef".into()), Seen::Text("bc".into())], "{role:?}, cut at {cut}");
        }
    }
}

#[test]
fn a_server_that_closes_before_it_has_decided_says_503() {
    let mut server = Bench::server(config(|_| {}));
    server.receive(REQUEST);
    server.connection.close(server.now, CloseCode::GOING_AWAY, "restart").unwrap();
    assert!(server.flush().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(only_closed(server.eof()).cause, CloseCause::Refused(503));
    let mut early = Bench::server(config(|_| {}));
    early.connection.close(early.now, CloseCode::GOING_AWAY, "").unwrap();
    assert_eq!(only_closed(early.poll()).cause, CloseCause::Aborted);
}

#[test]
fn bytes_behind_a_close_stay_visible_to_the_caller() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let wire = [wire_to(role, &[close(1000, "")]), b"next protocol".to_vec()].concat();
        bench.receive(&wire);
        bench.flush();
        bench.receive(b"and what comes later is dropped");
        assert_eq!(bench.buf.unread(), b"next protocol", "{role:?}");
    }
}

/// A peer that goes on sending does not make the buffer grow, nor put off the end.
#[test]
fn a_peer_that_keeps_sending_after_a_fault_is_neither_heard_nor_held() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        bench.receive_frames(&[opcode(3, "")]);
        bench.flush();
        for i in 0..1000 {
            bench.at(Duration::from_millis(i));
            assert_eq!(bench.receive(&[0x81; 1000]), []);
        }
        assert!(bench.buf.capacity() <= 64 * 1024, "{role:?}: {} bytes are held", bench.buf.capacity());
        assert!(matches!(only_closed(bench.at(close_timeout()).timeout()).cause, CloseCause::Protocol(_)));
    }
}

/// A pong that did not leave any more takes nothing from an end that both sides agreed on.
#[test]
fn an_unsent_pong_does_not_make_an_end_unclean() {
    for role in ROLES {
        let mut bench = Bench::open(role, Config::default());
        bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
        bench.flush();
        bench.receive_frames(&[ping("x"), close(1000, "")]);
        assert!(bench.connection.buffered_len() > 0, "a pong waits");
        let closed = only_closed(bench.transport_error());
        assert_eq!((closed.clean, closed.cause), (true, CloseCause::CloseFrame), "{role:?}");
    }
}

#[test]
fn the_report_stays_with_the_connection_that_has_ended() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        assert_eq!(bench.connection.closed(), None);
        bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
        assert_eq!(bench.connection.closed(), None, "not before it has ended");
        bench.flush();
        bench.receive_frames(&[close(1000, "")]);
        let closed = only_closed(bench.eof());
        assert_eq!(bench.connection.closed(), Some(&closed), "{role:?}");
    }
}

#[test]
fn a_connection_shows_its_role_its_state_and_what_waits() {
    let mut bench = Bench::open(Role::Server, config(|_| {}));
    bench.connection.send_text(bench.now, "secret").unwrap();
    let shown = |bench: &Bench| format!("{:?}", bench.connection);
    assert_eq!(shown(&bench), "Connection { role: Server, state: Open, buffered_len: 8, .. }");
    bench.connection.abort();
    assert_eq!(shown(&bench), "Connection { role: Server, state: Closed, buffered_len: 0, .. }");
    for (state, name) in [
        (ReadyState::Connecting, "connecting"),
        (ReadyState::Open, "open"),
        (ReadyState::Closing, "closing"),
        (ReadyState::Closed, "closed"),
    ] {
        assert_eq!(state.to_string(), name);
    }
}

/// Whoever discards the rest of a message, until it has come, is not to wait for it for ever.
#[test]
fn a_message_that_breaks_off_with_the_connection_is_not_partly_delivered() {
    for role in ROLES {
        for step in [Step::RemoteClose, Step::Eof, Step::TransportError, Step::Fault, Step::Abort] {
            let mut run = Run::new(role);
            run.bench.buf.extend_from_slice(&wire_to(role, &[text("a").more()]));
            assert!(run.bench.connection.poll_event_in_pieces(run.bench.now, &mut run.bench.buf).is_some());
            assert!(run.bench.connection.is_partly_delivered());
            run.step(Step::LocalClose);
            assert!(run.bench.connection.is_partly_delivered(), "the last piece may still come");
            run.step(step);
            let mut polls = 0;
            while run.bench.connection.is_partly_delivered() {
                run.bench.connection.poll_event_in_pieces(run.bench.now, &mut run.bench.buf);
                polls += 1;
                assert!(polls < 5, "{role:?}, {step:?}");
            }
        }
    }
}

#[test]
fn a_stream_that_has_ended_is_not_to_be_read() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        assert!(bench.connection.wants_read());
        bench.buf.extend_from_slice(&wire_to(role, &[text("a")]));
        bench.connection.handle_eof();
        assert_eq!(bench.connection.state(), ReadyState::Open, "a message is still to be decoded");
        assert!(!bench.connection.wants_read(), "{role:?}");
    }
}

/// What arrived before the transport failed is delivered, and then the end is the transport's, whatever was called and decoded meanwhile.
#[test]
fn a_transport_that_fails_is_the_end_whoever_closes_behind_it() {
    for role in ROLES {
        for (remote, by, peer_code) in [(false, None, None), (true, Some(Side::Remote), Some(CloseCode(4001)))] {
            let mut bench = Bench::open(
                role,
                config(|config| {
                    timeless(config);
                    config.write_timeout = Some(Duration::from_secs(30));
                }),
            );
            bench.buf.extend_from_slice(&wire_to(role, &[text("a")]));
            if remote {
                bench.buf.extend_from_slice(&wire_to(role, &[close(4001, "bye")]));
            }
            bench.connection.send_text(bench.now, "never leaves").unwrap();
            assert_eq!(bench.next_deadline().unwrap().1, Deadline::Write);
            bench.connection.handle_transport_error();
            assert_eq!(bench.next_deadline(), None, "nothing will be written");
            bench.connection.close(bench.now, CloseCode(4000), "late").unwrap();
            assert_eq!(bench.connection.state(), ReadyState::Open, "{role:?}");
            let mut seen = bench.poll();
            assert_eq!(seen.remove(0), Seen::Text("a".into()));
            let closed = only_closed(seen.split_off(usize::from(remote)));
            assert_eq!((closed.cause, closed.clean, closed.peer_code), (CloseCause::TransportFailed, false, peer_code));
            assert!(by.is_none_or(|by| closed.by == by), "{role:?}: {closed:?}");
        }
    }
}
