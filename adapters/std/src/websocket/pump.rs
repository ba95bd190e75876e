//! What happens in a call: one loop that decodes, writes, waits and reads, for the owner of a connection.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::connection::AcceptError;
use sansocket::handshake::RequestHead;
use sansocket::{
    Acceptance, Bytes, Closed, Connection, Deadline, Event, Message, MessageKind, ReadyState, Refusal, Rejection,
    SendError,
};

use super::{WebSocket, cost};
use crate::shared::{Called, Core, Outcome, STALL, Sharing, Turn};
use crate::{Error, Transport};

impl<S: Transport> WebSocket<S> {
    /// Completes the opening handshake, or fails to.
    pub(crate) fn open(&mut self, mut decide: Option<Decide<'_>>) -> Opened {
        let mut unfit = None;
        loop {
            let told = match &mut decide {
                Some(decide) => self.next(Some(&mut **decide)),
                None => self.next(None),
            };
            match told {
                Told::Open => {
                    // A failure is told by the first `recv`.
                    let _ = self.write_out();
                    return Opened::Open;
                }
                Told::Refused(refusal) => return Opened::Refused(refusal),
                Told::Unfit(error) => unfit = Some(error),
                Told::Message(message) => self.keep(message),
                Told::Piece(_) => {} // Not wanted here.
                Told::Nothing => self.wait(),
                Told::Closed => {
                    return match (unfit, self.shared.closed.get()) {
                        (None, Some(closed)) => {
                            Opened::Closed { closed: closed.clone(), source: self.shared.failure.get().cloned() }
                        }
                        (Some(error), _) => Opened::Unfit(error),
                        (None, None) => Opened::Unfit(AcceptError::NoRequest), // Not reached.
                    };
                }
            }
        }
    }

    /// The next thing that the connection tells, of what has been read.
    pub(super) fn next(&mut self, mut decide: Option<Decide<'_>>) -> Told {
        if let Some(message) = self.next_from_inbox() {
            return Told::Message(message);
        }
        self.decode(&mut decide, Want::Message)
    }

    pub(super) fn next_from_inbox(&mut self) -> Option<Message> {
        let message = self.inbox.pop_front()?;
        self.inbox_len -= cost(&message);
        Some(message)
    }

    /// The next piece of what is wanted; `None` when all is over.
    pub(super) fn wait_for_piece(&mut self, want: Want) -> Option<Piece> {
        loop {
            match self.decode(&mut None, want) {
                Told::Piece(piece) => return Some(piece),
                Told::Closed => return None,
                Told::Nothing => self.wait(),
                Told::Message(_) | Told::Open | Told::Refused(_) | Told::Unfit(_) => {}
            }
        }
    }

    fn decode(&mut self, decide: &mut Option<Decide<'_>>, want: Want) -> Told {
        let mut core = self.shared.lock();
        let now = Instant::now();
        let mut pinged = false;
        loop {
            // Of a message whose reader is gone, the rest is discarded without being joined.
            let is_rest = want != Want::Piece && core.connection.is_partly_delivered();
            let event = match want {
                Want::Message if !is_rest => core.connection.poll_event(now, &mut self.buf),
                _ => core.connection.poll_event_in_pieces(now, &mut self.buf),
            };
            let Some(event) = event else { break };
            let mut piece = None;
            match event {
                Event::Text(_) | Event::Binary(_) => {}
                Event::TextPiece { .. } | Event::BinaryPiece { .. } if is_rest => continue,
                Event::TextPiece { last, .. } => piece = Some((MessageKind::Text, last)),
                Event::BinaryPiece { last, .. } => piece = Some((MessageKind::Binary, last)),
                Event::Ping(_) => {
                    pinged = true;
                    continue;
                }
                #[cfg(feature = "deflate")]
                Event::Inflating => {
                    // Whoever sends has a turn.
                    drop(core);
                    std::thread::yield_now();
                    core = self.shared.lock();
                    continue;
                }
                Event::Request(request) => {
                    let answer = match decide {
                        Some(decide) => decide(&request),
                        None => Ok(Acceptance::new()),
                    };
                    // The decision took its time.
                    let now = Instant::now();
                    let unfit = match answer {
                        Ok(acceptance) => core.connection.accept(now, &acceptance).err(),
                        Err(rejection) => {
                            let _ = core.connection.reject(now, &rejection);
                            continue;
                        }
                    };
                    let Some(unfit) = unfit else {
                        self.subprotocol = core.connection.subprotocol().map(Into::into);
                        return Told::Open;
                    };
                    if let Ok(rejection) = Rejection::new(500) {
                        let _ = core.connection.reject(now, &rejection);
                    }
                    return Told::Unfit(unfit);
                }
                Event::Open(_) => {
                    self.subprotocol = core.connection.subprotocol().map(Into::into);
                    return Told::Open;
                }
                Event::Refused(refusal) => {
                    self.shared.obey(&mut core);
                    return Told::Refused(refusal);
                }
                Event::Closed(closed) => {
                    let _ = self.shared.closed.set(closed);
                    continue;
                }
                _ => continue,
            }
            let told = match piece {
                Some((kind, is_last)) => Told::Piece(Piece { kind, bytes: self.buf.take_payload(), is_last }),
                None => match self.buf.take_message() {
                    Some(message) => Told::Message(message),
                    None => continue,
                },
            };
            if pinged {
                // The pong does not wait until the application is done with the message.
                drop(self.shared.write_some(core, self.sharing()));
            }
            return told;
        }
        self.shared.obey(&mut core);
        match self.shared.closed.get() {
            Some(_) => Told::Closed,
            None => Told::Nothing,
        }
    }

