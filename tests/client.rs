//! A client and servers without a network between them: what is retried, credentials, redirects, heartbeat, the end.

mod support;

use std::sync::Arc;
use std::time::Duration;

use sansocket::client::{
    Beat, Cause, ClientEvent, ClientState, ConnectFailure, ConnectFailureKind, Delivery, DropReason, End, Order,
    Outcome, Prepared, RejectReason, Token,
};
use sansocket::handshake::RedirectError;
use sansocket::{Acceptance, ClientOptions, CloseCode, Config, Connection, Message, ReadyState, RecvBuf};
use support::rig::{Rig, config, with_auth};
use support::{MS, SEC};

fn refusal(cause: &Cause) -> Option<u16> {
    if let Cause::Refused(refusal) = cause { Some(refusal.status) } else { None }
}

#[test]
fn messages_wait_until_the_connection_is_open_and_leave_in_order() {
    let mut rig = Rig::new(config(|_| ()));
    assert_eq!((rig.client.state(), rig.client.state().ready_state()), (ClientState::Waiting, ReadyState::Connecting));
    for text in ["1", "2"] {
        rig.client.send(rig.now, text).unwrap();
    }
    rig.accept();
    rig.client.send(rig.now, "3").unwrap();
    rig.run();
    assert_eq!(rig.received, ["1", "2", "3"]);
    assert_eq!(rig.outcomes(), [1, 2, 3].map(|token| (token, Outcome::Written)));
    assert_eq!(rig.client.state(), ClientState::Open);
}

#[test]
fn what_left_in_part_goes_out_first_on_the_next_connection() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    for text in ["whole", "partly", "not at all"] {
        rig.client.send(rig.now, text).unwrap();
    }
    let frame = |text: &str| text.len() + 6;
    rig.client.advance_outgoing(rig.now, frame("whole") + frame("partly") - 1);
    rig.cut();
    let events = rig.events();
    assert!(events.contains(&ClientEvent::Outcome(Token(1), Outcome::Written)), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, ClientEvent::Lost { in_doubt: 1, .. })), "{events:?}");
    assert_eq!(rig.strike(), 5 * SEC);
    rig.client.send(rig.now, "newer").unwrap();
    rig.accept();
    assert_eq!(rig.received, ["partly", "not at all", "newer"]);
    assert_eq!(rig.outcomes(), [2, 3, 4].map(|token| (token, Outcome::Written)));
}

#[test]
fn with_at_least_once_what_no_pong_confirms_is_sent_again() {
    let mut rig = Rig::new(config(|config| config.queue.delivery = Delivery::AtLeastOnce));
    rig.accept();
    rig.client.send(rig.now, "confirmed").unwrap();
    rig.run();
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    assert_eq!(rig.outcomes(), [(1, Outcome::Confirmed)], "by the pong to a ping that is sent for it");
    rig.client.send(rig.now, "lost").unwrap();
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    rig.cut();
    rig.strike();
    rig.accept();
    assert_eq!(rig.received, ["confirmed", "lost"]);
    assert_eq!(rig.client.metrics(rig.now).messages_resent, 1);
    assert_eq!(rig.outcomes(), [(2, Outcome::Confirmed)]);
}

#[test]
fn a_refusal_that_would_come_again_stops_the_client() {
    for status in [200, 401, 403, 404] {
        let mut rig = Rig::new(config(|_| ()));
        rig.client.send(rig.now, "waits").unwrap();
        rig.refuse(status, &[]);
        let end = rig.end().cloned();
        assert!(matches!(&end, Some(End::Stopped(cause)) if refusal(cause) == Some(status)), "{end:?}");
        assert_eq!(rig.outcomes(), [(1, Outcome::Dropped(DropReason::Ended))]);
        assert_eq!((rig.client.state(), rig.client.poll_timeout()), (ClientState::Closed, None));
        let rejected = rig.client.send(rig.now, "too late").unwrap_err();
        assert_eq!((rejected.reason, rejected.message), (RejectReason::Closed, Message::from("too late")));
    }
}

