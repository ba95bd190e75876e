//! The threads behind a client. The *driver* lives as long as the client: it obeys the core's orders, writes, and keeps its deadlines. Each attempt has
//! one of its own, which connects, and then reads until the stream ends; so nobody waits for a connect that hangs.

use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sansocket::RecvBuf;
use sansocket::buffer::READ_SIZE;
use sansocket::client::{Attempt, ClientState, ConnectFailure, ConnectFailureKind, Order, Prepared};
use sansocket_common::client::Preparation;
use sansocket_common::hub::wall_clock;

use super::shared::{Asking, Core, Shared};
use crate::{ConnectError, Connector, MaybeTls, Transport};

/// Finds out what to connect to.
pub(super) type Prepare = Box<dyn FnMut(Preparation) -> Prepared + Send>;

pub(super) struct Stream(MaybeTls<TcpStream>);

impl Stream {
    pub(super) fn shutdown_both(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Both)
    }
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    connector: Connector,
    prepare: Option<Arc<Mutex<Prepare>>>,
}

impl Driver {
    /// Starts the thread.
    pub(super) fn start(shared: Arc<Shared>, connector: Connector, prepare: Option<Prepare>) -> io::Result<()> {
        let driver = Self { shared, connector, prepare: prepare.map(|prepare| Arc::new(Mutex::new(prepare))) };
        spawn(move || driver.run())
    }

    fn run(&self) {
        let _told = TellIfPanicking(&self.shared);
        let mut scratch = Vec::new();
        let mut core = self.shared.lock();
        loop {
            let now = Instant::now();
            let is_inflating = core.decode(now);
            if let Some(order) = core.hub.poll_order(now) {
                self.obey(&mut core, order);
            } else if core.hub.end().is_some() {
                return self.shared.tell(&mut core);
            } else if let Some(stream) = core.stream.clone()
                && !core.write_failed
                && !core.write_awaited
                && !core.hub.client().outgoing().is_empty()
            {
                core = self.write(core, &stream, &mut scratch);
            } else if let Some(at) = core.hub.client().poll_timeout()
                && at <= now
            {
                core.hub.client_mut().handle_timeout(now);
            } else if is_inflating {
                self.shared.tell(&mut core);
                drop(core);
                thread::yield_now();
                core = self.shared.lock();
            } else {
                // Whoever reads may do so again. The driver itself does not wait yet.
                self.shared.wake_threads();
                scratch = Vec::new();
                let deadline = core.hub.client().poll_timeout();
                core = self.shared.sleep(core, deadline);
            }
        }
    }

    fn obey(&self, core: &mut Core, order: Order) {
        match order {
            Order::Prepare { cause, needs_credentials } => {
                let asked = Preparation::new(cause, needs_credentials);
                core.attempt += 1;
                let Some(prepare) = self.prepare.clone() else {
                    return core.hub.client_mut().handle_prepared(Instant::now(), Prepared::Unchanged);
                };
                core.asking.next = Some((core.attempt, asked));
                if std::mem::replace(&mut core.asking.is_under_way, true) {
                    return; // A call that hangs is not joined by others.
                }
                let shared = Arc::clone(&self.shared);
                if let Err(error) = spawn(move || ask(&shared, &prepare)) {
                    core.asking = Asking::default();
                    core.hub.client_mut().handle_prepared(Instant::now(), Prepared::Failed(error.to_string()));
                }
            }
            Order::Connect(attempt) => {
                core.attempt += 1;
                core.hub.client_mut().handle_wall_clock(Instant::now(), wall_clock());
                let (shared, connector, id) = (Arc::clone(&self.shared), self.connector.clone(), core.attempt);
                if let Err(error) = spawn(move || attempt_to_connect(&shared, &connector, &attempt, id)) {
                    let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: error.to_string() };
                    core.hub.client_mut().handle_connect_failed(Instant::now(), failure);
                }
            }
            Order::ShutdownWrite => {
                if let Some(stream) = &core.stream {
                    // A stream that cannot be shut down any more needs no end.
                    let _ = stream.0.shutdown(Shutdown::Write);
                }
            }
            Order::Drop => {
                core.let_go();
                // Whoever waits to read it goes.
                self.shared.wake_threads();
            }
            _ => {}
        }
    }

    /// Writes some of the output, with the lock given back meanwhile.
    fn write<'s>(
        &'s self,
        mut core: MutexGuard<'s, Core>,
        stream: &Stream,
        scratch: &mut Vec<u8>,
    ) -> MutexGuard<'s, Core> {
        scratch.clear();
        let outgoing = core.hub.client().outgoing();
        scratch.extend_from_slice(outgoing.get(..SCRATCH_LEN_MAX).unwrap_or(outgoing));
        let id = core.attempt;
        core.hub.client_mut().lend_outgoing(scratch.len());
        core.is_writing = true;
        self.shared.tell(&mut core);
        drop(core);
        let written = stream.0.write_vectored(&[IoSlice::new(scratch)]);
        let mut core = self.shared.lock();
        core.is_writing = false;
        if core.write_awaited {
            self.shared.wake_threads();
        }
        if core.attempt == id {
            core.hub.client_mut().advance_outgoing(Instant::now(), *written.as_ref().unwrap_or(&0));
            match written {
                Ok(n) if n > 0 => {}
                Err(error) if is_no_failure(&error) => core.serve_deadlines(),
                _ if core.read_ended => core.hub.client_mut().handle_transport_error(),
                _ => {
                    core.write_failed = true;
                    // A read that waits ends.
                    let _ = stream.0.shutdown(Shutdown::Read);
                    self.shared.wake_threads();
                }
            }
        }
        core
    }
}

