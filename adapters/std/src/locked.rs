//! Streams that do one thing at a time.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Transport;

/// Makes a [`Transport`] of a stream that can only read or write at a time: TLS, above all.
///
/// It needs the stream and a second handle to the socket underneath ([`try_clone`](std::net::TcpStream::try_clone)), by which the
/// timeouts are set. Reads and writes take turns.
///
/// ```no_run
/// use sansocket_std::{Connector, Locked};
/// # fn tls_connect(_: &str, tcp: std::net::TcpStream) -> std::io::Result<std::net::TcpStream> { Ok(tcp) }
///
/// let tcp = std::net::TcpStream::connect("example.com:443")?;
/// tcp.set_nodelay(true)?;
/// let socket = tcp.try_clone()?;
/// let tls = tls_connect("example.com", tcp)?; // with the library of your choice
/// let mut socket = Connector::new("wss://example.com/chat")?.handshake(Locked::new(tls, socket))?;
/// socket.send_text("hello")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Limits
///
/// - While one thread waits in a read, it lets go of the stream every 10 ms; so long a send from another thread may wait, and so
///   often a silent connection wakes. With many silent connections, use a runtime.
/// - The stream must survive a timeout: after `WouldBlock` or `TimedOut` it goes on where it was, and a write is tried again with
///   the same bytes first. The common TLS libraries do, once their handshake is complete.
/// - At the end the socket is shut down without a farewell of the stream's own (TLS's `close_notify`), and a peer who does the same
///   is taken to have ended the stream. The closing handshake of the WebSocket tells whether anything was cut off.
pub struct Locked<T, S> {
    stream: Mutex<Stream<T>>,
    /// Whoever waits for the stream holds it; so nobody who lets go of the stream overtakes the one who waits.
    gate: Mutex<()>,
    socket: S,
    read_timeout: Mutex<Option<Duration>>,
}

struct Stream<T> {
    stream: T,
    /// Bytes that the stream has accepted but not passed on; they count as written when it has.
    unflushed: usize,
    slice: Option<Duration>,
}

impl<T: Read + Write + Send, S: Transport> Locked<T, S> {
    /// Of a stream, and of a second handle to the socket underneath.
    pub fn new(stream: T, socket: S) -> Self {
        let stream = Mutex::new(Stream { stream, unflushed: 0, slice: None });
        Self { stream, gate: Mutex::default(), socket, read_timeout: Mutex::default() }
    }

    /// The stream and the handle.
    pub fn into_inner(self) -> (T, S) {
        (self.stream.into_inner().unwrap_or_else(PoisonError::into_inner).stream, self.socket)
    }

    /// Waits for its turn at the stream.
    fn turn(&self) -> MutexGuard<'_, Stream<T>> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Read + Write + Send, S: Transport> Transport for Locked<T, S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let timeout = *self.read_timeout.lock().unwrap_or_else(PoisonError::into_inner);
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let slice = left.map_or(SLICE, |left| left.clamp(SLICE_MIN, SLICE));
            let mut turn = self.turn();
            if turn.slice != Some(slice) {
                self.socket.set_read_timeout(Some(slice))?;
                turn.slice = Some(slice);
            }
            let error = match turn.stream.read(buf) {
                Err(error) => error,
                read => return read,
            };
            drop(turn);
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {}
                io::ErrorKind::UnexpectedEof => return Ok(0),
                _ => return Err(error),
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Err(error);
            }
        }
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut turn = self.turn();
        if turn.unflushed == 0 {
            let Some(buf) = bufs.iter().find(|buf| !buf.is_empty()) else {
                return Ok(0);
            };
            turn.unflushed = turn.stream.write(buf)?;
        }
        turn.stream.flush()?;
        Ok(std::mem::take(&mut turn.unflushed))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *self.read_timeout.lock().unwrap_or_else(PoisonError::into_inner) = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    fn prepare(&self) -> io::Result<()> {
        self.socket.prepare()
    }
}

impl<T, S: fmt::Debug> fmt::Debug for Locked<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// How long a read keeps the stream from a write.
const SLICE: Duration = Duration::from_millis(10);
/// Sockets refuse to wait for no time at all.
const SLICE_MIN: Duration = Duration::from_millis(1);
