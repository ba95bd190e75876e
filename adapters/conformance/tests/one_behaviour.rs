//! One script on the bare core, on std, tokio, smol and async-std: the same messages, the same bytes, the same end.
//!
//! A failure names its seed, and `SANSOCKET_SEED` runs that one alone.

use std::time::Duration;

use sansocket::connection::FragmentPosition::{Last, More};
use sansocket::{CloseCode, Config, Role};
use sansocket_conformance::{Order, Script, Step, Subject, raw_frame, timeless};

/// Runs a script on everything.
#[track_caller]
fn check(script: &Script) {
    let recording = script.record(script.seed);
    let seed = script.seed;
    let name = &script.name;
    assert_eq!(
        script.record(seed + 1).trace,
        recording.trace,
        "the core, read and written otherwise: {name}, seed {seed}"
    );
    assert!(recording.trace.dropped && recording.trace.ended.is_some(), "{name}, seed {seed}: there is no end");
    for (chunks, subject) in Subject::ALL.into_iter().enumerate() {
        match subject.play(script, &recording, seed + chunks as u64) {
            Ok(trace) => assert_eq!(trace, recording.trace, "{subject:?}: {name}, seed {seed}"),
            Err(stuck) => panic!("{subject:?}: {name}, seed {seed}: {stuck}"),
        }
    }
}

/// Runs the steps with either end as ours.
#[track_caller]
fn check_both(name: &str, config: &Config, steps: impl Fn(Role) -> Vec<Step>) {
    for role in [Role::Client, Role::Server] {
        let steps = steps(role);
        check(&Script { name: format!("{name}, {role:?}"), seed: 7, role, config: config.clone(), steps });
    }
}

fn text(text: &str) -> Order {
    Order::Text(text.into())
}

fn close(code: u16, reason: &str) -> Order {
    Order::Close(CloseCode(code), reason.into())
}

#[test]
fn scripts_of_any_kind() {
    match std::env::var("SANSOCKET_SEED") {
        Ok(seed) => check(&Script::any(seed.parse().unwrap())),
        Err(_) => (0..200).for_each(|seed| check(&Script::any(seed))),
    }
}

#[test]
fn closing_from_either_side() {
    let config = timeless();
    check_both("ours", &config, |_| vec![Step::Order(text("a")), Step::Order(close(1000, "bye"))]);
    check_both("ours, without a code", &config, |_| vec![Step::Order(close(1005, ""))]);
    check_both("theirs", &config, |_| vec![Step::Peer(text("a")), Step::Peer(close(4999, "bye"))]);
    check_both("theirs, in the middle of our message", &config, |_| {
        vec![Step::Order(Order::BinaryFragment(vec![1; 10], More)), Step::Peer(close(1001, ""))]
    });
    check_both("what the peer sends before it has read our close", &config, |_| {
        vec![
            Step::Take(0),
            Step::Order(close(1000, "")),
            Step::Peer(text("still")),
            Step::Peer(text("here")),
            Step::TakeAll,
        ]
    });
    check_both("what is refused once it has begun", &config, |_| {
        vec![Step::Order(close(1000, "")), Step::Order(text("a")), Step::Order(Order::Ping(vec![1]))]
    });
    check_both("aborted", &config, |_| vec![Step::Order(text("a")), Step::Order(Order::Abort), Step::Order(text("b"))]);
    check_both("aborted while the stream takes nothing", &config, |_| {
        vec![Step::Take(3), Step::Order(text("hello")), Step::Order(Order::Abort)]
    });
}

#[test]
fn a_stream_that_ends_or_breaks() {
    let config = timeless();
    for cut in [Step::HalfClose, Step::Reset] {
        check_both("between two messages", &config, |_| vec![Step::Peer(text("a")), cut.clone()]);
        check_both("in the middle of their frame", &config, |role| {
            vec![Step::Raw(raw_frame(role, 0x82, 100, &[1; 40])), cut.clone()]
        });
        check_both("in the middle of their header", &config, |_| vec![Step::Raw(vec![0x82]), cut.clone()]);
        check_both("between two fragments", &config, |_| {
            vec![Step::Peer(Order::BinaryFragment(vec![1; 10], More)), cut.clone()]
        });
        check_both("in the middle of our frame", &config, |_| {
            vec![Step::Take(9), Step::Order(Order::Binary(vec![1; 100])), cut.clone(), Step::TakeAll]
        });
        check_both("after our close", &config, |_| vec![Step::Mute, Step::Order(close(1000, "")), cut.clone()]);
    }
}

