//! The end of a connection: every way to it, and the one report of it. RFC 6455 section 7.
//!
//! ```text
//! Open ──── close() ─────▶ CloseSent ── peer's Close, fault, end of stream ──▶ Draining
//! Open ──── peer's Close, fault, idle, pong or message deadline, end of stream ──▶ Draining
//! Draining ── all written, and the stream ended (or nothing to wait for) ──▶ Closed
//! any ────── transport failed, write or close deadline, abort() ──▶ Closed
//! ```
//!
//! [`Ending`] carries the report from the moment in which the end begins; what happens later may only make it less clean.

use std::time::Instant;

use super::deadlines::after;
use super::receiving::Stream;
use super::{CloseCause, Closed, Connection, Event, ProtocolError, Role, SendError, Side, State, StreamOrder};
use crate::frame::{CLOSE_REASON_LEN_MAX, CloseCode, ClosePayload};

/// An end that has begun.
pub(super) struct Ending {
    closed: Closed,
    /// When it is cut short.
    pub(super) deadline: Option<Instant>,
    /// How much output has to be written until our Close frame has left; 0 when it has.
    close_unsent: usize,
    teardown: Teardown,
}

/// What remains to be done once all output is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Teardown {
    /// Shut down our direction, then wait for the end of the peer's.
    Shutdown,
    /// Wait for the end of the peer's direction.
    AwaitEnd,
    /// Nothing: nobody is there any more.
    Drop,
}

impl Connection {
    /// Begins the closing handshake: queues a Close frame; messages may still arrive until the peer's comes. RFC 6455 section 7.1.2.
    ///
    /// What is queued leaves first, and has until the close deadline for it. With [`CloseCode::NO_STATUS_RECEIVED`] the frame has no code. A
    /// server with a request to answer answers 503; otherwise, before the connection is open, the transport is dropped. When the connection is
    /// closing already, nothing happens: the first code stands.
    ///
    /// # Errors
    /// [`SendError::CloseCode`] for a code that may not be sent, [`SendError::CloseReasonTooLong`] for more than 123 bytes.
    pub fn close(&mut self, now: Instant, code: CloseCode, reason: &str) -> Result<(), SendError> {
        let payload = if code == CloseCode::NO_STATUS_RECEIVED { None } else { Some(ClosePayload { code, reason }) };
        if payload.is_some() && !code.is_allowed_on_the_wire() {
            return Err(SendError::CloseCode(code));
        }
        let max = if payload.is_some() { CLOSE_REASON_LEN_MAX } else { 0 };
        if reason.len() > max {
            return Err(SendError::CloseReasonTooLong { len: reason.len(), max });
        }
        match self.state {
            State::Opening(_) => self.close_opening(now),
            State::Open if self.receiving.stream == Stream::Failed => {}
            State::Open => {
                self.queue_close(now, payload);
                let closed = Closed::local(code, reason.to_owned(), CloseCause::CloseFrame);
                let deadline = after(now, self.config.close_timeout);
                self.timers.closing();
                self.state = State::CloseSent(Box::new(Ending {
                    closed,
                    deadline,
                    close_unsent: self.send_buf.len(),
                    teardown: Teardown::Shutdown,
                }));
            }
            State::CloseSent(_) | State::Draining(_) | State::Closed { .. } => {}
        }
        Ok(())
    }

    /// Ends the connection at once: what waits is discarded, the transport dropped.
    pub fn abort(&mut self) {
        self.cut_short(CloseCause::Aborted);
    }

    /// What to do with the transport now; each order comes once. RFC 6455 section 7.1.1.
    ///
    /// Ask after each round of events and writes.
    pub fn poll_stream(&mut self) -> Option<StreamOrder> {
        match &mut self.state {
            State::Draining(ending) if ending.teardown == Teardown::Shutdown && self.send_buf.is_empty() => {
                ending.teardown = Teardown::AwaitEnd;
                Some(StreamOrder::ShutdownWrite)
            }
            State::Closed { dropped: dropped @ false, .. } => {
                *dropped = true;
                Some(StreamOrder::Drop)
            }
            _ => None,
        }
    }

