use sansocket::Role;
use tokio::io::{AsyncWriteExt as _, BufStream};
use web_socket::{Event, WebSocket};

use super::Work;
use crate::wire::{CHUNK_LEN, Case, Wire, now, seen};

pub(super) fn receive(case: &Case) -> Work {
    let (mut socket, is_text) = (socket(case, case.wire()), case.is_text());
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            sum += match now(socket.recv_event()).expect("a message") {
                // It leaves that check to its user.
                Event::Data { data, .. } if is_text => seen(std::str::from_utf8(&data).expect("UTF-8").as_bytes()),
                Event::Data { data, .. } => seen(&data),
                event => panic!("{event:?}"),
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
            now(socket.send(&payload[..])).expect("there is room");
            if i % batch_len == 0 || i == messages {
                now(socket.stream.flush()).expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket(case: &Case, wire: Wire) -> WebSocket<BufStream<Wire>> {
    let stream = BufStream::with_capacity(CHUNK_LEN, CHUNK_LEN, wire);
    match case.role {
        Role::Server => WebSocket::server(stream),
        Role::Client => WebSocket::client(stream),
    }
}
