//! The adapter over real sockets and over pipes of a few bytes.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sansocket_tokio::{
    Acceptance, Acceptor, CloseCode, Config, Connection, Connector, Error, Message, MessageRef, RecvBuf, Rejection,
    Role, WebSocket,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Both ends of an open connection over a pipe that holds so many bytes.
fn pair(size: usize, config: Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = tokio::io::duplex(size);
    let config = Arc::new(config);
    (open(Role::Client, client, &config), open(Role::Server, server, &config))
}

fn open<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    role: Role,
    stream: S,
    config: &Arc<Config>,
) -> WebSocket<S> {
    let now = tokio::time::Instant::now().into_std();
    let connection = Connection::open(role, Arc::clone(config), [7; 32], now);
    WebSocket::new(connection, sansocket_tokio::Io(stream), RecvBuf::new())
}

async fn echo<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(mut socket: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Polls a future up to `times`, and drops it.
async fn cancelled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..times {
        let mut once = true;
        let polled = std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if once => {
                once = false;
                cx.waker().wake_by_ref();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        });
        if let Some(output) = polled.await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn every_message_is_answered_in_order_until_a_clean_end() {
    let (mut client, mut server) = pair(256, Config::default());
    let serving = tokio::spawn(async move {
        let mut seen = Vec::new();
        let answered = server
            .answer_with(|message, connection, now| {
                seen.push(connection.buffered_len());
                match message {
                    MessageRef::Text(text) => connection.send_text(now, &text.to_uppercase()).unwrap(),
                    MessageRef::Binary(payload) => connection.send_binary(now, payload).unwrap(),
                }
            })
            .await;
        (answered, seen)
    });
    for round in 0..20_u8 {
        for i in 0..10 {
            let payload = vec![i; usize::from(round) * 100];
            client.feed(Message::from(payload)).await.unwrap();
            client.feed(Message::from("hey")).await.unwrap();
        }
        client.flush().await.unwrap();
        for i in 0..10 {
            assert_eq!(client.recv().await.unwrap(), Some(Message::from(vec![i; usize::from(round) * 100])));
            assert_eq!(client.recv().await.unwrap(), Some(Message::from("HEY")));
        }
    }
    client.close(CloseCode::NORMAL, "").await.unwrap();
    let (answered, seen) = serving.await.unwrap();
    answered.unwrap();
    assert_eq!(seen.len(), 400);
    assert!(seen.iter().any(|waiting| *waiting > 0), "answers to what came in one read leave together");
}

#[tokio::test]
async fn answering_ends_with_the_error_that_the_connection_ends_with() {
    let (client, mut server) = pair(256, Config::default());
    client.abort();
    assert!(matches!(server.answer_with(|_, _, _| {}).await, Err(Error::Closed { .. })));
}

#[tokio::test(start_paused = true)]
async fn answering_accepts_a_request_that_was_handed_over() {
    let (client, server) = tokio::io::duplex(4096);
    let now = tokio::time::Instant::now().into_std();
    let connection = Connection::server(Config::default(), [7; 32], now);
    let mut server = WebSocket::<DuplexStream>::new(connection, sansocket_tokio::Io(server), RecvBuf::new());
    let serving = tokio::spawn(async move {
        server.answer_with(|_, connection, now| connection.send_text(now, "answer").unwrap()).await
    });
    let mut client = Connector::new("ws://localhost/").unwrap().handshake(client).await.unwrap();
    client.send("question").await.unwrap();
    assert_eq!(client.recv().await.unwrap(), Some(Message::from("answer")));
    client.close(CloseCode::NORMAL, "").await.unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn small_messages_are_not_held_back_at_either_end() {
    use sansocket_async::Wrap as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connecting, listener.accept());
    for stream in [client.unwrap(), accepted.unwrap().0] {
        assert!(!stream.nodelay().unwrap());
        assert!(sansocket_tokio::Tokio::wrap(stream).0.nodelay().unwrap());
    }
}

#[tokio::test]
async fn messages_of_every_size_come_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        echo(sansocket_tokio::accept(stream).await.unwrap()).await
    });
    let mut socket = sansocket_tokio::connect(&url).await.unwrap();
    for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20] {
        socket.send("x".repeat(len)).await.unwrap();
        let back = socket.recv().await.unwrap().unwrap();
        assert_eq!(back.as_text().map(str::len), Some(len));
        socket.send(vec![7; len]).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::from(vec![7; len])));
    }
    let closed = socket.close(CloseCode::NORMAL, "done").await.unwrap();
    assert!(closed.clean && closed.peer_code == Some(CloseCode::NORMAL), "{closed:?}");
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_ends_that_both_write_do_not_block_each_other() {
    for size in [64, 4096] {
        let (mut client, mut server) = pair(size, Config::default());
        let large = if size == 64 { 300_000 } else { 10_000_000 };
        let one = tokio::spawn(async move {
            client.send(vec![1; large]).await.unwrap();
            client.recv().await.unwrap().unwrap().as_bytes().len()
        });
        server.send(vec![2; large]).await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap().as_bytes().len(), large);
        assert_eq!(one.await.unwrap(), large);
    }
}

