//! Handles of one connection, for one task or several.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_core::Stream;
use futures_sink::Sink;
use sansocket::{CloseCode, Closed, Connection, Message, SendError};

use crate::driver::{Driver, MessageRef, Received, Shared};
use crate::keeper::ATTENTION;
use crate::{Error, Runtime, Transport};

/// What all handles of a connection share. When it is dropped, the connection is abandoned to the keeper.
pub(crate) struct Handle<T: Transport, R: Runtime> {
    pub(crate) shared: Arc<Shared<T>>,
    runtime: PhantomData<fn() -> R>,
}

impl<T: Transport, R: Runtime> Handle<T, R> {
    pub(crate) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, runtime: PhantomData }
    }

    pub(crate) async fn recv(&self) -> Result<Option<Message>, Error> {
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_recv(cx)).await
    }

    pub(crate) async fn recv_with<O>(&self, mut look: impl FnMut(MessageRef<'_>) -> O) -> Result<Option<O>, Error> {
        let waiting = Waiting(self);
        match poll_fn(|cx| waiting.0.poll_received(cx, &mut |message| Some(look(message)))).await {
            Received::Looked(looked) => Ok(Some(looked)),
            Received::Message(_) => Ok(None),
            Received::Closed => self.end(),
        }
    }

    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match ready!(self.poll_received(cx, &mut |_| None::<()>)) {
            Received::Message(message) => Poll::Ready(Ok(Some(message))),
            Received::Looked(()) => Poll::Ready(Ok(None)),
            Received::Closed => Poll::Ready(self.end()),
        }
    }

    pub(crate) fn poll_received<O>(
        &self,
        cx: &mut Context<'_>,
        look: &mut dyn FnMut(MessageRef<'_>) -> Option<O>,
    ) -> Poll<Received<O>> {
        let now = R::now();
        let mut driver = self.shared.lock();
        let received = driver.poll_message(now, &self.shared.wakers, cx, look);
        self.look_after(&driver, now);
        received
    }

    /// The end, as [`recv`](Self::recv) reports it.
    fn end<O>(&self) -> Result<Option<O>, Error> {
        let driver = self.shared.lock();
        match &driver.closed {
            Some(closed) if !closed.clean => Err(driver.error(closed)),
            _ => Ok(None),
        }
    }

    /// Gives an order for which there may have to be room, and waits until there is.
    pub(crate) async fn order(
        &self,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        poll_fn(|cx| {
            let now = R::now();
            let mut driver = self.shared.lock();
            loop {
                match order(&mut driver.connection, now) {
                    Ok(()) => {
                        self.leave(&mut driver, now);
                        return Poll::Ready(Ok(()));
                    }
                    Err(SendError::AboveHighWaterMark { .. }) => ready!(self.make_room(&mut driver, now, cx)),
                    Err(refused) => return Poll::Ready(Err(driver.refusal(refused))),
                }
            }
        })
        .await
    }

    /// Writes what blocks the way; pending when the stream takes nothing.
    fn make_room(&self, driver: &mut Driver<T>, now: Instant, cx: &Context<'_>) -> Poll<()> {
        if driver.write_out(now) {
            return Poll::Ready(());
        }
        self.shared.wakers.add_sender(cx);
        if driver.write_out(now) || driver.is_over() {
            return Poll::Ready(());
        }
        self.look_after(driver, now);
        Poll::Pending
    }

    /// Lets what was queued leave: at once, or with the answers to what is left of the same read.
    fn leave(&self, driver: &mut Driver<T>, now: Instant) {
        let more_to_answer = !driver.buf.unread().is_empty();
        if more_to_answer && driver.connection.buffered_len() < BATCH_LEN_MAX {
            if !driver.leaves_later {
                // Unless the task goes on receiving, the keeper has its turn next.
                driver.leaves_later = true;
                self.shared.wakers.wake_keeper();
            }
        } else {
            if driver.write_out(now) {
                self.shared.wakers.wake_senders();
            }
            driver.obey();
        }
        self.look_after(driver, now);
    }

    /// Wakes the keeper if it would look too late.
    fn look_after(&self, driver: &Driver<T>, now: Instant) {
        let attention = driver.handed_out_at.map(|_| now + ATTENTION);
        let next = match (driver.connection.poll_timeout(), attention) {
            (Some(deadline), Some(attention)) => Some(deadline.min(attention)),
            (deadline, attention) => deadline.or(attention),
        };
        if let Some(next) = next
            && driver.keeper_at.is_none_or(|at| at > next)
        {
            self.shared.wakers.wake_keeper();
        }
    }

    pub(crate) fn with_connection<O>(&self, order: impl FnOnce(&mut Connection, Instant) -> O) -> O {
        let now = R::now();
        let mut driver = self.shared.lock();
        let done = order(&mut driver.connection, now);
        self.leave(&mut driver, now);
        done
    }

    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let now = R::now();
        let mut driver = self.shared.lock();
        while driver.connection.is_paused() && !driver.is_over() {
            ready!(self.make_room(&mut driver, now, cx));
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn feed(&self, message: &Message) -> Result<(), Error> {
        let now = R::now();
        let mut driver = self.shared.lock();
        let fed = driver.connection.send(now, message);
        fed.map_err(|refused| driver.refusal(refused))
    }

    pub(crate) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let now = R::now();
        let mut driver = self.shared.lock();
        while !driver.is_flushed() {
            if let Some(closed) = &driver.closed {
                return Poll::Ready(Err(driver.error(closed)));
            }
            ready!(self.make_room(&mut driver, now, cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Closes with 1000, and waits for the end.
    pub(crate) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.with_connection(|connection, now| connection.close(now, CloseCode::NORMAL, ""))?;
        while !matches!(ready!(self.poll_received(cx, &mut |_| Some(()))), Received::Closed) {}
        Poll::Ready(self.end::<()>().map(drop))
    }
}

impl<T: Transport, R: Runtime> Drop for Handle<T, R> {
    fn drop(&mut self) {
        self.shared.lock().abandoned = true;
        self.shared.wakers.clear_reader();
        self.shared.wakers.wake_keeper();
    }
}

/// A reader that may be dropped while it waits.
struct Waiting<'h, T: Transport, R: Runtime>(&'h Handle<T, R>);

impl<T: Transport, R: Runtime> Drop for Waiting<'_, T, R> {
    fn drop(&mut self) {
        self.0.shared.wakers.clear_reader();
    }
}

/// The sending half of a WebSocket. Clone it for as many tasks as you like; each message is taken whole.
pub struct Sender<T: Transport, R: Runtime>(Arc<Handle<T, R>>);

impl<T: Transport, R: Runtime> Sender<T, R> {
    pub(crate) fn new(handle: Arc<Handle<T, R>>) -> Self {
        Self(handle)
    }

    /// Sends a message: waits until there is room for it, not until the peer has it.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over, [`Error::Send`] when it is closing.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.0.order(|connection, now| connection.send(now, &message)).await
    }

    /// Sends a text message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        self.0.order(|connection, now| connection.send_text(now, text)).await
    }

    /// Sends a binary message, copied into the output.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_binary(&self, payload: &[u8]) -> Result<(), Error> {
        self.0.order(|connection, now| connection.send_binary(now, payload)).await
    }

    /// Sends a ping; the heartbeat sends its own.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Send`] for a payload of more than 125 bytes.
    pub async fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.0.order(|connection, now| connection.ping(now, payload)).await
    }

    /// Waits until the stream has taken all that was sent.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended before.
    pub async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.0.poll_flush(cx)).await
    }

    /// Begins to close the connection; the [`Receiver`] tells when it is over.
    ///
    /// # Errors
    /// [`Error::Send`] for a code or reason that may not be sent.
    pub fn start_close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        Ok(self.0.with_connection(|connection, now| connection.close(now, code, reason))?)
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.0.shared.lock().closed.clone()
    }

    /// The whole API of the core, then flushed as [`send`](Self::send) does. `order` must not block.
    pub fn with_connection<O>(&self, order: impl FnOnce(&mut Connection, Instant) -> O) -> O {
        self.0.with_connection(order)
    }
}

