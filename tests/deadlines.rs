//! Every deadline of a connection: one tick before it, at it, after it. The clock is a number.

mod support;

use std::sync::Arc;
use std::time::Duration;

use sansocket::{
    Acceptance, ClientRequest, CloseCause, CloseCode, Config, Deadline, Event, ReadyState, Role, Side, StreamOrder,
};
use support::*;

const TICK: Duration = Duration::from_nanos(1);

/// Only the deadlines that `change` sets.
fn only(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    config(|config| {
        timeless(config);
        change(config);
    })
}

fn request() -> ClientRequest {
    ClientRequest::new("ws://localhost/chat").unwrap()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Holds that nothing happens one tick before `at`, that `at` is announced for `deadline`, and lets it strike.
#[track_caller]
fn strikes_at(bench: &mut Bench, at: Duration, deadline: Deadline) -> Vec<Seen> {
    assert_eq!(bench.next_deadline(), Some((at, deadline)));
    let waiting = bench.connection.buffered_len();
    assert_eq!(bench.at(at - TICK).timeout(), [], "one tick before");
    assert_eq!(bench.next_deadline(), Some((at, deadline)), "one tick before");
    assert_eq!(bench.connection.buffered_len(), waiting, "one tick before");
    bench.at(at).timeout()
}

#[track_caller]
fn ended_by(seen: Vec<Seen>, deadline: Deadline) {
    let closed = only_closed(seen);
    assert_eq!(
        (closed.by, closed.cause, closed.clean),
        (Side::Local, CloseCause::Deadline(deadline), false),
        "{closed:?}"
    );
}

#[test]
fn without_deadlines_nothing_is_ever_due() {
    let none = only(|_| {});
    let request = request();
    let mut benches = [
        Bench::open(Role::Client, none.clone()),
        Bench::open(Role::Server, none.clone()),
        Bench::server(none.clone()),
        Bench::client(&request, none),
    ];
    for bench in &mut benches {
        assert_eq!(bench.connection.poll_timeout(), None);
        assert_eq!(bench.at(Duration::from_secs(1 << 30)).timeout(), []);
        assert_eq!(bench.connection.poll_timeout(), None);
    }
}

#[test]
fn a_handshake_that_is_not_complete_in_time_is_given_up() {
    let limits = only(|config| config.handshake_timeout = Some(10 * SEC));
    // A server that got nothing, or half a head, says 408.
    for half in ["", "GET / HTT", &REQUEST[..REQUEST.len() - 1]] {
        let mut server = Bench::server(limits.clone());
        assert_eq!(server.receive(half.as_bytes()), []);
        assert_eq!(strikes_at(&mut server, 10 * SEC, Deadline::Handshake), []);
        assert!(server.flush().starts_with(b"HTTP/1.1 408 Request Timeout\r\n"), "{half:?}");
        assert_eq!(server.connection.poll_stream(), Some(StreamOrder::ShutdownWrite));
        ended_by(server.eof(), Deadline::Handshake);
    }
    // A server whose application has not decided says 503.
    let mut server = Bench::server(limits.clone());
    assert_eq!(server.receive(REQUEST.as_bytes()), [Seen::Request]);
    assert_eq!(strikes_at(&mut server, 10 * SEC, Deadline::Handshake), []);
    assert!(server.connection.accept(server.now, &Acceptance::new()).is_err(), "too late");
    assert!(server.flush().starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"));
    ended_by(server.eof(), Deadline::Handshake);
    // A client drops.
    for half in ["", "HTTP/1.1 101", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let mut client = Bench::client(&request(), limits.clone());
        client.flush();
        assert_eq!(client.receive(half.as_bytes()), []);
        let seen = strikes_at(&mut client, 10 * SEC, Deadline::Handshake);
        ended_by(seen, Deadline::Handshake);
        assert_eq!(client.connection.poll_stream(), Some(StreamOrder::Drop), "{half:?}");
    }
}

#[test]
fn an_open_connection_has_no_handshake_deadline() {
    let limits = only(|config| config.handshake_timeout = Some(10 * SEC));
    let mut server = Bench::server(limits);
    server.receive(REQUEST.as_bytes());
    server.at(10 * SEC - TICK);
    server.connection.accept(server.now, &Acceptance::new()).unwrap();
    assert_eq!(server.next_deadline(), None);
}

/// tokio-tungstenite #347: a byte just before each timeout does not hold the connection open.
#[test]
fn a_head_that_drips_in_hits_the_total_handshake_deadline() {
    let limits = only(|config| config.handshake_timeout = Some(10 * SEC));
    let mut server = Bench::server(limits);
    let mut drip = REQUEST.bytes().cycle();
    for second in 0..10 {
        server.at(second * SEC + 999 * MS);
        assert_eq!(server.receive(&[drip.next().unwrap()]), []);
        assert_eq!(server.next_deadline(), Some((10 * SEC, Deadline::Handshake)));
    }
    assert_eq!(server.at(10 * SEC).timeout(), []);
    assert!(server.flush().starts_with(b"HTTP/1.1 408 "));
}

#[test]
fn pings_go_out_at_each_interval() {
    for role in ROLES {
        let mut bench = Bench::open(role, only(|config| config.ping_interval = Some(25 * SEC)));
        let mut payloads = Vec::new();
        for i in 1..=3 {
            assert_eq!(strikes_at(&mut bench, i * 25 * SEC, Deadline::Ping), []);
            let sent = bench.flush_frames();
            assert_eq!((sent.len(), sent[0].opcode, sent[0].payload.len()), (1, 0x9, 8), "{role:?}");
            payloads.push(sent[0].payload.clone());
        }
        payloads.dedup();
        assert_eq!(payloads.len(), 3, "each ping has a payload of its own");
        // Late by two intervals and a half: one ping, not three.
        assert_eq!(bench.at(3 * 25 * SEC + 62 * SEC).timeout(), []);
        assert_eq!(bench.flush_frames().len(), 1);
        assert_eq!(bench.next_deadline(), Some((3 * 25 * SEC + 87 * SEC, Deadline::Ping)));
    }
}

fn pinging() -> Arc<Config> {
    only(|config| {
        config.ping_interval = Some(25 * SEC);
        config.pong_timeout = Some(20 * SEC);
    })
}

#[test]
fn a_peer_that_shows_no_life_after_a_ping_is_given_up() {
    for role in ROLES {
        let mut bench = Bench::open(role, pinging());
        bench.at(25 * SEC).timeout();
        bench.flush();
        assert_eq!(strikes_at(&mut bench, 45 * SEC, Deadline::Pong), []);
        let sent = bench.flush_frames();
        assert_eq!(sent[0].as_close().unwrap().0, 1001, "{role:?}: just in case it hears us");
        ended_by(bench.poll(), Deadline::Pong);
        assert_eq!(bench.connection.poll_stream(), Some(StreamOrder::Drop), "nobody is there to wait for");
    }
}

#[test]
fn any_byte_counts_as_life() {
    for role in ROLES {
        let whole_pong = wire_to(role, &[pong("not the one")]);
        let half_a_frame = wire_to(role, &[text("abcdef")]);
        for bytes in [&whole_pong[..], &whole_pong[..1], &half_a_frame[..half_a_frame.len() - 1]] {
            let mut bench = Bench::open(role, pinging());
            bench.at(25 * SEC).timeout();
            bench.flush();
            bench.at(45 * SEC - TICK).receive(bytes);
            assert_eq!(bench.next_deadline(), Some((50 * SEC, Deadline::Ping)), "{role:?}: {bytes:x?}");
            // The next ping starts the wait anew.
            bench.at(50 * SEC).timeout();
            bench.flush();
            assert_eq!(bench.next_deadline(), Some((70 * SEC, Deadline::Pong)));
        }
    }
}

#[test]
fn pings_faster_than_the_pong_timeout_do_not_extend_it() {
    let fast = only(|config| {
        config.ping_interval = Some(5 * SEC);
        config.pong_timeout = Some(20 * SEC);
    });
    let mut bench = Bench::open(Role::Server, fast);
    for second in [5, 10, 15, 20] {
        bench.at(second * SEC).timeout();
        bench.flush();
    }
    assert_eq!(bench.at(25 * SEC - TICK).timeout(), []);
    bench.at(25 * SEC).timeout();
    bench.flush();
    ended_by(bench.poll(), Deadline::Pong);
}

#[test]
fn the_round_trip_is_measured_by_the_payload_of_the_last_ping() {
    let mut bench = Bench::open(Role::Client, pinging());
    bench.at(25 * SEC).timeout();
    let first = bench.flush_frames().remove(0).payload;
    let rtt_of = |bench: &mut Bench, payload: &[u8]| {
        let wire = wire_to(Role::Client, &[pong(payload)]);
        bench.buf.extend_from_slice(&wire);
        match bench.connection.poll_event(bench.now, &mut bench.buf) {
            Some(sansocket::Event::Pong { rtt, .. }) => rtt,
            other => panic!("{other:?}"),
        }
    };
    // What is written behind the ping is not part of it.
    bench.at(25 * SEC + 10 * MS);
    bench.connection.send_text(bench.now, "behind it").unwrap();
    bench.flush();
    bench.at(25 * SEC + 70 * MS);
    assert_eq!(rtt_of(&mut bench, b"unasked"), None);
    assert_eq!(bench.connection.rtt(), None);
    assert_eq!(rtt_of(&mut bench, &first), Some(70 * MS));
    assert_eq!(rtt_of(&mut bench, &first), None, "once");
    assert_eq!(bench.connection.rtt(), Some(70 * MS));
    bench.at(50 * SEC).timeout();
    let second = bench.flush_frames().remove(0).payload;
    bench.at(50 * SEC + 30 * MS);
    assert_eq!(rtt_of(&mut bench, &first), None, "an old one");
    assert_eq!(rtt_of(&mut bench, &second), Some(30 * MS));
    assert_eq!(bench.connection.rtt(), Some(30 * MS));
}

/// Whoever closes asks for the peer's Close, not for what it owed before.
#[test]
fn a_deadline_that_has_passed_but_is_not_judged_is_forgotten_by_a_close() {
    for role in ROLES {
        let limits = only(|config| (config.idle_timeout, config.close_timeout) = (Some(60 * SEC), Some(5 * SEC)));
        let mut bench = Bench::open(role, limits);
        bench.at(60 * SEC);
        bench.connection.handle_timeout(bench.now);
        bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
        assert_eq!(bench.poll(), []);
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1000, "{role:?}");
        bench.receive_frames(&[close(1000, "")]);
        let closed = only_closed(bench.eof());
        assert_eq!((closed.clean, closed.cause), (true, CloseCause::CloseFrame), "{role:?}");
    }
}

#[test]
fn an_idle_connection_closes_with_1001() {
    for role in ROLES {
        let mut bench = Bench::open(role, only(|config| config.idle_timeout = Some(60 * SEC)));
        bench.at(59 * SEC).receive_frames(&[ping("")]);
        bench.flush();
        // What is sent does not count.
        bench.at(100 * SEC);
        bench.connection.send_text(bench.now, "out").unwrap();
        bench.flush();
        assert_eq!(strikes_at(&mut bench, 119 * SEC, Deadline::Idle), []);
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1001, "{role:?}");
        assert_eq!(bench.connection.poll_stream(), Some(StreamOrder::ShutdownWrite));
        ended_by(bench.eof(), Deadline::Idle);
    }
}