#[test]
fn faults_of_the_peer() {
    let mut config = timeless();
    config.message_len_max = 1000;
    let fault = |name: &str, frame: &dyn Fn(Role) -> Vec<u8>| {
        check_both(name, &config, |role| {
            vec![Step::Order(text("before")), Step::Raw(frame(role)), Step::Order(text("after")), Step::HalfClose]
        });
    };
    let other = |role| if role == Role::Client { Role::Server } else { Role::Client };
    fault("a reserved bit", &|role| raw_frame(role, 0xC2, 1, b"a"));
    fault("an opcode that is none", &|role| raw_frame(role, 0x83, 1, b"a"));
    fault("masked where it must not be, or not where it must", &|role| raw_frame(other(role), 0x82, 1, b"a"));
    fault("text that is no UTF-8", &|role| raw_frame(role, 0x81, 4, b"ab\xFFc"));
    fault("a continuation of nothing", &|role| raw_frame(role, 0x80, 1, b"a"));
    fault("a message within a message", &|role| {
        [raw_frame(role, 0x01, 1, b"a"), raw_frame(role, 0x81, 1, b"b")].concat()
    });
    fault("a ping in fragments", &|role| raw_frame(role, 0x09, 1, b"a"));
    fault("a ping of 126 bytes", &|role| raw_frame(role, 0x89, 126, &[7; 126]));
    fault("a close code that may not be sent", &|role| raw_frame(role, 0x88, 2, &1006_u16.to_be_bytes()));
    fault("a close of one byte", &|role| raw_frame(role, 0x88, 1, b"a"));
    fault("a message of 1001 bytes", &|role| raw_frame(role, 0x82, 1001, b"a"));
    fault("a message of 1000 bytes, then a fault", &|role| {
        [raw_frame(role, 0x82, 1000, &[1; 1000]), raw_frame(role, 0x8F, 0, b"")].concat()
    });
}

#[test]
fn messages_in_fragments_with_a_ping_in_between() {
    check_both("theirs", &timeless(), |_| {
        vec![
            Step::Peer(Order::TextFragment("hé".into(), More)),
            Step::Peer(Order::Ping(b"one".to_vec())),
            Step::Order(text("in between")),
            Step::Peer(Order::TextFragment(String::new(), More)),
            Step::Peer(Order::Pong(b"two".to_vec())),
            Step::Peer(Order::TextFragment("llo".into(), Last)),
            Step::Peer(close(1000, "")),
        ]
    });
    check_both("ours", &timeless(), |_| {
        vec![
            Step::Order(Order::TextFragment("hé".into(), More)),
            Step::Order(Order::Ping(b"one".to_vec())),
            Step::Peer(Order::Ping(b"two".to_vec())),
            Step::Order(text("refused")),
            Step::Order(Order::BinaryFragment(vec![], Last)),
            Step::Order(Order::TextFragment("llo".into(), Last)),
            Step::Order(close(1000, "")),
        ]
    });
}

#[test]
fn a_stream_that_takes_nothing_for_a_while() {
    check_both("a message above the high-water mark", &timeless(), |_| {
        vec![
            Step::Take(1000),
            Step::Order(Order::Binary(vec![7; 300_000])),
            Step::Peer(text("meanwhile")),
            Step::Peer(Order::Binary(vec![1; 100_000])),
            Step::TakeAll,
            Step::Peer(Order::Ping(b"there?".to_vec())),
            Step::Order(close(1000, "")),
        ]
    });
}

#[test]
fn the_heartbeat_is_answered() {
    let mut config = timeless();
    config.ping_interval = Some(Duration::from_millis(700));
    config.pong_timeout = Some(Duration::from_secs(30));
    check_both("", &config, |_| vec![Step::UntilDue, Step::UntilDue, Step::Peer(close(1000, ""))]);
}

#[test]
fn a_peer_that_is_gone_is_noticed() {
    let mut config = timeless();
    config.ping_interval = Some(Duration::from_millis(600));
    config.pong_timeout = Some(Duration::from_millis(100));
    check_both("", &config, |_| vec![Step::Mute, Step::UntilDue, Step::UntilDue]);
}

#[test]
fn deadlines() {
    let soon = Some(Duration::from_millis(200));
    let mut config = timeless();
    config.idle_timeout = soon;
    check_both("idle", &config, |_| vec![Step::UntilDue]);
    let mut config = timeless();
    config.message_timeout = soon;
    check_both("message", &config, |role| {
        vec![Step::Raw(raw_frame(role, 0x82, 100, &[1; 40])), Step::UntilDue, Step::HalfClose]
    });
    let mut config = timeless();
    config.close_timeout = soon;
    check_both("close", &config, |_| vec![Step::Mute, Step::Order(close(1000, "")), Step::UntilDue]);
    let mut config = timeless();
    config.write_timeout = soon;
    check_both("write", &config, |_| vec![Step::Take(3), Step::Order(text("hello")), Step::UntilDue]);
}
