//! The task behind a client: it connects, reads, writes and sleeps, as the core orders.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use sansocket::RecvBuf;
use sansocket::client::{ConnectFailure, Order, Prepared};
use sansocket_common::ConnectError;
use sansocket_common::client::Preparation;
use sansocket_common::hub::{Hub, wall_clock};

use super::shared::Shared;
use crate::connect::ClientStream;
use crate::driver::{ROUNDS_MAX, SLICES_MAX};
use crate::last_words::read_last_words;
use crate::scratch::ScratchBuf;
use crate::{Connector, Dial, Transport};

/// Finds out what to connect to.
pub(crate) type Prepare = Box<dyn FnMut(Preparation) -> BoxFuture<Prepared> + Send>;
pub(crate) type BoxFuture<O> = Pin<Box<dyn Future<Output = O> + Send>>;

pub(crate) struct Task<R: Dial> {
    shared: Arc<Shared>,
    connector: Arc<Connector<R>>,
    prepare: Option<Prepare>,
    way: Way<R>,
    /// What the stream of the moment has brought.
    buf: ScratchBuf,
    sleep: Option<(Instant, Pin<Box<R::Sleep>>)>,
}

/// How far it is to a connection.
enum Way<R: Dial> {
    Nowhere,
    Preparing(BoxFuture<Prepared>),
    Connecting(BoxFuture<Result<(ClientStream<R>, RecvBuf), ConnectError>>),
    Connected(Stream<ClientStream<R>>),
}

/// A stream, and what is left to do with it.
struct Stream<T> {
    transport: T,
    /// A layer below may hold what was written.
    flush_due: bool,
    shutdown_due: bool,
    /// Nothing more can be read.
    read_ended: bool,
}

/// What a turn leaves to be done without the lock.
struct Turn {
    order: Option<Order>,
    /// Not all that has arrived is taken in, but others are to have their turn first.
    is_inflating: bool,
    wants_read: bool,
    deadline: Option<Instant>,
    is_over: bool,
}

impl<R: Dial> Task<R> {
    pub(crate) fn new(shared: Arc<Shared>, connector: Connector<R>, prepare: Option<Prepare>) -> Self {
        Self {
            shared,
            connector: Arc::new(connector),
            prepare,
            way: Way::Nowhere,
            buf: ScratchBuf::default(),
            sleep: None,
        }
    }

    /// Does what can be done; pending when nothing can, ready at the end.
    fn round(&mut self, cx: &mut Context<'_>) -> Poll<Round> {
        let Self { shared, way, buf, .. } = self;
        let turn = shared.task_turn(cx, |hub, cx| take_turn(hub, way, buf, R::now(), cx));
        if let Some(order) = turn.order {
            self.obey(order);
            return Poll::Ready(Round::Progress);
        }
        if turn.is_over {
            return Poll::Ready(Round::Over);
        }
        if turn.is_inflating {
            return Poll::Ready(Round::OthersTurn);
        }
        if self.go_on(cx) || turn.wants_read && self.read(cx) {
            return Poll::Ready(Round::Progress);
        }
        self.buf.give_back();
        let Some(at) = turn.deadline else { return Poll::Pending };
        if at <= R::now() {
            self.shared.task_turn(cx, |hub, _| hub.client_mut().handle_timeout(R::now()));
            return Poll::Ready(Round::Progress);
        }
        // An earlier timer does: it is set anew when it has run down.
        if self.sleep.as_ref().is_none_or(|(set, _)| *set > at) {
            self.sleep = Some((at, Box::pin(R::sleep_until(at))));
        }
        let Some((_, sleep)) = &mut self.sleep else { return Poll::Pending };
        sleep.as_mut().poll(cx).map(|_| {
            self.sleep = None;
            Round::Progress
        })
    }

    fn obey(&mut self, order: Order) {
        match (order, &mut self.way) {
            (Order::Prepare { cause, needs_credentials }, _) => {
                let asked = Preparation::new(cause, needs_credentials);
                self.way = match &mut self.prepare {
                    Some(prepare) => Way::Preparing(prepare(asked)),
                    None => Way::Preparing(Box::pin(std::future::ready(Prepared::Unchanged))),
                };
            }
            (Order::Connect(attempt), _) => {
                let connector = Arc::clone(&self.connector);
                // Anew for each: the machine may have slept meanwhile.
                self.shared.turn(|hub| hub.client_mut().handle_wall_clock(R::now(), wall_clock()));
                self.way = Way::Connecting(Box::pin(async move { connector.go(&attempt).await }));
            }
            (Order::ShutdownWrite, Way::Connected(stream)) => stream.shutdown_due = true,
            (Order::Drop, _) => {
                self.way = Way::Nowhere;
                self.buf = ScratchBuf::default();
            }
            _ => {}
        }
    }

