//! What the owner and the senders of a connection share, and the rule by which they take turns at writing.
//!
//! Reads happen outside the lock, by the owner only. Writes are made by one thread at a time, the *writer*: whoever has queued
//! something and finds nobody writing takes the turn. It copies some output, gives the lock up for the write, and goes on until
//! its own bytes are out. So that nothing is forgotten and nobody works for the others for ever:
//!
//! - While the writer is at its own bytes, others queue theirs and go: the writer takes them along, since it does not leave before
//!   nothing waits, or somebody else does ([`Core::waiting`]).
//! - Once its own bytes are out, the writer is in *overtime*. Who queues something then waits, and so relieves it after the next write.
//! - Whoever comes out of [`Shared::wait`] and finds output but no writer takes the turn, even when its own bytes are out.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sansocket::{CloseCause, Closed, Connection, Deadline, Event, RecvBuf, SendError, StreamOrder};

use crate::{Error, Transport};

pub(crate) struct Shared<S> {
    pub(crate) transport: S,
    core: Mutex<Core>,
    /// Something was written, the turn is free, or all is over.
    progress: Condvar,
    /// The report, once there is one.
    pub(crate) closed: OnceLock<Closed>,
    /// What the transport said when it failed.
    pub(crate) failure: OnceLock<Arc<io::Error>>,
}

pub(crate) struct Core {
    pub(crate) connection: Connection,
    pub(crate) turn: Turn,
    /// Whether a [`MessageWriter`](crate::MessageWriter) is in the middle of its message.
    pub(crate) writing: bool,
    /// How many threads are in [`Shared::wait`].
    waiting: usize,
    /// How many bytes the transport has taken so far.
    written: u64,
    /// Since when the transport takes nothing.
    stalled_since: Option<Instant>,
    /// What is being written, while the lock is free.
    scratch: Vec<u8>,
    write_timeout_set: bool,
}

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody: whoever has something to write may.
    Free,
    /// A thread that is at its own bytes.
    Own,
    /// A thread whose own bytes are out, and that waits to be relieved.
    Overtime,
}

/// Whether anybody else may want the lock while the transport is written to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Nobody: output need not be copied.
    Alone,
    /// A reader or other senders.
    Others,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The bytes are out, or the transport has failed.
    Done,
    /// The transport took nothing for [`STALL`].
    Stalled,
}

/// What a call to the transport came to.
pub(crate) enum Called {
    Did(usize),
    /// Nothing could be done in time.
    Nothing,
    Interrupted,
    Failed(io::Error),
}

pub(crate) type Guard<'s> = MutexGuard<'s, Core>;

impl<S: Transport> Shared<S> {
    pub(crate) fn new(connection: Connection, transport: S) -> Self {
        let core = Core {
            connection,
            turn: Turn::Free,
            writing: false,
            waiting: 0,
            written: 0,
            stalled_since: None,
            scratch: Vec::new(),
            write_timeout_set: false,
        };
        Self {
            transport,
            core: Mutex::new(core),
            progress: Condvar::new(),
            closed: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }

    pub(crate) fn into_parts(self) -> (Connection, S) {
        (self.core.into_inner().unwrap_or_else(PoisonError::into_inner).connection, self.transport)
    }

    /// A panic elsewhere leaves nothing half done here: the state machine's calls do not panic.
    pub(crate) fn lock(&self) -> Guard<'_> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is written or the turn is free, at most for `timeout`; whether it took as long, or the transport takes nothing.
    ///
    /// A writer that is stalled says so to those who wait, and goes on: they would never wait as long as `timeout`.
    pub(crate) fn wait<'s>(&self, mut core: Guard<'s>, timeout: Option<Duration>) -> (Guard<'s>, bool) {
        core.waiting += 1;
        let (mut core, timed_out) = match timeout {
            None => (self.progress.wait(core).unwrap_or_else(PoisonError::into_inner), false),
            Some(timeout) => {
                let (core, result) = self.progress.wait_timeout(core, timeout).unwrap_or_else(PoisonError::into_inner);
                (core, result.timed_out())
            }
        };
        core.waiting -= 1;
        let stalled = timed_out || core.stalled_since.is_some();
        (core, stalled)
    }

