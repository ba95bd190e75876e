//! The owner of a connection: the only one who reads.

mod pump;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sansocket::{CloseCode, Closed, Connection, Message, MessageKind, ReadyState, RecvBuf, SendError};

use crate::shared::{Shared, Sharing};
use crate::writer::By;
use crate::{Error, MessageReader, MessageWriter, Sender, Transport};
pub(crate) use pump::Opened;
pub(crate) use pump::Piece;
use pump::{Overdue, Told, Want};

/// A connection. Its owner receives, and may send; others send by a [`Sender`].
///
/// Nothing happens between calls: there is no thread behind it. While the owner is in a call, pings are answered and all deadlines
/// of the [`Config`](crate::Config) are served; so an owner with nothing else to do should be in [`recv`](Self::recv).
///
/// Dropping it ends the stream at once, without a Close frame, and bytes on their way may be lost; [`close`](Self::close)
/// ends it properly.
pub struct WebSocket<S: Transport> {
    // Before `shared`, which it has to outlive.
    lease: Lease<S>,
    shared: Arc<Shared<S>>,
    buf: RecvBuf,
    /// Messages that arrived while a send was stalled.
    inbox: VecDeque<Message>,
    /// What the inbox costs, at least, in bytes.
    inbox_len: usize,
    subprotocol: Option<Box<str>>,
    /// The read timeout of the transport, if it was set here.
    read_timeout: Option<Option<Duration>>,
    /// When the last read began that took all there was.
    drained_at: Option<Instant>,
    /// While a deadline is due.
    overdue: Option<Overdue>,
    /// Nothing has come for a while, and the memory was given back.
    is_idle: bool,
    /// The connection has been told that the transport failed.
    failure_told: bool,
}

/// A connection taken apart by [`WebSocket::into_parts`].
#[derive(Debug)]
pub struct Parts<S> {
    /// The stream. Its timeouts are off again.
    pub transport: S,
    /// The state machine; its [`outgoing`](Connection::outgoing) may hold bytes that are still to be written.
    pub connection: Connection,
    /// Bytes that were read and not decoded yet.
    pub buf: RecvBuf,
    /// Messages that arrived while a send was stalled and that were not received yet; usually none.
    pub messages: VecDeque<Message>,
}

impl<S: Transport> WebSocket<S> {
    /// Goes on with a connection that somebody else began, and the bytes that were read behind its handshake.
    ///
    /// [`Connection::open`] makes one whose handshake an HTTP server has made. One that is still in its handshake completes it
    /// in the next call; a request is accepted then. [`Connector`](crate::Connector) and [`Acceptor`](crate::Acceptor) do better.
    pub fn new(connection: Connection, transport: S, buf: RecvBuf) -> Self {
        Self::from_parts(Parts { transport, connection, buf, messages: VecDeque::new() })
    }

    /// Goes on with what [`into_parts`](Self::into_parts) took apart.
    pub fn from_parts(parts: Parts<S>) -> Self {
        let subprotocol = parts.connection.subprotocol().map(Into::into);
        Self::assemble(Arc::new(Shared::new(parts.connection, parts.transport)), parts.buf, parts.messages, subprotocol)
    }

    fn assemble(shared: Arc<Shared<S>>, buf: RecvBuf, inbox: VecDeque<Message>, subprotocol: Option<Box<str>>) -> Self {
        Self {
            lease: Lease(Arc::downgrade(&shared)),
            shared,
            buf,
            inbox_len: inbox.iter().map(cost).sum(),
            inbox,
            subprotocol,
            read_timeout: None,
            drained_at: None,
            overdue: None,
            is_idle: false,
            failure_told: false,
        }
    }

    /// Takes the connection apart, losing no byte; `Err` with the socket itself while there are [`Sender`]s.
    #[allow(clippy::result_large_err, reason = "the socket comes back")]
    pub fn into_parts(self) -> Result<Parts<S>, Self> {
        if self.sharing() == Sharing::Others {
            return Err(self);
        }
        let Self { mut lease, shared, buf, inbox, subprotocol, .. } = self;
        lease.0 = Weak::new();
        match Arc::try_unwrap(shared) {
            Ok(shared) => {
                let (connection, transport) = shared.into_parts();
                // Of a stream that is gone, nobody misses them.
                let _ = transport.set_read_timeout(None);
                let _ = transport.set_write_timeout(None);
                Ok(Parts { transport, connection, buf, messages: inbox })
            }
            // Not reached: nobody else had a handle to make another one from.
            Err(shared) => Err(Self::assemble(shared, buf, inbox, subprotocol)),
        }
    }

