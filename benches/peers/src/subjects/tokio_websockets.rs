use futures_util::{SinkExt, StreamExt};
use sansocket::Role;
use tokio_websockets::{ClientBuilder, Message, ServerBuilder, WebSocketStream};

use super::Work;
use crate::wire::{Case, Wire, now, seen};

pub(super) fn receive(case: &Case) -> Work {
    let mut socket = socket(case, case.wire());
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            let message = now(socket.next()).expect("no end").expect("a message");
            assert!(message.is_text() || message.is_binary());
            sum += match message.as_text() {
                Some(text) => seen(text.as_bytes()),
                None => seen(message.as_payload()),
            };
        }
        sum
    })
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len) = (case.wire(), case.payload(), case.batch_len());
    let mut socket = socket(case, wire.clone());
    Box::new(move |messages| {
        for i in 1..=messages {
            now(socket.feed(Message::binary(payload.clone()))).expect("there is room");
            if i % batch_len == 0 || i == messages {
                now(socket.flush()).expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket(case: &Case, wire: Wire) -> WebSocketStream<Wire> {
    match case.role {
        Role::Server => ServerBuilder::new().serve(wire),
        Role::Client => ClientBuilder::new().take_over(wire),
    }
}