/// As `SinkExt::send` does.
#[tokio::test]
async fn two_ends_that_both_flush_do_not_block_each_other() {
    let (mut client, mut server) = pair(4096, Config::default());
    let one = tokio::spawn(async move {
        SinkExt::send(&mut client, Message::from(vec![1; 1_000_000])).await.unwrap();
        client.recv().await.unwrap().unwrap().as_bytes().len()
    });
    SinkExt::send(&mut server, Message::from(vec![2; 1_000_000])).await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().as_bytes().len(), 1_000_000);
    assert_eq!(one.await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn a_pipe_of_one_byte_carries_everything() {
    let (mut client, server) = pair(1, Config::default());
    let serving = tokio::spawn(echo(server));
    for text in ["a", "", "héllo", &"x".repeat(1000)] {
        client.send(text).await.unwrap();
        assert_eq!(client.recv().await.unwrap(), Some(text.into()));
    }
    assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
    serving.await.unwrap().unwrap();
}

/// Dropped at any await, a receive or a send loses nothing, repeats nothing, and stays in step.
#[tokio::test]
async fn everything_is_cancel_safe() {
    for times in 1..6 {
        let (mut client, server) = pair(7, Config::default());
        let serving = tokio::spawn(echo(server));
        let mut sent = 0_u32;
        let mut received = 0_u32;
        while received < 40 {
            if sent < 40 {
                let text = format!("message {sent} of some length");
                // A send that was not ready has sent nothing, and is made again.
                if let Some(result) = cancelled(client.send(&*text), times).await {
                    result.unwrap();
                    sent += 1;
                }
            }
            if let Some(result) = cancelled(client.recv(), times).await {
                assert_eq!(result.unwrap(), Some(format!("message {received} of some length").into()));
                received += 1;
            }
        }
        assert!(client.close(CloseCode::NORMAL, "").await.unwrap().clean);
        serving.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_work_in_different_tasks_and_senders_can_be_cloned() {
    let (client, server) = pair(1000, Config::default());
    let serving = tokio::spawn(echo(server));
    let (sender, mut receiver) = client.split();
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let sender = sender.clone();
            tokio::spawn(async move {
                for i in 0..200 {
                    sender.send(format!("{task} {i}")).await.unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..800 {
        let message = receiver.recv().await.unwrap().unwrap();
        let (task, i) = message.as_text().unwrap().split_once(' ').unwrap();
        let task: usize = task.parse().unwrap();
        assert_eq!(i, next[task].to_string(), "the order of each sender is kept");
        next[task] += 1;
    }
    for task in tasks {
        task.await.unwrap();
    }
    sender.start_close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn it_is_a_stream_and_a_sink() {
    let (client, server) = pair(100, Config::default());
    let (mut sink, stream) = server.split();
    let serving = tokio::spawn(async move { stream.map(|message| message.unwrap()).collect::<Vec<_>>().await });
    let mut client = client;
    for i in 0..50 {
        client.feed(Message::from(format!("{i}"))).await.unwrap();
    }
    sink.feed(Message::from("back")).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), "back".into());
    SinkExt::flush(&mut client).await.unwrap();
    <_ as SinkExt<Message>>::close(&mut client).await.unwrap();
    assert_eq!(serving.await.unwrap().len(), 50);
}

/// Counts how often it is written to.
struct Counting<S> {
    stream: S,
    writes: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counting<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn the_answers_to_one_read_leave_in_one_write() {
    let (mut peer, stream) = tokio::io::duplex(1 << 16);
    let writes = Arc::new(AtomicUsize::new(0));
    let server = open(Role::Server, Counting { stream, writes: Arc::clone(&writes) }, &Arc::default());
    let serving = tokio::spawn(echo(server));
    let frame = [&[0x81, 0x80 | 20, 0, 0, 0, 0][..], &[b'x'; 20]].concat();
    peer.write_all(&frame.repeat(64)).await.unwrap();
    let mut back = vec![0; 64 * 22];
    peer.read_exact(&mut back).await.unwrap();
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    drop(peer);
    assert!(serving.await.unwrap().is_err(), "the stream ended without a close frame");
}

/// What was left for later leaves when the task does something else.
#[tokio::test]
async fn an_answer_does_not_wait_for_the_next_receive() {
    let (mut peer, stream) = tokio::io::duplex(1 << 16);
    let mut server = open(Role::Server, stream, &Arc::default());
    let frame = [0x81, 0x80 | 2, 0, 0, 0, 0, b'h', b'i'];
    peer.write_all(&frame.repeat(2)).await.unwrap();
    assert_eq!(server.recv().await.unwrap(), Some("hi".into()));
    server.send("answer").await.unwrap();
    let mut back = [0; 8];
    tokio::time::timeout(Duration::from_secs(5), peer.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"\x81\x06answer");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_does_nothing_stays_connected() {
    let (client, server) = pair(1 << 16, Config::default());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(client.rtt().is_some() && server.rtt().is_some());
    assert_eq!(client.state(), sansocket_tokio::ReadyState::Open);
    assert_eq!(server.state(), sansocket_tokio::ReadyState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_only_sends_answers_pings_and_messages_wait_for_him() {
    let (mut client, mut server) = pair(1 << 16, Config::default());
    server.send("for later").await.unwrap();
    let receiving = tokio::spawn(async move {
        let mut received = 0;
        while let Ok(Some(_)) = server.recv().await {
            received += 1;
        }
        received
    });
    for _ in 0..1000 {
        client.send("tick").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.recv().await.unwrap(), Some("for later".into()));
    client.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(receiving.await.unwrap(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_is_noticed() {
    let (stream, peer) = tokio::io::duplex(1 << 16);
    let start = tokio::time::Instant::now();
    let mut socket = open(Role::Client, stream, &Arc::default());
    let error = socket.recv().await.unwrap_err();
    assert!(error.to_string().contains("pong timeout"), "{error}");
    assert_eq!(start.elapsed().as_secs(), 45);
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_leaves_though_the_socket_is_dropped() {
    let (mut client, mut server) = pair(100, Config::default());
    client.send(vec![7; 50_000]).await.unwrap();
    drop(client);
    assert_eq!(server.recv().await.unwrap(), Some(Message::from(vec![7; 50_000])));
    assert_eq!(server.recv().await.unwrap(), None);
    assert_eq!(server.closed().unwrap().code, CloseCode::GOING_AWAY);

    // And when nobody takes it, not for longer than the close timeout.
    let (stream, peer) = tokio::io::duplex(100);
    let mut socket = open(Role::Client, stream, &Arc::default());
    socket.send(vec![7; 50_000]).await.unwrap();
    drop(socket);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
    drop(peer);
}

#[tokio::test]
async fn a_message_that_is_looked_at_is_lent() {
    let (mut client, mut server) = pair(100, Config::default());
    client.send("hello").await.unwrap();
    client.send(vec![1, 2]).await.unwrap();
    let look = |message: MessageRef<'_>| match message {
        MessageRef::Text(text) => text.len(),
        MessageRef::Binary(bytes) => bytes.len() * 100,
    };
    assert_eq!(server.recv_with(look).await.unwrap(), Some(5));
    assert_eq!(server.recv_with(look).await.unwrap(), Some(200));
    client.start_close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(server.recv_with(look).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_is_accepted_or_rejected_after_a_look_at_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let (stream, _) = listener.accept().await.unwrap();
            let incoming = Acceptor::new().receive(stream).await.unwrap();
            tokio::task::yield_now().await;
            if incoming.request().path() == "/chat" {
                let acceptance = Acceptance::new().subprotocol("v2").unwrap();
                echo(incoming.accept(&acceptance).await.unwrap()).await.unwrap();
            } else {
                let rejection = Rejection::new(404).unwrap().header("X-Hint", "/chat").unwrap().body("try /chat");
                incoming.reject(&rejection).await.unwrap();
            }
        }
    });
    let connector = Connector::new(&format!("ws://{address}/chat?x=1")).unwrap().subprotocol("v2").unwrap();
    let mut socket = connector.connect().await.unwrap();
    assert_eq!(socket.subprotocol().as_deref(), Some("v2"));
    socket.close(CloseCode::NORMAL, "").await.unwrap();

    let refused = sansocket_tokio::connect(&format!("ws://{address}/other")).await.unwrap_err();
    let sansocket_tokio::ConnectError::Refused(refusal) = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        (refusal.status, refusal.headers.get("X-Hint"), &refusal.body[..]),
        (404, Some("/chat"), &b"try /chat"[..])
    );
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_drips_is_cut_off() {
    let (stream, mut peer) = tokio::io::duplex(1 << 16);
    let accepting = tokio::spawn(sansocket_tokio::accept(stream));
    for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n" {
        if peer.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    drop(peer);
    assert!(accepting.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_random_leave_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = tokio::runtime::Handle::current().metrics();
    let descriptors = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0);
    let before = (metrics.num_alive_tasks(), descriptors());
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if let Ok(socket) = sansocket_tokio::accept(stream).await {
                    let _ = echo(socket).await;
                }
            });
        }
    });
    for round in 0..40 {
        let clients: Vec<_> = (0..50)
            .map(|i| {
                tokio::spawn(async move {
                    let how = (round * 50 + i) % 4;
                    if how == 0 {
                        // In the middle of the handshake.
                        let mut stream = TcpStream::connect(address).await.unwrap();
                        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost:").await;
                        return;
                    }
                    let mut socket = sansocket_tokio::connect(&format!("ws://{address}/")).await.unwrap();
                    socket.send("hello").await.unwrap();
                    if how == 1 {
                        return socket.abort();
                    }
                    assert_eq!(socket.recv().await.unwrap(), Some("hello".into()));
                    if how == 2 {
                        socket.close(CloseCode::NORMAL, "").await.unwrap();
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    }
    accepting.abort();
    for _ in 0..200 {
        if (metrics.num_alive_tasks(), descriptors()) <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{before:?} before, {:?} after", (metrics.num_alive_tasks(), descriptors()));
}

#[test]
fn sockets_and_halves_can_be_sent_to_other_threads() {
    fn is_send_and_unpin<T: Send + Unpin>() {}
    is_send_and_unpin::<WebSocket<TcpStream>>();
    is_send_and_unpin::<sansocket_tokio::Sender<TcpStream>>();
    is_send_and_unpin::<sansocket_tokio::Receiver<TcpStream>>();
    let _ = Waker::noop();
}
