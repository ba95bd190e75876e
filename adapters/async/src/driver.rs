//! The one pump: everything that happens between a connection, its stream and whoever waits for them.
//!
//! Whoever is polled drives: a reader, a sender, or the *keeper*, a task that does what is due while the others are away (see
//! `keeper.rs`). They take turns under one lock, which is never held while waiting, nor while anybody is woken.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use sansocket::connection::CONTROL_ROOM;
use sansocket::{
    Acceptance, CloseCode, Closed, Connection, Event, Message, ReadyState, RecvBuf, SendError, StreamOrder,
};

use crate::last_words::read_last_words;
use crate::scratch::ScratchBuf;
use crate::wakers::{Due, Wakers, Woken};
use crate::{Error, Transport};

pub(crate) struct Shared<T>(Mutex<Driver<T>>);

/// A connection, its stream, and what is left between two turns.
pub(crate) struct Driver<T> {
    pub(crate) connection: Connection,
    pub(crate) buf: ScratchBuf,
    transport: Option<T>,
    pub(crate) wakers: Arc<Wakers>,
    /// Of `wakers`, kept so that it need not be made for each poll.
    stream_waker: Waker,
    /// A layer below may hold what was written.
    flush_due: bool,
    shutdown_due: bool,
    /// Nothing more can be read.
    read_ended: bool,
    failure: Option<Arc<io::Error>>,
    /// Whether a [`MessageWriter`](crate::MessageWriter) is in the middle of its message.
    pub(crate) writing: bool,
    /// Since when something is left to leave together with what is sent next.
    ///
    /// The keeper sees to it as soon as the task that left it pauses, so up to then the clock need not be read again.
    left_since: Option<Instant>,
    /// Whether the stream was polled in this turn.
    stream_polled: bool,
    pub(crate) users: Users,
    /// Whether a reader has come by since the keeper looked.
    pub(crate) reader_seen: bool,
    /// Whether the keeper has found that none does.
    pub(crate) reader_away: bool,
    /// When the keeper wakes by itself.
    pub(crate) keeper_at: Option<Instant>,
    /// When it sees if the stream is attended to; `None` while it waits for the stream itself.
    pub(crate) keeper_looks_at: Option<Instant>,
    /// When the keeper takes in what arrives although decoding is paused; `None` while it is not, as far as the keeper knows.
    pub(crate) keeper_relieves_at: Option<Instant>,
    /// Whether output waited when it last looked.
    pub(crate) keeper_saw_output: bool,
    /// Whether a sender has said that it waits, and nobody here has woken the senders since.
    senders_wait: bool,
    /// Whom to wake at the end of the turn.
    pub(crate) due: Due,
    /// The state that everybody knows.
    told: ReadyState,
}

/// Who is left on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Users {
    /// Somebody who can receive.
    Receiver,
    /// Senders only: what arrives is discarded.
    Senders,
    /// Nobody: the connection is to be closed.
    Nobody,
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

/// What a sender does while the stream takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhileStalled {
    /// Waits: somebody else may receive.
    Wait,
    /// Reads what arrives into the buffer, for nobody else can, and the peer may be waiting for the same.
    Read,
}

impl<T: Transport> Shared<T> {
    pub(crate) fn new(connection: Connection, transport: T, buf: RecvBuf) -> Arc<Self> {
        let wakers = Arc::new(Wakers::default());
        Arc::new(Self(Mutex::new(Driver {
            told: connection.state(),
            connection,
            buf: ScratchBuf::new(buf),
            transport: Some(transport),
            stream_waker: Waker::from(Arc::clone(&wakers)),
            wakers,
            flush_due: false,
            shutdown_due: false,
            read_ended: false,
            failure: None,
            writing: false,
            left_since: None,
            stream_polled: false,
            users: Users::Receiver,
            reader_seen: false,
            reader_away: false,
            keeper_at: None,
            keeper_looks_at: None,
            keeper_relieves_at: None,
            keeper_saw_output: false,
            senders_wait: false,
            due: Due::default(),
        })))
    }

    /// Takes a turn. Those for whom it has changed something are woken behind it.
    pub(crate) fn turn<O>(&self, act: impl FnOnce(&mut Driver<T>) -> O) -> O {
        let mut driver = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if driver.stream_polled {
            driver.wakers.make_up_for_a_panic();
        }
        let done = act(&mut driver);
        let woken = driver.end_turn();
        drop(driver);
        if let Some(woken) = woken {
            woken.wake();
        }
        done
    }

