//! Much at once, on the real runtimes and their threads.

use std::sync::Arc;
use std::time::Duration;

use sansocket::{CloseCode, Config};
use sansocket_async::{Receiver, Runtime, Sender, WebSocket};
use sansocket_conformance::{Manners, Pipe, pair};

async fn both_send<R: Runtime>(room: usize, messages: usize, len: usize) {
    let (client, server) = pair::<R>(room as u64, Manners { room, ..Manners::default() }, &Arc::default());
    let (one, other) = (client.split(), server.split());
    let (done, is_done) = smol::channel::bounded(1);
    R::spawn(async move {
        send_and_receive(other, messages, len, 2).await;
        done.send(()).await.unwrap();
    });
    send_and_receive(one, messages, len, 1).await;
    is_done.recv().await.unwrap();
}

async fn send_and_receive<R: Runtime>(
    (sender, mut receiver): (Sender<Pipe, R>, Receiver<Pipe, R>),
    messages: usize,
    len: usize,
    byte: u8,
) {
    let (sending, (done, all_sent)) = (sender.clone(), smol::channel::bounded(1));
    R::spawn(async move {
        for number in 0..messages {
            let mut message = vec![byte; len];
            message[0] = number as u8;
            sending.send(message).await.unwrap();
        }
        // What waits has the close timeout to leave, no longer.
        sending.flush().await.unwrap();
        done.send(()).await.unwrap();
    });
    for number in 0..messages {
        let message = receiver.recv().await.unwrap().expect("not closed yet");
        let bytes = message.as_bytes();
        assert_eq!((bytes.len(), bytes[0]), (len, number as u8));
        assert!(bytes[1..].iter().all(|&received| received == 3 - byte));
    }
    // Each end closes when it has received and sent all.
    all_sent.recv().await.unwrap();
    sender.start_close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
}

/// Senders in tasks of their own while the stream is cut: everybody is told.
async fn nobody_waits_behind_a_cut<R: Runtime>() {
    for seed in 0..100 {
        let manners = Manners { room: 100, pending_once_in: 10, yield_once_in: 4, holds_back: false };
        let (client, server) = Pipe::pair(seed, manners);
        let cut = client.cutter();
        let open = |role, pipe| {
            let connection = sansocket::Connection::open(role, Config::default(), [7; 32], R::now());
            WebSocket::<Pipe, R>::new(connection, pipe, sansocket::RecvBuf::new())
        };
        let (client, server) = (open(sansocket::Role::Client, client), open(sansocket::Role::Server, server));
        let (over, are_over) = smol::channel::unbounded();
        for socket in [client, server] {
            let (sender, mut receiver) = socket.split();
            for _ in 0..2 {
                let (sender, over) = (sender.clone(), over.clone());
                R::spawn(async move {
                    while sender.send(vec![7; 5000]).await.is_ok() {}
                    over.send(()).await.unwrap();
                });
            }
            let over = over.clone();
            R::spawn(async move {
                let mut received = 0;
                while receiver.recv().await.is_ok() {
                    received += 1;
                }
                over.send(()).await.unwrap();
                assert!(received < usize::MAX);
            });
        }
        R::spawn(async move {
            R::sleep_until(R::now() + Duration::from_micros(seed * 20)).await;
            cut();
        });
        for _ in 0..6 {
            are_over.recv().await.unwrap();
        }
    }
}

/// Without optimization 10 MB would take minutes through a pipe of one byte, which costs a round through the scheduler for each.
///
/// `cargo test --release -p sansocket-conformance --test stress` sends 1 MB through one byte and 10 MB through 64.
const SCALE: usize = if cfg!(debug_assertions) { 5 } else { 100 };

sansocket_conformance::on_every_runtime! {
    both_ends_send_at_once_through_a_pipe_of_one_byte: both_send(1, 10 * SCALE, 1000);
    both_ends_send_at_once_through_a_pipe_of_64_bytes: both_send(64, 100 * SCALE, 1000);
    both_ends_send_10_mb_at_once_through_a_pipe_of_4_kib: both_send(4096, 1000, 10_000);
    both_ends_send_10_mb_at_once_in_one_message: both_send(4096, 1, 10_000_000);
    nobody_waits_when_the_stream_is_cut: nobody_waits_behind_a_cut();
}
