//! Handles of one connection, for one task or several.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use sansocket::{CloseCode, Closed, Connection, Message, MessageKind, SendError};

use crate::driver::{Driver, MessageRef, Received, Shared, Users, WhileStalled};
use crate::{Error, MessageReader, MessageWriter, Runtime, Transport};

/// What all handles of a connection share. When it is dropped, the connection is abandoned to the keeper.
pub(crate) struct Handle<T: Transport, R: Runtime> {
    shared: Arc<Shared<T>>,
    runtime: PhantomData<fn() -> R>,
}

impl<T: Transport, R: Runtime> Handle<T, R> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, runtime: PhantomData }
    }

    pub(crate) fn look<O>(&self, look: impl FnOnce(&Driver<T>) -> O) -> O {
        self.shared.look(look)
    }

    /// Takes a turn. The time is asked for in it, so that it never runs backwards for the connection.
    pub(crate) fn turn<O>(&self, act: impl FnOnce(&mut Driver<T>, Instant) -> O) -> O {
        self.shared.turn(|driver| {
            let now = driver.now_or(R::now);
            act(driver, now)
        })
    }

    pub(crate) async fn recv(&self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    pub(crate) async fn recv_with<O>(&self, mut look: impl FnMut(MessageRef<'_>) -> O) -> Result<Option<O>, Error> {
        match poll_fn(|cx| self.poll_received(cx, &mut |message| Some(look(message)))).await {
            Received::Looked(looked) => Ok(Some(looked)),
            Received::Message(_) => Ok(None),
            Received::Closed => self.end().map(|()| None),
        }
    }

    pub(crate) async fn answer_with(
        &self,
        mut answer: impl FnMut(MessageRef<'_>, &mut Connection, Instant),
    ) -> Result<(), Error> {
        poll_fn(|cx| self.turn(|driver, now| driver.poll_answered(now, cx, &mut answer))).await;
        self.end()
    }

    fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        Poll::Ready(match ready!(self.poll_received(cx, &mut |_| None::<()>)) {
            Received::Message(message) => Ok(Some(message)),
            Received::Looked(()) => Ok(None),
            Received::Closed => self.end().map(|()| None),
        })
    }

    /// Like [`poll_recv`](Self::poll_recv), but an error is told once.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>, ended: &mut bool) -> Poll<Option<Result<Message, Error>>> {
        if *ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.poll_recv(cx)).transpose();
        *ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }

    fn poll_received<O>(
        &self,
        cx: &mut Context<'_>,
        look: &mut dyn FnMut(MessageRef<'_>) -> Option<O>,
    ) -> Poll<Received<O>> {
        self.turn(|driver, now| driver.poll_message(now, cx, look))
    }

    /// The end, as [`recv`](Self::recv) reports it.
    fn end(&self) -> Result<(), Error> {
        self.look(Driver::end)
    }

    /// Gives an order for which there may have to be room, and waits until there is.
    pub(crate) async fn order(
        &self,
        while_stalled: WhileStalled,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        poll_fn(|cx| self.turn(|driver, now| driver.poll_order(now, cx, while_stalled, &mut order))).await
    }

    pub(crate) fn with_connection<O>(&self, order: impl FnOnce(&mut Connection, Instant) -> O) -> O {
        self.turn(|driver, now| {
            let done = order(&mut driver.connection, now);
            driver.leave(now);
            done
        })
    }

    pub(crate) fn start_close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        Ok(self.with_connection(|connection, now| connection.close(now, code, reason))?)
    }

    /// Closes, and waits for the end; what still arrives is discarded.
    pub(crate) async fn close(&self, code: CloseCode, reason: &str) -> Result<Closed, Error> {
        self.start_close(code, reason)?;
        loop {
            if let Received::Closed = poll_fn(|cx| self.poll_received(cx, &mut |_| Some(()))).await {
                self.end()?;
                if let Some(closed) = self.closed() {
                    return Ok(closed);
                }
            }
        }
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        self.look(|driver| driver.connection.closed().cloned())
    }

    pub(crate) fn poll_room(&self, cx: &Context<'_>, while_stalled: WhileStalled) -> Poll<Result<(), Error>> {
        self.turn(|driver, now| driver.poll_room(now, cx, while_stalled))
    }

    /// Queues a message, for which [`poll_room`](Self::poll_room) found room.
    pub(crate) fn feed(&self, message: &Message) -> Result<(), Error> {
        self.turn(|driver, now| driver.connection.send(now, message).map_err(|refused| driver.refusal(refused)))
    }

    /// What is said to whoever does not wait for room.
    pub(crate) fn no_room(&self) -> Error {
        self.look(|driver| {
            let (buffered, config) = (driver.connection.buffered_len(), driver.connection.config());
            Error::Send(SendError::AboveHighWaterMark { buffered, high_water_mark: config.high_water_mark })
        })
    }

    pub(crate) fn poll_flush(&self, cx: &Context<'_>, while_stalled: WhileStalled) -> Poll<Result<(), Error>> {
        self.turn(|driver, now| driver.poll_flushed(now, cx, while_stalled))
    }

    /// Begins to close with 1000, and flushes.
    pub(crate) fn poll_close(&self, cx: &Context<'_>, while_stalled: WhileStalled) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL, "")?;
        self.poll_flush(cx, while_stalled)
    }

    fn users_left(&self, users: Users) {
        self.turn(|driver, now| driver.users_left(now, users));
    }

    pub(crate) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look(|driver| f.debug_tuple(name).field(&driver.connection).finish())
    }
}