    /// Waits until the message that a [`MessageWriter`](crate::MessageWriter) is in the middle of may be finished.
    pub(crate) fn wait_for_writer<'s>(&self, core: Guard<'s>, timeout: Option<Duration>) -> (Guard<'s>, bool) {
        match core.connection.can_send() {
            Err(SendError::MessageUnfinished) if self.check().is_ok() => self.wait(core, timeout),
            _ => (core, false),
        }
    }

    /// A message has been finished, or given up.
    pub(crate) fn wake_waiting(&self) {
        self.progress.notify_all();
    }

    /// Obeys the orders for the stream, and keeps the report once there is one.
    pub(crate) fn obey(&self, core: &mut Core) {
        while let Some(order) = core.connection.poll_stream() {
            // A stream that is gone already needs no end.
            let _ = match order {
                StreamOrder::ShutdownWrite => self.transport.shutdown(Shutdown::Write),
                StreamOrder::Drop => {
                    // The state is final, so that the report can be had from anywhere: nothing is decoded for it.
                    if let Some(Event::Closed(closed)) = core.connection.poll_event(Instant::now(), &mut RecvBuf::new())
                    {
                        let _ = self.closed.set(closed);
                    }
                    self.progress.notify_all();
                    self.transport.shutdown(Shutdown::Both)
                }
            };
        }
    }

    /// Takes the turn, and writes until `mark` is out; then until nothing waits, unless somebody relieves this thread.
    pub(crate) fn write_until<'s>(&'s self, mut core: Guard<'s>, mark: u64, sharing: Sharing) -> (Guard<'s>, Outcome) {
        core.turn = Turn::Own;
        let outcome = loop {
            if core.connection.buffered_len() == 0 || self.failure.get().is_some() {
                break Outcome::Done;
            }
            if core.written >= mark {
                if core.waiting > 0 {
                    break Outcome::Done;
                }
                core.turn = Turn::Overtime;
            }
            let result;
            let began_at = Instant::now(); // The pong to a ping in it may be there before the write returns.
            (core, result) = self.write_once(core, sharing);
            match Called::from(result) {
                Called::Did(0) => self.fail(io::ErrorKind::WriteZero.into()),
                Called::Did(n) => {
                    core.written += n as u64;
                    core.stalled_since = None;
                    core.connection.advance_outgoing(began_at, n);
                    self.obey(&mut core);
                }
                Called::Interrupted => {}
                Called::Nothing => {
                    core.stalled_since.get_or_insert_with(Instant::now);
                    break Outcome::Stalled;
                }
                Called::Failed(error) => self.fail(error),
            }
            if core.waiting > 0 {
                self.progress.notify_all();
            }
        };
        core.turn = Turn::Free;
        if core.waiting > 0 {
            self.progress.notify_all();
        }
        (core, outcome)
    }

    /// Writes until nothing waits or the transport takes no more, or somebody relieves this thread, which has better things to do.
    pub(crate) fn write_some<'s>(&'s self, core: Guard<'s>, sharing: Sharing) -> (Guard<'s>, Outcome) {
        match core.turn {
            Turn::Free => self.write_until(core, 0, sharing),
            Turn::Own | Turn::Overtime => (core, Outcome::Done),
        }
    }

    fn write_once<'s>(&'s self, mut core: Guard<'s>, sharing: Sharing) -> (Guard<'s>, io::Result<usize>) {
        if !core.write_timeout_set {
            if let Err(error) = self.transport.set_write_timeout(Some(STALL)) {
                return (core, Err(error));
            }
            core.write_timeout_set = true;
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        if sharing == Sharing::Alone {
            let filled = core.connection.outgoing_slices(&mut slices);
            let result = self.transport.write_vectored(slices.get(..filled).unwrap_or_default());
            return (core, result);
        }
        let mut scratch = std::mem::take(&mut core.scratch);
        scratch.clear();
        let filled = core.connection.outgoing_slices(&mut slices);
        for slice in slices.iter().take(filled) {
            let room = SCRATCH_LEN_MAX - scratch.len();
            scratch.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        drop(core);
        let result = {
            let _unstuck = Unstuck(self);
            self.transport.write_vectored(&[IoSlice::new(&scratch)])
        };
        let mut core = self.lock();
        core.scratch = scratch;
        (core, result)
    }

    /// Queues something from a thread that cannot read, and sees it out, or leaves it to the thread that is writing.
    pub(crate) fn push(
        &self,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        self.push_by_core(|core, now| order(&mut core.connection, now))
    }

    pub(crate) fn push_by_core(
        &self,
        mut order: impl FnMut(&mut Core, Instant) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        let mut core = self.lock();
        loop {
            let refused = match order(&mut core, Instant::now()) {
                Ok(()) => break,
                Err(refused) => refused,
            };
            self.check()?;
            // What waits was somebody's to write before; but this thread may have been the one to relieve it.
            let mark = core.mark();
            core = self.see_out(core, mark);
            match refused {
                SendError::AboveHighWaterMark { .. } => {}
                SendError::MessageUnfinished if core.writing => core = self.wait_for_writer(core, None).0,
                // It has been finished meanwhile.
                SendError::MessageUnfinished if core.connection.can_send() != Err(SendError::MessageUnfinished) => {}
                refused => return Err(Error::Send(refused)),
            }
        }
        self.obey(&mut core);
        if core.turn != Turn::Own {
            let mark = core.mark();
            drop(self.see_out(core, mark));
        }
        self.check()
    }

    /// Any order, from a thread that cannot read; then as [`push`](Self::push).
    pub(crate) fn with_connection<R>(&self, order: impl FnOnce(&mut Connection, Instant) -> R) -> R {
        let mut core = self.lock();
        let result = order(&mut core.connection, Instant::now());
        self.obey(&mut core);
        if core.turn != Turn::Own {
            let mark = core.mark();
            drop(self.see_out(core, mark));
        }
        result
    }

    /// Returns when `mark` is out or all is over, with no bytes left that nobody would write.
    fn see_out<'s>(&'s self, mut core: Guard<'s>, mark: u64) -> Guard<'s> {
        let mut on_duty = true;
        while core.connection.buffered_len() > 0 && self.check().is_ok() {
            if core.turn != Turn::Free {
                if core.written >= mark {
                    break;
                }
                core = self.wait(core, None).0;
                on_duty = true;
                continue;
            }
            if core.written >= mark && !on_duty {
                break;
            }
            let outcome;
            (core, outcome) = self.write_until(core, mark, Sharing::Others);
            match outcome {
                Outcome::Done => break,
                Outcome::Stalled => {
                    self.serve_write_deadlines(&mut core);
                    on_duty = core.must_go_on(mark);
                }
            }
        }
        core
    }

    /// The deadlines that need no reader to be judged.
    fn serve_write_deadlines(&self, core: &mut Core) {
        let now = Instant::now();
        let due = match core.connection.next_deadline() {
            Some((at, Deadline::Write | Deadline::Close)) => at <= now,
            // Another deadline may stand before it, which is the reader's to serve; but there may be no reader.
            _ => match (core.stalled_since, core.connection.config().write_timeout) {
                (Some(since), Some(timeout)) => now.saturating_duration_since(since) >= timeout,
                _ => false,
            },
        };
        if due {
            core.connection.handle_timeout(now);
            self.obey(core);
        }
    }

    /// The transport failed in a write. The owner still reads what arrived before, and then tells the connection.
    fn fail(&self, error: io::Error) {
        let _ = self.failure.set(Arc::new(error));
        // Wakes it.
        let _ = self.transport.shutdown(Shutdown::Read);
    }

    /// Whether all is over, and how.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match (self.closed.get(), self.failure.get()) {
            (None, None) => Ok(()),
            (None, Some(failure)) => Err(Error::Broken(Arc::clone(failure))),
            (Some(closed), Some(source)) if closed.cause == CloseCause::TransportFailed => {
                Err(Error::Closed { closed: closed.clone(), source: Some(Arc::clone(source)) })
            }
            (Some(closed), _) => Err(Error::Closed { closed: closed.clone(), source: None }),
        }
    }

    /// Ends the connection without waiting for anything.
    pub(crate) fn abandon(&self) {
        let mut core = self.lock();
        core.connection.abort();
        self.obey(&mut core);
    }
}