    /// Goes on to a connection; whether there was an answer.
    fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.way {
            Way::Preparing(preparing) => {
                let Poll::Ready(prepared) = preparing.as_mut().poll(cx) else { return false };
                self.way = Way::Nowhere;
                self.shared.turn(|hub| hub.client_mut().handle_prepared(R::now(), prepared));
            }
            Way::Connecting(connecting) => {
                let Poll::Ready(connected) = connecting.as_mut().poll(cx) else { return false };
                match connected {
                    Ok((transport, received)) => {
                        let stream = Stream { transport, flush_due: false, shutdown_due: false, read_ended: false };
                        self.way = Way::Connected(stream);
                        self.buf = ScratchBuf::new(received);
                        self.shared.turn(|hub| hub.client_mut().handle_connected(R::now()));
                    }
                    Err(error) => {
                        self.way = Way::Nowhere;
                        let failure: ConnectFailure = error.to_failure();
                        self.shared.turn(|hub| hub.client_mut().handle_connect_failed(R::now(), failure));
                    }
                }
            }
            Way::Nowhere | Way::Connected(_) => return false,
        }
        true
    }

    /// Reads what is there; whether anything came.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let Way::Connected(stream) = &mut self.way else { return false };
        if stream.read_ended {
            return false;
        }
        match stream.transport.poll_read(cx, self.buf.roomy().spare_mut()) {
            Poll::Pending => return false,
            Poll::Ready(Ok(n)) if n > 0 => self.buf.get().advance_received(n),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            // TLS without a farewell: whether anything was cut off, the closing handshake tells.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                stream.read_ended = true;
                self.shared.turn(|hub| hub.client_mut().handle_transport_error());
            }
            Poll::Ready(_) => {
                stream.read_ended = true;
                self.shared.turn(|hub| hub.client_mut().handle_eof());
            }
        }
        true
    }
}

/// What came of a round.
enum Round {
    Progress,
    /// There is more to do, and there are others.
    OthersTurn,
    Over,
}

impl<R: Dial> Future for Task<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUNDS_MAX {
            match this.round(cx) {
                Poll::Ready(Round::Progress) => {}
                Poll::Ready(Round::OthersTurn) => break,
                Poll::Ready(Round::Over) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        // It is the others' turn. A peer that sends without end does not keep what is due from happening.
        this.shared.task_turn(cx, |hub, _| {
            let now = R::now();
            if hub.client().poll_timeout().is_some_and(|at| at <= now) {
                hub.client_mut().handle_timeout(now);
            }
        });
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// When a runtime ends before the client does, everybody is told.
impl<R: Dial> Drop for Task<R> {
    fn drop(&mut self) {
        if self.shared.look(|hub| hub.end().is_none()) {
            self.shared.turn(|hub| hub.cut_off(R::now()));
        }
    }
}

/// Takes in what has arrived, and writes what is to leave.
fn take_turn<R: Dial>(
    hub: &mut Hub,
    way: &mut Way<R>,
    buf: &mut ScratchBuf,
    now: Instant,
    cx: &mut Context<'_>,
) -> Turn {
    let mut is_inflating = hub.decode(now, buf.get());
    if let Way::Connected(stream) = way {
        while stream.write_out(hub, buf, now, cx) && !is_inflating {
            // There may be room for what was paused.
            is_inflating = hub.decode(now, buf.get());
        }
    }
    Turn {
        order: hub.poll_order(now),
        is_inflating,
        wants_read: hub.client().wants_read(),
        deadline: hub.client().poll_timeout(),
        is_over: hub.end().is_some(),
    }
}

impl<T: Transport> Stream<T> {
    /// Writes and flushes until the stream takes no more; whether it took anything.
    fn write_out(&mut self, hub: &mut Hub, buf: &mut ScratchBuf, now: Instant, cx: &mut Context<'_>) -> bool {
        let mut wrote = false;
        while !hub.client().outgoing().is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = hub.client().outgoing_slices(&mut slices);
            match self.transport.poll_write(cx, slices.get(..filled).unwrap_or_default()) {
                Poll::Pending => return wrote,
                Poll::Ready(Ok(n)) if n > 0 => {
                    hub.client_mut().advance_outgoing(now, n);
                    self.flush_due = true;
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(_) => {
                    if !self.write_failed(hub, buf, cx) {
                        return wrote;
                    }
                }
            }
            wrote = true;
        }
        if self.flush_due {
            match self.transport.poll_flush(cx) {
                Poll::Pending => return wrote,
                Poll::Ready(Ok(())) => self.flush_due = false,
                Poll::Ready(Err(_)) => {
                    if !self.write_failed(hub, buf, cx) {
                        return wrote;
                    }
                    wrote = true;
                }
            }
        }
        if self.shutdown_due {
            // A stream that cannot be shut down any more needs no end.
            self.shutdown_due = self.transport.poll_shutdown(cx).is_pending();
        }
        wrote
    }

    /// A write or a flush failed. What arrived before is read first; whether that is done. Otherwise the next poll fails in the same way.
    #[cold]
    fn write_failed(&mut self, hub: &mut Hub, buf: &mut ScratchBuf, cx: &Context<'_>) -> bool {
        let len_max = hub.client().connection().map_or(0, |connection| connection.config().message_len_max);
        if !self.read_ended && !read_last_words(&mut self.transport, buf, len_max) {
            cx.waker().wake_by_ref();
            return false;
        }
        self.read_ended = true;
        self.flush_due = false;
        hub.client_mut().handle_transport_error();
        true
    }
}