#[test]
fn half_a_frame_then_silence_hits_the_message_deadline() {
    for role in ROLES {
        for frame in [text("abc"), binary(vec![0; 300]), text("abc").more(), ping("abc"), close(1000, "abc")] {
            let wire = wire_to(role, &[frame]);
            for cut in [1, 2, wire.len() - 1] {
                let mut bench = Bench::open(role, only(|config| config.message_timeout = Some(120 * SEC)));
                assert_eq!(bench.next_deadline(), None);
                assert_eq!(bench.at(5 * SEC).receive(&wire[..cut]), []);
                assert_eq!(strikes_at(&mut bench, 125 * SEC, Deadline::Message), [], "{role:?}: cut at {cut}");
                assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1008);
                ended_by(bench.eof(), Deadline::Message);
            }
        }
    }
}

#[test]
fn a_message_without_its_last_fragment_hits_the_message_deadline() {
    for role in ROLES {
        let mut bench = Bench::open(role, only(|config| config.message_timeout = Some(120 * SEC)));
        bench.receive_frames(&[text("a").more()]);
        // Neither more fragments nor control frames extend it.
        for second in 1..120 {
            bench.at(second * SEC);
            bench.receive_frames(&[continuation("b").more(), ping("")]);
            bench.flush();
        }
        assert_eq!(strikes_at(&mut bench, 120 * SEC, Deadline::Message), [], "{role:?}");
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1008);
    }
}