impl<T: Transport, R: Runtime> Clone for Sender<T, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Transport, R: Runtime> Sink<Message> for Sender<T, R> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        self.0.feed(&message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush(cx)
    }

    /// Flushes, and begins to close; the [`Receiver`] tells when it is over.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.start_close(CloseCode::NORMAL, "")?;
        self.0.poll_flush(cx)
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for Sender<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.0.shared.lock().connection).finish()
    }
}

/// The receiving half of a WebSocket.
pub struct Receiver<T: Transport, R: Runtime>(Arc<Handle<T, R>>);

impl<T: Transport, R: Runtime> Receiver<T, R> {
    pub(crate) fn new(handle: Arc<Handle<T, R>>) -> Self {
        Self(handle)
    }

    /// Receives the next message; `None` when the connection was closed cleanly.
    ///
    /// # Errors
    /// [`Error::Closed`] when it ended in any other way.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.0.recv().await
    }

    /// Receives the next message for a look: `look` is called with a slice of the receive buffer, and nothing is allocated.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_with<O>(&mut self, look: impl FnMut(MessageRef<'_>) -> O) -> Result<Option<O>, Error> {
        self.0.recv_with(look).await
    }

    /// How the connection ended, once it has.
    pub fn closed(&self) -> Option<Closed> {
        self.0.shared.lock().closed.clone()
    }
}

impl<T: Transport, R: Runtime> Stream for Receiver<T, R> {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(Result::transpose)
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for Receiver<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.0.shared.lock().connection).finish()
    }
}

/// So much output does not wait for more of its kind.
const BATCH_LEN_MAX: usize = 16 * 1024;