#[test]
fn retry_after_is_followed_in_seconds_and_by_date() {
    let mut rig = Rig::new(config(|_| ()));
    rig.refuse(503, &[("Retry-After", "7")]);
    assert_eq!(rig.strike(), 12 * SEC, "7 s and the first delay");
    // It is 08:49:07 by now.
    rig.client.handle_wall_clock(rig.now, Duration::from_secs(784_111_747));
    rig.refuse(503, &[("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(rig.strike(), (12 + 30 + 10) * SEC);
}

#[test]
fn the_client_gives_up_when_its_attempts_are_used_up() {
    let mut rig = Rig::new(config(|config| config.backoff.attempts_max = Some(2)));
    for _ in 0..2 {
        assert!(matches!(rig.order(), Some(Order::Connect(_))));
        let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: "refused".into() };
        rig.client.handle_connect_failed(rig.now, failure);
        rig.run();
        if rig.end().is_none() {
            rig.strike();
        }
    }
    assert!(matches!(rig.end(), Some(End::GaveUp(Cause::Connect(_)))));
    assert!(rig.order().is_none());
}

#[test]
fn a_connect_that_takes_too_long_is_given_up() {
    let mut rig = Rig::new(config(|_| ()));
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
    rig.at(10 * SEC - MS);
    assert_eq!(rig.client.state(), ClientState::Connecting);
    rig.at(10 * SEC);
    assert!(matches!(rig.order(), Some(Order::Drop)));
    rig.client.handle_connected(rig.now); // too late
    assert_eq!(rig.client.state(), ClientState::Waiting);
    assert_eq!(rig.strike(), 15 * SEC);
}

#[test]
fn a_redirect_is_followed_at_once() {
    let options = ClientOptions::new("ws://example.com/a").unwrap().redirects(1);
    let mut rig = Rig::with_options(options, config(|_| ()));
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
    rig.client.handle_connected(rig.now);
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    rig.input.extend_from_slice(b"HTTP/1.1 302 Found\r\nLocation: ws://b.example/c\r\nContent-Length: 0\r\n\r\n");
    rig.run();
    assert!(matches!(rig.order(), Some(Order::Drop)));
    let Some(Order::Connect(attempt)) = rig.order() else { panic!() };
    assert_eq!(attempt.address(), Ok(("b.example", 80)));
    assert_eq!(rig.events(), [], "nothing has failed");
}

#[test]
fn nothing_leaves_before_the_credentials_are_accepted() {
    let mut rig = Rig::new(config(with_auth));
    rig.client.send(rig.now, "secret").unwrap();
    rig.accept();
    assert_eq!((&rig.received[..], rig.client.state()), (&["token 1".to_owned()][..], ClientState::Authenticating));
    rig.server.as_mut().unwrap().send_text(rig.now, "hello").unwrap();
    rig.run();
    assert!(rig.events().contains(&ClientEvent::Message("hello".into())), "what is no answer is delivered");
    rig.server.as_mut().unwrap().send_text(rig.now, "ok").unwrap();
    rig.run();
    assert_eq!(rig.received, ["token 1", "secret"]);
    let accepted = [ClientEvent::Ready { again: false }, ClientEvent::Outcome(Token(1), Outcome::Written)];
    assert_eq!(rig.events(), accepted, "the answer is not delivered");
    rig.say("ok");
    assert_eq!(rig.events(), [ClientEvent::Message("ok".into())], "nothing was asked");
}

#[test]
fn credentials_without_an_answer_are_closed_with_4001() {
    let mut rig = Rig::new(config(with_auth));
    rig.accept();
    assert_eq!(rig.client.poll_timeout(), Some(rig.start + 10 * SEC));
    rig.at(10 * SEC - MS);
    assert_eq!(rig.client.state(), ClientState::Authenticating);
    rig.at(10 * SEC);
    let events = rig.events();
    assert!(
        events.iter().any(|event| matches!(event, ClientEvent::Lost { cause: Cause::AuthTimedOut, .. })),
        "{events:?}"
    );
    assert_eq!(rig.client.state(), ClientState::Waiting);
}

/// They are meant for the server that they were given for.
#[test]
fn credentials_do_not_follow_a_redirect_to_another_server() {
    for (location, follows) in [
        ("/b", true),
        ("http://example.com:80/b", true),
        ("ws://other.example/a", false),
        ("ws://example.com:81/a", false),
        ("wss://example.com/a", false),
    ] {
        let options = ClientOptions::new("ws://example.com/a").unwrap().redirects(1);
        let mut rig = Rig::with_options(options, config(with_auth));
        rig.refuse(307, &[("Location", location)]);
        let fault = rig.events().into_iter().find_map(|event| match event {
            ClientEvent::AttemptFailed { cause, .. } => Some(cause),
            _ => None,
        });
        assert_eq!(fault, (!follows).then_some(Cause::Redirect(RedirectError::Credentials)), "{location}");
        if follows {
            assert!(matches!(rig.order(), Some(Order::Drop)));
            rig.accept();
            assert_eq!(rig.received, ["token 1"]);
        }
    }
}

#[test]
fn a_beat_that_is_a_message_waits_for_the_credentials() {
    let mut rig = Rig::new(config(|config| {
        with_auth(config);
        config.heartbeat.interval = Some(5 * SEC);
        config.heartbeat.beat =
            Beat::Message { message: "beat".into(), is_answer: Arc::new(|message| message.as_text() == Some("alive")) };
    }));
    rig.accept();
    rig.at(5 * SEC);
    assert_eq!(rig.received, ["token 1"]);
    rig.say("ok");
    assert_eq!(rig.received, ["token 1", "beat"]);
}

#[test]
fn refused_credentials_are_the_end_unless_there_are_others() {
    let answer = |text: &str| if text == "token 2" { Some("ok") } else { Some("no") };
    let mut rig = Rig::new(config(with_auth));
    rig.answer = answer;
    rig.accept();
    assert!(matches!(rig.end(), Some(End::Stopped(Cause::AuthRefused(why))) if why == "expired"));

    for (prepared, ends) in [(Prepared::Unchanged, true), (Prepared::Credentials("token 2".into()), false)] {
        assert!(!format!("{prepared:?}").contains("token"), "{prepared:?}");
        let mut rig = Rig::new(config(|config| {
            with_auth(config);
            config.asks_before_attempt = true;
        }));
        rig.answer = answer;
        let asked = rig.order();
        assert!(matches!(asked, Some(Order::Prepare { cause: None, needs_credentials: false })), "{asked:?}");
        rig.client.handle_prepared(rig.now, Prepared::Unchanged);
        rig.accept();
        rig.strike();
        let asked = rig.order();
        assert!(matches!(asked, Some(Order::Prepare { cause: Some(_), needs_credentials: true })), "{asked:?}");
        rig.client.handle_prepared(rig.now, prepared);
        rig.run();
        assert_eq!(rig.end().is_some(), ends);
        if !ends {
            rig.accept();
            assert_eq!(rig.client.state(), ClientState::Open);
        }
    }
}

#[test]
fn credentials_are_renewed_without_reconnecting() {
    let mut rig = Rig::new(config(with_auth));
    rig.answer = |text| (text != "token 3").then_some("ok").or(Some("no"));
    rig.accept();
    rig.events();
    rig.client.reauthenticate(rig.now, "token 2");
    rig.run();
    assert_eq!(rig.events(), [ClientEvent::Reauthenticated]);
    assert_eq!((rig.client.state(), rig.client.metrics(rig.now).connections), (ClientState::Open, 1));
    rig.client.reauthenticate(rig.now, "token 3");
    rig.run();
    assert!(matches!(rig.end(), Some(End::Stopped(Cause::AuthRefused(_)))));
}

/// What the server says to the first is not taken for what it says to the second.
#[test]
fn credentials_wait_until_those_before_them_are_answered() {
    for first in ["ok", "no"] {
        for second in ["ok", "no"] {
            let mut rig = Rig::new(config(with_auth));
            rig.accept();
            rig.client.reauthenticate(rig.now, "token 2");
            rig.client.reauthenticate(rig.now, "token 3");
            rig.run();
            assert_eq!(rig.received, ["token 1"]);
            rig.at(9 * SEC);
            rig.say(first);
            assert_eq!(rig.received, ["token 1", "token 3"]);
            assert_eq!(rig.client.state() == ClientState::Open, first == "ok");
            assert_eq!(rig.client.poll_timeout(), Some(rig.start + 19 * SEC), "they have their own time");
            rig.events();
            rig.say(second);
            match (first, second) {
                ("ok", "ok") => assert_eq!(rig.events(), [ClientEvent::Reauthenticated]),
                ("no", "ok") => assert_eq!(rig.events(), [ClientEvent::Ready { again: false }]),
                _ => assert!(matches!(rig.end(), Some(End::Stopped(Cause::AuthRefused(_))))),
            }
        }
    }
}

#[test]
fn whoever_is_not_told_what_to_connect_to_waits_for_so_long_and_tries_again() {
    let mut rig = Rig::new(config(|config| config.asks_before_attempt = true));
    assert!(matches!(rig.order(), Some(Order::Prepare { .. })));
    assert_eq!(rig.strike(), 10 * SEC);
    assert!(matches!(rig.events()[0], ClientEvent::AttemptFailed { attempt: 0, cause: Cause::Prepare(_) }));
    rig.strike();
    assert!(matches!(rig.order(), Some(Order::Prepare { .. })));
    rig.client.handle_prepared(rig.now, Prepared::Request(Box::new(ClientOptions::new("ws://b.example/").unwrap())));
    let Some(Order::Connect(attempt)) = rig.order() else { panic!() };
    assert_eq!(attempt.address(), Ok(("b.example", 80)));
}

#[test]
fn a_lost_heartbeat_ends_the_connection() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    let server = rig.server.take(); // It answers nothing any more.
    rig.at(25 * SEC);
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    rig.at(45 * SEC - MS);
    assert_eq!(rig.client.state(), ClientState::Open);
    rig.at(45 * SEC);
    let events = rig.events();
    assert!(events.iter().any(|event| matches!(event, ClientEvent::Lost { cause: Cause::HeartbeatLost, .. })));
    assert!(server.is_some() && rig.client.state() == ClientState::Waiting);
}

/// As happens to an adapter that does not hold the client while it writes.
#[test]
fn a_pong_may_be_there_before_its_ping_is_told_to_have_left() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.now += 25 * SEC;
    rig.client.handle_timeout(rig.now);
    assert_eq!(rig.client.poll_event(rig.now, &mut rig.input), None);
    let ping = rig.client.outgoing().to_vec();
    rig.client.lend_outgoing(ping.len());
    let server = rig.server.as_mut().unwrap();
    rig.server_input.extend_from_slice(&ping);
    while server.poll_event(rig.now, &mut rig.server_input).is_some() {}
    rig.input.extend_from_slice(server.outgoing());
    assert_eq!(rig.client.poll_event(rig.now, &mut rig.input), None);
    rig.client.advance_outgoing(rig.now, ping.len());
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + 25 * SEC), "the next beat, and no answer, is due");
}

