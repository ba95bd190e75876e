//! Both ends of a connection, and peers that speak by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sansocket_std::{Acceptor, Config, Connector, MaybeTls, Transport, WebSocket};

/// Of a client as of a server, so that one body serves both.
pub(crate) type Socket = WebSocket<MaybeTls<TcpStream>>;

/// A listener on a free port, and where it listens.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A client and a server with these limits, connected to each other.
pub(crate) fn pair_with(client: Config, server: Config) -> (Socket, Socket) {
    let (listener, address) = listen();
    let accepting = thread::spawn(move || {
        Acceptor::new().config(server).accept(MaybeTls::Plain(listener.accept().unwrap().0)).unwrap()
    });
    let client = Connector::new(&format!("ws://{address}/")).unwrap().config(client).connect().unwrap();
    (client, accepting.join().unwrap())
}

pub(crate) fn pair() -> (Socket, Socket) {
    pair_with(Config::default(), Config::default())
}

/// A client whose server is the other stream, by hand, after the handshake.
pub(crate) fn client_of_raw(config: Config) -> (Socket, TcpStream) {
    let (listener, address) = listen();
    let connecting =
        thread::spawn(move || Connector::new(&format!("ws://{address}/")).unwrap().config(config).connect().unwrap());
    let mut raw = listener.accept().unwrap().0;
    let request = read_head(&mut raw);
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = sansocket_std::sansocket::handshake::accept_key(key.as_bytes());
    let accept = str::from_utf8(accept.as_bytes()).unwrap();
    write!(
        raw,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .unwrap();
    (connecting.join().unwrap(), raw)
}

/// A server whose client is the other stream, by hand, after the handshake.
pub(crate) fn server_of_raw(config: Config) -> (Socket, TcpStream) {
    let (listener, address) = listen();
    let accepting = thread::spawn(move || {
        Acceptor::new().config(config).accept(MaybeTls::Plain(listener.accept().unwrap().0)).unwrap()
    });
    let mut raw = TcpStream::connect(address).unwrap();
    raw.write_all(REQUEST.as_bytes()).unwrap();
    read_head(&mut raw);
    (accepting.join().unwrap(), raw)
}

pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// An HTTP head, and not a byte of what follows.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the head ends early: {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A masked frame, as a client sends it; the mask is zero.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

pub(crate) fn echo<S: Transport>(socket: &mut WebSocket<S>) {
    while let Ok(Some(message)) = socket.recv() {
        if socket.feed(message).is_err() {
            break;
        }
    }
}

/// Runs `test` on a thread of its own, and fails when it takes longer than a deadlock would be noticed in.
pub(crate) fn within(limit: Duration, test: impl FnOnce() + Send + 'static) -> Duration {
    let begun = Instant::now();
    let (done, is_done) = mpsc::channel();
    let testing = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match is_done.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not done after {limit:?}"),
        _ => testing.join().unwrap(),
    }
    begun.elapsed()
}

pub(crate) const LIMIT: Duration = Duration::from_secs(20);
