//! The load: clients that write frames and read as many back.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

/// How many connections have how many messages of what length under way.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    pub(crate) len: usize,
}

pub(crate) const SHAPES: [Shape; 4] = [
    Shape { connections: 100, in_flight: 1, len: 20 },
    Shape { connections: 100, in_flight: 1, len: 1024 },
    Shape { connections: 100, in_flight: 1, len: 16 * 1024 },
    Shape { connections: 10, in_flight: 64, len: 20 },
];

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} in flight, {} B", self.connections, self.in_flight, self.len)
    }
}

pub(crate) struct Load {
    streams: Vec<TcpStream>,
    /// What each connection writes in a round.
    out: Vec<u8>,
    /// As long as what comes back.
    back: Vec<u8>,
    in_flight: usize,
}

/// The same from every client, so that a server whose library leaves the handshake to others can answer it with a constant.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

impl Load {
    /// Connects and shakes hands. A raw server sends back what it gets, masked as it is.
    pub(crate) fn connect(port: u16, is_raw: bool, shape: &Shape) -> Self {
        let streams = (0..shape.connections)
            .map(|_| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
                stream.set_nodelay(true).expect("a socket option");
                stream.write_all(REQUEST).expect("the server reads");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("the server answers");
                    head.extend(byte);
                }
                assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
                stream
            })
            .collect();
        let masked = frame(shape.len, Some([1, 2, 3, 4]));
        let back = if is_raw { masked.clone() } else { frame(shape.len, None) };
        let (out, back) = (masked.repeat(shape.in_flight), back.repeat(shape.in_flight));
        Self { streams, out, back, in_flight: shape.in_flight }
    }

    /// Rounds until the time is over; how many messages came back.
    pub(crate) fn run_for(&mut self, time: Duration) -> usize {
        let start = Instant::now();
        let mut messages = 0;
        while start.elapsed() < time {
            self.round();
            messages += self.streams.len() * self.in_flight;
        }
        messages
    }

    /// Every connection writes, then every connection reads.
    pub(crate) fn round(&mut self) {
        for stream in &mut self.streams {
            stream.write_all(&self.out).expect("the server reads");
        }
        let mut received = vec![0; self.back.len()];
        for stream in &mut self.streams {
            stream.read_exact(&mut received).expect("the server answers");
            assert_eq!(received, self.back, "the echo is what was sent");
        }
    }

    /// Every connection writes, and never reads, until the server takes no more from any.
    pub(crate) fn write_until_stuck(&mut self) {
        let mut taken_at = Instant::now();
        let mut written = vec![0; self.streams.len()];
        while taken_at.elapsed() < STUCK {
            for (stream, written) in self.streams.iter_mut().zip(&mut written) {
                stream.set_nonblocking(true).expect("a socket option");
                // What it writes goes on where it broke off.
                if let Ok(n) = stream.write(&self.out[*written..]) {
                    *written = (*written + n) % self.out.len();
                    taken_at = Instant::now();
                }
            }
        }
    }

    /// One connection after the other writes and reads.
    pub(crate) fn round_one_by_one(&mut self) {
        let mut received = vec![0; self.back.len()];
        for stream in &mut self.streams {
            stream.write_all(&self.out).expect("the server reads");
            read_behind_pings(stream, &mut received);
            assert_eq!(received, self.back, "the echo is what was sent");
        }
    }
}

/// Fills `received` with what comes behind the heartbeats that a connection has had while many others were made.
fn read_behind_pings(stream: &mut TcpStream, received: &mut [u8]) {
    const PING: u8 = 0x89;
    let mut read = |bytes: &mut [u8]| stream.read_exact(bytes).expect("the server answers");
    read(&mut received[..2]);
    while received[0] == PING {
        let len = usize::from(received[1]);
        read(&mut received[..len]);
        read(&mut received[..2]);
    }
    read(&mut received[2..]);
}

/// How long the server takes nothing before it is said to be stuck.
const STUCK: Duration = Duration::from_millis(200);

/// A binary frame of zeros and ones.
fn frame(len: usize, key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match len {
        0..126 => frame.push(masked | len as u8),
        126..65536 => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let payload = (0..len).map(|i| (i % 251) as u8);
    match key {
        None => frame.extend(payload),
        Some(key) => {
            frame.extend(key);
            frame.extend(payload.zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
    frame
}
