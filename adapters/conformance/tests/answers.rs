//! Whether answers are held up, on the real runtimes. Alone in its process, since smol has one thread for all tests of one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket_async::{Runtime, WebSocket};
use sansocket_conformance::{Manners, Pipe, pair};

/// A lost wake-up would hold an answer up until somebody looks, a second later.
async fn answers_come_at_once<R: Runtime>(rounds: usize) {
    let manners = Manners { room: 64, pending_once_in: 7, yield_once_in: 5, holds_back: true };
    let (client, server) = pair::<R>(rounds as u64, manners, &Arc::default());
    R::spawn(async move { echo(server).await });
    let (sender, mut receiver) = client.split();
    let (ask, asked) = smol::channel::bounded::<usize>(1);
    R::spawn(async move {
        while let Ok(len) = asked.recv().await {
            sender.send(vec![7; len]).await.unwrap();
        }
    });
    let mut late = 0;
    for round in 0..rounds {
        let len = round % 300;
        let asked_at = Instant::now();
        ask.send(len).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap().as_bytes().len(), len);
        late += usize::from(asked_at.elapsed() >= Duration::from_millis(900));
    }
    // A machine may be as slow as that for once.
    assert!(late <= 1, "{late} of {rounds} answers were held up");
}

async fn echo<R: Runtime>(mut socket: WebSocket<Pipe, R>) {
    while let Ok(Some(message)) = socket.recv().await {
        socket.send(message).await.unwrap();
    }
}

sansocket_conformance::on_every_runtime! {
    every_answer_comes_at_once: answers_come_at_once(1000);
}