#[test]
fn a_message_that_drips_in_byte_by_byte_hits_the_message_deadline() {
    let limits = only(|config| {
        config.message_timeout = Some(120 * SEC);
        config.idle_timeout = Some(2 * SEC);
        config.ping_interval = Some(2 * SEC);
        config.pong_timeout = Some(2 * SEC);
    });
    for role in ROLES {
        // A data frame, and a lone control frame, which has no more than 131 bytes.
        for frame in [binary(vec![7; 10_000]), ping(vec![7; 125])] {
            let wire = wire_to(role, &[frame]);
            let mut bench = Bench::open(role, limits.clone());
            let mut closed_at = None;
            for (second, byte) in wire.iter().enumerate() {
                bench.at(second as u32 * SEC + 999 * MS).timeout();
                bench.flush();
                if bench.connection.state() != ReadyState::Open {
                    closed_at = Some(second);
                    break;
                }
                bench.receive(&[*byte]);
            }
            assert_eq!(closed_at, Some(120), "{role:?}");
            ended_by(bench.eof(), Deadline::Message);
        }
    }
}

#[test]
fn the_message_deadline_starts_anew_with_each_message() {
    for role in ROLES {
        let mut bench = Bench::open(role, only(|config| config.message_timeout = Some(120 * SEC)));
        let wire = wire_to(role, &[text("abc")]);
        let (start, rest) = wire.split_at(3);
        bench.receive(start);
        bench.at(119 * SEC).receive(rest);
        assert_eq!(bench.next_deadline(), None, "{role:?}: it is complete");
        bench.at(200 * SEC).receive(start);
        assert_eq!(bench.next_deadline(), Some((320 * SEC, Deadline::Message)));
        // The end of one and the start of the next in the same read.
        bench.at(300 * SEC).receive(&[rest, start].concat());
        assert_eq!(bench.next_deadline(), Some((420 * SEC, Deadline::Message)), "{role:?}");
    }
}