/// What the transport has in hand when the connection ends may have arrived.
#[test]
fn what_is_lent_counts_as_taken_when_the_connection_ends() {
    let len = |text: &str| text.len() + 6;
    let ends: [fn(&mut Rig); 2] = [|rig| rig.client.handle_transport_error(), |rig| rig.client.abort(rig.now)];
    for (lent, taken) in [(len("one") - 1, 0), (len("one"), 1), (len("one") + len("two") - 1, 1), (usize::MAX, 2)] {
        for end in ends {
            let mut rig = Rig::new(config(|_| ()));
            rig.accept();
            rig.events();
            for text in ["one", "two"] {
                rig.client.send(rig.now, text).unwrap();
            }
            rig.client.lend_outgoing(lent);
            rig.server = None;
            end(&mut rig);
            rig.run();
            rig.client.advance_outgoing(rig.now, len("one")); // Nobody hears of it any more.
            assert!(matches!(rig.order(), Some(Order::Drop)));
            assert_eq!(rig.client.metrics(rig.now).messages_sent, taken);
            let in_doubt = rig.events.iter().find_map(|event| match event {
                ClientEvent::Lost { in_doubt, .. } => Some(*in_doubt),
                _ => None,
            });
            let is_aborted = rig.client.state() == ClientState::Closed;
            assert_eq!(in_doubt, (!is_aborted).then_some(taken));
            let written: Vec<_> = (1..=taken).map(|token| (token, Outcome::Written)).collect();
            let dropped: Vec<_> = (taken + 1..=2).map(|token| (token, Outcome::Dropped(DropReason::Ended))).collect();
            assert_eq!(rig.outcomes(), if is_aborted { [written, dropped].concat() } else { written });
            if !is_aborted {
                rig.strike();
                rig.accept();
                assert_eq!(rig.received, &["one", "two"][taken as usize..]);
            }
        }
    }
}

