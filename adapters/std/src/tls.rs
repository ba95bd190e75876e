//! TLS by rustls, of which both directions work at once.

use std::fmt;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, Connection, ServerConfig, ServerConnection};
use sansocket_common::{Tls, TlsError};

use crate::Transport;

/// TLS over a stream, as a client or as a server.
///
/// One thread may read while another writes, and neither waits for the other. An end of the stream without a farewell (`close_notify`) is an
/// end like any other: whether something was cut off, the closing handshake of the WebSocket tells.
pub struct TlsStream<S> {
    /// Never locked while a thread waits for the stream.
    tls: Mutex<Connection>,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
    stream: S,
}

/// What only the thread that reads needs.
#[derive(Default)]
struct Reading {
    /// Encrypted bytes that arrived and that rustls has had no room for.
    left: Vec<u8>,
    /// Whether the stream had no more than these when it was last read.
    drained: bool,
}

/// What only the thread that writes needs.
#[derive(Default)]
struct Writing {
    /// How many of the caller's bytes rustls has taken that do not count as written, because they have not left.
    taken: usize,
    /// Encrypted bytes that have not left.
    encrypted: Vec<u8>,
}

impl<S: Transport> TlsStream<S> {
    /// Agrees on TLS with a server, whose certificate has to be for `host`, within `timeout`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn client(stream: S, host: &str, tls: &Tls, timeout: Option<Duration>) -> Result<Self, TlsError> {
        let client = ClientConnection::new(tls.config()?, Tls::server_name(host)?);
        let client = client.map_err(|error| TlsError::Setup(error.into()))?;
        Self::shake_hands(stream, client.into(), timeout)
    }

    /// Agrees on TLS with a client, within `timeout`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn server(stream: S, config: Arc<ServerConfig>, timeout: Option<Duration>) -> Result<Self, TlsError> {
        let server = ServerConnection::new(config).map_err(|error| TlsError::Setup(error.into()))?;
        Self::shake_hands(stream, server.into(), timeout)
    }

    fn shake_hands(stream: S, tls: Connection, timeout: Option<Duration>) -> Result<Self, TlsError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let stream = Self { tls: Mutex::new(tls), reading: Mutex::default(), writing: Mutex::default(), stream };
        stream.drive(deadline).map_err(TlsError::Handshake)?;
        Tls::check_alpn(lock(&stream.tls).alpn_protocol())?;
        Ok(stream)
    }

    /// Completes the handshake of TLS.
    fn drive(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.stream.prepare()?;
        loop {
            self.set_timeouts(deadline)?;
            retry(self.flush(&mut lock(&self.writing)), deadline)?;
            if !lock(&self.tls).is_handshaking() {
                self.stream.set_read_timeout(None)?;
                return self.stream.set_write_timeout(None);
            }
            if retry(self.receive(&mut lock(&self.reading)), deadline)? == Some(0) {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended in the handshake"));
            }
        }
    }

    fn set_timeouts(&self, deadline: Option<Instant>) -> io::Result<()> {
        let Some(deadline) = deadline else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left.max(TIMEOUT_MIN)))?;
        self.stream.set_write_timeout(Some(left.max(TIMEOUT_MIN)))
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Reads encrypted bytes once, and decrypts what it can; how many were read.
    fn receive(&self, reading: &mut Reading) -> io::Result<usize> {
        let mut chunk = [0; CHUNK_LEN];
        let n = self.stream.read(&mut chunk)?;
        reading.drained = self.stream.left_nothing(CHUNK_LEN, n);
        reading.left.extend_from_slice(chunk.get(..n).unwrap_or(&chunk));
        self.decrypt(reading, n == 0)?;
        Ok(n)
    }

    /// Gives rustls what it has room for.
    fn decrypt(&self, reading: &mut Reading, ended: bool) -> io::Result<()> {
        let mut tls = lock(&self.tls);
        let mut rest = reading.left.as_slice();
        while !rest.is_empty() || ended {
            let n = match tls.read_tls(&mut rest) {
                Ok(n) => n,
                // Until the plaintext has been read.
                Err(error) if error.kind() == io::ErrorKind::Other => break,
                Err(error) => return Err(error),
            };
            if let Err(error) = tls.process_new_packets() {
                drop(tls);
                // The alert that tells the peer; it may be past hearing it.
                let _ = self.writing.try_lock().map(|mut writing| self.flush(&mut writing));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if n == 0 {
                rest = &[]; // Nothing counts behind a farewell.
                break;
            }
        }
        let left = rest.len();
        let done = reading.left.len() - left;
        reading.left.drain(..done);
        if left == 0 {
            reading.left = Vec::new();
        }
        Ok(())
    }

    /// The decrypted bytes that are there; `None` when more have to be read for any.
    fn plaintext(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match lock(&self.tls).reader().read(buf) {
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Writes all that rustls has to send.
    fn flush(&self, writing: &mut Writing) -> io::Result<()> {
        loop {
            if writing.encrypted.is_empty() {
                let mut tls = lock(&self.tls);
                while tls.wants_write() {
                    tls.write_tls(&mut writing.encrypted)?;
                }
            }
            if writing.encrypted.is_empty() {
                writing.encrypted = Vec::new();
                return Ok(());
            }
            let n = self.stream.write_vectored(&[IoSlice::new(&writing.encrypted)])?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            writing.encrypted.drain(..n.min(writing.encrypted.len()));
        }
    }
}

impl<S: Transport> Transport for TlsStream<S> {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut reading = lock(&self.reading);
        if let Some(n) = self.plaintext(buf)? {
            return Ok(n);
        }
        if reading.left.is_empty() {
            self.receive(&mut reading)?;
        } else {
            self.decrypt(&mut reading, false)?;
        }
        // A part of a record is no reason to wait beyond the timeout: deadlines may be due.
        self.plaintext(buf)?.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut writing = lock(&self.writing);
        if writing.taken == 0 {
            self.flush(&mut writing)?;
            writing.taken = lock(&self.tls).writer().write_vectored(bufs)?;
        }
        self.flush(&mut writing)?;
        Ok(std::mem::take(&mut writing.taken))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how == Shutdown::Write
            && let Ok(mut writing) = self.writing.try_lock()
        {
            lock(&self.tls).send_close_notify();
            // Without it, the end of the stream tells.
            let _ = self.flush(&mut writing);
        }
        self.stream.shutdown(how)
    }

    fn left_nothing(&self, _: usize, _: usize) -> bool {
        let reading = lock(&self.reading);
        let is_decrypted =
            || lock(&self.tls).process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() == 0);
        reading.drained && reading.left.is_empty() && is_decrypted()
    }

    fn prepare(&self) -> io::Result<()> {
        self.stream.prepare()
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None` when it was only interrupted, or the socket did not wait until the deadline: some are early by a tick of the system's clock.
fn retry<O>(result: io::Result<O>, deadline: Option<Instant>) -> io::Result<Option<O>> {
    let is_early = || deadline.is_some_and(|deadline| Instant::now() < deadline);
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) && is_early() => {
            Ok(None)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// A record holds so much.
const CHUNK_LEN: usize = 16 * 1024;
/// Sockets refuse to wait for no time at all.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
