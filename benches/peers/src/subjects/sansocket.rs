use std::io::IoSlice;
use std::time::Instant;

use sansocket::{Config, Connection, Event, RecvBuf};

use super::Work;
use crate::wire::{Case, seen};

pub(super) fn receive(case: &Case) -> Work {
    let wire = case.wire();
    let now = Instant::now();
    let mut connection = Connection::open(case.role, Config::default(), [7; 32], now);
    let mut buf = RecvBuf::new();
    Box::new(move |messages| {
        let mut sum = 0;
        let mut left = messages;
        while left > 0 {
            match connection.poll_event(now, &mut buf) {
                Some(Event::Text(text)) => sum += seen(text.as_bytes()),
                Some(Event::Binary(payload)) => sum += seen(payload),
                Some(event) => panic!("{event:?}"),
                None => {
                    let n = wire.read_into(buf.spare_mut());
                    buf.advance_received(n);
                    continue;
                }
            }
            left -= 1;
        }
        sum
    })
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len) = (case.wire(), case.payload(), case.batch_len());
    let now = Instant::now();
    let mut connection = Connection::open(case.role, Config::default(), [7; 32], now);
    Box::new(move |messages| {
        for i in 1..=messages {
            connection.send_binary_shared(now, &payload).expect("there is room");
            if i % batch_len == 0 || i == messages {
                while connection.buffered_len() > 0 {
                    let mut slices = [IoSlice::new(&[]); 8];
                    let filled = connection.outgoing_slices(&mut slices);
                    let n = slices[..filled].iter().map(|slice| wire.put(slice)).sum();
                    connection.advance_outgoing(now, n);
                }
            }
        }
        wire.written() as u64
    })
}