#[test]
fn what_was_lent_and_not_taken_goes_out_first_on_the_next_connection() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.client.send(rig.now, "one").unwrap();
    rig.client.lend_outgoing(usize::MAX);
    rig.client.advance_outgoing(rig.now, 0); // The write failed.
    rig.cut();
    rig.strike();
    rig.accept();
    assert_eq!(rig.received, ["one"]);
}

#[test]
fn a_message_may_be_the_heartbeat() {
    let mut rig = Rig::new(config(|config| {
        let is_answer = Arc::new(|message: &Message| message.as_text() == Some("pong"));
        config.heartbeat.beat = Beat::Message { message: "ping".into(), is_answer };
    }));
    rig.answer = |text| (text == "ping").then_some("pong");
    rig.accept();
    rig.events();
    rig.at(25 * SEC);
    assert_eq!(rig.events(), [], "the answer is not delivered");
    assert_eq!(rig.received, ["ping"]);
    let metrics = rig.client.metrics(rig.now);
    assert_eq!((metrics.rtt, metrics.smoothed_rtt), (Some(Duration::ZERO), Some(Duration::ZERO)));
}

#[test]
fn a_day_of_heartbeat_takes_milliseconds() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    let mut beats = 0;
    while rig.strike() < 24 * 3600 * SEC {
        beats += 1;
    }
    assert_eq!(beats, 24 * 3600 / 25 - 1);
    assert_eq!((rig.client.state(), rig.client.metrics(rig.now).connections), (ClientState::Open, 1));
    assert_eq!(rig.client.metrics(rig.now).uptime, 24 * 3600 * SEC);
}

/// Each connection lasts as long as two times can be apart: on most systems, three of them come to more than a `Duration` holds.
#[test]
fn an_uptime_beyond_all_measure_stays_at_the_longest_there_is() {
    let mut rig = Rig::new(config(|_| ()));
    let last = (0..64).rev().fold(rig.start, |at, bit| at.checked_add(Duration::from_secs(1 << bit)).unwrap_or(at));
    let late = last - 3600 * SEC; // for the next attempt
    let longest = late - rig.start;
    for connections in 1..=3 {
        rig.accept();
        assert_eq!(rig.client.metrics(late).uptime, longest.saturating_mul(connections));
        rig.now = late;
        rig.cut();
        assert_eq!(rig.client.metrics(late).uptime, longest.saturating_mul(connections));
        rig.strike();
        rig.now = rig.start; // and back
    }
}

#[test]
fn a_close_waits_for_what_is_queued_over_as_many_connections_as_that_takes() {
    let mut rig = Rig::new(config(|_| ()));
    rig.client.send(rig.now, "first").unwrap();
    rig.client.close(rig.now, CloseCode::NORMAL, "done", 60 * SEC).unwrap();
    assert_eq!(rig.client.state(), ClientState::Closing);
    assert_eq!(rig.client.send(rig.now, "no more").unwrap_err().reason, RejectReason::Closed);
    rig.refuse(503, &[]);
    rig.server = None;
    while rig.client.outgoing().is_empty() && rig.received.is_empty() {
        match rig.order() {
            Some(Order::Drop) => {}
            Some(Order::Connect(_)) => {
                rig.client.handle_connected(rig.now);
                rig.input = RecvBuf::new();
                rig.server_input = RecvBuf::new();
                rig.server = Some(Connection::server(Config::default(), [9; 32], rig.now));
                rig.pump(&|server, now| server.accept(now, &Acceptance::new()).unwrap());
            }
            _ => drop(rig.strike()),
        }
    }
    assert_eq!(rig.received, ["first"]);
    let events = rig.events();
    assert!(events.contains(&ClientEvent::Drained), "{events:?}");
    assert!(matches!(events.last(), Some(ClientEvent::Ended(End::Closed(Some(closed)))) if closed.clean), "{events:?}");
}