    /// Waits for the next message; `None` when the connection was closed cleanly, whoever began.
    ///
    /// What was fed leaves before it waits. Pings are answered, deadlines served.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended in any other way; again each time.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.next(None) {
                Told::Message(message) => return Ok(Some(message)),
                Told::Closed => {
                    return match self.shared.closed.get() {
                        Some(closed) if closed.clean => Ok(None),
                        _ => self.shared.check().map(|()| None),
                    };
                }
                Told::Nothing => self.wait(),
                Told::Open | Told::Refused(_) | Told::Unfit(_) | Told::Piece(_) => {}
            }
        }
    }

    /// Waits for the next message, to receive it in pieces; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_pieces(&mut self) -> Result<Option<MessageReader<'_, S>>, Error> {
        let first = match self.next_from_inbox() {
            Some(message) => Some(Piece { kind: message.kind(), bytes: message.into_bytes(), is_last: true }),
            None => self.wait_for_piece(Want::NextPieces),
        };
        match (first, self.shared.closed.get()) {
            (Some(first), _) => Ok(Some(MessageReader::new(self, first))),
            (None, Some(closed)) if closed.clean => Ok(None),
            (None, _) => self.shared.check().map(|()| None),
        }
    }

    /// Waits for the next piece of the message under way.
    pub(crate) fn next_piece(&mut self) -> Result<Piece, Error> {
        match self.wait_for_piece(Want::Piece) {
            Some(piece) => Ok(piece),
            None => Err(self.shared.check().err().unwrap_or(Error::Send(SendError::NotOpen(self.state())))),
        }
    }

    pub(crate) fn wake_waiting(&self) {
        self.shared.wake_waiting();
    }

    /// Received messages, until the connection is closed or fails.
    ///
    /// A failure is the last item; a clean end just ends the iteration.
    pub fn messages(&mut self) -> Messages<'_, S> {
        Messages { socket: self, is_done: false }
    }

    /// Sends a message, after those that were fed: returns when the transport has taken them, or when another thread takes them along.
    ///
    /// When the transport takes nothing, because the peer sends and does not read either, what arrives is read meanwhile and kept
    /// for [`recv`](Self::recv), up to [`Config::message_len_max`](crate::Config::message_len_max) bytes.
    ///
    /// # Errors
    /// [`Error`] when the connection is closing or over.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.feed(message)?;
        self.write_out()
    }

    /// Sends a text, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.queue(|connection, now| connection.send_text(now, text))?;
        self.write_out()
    }

    /// Sends bytes, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.queue(|connection, now| connection.send_binary(now, payload))?;
        self.write_out()
    }

    /// Sends a message in pieces.
    pub fn send_pieces(&mut self, kind: MessageKind) -> MessageWriter<'_, S> {
        MessageWriter::new(By::Owner(self), kind)
    }

    /// Queues a message. It leaves with the next [`flush`](Self::flush) or [`send`](Self::send), before [`recv`](Self::recv) waits,
    /// or at once when too much waits already ([`Config::high_water_mark`](crate::Config::high_water_mark)).
    ///
    /// A loop that receives and feeds answers all that one read brought with one write:
    ///
    /// ```no_run
    /// # let mut socket = sansocket_std::connect("ws://localhost")?;
    /// while let Some(message) = socket.recv()? {
    ///     socket.feed(message)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn feed(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.queue(|connection, now| connection.send(now, &message))
    }

    /// Writes out what was fed.
    ///
    /// # Errors
    /// [`Error`] when the connection is over.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out()
    }

    /// Sends a ping. The heartbeat sends its own; nothing is reported of this one's pong.
    ///
    /// # Errors
    /// As [`send`](Self::send), and when the payload has more than 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.queue(|connection, now| connection.ping(now, payload))?;
        self.write_out()
    }

    /// Closes, and waits for the end, for [`Config::close_timeout`](crate::Config::close_timeout) at most. Messages that still arrive
    /// are discarded; to receive them, use [`start_close`](Self::start_close).
    ///
    /// Of a connection that is closing or closed already, it just waits for the end: the first code stands.
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes: nothing has happened then. Otherwise as
    /// [`recv`](Self::recv), when the end is not clean.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        self.queue(|connection, now| connection.close(now, code, reason))?;
        while self.recv()?.is_some() {}
        match self.shared.closed.get() {
            Some(closed) => Ok(closed.clone()),
            // Not reached: what else would have ended the loop?
            None => Err(Error::Send(SendError::NotOpen(self.state()))),
        }
    }

    /// Begins to close: nothing can be sent any more, and [`recv`](Self::recv) delivers what still arrives, then the end.
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub fn start_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.queue(|connection, now| connection.close(now, code, reason))?;
        // That it is over is what was asked for, and `recv` tells how.
        let _ = self.write_out();
        Ok(())
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<&Closed> {
        self.shared.closed.get()
    }

    /// What the transport said when it failed.
    pub fn transport_error(&self) -> Option<&io::Error> {
        self.shared.failure.get().map(|failure| &**failure)
    }

    /// The subprotocol that the handshake settled on.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The round trip of the last heartbeat that was answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared.lock().connection.rtt()
    }

    /// How far the connection is.
    pub fn state(&self) -> ReadyState {
        self.shared.lock().connection.state()
    }

    /// A handle to send by, from other threads.
    pub fn sender(&self) -> Sender<S> {
        Sender::new(Arc::clone(&self.shared))
    }

    /// The stream, for its addresses and options. Its timeouts are the socket's business.
    pub fn transport(&self) -> &S {
        &self.shared.transport
    }

    /// Gives access to all that the core can do; then writes out what it left.
    ///
    /// Senders wait meanwhile. So `order` must not use a handle of any connection: two that use each other's would wait for ever.
    pub fn with_connection<R>(&mut self, order: impl FnOnce(&mut Connection, Instant) -> R) -> R {
        let mut core = self.shared.lock();
        let result = order(&mut core.connection, Instant::now());
        self.shared.obey(&mut core);
        drop(core);
        // Told by the next call.
        let _ = self.write_out();
        result
    }
}

