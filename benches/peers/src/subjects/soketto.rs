use futures_util::io::{BufReader, BufWriter};
use sansocket::Role;
use soketto::connection::Builder;
use soketto::{Data, Mode, Receiver, Sender};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::Work;
use crate::wire::{CHUNK_LEN, Case, Wire, now, seen};

type Stream = BufReader<BufWriter<Compat<Wire>>>;

pub(super) fn receive(case: &Case) -> Work {
    let (_sender, mut receiver) = socket(case, case.wire());
    let mut message = Vec::new();
    Box::new(move |messages| {
        let mut sum = 0;
        for _ in 0..messages {
            message.clear();
            sum += match now(receiver.receive_data(&mut message)).expect("a message") {
                // As in its example: it leaves that check to its user.
                Data::Text(_) => seen(std::str::from_utf8(&message).expect("UTF-8").as_bytes()),
                Data::Binary(_) => seen(&message),
            };
        }
        sum
    })
}

pub(super) fn send(case: &Case) -> Work {
    let (wire, payload, batch_len) = (case.wire(), case.payload(), case.batch_len());
    let (mut sender, _receiver) = socket(case, wire.clone());
    Box::new(move |messages| {
        for i in 1..=messages {
            now(sender.send_binary(&payload)).expect("there is room");
            if i % batch_len == 0 || i == messages {
                now(sender.flush()).expect("the transport takes all");
            }
        }
        wire.written() as u64
    })
}

fn socket(case: &Case, wire: Wire) -> (Sender<Stream>, Receiver<Stream>) {
    let mode = if case.role == Role::Server { Mode::Server } else { Mode::Client };
    let stream = BufReader::with_capacity(CHUNK_LEN, BufWriter::with_capacity(CHUNK_LEN, wire.compat()));
    Builder::new(stream, mode).finish()
}
