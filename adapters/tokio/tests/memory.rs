//! What a connection costs on tokio. `cargo test -p sansocket-tokio --test memory -- --nocapture` prints the figures.

// The figures are what one of these tests is run for.
#![allow(clippy::print_stdout)]

#[path = "../../../tests/support/counting.rs"]
mod counting;

use std::sync::Arc;
use std::time::Duration;

use counting::TALLY;
use sansocket_tokio::{Config, Connection, Io, MessageKind, MessageRef, RecvBuf, Role, WebSocket};
use tokio::io::DuplexStream;

fn pair(config: &Arc<Config>) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(64);
    let open = |role, stream| {
        let now = tokio::time::Instant::now().into_std();
        WebSocket::new(Connection::open(role, Arc::clone(config), [7; 32], now), Io(stream), RecvBuf::new())
    };
    (open(Role::Client, client), open(Role::Server, server))
}

/// All of it: both state machines, the handles, the keepers and their timers; and the pipe.
#[tokio::test(start_paused = true)]
async fn idle_connections_hold_no_buffers() {
    let config = Arc::new(Config::default());
    let before = TALLY.get().live;
    let mut pairs = Vec::with_capacity(1000);
    for _ in 0..1000 {
        let (mut client, mut server) = pair(&config);
        let echo = tokio::spawn(async move {
            let message = server.recv().await.unwrap().unwrap();
            server.send(message).await.unwrap();
            server
        });
        client.send(vec![7; 16 * 1024]).await.unwrap();
        assert_eq!(client.recv().await.unwrap().unwrap().as_bytes().len(), 16 * 1024);
        pairs.push((client, echo.await.unwrap()));
    }
    // Readers that wait, and a heartbeat or two.
    let mut waiting = Vec::with_capacity(2000);
    for (mut client, mut server) in pairs {
        waiting.push(tokio::spawn(async move { client.recv().await.map(drop) }));
        waiting.push(tokio::spawn(async move { server.recv().await.map(drop) }));
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let each = (TALLY.get().live - before) / 2000;
    println!("an idle connection on tokio: {each} bytes, with its task and half a pipe");
    assert!(each <= 2048, "{each} bytes");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_answer_at_once_costs_no_allocation() {
    let (mut client, mut server) = pair(&Arc::default());
    let mut allocations = Vec::with_capacity(400);
    let answering = server.answer_with(|message, connection, now| {
        allocations.push(TALLY.get().allocations);
        let MessageRef::Binary(payload) = message else { panic!("it is binary") };
        connection.send_binary(now, payload).unwrap();
        allocations.push(TALLY.get().allocations);
    });
    tokio::select! {
        _ = answering => panic!("it goes on"),
        () = async {
            for _ in 0..200 {
                client.send_binary(&[7; 20]).await.unwrap();
                assert_eq!(client.recv_with(|message| message == MessageRef::Binary(&[7; 20])).await.unwrap(), Some(true));
            }
        } => {}
    }
    assert_eq!(allocations[300..].iter().min(), allocations[300..].iter().max(), "of both ends");
}

#[tokio::test]
async fn a_message_that_is_looked_at_costs_no_allocation_and_an_owned_one_costs_one() {
    let (mut client, mut server) = pair(&Arc::default());
    let look = |message: MessageRef<'_>| matches!(message, MessageRef::Text("hello, hello, hello"));
    let mut looked = Vec::with_capacity(200);
    let mut owned = Vec::with_capacity(200);
    for _ in 0..200 {
        client.send_text("hello, hello, hello").await.unwrap();
        let before = TALLY.get().allocations;
        assert_eq!(server.recv_with(look).await.unwrap(), Some(true));
        looked.push(TALLY.get().allocations - before);
        client.send_text("hello, hello, hello").await.unwrap();
        let before = TALLY.get().allocations;
        let message = server.recv().await.unwrap();
        owned.push(TALLY.get().allocations - before);
        drop(message);
    }
    assert_eq!(looked[100..], [0; 100]);
    assert_eq!(owned[100..], [1; 100]);
}

/// A message of 100 MB, sent from one buffer and received by pieces: neither end ever holds it.
#[tokio::test]
async fn a_message_in_pieces_costs_what_a_piece_does() {
    const LEN: usize = 100_000_000;
    let mut config = Config::default();
    (config.message_len_max, config.frame_len_max) = (u64::MAX, u64::MAX);
    let (client, server) = tokio::io::duplex(64 * 1024);
    let config = Arc::new(config);
    let open = |role, stream| {
        let now = tokio::time::Instant::now().into_std();
        WebSocket::new(Connection::open(role, Arc::clone(&config), [7; 32], now), Io(stream), RecvBuf::new())
    };
    let (client, mut server) = (open(Role::Client, client), open(Role::Server, server));
    let before = TALLY.get();
    let (sender, _receiver) = client.split();
    let sending = tokio::spawn(async move {
        let piece = vec![7; 50_000];
        let mut writer = sender.send_pieces(MessageKind::Binary);
        for _ in 0..LEN / piece.len() {
            writer.send_piece(&piece).await.unwrap();
        }
        writer.finish().await.unwrap();
        drop(writer);
        sender
    });
    let mut reader = server.recv_pieces().await.unwrap().unwrap();
    let mut received = 0;
    while let Some(piece) = reader.recv_piece().await.unwrap() {
        assert_eq!((piece.first(), piece.last()), (Some(&7), Some(&7)));
        received += piece.len();
    }
    assert_eq!(received, LEN);
    let most = TALLY.get().peak - before.live;
    println!("a message of 100 MB in pieces: {most} bytes at most, of both ends and their pipe");
    assert!(most <= 512 * 1024, "{most} bytes");
    sending.await.unwrap();
}
