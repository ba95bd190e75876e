//! The implementations in Rust. Those in Python are in `peers.py`.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use sansocket::connection::CloseCause;
use sansocket::{Config, Connection, Event, RecvBuf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::verdict::{End, Message, Role, Verdict};

/// How much is too big for sansocket.
#[derive(Clone, Copy)]
pub enum Limits {
    Usual,
    None,
}

/// And what the end was due to, in words.
pub fn sansocket(role: Role, bytes: &[u8], limits: Limits) -> (Verdict, String) {
    let now = Instant::now();
    let role = match role {
        Role::Client => sansocket::Role::Client,
        Role::Server => sansocket::Role::Server,
    };
    let mut config = Config::default();
    config.ping_interval = None;
    if let Limits::None = limits {
        (config.frame_len_max, config.message_len_max) = (u64::MAX, u64::MAX);
    }
    let mut connection = Connection::open(role, config, [7; 32], now);
    let mut buf = RecvBuf::new();
    buf.extend_from_slice(bytes);
    let mut messages = Vec::new();
    let mut ended = None;
    for _ in 0..2 {
        while let Some(event) = connection.poll_event(now, &mut buf) {
            match event {
                Event::Text(text) => messages.push(Message { is_text: true, payload: text.into() }),
                Event::Binary(payload) => messages.push(Message { is_text: false, payload: payload.to_vec() }),
                Event::Closed(closed) => ended = Some(closed),
                _ => {}
            }
        }
        connection.advance_outgoing(now, connection.buffered_len());
        connection.handle_eof();
        while connection.poll_stream().is_some() {}
    }
    let closed = ended.expect("the end of the stream ends a connection");
    let end = match closed.cause {
        CloseCause::CloseFrame => End::Closed(closed.peer_code.map(|code| code.0).filter(|code| *code != 1005)),
        CloseCause::Protocol(error) => End::Failed(error.close_code().0),
        _ => End::Eof,
    };
    (Verdict { messages, end }, closed.cause.to_string())
}

pub fn tungstenite(role: Role, bytes: &[u8]) -> Verdict {
    use tungstenite::error::{Error, ProtocolError};
    use tungstenite::protocol::{Role as Theirs, WebSocket};

    let role = match role {
        Role::Client => Theirs::Client,
        Role::Server => Theirs::Server,
    };
    let mut socket = WebSocket::from_raw_socket(Wire { bytes: bytes.to_vec(), at: 0 }, role, None);
    let mut messages = Vec::new();
    let mut closed = None;
    let end = loop {
        match socket.read() {
            Ok(tungstenite::Message::Text(text)) => {
                messages.push(Message { is_text: true, payload: text.as_bytes().to_vec() });
            }
            Ok(tungstenite::Message::Binary(payload)) => {
                messages.push(Message { is_text: false, payload: payload.to_vec() });
            }
            Ok(tungstenite::Message::Close(frame)) => closed = Some(frame.map(|frame| u16::from(frame.code))),
            Ok(_) => {}
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                break closed.map_or(End::Eof, End::Closed);
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) | Err(Error::Io(_)) => {
                break closed.map_or(End::Eof, End::Closed);
            }
            Err(_) if closed.is_some() => break closed.map_or(End::Eof, End::Closed),
            Err(Error::Utf8(_)) => break End::Failed(1007),
            Err(Error::Capacity(_)) => break End::Failed(1009),
            Err(_) => break End::Failed(1002),
        }
    };
    Verdict { messages, end }
}

pub fn fastwebsockets(role: Role, bytes: &[u8]) -> Verdict {
    use fastwebsockets::{FragmentCollector, OpCode, Role as Theirs, WebSocket, WebSocketError};

    let role = match role {
        Role::Client => Theirs::Client,
        Role::Server => Theirs::Server,
    };
    let mut socket = WebSocket::after_handshake(Wire { bytes: bytes.to_vec(), at: 0 }, role);
    socket.set_auto_pong(false);
    let mut socket = FragmentCollector::new(socket);
    let mut messages = Vec::new();
    let end = futures::executor::block_on(async {
        loop {
            match socket.read_frame().await {
                Ok(frame) => match frame.opcode {
                    OpCode::Text => messages.push(Message { is_text: true, payload: frame.payload.to_vec() }),
                    OpCode::Binary => messages.push(Message { is_text: false, payload: frame.payload.to_vec() }),
                    OpCode::Close => {
                        let code = frame.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                        return End::Closed(code);
                    }
                    _ => {}
                },
                Err(WebSocketError::UnexpectedEOF | WebSocketError::IoError(_) | WebSocketError::ConnectionClosed) => {
                    return End::Eof;
                }
                Err(WebSocketError::InvalidUTF8) => return End::Failed(1007),
                Err(WebSocketError::FrameTooLarge) => return End::Failed(1009),
                Err(_) => return End::Failed(1002),
            }
        }
    });
    Verdict { messages, end }
}

/// The bytes, then the end; what is written is dropped.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = (&self.bytes[self.at..]).read(buf)?;
        self.at += n;
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = buf.remaining().min(self.bytes.len() - self.at);
        buf.put_slice(&self.bytes[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