#[test]
fn output_that_nobody_takes_hits_the_write_deadline() {
    let limits = only(|config| config.write_timeout = Some(30 * SEC));
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        assert_eq!(bench.next_deadline(), None);
        bench.at(5 * SEC);
        bench.connection.send_text(bench.now, "a").unwrap();
        bench.at(20 * SEC);
        bench.connection.send_text(bench.now, "b").unwrap();
        assert_eq!(bench.next_deadline(), Some((35 * SEC, Deadline::Write)), "from the first byte that waits");
        bench.at(34 * SEC);
        bench.connection.advance_outgoing(bench.now, 0);
        assert_eq!(bench.next_deadline(), Some((35 * SEC, Deadline::Write)), "nothing was taken");
        bench.connection.advance_outgoing(bench.now, 1);
        let seen = strikes_at(&mut bench, 64 * SEC, Deadline::Write);
        ended_by(seen, Deadline::Write);
        assert_eq!(bench.connection.poll_stream(), Some(StreamOrder::Drop));
        assert!(bench.connection.outgoing().is_empty(), "{role:?}");
    }
    let mut bench = Bench::open(Role::Server, limits);
    bench.connection.send_text(bench.now, "a").unwrap();
    bench.flush();
    assert_eq!(bench.next_deadline(), None, "all is written");
}

#[test]
fn a_close_that_the_peer_never_answers_hits_the_close_deadline() {
    let limits = only(|config| config.close_timeout = Some(5 * SEC));
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.at(2 * SEC);
        bench.connection.close(bench.now, CloseCode::NORMAL, "bye").unwrap();
        bench.flush();
        bench.at(3 * SEC).receive_frames(&[text("still talking")]);
        let seen = strikes_at(&mut bench, 7 * SEC, Deadline::Close);
        let closed = only_closed(seen);
        assert_eq!((closed.by, closed.code.0, &closed.reason[..], closed.clean), (Side::Local, 1000, "bye", false));
        assert_eq!(closed.cause, CloseCause::Deadline(Deadline::Close), "{role:?}");
        assert_eq!(bench.connection.poll_stream(), Some(StreamOrder::Drop));
    }
}

#[test]
fn a_peer_that_never_ends_its_stream_is_dropped_at_the_close_deadline_and_the_close_stays_clean() {
    let limits = only(|config| config.close_timeout = Some(5 * SEC));
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.at(1 * SEC).receive_frames(&[close(1000, "bye")]);
        bench.flush();
        // What it still sends does not extend it.
        bench.at(5 * SEC).receive_frames(&[text("more")]);
        let seen = strikes_at(&mut bench, 6 * SEC, Deadline::Close);
        let closed = only_closed(seen);
        assert_eq!((closed.by, closed.clean, closed.cause), (Side::Remote, true, CloseCause::CloseFrame), "{role:?}");
    }
}

#[test]
fn a_fault_gives_the_peer_until_the_close_deadline_to_go() {
    let limits = only(|config| config.close_timeout = Some(5 * SEC));
    let mut bench = Bench::open(Role::Server, limits.clone());
    bench.at(SEC).receive_frames(&[opcode(3, "")]);
    bench.flush();
    assert!(matches!(only_closed(strikes_at(&mut bench, 6 * SEC, Deadline::Close)).cause, CloseCause::Protocol(_)));
    let mut server = Bench::server(limits);
    server.at(SEC).receive(b"POST / HTTP/1.1\r\n\r\n");
    server.flush();
    assert!(matches!(only_closed(strikes_at(&mut server, 6 * SEC, Deadline::Close)).cause, CloseCause::Request(_)));
}

/// While output above the high-water mark keeps us from reading, a peer cannot prove that it is alive.
#[test]
fn the_heartbeat_and_the_idle_deadline_rest_while_nothing_is_read() {
    let limits = only(|config| {
        config.ping_interval = Some(25 * SEC);
        config.pong_timeout = Some(20 * SEC);
        config.idle_timeout = Some(60 * SEC);
        config.write_timeout = Some(300 * SEC);
        config.high_water_mark = 1000;
    });
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.pause(5000);
        assert_eq!(bench.next_deadline(), Some((300 * SEC, Deadline::Write)), "{role:?}");
        assert_eq!(bench.at(200 * SEC).timeout(), []);
        // The peer takes it all at last: that is life.
        bench.flush();
        assert!(!bench.connection.is_paused() && bench.connection.wants_read());
        let (at, deadline) = bench.next_deadline().unwrap();
        assert!(deadline == Deadline::Ping && at <= 200 * SEC, "{role:?}: the ping is overdue, nothing worse");
        bench.timeout();
        bench.flush();
        assert_eq!(bench.next_deadline(), Some((220 * SEC, Deadline::Pong)));
        assert_eq!(bench.connection.state(), ReadyState::Open);
    }
}