#[test]
fn a_close_does_not_wait_for_longer_than_it_was_told() {
    let mut rig = Rig::new(config(|_| ()));
    rig.client.send(rig.now, "never leaves").unwrap();
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
    rig.client.close(rig.now, CloseCode::NORMAL, "", 3 * SEC).unwrap();
    assert_eq!(rig.client.poll_timeout(), Some(rig.start + 3 * SEC), "before the time to connect is over");
    rig.at(3 * SEC - MS);
    assert_eq!(rig.client.state(), ClientState::Closing);
    rig.at(3 * SEC);
    assert_eq!(rig.end(), Some(&End::Closed(None)));
    assert_eq!(rig.outcomes(), [(1, Outcome::Dropped(DropReason::Ended))]);
    assert!(matches!(rig.order(), Some(Order::Drop)));
}

/// What is in the output leaves before the Close frame: it is not told to be dropped.
#[test]
fn at_the_end_of_the_drain_only_what_has_not_left_is_dropped() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let mut rig = Rig::new(config(|config| config.queue.delivery = delivery));
        rig.accept();
        rig.events();
        let long = "x".repeat(1 << 20);
        let handed = rig.client.send(rig.now, "handed over").unwrap();
        rig.client.send(rig.now, long.clone()).unwrap();
        let waits = rig.client.send(rig.now, "waits").unwrap();
        rig.client.close(rig.now, CloseCode::NORMAL, "", SEC).unwrap();
        rig.now += SEC;
        rig.client.handle_timeout(rig.now);
        assert_eq!(
            rig.client.poll_event(rig.now, &mut rig.input),
            Some(ClientEvent::Outcome(waits, Outcome::Dropped(DropReason::Ended)))
        );
        rig.run();
        assert_eq!(rig.received, ["handed over".to_owned(), long]);
        let sent = if delivery == Delivery::AtMostOnce { Outcome::Written } else { Outcome::Unconfirmed };
        assert!(rig.events.contains(&ClientEvent::Outcome(handed, sent)), "{:?}", rig.events);
        assert!(matches!(rig.end(), Some(End::Closed(Some(closed))) if closed.clean));
    }
}

#[test]
fn whoever_sleeps_until_poll_timeout_is_woken_when_a_message_is_too_old() {
    let mut rig = Rig::new(config(|config| config.queue.age_max = Some(5 * SEC)));
    rig.at(2 * SEC);
    rig.client.send(rig.now, "late").unwrap();
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
    assert_eq!(rig.strike(), 7 * SEC);
    assert_eq!(rig.outcomes(), [(1, Outcome::Dropped(DropReason::Expired))]);
}

#[test]
fn an_abort_ends_at_once_and_only_once() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.client.send(rig.now, "gone").unwrap();
    for _ in 0..2 {
        rig.client.abort(rig.now);
    }
    rig.server = None;
    rig.run();
    assert_eq!(rig.events.iter().filter(|event| matches!(event, ClientEvent::Ended(_))).count(), 1);
    assert_eq!(rig.events.last(), Some(&ClientEvent::Ended(End::Aborted)));
    assert!(matches!(rig.order(), Some(Order::Drop)));
    assert!(rig.order().is_none());
}

#[test]
fn a_close_that_may_not_be_sent_is_refused_and_nothing_has_happened() {
    let mut rig = Rig::new(config(|_| ()));
    assert!(rig.client.close(rig.now, CloseCode(1006), "", SEC).is_err());
    assert!(rig.client.close(rig.now, CloseCode::NORMAL, &"x".repeat(124), SEC).is_err());
    assert_eq!(rig.client.state(), ClientState::Waiting);
}

#[test]
fn nothing_new_is_begun_while_events_wait() {
    let mut rig = Rig::new(config(|config| config.asks_before_attempt = true));
    let mut orders = 0;
    for _ in 0..1000 {
        orders += u32::from(rig.order().is_some());
        if let Some(at) = rig.client.poll_timeout() {
            rig.now = at;
            rig.client.handle_timeout(at);
        }
    }
    assert_eq!(orders, 1);
    rig.run();
    assert_eq!(rig.events().len(), 2);
}

