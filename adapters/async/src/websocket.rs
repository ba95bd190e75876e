//! One WebSocket, whole.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use sansocket::{CloseCode, Closed, Connection, Message, MessageKind, ReadyState, RecvBuf};

use crate::driver::{MessageRef, Shared, WhileStalled};
use crate::halves::{Handle, Receiver, Sender};
use crate::keeper::Keeper;
use crate::{Error, MessageReader, MessageWriter, Runtime, Transport};

/// A WebSocket over an asynchronous stream.
///
/// All methods are cancel-safe: a future that is dropped before it is ready has done nothing, except that
/// [`close`](Self::close) may have begun the closing handshake, and [`answer_with`](Self::answer_with) has answered what it has received.
///
/// # Who drives
///
/// Whoever is polled: [`recv`](Self::recv) also writes, [`send`](Self::send) also flushes. A small task beside it, the *keeper*, sees to pings, pongs and
/// deadlines while nobody is polled, so a program that only sends, only receives, or does neither for a while stays connected.
///
/// # When bytes leave
///
/// `send` writes at once, unless messages that arrived in the same read are still to be received: then their answers leave
/// together, when the last of them has been received, when enough has gathered, or when the task does something else.
///
/// # When it is dropped
///
/// What was sent still leaves, and the connection is closed with 1001 in the background, within
/// [`Config::close_timeout`](sansocket::Config::close_timeout), as long as the runtime runs: at the end of `main`, wait for
/// [`close`](Self::close) or [`flush`](Self::flush), or what the stream has not taken is lost. [`abort`](Self::abort) ends it at once.
pub struct WebSocket<T: Transport, R: Runtime> {
    pub(crate) handle: Handle<T, R>,
    /// Whether the stream has told its end.
    ended: bool,
}

impl<T: Transport, R: Runtime> WebSocket<T, R> {
    /// Goes on with a connection that somebody else began, over its stream, with what has been read and is left in `buf`.
    ///
    /// [`Connection::open`] makes one whose handshake an HTTP server has made. One that is still in its handshake completes it when it is
    /// driven; a request is accepted then. [`Connector`](crate::Connector) and [`Acceptor`](crate::Acceptor) do better.
    ///
    /// Spawns a task, so it has to be called in the runtime if the runtime asks for that, as tokio does.
    pub fn new(connection: Connection, transport: T, buf: RecvBuf) -> Self {
        Self::start(Shared::new(connection, transport, buf))
    }

    pub(crate) fn start(shared: Arc<Shared<T>>) -> Self {
        shared.turn(|driver| driver.wakers.set_unattended(true));
        R::spawn(Keeper::<T, R>::new(Arc::clone(&shared)));
        Self { handle: Handle::new(shared), ended: false }
    }

