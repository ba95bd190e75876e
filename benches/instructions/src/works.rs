//! What is counted: each a steady state, in memory.

use std::hint::black_box;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use sansocket::frame::{HEADER_LEN_MAX, Header, Opcode, Rsv, apply_mask};
use sansocket::{Acceptance, Bytes, Config, Connection, Event, RecvBuf, Role};
use sansocket_tokio::{Io, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Prepares a work, which does the same each time it is called.
type Start = fn() -> Box<dyn FnMut()>;

pub(crate) const WORKS: &[(&str, Start)] = &[
    ("receive 64 binary messages of 16 B, masked", || receive(Role::Server, Opcode::Binary, "a", 16, 64)),
    ("receive 64 binary messages of 1 KiB, masked", || receive(Role::Server, Opcode::Binary, "a", 1024, 64)),
    ("receive 64 ASCII messages of 125 B, masked", || receive(Role::Server, Opcode::Text, "a", 125, 64)),
    ("receive 4 mixed messages of 64 KiB, masked", || receive(Role::Server, Opcode::Text, "é€💩 abcdef", 65536, 4)),
    ("receive 64 binary messages of 125 B", || receive(Role::Client, Opcode::Binary, "a", 125, 64)),
    ("send 64 messages of 125 B as server", || send(Role::Server, 125, 64)),
    ("send 64 messages of 64 KiB as server", || send(Role::Server, 65536, 64)),
    ("send 64 messages of 1 KiB as client", || send(Role::Client, 1024, 64)),
    ("shake hands as server", shake_hands),
    ("tokio: echo 64 messages of 20 B, each in a read of its own", || echo(1)),
    ("tokio: echo 64 messages of 20 B, all in one read", || echo(64)),
];

fn receive(role: Role, opcode: Opcode, unit: &str, len: usize, messages: usize) -> Box<dyn FnMut()> {
    let payload = unit.repeat(len / unit.len());
    let wire = frame(role, opcode, payload.as_bytes()).repeat(messages);
    let now = Instant::now();
    let mut connection = Connection::open(role, Config::default(), [7; 32], now);
    let mut buf = RecvBuf::new();
    Box::new(move || {
        let mut received = 0;
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let spare = buf.spare_mut();
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            buf.advance_received(n);
            rest = &rest[n..];
            while let Some(event) = connection.poll_event(now, &mut buf) {
                received += match event {
                    Event::Text(text) => text.len(),
                    Event::Binary(payload) => payload.len(),
                    event => panic!("{event:?}"),
                };
            }
        }
        assert_eq!(received, messages * payload.len());
    })
}

fn send(role: Role, len: usize, messages: usize) -> Box<dyn FnMut()> {
    let payload = Bytes::from(vec![7; len]);
    let now = Instant::now();
    let mut connection = Connection::open(role, Config::default(), [7; 32], now);
    Box::new(move || {
        for i in 1..=messages {
            connection.send_binary_shared(now, &payload).expect("there is room");
            while connection.buffered_len() > 0 && (i == messages || connection.buffered_len() >= 64 * 1024) {
                let mut slices = [IoSlice::new(&[]); 16];
                let filled = connection.outgoing_slices(&mut slices);
                let n = slices[..filled].iter().map(|slice| black_box(slice).len()).sum();
                connection.advance_outgoing(now, n);
            }
        }
    })
}

fn shake_hands() -> Box<dyn FnMut()> {
    const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: */*\r\n\
        Accept-Language: en-US,en;q=0.5\r\nOrigin: http://example.com\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let config = std::sync::Arc::new(Config::default());
    let now = Instant::now();
    Box::new(move || {
        let mut connection = Connection::server(config.clone(), [7; 32], now);
        let mut buf = RecvBuf::new();
        buf.extend_from_slice(REQUEST);
        assert!(matches!(connection.poll_event(now, &mut buf), Some(Event::Request(_))));
        connection.accept(now, &Acceptance::new()).expect("a request waits");
        assert!(connection.outgoing().starts_with(b"HTTP/1.1 101"));
    })
}

/// 64 messages through the whole adapter, the runtime included.
fn echo(messages_in_a_read: usize) -> Box<dyn FnMut()> {
    const MESSAGES: usize = 64;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let stream =
        Script { read: frame(Role::Server, Opcode::Binary, &[7; 20]).repeat(messages_in_a_read), is_due: false };
    let connection = Connection::open(Role::Server, Config::default(), [7; 32], Instant::now());
    let mut socket = runtime.block_on(async { WebSocket::new(connection, Io(stream), RecvBuf::new()) });
    Box::new(move || {
        runtime.block_on(async {
            for _ in 0..MESSAGES {
                let message = socket.recv().await.expect("it is open").expect("it is open");
                socket.send(message).await.expect("it is open");
            }
        });
    })
}

/// A stream that gives the same in each read, but never twice without having been waited for, and takes whatever is written.
struct Script {
    read: Vec<u8>,
    is_due: bool,
}

impl AsyncRead for Script {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        this.is_due = !this.is_due;
        if this.is_due {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buf.put_slice(&this.read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(black_box(buf).len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A frame as the peer of `role` sends it.
fn frame(role: Role, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let masking_key = (role == Role::Server).then_some([1, 2, 3, 4]);
    let header = Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len: payload.len() as u64 };
    let mut head = [0; HEADER_LEN_MAX];
    let head_len = header.encode(&mut head);
    let mut frame = head[..head_len].to_vec();
    frame.extend_from_slice(payload);
    if let Some(key) = masking_key {
        apply_mask(&mut frame[head_len..], key, 0);
    }
    frame
}