impl Core {
    /// What [`written`](Self::written) will be when all that waits is out.
    pub(crate) fn mark(&self) -> u64 {
        self.written + self.connection.buffered_len() as u64
    }

    /// Whether the thread that has just given up the turn is the only one who knows of the rest.
    pub(crate) fn must_go_on(&self, mark: u64) -> bool {
        self.written < mark || self.waiting == 0
    }

    pub(crate) fn is_out(&self, mark: u64) -> bool {
        self.written >= mark || self.connection.buffered_len() == 0
    }

    /// Gives back what an idle connection does without.
    pub(crate) fn release(&mut self) {
        self.connection.release();
        self.scratch = Vec::new();
    }
}

impl From<io::Result<usize>> for Called {
    fn from(result: io::Result<usize>) -> Self {
        match result {
            Ok(n) => Self::Did(n),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Nothing,
                io::ErrorKind::Interrupted => Self::Interrupted,
                _ => Self::Failed(error),
            },
        }
    }
}

/// Frees the turn when the transport panics, so that nobody waits for a writer that is gone.
struct Unstuck<'s, S: Transport>(&'s Shared<S>);

impl<S: Transport> Drop for Unstuck<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(io::Error::other("the transport panicked while it was written to"));
            self.0.lock().turn = Turn::Free;
            self.0.progress.notify_all();
        }
    }
}

/// How long a write waits for room before the owner of the connection looks whether there is something to read.
///
/// 20 ms: two ends that both write without reading lose little more than that; and fifty calls a second cost nothing.
pub(crate) const STALL: Duration = Duration::from_millis(20);
/// What is copied for one write at most: what a socket takes at once.
const SCRATCH_LEN_MAX: usize = 64 * 1024;
/// How many payloads leave in one write at most.
const SLICES_MAX: usize = 16;