    /// Receives the next message; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    /// [`Error::Closed`] when it ended in any other way; again each time. [`closed`](Self::closed) tells how in both cases.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.handle.recv().await
    }

    /// Receives the next message for a look: `look` is called with a slice of the receive buffer, and nothing is allocated. It must not
    /// use a handle of any connection: two that look at each other's would both wait. A channel leads out of it.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_with<O>(&mut self, look: impl FnMut(MessageRef<'_>) -> O) -> Result<Option<O>, Error> {
        self.handle.recv_with(look).await
    }

    /// Waits for the next message, to receive it in pieces; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_pieces(&mut self) -> Result<Option<MessageReader<'_, T, R>>, Error> {
        MessageReader::begin(&self.handle).await
    }

    /// Answers messages until the connection is closed: `answer` is called with a slice of the receive buffer for each, and with the
    /// connection, to which it may give one order for each at least. Nothing is allocated, and the answers to all that came in one read leave in one
    /// write. It must not block, nor use a handle of any connection: two that answer with each other's would both wait. A channel leads out of it.
    ///
    /// The fastest way for whoever has an answer at once. Dropped before it is ready, it has answered what it has received.
    ///
    /// # Errors
    /// [`Error::Closed`] when it ended in any way but cleanly.
    pub async fn answer_with(
        &mut self,
        answer: impl FnMut(MessageRef<'_>, &mut Connection, Instant),
    ) -> Result<(), Error> {
        self.handle.answer_with(answer).await
    }

    /// Sends a message: waits until there is room for it, not until the peer has it.
    ///
    /// While the stream takes nothing, because the peer sends and does not read either, what arrives is read and kept for
    /// [`recv`](Self::recv), up to [`Config::message_len_max`](sansocket::Config::message_len_max) bytes.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over, [`Error::Send`] when it is closing.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.handle.order(WhileStalled::Read, |connection, now| connection.send(now, &message)).await
    }

    /// Sends a text message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&mut self, text: &str) -> Result<(), Error> {
        self.handle.order(WhileStalled::Read, |connection, now| connection.send_text(now, text)).await
    }

    /// Sends a binary message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.handle.order(WhileStalled::Read, |connection, now| connection.send_binary(now, payload)).await
    }

    /// Sends a message in pieces.
    pub fn send_pieces(&mut self, kind: MessageKind) -> MessageWriter<'_, T, R> {
        MessageWriter::new(&self.handle, WhileStalled::Read, kind)
    }

    /// Sends a ping; the heartbeat sends its own.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Send`] for a payload of more than 125 bytes.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.handle.order(WhileStalled::Read, |connection, now| connection.ping(now, payload)).await
    }

    /// Waits until the stream has taken all that was sent. What arrives meanwhile is read and kept, as by [`send`](Self::send).
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended before.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.handle.poll_flush(cx, WhileStalled::Read)).await
    }

    /// Closes the connection, and waits for its end, for [`Config::close_timeout`](sansocket::Config::close_timeout) at most (10 s unless set).
    /// Messages that still arrive are discarded; to receive them, use [`start_close`](Self::start_close) and go on receiving. Of a connection
    /// that is closing already, it just waits for the end.
    ///
    /// Dropped before it is ready, it may have begun the closing handshake, which goes on.
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes; [`Error::Closed`] when the end is not clean.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        self.handle.close(code, reason).await
    }

    /// Begins to close the connection; messages may still arrive until [`recv`](Self::recv) returns `None`.
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub fn start_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.handle.start_close(code, reason)
    }

    /// Ends the connection at once: what waits to be written is discarded, the stream dropped.
    pub fn abort(self) {
        self.handle.with_connection(|connection, _| connection.abort());
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.closed()
    }

    /// How far the connection is.
    pub fn state(&self) -> ReadyState {
        self.handle.look(|driver| driver.connection.state())
    }

    /// The round trip of the last heartbeat.
    pub fn rtt(&self) -> Option<Duration> {
        self.handle.look(|driver| driver.connection.rtt())
    }

    /// The subprotocol that the handshake settled on.
    pub fn subprotocol(&self) -> Option<String> {
        self.handle.look(|driver| driver.connection.subprotocol().map(str::to_owned))
    }

    /// The whole API of the core, then flushed as [`send`](Self::send) does. `order` must not block, nor use a handle of any connection.
    pub fn with_connection<O>(&mut self, order: impl FnOnce(&mut Connection, Instant) -> O) -> O {
        self.handle.with_connection(order)
    }

    /// Looks at the stream, for its peer's address; `None` once it has been dropped.
    pub fn with_transport<O>(&self, look: impl FnOnce(&T) -> O) -> Option<O> {
        self.handle.look(|driver| driver.transport().map(look))
    }

    /// Two halves for different tasks; the sending one can be cloned.
    pub fn split(self) -> (Sender<T, R>, Receiver<T, R>) {
        let handle = Arc::new(self.handle);
        (Sender::new(Arc::clone(&handle)), Receiver::new(handle))
    }
}

/// Messages, until the connection is closed or fails: a failure is the last item, a clean end just ends the stream.
impl<T: Transport, R: Runtime> Stream for WebSocket<T, R> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.handle.poll_next(cx, &mut this.ended)
    }
}

impl<T: Transport, R: Runtime> FusedStream for WebSocket<T, R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T: Transport, R: Runtime> Sink<Message> for WebSocket<T, R> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.poll_room(cx, WhileStalled::Read)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.handle.feed(&message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.poll_flush(cx, WhileStalled::Read)
    }

    /// Begins to close with 1000 and flushes; messages may still arrive until the stream of them ends.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.handle.poll_close(cx, WhileStalled::Read)
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for WebSocket<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt("WebSocket", f)
    }
}