#[test]
fn a_timeout_of_zero_counts_as_a_millisecond_and_never_loops() {
    let zero = Some(Duration::ZERO);
    type Change = fn(&mut Config, Option<Duration>);
    let changes: [(Deadline, Change); 4] = [
        (Deadline::Ping, |config, timeout| config.ping_interval = timeout),
        (Deadline::Idle, |config, timeout| config.idle_timeout = timeout),
        (Deadline::Message, |config, timeout| config.message_timeout = timeout),
        (Deadline::Write, |config, timeout| config.write_timeout = timeout),
    ];
    for (deadline, change) in changes {
        for role in ROLES {
            let mut bench = Bench::open(role, only(|config| change(config, zero)));
            bench.receive(&wire_to(role, &[text("abc")])[..3]);
            bench.connection.send_text(bench.now, "a").unwrap();
            strikes_at(&mut bench, MS, deadline);
        }
    }
    let mut server = Bench::server(only(|config| config.handshake_timeout = zero));
    strikes_at(&mut server, MS, Deadline::Handshake);
    let mut bench = Bench::open(Role::Client, only(|config| config.close_timeout = zero));
    bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
    strikes_at(&mut bench, MS, Deadline::Close);
    let all_zero = only(|config| {
        config.ping_interval = zero;
        config.pong_timeout = zero;
    });
    let mut bench = Bench::open(Role::Client, all_zero);
    for ms in 1..10 {
        bench.at(ms * MS).timeout();
        bench.flush();
        bench.poll();
    }
    assert_eq!(bench.connection.state(), ReadyState::Closed);
}

#[test]
fn a_timeout_beyond_what_a_clock_can_say_is_never_due() {
    for far in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let far = Some(far);
        let limits = config(|config| {
            config.handshake_timeout = far;
            config.ping_interval = far;
            config.pong_timeout = far;
            config.idle_timeout = far;
            config.write_timeout = far;
            config.message_timeout = far;
            config.close_timeout = far;
        });
        let mut server = Bench::server(limits.clone());
        assert_eq!(server.next_deadline(), None);
        server.receive(REQUEST.as_bytes());
        server.connection.accept(server.now, &Acceptance::new()).unwrap();
        server.receive(&wire_to(Role::Server, &[text("abc")])[..3]);
        assert_eq!(server.next_deadline(), None);
        assert_eq!(server.timeout(), []);
        server.connection.close(server.now, CloseCode::NORMAL, "").unwrap();
        assert_eq!(server.next_deadline(), None);
    }
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|config| config.close_timeout = Some(5 * SEC)));
        bench.at(1000 * SEC).timeout();
        let ping = bench.flush_frames().remove(0);
        bench.at(Duration::ZERO);
        assert_eq!(bench.timeout(), []);
        bench.receive_frames(&[pong(&ping.payload), text("a")]);
        assert_eq!(bench.connection.rtt(), Some(Duration::ZERO), "{role:?}: never negative");
        bench.connection.send_text(bench.now, "b").unwrap();
        bench.flush();
        bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
        bench.flush();
        assert_eq!(bench.next_deadline(), Some((5 * SEC, Deadline::Close)));
        bench.at(5 * SEC).timeout();
        assert_eq!(bench.connection.state(), ReadyState::Closed);
    }
}

#[test]
fn the_earliest_of_several_deadlines_is_the_one_that_is_named() {
    let limits = config(|config| {
        config.ping_interval = Some(25 * SEC);
        config.pong_timeout = Some(20 * SEC);
        config.idle_timeout = Some(40 * SEC);
        config.write_timeout = Some(24 * SEC);
        config.message_timeout = Some(10 * SEC);
        config.close_timeout = Some(5 * SEC);
    });
    let mut bench = Bench::open(Role::Client, limits);
    assert_eq!(bench.next_deadline(), Some((25 * SEC, Deadline::Ping)));
    bench.connection.send_text(bench.now, "a").unwrap();
    assert_eq!(bench.next_deadline(), Some((24 * SEC, Deadline::Write)));
    bench.receive(b"\x81");
    assert_eq!(bench.next_deadline(), Some((10 * SEC, Deadline::Message)));
    bench.at(SEC).receive(b"\x01a");
    assert_eq!(bench.next_deadline(), Some((24 * SEC, Deadline::Write)));
    bench.flush();
    bench.at(25 * SEC).timeout();
    bench.flush();
    assert_eq!(bench.next_deadline(), Some((41 * SEC, Deadline::Idle)));
    bench.connection.close(bench.now, CloseCode::NORMAL, "").unwrap();
    bench.flush();
    assert_eq!(bench.next_deadline(), Some((30 * SEC, Deadline::Close)), "nothing else counts any more");
}

