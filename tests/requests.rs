//! Messages with a type and requests over a client and servers without a network between them.
#![cfg(feature = "json")]

mod support;

use std::time::Duration;

use sansocket::client::{
    ClientConfig, ClientEvent, Delivery, End, NotSent, Outcome, Overflow, Prepared, RejectReason, Token,
};
use sansocket::json::{
    EnvelopeFormat, Ids, JsonConfig, JsonEvent, MalformedReason, OnLost, RequestFailure, RequestId, Requests,
};
use sansocket::{CloseCode, Message};
use support::rig::{Rig, config};
use support::{MS, SEC};

fn json(change: impl FnOnce(&mut JsonConfig, &mut ClientConfig)) -> Rig {
    Rig::new(config(|config| {
        let mut json = JsonConfig::default();
        change(&mut json, config);
        config.json = Some(json);
    }))
}

impl Rig {
    fn request(&mut self, kind: &str, timeout: Duration) -> RequestId {
        let id = self.client.request(self.now, kind, &0, timeout).unwrap();
        self.run();
        id
    }

    /// What requests came to, since the last time.
    fn results(&mut self) -> Vec<(u64, Result<String, RequestFailure>)> {
        let of = |event| match event {
            ClientEvent::Json(JsonEvent::Answer(id, result)) => Some((id.0, result.map(|json| json.to_string()))),
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }
}

#[test]
fn a_request_gets_the_answer_with_its_id() {
    let mut rig = json(|_, _| ());
    rig.request("first", SEC); // while there is no connection
    rig.accept();
    rig.request("second", SEC);
    assert_eq!(rig.received, [r#"{"type":"first","id":1,"payload":0}"#, r#"{"type":"second","id":2,"payload":0}"#]);
    rig.say(r#"{"id": 2, "payload": [2]}"#);
    rig.say(r#"{"error": "no", "id": "1"}"#);
    let error = rig.events().into_iter().filter(|event| matches!(event, ClientEvent::Json(_))).collect::<Vec<_>>();
    assert!(
        matches!(&error[..], [
        ClientEvent::Json(JsonEvent::Answer(RequestId(2), Ok(payload))),
        ClientEvent::Json(JsonEvent::Answer(RequestId(1), Err(RequestFailure::Error(why)))),
    ] if payload.as_str() == "[2]" && why.parse::<&str>().unwrap() == "no"),
        "{error:?}"
    );
    assert_eq!((rig.client.pending_requests(), rig.client.metrics(rig.now).queued_messages), (0, 0));
}

/// Only one event for each: no outcome of its message besides.
#[test]
fn a_request_has_one_result_and_its_message_no_outcome() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let mut rig = json(|_, config| config.queue.delivery = delivery);
        rig.request("a", SEC);
        rig.client.send_typed(rig.now, "b", &0).unwrap();
        rig.accept();
        rig.say(r#"{"id":1}"#);
        rig.at(2 * SEC);
        let told: Vec<_> = rig
            .events()
            .into_iter()
            .filter(|event| matches!(event, ClientEvent::Json(_) | ClientEvent::Outcome(..)))
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|event| matches!(event, ClientEvent::Outcome(Token(2), _))), "{told:?}");
    }
}

#[test]
fn everything_that_arrives_is_an_event_and_ends_nothing() {
    let mut rig = json(|json, _| json.peer_requests = true);
    rig.accept();
    rig.request("ask", SEC);
    rig.events();
    let mut event = |text: &str| {
        rig.say(text);
        let mut events = rig.events();
        assert_eq!(events.len(), 1, "{text} {events:?}");
        if let ClientEvent::Json(event) = events.remove(0) { event } else { panic!("{text}") }
    };
    assert!(matches!(event(r#"{"type":"said","payload":1}"#), JsonEvent::Message(said) if said.kind == "said"));
    assert!(matches!(event(r#"{"type":"ask","id":"x"}"#), JsonEvent::Message(asked) if asked.id.is_some()));
    assert!(matches!(event(r#"{"id":1}"#), JsonEvent::Answer(RequestId(1), Ok(_))));
    assert!(matches!(event(r#"{"id":1}"#), JsonEvent::Duplicate(RequestId(1), _)));
    for unknown in ["0", "2", "-1", "1.5", "\"01\"", "\"\"", "[]", "true", "18446744073709551616", "\"+1\""] {
        assert!(matches!(event(&format!(r#"{{"id":{unknown}}}"#)), JsonEvent::Unknown(_)), "{unknown}");
    }
    for text in ["", "{", "[]", "1", "null", "{} {}", r#"{"type":1}"#, r#"{"type":null}"#, "{}", r#"{"id":null}"#] {
        assert!(matches!(event(text), JsonEvent::Malformed(message, _) if message == text.into()), "{text}");
    }
    assert!(matches!(event(r#"{"id":1,"id":2}"#), JsonEvent::Malformed(_, MalformedReason::Json(_))), "twice");
    let server = rig.server.as_mut().unwrap();
    server.send_binary(rig.now, b"{}").unwrap();
    rig.run();
    assert_eq!(rig.events(), [ClientEvent::Message(b"{}"[..].into())], "bytes are not looked into");
    assert!(rig.server.is_some());
}

#[test]
fn an_answer_comes_in_time_or_not_at_all() {
    let mut rig = json(|_, _| ());
    rig.accept();
    rig.request("in time", SEC);
    rig.request("late", SEC);
    rig.at(SEC - MS);
    assert_eq!(rig.results(), []);
    // It has arrived by the time the clock strikes, though nobody has looked at it.
    let server = rig.server.as_mut().unwrap();
    server.send_text(rig.now, r#"{"id":1}"#).unwrap();
    let bytes = server.outgoing().to_vec();
    server.advance_outgoing(rig.now, bytes.len());
    rig.input.extend_from_slice(&bytes);
    rig.at(SEC);
    assert_eq!(rig.results(), [(1, Ok("null".into())), (2, Err(RequestFailure::TimedOut))]);
    rig.say(r#"{"id":2}"#);
    assert!(matches!(rig.events()[..], [ClientEvent::Json(JsonEvent::Duplicate(RequestId(2), _))]));
}

#[test]
fn what_has_timed_out_or_is_cancelled_does_not_leave_any_more() {
    let mut rig = json(|_, _| ());
    rig.request("late", SEC);
    let given_up = rig.request("given up", 100 * SEC);
    rig.client.send_typed(rig.now, "sent", &0).unwrap();
    assert!(rig.client.cancel_request(rig.now, given_up));
    assert!(!rig.client.cancel_request(rig.now, given_up));
    rig.at(SEC);
    assert_eq!(rig.results(), [(1, Err(RequestFailure::TimedOut))]);
    rig.accept();
    assert_eq!(rig.received, [r#"{"type":"sent","payload":0}"#]);
    assert_eq!(rig.client.metrics(rig.now).queued_bytes, 0);
    rig.at(200 * SEC);
    assert_eq!(rig.results(), [], "nobody waits for it");
}

#[test]
fn a_request_fails_when_its_message_is_dropped() {
    let mut rig = json(|_, config| {
        config.queue.messages_max = 1;
        config.queue.overflow = Overflow::DropOldest;
        config.queue.age_max = Some(5 * SEC);
    });
    rig.request("in the way", 60 * SEC);
    rig.request("too old", 60 * SEC);
    assert_eq!(rig.results(), [(1, Err(RequestFailure::Overflow))]);
    rig.at(5 * SEC);
    assert_eq!(rig.results(), [(2, Err(RequestFailure::Expired))]);
    rig.request("at the end", 60 * SEC);
    rig.client.abort(rig.now);
    rig.run();
    assert_eq!(rig.events.last(), Some(&ClientEvent::Ended(End::Aborted)), "the last event");
    assert_eq!(rig.results(), [(3, Err(RequestFailure::Ended))]);
}

#[test]
fn what_becomes_of_requests_when_the_connection_is_lost_is_as_configured() {
    use OnLost::{Fail, Resend, Wait};
    for (on_lost, results, again) in
        [(Fail, vec![(1, Err(RequestFailure::Lost))], vec![]), (Wait, vec![], vec![]), (Resend, vec![], vec![1])]
    {
        let mut rig = json(|json, _| json.on_lost = on_lost);
        rig.accept();
        rig.request("sent", 100 * SEC);
        // Nothing of these reaches the server, but a part of the second has left.
        rig.client.request(rig.now, "partly", &0, 100 * SEC).unwrap();
        rig.client.advance_outgoing(rig.now, 1);
        rig.client.request(rig.now, "not", &0, 100 * SEC).unwrap();
        rig.received.clear();
        rig.cut();
        assert_eq!(rig.results(), results, "{on_lost:?}");
        rig.strike();
        rig.client.send_typed(rig.now, "newer", &0).unwrap();
        rig.accept();
        let id = |text: &String| text.split(r#""id":"#).nth(1)?[..1].parse::<i32>().ok();
        let ids: Vec<_> = rig.received.iter().map(id).collect();
        let expected: Vec<_> = again.iter().chain(&[2, 3]).copied().map(Some).chain([None]).collect();
        assert_eq!(ids, expected, "{on_lost:?}: in the order in which they were accepted");
        assert_eq!(rig.client.metrics(rig.now).messages_resent, again.len() as u64);
        for id in 1..=3 {
            rig.say(&format!(r#"{{"id":{id}}}"#));
        }
        let answered = if on_lost == Fail { vec![2, 3] } else { vec![1, 2, 3] };
        assert_eq!(rig.results(), answered.into_iter().map(|id| (id, Ok("null".into()))).collect::<Vec<_>>());
        assert_eq!(rig.client.pending_requests(), 0);
    }
}

#[test]
fn with_at_least_once_an_answer_confirms() {
    let mut rig = json(|_, config| config.queue.delivery = Delivery::AtLeastOnce);
    rig.accept();
    rig.client.send_typed(rig.now, "before", &0).unwrap();
    rig.client.request(rig.now, "asked", &0, 100 * SEC).unwrap();
    // The server never sees the ping behind it.
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    rig.say(r#"{"id":1}"#);
    assert_eq!(rig.results(), [(1, Ok("null".into()))]);
    assert_eq!(rig.client.metrics(rig.now).queued_messages, 0);
}

#[test]
fn a_close_waits_for_messages_but_not_for_answers() {
    let mut rig = json(|_, _| ());
    rig.request("asked", 100 * SEC);
    rig.client.close(rig.now, CloseCode::NORMAL, "", 10 * SEC).unwrap();
    assert!(matches!(
        rig.client.request(rig.now, "x", &0, SEC),
        Err(NotSent::Rejected(rejected)) if rejected.reason == RejectReason::Closed
    ));
    rig.accept();
    assert_eq!(rig.received.len(), 1);
    let ended = rig.events.iter().position(|event| matches!(event, ClientEvent::Ended(_)));
    assert_eq!(ended, Some(rig.events.len() - 1));
    assert_eq!(rig.results(), [(1, Err(RequestFailure::Ended))]);
}

#[test]
fn a_close_ends_as_soon_as_nothing_is_left_to_wait_for() {
    let mut rig = json(|_, _| ());
    rig.request("asked", SEC);
    rig.client.close(rig.now, CloseCode::NORMAL, "", 100 * SEC).unwrap();
    rig.at(SEC);
    assert_eq!(rig.events.last(), Some(&ClientEvent::Ended(End::Closed(None))));
}

#[test]
fn the_limit_of_pending_requests_holds() {
    let mut rig = json(|json, _| json.pending_max = 3);
    for at in 1..=5 {
        let asked = rig.client.request(rig.now, "x", &0, SEC);
        match at {
            1..=3 => assert!(asked.is_ok(), "{at}"),
            _ => assert!(matches!(asked, Err(NotSent::TooMany { max: 3 })), "{at}"),
        }
    }
    rig.now += SEC;
    rig.client.handle_timeout(rig.now);
    assert!(rig.client.request(rig.now, "x", &0, SEC).is_err(), "failures that nobody polls count");
    rig.run();
    assert_eq!(rig.results().len(), 3);
    assert!(rig.client.request(rig.now, "x", &0, SEC).is_ok());
}

#[test]
fn a_refused_request_leaves_nothing_behind() {
    let mut rig = json(|_, config| config.queue.bytes_max = 100);
    let refused = rig.client.request(rig.now, "x", &"x".repeat(100), SEC);
    assert!(matches!(refused, Err(NotSent::Rejected(_))), "{refused:?}");
    assert_eq!((rig.client.pending_requests(), rig.client.metrics(rig.now).queued_messages), (0, 0));
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(rig.client.send_typed(rig.now, "x", &unwritable), Err(NotSent::Encode(_))));
    assert!(matches!(rig.client.request(rig.now, "x", &unwritable, SEC), Err(NotSent::Encode(_))));
    let mut rig = Rig::new(config(|_| ()));
    assert!(matches!(rig.client.request(rig.now, "x", &0, SEC), Err(NotSent::NotConfigured)));
    rig.accept();
    rig.events();
    rig.say(r#"{"type":"x"}"#);
    assert_eq!(rig.events(), [ClientEvent::Message(r#"{"type":"x"}"#.into())], "who does not ask for it gets bytes");
}

#[test]
fn a_request_of_the_peers_is_answered() {
    let mut rig = json(|json, _| {
        json.peer_requests = true;
        json.ids = Ids::Text("c".into());
    });
    rig.accept();
    rig.request("ours", SEC);
    rig.events();
    rig.say(r#"{"type":"time","id":1}"#); // a number, as ours is not
    let Some(ClientEvent::Json(JsonEvent::Message(asked))) = rig.events().pop() else { panic!() };
    let id = asked.id.unwrap();
    rig.client.answer(rig.now, &id, "noon").unwrap();
    rig.client.answer_error(rig.now, &id, &404).unwrap();
    rig.run();
    assert_eq!(
        rig.received,
        [r#"{"type":"ours","id":"c1","payload":0}"#, r#"{"id":1,"payload":"noon"}"#, r#"{"id":1,"error":404}"#]
    );
    rig.events();
    rig.say(r#"{"id":"c1"}"#);
    assert_eq!(rig.results(), [(1, Ok("null".into()))]);
}

/// The credentials' answer and the heartbeat's are looked for first.
#[test]
fn an_answer_to_credentials_need_not_be_an_envelope() {
    let mut rig = json(|_, config| support::rig::with_auth(config));
    rig.request("asked", 100 * SEC);
    rig.accept();
    assert_eq!(rig.received, ["token 1"]);
    rig.say("ok");
    assert_eq!(rig.received.len(), 2);
    assert!(!rig.events().iter().any(|event| matches!(event, ClientEvent::Json(_))));
}

#[test]
fn json_rpc_is_a_format() {
    let mut requests = Requests::new({
        let mut config = JsonConfig::default();
        config.format = EnvelopeFormat::json_rpc();
        config
    });
    let now = std::time::Instant::now();
    let (id, message) = requests.request(now, "subtract", &[42, 23], SEC).unwrap();
    assert_eq!(message, r#"{"jsonrpc":"2.0","method":"subtract","id":1,"params":[42,23]}"#.into());
    let answer = |text: &str| Message::from(text);
    assert!(matches!(
        requests.handle_message(&answer(r#"{"jsonrpc": "2.0", "result": 19, "id": 1}"#)),
        JsonEvent::Answer(answered, Ok(payload)) if answered == id && payload.as_str() == "19"
    ));
    assert!(matches!(
        requests.handle_message(&answer(r#"{"jsonrpc": "2.0", "error": {"code": -32700}, "id": null}"#)),
        JsonEvent::Malformed(_, MalformedReason::KindMissing)
    ));
}

#[test]
fn a_request_of_the_peers_is_answered_in_the_format_of_the_client() {
    let mut rig = json(|json, _| {
        json.peer_requests = true;
        json.format = EnvelopeFormat::json_rpc();
    });
    rig.accept();
    rig.events();
    rig.say(r#"{"jsonrpc":"2.0","method":"time","id":7}"#);
    let Some(ClientEvent::Json(JsonEvent::Message(asked))) = rig.events().pop() else { panic!() };
    let id = asked.id.unwrap();
    rig.client.answer(rig.now, &id, "noon").unwrap();
    rig.client.answer_error(rig.now, &id, &404).unwrap();
    rig.run();
    assert_eq!(
        rig.received,
        [r#"{"jsonrpc":"2.0","id":7,"result":"noon"}"#, r#"{"jsonrpc":"2.0","id":7,"error":404}"#]
    );

    let mut rig = Rig::new(config(|_| ()));
    assert!(matches!(rig.client.answer(rig.now, &id, &0), Err(NotSent::NotConfigured)));
    assert!(matches!(rig.client.answer_error(rig.now, &id, &0), Err(NotSent::NotConfigured)));
}

/// Whoever asks once more would otherwise have it done twice.
#[test]
fn a_request_that_has_had_its_result_is_not_sent_again() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        for is_cancelled in [false, true] {
            for written in [1, usize::MAX] {
                let mut rig = json(|_, config| config.queue.delivery = delivery);
                rig.accept();
                let id = rig.client.request(rig.now, "transfer", &0, SEC).unwrap();
                rig.client.send(rig.now, "next").unwrap();
                rig.client.advance_outgoing(rig.now, written.min(rig.client.outgoing().len()));
                rig.server = None;
                if is_cancelled {
                    assert!(rig.client.cancel_request(rig.now, id));
                }
                rig.at(SEC);
                let result = (!is_cancelled).then_some((1, Err(RequestFailure::TimedOut)));
                assert_eq!(rig.results(), Vec::from_iter(result));
                rig.client.handle_transport_error();
                rig.run();
                rig.order();
                rig.strike();
                rig.accept();
                let kept = written == 1 || delivery == Delivery::AtLeastOnce;
                assert_eq!(rig.received, ["next"][..usize::from(kept)], "{delivery:?} {is_cancelled} {written}");
            }
        }
    }
}

/// Written, then lost: that is for the queue, too, which promises what it promises.
#[test]
fn unconfirmed_requests_end_as_lost() {
    let mut rig = json(|_, config| {
        config.queue.delivery = Delivery::AtLeastOnce;
        config.queue.age_max = Some(SEC);
        config.asks_before_attempt = true;
    });
    assert!(rig.order().is_some());
    rig.client.handle_prepared(rig.now, Prepared::Unchanged);
    rig.accept();
    rig.client.request(rig.now, "x", &0, 100 * SEC).unwrap();
    rig.client.advance_outgoing(rig.now, rig.client.outgoing().len());
    rig.cut();
    rig.at(SEC);
    assert_eq!(rig.results(), [(1, Err(RequestFailure::Lost))]);
    assert!(!rig.events.iter().any(|event| matches!(event, ClientEvent::Outcome(_, Outcome::Unconfirmed))));
}

#[test]
fn failures_that_nobody_polls_are_bounded() {
    let mut config = JsonConfig::default();
    config.pending_max = 3;
    let (mut requests, now) = (Requests::new(config), std::time::Instant::now());
    for round in 0..2 {
        for _ in 0..3 {
            requests.request(now, "x", &0, SEC).unwrap();
        }
        assert!(requests.handle_lost().is_empty());
        assert_eq!(requests.pending_len(), 0);
        assert!(requests.request(now, "x", &0, SEC).is_err(), "{round}");
        assert_eq!(std::iter::from_fn(|| requests.poll_failure()).count(), 3);
    }
}
