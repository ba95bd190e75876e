//! Acknowledged delivery over a client and servers without a network between them.
#![cfg(feature = "json")]

mod support;

use sansocket::client::{ClientEvent, Delivery, Outcome};
use sansocket::json::{AckFields, Deduplicator, JsonConfig, JsonEvent};
use support::SEC;
use support::rig::{Rig, config};

fn acked() -> Rig {
    Rig::new(config(|config| {
        let mut json = JsonConfig::default();
        json.format.acks = Some(AckFields::default());
        config.json = Some(json);
    }))
}

/// The number and the session of a message, as the server sees it.
fn number(text: &str) -> (u64, String) {
    let mut format = JsonConfig::default().format;
    format.acks = Some(AckFields::default());
    let envelope = format.decode(&text.into()).unwrap();
    (envelope.seq.or(envelope.ack).unwrap_or(0), envelope.session.unwrap_or_default().to_string())
}

impl Rig {
    fn kinds(&mut self) -> Vec<String> {
        let kind = |event| match event {
            ClientEvent::Json(JsonEvent::Message(envelope)) => Some(envelope.kind.to_string()),
            ClientEvent::Json(event) => Some(format!("{event:?}")),
            _ => None,
        };
        self.events().into_iter().filter_map(kind).collect()
    }
}