/// What arrived in time counts, however late the caller comes to decode it; what is told first is what came.
#[test]
fn a_deadline_does_not_strike_what_has_arrived_but_is_not_decoded_yet() {
    for role in ROLES {
        let timeouts: [(Arc<Config>, &[Frame]); 3] = [
            (pinging(), &[pong("any sign of life")]),
            (only(|config| config.idle_timeout = Some(45 * SEC)), &[ping("")]),
            (only(|config| config.message_timeout = Some(45 * SEC)), &[text("abc")]),
        ];
        for (limits, frames) in timeouts {
            let wire = wire_to(role, frames);
            let (start, rest) = if limits.message_timeout.is_some() { wire.split_at(3) } else { wire.split_at(0) };
            let mut bench = Bench::open(role, limits.clone());
            bench.receive(start);
            bench.at(25 * SEC).timeout();
            bench.flush();
            // It is read in time, but the clock strikes before it is decoded.
            bench.buf.extend_from_slice(rest);
            bench.at(45 * SEC);
            bench.connection.handle_timeout(bench.now);
            assert_eq!(bench.poll().len(), 1, "{role:?}");
            assert_eq!(bench.connection.state(), ReadyState::Open, "{role:?}: {frames:?}");
            // The same without it.
            let mut bench = Bench::open(role, limits);
            bench.receive(start);
            bench.at(25 * SEC).timeout();
            bench.flush();
            bench.at(45 * SEC).timeout();
            assert_ne!(bench.connection.state(), ReadyState::Open, "{role:?}: {frames:?}");
        }
    }
}

/// A message that is all there, but that we do not decode because the peer does not read: the peer did its part.
#[test]
fn the_message_deadline_rests_while_nothing_is_decoded_and_starts_anew() {
    let limits = only(|config| {
        config.message_timeout = Some(120 * SEC);
        config.high_water_mark = 1000;
    });
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.receive_frames(&[text("a").more()]);
        bench.connection.send_binary(bench.now, &[0; 5000]).unwrap();
        assert_eq!(bench.receive_frames(&[ping("")]), [Seen::Ping(vec![])]);
        bench.connection.send_text(bench.now, "answer").unwrap();
        bench.buf.extend_from_slice(&wire_to(role, &[continuation("bc")]));
        assert!(bench.connection.is_paused());
        assert_eq!(bench.at(100 * SEC).timeout(), []);
        assert_eq!(bench.next_deadline(), Some((240 * SEC, Deadline::Message)), "{role:?}");
        bench.flush();
        assert_eq!(bench.next_deadline(), Some((220 * SEC, Deadline::Message)));
        assert_eq!(bench.poll(), [Seen::Text("abc".into())], "{role:?}");
        assert_eq!(bench.next_deadline(), None);
    }
}

/// An adapter whose application does not receive at the moment.
#[test]
fn control_events_are_answered_up_to_the_next_message_and_deadlines_wait_behind_it() {
    for role in ROLES {
        let mut bench = Bench::open(role, pinging());
        let wire = wire_to(role, &[ping("1"), text("a"), ping("2"), close(1000, "")]);
        bench.buf.extend_from_slice(&wire);
        let control = |bench: &mut Bench| {
            let mut seen = Vec::new();
            while let Some(event) = bench.connection.poll_control_event(bench.now, &mut bench.buf) {
                seen.push(Seen::from(&event));
            }
            seen
        };
        assert_eq!(control(&mut bench), [Seen::Ping(b"1".to_vec())], "{role:?}");
        for second in (25..1000).step_by(5) {
            bench.at(second * SEC);
            bench.connection.handle_timeout(bench.now);
            assert_eq!(control(&mut bench), []);
            bench.flush();
        }
        assert_eq!(bench.connection.state(), ReadyState::Open, "{role:?}: its pong may be stuck behind the message");
        let expected = [Seen::Text("a".into()), Seen::Ping(b"2".to_vec()), Seen::CloseReceived(1000, String::new())];
        assert_eq!(bench.poll(), expected, "{role:?}");
    }
}

/// A day late, as after a laptop's sleep: everything due happens in one call, in an order that ends.
#[test]
fn a_timeout_that_is_a_day_late_is_handled_in_one_call() {
    let day = 24 * 3600 * SEC;
    for role in ROLES {
        let mut bench = Bench::open(role, config(|config| config.idle_timeout = Some(60 * SEC)));
        bench.receive(&wire_to(role, &[text("abc")])[..2]);
        bench.connection.send_text(bench.now, "a").unwrap();
        bench.at(day).timeout();
        assert!(bench.connection.poll_timeout().is_none_or(|next| next > bench.now));
        bench.at(2 * day).timeout();
        assert_eq!(bench.connection.state(), ReadyState::Closed, "{role:?}");
    }
}

/// A heartbeat behind a long message cannot be answered before that has left: nobody is held to be dead for it.
#[test]
fn the_pong_deadline_runs_from_when_the_ping_was_written() {
    let limits = only(|config| {
        config.ping_interval = Some(25 * SEC);
        config.pong_timeout = Some(20 * SEC);
        config.write_timeout = Some(30 * SEC);
    });
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.connection.send_binary(bench.now, &vec![0; 1_000_000]).unwrap();
        for second in 1..=200 {
            bench.at(second * SEC);
            assert_eq!(bench.timeout(), [], "{role:?}, {second} s");
            bench.connection.advance_outgoing(bench.now, 5000);
        }
        // The message and the one ping behind it leave within the same second.
        let left = bench.connection.buffered_len();
        assert!((1..100).contains(&left), "{left} bytes");
        bench.at(201 * SEC);
        bench.flush();
        strikes_at(&mut bench, 221 * SEC, Deadline::Pong);
    }
}