/// What a peer sends that nobody receives at the moment.
#[test]
fn messages_that_are_withheld_keep_nothing_else_from_happening() {
    let mut rig = Rig::new(config(with_auth));
    rig.answer = |text| (text == "token 1").then_some("ok");
    rig.accept();
    rig.events();
    let withheld = |rig: &mut Rig| {
        let (now, server) = (rig.now, rig.server.as_mut().unwrap());
        server.send_text(now, "news").unwrap();
        rig.input.extend_from_slice(server.outgoing());
        server.advance_outgoing(now, server.buffered_len());
        std::iter::from_fn(|| rig.client.poll_control_event(now, &mut rig.input)).collect::<Vec<_>>()
    };
    assert_eq!(rig.client.poll_control_event(rig.now, &mut rig.input), None);
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + 25 * SEC), "the beat, with nothing in the way");
    assert_eq!(withheld(&mut rig), []);
    assert!(!rig.client.wants_read());

    // Neither heartbeat nor credentials fall due: what answers them may be behind the message.
    rig.client.reauthenticate(rig.now, "token 1");
    rig.server_input.extend_from_slice(rig.client.outgoing());
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    for _ in 0..100 {
        rig.now += 10 * SEC;
        rig.client.handle_timeout(rig.now);
        assert_eq!(rig.client.poll_control_event(rig.now, &mut rig.input), None);
    }
    assert_eq!((rig.client.poll_timeout(), rig.client.state()), (None, ClientState::Open));

    // Behind it, they have all their time from then on.
    rig.now += 10 * SEC;
    assert_eq!(rig.client.poll_event(rig.now, &mut rig.input), Some(ClientEvent::Message("news".into())));
    assert_eq!(rig.client.poll_event(rig.now, &mut rig.input), None);
    assert!(rig.client.wants_read());
    rig.client.handle_timeout(rig.now); // The beat that was left out.
    assert_eq!(rig.client.poll_timeout(), Some(rig.now + 10 * SEC), "the credentials");
    rig.run();
    assert_eq!(rig.events(), [ClientEvent::Reauthenticated]);

    // An end is not kept waiting.
    assert_eq!(withheld(&mut rig), []);
    rig.client.handle_eof();
    assert_eq!(rig.client.poll_control_event(rig.now, &mut rig.input), Some(ClientEvent::Message("news".into())));
    let lost = rig.client.poll_control_event(rig.now, &mut rig.input);
    assert!(matches!(lost, Some(ClientEvent::Lost { .. })), "{lost:?}");
}

#[test]
fn messages_are_not_withheld_from_a_client_that_closes() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.events();
    rig.client.close(rig.now, CloseCode::NORMAL, "", SEC).unwrap();
    let server = rig.server.as_mut().unwrap();
    server.send_text(rig.now, "news").unwrap();
    rig.input.extend_from_slice(server.outgoing());
    server.advance_outgoing(rig.now, server.buffered_len());
    assert_eq!(rig.client.poll_control_event(rig.now, &mut rig.input), Some(ClientEvent::Drained));
    assert_eq!(rig.client.poll_control_event(rig.now, &mut rig.input), Some(ClientEvent::Message("news".into())));
    rig.run();
    assert!(matches!(rig.end(), Some(End::Closed(Some(closed))) if closed.clean));
}

/// Found by fuzzing: a client that gave up while it drained told that all had left, behind its end.
#[test]
fn a_client_that_stops_while_it_drains_ends_and_says_nothing_more() {
    let mut rig = Rig::new(config(|_| ()));
    let token = rig.client.send(rig.now, "waits").unwrap();
    rig.client.close(rig.now, CloseCode::NORMAL, "", 60 * SEC).unwrap();
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
    let failure = ConnectFailure { kind: ConnectFailureKind::Unusable, message: "no".into() };
    rig.client.handle_connect_failed(rig.now, failure);
    rig.run();
    let [
        ..,
        ClientEvent::Outcome(dropped, Outcome::Dropped(DropReason::Ended)),
        _,
        ClientEvent::Ended(End::Stopped(_)),
    ] = &rig.events[..]
    else {
        panic!("{:?}", rig.events);
    };
    assert_eq!(*dropped, token);
    for after in [SEC, 60 * SEC, 61 * SEC] {
        rig.client.handle_timeout(rig.start + after);
        assert_eq!(rig.client.poll_event(rig.start + after, &mut rig.input), None);
    }
}

#[test]
fn a_token_in_the_request_is_renewed_before_an_attempt_and_shown_nowhere() {
    let options = |token: &str| {
        let options = ClientOptions::new("ws://example.com/a?room=7").unwrap().query_parameter("token", token);
        options.header("Authorization", format!("Bearer {token}")).unwrap()
    };
    let mut rig = Rig::with_options(options("s3cret&1"), config(|config| config.asks_before_attempt = true));
    assert!(rig.order().is_some());
    rig.client.handle_prepared(rig.now, Prepared::Unchanged);
    rig.refuse(401, &[]);
    rig.strike();
    let asked = rig.order();
    assert!(matches!(asked, Some(Order::Prepare { needs_credentials: true, .. })), "{asked:?}");
    let prepared = Prepared::Request(Box::new(options("s3cret 2")));
    let shown = format!("{prepared:?}");
    rig.client.handle_prepared(rig.now, prepared);
    let order = rig.order().unwrap();
    assert!(!format!("{shown} {order:?} {:?} {:?}", rig.client, options("s3cret")).contains("s3cret"));
    rig.client.handle_connected(rig.now);
    let request = String::from_utf8(rig.client.outgoing().to_vec()).unwrap();
    assert!(request.starts_with("GET /a?room=7&token=s3cret%202 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Authorization: Bearer s3cret 2\r\n"), "{request}");
}

