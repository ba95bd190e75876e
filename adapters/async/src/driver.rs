//! The one pump: everything that happens between a connection, its stream and whoever waits for them.
//!
//! Whoever is polled drives: a reader, a sender, or the *keeper*, a task that does what is due while the others are away (see
//! `keeper.rs`). They take turns under one lock, which is never held while waiting.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use sansocket::{Closed, Connection, Event, Message, RecvBuf, SendError, StreamOrder};

use crate::wakers::Wakers;
use crate::{Error, Transport};

pub(crate) struct Shared<T> {
    pub(crate) wakers: Arc<Wakers>,
    driver: Mutex<Driver<T>>,
}

/// A connection, its stream, and what is left between two polls.
pub(crate) struct Driver<T> {
    pub(crate) connection: Connection,
    /// Holds memory only in the middle of a message or a batch.
    pub(crate) buf: RecvBuf,
    transport: Option<T>,
    /// Of [`Wakers`], kept so that it need not be made for each poll.
    stream_waker: Waker,
    /// A layer below may hold what was written.
    flush_due: bool,
    shutdown_due: bool,
    pub(crate) closed: Option<Closed>,
    failure: Option<Arc<io::Error>>,
    /// Whether something was left to leave together with what is sent next.
    pub(crate) leaves_later: bool,
    /// Nobody is left who would receive.
    pub(crate) abandoned: bool,
    /// When a message was last handed out.
    pub(crate) handed_out_at: Option<Instant>,
    /// When the keeper looks next.
    pub(crate) keeper_at: Option<Instant>,
}

/// How a reader wants its message.
pub(crate) enum Received<R> {
    Message(Message),
    /// What the look at a lent message came to.
    Looked(R),
    /// The connection is over.
    Closed,
}

