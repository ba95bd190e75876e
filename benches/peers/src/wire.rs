//! The work, and the transport in memory that all subjects do it over.

use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::io::{self, IoSlice, Read, Write};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sansocket::Role;
use sansocket::frame::{HEADER_LEN_MAX, Header, Opcode, Rsv, apply_mask};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the payloads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Binary,
    Ascii,
    /// Code points of one to four bytes.
    Mixed,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Receive,
    Send,
}

/// One measurement: messages of one kind and size, in one direction, as one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) direction: Direction,
    pub(crate) role: Role,
    pub(crate) kind: Kind,
    pub(crate) len: usize,
}

pub(crate) const LENS: [usize; 6] = [16, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024];
/// As much as a socket gives in one read, and as much as is gathered for one write.
pub(crate) const CHUNK_LEN: usize = 64 * 1024;
/// As many messages leave in one write at most.
pub(crate) const BATCH_LEN: usize = 64;

impl Case {
    pub(crate) fn payload(&self) -> Bytes {
        let unit = match self.kind {
            Kind::Binary => "\u{1}\u{7f}x",
            Kind::Ascii => "a",
            Kind::Mixed => "é€💩 abc",
        };
        let mut payload = unit.repeat(self.len / unit.len());
        payload.extend(std::iter::repeat_n('z', self.len - payload.len()));
        payload.into()
    }

    pub(crate) fn is_text(&self) -> bool {
        self.kind != Kind::Binary
    }

    /// Some frames as the peer sends them.
    pub(crate) fn wire(&self) -> Wire {
        let payload = self.payload();
        let opcode = if self.is_text() { Opcode::Text } else { Opcode::Binary };
        let mut wire = Vec::new();
        for i in 0..(512 * 1024 / self.len).clamp(2, 1024) as u32 {
            let key = 0x9E37_79B9_u32.wrapping_mul(i + 1).to_be_bytes();
            let masking_key = (self.role == Role::Server).then_some(key);
            let header = Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len: self.len as u64 };
            let mut head = [0; HEADER_LEN_MAX];
            let head_len = header.encode(&mut head);
            wire.extend_from_slice(&head[..head_len]);
            let at = wire.len();
            wire.extend_from_slice(&payload);
            if let Some(key) = masking_key {
                apply_mask(&mut wire[at..], key, 0);
            }
        }
        Wire(Rc::new(State { bytes: wire, at: Cell::new(0), written: Cell::new(0) }))
    }

    /// After how many messages a sender flushes.
    pub(crate) fn batch_len(&self) -> usize {
        (CHUNK_LEN / self.len).clamp(1, BATCH_LEN)
    }

    /// How long a frame is that is sent.
    pub(crate) fn frame_len(&self) -> usize {
        let masking_key = (self.role == Role::Client).then_some([0; 4]);
        let opcode = Opcode::Binary;
        let header = Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len: self.len as u64 };
        header.encode(&mut [0; HEADER_LEN_MAX]) + self.len
    }
}

/// A transport that gives the same frames over and over, in reads of at most [`CHUNK_LEN`], and takes whatever is written.
#[derive(Clone)]
pub(crate) struct Wire(Rc<State>);

struct State {
    bytes: Vec<u8>,
    at: Cell<usize>,
    written: Cell<usize>,
}

impl Wire {
    /// Copies into `buf` what a read of a socket would.
    pub(crate) fn read_into(&self, buf: &mut [u8]) -> usize {
        let bytes = self.next(buf.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    /// The next bytes, up to so many.
    fn next(&self, len_max: usize) -> &[u8] {
        let state = &*self.0;
        let at = state.at.get();
        let end = state.bytes.len().min(at + len_max.min(CHUNK_LEN));
        state.at.set(if end == state.bytes.len() { 0 } else { end });
        &state.bytes[at..end]
    }

    /// Takes what a write would hand to a socket.
    pub(crate) fn put(&self, bytes: &[u8]) -> usize {
        black_box(bytes.as_ptr());
        self.0.written.set(self.0.written.get() + bytes.len());
        bytes.len()
    }

    pub(crate) fn written(&self) -> usize {
        self.0.written.get()
    }
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_into(buf))
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.put(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buf.put_slice(self.next(buf.remaining()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.put(buf)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| self.put(slice)).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What `future` comes to, which never waits: the transport is always ready.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the transport in memory is always ready"),
    }
}

/// A digest of a payload that was received, to see that it was received right: its length, and both ends.
pub(crate) fn seen(payload: &[u8]) -> u64 {
    let ends = u64::from(payload[0]) * 257 + u64::from(payload[payload.len() - 1]);
    black_box(payload);
    (payload.len() as u64) << 20 | ends
}