/// For each reason to refuse a token in the request: without a new one, the client stops.
#[test]
fn a_refused_token_is_the_end_unless_there_is_another() {
    for status in [401, 403, 407] {
        let mut rig = Rig::new(config(|config| config.asks_before_attempt = true));
        assert!(rig.order().is_some());
        rig.client.handle_prepared(rig.now, Prepared::Unchanged);
        rig.refuse(status, &[]);
        rig.strike();
        assert!(rig.order().is_some());
        rig.client.handle_prepared(rig.now, Prepared::Unchanged);
        rig.run();
        assert!(matches!(rig.end(), Some(End::Stopped(cause)) if refusal(cause) == Some(status)), "{status}");
    }
}

#[test]
fn an_attempt_begins_when_it_is_due_and_after_what_has_happened_is_told() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.cut();
    let due = rig.client.poll_timeout().unwrap();
    rig.now = due - MS;
    rig.client.handle_timeout(rig.now);
    assert!(rig.order().is_none() && rig.client.state() == ClientState::Waiting, "too early");
    rig.now = due;
    assert!(matches!(rig.order(), Some(Order::Connect(_))), "whoever only asks for orders is late, but not stuck");
    assert!(rig.order().is_none(), "each order comes once");

    let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: "no".into() };
    rig.client.handle_connect_failed(rig.now, failure);
    rig.now = rig.client.poll_timeout().unwrap();
    rig.client.handle_timeout(rig.now);
    assert_eq!(rig.client.state(), ClientState::Connecting);
    assert!(rig.order().is_none(), "first that the last one failed");
    rig.run();
    assert!(rig.events().iter().any(|event| matches!(event, ClientEvent::AttemptFailed { .. })));
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
}

#[test]
fn whoever_prepares_an_attempt_has_all_the_time_there_is() {
    let mut rig = Rig::new(config(|config| config.asks_before_attempt = true));
    assert!(matches!(rig.order(), Some(Order::Prepare { .. })));
    let due = rig.client.poll_timeout().unwrap();
    rig.now = due - MS;
    rig.client.handle_timeout(rig.now);
    rig.client.handle_prepared(rig.now, Prepared::Unchanged);
    assert!(matches!(rig.order(), Some(Order::Connect(_))));
}

#[test]
fn a_fault_of_the_server_orders_the_end_of_the_stream() {
    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.server = None;
    rig.input.extend_from_slice(b"\x83\x00"); // opcode 3 is reserved
    rig.run();
    assert!(rig.order().is_none(), "the Close first");
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    assert!(matches!(rig.order(), Some(Order::ShutdownWrite)));
    assert!(rig.order().is_none());
    rig.strike();
    assert!(matches!(rig.order(), Some(Order::Drop)), "after close_timeout");
}

#[test]
fn the_first_close_is_the_one_that_counts() {
    let mut rig = Rig::new(config(|_| ()));
    rig.client.send(rig.now, "never leaves").unwrap();
    assert!(rig.order().is_some());
    for (len, seconds, is_taken) in [(124, 1, false), (123, 3, true), (122, 2, true)] {
        let closed = rig.client.close(rig.now, CloseCode::NORMAL, &"x".repeat(len), seconds * SEC);
        assert_eq!(closed.is_ok(), is_taken, "{len} bytes");
    }
    assert_eq!(rig.client.poll_timeout(), Some(rig.start + 3 * SEC));
}

#[test]
fn everything_is_counted() {
    let mut rig = Rig::new(config(|config| config.queue.overflow = sansocket::client::Overflow::DropNewest));
    let is_again = |rig: &mut Rig| {
        let again = |event| match event {
            ClientEvent::Opened { again, .. } | ClientEvent::Ready { again } => Some(again),
            _ => None,
        };
        rig.events().into_iter().filter_map(again).collect::<Vec<_>>()
    };
    rig.accept();
    assert_eq!(is_again(&mut rig), [false, false]);
    let before = rig.client.metrics(rig.now);
    assert_eq!((before.attempts, before.connections, before.reconnections, before.uptime), (1, 1, 0, Duration::ZERO));
    rig.client.send(rig.now, "abc").unwrap();
    rig.run();
    rig.at(2 * SEC);
    rig.say("hello");
    let after = rig.client.metrics(rig.now);
    assert_eq!((after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received), (6 + 3, 2 + 5));
    assert_eq!((after.messages_sent, after.messages_received, after.uptime), (1, 1, 2 * SEC));
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    rig.client.send(rig.now, "waits").unwrap();
    while rig.client.poll_event(rig.now, &mut rig.input).is_some() {}
    let filled = rig.client.outgoing_slices(&mut slices);
    assert_eq!((filled, &slices[0][..]), (1, rig.client.outgoing()));
    assert_eq!(slices[0].len(), 6 + 5);
    assert_eq!((rig.client.metrics(rig.now).queued_messages, rig.client.metrics(rig.now).queued_bytes), (1, 5));
    rig.cut();
    rig.at(3 * SEC);
    assert_eq!(rig.client.metrics(rig.now).uptime, 2 * SEC, "not while there is none");
    let back = rig.strike();
    rig.accept();
    assert_eq!(is_again(&mut rig), [true, true]);
    rig.at(10 * SEC);
    let end = rig.client.metrics(rig.now);
    assert_eq!(end.uptime, 2 * SEC + (10 * SEC - back));
    assert_eq!((end.attempts, end.connections, end.reconnections), (2, 2, 1));
    assert_eq!((end.messages_sent, end.messages_resent, end.queued_messages), (2, 0, 0));
    rig.cut();
    for _ in 0..3 {
        rig.client.send(rig.now, "never").unwrap();
    }
    rig.client.abort(rig.now);
    rig.run();
    assert_eq!(rig.client.metrics(rig.now).messages_dropped, 3);

    let mut rig = Rig::new(config(|_| ()));
    rig.accept();
    rig.at(4 * SEC);
    rig.client.abort(rig.now);
    rig.at(6 * SEC);
    assert_eq!(rig.client.metrics(rig.now).uptime, 4 * SEC, "of the last connection, too");
}