#[test]
fn what_is_not_acknowledged_is_sent_again_and_what_is_is_not() {
    let mut rig = acked();
    rig.accept();
    for kind in ["a", "b", "c"] {
        rig.client.send_typed(rig.now, kind, &0).unwrap();
    }
    rig.run();
    let session = number(&rig.received[0]).1;
    assert_eq!((session.len(), rig.received.len()), (16, 3));
    assert_eq!(rig.received[0], format!(r#"{{"type":"a","seq":1,"session":"{session}","payload":0}}"#));
    rig.at(200 * SEC); // Pongs come, and prove nothing.
    assert_eq!(rig.outcomes(), []);
    rig.say(r#"{"ack":2,"session":"server"}"#);
    assert_eq!(rig.outcomes(), [1, 2].map(|token| (token, Outcome::Confirmed)));
    rig.received.clear();
    rig.cut();
    rig.strike();
    rig.client.send_typed(rig.now, "d", &0).unwrap();
    rig.accept();
    let again: Vec<_> = rig.received.iter().map(|text| number(text)).collect();
    assert_eq!(again, [(3, session.clone()), (4, session)], "in order, with the same numbers, in the same session");
    // More than was ever sent confirms what was.
    rig.events();
    rig.say(r#"{"ack":100}"#);
    assert_eq!(rig.outcomes(), [3, 4].map(|token| (token, Outcome::Confirmed)));
    assert_eq!(rig.client.metrics(rig.now).queued_messages, 0);
}

#[test]
fn what_has_not_left_cannot_be_acknowledged() {
    let mut rig = acked();
    rig.accept();
    rig.client.send_typed(rig.now, "a", &0).unwrap();
    rig.events();
    let server = rig.server.as_mut().unwrap();
    server.send_text(rig.now, r#"{"ack":1}"#).unwrap();
    let bytes = server.outgoing().to_vec();
    rig.input.extend_from_slice(&bytes);
    assert_eq!(rig.client.poll_event(rig.now, &mut rig.input), None);
    assert_eq!(rig.client.metrics(rig.now).queued_messages, 1);
}

#[test]
fn a_message_that_comes_twice_is_handed_out_once_and_acknowledged_twice() {
    let mut rig = acked();
    rig.accept();
    rig.events();
    let (one, two) = (r#"{"type":"one","seq":1,"session":"s"}"#, r#"{"type":"two","seq":5,"session":"s"}"#);
    let server = rig.server.as_mut().unwrap();
    for text in [one, two] {
        server.send_text(rig.now, text).unwrap();
    }
    rig.run();
    assert_eq!(rig.kinds(), ["one", "two"]);
    assert_eq!(
        rig.received.iter().map(|text| number(text).0).collect::<Vec<_>>(),
        [5],
        "one for all that came at once"
    );
    rig.say(two);
    assert_eq!((rig.kinds(), rig.received.len()), (vec![], 2));
    rig.cut();
    rig.strike();
    rig.accept();
    rig.say(two);
    rig.say(r#"{"type":"three","seq":6,"session":"s"}"#);
    rig.say(r#"{"type":"no number"}"#);
    assert_eq!(rig.kinds(), ["three", "no number"]);
    assert_eq!(rig.received.iter().map(|text| number(text).0).collect::<Vec<_>>(), [5, 5, 5, 6]);
}

#[test]
fn a_peer_that_starts_anew_is_noticed() {
    let mut rig = acked();
    rig.accept();
    rig.events();
    rig.say(r#"{"type":"one","seq":7,"session":"s"}"#);
    rig.say(r#"{"ack":0,"session":"s"}"#);
    assert_eq!(rig.kinds(), ["one"]);
    rig.cut();
    rig.strike();
    rig.accept();
    rig.say(r#"{"type":"one again","seq":1,"session":"t"}"#);
    rig.say(r#"{"ack":0,"session":"t"}"#);
    assert_eq!(rig.kinds(), ["PeerRestarted", "one again"], "its numbers begin anew");
}

/// An acknowledgement is for the session that it was meant for.
#[test]
fn an_acknowledgement_does_not_outlive_its_connection() {
    let mut rig = acked();
    rig.accept();
    rig.server.as_mut().unwrap().send_text(rig.now, r#"{"type":"one","seq":7,"session":"s"}"#).unwrap();
    let bytes = rig.server.as_mut().unwrap().outgoing().to_vec();
    rig.input.extend_from_slice(&bytes);
    rig.client.handle_eof(); // It can receive nothing any more.
    rig.server = None;
    rig.run();
    assert!(rig.order().is_some());
    rig.strike();
    rig.accept();
    assert_eq!(rig.received, [""; 0]);
}

#[test]
fn a_close_waits_for_acknowledgements() {
    let mut rig = acked();
    rig.accept();
    rig.client.send_typed(rig.now, "a", &0).unwrap();
    rig.client.close(rig.now, sansocket::CloseCode::NORMAL, "", 10 * SEC).unwrap();
    rig.run();
    assert!(!rig.events().contains(&ClientEvent::Drained));
    rig.say(r#"{"ack":1}"#);
    assert!(rig.events().contains(&ClientEvent::Drained));
}

#[test]
fn a_request_has_no_number_and_its_answer_acknowledges_it() {
    let mut rig = acked();
    rig.accept();
    let id = rig.client.request(rig.now, "ask", &0, 100 * SEC).unwrap();
    rig.run();
    assert_eq!(rig.received, [r#"{"type":"ask","id":1,"payload":0}"#]);
    rig.cut();
    rig.strike();
    rig.accept();
    assert_eq!(rig.received.len(), 2, "until then it is sent again");
    rig.events();
    rig.say(r#"{"id":1}"#);
    assert!(matches!(rig.events()[..], [ClientEvent::Json(JsonEvent::Answer(answered, Ok(_)))] if answered == id));
    assert_eq!(rig.client.metrics(rig.now).queued_messages, 0);
}

/// What acknowledges a message behind it says nothing about what it asked for.
#[test]
fn a_request_is_sent_again_until_it_is_answered_whatever_is_acknowledged() {
    let mut rig = acked();
    rig.accept();
    let id = rig.client.request(rig.now, "ask", &0, 1000 * SEC).unwrap();
    rig.client.send_typed(rig.now, "a", &0).unwrap();
    rig.run();
    rig.events();
    rig.say(r#"{"ack":2}"#);
    assert_eq!(rig.outcomes(), [(2, Outcome::Confirmed)]);
    for _ in 0..2 {
        rig.received.clear();
        rig.cut();
        rig.strike();
        rig.accept();
        assert_eq!(rig.received, [r#"{"type":"ask","id":1,"payload":0}"#]);
    }
    rig.events();
    rig.say(r#"{"id":1}"#);
    assert!(matches!(rig.events()[..], [ClientEvent::Json(JsonEvent::Answer(answered, Ok(_)))] if answered == id));
    assert_eq!(rig.client.metrics(rig.now).queued_messages, 0);
}

/// The connection on which it was asked is gone, and this one has not asked it yet.
#[test]
fn a_request_that_waits_for_credentials_outlives_an_acknowledgement() {
    let mut rig = Rig::new(config(|config| {
        support::rig::with_auth(config);
        let mut json = JsonConfig::default();
        json.format.acks = Some(AckFields::default());
        config.json = Some(json);
    }));
    rig.accept();
    rig.say("ok");
    rig.client.request(rig.now, "ask", &0, 1000 * SEC).unwrap();
    rig.client.send_typed(rig.now, "a", &0).unwrap();
    rig.run();
    rig.received.clear();
    rig.cut();
    rig.strike();
    rig.accept();
    rig.say(r#"{"ack":2}"#);
    rig.say("ok");
    assert_eq!(rig.received, ["token 1", r#"{"type":"ask","id":1,"payload":0}"#]);
}

/// For messages that are no JSON: the application acknowledges.
#[test]
fn whoever_acknowledges_by_other_means_says_so_by_token() {
    let mut rig = Rig::new(config(|config| config.queue.delivery = Delivery::Acknowledged));
    rig.accept();
    let first = rig.client.send(rig.now, "1").unwrap();
    rig.client.send(rig.now, "2").unwrap();
    rig.run();
    rig.at(200 * SEC);
    assert_eq!(rig.outcomes(), []);
    rig.client.acknowledge(rig.now, first);
    rig.run();
    assert_eq!(rig.outcomes(), [(1, Outcome::Confirmed)]);
    rig.cut();
    rig.strike();
    rig.accept();
    assert_eq!(rig.received, ["1", "2", "2"]);
}

/// Both helpers together: what the client sends again, the server drops.
#[test]
fn a_server_with_a_deduplicator_acts_on_each_message_once() {
    let mut rig = acked();
    let mut deduplicator = Deduplicator::new(10);
    let mut acted_on = Vec::new();
    for round in 0..3 {
        rig.client.send_typed(rig.now, "said", &round).unwrap();
        rig.accept();
        for text in std::mem::take(&mut rig.received) {
            let (seq, session) = number(&text);
            if deduplicator.accept(&session, seq) {
                acted_on.push(seq);
            }
        }
        rig.cut();
        rig.strike();
    }
    assert_eq!((acted_on, rig.client.metrics(rig.now).messages_resent), (vec![1, 2, 3], 1 + 2 + 3));
}
