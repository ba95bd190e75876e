use sansocket::Role as End;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use super::Work;
use crate::wire::{Case, Wire, seen};

pub(super) fn receive(case: &Case) -> Work {
    let mut socket = socket(case, case.wire());
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            sum += match socket.read().expect("a message") {
                Message::Text(text) => seen(text.as_bytes()),
                Message::Binary(payload) => seen(&payload),
                message => panic!("{message:?}"),
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
            socket.write(Message::Binary(payload.clone())).expect("there is room");
            if i % batch_len == 0 || i == messages {
                socket.flush().expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket(case: &Case, wire: Wire) -> WebSocket<Wire> {
    let role = if case.role == End::Server { Role::Server } else { Role::Client };
    WebSocket::from_raw_socket(wire, role, None)
}