    /// Nothing can be decoded any more: does the next thing that is to be done, or waits for something to happen.
    pub(super) fn wait(&mut self) {
        if self.shared.failure.get().is_some() && !self.failure_told {
            return self.tell_failure();
        }
        if self.serve_deadline() {
            return;
        }
        let mut core = self.shared.lock();
        if core.turn == Turn::Free && core.connection.buffered_len() > 0 {
            let waits = core.connection.buffered_len();
            let outcome;
            (core, outcome) = self.shared.write_some(core, self.sharing());
            if outcome == Outcome::Stalled {
                drop(core);
                return self.read_what_is_there();
            }
            if core.connection.buffered_len() != waits || self.shared.failure.get().is_some() {
                // Decoding may have waited for it.
                return;
            }
            // A sender relieves this thread.
        }
        if core.connection.is_paused() {
            let stalled;
            (core, stalled) = self.shared.wait(core, Some(STALL));
            drop(core);
            if stalled {
                self.read_what_is_there();
            }
            return;
        }
        if core.connection.state() == ReadyState::Closed {
            return;
        }
        let now = Instant::now();
        let left = core.connection.poll_timeout().map(|at| at.saturating_duration_since(now));
        // A sender may begin to close, whose deadline is then not known here.
        let unknown = match self.sharing() {
            Sharing::Alone => None,
            Sharing::Others => core.connection.config().close_timeout,
        };
        let busy = if self.is_idle { None } else { Some(IDLE_AFTER) };
        let timeout = [left, unknown, busy].into_iter().flatten().min();
        if !core.connection.wants_read() {
            drop(self.shared.wait(core, timeout.or(Some(IDLE_AFTER))));
            return;
        }
        if self.is_idle {
            core.release();
            if self.buf.is_empty() {
                self.buf.release();
            }
        }
        drop(core);
        let found = self.read(timeout);
        self.is_idle =
            found == Found::Nothing && (self.is_idle || timeout.is_some_and(|timeout| timeout >= IDLE_AFTER));
    }

    /// Does what is due, if that can be judged now.
    fn serve_deadline(&mut self) -> bool {
        let mut core = self.shared.lock();
        let now = Instant::now();
        let Some((at, deadline)) = core.connection.next_deadline().filter(|(at, _)| *at <= now) else {
            self.overdue = None;
            return false;
        };
        let overdue = self.overdue.get_or_insert_default();
        // What arrived in time counts; it has arrived when a read that began later has found all there was.
        let is_fair = deadline == Deadline::Write
            || !core.connection.wants_read()
            || self.drained_at.is_some_and(|drained_at| drained_at >= at)
            || overdue.read > OVERDUE_READ_MAX
            || overdue.reading > OVERDUE_READING_MAX;
        if is_fair {
            self.overdue = None;
            core.connection.handle_timeout(now);
            self.shared.obey(&mut core);
        }
        is_fair
    }

    /// Queues something, making room first if there is none.
    pub(super) fn queue(
        &mut self,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.queue_by_core(|core, now| order(&mut core.connection, now))
    }

