use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocket};
use sansocket::Role as End;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};

use super::Work;
use crate::wire::{CHUNK_LEN, Case, now, seen};

pub(super) fn receive(case: &Case) -> Work {
    let mut socket = socket(case, case.wire());
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            let frame = now(socket.read_frame()).expect("a message");
            assert!(matches!(frame.opcode, OpCode::Text | OpCode::Binary));
            sum += seen(&frame.payload);
        }
        sum
    })
}

/// It writes each frame at once; what gathers them is the stream.
pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len) = (case.wire(), case.payload(), case.batch_len());
    let mut socket = socket(case, BufWriter::with_capacity(CHUNK_LEN, wire.clone()));
    Box::new(move |messages| {
        for i in 1..=messages {
            now(socket.write_frame(Frame::binary(Payload::Borrowed(&payload)))).expect("there is room");
            if i % batch_len == 0 || i == messages {
                now(socket.flush()).expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket<S: AsyncRead + AsyncWrite + Unpin>(case: &Case, stream: S) -> WebSocket<S> {
    let role = if case.role == End::Server { Role::Server } else { Role::Client };
    WebSocket::after_handshake(stream, role)
}