impl<S: Transport> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("connection", &self.shared.lock().connection)
            .field("buf", &self.buf)
            .finish_non_exhaustive()
    }
}

/// The iterator of [`WebSocket::messages`].
#[derive(Debug)]
pub struct Messages<'w, S: Transport> {
    socket: &'w mut WebSocket<S>,
    is_done: bool,
}

impl<S: Transport> Iterator for Messages<'_, S> {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let received = self.socket.recv();
        self.is_done = !matches!(received, Ok(Some(_)));
        received.transpose()
    }
}

impl<S: Transport> std::iter::FusedIterator for Messages<'_, S> {}

/// Ends the stream when the owner of the connection is gone; senders alone do not keep it up.
struct Lease<S: Transport>(Weak<Shared<S>>);

impl<S: Transport> Drop for Lease<S> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.abandon();
        }
    }
}

/// What a message costs that is kept, so that empty ones are not free.
fn cost(message: &Message) -> usize {
    message.as_bytes().len() + size_of::<Message>()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use sansocket::{Config, Role};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_silent_connection_holds_no_buffers_and_hears_the_next_message() {
        let mut config = Config::default();
        config.ping_interval = Some(Duration::from_millis(1200));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let end = |role, stream, config| {
            WebSocket::new(Connection::open(role, config, [role as u8; 32], Instant::now()), stream, RecvBuf::new())
        };
        let mut client = end(Role::Client, ours, config);
        let mut server = end(Role::Server, theirs, Config::default());
        client.send_text("before").unwrap();
        assert_eq!(server.recv().unwrap(), Some("before".into()));
        server.send_text("before").unwrap();
        assert_eq!(client.recv().unwrap(), Some("before".into()));
        assert_ne!(client.buf.capacity(), 0);
        while !client.is_idle {
            client.wait();
        }
        // Till the ping is due.
        client.wait();
        assert_eq!((client.is_idle, client.buf.capacity()), (true, 0));
        let payload = vec![7; 100_000];
        let sending = std::thread::spawn(move || server.send(payload).map(|()| server));
        assert_eq!(client.recv().unwrap(), Some(vec![7; 100_000].into()));
        sending.join().unwrap().unwrap();
    }

    #[test]
    fn the_state_of_a_connection_is_small() {
        let len = size_of::<WebSocket<UnixStream>>() + size_of::<Shared<UnixStream>>() + 2 * size_of::<usize>();
        assert!(len < 1024, "{len} bytes");
    }
}