#[test]
fn states_and_ends_are_told_in_words_and_credentials_in_none() {
    for (state, name) in [
        (ClientState::Waiting, "waiting"),
        (ClientState::Connecting, "connecting"),
        (ClientState::Authenticating, "authenticating"),
        (ClientState::Open, "open"),
        (ClientState::Closing, "closing"),
        (ClientState::Closed, "closed"),
    ] {
        assert_eq!(state.to_string(), name);
    }
    for (end, words) in [
        (End::Closed(None), "closed while there was no connection"),
        (End::Aborted, "aborted"),
        (
            End::Stopped(Cause::HeartbeatLost),
            "stopped, because another attempt would meet the same: the heartbeat was lost",
        ),
        (End::GaveUp(Cause::AuthTimedOut), "gave up: the credentials were not answered in time"),
    ] {
        assert_eq!(end.to_string(), words);
    }
    let config = config(|config| {
        with_auth(config);
        config.heartbeat.beat = Beat::Message { message: "beat".into(), is_answer: Arc::new(|_| false) };
    });
    let shown = format!("{config:?}");
    assert!(shown.contains("Auth { timeout: 10s, .. }") && !shown.contains("token 1"), "{shown}");
    assert!(shown.contains("beat: Message { message: "), "{shown}");
    assert!(format!("{:?}", Beat::Ping).contains("Ping"));
    assert_eq!(format!("{:?}", Rig::new(config).client), "Client { state: Waiting, queued_messages: 0, .. }");
}

#[test]
fn what_a_server_may_not_have_received_is_in_doubt_unless_it_has_answered_a_close() {
    for (by_client, expected) in [(true, 0), (false, 1)] {
        let mut rig = Rig::new(config(|_| ()));
        rig.accept();
        rig.client.send(rig.now, "once").unwrap();
        rig.run();
        if by_client {
            rig.client.close(rig.now, CloseCode::NORMAL, "", SEC).unwrap();
        } else {
            rig.server.as_mut().unwrap().close(rig.now, CloseCode::GOING_AWAY, "").unwrap();
        }
        rig.run();
        let lost =
            |event: &ClientEvent| if let ClientEvent::Lost { in_doubt, .. } = event { Some(*in_doubt) } else { None };
        assert_eq!(rig.events.iter().find_map(lost), Some(expected), "{:?}", rig.events);
    }
}

/// RFC 6455 section 5.5.3: a pong may answer several pings at once, and they may be answered one by one.
#[test]
fn a_pong_answers_its_ping_and_all_before_it() {
    for answered in [vec![1], vec![0], vec![0, 1]] {
        let mut rig = Rig::new(config(|config| config.queue.delivery = Delivery::AtLeastOnce));
        rig.accept();
        rig.server = None;
        let mut pings = Vec::new();
        let flush = |rig: &mut Rig, pings: &mut Vec<Vec<u8>>| {
            rig.run();
            let out = rig.client.outgoing().to_vec();
            rig.client.advance_outgoing(rig.now, out.len());
            pings
                .extend(support::decode(&out).into_iter().filter(|frame| frame.opcode == 9).map(|frame| frame.payload));
        };
        rig.client.send(rig.now, "to be confirmed").unwrap();
        flush(&mut rig, &mut pings);
        flush(&mut rig, &mut pings);
        assert_eq!(pings.len(), 1, "what is written asks for a pong");
        rig.at(25 * SEC);
        flush(&mut rig, &mut pings);
        assert_eq!(pings.len(), 2, "the beat");
        rig.events();
        for at in &answered {
            rig.input.extend_from_slice(&[&[0x8A, 8], &pings[*at][..]].concat());
            rig.run();
        }
        assert_eq!(rig.client.metrics(rig.now).rtt.is_some(), answered.contains(&1), "{answered:?}");
        assert_eq!(rig.outcomes(), [(1, Outcome::Confirmed)], "{answered:?}");
    }
}
