//! Messages in pieces: as streams and sinks, as byte streams, cancelled anywhere, and beside whole messages.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt as _, stream};
use sansocket::frame::{Header, Opcode, Rsv};
use sansocket_tokio::{
    Bytes, CloseCode, Config, Connection, Error, Io, Message, MessageKind, MessageReader, RecvBuf, Role, WebSocket,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Both ends of an open connection over a pipe that holds so many bytes.
fn pair(size: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(size);
    (open(Role::Client, client), open(Role::Server, server))
}

fn open(role: Role, stream: DuplexStream) -> WebSocket<DuplexStream> {
    let now = tokio::time::Instant::now().into_std();
    WebSocket::new(Connection::open(role, Arc::new(Config::default()), [7; 32], now), Io(stream), RecvBuf::new())
}

/// A client whose server is the test itself.
fn client(size: usize) -> (WebSocket<DuplexStream>, DuplexStream) {
    let (client, server) = tokio::io::duplex(size);
    (open(Role::Client, client), server)
}

/// A frame of a server's.
fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = Header { fin, rsv: Rsv::NONE, opcode, masking_key: None, payload_len: payload.len() as u64 };
    let mut bytes = [0; 14];
    let len = header.encode(&mut bytes);
    [&bytes[..len], payload].concat()
}

