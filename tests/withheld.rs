//! An application that does not receive for a while: control frames are answered, messages wait, and nobody is held to be dead for it.

mod support;

use std::time::Duration;

use sansocket::{Config, ReadyState, RecvBuf, Role};
use support::*;

/// Polls for what is no message.
fn control(bench: &mut Bench) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(event) = bench.connection.poll_control_event(bench.now, &mut bench.buf) {
        seen.push(Seen::from(&event));
    }
    seen
}

fn text_seen(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn pings_before_a_message_are_answered_and_the_message_waits() {
    for role in ROLES {
        let mut bench = Bench::open(role, Config::default());
        bench.buf.extend_from_slice(&wire_to(role, &[ping("a"), pong("b"), text("hello"), ping("c")]));
        assert_eq!(control(&mut bench), [Seen::Ping(b"a".to_vec()), Seen::Pong(b"b".to_vec())]);
        assert_eq!(bench.flush_frames().len(), 1, "one pong");
        assert_eq!(control(&mut bench), []);
        assert_eq!(bench.poll(), [text_seen("hello"), Seen::Ping(b"c".to_vec())]);
    }
}

#[test]
fn a_message_that_was_begun_waits_with_its_rest() {
    for role in ROLES {
        let mut bench = Bench::open(role, Config::default());
        assert_eq!(bench.receive_frames(&[text("hel").more()]), []);
        bench.buf.extend_from_slice(&wire_to(role, &[ping("x"), continuation("lo"), ping("y")]));
        assert_eq!(control(&mut bench), [Seen::Ping(b"x".to_vec())]);
        assert_eq!(bench.poll(), [text_seen("hello"), Seen::Ping(b"y".to_vec())]);

        // In the middle of a frame, too.
        let wire = wire_to(role, &[text("goodbye")]);
        let (first, rest) = wire.split_at(wire.len() - 3);
        assert_eq!(bench.receive(first), []);
        bench.buf.extend_from_slice(rest);
        assert_eq!(control(&mut bench), []);
        assert_eq!(bench.poll(), [text_seen("goodbye")]);
    }
}

#[test]
fn a_close_frame_is_answered_but_not_before_the_messages_in_front_of_it() {
    let mut bench = Bench::open(Role::Server, Config::default());
    bench.buf.extend_from_slice(&wire_to(Role::Server, &[text("last words"), close(1000, "")]));
    assert_eq!(control(&mut bench), []);
    bench.connection.handle_eof();
    assert_eq!(control(&mut bench), [], "the end of the stream is behind the message");
    assert_eq!(bench.poll()[0], text_seen("last words"));
}

/// The pong may be stuck behind the message that nobody takes.
#[test]
fn while_a_message_waits_the_peer_is_not_held_to_be_dead() {
    let config = config(|config| {
        config.idle_timeout = Some(Duration::from_secs(60));
        config.message_timeout = Some(Duration::from_secs(50));
    });
    for role in ROLES {
        let mut bench = Bench::open(role, config.clone());
        bench.receive_frames(&[text("in ").more()]);
        bench.buf.extend_from_slice(&wire_to(role, &[continuation("time")]));
        for second in 1..600 {
            bench.at(Duration::from_secs(second));
            assert_eq!(control(&mut bench), []);
            bench.connection.handle_timeout(bench.now);
            bench.flush();
        }
        assert_eq!(bench.poll(), [text_seen("in time")]);
        // Once all is taken, its silence counts again.
        let mut ended = Vec::new();
        for second in 600..1000 {
            bench.at(Duration::from_secs(second));
            ended.extend(bench.timeout());
            bench.flush();
            ended.extend(bench.poll());
        }
        assert!(matches!(ended[..], [Seen::Closed(_)]), "{ended:?}");
    }
}

/// Or a byte in each moment in which nobody receives would make a message last for ever.
#[test]
fn that_a_byte_is_withheld_gives_its_message_no_more_time() {
    let config = config(|config| config.message_timeout = Some(Duration::from_secs(10)));
    for role in ROLES {
        let mut bench = Bench::open(role, config.clone());
        let wire = wire_to(role, &[text("a".repeat(100))]);
        bench.receive(&wire[..10]);
        for (second, byte) in (1..=10).zip(&wire[10..]) {
            assert_eq!(bench.connection.state(), ReadyState::Open, "before second {second}");
            bench.at(Duration::from_secs(second));
            bench.buf.extend_from_slice(&[*byte]);
            assert_eq!(control(&mut bench), []);
            bench.poll();
            bench.timeout();
        }
        assert_eq!(bench.connection.state(), ReadyState::Closing);
    }
}

/// The application may take its time, and the message has the rest of its own then.
#[test]
fn while_its_rest_is_withheld_a_message_is_not_late() {
    let config = config(|config| config.message_timeout = Some(Duration::from_secs(10)));
    for (second, state) in [(1008, ReadyState::Open), (1009, ReadyState::Closing), (1010, ReadyState::Closing)] {
        let mut bench = Bench::open(Role::Server, config.clone());
        let wire = wire_to(Role::Server, &[text("hello")]);
        bench.receive(&wire[..7]);
        bench.at(Duration::from_secs(1)).buf.extend_from_slice(&wire[7..9]);
        assert_eq!(control(&mut bench), []);
        for rested in [10, 11, 500, 1000] {
            bench.at(Duration::from_secs(rested));
            bench.connection.handle_timeout(bench.now);
            assert_eq!(control(&mut bench), []);
            bench.flush();
        }
        assert_eq!(bench.poll(), [], "the message has a second behind it and nine to go");
        bench.at(Duration::from_secs(second)).timeout();
        assert_eq!(bench.connection.state(), state, "at {second} s");
    }
}

/// Each connection keeps what it is in the middle of, and borrows the buffer that all read into.
#[test]
fn one_buffer_reads_for_many_connections() {
    let mut shared = RecvBuf::new();
    let mut benches: Vec<Bench> = (0..50).map(|_| Bench::open(Role::Server, Config::default())).collect();
    let wire = wire_to(Role::Server, &[text("one ").more(), ping("p"), continuation("message"), binary("another")]);
    let mut seen = vec![Vec::new(); benches.len()];
    for byte in &wire {
        for (bench, seen) in benches.iter_mut().zip(&mut seen) {
            shared.take_over(&mut bench.buf);
            std::mem::swap(&mut shared, &mut bench.buf);
            seen.extend(bench.receive(&[*byte]));
            bench.flush();
            std::mem::swap(&mut shared, &mut bench.buf);
            bench.buf.take_over(&mut shared);
            bench.buf.release();
            assert!(bench.buf.capacity() <= bench.buf.len() + 64, "keeps {} bytes", bench.buf.capacity());
        }
    }
    for seen in seen {
        assert_eq!(seen, [Seen::Ping(b"p".to_vec()), text_seen("one message"), Seen::Binary(b"another".to_vec())]);
    }
}
