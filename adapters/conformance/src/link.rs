//! The stream of a scripted connection: the script is its other end, and watches what the adapter does with it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sansocket::{Closed, Message};

use crate::Rng;

/// All that can be seen of a connection from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// What the application received.
    pub received: Vec<Message>,
    /// Whether its orders were taken, those given while the stream took nothing left out.
    pub orders: Vec<bool>,
    /// The end: how, and whether the application was told that it is a clean one.
    pub ended: Option<(Option<Closed>, bool)>,
    /// The bytes on the wire.
    pub written: Vec<u8>,
    /// Whether the writing direction was ended before the stream was dropped.
    pub shut_down: bool,
    /// Whether the stream was dropped.
    pub dropped: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) consumed: usize,
    pub(crate) written: usize,
    pub(crate) blocked: bool,
    pub(crate) receives: usize,
    pub(crate) received: usize,
    pub(crate) orders: usize,
    pub(crate) ended: bool,
    pub(crate) shut_down: bool,
    pub(crate) dropped: bool,
}

impl Progress {
    fn is_reached_by(&self, other: &Self) -> bool {
        other.consumed >= self.consumed
            && other.written >= self.written
            && other.blocked >= self.blocked
            && other.receives >= self.receives
            && other.received >= self.received
            && other.orders >= self.orders
            && other.ended >= self.ended
            && (other.shut_down >= self.shut_down || other.dropped)
            && other.dropped >= self.dropped
    }
}

/// A scripted connection as its adapter sees it.
pub(crate) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    pub(crate) trace: Trace,
    pub(crate) inbound: VecDeque<u8>,
    pub(crate) eof: bool,
    pub(crate) reset: bool,
    pub(crate) consumed: usize,
    pub(crate) room: usize,
    /// Whether something waits for room.
    pub(crate) blocked: bool,
    pub(crate) receiving: bool,
    /// How often the application has begun to receive.
    pub(crate) receives: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    application: Option<Waker>,
    rng: Rng,
    chunk_max: usize,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            trace: Trace::default(),
            inbound: VecDeque::new(),
            eof: false,
            reset: false,
            consumed: 0,
            room: usize::MAX,
            blocked: false,
            receiving: true,
            receives: 0,
            reader: None,
            writer: None,
            application: None,
            chunk_max: [30, 500, 5000, usize::MAX][rng.below(4)],
            rng,
            read_timeout: None,
            write_timeout: None,
        }
    }

    /// The stream takes so many bytes more.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.blocked = false;
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            consumed: self.consumed,
            written: self.trace.written.len(),
            blocked: self.blocked,
            receives: self.receives,
            received: self.trace.received.len(),
            orders: self.trace.orders.len(),
            ended: self.trace.ended.is_some(),
            shut_down: self.trace.shut_down,
            dropped: self.trace.dropped,
        }
    }

    /// `None` when there is nothing to read.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        if self.reset || self.trace.dropped {
            return Some(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let most = self.inbound.len().min(buf.len()).min(self.chunk_max);
        if most == 0 {
            return self.eof.then_some(Ok(0));
        }
        let n = self.rng.between(1, most);
        for (to, from) in buf.iter_mut().zip(self.inbound.drain(..n)) {
            *to = from;
        }
        self.consumed += n;
        Some(Ok(n))
    }

    /// `None` when there is no room.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        if self.reset || self.trace.dropped || self.trace.shut_down {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let most = len.min(self.room).min(self.chunk_max);
        if most == 0 {
            self.blocked |= len > 0;
            return (len == 0).then_some(Ok(0));
        }
        let n = self.rng.between(1, most);
        self.trace.written.extend(slices.iter().flat_map(|slice| slice.iter()).take(n));
        if self.room < usize::MAX {
            self.room -= n;
        }
        Some(Ok(n))
    }
}

impl Link {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(seed)), changed: Condvar::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and tells everybody.
    pub(crate) fn change<O>(&self, change: impl FnOnce(&mut State) -> O) -> O {
        let mut state = self.lock();
        let done = change(&mut state);
        let wakers = [state.reader.take(), state.writer.take(), state.application.take()];
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().flatten().for_each(Waker::wake);
        done
    }

    /// Waits until the adapter has come as far as `progress`; `Err` with how far it has come instead.
    pub(crate) fn wait_for(&self, progress: Progress) -> Result<(), Progress> {
        let state = self.lock();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| !progress.is_reached_by(&state.progress()))
            .unwrap_or_else(PoisonError::into_inner);
        if progress.is_reached_by(&state.progress()) { Ok(()) } else { Err(state.progress()) }
    }

    /// Waits until the application is to receive.
    pub(crate) fn wait_to_receive(&self) {
        let state = self.lock();
        let mut state =
            self.changed.wait_while(state, |state| !state.receiving).unwrap_or_else(PoisonError::into_inner);
        state.receives += 1;
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn poll_to_receive(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.receiving {
            state.receives += 1;
            drop(state);
            self.changed.notify_all();
            return Poll::Ready(());
        }
        state.application = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn stream(self: &Arc<Self>) -> Stream {
        Stream(Arc::clone(self))
    }
}

/// The end of a scripted connection that an adapter is given.
pub struct Stream(Arc<Link>);

impl Stream {
    fn poll_read(&self, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let Some(read) = state.read(buf) else {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.0.changed.notify_all();
        Poll::Ready(read)
    }

    fn poll_write(&self, cx: &Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.0.lock();
        let Some(written) = state.write(slices) else {
            state.writer = Some(cx.waker().clone());
            drop(state);
            self.0.changed.notify_all();
            return Poll::Pending;
        };
        drop(state);
        self.0.changed.notify_all();
        Poll::Ready(written)
    }

    fn shut_down(&self) {
        self.0.change(|state| state.trace.shut_down |= !state.trace.dropped);
    }

    /// A blocking call: `act` again and again until it comes to something.
    fn block<O>(
        &self,
        timeout: impl Fn(&State) -> Option<Duration>,
        mut act: impl FnMut(&mut State) -> Option<io::Result<O>>,
    ) -> io::Result<O> {
        let mut state = self.0.lock();
        let until = timeout(&state).map(|timeout| Instant::now() + timeout);
        loop {
            let was_blocked = state.blocked;
            if let Some(done) = act(&mut state) {
                drop(state);
                self.0.changed.notify_all();
                return done;
            }
            if state.blocked && !was_blocked {
                self.0.changed.notify_all();
            }
            let left = until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.change(|state| state.trace.dropped = true);
    }
}

impl sansocket_std::Transport for Stream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.block(|state| state.read_timeout, |state| state.read(buf))
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.block(|state| state.write_timeout, |state| state.write(bufs))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.lock().read_timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.lock().write_timeout = timeout;
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Write => self.shut_down(),
            Shutdown::Both => self.0.change(|state| state.trace.dropped = true),
            // A read that waits ends.
            Shutdown::Read => self.0.change(|state| state.eof = true),
        }
        Ok(())
    }
}

impl tokio::io::AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4096];
        let len = buf.remaining().min(chunk.len());
        Self::poll_read(&self, cx, &mut chunk[..len]).map_ok(|n| buf.put_slice(&chunk[..n]))
    }
}

impl tokio::io::AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down();
        Poll::Ready(Ok(()))
    }
}

impl futures_util::AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Self::poll_read(&self, cx, buf)
    }
}

impl futures_util::AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_down();
        Poll::Ready(Ok(()))
    }
}

/// How long an adapter may take for one step: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(20);
