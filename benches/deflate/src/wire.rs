//! The transport in memory that all subjects work over, and what goes over it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use sansocket::deflate::{Compression, DeflateConfig, DeflateParams};
use sansocket::{Config, Connection, Event, RecvBuf, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much as a socket gives in one read.
pub(crate) const CHUNK_LEN: usize = 64 * 1024;

/// Texts of one length, like those of a feed of prices: alike, and never the same.
pub(crate) fn messages(len: usize) -> Vec<Bytes> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let symbols = ["ACME", "GLOBEX", "INITECH", "UMBRELLA", "HOOLI", "STARK"];
    let message = |_| {
        let mut text = String::from("[");
        while text.len() < len {
            let symbol = symbols[below(6) as usize];
            let (price, cents, size, time) = (below(900), below(100), below(5000), below(1_000_000));
            text += &format!(
                r#"{{"type":"trade","symbol":"{symbol}","price":{price}.{cents:02},"size":{size},"time":1700{time:06}}},"#
            );
        }
        text.truncate(len);
        Bytes::from(text)
    };
    (0..16).map(message).collect()
}

/// To see that a message was received right, as cheaply as can be: its length, its middle and both ends.
pub(crate) fn digest(payload: &[u8]) -> u64 {
    let at = |i: usize| u64::from(payload.get(i).copied().unwrap_or_default());
    let len = payload.len();
    (len as u64) << 24 | at(0) << 16 | at(len / 2) << 8 | at(len.saturating_sub(1))
}

fn config() -> Config {
    let mut config = Config::default();
    let mut deflate = DeflateConfig::default();
    (deflate.level, deflate.memory_level, deflate.window_bits) = (6, 8, 15);
    config.deflate = Some(deflate);
    config
}

/// All texts in what a server sent.
pub(crate) fn decompressed(wire: &[u8], params: DeflateParams) -> Vec<Bytes> {
    let now = Instant::now();
    let mut client = Connection::open(Role::Client, config(), [7; 32], now).with_deflate(Some(params));
    let mut buf = RecvBuf::new();
    buf.extend_from_slice(wire);
    let mut texts = Vec::new();
    while let Some(event) = client.poll_event(now, &mut buf) {
        match event {
            Event::Text(text) => texts.push(Bytes::copy_from_slice(text.as_bytes())),
            Event::Inflating => {}
            event => panic!("{event:?}"),
        }
    }
    texts
}

/// A transport that gives the same frames over and over, in reads of at most [`CHUNK_LEN`], and takes whatever is written.
#[derive(Clone)]
pub(crate) struct Wire(Rc<State>);

struct State {
    bytes: Vec<u8>,
    at: Cell<usize>,
    recorded: RefCell<Option<Vec<u8>>>,
}

impl Wire {
    /// What a client sends, compressed: the first message refers to none before it.
    pub(crate) fn incoming(len: usize, params: DeflateParams) -> Self {
        let now = Instant::now();
        let mut client = Connection::open(Role::Client, config(), [7; 32], now).with_deflate(Some(params));
        let mut bytes = Vec::new();
        for message in messages(len) {
            let text = std::str::from_utf8(&message).expect("texts are texts");
            client.with_compression(Compression::Always, |client| client.send_text(now, text)).expect("there is room");
            bytes.extend_from_slice(client.outgoing());
            client.advance_outgoing(now, client.outgoing().len());
        }
        Self(Rc::new(State { bytes, at: Cell::new(0), recorded: RefCell::default() }))
    }

    pub(crate) fn rewind(&self) {
        self.0.at.set(0);
    }

    /// Keeps what is written from now on.
    pub(crate) fn record(&self) {
        *self.0.recorded.borrow_mut() = Some(Vec::new());
    }

    pub(crate) fn recorded(&self) -> Vec<u8> {
        self.0.recorded.borrow_mut().take().expect("it was recorded")
    }

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
        if let Some(recorded) = &mut *self.0.recorded.borrow_mut() {
            recorded.extend_from_slice(bytes);
        }
        std::hint::black_box(bytes).len()
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
#[cfg(any(feature = "yawc", feature = "soketto"))]
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the transport in memory is always ready"),
    }
}
