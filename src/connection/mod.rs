//! ONE WebSocket over ONE transport: handshake, messages, close, deadlines. RFC 6455.
//!
//! A [`Connection`] is a state machine. Its caller owns the transport, the clock and the receive buffer, and runs one loop:
//!
//! 1. Read into [`RecvBuf::spare_mut`](crate::RecvBuf::spare_mut) and tell it by [`RecvBuf::advance_received`](crate::RecvBuf::advance_received); at the end of the stream call
//!    [`handle_eof`](Connection::handle_eof), on a transport error [`handle_transport_error`](Connection::handle_transport_error).
//! 2. Call [`poll_event`](Connection::poll_event) until it returns `None`, and send what there is to send.
//! 3. Write [`outgoing`](Connection::outgoing), and tell how much went by [`advance_outgoing`](Connection::advance_outgoing).
//!    When something went, go back to 2: decoding may have waited for it.
//! 4. Obey [`poll_stream`](Connection::poll_stream). After [`StreamOrder::Drop`] and [`Event::Closed`] all is over.
//! 5. When [`poll_timeout`](Connection::poll_timeout) is due, and nothing can be read any more, call
//!    [`handle_timeout`](Connection::handle_timeout) and go back to 2: most deadlines are judged there.
//! 6. Wait until the transport can be read (if [`wants_read`](Connection::wants_read)) or written (if there is output), or for the
//!    next deadline.
//!
//! A transport that cannot be shut down in one direction needs no half-close: ignore that order, and its failure. Any other order of
//! calls is safe too: it may wait longer than it needs to, but never panics, and loses nothing but what has not been decoded when
//! [`abort`](Connection::abort) is called or `handle_timeout` finds that the write or the close deadline has passed.
//!
//! # States
//!
//! ```text
//!            accept / 101                close()                 peer's Close
//! Opening ───────────────▶ Open ─────────────────▶ CloseSent ──────────────▶ Draining ───▶ Closed
//!    │                      │ peer's Close, fault, deadline, end of stream      ▲  ▲         ▲
//!    │                      └──────────────────────────────────────────────────┘  │         │
//!    │ fault, refusal, deadline (a server's, which has an answer to write)         │         │
//!    ├─────────────────────────────────────────────────────────────────────────────┘         │
//!    └───────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! While *Draining*, nothing more is decoded: what is queued is written, the writing direction is shut down, and the end of the peer's
//! direction is awaited, up to the close deadline, so that the last bytes are not lost to a reset. A server ends the transport
//! first, a client waits for that (section 7.1.1).
//!
//! # Who is told what
//!
//! The peer's faults are events: `poll_event` cannot fail, and a fault queues its Close frame before [`Event::Closed`] reports it. The
//! caller's faults are `Err`, and nothing has happened then.

mod closing;
mod config;
mod deadlines;
#[cfg(feature = "deflate")]
mod deflating;
#[cfg(test)]
mod diagram;
mod error;
mod event;
mod extensions;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod keystream;
mod opening;
mod receiving;
mod sending;

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use config::{Accepts, Config};
pub use error::{AcceptError, ProtocolError, SendError};
pub use event::{CloseCause, Closed, Deadline, Event, Side, StreamOrder};
pub use extensions::AgreedExtensions;
pub use sending::{CONTROL_ROOM, FragmentPosition, SHARED_PAYLOAD_LEN_MIN};

use crate::buffer::SendBuf;
use crate::handshake::ClientRequest;
use closing::Ending;
use deadlines::Timers;
pub(crate) use keystream::Keystream;
use opening::Opening;
use receiving::{Receiving, Stream};
use sending::Sending;

/// One WebSocket over one transport. The [module](self) tells how to drive it.
///
/// It holds no payload and, while idle, no memory beyond itself once [`release`](Self::release) was called, but for what permessage-deflate has to
/// remember where it was agreed on.
pub struct Connection {
    role: Role,
    state: State,
    config: Arc<Config>,
    keystream: Keystream,
    receiving: Receiving,
    send_buf: SendBuf,
    sending: Sending,
    timers: Timers,
    subprotocol: Option<Box<str>>,
    /// What permessage-deflate remembers, if it was agreed on.
    #[cfg(feature = "deflate")]
    deflate: Option<Box<deflating::Deflating>>,
}

/// Which rules an endpoint follows: a client masks what it sends, a server ends the transport first. RFC 6455 section 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that asked for the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How far a connection is, by the names and numbers that browsers give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReadyState {
    /// The handshake is under way.
    Connecting = 0,
    /// Messages may be sent.
    Open = 1,
    /// The end has begun.
    Closing = 2,
    /// The transport is done with.
    Closed = 3,
}

/// The transitions are in `closing.rs`, but for those out of `Opening`.
enum State {
    Opening(Box<Opening>),
    Open,
    /// Our Close is on its way; messages may still arrive before the peer's.
    CloseSent(Box<Ending>),
    /// Nothing more is decoded; output is written and the end of the stream awaited.
    Draining(Box<Ending>),
    Closed {
        report: Box<Closed>,
        /// Whether the last event was.
        reported: bool,
        /// Whether the last order was given.
        dropped: bool,
    },
}

impl Connection {
    /// A client, about to ask: the request is in [`outgoing`](Self::outgoing) at once. RFC 6455 section 4.1.
    ///
    /// `seed` must be unpredictable and used for one connection only: masking keys come from it.
    pub fn client(request: &ClientRequest, config: impl Into<Arc<Config>>, seed: [u8; 32], now: Instant) -> Self {
        let mut connection = Self::new(Role::Client, config.into(), seed);
        connection.open_as_client(request, now);
        connection
    }