/// A peer can make decoding pause at will; that must not give its message new time.
#[test]
fn pauses_do_not_postpone_the_message_deadline() {
    let limits = only(|config| config.message_timeout = Some(120 * SEC));
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.receive_frames(&[text("a").more()]);
        let pings: Vec<Frame> = (0..128).map(|_| ping("")).collect();
        bench.at(119 * SEC).receive_frames(&pings);
        assert!(bench.connection.is_paused());
        bench.flush();
        assert_eq!(bench.poll(), []);
        strikes_at(&mut bench, 120 * SEC, Deadline::Message);
    }
}

/// What meets one of two deadlines that have passed does not meet the other.
#[test]
fn a_sign_of_life_does_not_save_a_message_that_is_late() {
    let limits = only(|config| {
        config.idle_timeout = Some(10 * SEC);
        config.message_timeout = Some(12 * SEC);
    });
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.receive_frames(&[text("a").more()]);
        bench.buf.extend_from_slice(&wire_to(role, &[ping("")]));
        assert_eq!(bench.at(13 * SEC).timeout(), [Seen::Ping(vec![])]);
        bench.flush();
        let closed = only_closed(bench.eof());
        assert_eq!(closed.cause, CloseCause::Deadline(Deadline::Message), "{role:?}");
    }
}

/// A message that has begun is over in time, however a peer makes decoding pause.
#[test]
fn pauses_give_a_message_at_most_as_long_again() {
    let pings: Vec<Frame> = (0..128).map(|_| ping("")).collect();
    for (role, in_one_read) in ROLES.into_iter().flat_map(|role| [(role, false), (role, true)]) {
        let mut bench = Bench::open(role, Config::default());
        let mut first = vec![text("a").more()];
        if in_one_read {
            first.extend(pings.clone());
        }
        bench.receive_frames(&first);
        bench.receive_frames(if in_one_read { &[] } else { &pings });
        // The transport takes just enough for the write deadline, and more pings than it makes room for wait already.
        let mut second = 0;
        while bench.connection.state() == ReadyState::Open {
            assert!(bench.connection.is_paused() && second < 1000, "{role:?}");
            second += 29;
            bench.at(second * SEC).timeout();
            if bench.connection.state() == ReadyState::Open {
                bench.connection.advance_outgoing(bench.now, 1);
                bench.receive_frames(&pings);
            }
        }
        assert_eq!(second, 9 * 29, "{role:?}: the first look after 240 s");
        bench.flush();
        ended_by(bench.eof(), Deadline::Message);
    }
}

/// Once with answers of our own that the peer does not read, once with the heartbeat, which nobody ordered.
#[test]
fn the_message_deadline_rests_for_as_long_again_at_most_whatever_makes_decoding_pause() {
    type Pause = fn(&mut Bench);
    let pauses: [(usize, Pause); 2] = [
        (1000, |bench| {
            bench.connection.send_binary(bench.now, &[0; 5000]).unwrap();
            assert_eq!(bench.receive_frames(&[ping("")]), [Seen::Ping(vec![])]);
            bench.connection.send_text(bench.now, "answer").unwrap();
        }),
        (106, |bench| bench.connection.send_binary(bench.now, &[0; 98]).unwrap()),
    ];
    for (role, (mark, pause)) in ROLES.into_iter().flat_map(|role| pauses.map(|pause| (role, pause))) {
        let limits = only(|config| {
            config.message_timeout = Some(120 * SEC);
            config.ping_interval = (mark == 106).then_some(1000 * SEC);
            config.high_water_mark = mark;
        });
        let paused_at_1000 = || {
            let mut bench = Bench::open(role, limits.clone());
            bench.at(990 * SEC).receive_frames(&[text("a").more()]);
            bench.at(1000 * SEC);
            pause(&mut bench);
            bench.timeout();
            assert!(bench.connection.is_paused(), "{role:?}, {mark}");
            bench
        };
        // Up to then it rests, and goes on with what it had left.
        let mut bench = paused_at_1000();
        assert_eq!(bench.next_deadline(), Some((1230 * SEC, Deadline::Message)));
        assert_eq!(bench.at(1050 * SEC).timeout(), []);
        bench.flush();
        assert_eq!(bench.next_deadline(), Some((1160 * SEC, Deadline::Message)), "{role:?}, {mark}");
        strikes_at(&mut bench, 1160 * SEC, Deadline::Message);
        // Two pauses rest no longer than one.
        let mut bench = paused_at_1000();
        bench.at(1100 * SEC).flush();
        bench.poll();
        pause(&mut bench);
        assert!(mark == 106 || bench.connection.is_paused());
        bench.at(1180 * SEC).flush();
        let rested = if mark == 106 { 100 } else { 120 };
        strikes_at(&mut bench, (1110 + rested) * SEC, Deadline::Message);
        // The end comes even while decoding is paused.
        let mut bench = paused_at_1000();
        assert_eq!(strikes_at(&mut bench, 1230 * SEC, Deadline::Message), []);
        assert_eq!(bench.connection.state(), ReadyState::Closing, "{role:?}, {mark}");
        assert_eq!(bench.flush_frames().last().unwrap().as_close().unwrap().0, 1008);
        ended_by(bench.eof(), Deadline::Message);
        // What comes behind it has time of its own.
        let mut bench = paused_at_1000();
        bench.at(1150 * SEC).flush();
        assert_eq!(bench.receive_frames(&[continuation("b"), text("c").more()]), [Seen::Text("ab".into())]);
        assert_eq!(bench.next_deadline(), Some((1270 * SEC, Deadline::Message)), "{role:?}, {mark}");
    }
}

