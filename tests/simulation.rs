//! Two connections over a network that delays, splits, stalls and breaks, in virtual time. `SANSOCKET_SEED` replays a failure.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sansocket::{CloseCause, CloseCode, Config, Deadline, Message, Role, SendError, Side, StreamOrder};
use support::*;

/// The deadlines that these tests count with.
fn deadlines(config: &mut Config) {
    config.handshake_timeout = Some(10 * SEC);
    config.ping_interval = Some(25 * SEC);
    config.pong_timeout = Some(20 * SEC);
    config.write_timeout = Some(30 * SEC);
    config.close_timeout = Some(5 * SEC);
}

/// Over any network that does not break, all messages arrive in order, once, and both ends close clean.
#[test]
fn every_message_arrives_once_and_in_order_over_any_network() {
    for_each_seed(40, |seed| {
        let mut rng = Rng::new(seed);
        let network = Network::any(&mut rng);
        // However slow it is.
        let patient = config(timeless);
        let mut pair = Pair::new(seed, network, patient.clone(), patient);
        // A sender that goes on when there is room, and an echo that never finds none.
        let messages: Vec<Message> = (0..rng.between(1, 12))
            .map(|_| match (rng.below(3), [0, 1, 125, 126, 1000][rng.below(5)]) {
                (0, len) => Message::from("€".repeat(len)),
                (_, len) => Message::from(rng.bytes(len)),
            })
            .collect();
        pair = pair.server_app(|connection, now, seen| match seen {
            Seen::Text(text) => connection.send_text(now, text).expect("an answer always fits"),
            Seen::Binary(bytes) => connection.send_binary(now, bytes).expect("an answer always fits"),
            _ => {}
        });
        let echoes = Rc::new(RefCell::new(Vec::new()));
        let left = Rc::new(RefCell::new(messages.clone()));
        {
            let (echoes, left) = (echoes.clone(), left.clone());
            let count = messages.len();
            pair = pair.client_app(move |connection, now, seen| {
                match seen {
                    Seen::Text(text) => echoes.borrow_mut().push(Message::from(&text[..])),
                    Seen::Binary(bytes) => echoes.borrow_mut().push(Message::from(&bytes[..])),
                    Seen::Open => {}
                    _ => return,
                }
                let mut left = left.borrow_mut();
                while let Some(message) = left.first() {
                    match connection.send(now, message) {
                        Ok(()) => drop(left.remove(0)),
                        Err(SendError::AboveHighWaterMark { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                if echoes.borrow().len() == count {
                    connection.close(now, CloseCode::NORMAL, "all came back").unwrap();
                }
            });
        }
        pair.run();
        assert!(*echoes.borrow() == messages, "{} of {} messages came back", echoes.borrow().len(), messages.len());
        assert!(pair.is_over());
        for (end, by) in [(&pair.client, Side::Local), (&pair.server, Side::Remote)] {
            let closed = end.closed();
            assert_eq!((closed.by, closed.code, closed.clean), (by, CloseCode::NORMAL, true), "{closed:?}");
            assert_eq!(closed.cause, CloseCause::CloseFrame);
        }
        assert_eq!(pair.server.orders, [StreamOrder::ShutdownWrite, StreamOrder::Drop], "the server ends it first");
        assert_eq!(pair.client.orders, [StreamOrder::Drop]);
    });
}

/// However the network breaks, both ends report it once, within the deadlines.
#[test]
fn whenever_and_however_the_network_breaks_both_ends_end_in_time() {
    for_each_seed(120, |seed| {
        let mut rng = Rng::new(seed);
        let mut network = Network::any(&mut rng);
        let cut = [Cut::Silence, Cut::SilenceTo(Role::Client), Cut::SilenceTo(Role::Server), Cut::Reset][rng.below(4)];
        let at_most = [2000, 60_000][rng.below(2)];
        let at = MS * rng.below(at_most) as u32;
        network.cut = Some((at, cut));
        let close_at = MS * rng.below(60_000) as u32;
        let closes = rng.once_in(3);
        let mut pair = Pair::new(seed, network, config(deadlines), config(deadlines));
        let talk = |connection: &mut sansocket::Connection, now, seen: &Seen| match seen {
            Seen::Request | Seen::Open => drop(connection.send_text(now, "hello")),
            Seen::Text(text) if text.len() < 300 => drop(connection.send_text(now, &text.repeat(2))),
            _ => {}
        };
        pair = pair.client_app(talk).server_app(talk);
        if closes {
            pair.run_until(close_at);
            pair.client.connection.close(pair.now, CloseCode::GOING_AWAY, "").unwrap();
        }
        // Handshake 10 s, or the next ping 25 s and its pong 20 s; a write 30 s; a close 5 s.
        pair.run_until(at.max(if closes { close_at } else { at }) + Duration::from_secs(25 + 20 + 30 + 5 + 1));
        assert!(pair.is_over(), "client {:?}, server {:?}", pair.client.closed, pair.server.closed);
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_at_the_handshake_deadline() {
    let silent = Network { cut: Some((Duration::ZERO, Cut::Silence)), ..Network::default() };
    let mut pair = Pair::new(1, silent, config(deadlines), config(deadlines));
    pair.run();
    assert_eq!(pair.client.closed().cause, CloseCause::Deadline(Deadline::Handshake));
    assert_eq!(pair.client.closed_at, Some(pair.start + 10 * SEC));
}

/// The peer's machine is gone: no end of stream, no reset, only silence.
#[test]
fn a_dead_peer_is_noticed_within_ping_interval_and_pong_timeout() {
    let network = Network { cut: Some((60 * SEC, Cut::Silence)), ..Network::default() };
    let mut pair = Pair::new(2, network, config(deadlines), config(deadlines));
    pair.run();
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.closed().cause, CloseCause::Deadline(Deadline::Pong));
        let noticed = end.closed_at.unwrap() - pair.start;
        // After the silence begins: at most 25 s to the next ping, 20 s for its pong, 5 s for a Close that nobody takes.
        assert!(noticed > 60 * SEC && noticed <= (60 + 25 + 20 + 5) * SEC, "{noticed:?}");
    }
}

#[test]
fn a_day_of_heartbeats_keeps_an_idle_connection_open_and_measures_the_round_trip() {
    let mut pair = Pair::new(3, Network::default(), config(deadlines), config(deadlines));
    let day = Duration::from_secs(24 * 3600);
    pair.run_until(day);
    assert!(pair.client.closed.is_none() && pair.server.closed.is_none());
    for end in [&pair.client, &pair.server] {
        let pings = end.seen.iter().filter(|seen| matches!(seen, Seen::Ping(_))).count();
        let pongs = end.seen.iter().filter(|seen| matches!(seen, Seen::Pong(_))).count();
        assert_eq!((pings, pongs), (24 * 3600 / 25 - 1, 24 * 3600 / 25 - 1));
        assert_eq!(end.connection.rtt(), Some(20 * MS));
    }
    pair.server.connection.close(pair.now, CloseCode::SERVICE_RESTART, "restart").unwrap();
    pair.run();
    assert!(pair.is_over() && pair.client.closed().clean && pair.server.closed().clean);
}

/// Each writes more than the transport holds, and goes on reading meanwhile.
#[test]
fn two_ends_that_both_write_a_lot_do_not_block_each_other() {
    let network = Network { window: 4096, ..Network::default() };
    let mut pair = Pair::open(4, network, config(deadlines));
    let large = "x".repeat(300_000);
    pair.client.connection.send_text(pair.now, &large).unwrap();
    pair.server.connection.send_text(pair.now, &large).unwrap();
    pair.run_until(20 * SEC);
    assert_eq!(pair.client.texts().len(), 1);
    assert_eq!(pair.server.texts().len(), 1);
}

/// Both close at once: their frames cross. RFC 6455 section 7.1.5 leaves each with what it began.
#[test]
fn two_closes_that_cross_are_clean_at_both_ends() {
    let mut pair = Pair::open(5, Network::default(), config(deadlines));
    pair.client.connection.close(pair.now, CloseCode(4001), "client").unwrap();
    pair.server.connection.close(pair.now, CloseCode(4002), "server").unwrap();
    pair.run();
    for (end, code, peer_code) in [(&pair.client, 4001, 4002), (&pair.server, 4002, 4001)] {
        let closed = end.closed();
        assert_eq!(closed.peer_code, Some(CloseCode(peer_code)));
        assert_eq!((closed.by, closed.code.0, closed.clean), (Side::Local, code, true));
    }
    assert_eq!(pair.elapsed(), 30 * MS, "one way for the closes, one for each end of the stream");
}

/// A user who only writes still answers pings, and one who only reads still does.
#[test]
fn pings_are_answered_whatever_the_application_does() {
    let fast_pings = config(|config| config.ping_interval = Some(SEC));
    let mut pair = Pair::open(6, Network::default(), fast_pings);
    for second in 1..60 {
        pair.run_until(second * SEC);
        pair.client.connection.send_text(pair.now, "tick").unwrap();
    }
    assert_eq!(pair.server.texts().len(), 58, "the last one is under way");
    let pongs = |end: &End| end.seen.iter().filter(|seen| matches!(seen, Seen::Pong(_))).count();
    assert_eq!((pongs(&pair.client), pongs(&pair.server)), (58, 58));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut rng = Rng::new(seed);
        let mut network = Network::any(&mut rng);
        network.cut = Some((30 * SEC, Cut::Reset));
        let mut pair = Pair::new(seed, network, config(deadlines), config(deadlines))
            .client_app(|connection, now, seen| {
                if matches!(seen, Seen::Open) {
                    connection.send_text(now, "hello").unwrap();
                }
            })
            .server_app(|connection, now, seen| {
                if let Seen::Text(text) = seen {
                    connection.send_text(now, text).unwrap();
                }
            });
        pair.run();
        (pair.client.closed_at.unwrap() - pair.start, pair.client.seen.clone(), pair.server.seen.clone())
    };
    for_each_seed(10, |seed| assert_eq!(run(seed), run(seed)));
}