/// A message that is lent for a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageRef<'b> {
    /// UTF-8.
    Text(&'b str),
    /// Any bytes.
    Binary(&'b [u8]),
}

impl<T> Shared<T> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Driver<T>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transport> Shared<T> {
    pub(crate) fn new(connection: Connection, transport: T, buf: RecvBuf) -> Self {
        let wakers = Arc::new(Wakers::default());
        let driver = Driver {
            connection,
            buf,
            transport: Some(transport),
            stream_waker: Waker::from(Arc::clone(&wakers)),
            flush_due: false,
            shutdown_due: false,
            closed: None,
            failure: None,
            leaves_later: false,
            abandoned: false,
            handed_out_at: None,
            keeper_at: None,
        };
        Self { wakers, driver: Mutex::new(driver) }
    }
}

impl<T: Transport> Driver<T> {
    /// The next message, or the end. `look` may take a lent message; what it returns `None` for is handed out owned.
    pub(crate) fn poll_message<R>(
        &mut self,
        now: Instant,
        wakers: &Wakers,
        cx: &Context<'_>,
        look: &mut dyn FnMut(MessageRef<'_>) -> Option<R>,
    ) -> Poll<Received<R>> {
        let mut waiting = false;
        let received = loop {
            let looked = match self.connection.poll_event(now, &mut self.buf) {
                Some(Event::Text(text)) => look(MessageRef::Text(text)),
                Some(Event::Binary(bytes)) => look(MessageRef::Binary(bytes)),
                Some(Event::Closed(closed)) => {
                    self.closed = Some(closed);
                    continue;
                }
                Some(_) => continue,
                None => {
                    if self.poll_stream(now, wakers).is_ready() {
                        continue;
                    }
                    if self.closed.is_some() {
                        break Received::Closed;
                    }
                    if waiting {
                        self.park();
                        return Poll::Pending;
                    }
                    // Once more, lest something happened before the reader was known.
                    wakers.set_reader(cx);
                    waiting = true;
                    continue;
                }
            };
            if let Some(looked) = looked {
                break Received::Looked(looked);
            }
            if let Some(message) = self.buf.take_message() {
                break Received::Message(message);
            }
        };
        if waiting {
            wakers.clear_reader();
        }
        self.handed_out_at = Some(now);
        if self.buf.is_empty() {
            self.park();
        }
        Poll::Ready(received)
    }

    /// Does with the stream what can be done now; ready when it is worth polling for events again.
    pub(crate) fn poll_stream(&mut self, now: Instant, wakers: &Wakers) -> Poll<()> {
        let wrote = self.write_out(now);
        if wrote {
            wakers.wake_senders();
        }
        let was_over = self.closed.is_some();
        self.obey();
        if wrote || was_over != self.closed.is_some() {
            return Poll::Ready(());
        }
        if self.connection.wants_read() { self.read_in() } else { Poll::Pending }
    }

    /// Writes until the stream takes no more; whether it took anything.
    pub(crate) fn write_out(&mut self, now: Instant) -> bool {
        self.leaves_later = false;
        let waker = self.stream_waker.clone();
        let cx = &mut Context::from_waker(&waker);
        let mut wrote = false;
        while self.connection.buffered_len() > 0 {
            let Some(transport) = &mut self.transport else { break };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.connection.outgoing_slices(&mut slices);
            match transport.poll_write(cx, slices.get(..filled).unwrap_or_default()) {
                Poll::Pending => return wrote,
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.connection.advance_outgoing(now, n);
                    self.flush_due = true;
                    wrote = true;
                }
                Poll::Ready(Ok(_)) => self.fail(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => self.fail(error),
            }
        }
        if self.flush_due
            && let Some(transport) = &mut self.transport
        {
            match transport.poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(error)) => self.fail(error),
            }
        }
        if self.shutdown_due
            && !self.flush_due
            && let Some(transport) = &mut self.transport
        {
            // A stream that cannot be shut down any more needs no end.
            self.shutdown_due = transport.poll_shutdown(cx).is_pending();
        }
        wrote
    }

    /// Obeys the orders for the stream, and keeps the report once there is one.
    pub(crate) fn obey(&mut self) {
        while let Some(order) = self.connection.poll_stream() {
            match order {
                StreamOrder::ShutdownWrite => {
                    self.shutdown_due = true;
                    let waker = self.stream_waker.clone();
                    if let (Some(transport), false) = (&mut self.transport, self.flush_due) {
                        self.shutdown_due = transport.poll_shutdown(&mut Context::from_waker(&waker)).is_pending();
                    }
                }
                StreamOrder::Drop => self.transport = None,
            }
        }
    }

    fn read_in(&mut self) -> Poll<()> {
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        borrow_scratch(&mut self.buf);
        match transport.poll_read(&mut Context::from_waker(&self.stream_waker), self.buf.spare_mut()) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => self.connection.handle_eof(),
            Poll::Ready(Ok(n)) => self.buf.advance_received(n),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => self.fail(error),
        }
        Poll::Ready(())
    }

    /// Gives the thread's buffer back to it.
    pub(crate) fn park(&mut self) {
        return_scratch(&mut self.buf);
    }

    fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert_with(|| Arc::new(error));
        self.connection.handle_transport_error();
    }

    /// The end as an error.
    pub(crate) fn error(&self, closed: &Closed) -> Error {
        Error::Closed { closed: closed.clone(), source: self.failure.clone() }
    }

    /// Why an order was refused: the end, if there is one.
    pub(crate) fn refusal(&self, refused: SendError) -> Error {
        match &self.closed {
            Some(closed) => self.error(closed),
            None => Error::Send(refused),
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.failure.clone()
    }

    /// Whether the stream has taken everything.
    pub(crate) fn is_flushed(&self) -> bool {
        self.connection.buffered_len() == 0 && !self.flush_due
    }

    pub(crate) fn is_over(&self) -> bool {
        self.transport.is_none()
    }

    pub(crate) fn transport(&self) -> Option<&T> {
        self.transport.as_ref()
    }
}

thread_local! {
    /// The buffer that the connections of a thread read into in turn.
    static SCRATCH: Cell<Option<RecvBuf>> = const { Cell::new(None) };
}

/// Makes room to read into: in the thread's buffer, unless much is left in the connection's own.
fn borrow_scratch(buf: &mut RecvBuf) {
    if buf.capacity() == 0 || buf.len() < OWN_LEN_MIN && buf.capacity() < sansocket::buffer::READ_SIZE {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.take_over(buf);
        *buf = scratch;
    }
}

/// Gives the thread's buffer back, and keeps in a small one of its own what is left.
fn return_scratch(buf: &mut RecvBuf) {
    if buf.capacity() == 0 {
        return;
    }
    if !buf.is_empty() {
        if buf.len() < OWN_LEN_MIN && buf.capacity() >= sansocket::buffer::READ_SIZE {
            let mut own = RecvBuf::default();
            own.take_over(buf);
            SCRATCH.set(Some(std::mem::replace(buf, own)));
        }
        return;
    }
    SCRATCH.set(Some(std::mem::take(buf)));
}

/// What is left of a message is moved out of the thread's buffer up to this size; a connection with more keeps a buffer of its own.
const OWN_LEN_MIN: usize = 4096;
/// How many stretches leave in one write at most.
const SLICES_MAX: usize = 16;
