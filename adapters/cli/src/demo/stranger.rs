//! A raw socket that shakes hands like a client, then breaks the protocol.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use sansocket::CloseCode;
use sansocket::frame::{ClosePayload, Header, Opcode};

/// What the server told a stranger at the end.
pub(super) struct Farewell {
    /// The code in its Close frame.
    pub(super) code: CloseCode,
    /// The words in it.
    pub(super) reason: String,
}

/// A connection made without this library's client.
pub(super) struct Stranger {
    stream: TcpStream,
}

impl Stranger {
    /// Connects and upgrades with the sample request of RFC 6455 section 1.2.
    pub(super) fn connect(server: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!(
            "GET /stranger HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let head = read_head(&mut stream)?;
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other("the server did not upgrade"));
        }
        Ok(Self { stream })
    }

    /// Sends a text frame as only a server may: without a mask. RFC 6455 section 5.1.
    pub(super) fn send_unmasked(&mut self) -> io::Result<()> {
        self.stream.write_all(b"\x81\x05hello")
    }

    /// Waits for the server's Close frame, and for the end of its stream.
    pub(super) fn hear_farewell(mut self) -> io::Result<Farewell> {
        let mut wire = Vec::new();
        // Its own direction ends too, so that the server does not have to wait for that.
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.read_to_end(&mut wire)?;
        farewell_in(&wire).ok_or_else(|| io::Error::other("the server ended without a Close frame"))
    }
}

/// Reads up to the blank line, byte by byte so that no frame behind it is swallowed.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

/// The Close frame, if it is the next thing on the wire.
fn farewell_in(wire: &[u8]) -> Option<Farewell> {
    let (header, header_len) = Header::decode(wire).ok()??;
    let payload_len = usize::try_from(header.payload_len).ok()?;
    let payload = wire.get(header_len..)?.get(..payload_len)?;
    if header.opcode != Opcode::Close {
        return None;
    }
    let close = ClosePayload::decode(payload).ok()??;
    Some(Farewell { code: close.code, reason: close.reason.to_owned() })
}

/// How long a server may take for anything: loopback and a thread's turn need milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