/// Asks the application until there is no question any more whose answer would count.
fn ask(shared: &Shared, prepare: &Mutex<Prepare>) {
    let _told = TellIfPanicking(shared);
    let mut prepare = prepare.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut core = shared.lock();
        let attempt = core.attempt;
        // It has been given up, or the client has.
        let is_over = matches!(core.hub.client().state(), ClientState::Waiting | ClientState::Closed);
        let next = core.asking.next.take().filter(|(id, _)| *id == attempt && !is_over);
        core.asking.is_under_way = next.is_some();
        next
    };
    while let Some((id, asked)) = next() {
        let prepared = prepare(asked);
        shared.turn_of(shared.lock(), id, |core| core.hub.client_mut().handle_prepared(Instant::now(), prepared));
    }
}

/// Connects, then reads until the stream ends.
fn attempt_to_connect(shared: &Shared, connector: &Connector, attempt: &Attempt, id: u64) {
    let _told = TellIfPanicking(shared);
    let reached = connector.reach(attempt).and_then(|(stream, received)| {
        // One may be left of the way there.
        stream.set_read_timeout(None).map_err(ConnectError::Setup)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT)).map_err(ConnectError::Setup)?;
        Ok((stream, received))
    });
    let stream = shared.turn_of(shared.lock(), id, |core| {
        let now = Instant::now();
        // The core has the same deadline, and knows what it means.
        core.serve_deadlines();
        match reached {
            Ok((stream, received)) => {
                core.hub.client_mut().handle_connected(now);
                let stream = Arc::new(Stream(stream));
                core.buf = received;
                core.stream = Some(Arc::clone(&stream));
                Some(stream)
            }
            Err(error) => {
                core.hub.client_mut().handle_connect_failed(now, error.to_failure());
                None
            }
        }
    });
    if let Some(stream) = stream.flatten() {
        read(shared, &stream, id);
    }
}

fn read(shared: &Shared, stream: &Stream, id: u64) {
    let mut scratch = vec![0; READ_SIZE];
    loop {
        let mut core = shared.lock();
        while core.attempt == id && core.stream.is_some() && !core.hub.client().wants_read() && !core.write_failed {
            core = shared.sleep(core, None);
        }
        if core.attempt != id || core.stream.is_none() {
            return;
        }
        drop(core);
        let read = stream.0.read(&mut scratch);
        let core = if has_more(&read) { shared.lock() } else { shared.lock_between_writes(id) };
        let goes_on = shared.turn_of(core, id, |core| {
            let read_failed = match read {
                Ok(n) if n > 0 => {
                    core.buf.extend_from_slice(scratch.get(..n).unwrap_or_default());
                    if !core.write_failed || core.may_hold_more() {
                        return true;
                    }
                    false
                }
                Err(error) if is_no_failure(&error) => return true,
                // TLS without a farewell: whether anything was cut off, the closing handshake tells.
                Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
                Ok(_) => false,
            };
            if read_failed || core.write_failed {
                core.hub.client_mut().handle_transport_error();
            } else {
                core.hub.client_mut().handle_eof();
            }
            core.read_ended = true;
            false
        });
        if goes_on != Some(true) {
            return;
        }
    }
}

impl Shared {
    /// Waits for the driver to return from a write, and keeps it from the next. For the end of a stream: what that took counts before it.
    fn lock_between_writes(&self, id: u64) -> MutexGuard<'_, Core> {
        let mut core = self.lock();
        while core.is_writing && core.attempt == id {
            core.write_awaited = true;
            core = self.sleep(core, None);
        }
        core.write_awaited = false;
        core
    }

    /// A turn of a thread that works for one attempt, if that still counts. The driver has the next.
    fn turn_of<O>(&self, mut core: MutexGuard<'_, Core>, id: u64, act: impl FnOnce(&mut Core) -> O) -> Option<O> {
        let done = (core.attempt == id).then(|| act(&mut core));
        // If there is more to take in, the driver goes on.
        core.decode(Instant::now());
        self.tell(&mut core);
        drop(core);
        self.wake_threads();
        done
    }
}

impl Core {
    fn decode(&mut self, now: Instant) -> bool {
        self.hub.decode(now, &mut self.buf)
    }

    fn let_go(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Whoever reads it comes back.
            let _ = stream.shutdown_both();
        }
        self.write_failed = false;
        self.read_ended = false;
        self.attempt += 1;
        self.buf = RecvBuf::default();
    }

    /// Whether there is room for what arrived before a write failed: as much as for the longest message.
    fn may_hold_more(&self) -> bool {
        let connection = self.hub.client().connection();
        connection.is_some_and(|connection| self.buf.len() as u64 <= connection.config().message_len_max)
    }

    fn serve_deadlines(&mut self) {
        let now = Instant::now();
        if self.hub.client().poll_timeout().is_some_and(|at| at <= now) {
            self.hub.client_mut().handle_timeout(now);
        }
    }
}

/// When a closure of the application's panics, everybody is told that the client has ended.
struct TellIfPanicking<'s>(&'s Shared);

impl Drop for TellIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.turn(|core| {
                core.hub.cut_off(Instant::now());
                core.let_go();
            });
            self.0.wake_threads();
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("sansocket-client".into()).spawn(run).map(drop)
}

/// Whether there may be more to read.
fn has_more(read: &io::Result<usize>) -> bool {
    match read {
        Ok(n) => *n > 0,
        Err(error) => is_no_failure(error),
    }
}

/// Whether nothing could be done in time, and may be later.
fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// What is copied for one write at most: what a socket takes at once.
const SCRATCH_LEN_MAX: usize = 64 * 1024;
/// How long one write waits for room, and may keep deadlines waiting: late by no more than that, they mean the same.
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);