    /// A look that changes nothing.
    pub(crate) fn look<O>(&self, look: impl FnOnce(&Driver<T>) -> O) -> O {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T: Transport> Driver<T> {
    /// The next message, or the end. `look` may take a lent message; what it returns `None` for is handed out owned.
    pub(crate) fn poll_message<R>(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
        look: &mut dyn FnMut(MessageRef<'_>) -> Option<R>,
    ) -> Poll<Received<R>> {
        self.reader_comes();
        let mut rounds = 0;
        loop {
            let event = if self.connection.is_partly_delivered() {
                // Its reader is gone. The rest is discarded without being joined.
                self.connection.poll_event_in_pieces(now, self.buf.get())
            } else {
                self.connection.poll_event(now, self.buf.get())
            };
            let looked = match event {
                Some(Event::Text(text)) => look(MessageRef::Text(text)),
                Some(Event::Binary(bytes)) => look(MessageRef::Binary(bytes)),
                Some(Event::Request(_)) => {
                    self.accept_unseen(now);
                    continue;
                }
                #[cfg(feature = "deflate")]
                Some(Event::Inflating) => {
                    rounds = ROUNDS_MAX; // It is the others' turn.
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                    continue;
                }
                Some(_) => continue,
                None => {
                    if self.connection.closed().is_some() {
                        return Poll::Ready(Received::Closed);
                    }
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                    continue;
                }
            };
            if let Some(looked) = looked {
                self.handed_out();
                return Poll::Ready(Received::Looked(looked));
            }
            if let Some(message) = self.buf.get().take_message() {
                self.handed_out();
                return Poll::Ready(Received::Message(message));
            }
        }
    }

    /// Lets `answer` see to each message as it comes; ready at the end. What it orders leaves when everything that was read is answered.
    pub(crate) fn poll_answered(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
        answer: &mut dyn FnMut(MessageRef<'_>, &mut Connection, Instant),
    ) -> Poll<()> {
        self.reader_comes();
        let mut rounds = 0;
        loop {
            let event = if self.connection.is_partly_delivered() {
                self.connection.poll_event_in_pieces(now, self.buf.get())
            } else {
                self.connection.poll_event(now, self.buf.get())
            };
            match event {
                Some(Event::Text(text)) => answer(MessageRef::Text(text), &mut self.connection, now),
                Some(Event::Binary(bytes)) => answer(MessageRef::Binary(bytes), &mut self.connection, now),
                #[cfg(feature = "deflate")]
                Some(Event::Inflating) => {
                    rounds = ROUNDS_MAX; // It is the others' turn.
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                }
                Some(Event::Request(_)) => self.accept_unseen(now),
                Some(_) => {}
                None if self.connection.closed().is_some() => return Poll::Ready(()),
                None => ready!(self.poll_stream_for_reader(now, cx, &mut rounds)),
            }
        }
    }

    /// [`poll_stream`](Self::poll_stream) for whoever waits for an event.
    pub(crate) fn poll_stream_for_reader(&mut self, now: Instant, cx: &Context<'_>, rounds: &mut u32) -> Poll<()> {
        *rounds += 1;
        if *rounds <= ROUNDS_MAX && self.poll_stream(now).is_ready() {
            return Poll::Ready(());
        }
        // After so many rounds it is the others' turn.
        self.due.reader |= *rounds > ROUNDS_MAX;
        self.wakers.set_reader(cx);
        self.buf.give_back();
        Poll::Pending
    }

    /// A reader is here.
    pub(crate) fn reader_comes(&mut self) {
        self.reader_seen = true;
        self.reader_away = false;
    }

    /// Accepts the request of a connection that was handed over in the middle of its handshake.
    pub(crate) fn accept_unseen(&mut self, now: Instant) {
        // Without a subprotocol there is nothing in it that could fail to fit the request.
        let _ = self.connection.accept(now, &Acceptance::new());
    }

    /// The reader goes away with a message, and may not come back.
    pub(crate) fn handed_out(&mut self) {
        self.buf.give_back_if_empty();
        self.wakers.set_unattended(true);
        self.due.keeper |= self.keeper_looks_at.is_none();
    }

    /// The stream is about to be polled.
    fn begin_poll(&mut self) {
        if !self.stream_polled {
            self.stream_polled = true;
            self.wakers.begin_turn();
        }
    }

    /// The time that a turn goes by.
    pub(crate) fn now_or(&self, now: impl FnOnce() -> Instant) -> Instant {
        self.left_since.unwrap_or_else(now)
    }

    /// Does with the stream what can be done now; ready when it is worth polling for events again.
    pub(crate) fn poll_stream(&mut self, now: Instant) -> Poll<()> {
        if self.write_out(now) {
            return Poll::Ready(());
        }
        if self.connection.state() >= ReadyState::Closing {
            self.obey();
        }
        if self.connection.wants_read() { self.read_in() } else { Poll::Pending }
    }

    /// Writes and flushes until the stream takes no more; whether that changed anything.
    #[inline]
    pub(crate) fn write_out(&mut self, now: Instant) -> bool {
        self.left_since = None;
        self.has_output() && self.write(now)
    }

    fn write(&mut self, now: Instant) -> bool {
        let was_paused = self.connection.is_paused();
        let mut wrote = false;
        while self.connection.buffered_len() > 0 {
            match self.poll_write() {
                None => break,
                Some(Poll::Pending) => return self.wrote(wrote, was_paused),
                Some(Poll::Ready(Ok(n))) if n > 0 => {
                    self.connection.advance_outgoing(now, n);
                    self.flush_due = true;
                }
                Some(Poll::Ready(Err(error))) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(Poll::Ready(failed)) => {
                    let error = failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    if !self.write_failed(error) {
                        return self.wrote(wrote, was_paused);
                    }
                }
            }
            wrote = true;
        }
        self.begin_poll();
        if let (true, Some(transport)) = (self.flush_due, &mut self.transport) {
            match transport.poll_flush(&mut Context::from_waker(&self.stream_waker)) {
                Poll::Pending => return self.wrote(wrote, was_paused),
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(error)) => {
                    if !self.write_failed(error) {
                        return self.wrote(wrote, was_paused);
                    }
                }
            }
            wrote = true;
        }
        self.shut_down();
        self.wrote(wrote, was_paused)
    }

    fn poll_write(&mut self) -> Option<Poll<io::Result<usize>>> {
        self.begin_poll();
        let (transport, cx) = (self.transport.as_mut()?, &mut Context::from_waker(&self.stream_waker));
        let front = self.connection.outgoing();
        if front.len() == self.connection.buffered_len() {
            return Some(transport.poll_write(cx, &[IoSlice::new(front)]));
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = self.connection.outgoing_slices(&mut slices);
        Some(transport.poll_write(cx, slices.get(..filled).unwrap_or_default()))
    }

    /// Ends the writing direction, when that is due and all before it has left.
    fn shut_down(&mut self) {
        if let (true, false, Some(transport)) = (self.shutdown_due, self.flush_due, &mut self.transport) {
            // A stream that cannot be shut down any more needs no end.
            self.shutdown_due = transport.poll_shutdown(&mut Context::from_waker(&self.stream_waker)).is_pending();
        }
    }

    /// Wakes those who waited for it.
    fn wrote(&mut self, wrote: bool, was_paused: bool) -> bool {
        if wrote {
            self.due.senders |= self.senders_wait;
            self.due.reader |= was_paused;
            // A ping that has left is due a pong.
            self.due.keeper |= was_paused || self.keeper_saw_output;
            self.keeper_relieves_at = None;
        }
        wrote
    }

    /// Obeys the orders for the stream.
    fn obey(&mut self) {
        while let Some(order) = self.connection.poll_stream() {
            match order {
                StreamOrder::ShutdownWrite => {
                    self.shutdown_due = true;
                    self.begin_poll();
                    self.shut_down();
                }
                StreamOrder::Drop => self.transport = None,
            }
        }
    }

    fn read_in(&mut self) -> Poll<()> {
        if self.read_ended || self.transport.is_none() {
            return Poll::Pending;
        }
        self.wakers.set_unattended(false);
        self.begin_poll();
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        match transport.poll_read(&mut Context::from_waker(&self.stream_waker), self.buf.roomy().spare_mut()) {
            Poll::Pending => {
                self.buf.give_back();
                return Poll::Pending;
            }
            Poll::Ready(Ok(0)) => self.handle_eof(),
            Poll::Ready(Ok(n)) => self.buf.get().advance_received(n),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // TLS without a farewell: whether anything was cut off, the closing handshake tells.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => self.handle_eof(),
            Poll::Ready(Err(error)) => self.fail(error),
        }
        self.wakers.set_unattended(true);
        Poll::Ready(())
    }

    fn handle_eof(&mut self) {
        self.read_ended = true;
        self.connection.handle_eof();
    }

    /// Gives an order for which there may have to be room; pending until there is.
    pub(crate) fn poll_order(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
        while_stalled: WhileStalled,
        order: &mut dyn FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Poll<Result<(), Error>> {
        loop {
            if self.is_full(while_stalled) {
                ready!(self.make_room(now, cx, while_stalled));
                continue;
            }
            return Poll::Ready(match order(&mut self.connection, now) {
                Ok(()) => {
                    self.leave(now);
                    Ok(())
                }
                Err(SendError::MessageUnfinished) if self.writing => return self.wait_for_writer(now, cx),
                Err(refused) => Err(self.refusal(refused)),
            });
        }
    }

    /// Whether a message would be taken; pending until one is.
    pub(crate) fn poll_room(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
        while_stalled: WhileStalled,
    ) -> Poll<Result<(), Error>> {
        while self.is_full(while_stalled) {
            ready!(self.make_room(now, cx, while_stalled));
        }
        match self.connection.can_send() {
            Err(SendError::MessageUnfinished) if self.writing => self.wait_for_writer(now, cx),
            can_send => Poll::Ready(can_send.map_err(|refused| self.refusal(refused))),
        }
    }

    /// Whether a sender has to wait for room.
    ///
    /// The answer to an event is taken whatever waits, and decoding pauses then. A sender beside a receiver does not answer: would it have the
    /// answer's place, two ends that both send and receive all the time would both pause, and neither would read what the other writes.
    fn is_full(&self, while_stalled: WhileStalled) -> bool {
        match self.connection.can_send() {
            Err(SendError::AboveHighWaterMark { .. }) => true,
            Ok(()) | Err(SendError::MessageUnfinished) => {
                let mark = self.connection.config().high_water_mark;
                while_stalled == WhileStalled::Wait
                    && self.connection.buffered_len() > mark.saturating_add(CONTROL_ROOM)
            }
            Err(_) => false,
        }
    }

    /// Somebody is in the middle of a message, and wakes the others behind it.
    fn wait_for_writer<O>(&mut self, now: Instant, cx: &Context<'_>) -> Poll<O> {
        self.write_out(now);
        self.add_sender(cx);
        Poll::Pending
    }

    fn add_sender(&mut self, cx: &Context<'_>) {
        self.senders_wait = true;
        self.wakers.add_sender(cx);
    }

    /// Writes what blocks the way; pending when the stream takes nothing.
    fn make_room(&mut self, now: Instant, cx: &Context<'_>, while_stalled: WhileStalled) -> Poll<()> {
        if self.write_out(now) {
            return Poll::Ready(());
        }
        self.read_while_stalled(while_stalled);
        if !self.is_full(while_stalled) {
            return Poll::Ready(()); // The stream failed.
        }
        self.add_sender(cx);
        Poll::Pending
    }

    /// The stream takes nothing: perhaps the peer waits to be read, too.
    fn read_while_stalled(&mut self, while_stalled: WhileStalled) {
        if while_stalled == WhileStalled::Read {
            self.due.senders |= self.read_ahead();
        }
    }

    /// Reads what arrives without decoding it, up to the longest message, so that the peer gets rid of what it may have to before it reads
    /// itself; whether it stopped to let others have their turn.
    pub(crate) fn read_ahead(&mut self) -> bool {
        let max = self.connection.config().message_len_max;
        for _ in 0..ROUNDS_MAX {
            if self.buf.len() as u64 > max || self.read_in().is_pending() {
                return false;
            }
        }
        true
    }

    /// Waits until the stream has taken everything, or the end has.
    pub(crate) fn poll_flushed(
        &mut self,
        now: Instant,
        cx: &Context<'_>,
        while_stalled: WhileStalled,
    ) -> Poll<Result<(), Error>> {
        loop {
            if self.connection.closed().is_some() {
                return Poll::Ready(self.end());
            }
            if self.connection.buffered_len() == 0 && !self.flush_due {
                return Poll::Ready(Ok(()));
            }
            if !self.write_out(now) {
                self.read_while_stalled(while_stalled);
                self.add_sender(cx);
                return Poll::Pending;
            }
        }
    }

    /// Lets what was queued leave: at once, or with the answers to what is left of the same read.
    pub(crate) fn leave(&mut self, now: Instant) {
        let more_to_answer = self.buf.has_unread() && !self.reader_away;
        if !more_to_answer || self.connection.buffered_len() >= BATCH_LEN_MAX {
            self.write_out(now);
        } else if self.left_since.is_none() {
            // Unless the task goes on receiving, the keeper has its turn next.
            self.left_since = Some(now);
            self.due.keeper = true;
        }
    }

    /// What every turn ends with; who is to be woken once the lock has been given back.
    fn end_turn(&mut self) -> Option<Woken> {
        let state = self.connection.state();
        if self.stream_polled || state >= ReadyState::Closing {
            self.buf.give_back_if_empty();
        }
        if state != self.told {
            self.told = state;
            self.due = Due::ALL;
        }
        if state >= ReadyState::Closing {
            self.obey();
        }
        // What brings a deadline nearer: output that waits, and a message that is not complete. Of the rest the keeper hears anyway.
        let waits = if self.stream_polled {
            self.has_output() || !self.buf.is_empty()
        } else {
            self.connection.buffered_len() > 0
        };
        if waits && self.left_since.is_none() {
            self.due.keeper |=
                self.connection.poll_timeout().is_some_and(|deadline| self.keeper_at.is_none_or(|at| at > deadline));
        }
        self.due.keeper |= self.connection.is_paused() && self.keeper_relieves_at.is_none();
        // The rest of it is nobody's, should whoever wrote go away: the keeper waits for the stream as soon as it knows.
        self.due.keeper |= self.stream_polled && !self.keeper_saw_output && self.has_output();
        let due = std::mem::take(&mut self.due);
        self.senders_wait &= !due.senders;
        let stream_woke = std::mem::take(&mut self.stream_polled) && self.wakers.end_turn();
        let is_anybody_due = due.reader || due.senders || due.keeper || stream_woke;
        is_anybody_due.then(|| self.wakers.take(due, stream_woke))
    }

    /// A write or a flush failed. What arrived before is read first; whether that is done. Otherwise the next poll fails in the same way.
    #[cold]
    fn write_failed(&mut self, error: io::Error) -> bool {
        self.failure.get_or_insert_with(|| Arc::new(error));
        let len_max = self.connection.config().message_len_max;
        if let (false, Some(transport)) = (self.read_ended, &mut self.transport)
            && !read_last_words(transport, &mut self.buf, len_max)
        {
            self.due = Due::ALL;
            return false;
        }
        self.end_stream();
        true
    }

    fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert_with(|| Arc::new(error));
        self.end_stream();
    }

    /// The stream has failed.
    fn end_stream(&mut self) {
        self.read_ended = true;
        self.flush_due = false;
        self.connection.handle_transport_error();
        // Somebody has to poll for the end.
        self.wakers.set_unattended(true);
        self.due = Due::ALL;
    }

    /// The end, as far as there is one: an error unless it is clean.
    pub(crate) fn end(&self) -> Result<(), Error> {
        match self.connection.closed() {
            Some(closed) if !closed.clean => Err(self.error(closed)),
            _ => Ok(()),
        }
    }

    /// Why an order was refused: the end, if there is one.
    pub(crate) fn refusal(&self, refused: SendError) -> Error {
        match self.connection.closed() {
            Some(closed) => self.error(closed),
            None => Error::Send(refused),
        }
    }

    fn error(&self, closed: &Closed) -> Error {
        Error::Closed { closed: closed.clone(), source: self.failure() }
    }

    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.failure.clone()
    }

    pub(crate) fn transport(&self) -> Option<&T> {
        self.transport.as_ref()
    }

    /// Fewer users are left.
    pub(crate) fn users_left(&mut self, now: Instant, users: Users) {
        self.users = self.users.max(users);
        if self.users == Users::Nobody {
            // Refused only when the end has begun.
            let _ = self.connection.close(now, CloseCode::GOING_AWAY, "");
            // Not left to the keeper, which may have no turn any more when the program ends.
            self.write_out(now);
        }
        self.due.keeper = true;
    }

    /// Whether anything waits for the stream to take it.
    pub(crate) fn has_output(&self) -> bool {
        self.connection.buffered_len() > 0 || self.flush_due || self.shutdown_due
    }
}

/// How many stretches leave in one write at most.
pub(crate) const SLICES_MAX: usize = 16;
/// So much output does not wait for more of its kind.
const BATCH_LEN_MAX: usize = 16 * 1024;
/// How often one poll goes on reading and writing without a message to show for it.
///
/// 32: half a megabyte of a long message, or of a flood of pings; a round through the scheduler costs little beside it. Not every runtime
/// has a budget of its own.
pub(crate) const ROUNDS_MAX: u32 = 32;