/// What meets the one that is named first does not meet the other.
#[test]
fn a_message_in_time_does_not_save_a_peer_that_is_silent_since() {
    let limits = [
        only(|config| (config.idle_timeout, config.message_timeout) = (Some(10 * SEC), Some(10 * SEC))),
        only(|config| {
            config.message_timeout = Some(10 * SEC);
            (config.ping_interval, config.pong_timeout) = (Some(SEC), Some(10 * SEC));
        }),
    ];
    for (limits, deadline) in limits.into_iter().zip([Deadline::Idle, Deadline::Pong]) {
        for role in ROLES {
            let mut bench = Bench::open(role, limits.clone());
            bench.receive_frames(&[text("a").more()]);
            bench.buf.extend_from_slice(&wire_to(role, &[ping(""), continuation("b")]));
            bench.at(SEC);
            assert!(
                bench.connection.poll_event(bench.now, &mut bench.buf).is_some_and(|event| event == Event::Ping(b""))
            );
            bench.connection.handle_timeout(bench.now);
            bench.flush();
            assert_eq!(bench.at(11 * SEC).timeout(), [Seen::Text("ab".into())], "{role:?}");
            bench.flush();
            ended_by(bench.eof(), deadline);
        }
    }
}

/// What has arrived in time counts in the handshake, too.
#[test]
fn the_handshake_deadline_does_not_strike_what_has_arrived_but_is_not_decoded_yet() {
    let limits = only(|config| config.handshake_timeout = Some(10 * SEC));
    let mut server = Bench::server(limits.clone());
    server.buf.extend_from_slice(REQUEST.as_bytes());
    server.at(10 * SEC);
    server.connection.handle_timeout(server.now);
    assert_eq!(server.connection.poll_timeout(), None);
    let mut deciding = 0;
    while let Some(event) = server.connection.poll_event(server.now, &mut server.buf) {
        assert_eq!(Seen::from(&event), Seen::Request);
        server.connection.accept(server.now, &Acceptance::new()).unwrap();
        deciding += 1;
    }
    assert_eq!((deciding, server.connection.state()), (1, ReadyState::Open));
    let mut client = Bench::client(&request(), limits);
    let mut server = Bench::server(only(|_| {}));
    server.receive(&client.flush());
    server.connection.accept(server.now, &Acceptance::new()).unwrap();
    client.buf.extend_from_slice(&server.flush());
    assert_eq!(client.at(10 * SEC).timeout(), [Seen::Open]);
    assert_eq!(client.connection.state(), ReadyState::Open);
}

/// The end of the stream is a fact; that something is late no longer matters then.
#[test]
fn a_deadline_and_the_end_of_the_stream_make_one_report() {
    type Change = fn(&mut Config);
    let timeouts: [Change; 2] =
        [|config| config.message_timeout = Some(10 * SEC), |config| config.idle_timeout = Some(10 * SEC)];
    for timeout in timeouts {
        for role in ROLES {
            for is_failure in [false, true] {
                let mut bench = Bench::open(role, only(timeout));
                bench.receive_frames(&[text("a").more()]);
                bench.at(10 * SEC);
                bench.connection.handle_timeout(bench.now);
                let (seen, cause) = match is_failure {
                    false => (bench.eof(), CloseCause::EndOfStream),
                    true => (bench.transport_error(), CloseCause::TransportFailed),
                };
                assert!(bench.flush().is_empty(), "{role:?}: nobody is told any more");
                let closed = only_closed(seen);
                assert_eq!(
                    (closed.by, closed.code, closed.cause),
                    (Side::Remote, CloseCode::ABNORMAL, cause),
                    "{role:?}"
                );
                assert_eq!(closed.reason, "");
                assert_eq!(bench.connection.closed(), Some(&closed), "{role:?}");
            }
        }
    }
}

#[test]
fn a_failed_transport_ends_the_connection_whatever_is_queued() {
    let limits = only(|config| config.high_water_mark = 16);
    let mut server = Bench::server(limits);
    assert_eq!(server.receive(REQUEST.as_bytes()), [Seen::Request]);
    server.connection.handle_transport_error();
    server.connection.accept(server.now, &Acceptance::new()).unwrap_err();
    assert_eq!(only_closed(server.poll()).cause, CloseCause::TransportFailed);
}
