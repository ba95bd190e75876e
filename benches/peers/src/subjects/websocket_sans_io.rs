//! A codec for frames: messages, checks, limits and keys are left to its user.

use sansocket::Role;
use websocket_sans_io::{FrameInfo, Opcode, WebsocketFrameDecoder, WebsocketFrameEncoder, WebsocketFrameEvent};

use super::Work;
use crate::wire::{CHUNK_LEN, Case, seen};

pub(super) fn receive(case: &Case) -> Work {
    let (wire, is_text) = (case.wire(), case.is_text());
    let mut decoder = WebsocketFrameDecoder::new();
    let mut buf = vec![0; CHUNK_LEN];
    let (mut at, mut end) = (0, 0);
    let mut joined = Vec::new();
    Box::new(move |messages| {
        let mut sum = 0;
        let mut left = messages;
        let look = |payload: &[u8]| {
            if is_text { seen(simdutf8::basic::from_utf8(payload).expect("UTF-8").as_bytes()) } else { seen(payload) }
        };
        while left > 0 {
            if at == end {
                (at, end) = (0, wire.read_into(&mut buf));
            }
            // A message that lies in one piece is looked at where it is.
            let mut whole = 0..0;
            loop {
                let step = decoder.add_data(&mut buf[at..end]).expect("infallible");
                let taken = at..at + step.consumed_bytes;
                at = taken.end;
                match step.event {
                    Some(WebsocketFrameEvent::Start { frame_info, .. }) => assert!(frame_info.is_reasonable()),
                    Some(WebsocketFrameEvent::PayloadChunk { .. }) => {
                        if whole.is_empty() && joined.is_empty() {
                            whole = taken;
                        } else {
                            joined.extend_from_slice(&buf[taken]);
                        }
                    }
                    Some(WebsocketFrameEvent::End { frame_info: FrameInfo { fin: true, .. }, .. }) => {
                        sum += if joined.is_empty() { look(&buf[whole]) } else { look(&joined) };
                        joined.clear();
                        left -= 1;
                        break;
                    }
                    Some(WebsocketFrameEvent::End { .. }) => {}
                    None if step.consumed_bytes == 0 => {
                        joined.extend_from_slice(&buf[whole]);
                        break;
                    }
                    None => {}
                }
            }
        }
        sum
    })
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len, role) = (case.wire(), case.payload(), case.batch_len(), case.role);
    let mut out = Vec::new();
    Box::new(move |messages| {
        for i in 1..=messages {
            let mut encoder = WebsocketFrameEncoder::new();
            let header = encoder.start_frame(&FrameInfo {
                opcode: Opcode::Binary,
                payload_length: payload.len() as u64,
                mask: (role == Role::Client).then(rand::random),
                fin: true,
                reserved: 0,
            });
            out.extend_from_slice(&header);
            let at = out.len();
            out.extend_from_slice(&payload);
            if encoder.transform_needed() {
                encoder.transform_frame_payload(&mut out[at..]);
            }
            if i % batch_len == 0 || i == messages {
                wire.put(&out);
                out.clear();
            }
        }
        wire.written() as u64
    })
}