    /// A server, about to be asked. RFC 6455 section 4.2.
    ///
    /// `seed` should be unpredictable: the payloads of heartbeat pings come from it.
    pub fn server(config: impl Into<Arc<Config>>, seed: [u8; 32], now: Instant) -> Self {
        let mut connection = Self::new(Role::Server, config.into(), seed);
        connection.open_as_server(now);
        connection
    }

    /// A connection whose handshake somebody else made: an HTTP server, or one stream of HTTP/2.
    ///
    /// It is open at once, without an [`Event::Open`]. **Bytes that were read behind the handshake** go into the buffer by
    /// [`RecvBuf::extend_from_slice`](crate::RecvBuf::extend_from_slice). The functions of [`handshake`](crate::handshake) check the request and make the answer; what
    /// was agreed on in it, [`with_subprotocol`](Self::with_subprotocol) and [`with_extensions`](Self::with_extensions) say.
    pub fn open(role: Role, config: impl Into<Arc<Config>>, seed: [u8; 32], now: Instant) -> Self {
        let mut connection = Self::new(role, config.into(), seed);
        connection.enter_open(now);
        connection
    }

    /// Sets what [`subprotocol`](Self::subprotocol) answers, for a connection whose handshake somebody else made.
    #[must_use]
    pub fn with_subprotocol(mut self, subprotocol: Option<&str>) -> Self {
        self.subprotocol = subprotocol.map(Into::into);
        self
    }

    fn new(role: Role, config: Arc<Config>, seed: [u8; 32]) -> Self {
        Self {
            role,
            state: State::Open,
            config,
            keystream: Keystream::new(seed),
            receiving: Receiving::default(),
            send_buf: SendBuf::default(),
            sending: Sending::default(),
            timers: Timers::default(),
            subprotocol: None,
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }

    fn enter_open(&mut self, now: Instant) {
        self.state = State::Open;
        self.timers.open(now, &self.config);
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far the connection is.
    pub fn state(&self) -> ReadyState {
        match &self.state {
            State::Opening(_) => ReadyState::Connecting,
            State::Open => ReadyState::Open,
            State::CloseSent(_) => ReadyState::Closing,
            State::Draining(_) => ReadyState::Closing,
            State::Closed { .. } => ReadyState::Closed,
        }
    }

    /// How the connection ended, once it has: what [`Event::Closed`] reports, or reported.
    pub fn closed(&self) -> Option<&Closed> {
        match &self.state {
            State::Closed { report, .. } => Some(report),
            _ => None,
        }
    }

    /// Its limits and deadlines.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The subprotocol that the handshake settled on, or that [`with_subprotocol`](Self::with_subprotocol) set.
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The round trip of the last heartbeat ping that was answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.timers.rtt()
    }

    /// The next bytes for the transport, in one piece; empty when there are none.
    #[inline]
    pub fn outgoing(&self) -> &[u8] {
        self.send_buf.front()
    }

    /// The next bytes for the transport, as many pieces as fill `slices`; returns how many are filled.
    ///
    /// There is more than one piece only when a payload waits that was given as [`Bytes`](bytes::Bytes).
    pub fn outgoing_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.send_buf.slices(slices)
    }

    /// How many bytes wait for the transport.
    #[inline]
    pub fn buffered_len(&self) -> usize {
        self.send_buf.len()
    }

    /// The transport took the first `n` bytes of the output.
    #[inline]
    pub fn advance_outgoing(&mut self, now: Instant, n: usize) {
        if n == 0 || self.send_buf.is_empty() {
            return;
        }
        let was_paused = self.is_paused();
        self.send_buf.advance(n);
        self.close_leaves(n);
        self.receiving.unsent_pongs = 0;
        self.sending.output_shrank(self.send_buf.len(), self.config.high_water_mark);
        if was_paused {
            // Nothing was read meanwhile: that the peer takes something is the sign of life.
            self.timers.resume(now, self.is_paused(), &self.config);
        }
        self.timers.output_taken(now, n, self.send_buf.is_empty(), &self.config);
        self.settle();
    }

    /// Whether the transport should be read now. False while decoding waits for output to be written, and after that until a poll for events
    /// has found nothing more; while a server's application has a request to answer (the client may not send anything yet, and nothing
    /// would bound it); and at the end.
    ///
    /// Reading on regardless only makes the buffer grow.
    #[inline]
    pub fn wants_read(&self) -> bool {
        match &self.state {
            State::Closed { .. } => false,
            _ if self.receiving.stream != Stream::Open => false,
            State::Draining(_) => true,
            State::Opening(opening) => opening.wants_read(),
            State::Open | State::CloseSent(_) => !self.is_paused() && !self.receiving.has_backlog,
        }
    }

    /// Whether output has to be written before anything more is decoded. What is left of a full read stays in the buffer.
    ///
    /// That is so when answers have piled up above the high-water mark, or pongs. A message above it that was sent of one's own accord
    /// does not pause decoding: two ends that both send a long one at once have to read, or neither could write.
    #[inline]
    pub fn is_paused(&self) -> bool {
        if self.receiving.stream == Stream::Failed {
            return false; // Nothing will be written any more.
        }
        self.send_buf.len() > self.config.high_water_mark.max(self.sending.tolerated_len)
            || self.receiving.unsent_pongs >= self.config.unsent_pongs_max.max(1)
    }

    /// Gives back the memory that an idle connection can do without. Cheap to call before each wait.
    pub fn release(&mut self) {
        self.send_buf.release();
        self.keystream.release();
        #[cfg(feature = "deflate")]
        self.release_deflate();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("state", &self.state())
            .field("buffered_len", &self.buffered_len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ReadyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}