async fn all(mut reader: MessageReader<'_, DuplexStream>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.recv_piece().await? {
        assert!(!piece.is_empty());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Polls a future up to `times`, and drops it.
async fn cancelled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn a_stream_is_forwarded_and_a_message_is_streamed() {
    let (mut client, mut server) = pair(100);
    let pieces: Vec<Bytes> = (0..50).map(|n| Bytes::from(vec![n; usize::from(n) * 10])).collect();
    let whole = pieces.concat();
    let sending = tokio::spawn(async move {
        let mut writer = client.send_pieces(MessageKind::Binary);
        stream::iter(pieces).map(Ok).forward(&mut writer).await.unwrap();
        // It has been finished by that.
        writer.finish().await.unwrap();
        assert!(matches!(writer.send_piece("more").await, Err(Error::MessageFinished)));
        drop(writer);
        client.send("next").await.unwrap();
        client
    });
    let reader = server.recv_pieces().await.unwrap().unwrap();
    assert_eq!(reader.kind(), MessageKind::Binary);
    let received: Vec<Bytes> = reader.map(Result::unwrap).collect().await;
    assert_eq!(received.concat(), whole);
    assert_eq!(server.recv().await.unwrap(), Some("next".into()));
    let mut client = sending.await.unwrap();
    let serving = tokio::spawn(async move { server.recv().await });
    assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
    assert_eq!(serving.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn messages_without_a_byte_are_messages() {
    let (mut client, mut server) = pair(100);
    client.send_pieces(MessageKind::Text).finish().await.unwrap();
    client.send("").await.unwrap();
    client.send_pieces(MessageKind::Binary).send_piece("").await.unwrap(); // That is nothing.
    client.send("end").await.unwrap();
    for _ in 0..2 {
        let mut reader = server.recv_pieces().await.unwrap().unwrap();
        assert_eq!((reader.kind(), reader.recv_piece().await.unwrap()), (MessageKind::Text, None));
        assert_eq!(reader.recv_piece().await.unwrap(), None, "again");
    }
    assert_eq!(server.recv().await.unwrap(), Some("end".into()));
}

#[tokio::test]
async fn pieces_are_byte_streams_of_tokio() {
    let (mut client, server) = pair(1000);
    let serving = tokio::spawn(async move {
        // Echoes each message while it arrives.
        let (sender, mut receiver) = server.split();
        while let Some(mut reader) = receiver.recv_pieces().await.unwrap() {
            let mut writer = sender.send_pieces(reader.kind());
            tokio::io::copy_buf(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        }
    });
    let lines: Vec<String> = (0..500).map(|n| format!("Zeile {n}: äöü€😀")).collect();
    let text = lines.join("\n");
    client.send(&*text).await.unwrap();
    let reader = client.recv_pieces().await.unwrap().unwrap();
    let mut received = reader.lines();
    for line in &lines {
        assert_eq!(received.next_line().await.unwrap().as_ref(), Some(line));
    }
    assert_eq!(received.next_line().await.unwrap(), None);

    let mut writer = client.send_pieces(MessageKind::Binary);
    writer.write_all(&[7; 300_000]).await.unwrap(); // Five fragments.
    writer.flush().await.unwrap();
    writer.shutdown().await.unwrap();
    drop(writer);
    let mut bytes = Vec::new();
    client.recv_pieces().await.unwrap().unwrap().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [7; 300_000]);
    assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
    serving.await.unwrap();
}

/// RFC 6455 section 5.6: a fragment may end anywhere in a text; a piece does not.
#[tokio::test]
async fn text_may_be_sent_cut_anywhere_and_is_received_in_whole_code_points() {
    let text = "aä€😀".repeat(100);
    for size in [1, 7, 1000] {
        let (mut client, mut server) = pair(size);
        let bytes = text.clone().into_bytes();
        let sending = tokio::spawn(async move {
            let mut writer = client.send_pieces(MessageKind::Text);
            for byte in bytes {
                writer.send_piece([byte]).await.unwrap();
            }
            writer.finish().await.unwrap();
            drop(writer);
            client
        });
        let mut reader = server.recv_pieces().await.unwrap().unwrap();
        let mut received = String::new();
        while let Some(piece) = reader.recv_piece().await.unwrap() {
            received.push_str(std::str::from_utf8(&piece).unwrap());
        }
        assert_eq!((reader.kind(), received), (MessageKind::Text, text.clone()));
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_text_is_refused_and_the_message_can_go_on() {
    let (mut client, mut server) = pair(1000);
    let mut writer = client.send_pieces(MessageKind::Text);
    writer.send_piece(&"€".as_bytes()[..2]).await.unwrap();
    assert!(matches!(writer.send_piece("x").await, Err(Error::Send(_))));
    assert!(matches!(writer.finish().await, Err(Error::Send(_))), "in the middle of a code point");
    assert_eq!(writer.write(b"x").await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    writer.send_piece(&"€".as_bytes()[2..]).await.unwrap();
    writer.finish().await.unwrap();
    drop(writer);
    assert_eq!(server.recv().await.unwrap(), Some("€".into()));
}

/// Both ends, at every await, over a pipe that takes a few bytes at a time.
#[tokio::test]
async fn everything_is_cancel_safe() {
    for times in 1..6 {
        let (mut client, mut server) = pair(7);
        let expected: Vec<Vec<u8>> = (0..10).map(|n| (0..n * 13).map(|i| (i * 7 + n) as u8).collect()).collect();
        let messages = expected.clone();
        let sending = tokio::spawn(async move {
            for message in messages {
                let mut writer = client.send_pieces(MessageKind::Binary);
                for piece in message.chunks(11) {
                    while cancelled(writer.send_piece(piece), times).await.transpose().unwrap().is_none() {}
                }
                while cancelled(writer.finish(), times).await.transpose().unwrap().is_none() {}
            }
            client
        });
        for message in expected {
            let mut received = None;
            while received.is_none() {
                // Dropped before it is ready, and tried again.
                if let Some(reader) = cancelled(server.recv_pieces(), times).await.transpose().unwrap() {
                    let (mut reader, mut bytes) = (reader.unwrap(), Vec::new());
                    loop {
                        match cancelled(reader.recv_piece(), times).await.transpose().unwrap() {
                            Some(Some(piece)) => bytes.extend_from_slice(&piece),
                            Some(None) => break,
                            None => {}
                        }
                    }
                    received = Some(bytes);
                }
            }
            assert_eq!(received, Some(message), "{times}");
        }
        sending.await.unwrap();
    }
}

#[tokio::test]
async fn control_frames_stand_between_the_pieces() {
    let (mut client, mut server) = client(1000);
    server.write_all(&frame(Opcode::Binary, false, b"one ")).await.unwrap();
    server.write_all(&frame(Opcode::Ping, true, b"?")).await.unwrap();
    let mut reader = client.recv_pieces().await.unwrap().unwrap();
    assert_eq!(reader.recv_piece().await.unwrap().unwrap(), "one ");
    server.write_all(&frame(Opcode::Pong, true, b"unasked")).await.unwrap();
    server.write_all(&frame(Opcode::Continuation, true, b"message")).await.unwrap();
    assert_eq!(reader.recv_piece().await.unwrap().unwrap(), "message");
    assert_eq!(reader.recv_piece().await.unwrap(), None);
    // The answer to the ping: FIN and pong, masked, one byte.
    let mut pong = [0; 7];
    server.read_exact(&mut pong).await.unwrap();
    assert_eq!((pong[0], pong[1], pong[6] ^ pong[2]), (0x8A, 0x81, b'?'));

    // And those that are sent: a ping between the fragments of the client's.
    let (sender, _receiver) = client.split();
    let mut writer = sender.send_pieces(MessageKind::Text);
    writer.send_piece("a").await.unwrap();
    sender.ping(b"").await.unwrap();
    writer.send_piece("b").await.unwrap();
    writer.finish().await.unwrap();
    let mut wire = [0; 7 + 6 + 7 + 6];
    server.read_exact(&mut wire).await.unwrap();
    assert_eq!([wire[0], wire[7], wire[13], wire[20]], [0x01, 0x89, 0x00, 0x80]);
}

#[tokio::test]
async fn what_a_reader_leaves_is_discarded_and_the_next_receive_gets_the_next_message() {
    let (mut client, mut server) = pair(100);
    let sending = tokio::spawn(async move {
        for n in 0..6 {
            client.send(vec![n; 5000]).await.unwrap();
            client.send(format!("message {n}")).await.unwrap();
        }
        client
    });
    let take_a_bit = async |server: &mut WebSocket<DuplexStream>, n: u8| {
        let mut reader = server.recv_pieces().await.unwrap().unwrap();
        assert_eq!(reader.kind(), MessageKind::Binary);
        assert_eq!(reader.recv_piece().await.unwrap().unwrap()[0], n);
    };
    take_a_bit(&mut server, 0).await;
    assert_eq!(server.recv().await.unwrap(), Some("message 0".into()));
    take_a_bit(&mut server, 1).await;
    assert_eq!(server.next().await.unwrap().unwrap(), "message 1".into());
    take_a_bit(&mut server, 2).await;
    assert_eq!(all(server.recv_pieces().await.unwrap().unwrap()).await.unwrap(), b"message 2");
    take_a_bit(&mut server, 3).await;
    let len = server.recv_with(|message| matches!(message, sansocket_tokio::MessageRef::Text("message 3"))).await;
    assert_eq!(len.unwrap(), Some(true));
    // A receive that was dropped in the middle of a message, and went on in pieces.
    for _ in 0..5 {
        assert!(cancelled(server.recv(), 1).await.is_none(), "a pipe of 100 bytes has not carried 5000 yet");
    }
    assert_eq!(all(server.recv_pieces().await.unwrap().unwrap()).await.unwrap(), [4; 5000]);
    assert_eq!(server.recv().await.unwrap(), Some("message 4".into()));
    // The end comes through, too.
    take_a_bit(&mut server, 5).await;
    let mut client = sending.await.unwrap();
    let closing = tokio::spawn(async move { client.close(CloseCode::NORMAL, "").await });
    assert_eq!(server.recv().await.unwrap(), Some("message 5".into()));
    assert!(server.recv_pieces().await.unwrap().is_none());
    assert!(closing.await.unwrap().unwrap().clean);
}

/// However the connection ends: what is incomplete never looks complete.
#[tokio::test]
async fn a_message_that_breaks_off_is_an_error() {
    let cut = frame(Opcode::Binary, true, b"0123456789")[..7].to_vec();
    let fragment = frame(Opcode::Binary, false, b"01234");
    let close = [fragment.clone(), frame(Opcode::Close, true, &1000_u16.to_be_bytes())].concat();
    for (wire, clean) in [(cut, false), (fragment, false), (close, true)] {
        let wire = &wire;
        let incomplete = || async move {
            let (client, mut server) = client(1000);
            server.write_all(wire).await.unwrap();
            server.shutdown().await.unwrap();
            (client, server)
        };
        let (mut socket, _server) = incomplete().await;
        let mut reader = socket.recv_pieces().await.unwrap().unwrap();
        assert_eq!(reader.recv_piece().await.unwrap().unwrap(), "01234");
        for _ in 0..2 {
            let error = reader.recv_piece().await.unwrap_err();
            assert_eq!(error.closed().unwrap().clean, clean, "{error}");
        }
        drop(reader);
        assert_eq!(socket.recv().await.is_ok(), clean, "as ever");

        let (mut socket, _server) = incomplete().await;
        let mut bytes = Vec::new();
        let error = socket.recv_pieces().await.unwrap().unwrap().read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!((error.kind(), &bytes[..]), (io::ErrorKind::UnexpectedEof, &b"01234"[..]));

        let (mut socket, _server) = incomplete().await;
        let items: Vec<_> = socket.recv_pieces().await.unwrap().unwrap().collect().await;
        assert!(matches!(&items[..], [Ok(_), Err(Error::Closed { .. })]), "{items:?}");
    }
}

#[tokio::test]
async fn a_writer_that_is_dropped_in_the_middle_closes_the_connection() {
    let (client, mut server) = pair(1000);
    let (sender, mut receiver) = client.split();
    let mut writer = sender.send_pieces(MessageKind::Text);
    writer.send_piece("never ").await.unwrap();
    let other = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send("another").await }
    });
    tokio::task::yield_now().await;
    drop(writer);
    // Who waited for it is told.
    assert!(matches!(other.await.unwrap(), Err(Error::Send(_) | Error::Closed { .. })));
    assert_eq!(server.recv().await.unwrap(), None);
    let closed = server.closed().unwrap();
    assert_eq!((closed.code, closed.reason.as_str()), (CloseCode::INTERNAL_ERROR, "a message was not finished"));
    assert_eq!(receiver.recv().await.unwrap(), None);
    assert!(sender.send_pieces(MessageKind::Text).send_piece("late").await.is_err());
}

/// Fragments of different messages are never mixed: the peer would fail the connection, or get the wrong bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_many_senders_are_not_mixed() {
    let (client, mut server) = pair(500);
    let (sender, mut receiver) = client.split();
    let tasks = (0..6_u8).map(|task| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            for n in 0..40_u8 {
                let message = vec![task; 100 + usize::from(n)];
                match task % 3 {
                    0 => sender.send(message).await.unwrap(),
                    1 => SinkExt::send(&mut sender, Message::from(message)).await.unwrap(),
                    _ => {
                        let mut writer = sender.send_pieces(MessageKind::Binary);
                        for piece in message.chunks(30) {
                            writer.send_piece(piece).await.unwrap();
                            tokio::task::yield_now().await;
                            sender.ping(b"between").await.unwrap();
                        }
                        writer.finish().await.unwrap();
                    }
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut next = [100; 6];
    for _ in 0..240 {
        let message = server.recv().await.unwrap().unwrap().into_bytes();
        let task = message[0];
        assert!(message.iter().all(|&byte| byte == task), "{message:?}");
        assert_eq!(message.len(), next[usize::from(task)], "in the order of each sender");
        next[usize::from(task)] += 1;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let closing = tokio::spawn(async move { server.close(CloseCode::NORMAL, "").await });
    assert_eq!(receiver.recv().await.unwrap(), None);
    assert!(closing.await.unwrap().unwrap().clean);
}

/// A sink that was ready may find its room taken by another sender; its message waits then, and is not lost.
#[tokio::test]
async fn a_sink_keeps_the_message_that_others_took_the_room_of() {
    let (client, mut server) = pair(10);
    let (sender, _receiver) = client.split();
    let (mut one, mut other) = (sender.clone(), sender.clone());
    let ready = std::future::poll_fn(|cx| one.poll_ready_unpin(cx));
    ready.await.unwrap();
    // The room is taken: by a long message, and by the beginning of another.
    sender.send(vec![1; 100_000]).await.unwrap();
    one.start_send_unpin(Message::from("kept")).unwrap();
    assert!(one.start_send_unpin(Message::from("too soon")).is_err());
    let flushing = tokio::spawn(async move { one.flush().await });
    assert_eq!(server.recv().await.unwrap(), Some(vec![1; 100_000].into()));
    assert_eq!(server.recv().await.unwrap(), Some("kept".into()));
    flushing.await.unwrap().unwrap();

    std::future::poll_fn(|cx| other.poll_ready_unpin(cx)).await.unwrap();
    let mut writer = sender.send_pieces(MessageKind::Text);
    writer.send_piece("one").await.unwrap();
    other.start_send_unpin(Message::from("behind")).unwrap();
    let flushing = tokio::spawn(async move { other.flush().await });
    tokio::task::yield_now().await;
    writer.finish().await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("one".into()));
    assert_eq!(server.recv().await.unwrap(), Some("behind".into()));
    flushing.await.unwrap().unwrap();
}

/// While a reader is there but does not read, the peer is slowed down, pings are answered, and no deadline is missed.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_nothing() {
    let (mut client, mut server) = pair(64 * 1024);
    let sending = tokio::spawn(async move {
        client.send(vec![3; 1_000_000]).await.unwrap();
        while client.recv().await.unwrap().is_some() {}
    });
    let started = Instant::now();
    let mut reader = server.recv_pieces().await.unwrap().unwrap();
    let mut received = 0;
    while let Some(piece) = reader.recv_piece().await.unwrap() {
        received += piece.len();
        tokio::time::sleep(Duration::from_secs(if received < 100_000 { 5 } else { 0 })).await;
    }
    assert_eq!(received, 1_000_000);
    assert!(started.elapsed() < Duration::from_secs(20), "the time is tokio's");
    assert!(server.close(CloseCode::NORMAL, "").await.unwrap().clean);
    sending.await.unwrap();
}