    /// Sends something for which more than the connection is needed.
    pub(crate) fn send_by_core(
        &mut self,
        order: impl FnMut(&mut Core, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.queue_by_core(order)?;
        self.write_out()
    }

    fn queue_by_core(
        &mut self,
        mut order: impl FnMut(&mut Core, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        let mut has_waited = false;
        loop {
            let mut core = self.shared.lock();
            let refused = match order(&mut core, Instant::now()) {
                Ok(()) => {
                    self.shared.obey(&mut core);
                    let is_relief = has_waited && core.turn == Turn::Free;
                    drop(core);
                    // Others may have left theirs to a writer that went because this thread waited.
                    return if is_relief { self.write_out() } else { Ok(()) };
                }
                Err(refused) => refused,
            };
            drop(core);
            self.shared.check()?;
            match refused {
                SendError::AboveHighWaterMark { .. } => self.make_room()?,
                SendError::MessageUnfinished => self.wait_for_writer()?,
                refused => return Err(Error::Send(refused)),
            }
            has_waited = true;
        }
    }

    /// Too much waits: writes it, or waits for whoever does, reading what arrives when the transport takes nothing.
    fn make_room(&mut self) -> Result<(), Error> {
        let core = self.shared.lock();
        if core.turn == Turn::Free {
            drop(core);
            return self.write_out();
        }
        let (core, stalled) = self.shared.wait(core, Some(STALL));
        drop(core);
        if stalled {
            self.endure();
        }
        self.shared.check()
    }

    /// A message of another sender is unfinished: waits, reading what arrives meanwhile.
    fn wait_for_writer(&mut self) -> Result<(), Error> {
        self.write_out()?;
        let core = self.shared.lock();
        if !core.writing && core.connection.can_send() == Err(SendError::MessageUnfinished) {
            // It is the application's own, and nobody would wake this thread.
            return Err(Error::Send(SendError::MessageUnfinished));
        }
        let (core, stalled) = self.shared.wait_for_writer(core, Some(STALL));
        drop(core);
        if stalled {
            self.endure();
        }
        Ok(())
    }

    /// Writes all that waits now, reading what arrives when the transport takes nothing.
    pub(super) fn write_out(&mut self) -> Result<(), Error> {
        let mut core = self.shared.lock();
        let mark = core.mark();
        let mut on_duty = true;
        while core.connection.buffered_len() > 0 {
            self.shared.check()?;
            let outcome;
            if core.turn == Turn::Free {
                if core.is_out(mark) && !on_duty {
                    break;
                }
                (core, outcome) = self.shared.write_until(core, mark, self.sharing());
                on_duty = outcome == Outcome::Stalled && core.must_go_on(mark);
            } else {
                if core.is_out(mark) || (core.turn == Turn::Own && !core.connection.is_paused()) {
                    break;
                }
                let stalled;
                (core, stalled) = self.shared.wait(core, Some(STALL));
                on_duty = true;
                outcome = if stalled { Outcome::Stalled } else { Outcome::Done };
            }
            if outcome == Outcome::Stalled {
                drop(core);
                self.endure();
                core = self.shared.lock();
            }
        }
        drop(core);
        self.shared.check()
    }

    /// A send is stalled: perhaps the peer waits to be read, too.
    fn endure(&mut self) {
        self.read_what_is_there();
        loop {
            match self.decode(&mut None, Want::Message) {
                Told::Message(message) => self.keep(message),
                Told::Nothing | Told::Closed => break,
                Told::Open | Told::Refused(_) | Told::Unfit(_) | Told::Piece(_) => {}
            }
        }
        self.serve_deadline();
    }

    fn keep(&mut self, message: Message) {
        self.inbox_len += cost(&message);
        self.inbox.push_back(message);
    }

    /// Reads until nothing is there, or as much is held as is allowed.
    fn read_what_is_there(&mut self) {
        loop {
            let core = self.shared.lock();
            let max = usize::try_from(core.connection.config().message_len_max).unwrap_or(usize::MAX);
            let is_readable = core.connection.wants_read() || core.connection.is_paused();
            drop(core);
            if !is_readable || self.buf.len() + self.inbox_len > max {
                // More is not read, so that nothing more is waited for.
                self.drained_at = Some(Instant::now());
                return;
            }
            if self.read(Some(READ_TIMEOUT_MIN)) != Found::More {
                return;
            }
        }
    }

    /// Reads once, and tells the connection of an end or a failure.
    fn read(&mut self, timeout: Option<Duration>) -> Found {
        let timeout = timeout.map(|timeout| timeout.max(READ_TIMEOUT_MIN));
        let is_set = match (self.read_timeout, timeout) {
            // A little too short only wakes too early. Kept, it saves a call.
            (Some(Some(set)), Some(timeout)) => set <= timeout && set >= timeout / 2,
            (set, timeout) => set == Some(timeout),
        };
        if !is_set {
            match self.shared.transport.set_read_timeout(timeout) {
                Ok(()) => self.read_timeout = Some(timeout),
                Err(error) => return self.failed(error),
            }
        }
        let began_at = Instant::now();
        let mut small = [0; SMALL_READ_LEN];
        let (offered, result) = if self.is_idle && self.buf.is_empty() {
            // Not a byte is allocated for a connection on which nothing happens.
            (small.len(), self.shared.transport.read(&mut small))
        } else {
            let spare = self.buf.spare_mut();
            (spare.len(), self.shared.transport.read(spare))
        };
        let found = match Called::from(result) {
            Called::Did(0) => {
                let mut core = self.shared.lock();
                core.connection.handle_eof();
                self.shared.obey(&mut core);
                Found::End
            }
            Called::Did(n) => {
                self.overdue.iter_mut().for_each(|overdue| overdue.read += n);
                if self.is_idle && self.buf.is_empty() {
                    self.buf.extend_from_slice(small.get(..n).unwrap_or(&small));
                } else {
                    self.buf.advance_received(n);
                }
                if self.shared.transport.left_nothing(offered, n) { Found::All } else { Found::More }
            }
            Called::Nothing => Found::Nothing,
            Called::Interrupted => Found::More,
            Called::Failed(error) => return self.failed(error),
        };
        if found != Found::More {
            self.drained_at = Some(began_at);
        }
        if let Some(overdue) = &mut self.overdue {
            overdue.reading += began_at.elapsed();
        }
        found
    }

    fn failed(&mut self, error: io::Error) -> Found {
        let _ = self.shared.failure.set(Arc::new(error));
        self.failure_told = true;
        let mut core = self.shared.lock();
        core.connection.handle_transport_error();
        self.shared.obey(&mut core);
        Found::End
    }

    /// A write failed. What arrived before is read and counts.
    fn tell_failure(&mut self) {
        self.failure_told = true;
        let mut core = self.shared.lock();
        let max = usize::try_from(core.connection.config().message_len_max).unwrap_or(usize::MAX);
        if core.connection.wants_read() || core.connection.is_paused() {
            drop(core);
            while self.buf.len() <= max && matches!(self.read(Some(READ_TIMEOUT_MIN)), Found::More | Found::All) {}
            core = self.shared.lock();
        }
        core.connection.handle_transport_error();
        self.shared.obey(&mut core);
    }

    pub(super) fn sharing(&self) -> Sharing {
        // Only this socket makes senders, and whoever asks has it to himself.
        if Arc::strong_count(&self.shared) == 1 { Sharing::Alone } else { Sharing::Others }
    }
}

/// How an opening handshake went.
pub(crate) enum Opened {
    Open,
    Refused(Box<Refusal>),
    /// The application's answer did not fit the request.
    Unfit(AcceptError),
    Closed {
        closed: Closed,
        source: Option<Arc<io::Error>>,
    },
}

type Decide<'d> = &'d mut dyn FnMut(&RequestHead<'_>) -> Result<Acceptance, Rejection>;

/// What is wanted of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Message,
    /// The first piece of the next one.
    NextPieces,
    /// The next piece of the one under way.
    Piece,
}

/// A piece of a message.
pub(crate) struct Piece {
    pub(crate) kind: MessageKind,
    /// Empty only if it is the last.
    pub(crate) bytes: Bytes,
    pub(crate) is_last: bool,
}

/// What the connection told.
pub(super) enum Told {
    Message(Message),
    Piece(Piece),
    Open,
    Refused(Box<Refusal>),
    Unfit(AcceptError),
    Closed,
    /// Nothing, until something arrives, is written, or falls due.
    Nothing,
}

/// What was done since a deadline was found to be due that cannot be judged yet.
#[derive(Default)]
pub(super) struct Overdue {
    /// How many bytes were read.
    read: usize,
    /// How long it took to read.
    reading: Duration,
}

/// What a read found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Some; there may be more.
    More,
    /// All there was.
    All,
    Nothing,
    /// The end of the stream.
    End,
}

/// After so long without a byte the memory is given back.
///
/// 1 s: one more wake-up for a connection that goes silent, none for a busy one.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// What a read gets to find what is there already: sockets know no shorter time but for ever.
const READ_TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// With so many bytes read since a deadline passed, what was there by then has been seen: more than sockets hold.
const OVERDUE_READ_MAX: usize = 32 * 1024 * 1024;
/// So it has when reads have taken so long together since, where none of them tells whether it brought all: what is there is read without waiting.
const OVERDUE_READING_MAX: Duration = Duration::from_secs(1);
/// The first read after a silence: most heartbeats and small messages.
const SMALL_READ_LEN: usize = 512;
