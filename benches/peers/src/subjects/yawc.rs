use futures_util::{SinkExt, StreamExt};
use sansocket::Role as End;
use yawc::frame::OpCode;
use yawc::{Frame, Options, Role, WebSocket};

use super::Work;
use crate::wire::{Case, Wire, now, seen};

pub(super) fn receive(case: &Case) -> Work {
    let mut socket = socket(case, case.wire());
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            let frame = now(socket.next()).expect("a message");
            assert!(matches!(frame.opcode(), OpCode::Text | OpCode::Binary));
            sum += seen(frame.payload());
        }
        sum
    })
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len) = (case.wire(), case.payload(), case.batch_len());
    let mut socket = socket(case, wire.clone());
    Box::new(move |messages| {
        for i in 1..=messages {
            now(socket.feed(Frame::binary(payload.clone()))).expect("there is room");
            if i % batch_len == 0 || i == messages {
                now(socket.flush()).expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket(case: &Case, wire: Wire) -> WebSocket<Wire> {
    let role = if case.role == End::Server { Role::Server } else { Role::Client };
    let mut options = Options::default().without_compression().with_limits(4 << 20, 8 << 20);
    if case.is_text() {
        options = options.with_utf8(); // which the others always check
    }
    WebSocket::from_stream(wire, role, options).expect("no extension is asked for")
}