    /// The last event, once.
    pub(super) fn take_report(&mut self) -> Option<Event<'static>> {
        match &mut self.state {
            State::Closed { report, reported: reported @ false, .. } => {
                *reported = true;
                Some(Event::Closed(Closed::clone(report)))
            }
            _ => None,
        }
    }

    /// The peer's Close frame. Answers it, unless it is the answer to ours. RFC 6455 section 5.5.1.
    pub(super) fn handle_close_frame<'b>(
        &mut self,
        now: Instant,
        payload: Option<ClosePayload<'b>>,
    ) -> (CloseCode, &'b str) {
        let (code, reason) =
            payload.map_or((CloseCode::NO_STATUS_RECEIVED, ""), |payload| (payload.code, payload.reason));
        let mut closed = match self.begun() {
            Some(closed) => closed,
            None if self.receiving.stream == Stream::Failed => {
                Closed { by: Side::Remote, ..Closed::local(code, reason.to_owned(), CloseCause::TransportFailed) }
            }
            None => {
                // "When sending a Close frame in response, the endpoint typically echos the status code it received."
                self.queue_close(now, payload.map(|payload| ClosePayload { reason: "", ..payload }));
                Closed { by: Side::Remote, ..Closed::local(code, reason.to_owned(), CloseCause::CloseFrame) }
            }
        };
        closed.peer_code = Some(code);
        closed.clean = closed.cause == CloseCause::CloseFrame;
        // "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server."
        let teardown = match self.role {
            Role::Server => Teardown::Shutdown,
            Role::Client => Teardown::AwaitEnd,
        };
        self.drain(now, closed, teardown);
        (code, reason)
    }

    /// The peer broke the protocol: _Fail the WebSocket Connection_, RFC 6455 section 7.1.7.
    #[cold]
    pub(super) fn fail(&mut self, now: Instant, error: ProtocolError) {
        self.fail_with(now, error.close_code(), error.to_string(), CloseCause::Protocol(error), Teardown::Shutdown);
    }

    /// Ends an open connection from here, with a Close frame if none was sent yet.
    pub(super) fn fail_with(
        &mut self,
        now: Instant,
        code: CloseCode,
        reason: String,
        cause: CloseCause,
        teardown: Teardown,
    ) {
        let closed = match self.begun() {
            Some(closed) => Closed { cause, ..closed },
            None => {
                if self.receiving.stream != Stream::Failed {
                    self.queue_close(now, Some(ClosePayload { code, reason: &reason }));
                }
                Closed::local(code, reason, cause)
            }
        };
        self.drain(now, closed, teardown);
    }

    /// The stream ended, and everything before its end has been decoded.
    pub(super) fn end_of_stream(&mut self, now: Instant, cause: CloseCause) {
        let closed = match self.begun() {
            Some(closed) => Closed { cause, ..closed },
            None => Closed { by: Side::Remote, ..Closed::local(CloseCode::ABNORMAL, String::new(), cause) },
        };
        self.drain(now, closed, Teardown::Drop);
    }

    /// From here on nothing is decoded.
    pub(super) fn drain(&mut self, now: Instant, closed: Closed, teardown: Teardown) {
        let (deadline, close_unsent) = match &self.state {
            State::CloseSent(ending) | State::Draining(ending) => (ending.deadline, ending.close_unsent),
            // If there is a Close frame, it was queued just now.
            _ => (after(now, self.config.close_timeout), self.send_buf.len()),
        };
        self.state = State::Draining(Box::new(Ending { closed, deadline, close_unsent, teardown }));
        self.settle();
    }

    /// Closes a draining connection that has nothing left to wait for.
    #[inline]
    pub(super) fn settle(&mut self) {
        if let State::Draining(_) = &self.state {
            self.settle_draining();
        }
    }

    #[cold]
    fn settle_draining(&mut self) {
        let State::Draining(ending) = &self.state else {
            return;
        };
        let over = self.receiving.stream != Stream::Open || ending.teardown == Teardown::Drop;
        let written = self.send_buf.is_empty() || self.receiving.stream == Stream::Failed;
        if over && written {
            let closed = ending.closed.clone();
            self.finish(closed);
        }
    }

    /// The transport takes nothing any more, and what waits is lost.
    pub(super) fn lose_output(&mut self) {
        if let State::CloseSent(ending) | State::Draining(ending) = &mut self.state
            && ending.close_unsent > 0
        {
            // Our Close frame is lost.
            ending.closed.clean = false;
            if ending.closed.cause == CloseCause::CloseFrame {
                ending.closed.cause = CloseCause::TransportFailed;
            }
        }
        self.send_buf.clear();
        self.timers.output_lost();
        self.settle();
    }

    /// Ends the connection without waiting for anything more. An end that has begun keeps its report, but for the cause of not being clean.
    pub(super) fn cut_short(&mut self, cause: CloseCause) {
        let closed = match self.begun() {
            Some(closed) if closed.clean && self.close_has_left() => closed,
            Some(closed) if closed.cause != CloseCause::CloseFrame => closed,
            Some(closed) => Closed { cause, ..closed },
            None => Closed::local(CloseCode::ABNORMAL, String::new(), cause),
        };
        self.finish(closed);
    }

    /// The end, reported once: what was reported or is due stays as it is.
    pub(super) fn finish(&mut self, mut closed: Closed) {
        if matches!(self.state, State::Closed { .. }) {
            return;
        }
        closed.clean &= self.close_has_left();
        self.state = State::Closed { report: Box::new(closed), reported: false, dropped: false };
        self.send_buf.clear();
        self.keystream.release();
        #[cfg(feature = "deflate")]
        self.retire_deflate();
        self.timers.output_lost();
    }

    /// The transport took so much of the output.
    #[inline]
    pub(super) fn close_leaves(&mut self, n: usize) {
        if let State::CloseSent(ending) | State::Draining(ending) = &mut self.state {
            ending.close_unsent = ending.close_unsent.saturating_sub(n);
        }
    }

    fn close_has_left(&self) -> bool {
        match &self.state {
            State::CloseSent(ending) | State::Draining(ending) => ending.close_unsent == 0,
            _ => false,
        }
    }

    /// The report of the end that has begun, if one has.
    fn begun(&self) -> Option<Closed> {
        match &self.state {
            State::CloseSent(ending) | State::Draining(ending) => Some(ending.closed.clone()),
            _ => None,
        }
    }
}

impl Closed {
    /// An end that begins here and is not clean yet.
    pub(super) fn local(code: CloseCode, reason: String, cause: CloseCause) -> Self {
        Self { by: Side::Local, code, reason, peer_code: None, clean: false, cause }
    }
}