impl<T: Transport, R: Runtime> Drop for Handle<T, R> {
    fn drop(&mut self) {
        self.users_left(Users::Nobody);
    }
}

/// The sending half of a WebSocket. Clone it for as many tasks as you like: what one of them sends keeps its order, and each message is
/// taken whole.
///
/// It works on without the [`Receiver`]. The connection closes when all halves are gone, as a [`WebSocket`](crate::WebSocket) does that is dropped.
pub struct Sender<T: Transport, R: Runtime> {
    handle: Arc<Handle<T, R>>,
    /// A message that was given to the sink while others had taken its room.
    waiting: Mutex<Option<Message>>,
}

impl<T: Transport, R: Runtime> Sender<T, R> {
    pub(crate) fn new(handle: Arc<Handle<T, R>>) -> Self {
        Self { handle, waiting: Mutex::default() }
    }

    /// Sends a message: waits until there is room for it, not until the peer has it.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over, [`Error::Send`] when it is closing.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.order(|connection, now| connection.send(now, &message)).await
    }

    /// Sends a text message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        self.order(|connection, now| connection.send_text(now, text)).await
    }

    /// Sends a binary message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, payload: &[u8]) -> Result<(), Error> {
        self.order(|connection, now| connection.send_binary(now, payload)).await
    }

    /// Sends a message in pieces. Those of all other senders wait from its first piece to its last.
    pub fn send_pieces(&self, kind: MessageKind) -> MessageWriter<'_, T, R> {
        MessageWriter::new(&self.handle, WhileStalled::Wait, kind)
    }

    /// Sends a ping; the heartbeat sends its own.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Send`] for a payload of more than 125 bytes.
    pub async fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.order(|connection, now| connection.ping(now, payload)).await
    }

    /// Waits until the stream has taken all that was sent.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection has failed.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    /// Begins to close the connection; the [`Receiver`] tells when it is over, within [`Config::close_timeout`](sansocket::Config::close_timeout)
    /// (10 s unless set).
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub fn start_close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.handle.start_close(code, reason)
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.closed()
    }

    /// The whole API of the core, then flushed as [`send`](Self::send) does. `order` must not block, nor use a handle of any connection.
    pub fn with_connection<O>(&self, order: impl FnOnce(&mut Connection, Instant) -> O) -> O {
        self.handle.with_connection(order)
    }
}

impl<T: Transport, R: Runtime> Clone for Sender<T, R> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.handle))
    }
}

impl<T: Transport, R: Runtime> Sender<T, R> {
    /// Gives an order for which there may have to be room, and waits until there is.
    pub(crate) async fn order(
        &self,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        poll_fn(|cx| {
            ready!(self.poll_waiting(cx))?;
            self.poll_order(cx, &mut order)
        })
        .await
    }

    /// Sends what the sink was given.
    fn poll_waiting(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        // Nobody else is kept from it while others are woken.
        let Some(message) = self.waiting().take() else { return Poll::Ready(Ok(())) };
        let sent = self.poll_order(cx, &mut |connection, now| connection.send(now, &message));
        if sent.is_pending() {
            *self.waiting() = Some(message);
        }
        sent
    }

    fn poll_order(
        &self,
        cx: &Context<'_>,
        order: &mut dyn FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Poll<Result<(), Error>> {
        self.handle.turn(|driver, now| driver.poll_order(now, cx, WhileStalled::Wait, order))
    }

    fn poll_flushed(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        self.handle.poll_flush(cx, WhileStalled::Wait)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Message>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transport, R: Runtime> Sink<Message> for Sender<T, R> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        self.handle.poll_room(cx, WhileStalled::Wait)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let mut waiting = self.waiting();
        if waiting.is_some() {
            return Err(self.handle.no_room());
        }
        match self.handle.feed(&message) {
            Err(Error::Send(SendError::AboveHighWaterMark { .. } | SendError::MessageUnfinished)) => {
                *waiting = Some(message);
                Ok(())
            }
            fed => fed,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flushed(cx)
    }

    /// Begins to close with 1000 and flushes; the [`Receiver`] tells when it is over.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        self.handle.poll_close(cx, WhileStalled::Wait)
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for Sender<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt("Sender", f)
    }
}

/// The receiving half of a WebSocket.
///
/// When it is dropped while there are [`Sender`]s, what arrives is discarded from then on: they can go on sending, pings are answered,
/// and the peer can close.
pub struct Receiver<T: Transport, R: Runtime> {
    handle: Arc<Handle<T, R>>,
    /// Whether the stream has told its end.
    ended: bool,
}

impl<T: Transport, R: Runtime> Receiver<T, R> {
    pub(crate) fn new(handle: Arc<Handle<T, R>>) -> Self {
        Self { handle, ended: false }
    }

    /// Receives the next message; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    /// [`Error::Closed`] when it ended in any other way; again each time.
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

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.handle.closed()
    }
}

impl<T: Transport, R: Runtime> Drop for Receiver<T, R> {
    fn drop(&mut self) {
        self.handle.users_left(Users::Senders);
    }
}

/// Messages, until the connection is closed or fails: a failure is the last item, a clean end just ends the stream.
impl<T: Transport, R: Runtime> Stream for Receiver<T, R> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.handle.poll_next(cx, &mut this.ended)
    }
}

impl<T: Transport, R: Runtime> FusedStream for Receiver<T, R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for Receiver<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle.fmt("Receiver", f)
    }
}
