//! From bytes to events: frames, fragments, control frames, limits. RFC 6455 section 5.

use std::time::{Duration, Instant};

use super::closing::Teardown;
use super::{Accepts, CloseCause, Config, Connection, Event, ProtocolError, Role, State};
use crate::buffer::RecvBuf;
use crate::frame::{CloseCode, ClosePayload, Header, Opcode, Utf8Error, apply_mask};
use crate::message::MessageKind;

/// Where in the peer's stream of frames we are. Payloads are in the caller's [`RecvBuf`].
#[derive(Default)]
pub(super) struct Receiving {
    /// How much of the data frame under way is still to come; 0 between frames.
    pub(super) frame_remaining: u64,
    /// What the headers of the message under way have announced so far, or what it inflated to if it is compressed.
    pub(super) message_len: u64,
    /// How many unread bytes the last poll left, so that the next one sees whether any came.
    pub(super) unread_len: usize,
    /// How many bytes of the message under way the last poll left, to tell the buffer from another one.
    joined_len: usize,
    /// How many frames the message under way has so far.
    fragments: u32,
    /// Pings answered since the transport last took anything.
    pub(super) unsent_pongs: u32,
    /// For the next byte of the frame under way; all zero when it is not masked.
    pub(super) key: [u8; 4],
    /// How many bytes of an unfinished code point the text under way ends with, as far as it has been checked: 0 to 3.
    pub(super) partial_len: u8,
    /// The message under way.
    pub(super) message: Option<MessageKind>,
    /// Whether the frame under way is its message's last.
    pub(super) fin: bool,
    /// Whether a piece of the message under way has been delivered.
    pub(super) in_pieces: bool,
    /// Whether the message under way is compressed.
    #[cfg(feature = "deflate")]
    pub(super) compressed: bool,
    /// Whether more of it may come without more input.
    #[cfg(feature = "deflate")]
    pub(super) output_pending: bool,
    /// Whether unread bytes wait because decoding was paused, or a message is withheld.
    pub(super) has_backlog: bool,
    pub(super) stream: Stream,
}

/// The peer's direction of the transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    #[default]
    Open,
    /// At its end; ours may still be open.
    Ended,
    /// Both directions are gone.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    Pieces,
    /// Not at all: messages stay where they are, and what is behind them.
    Withheld,
}

/// One step in the stream of frames. What it is about has been lent by the buffer.
pub(super) enum Step {
    Message(MessageKind),
    Piece {
        kind: MessageKind,
        last: bool,
    },
    Ping,
    Pong {
        rtt: Option<Duration>,
    },
    Close,
    /// Enough of a compressed message has been inflated for one poll.
    #[cfg(feature = "deflate")]
    Inflating,
    /// A message is there, but not asked for.
    Withheld,
    /// Nothing more to do until something arrives or is written.
    Idle,
}

impl Connection {
    /// The next event, with messages whole; `None` when there is none until something arrives, is written or falls due.
    ///
    /// Takes what it decodes from `input`, which must be the same for each call, or one that everything left in it was moved to
    /// ([`RecvBuf::take_over`]); one that lacks what was left ends the connection ([`CloseCause::WrongBuffer`]).
    #[inline]
    pub fn poll_event<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<Event<'b>> {
        self.poll(now, input, Delivery::Whole)
    }

    /// Like [`poll_event`](Self::poll_event), but with messages in pieces as they arrive, for messages too large to hold.
    ///
    /// The same rules and limits hold, and text is checked as far as it is delivered. To take messages of any length, raise
    /// [`Config::message_len_max`], [`Config::frame_len_max`], [`Config::fragments_max`] and [`Config::message_timeout`]. A message that
    /// this method has begun ends as a piece even when `poll_event` goes on with it.
    pub fn poll_event_in_pieces<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<Event<'b>> {
        self.poll(now, input, Delivery::Pieces)
    }

    /// Whether a piece of a message has been delivered whose last is still to come. To discard the rest, poll for pieces until it has. Once the
    /// end has begun in which nothing is decoded any more, none will come.
    pub fn is_partly_delivered(&self) -> bool {
        self.receiving.in_pieces && matches!(self.state, State::Open | State::CloseSent(_))
    }

    /// Like [`poll_event`](Self::poll_event), but takes no message: `None` as soon as the next thing in the stream is one, or a piece of one.
    ///
    /// For an adapter whose application does not receive at the moment: control frames are answered, and messages wait. While one
    /// does, [`wants_read`](Self::wants_read) is false, the pong and idle deadlines start anew with each call, and that of the message rests: what
    /// would meet them may be stuck behind it.
    pub fn poll_control_event<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<Event<'b>> {
        self.poll(now, input, Delivery::Withheld)
    }

    /// The peer's direction of the transport is at its end. Poll for events then: what arrived before may hold some, and only when that is
    /// done does the connection take notice of the end. A second call changes nothing.
    pub fn handle_eof(&mut self) {
        if self.receiving.stream == Stream::Open {
            self.receiving.stream = Stream::Ended;
        }
        self.settle();
    }

    /// The transport failed: nothing can be read or written any more. Poll for events then: what arrived before may hold some, and only
    /// when that is done does the connection end. A second call changes nothing.
    pub fn handle_transport_error(&mut self) {
        self.receiving.stream = Stream::Failed;
        self.receiving.unsent_pongs = 0;
        self.lose_output();
    }

    #[inline]
    fn poll<'b>(&mut self, now: Instant, input: &'b mut RecvBuf, delivery: Delivery) -> Option<Event<'b>> {
        if self.is_between_reads(input) {
            self.receiving.has_backlog = false;
            return None;
        }
        self.poll_anew(now, input, delivery)
    }

    /// The common case of a poll with nothing to tell.
    #[inline]
    fn is_between_reads(&self, input: &RecvBuf) -> bool {
        let receiving = &self.receiving;
        input.is_empty()
            && matches!(self.state, State::Open)
            && (receiving.unread_len, receiving.joined_len) == (0, 0)
            && receiving.is_at_rest()
            && self.timers.is_at_rest()
    }

    fn poll_anew<'b>(&mut self, now: Instant, input: &'b mut RecvBuf, delivery: Delivery) -> Option<Event<'b>> {
        match &self.state {
            State::Open | State::CloseSent(_) => {}
            State::Opening(_) => return self.poll_opening(now, input),
            State::Draining(_) => {
                input.truncate_unread(self.receiving.unread_len);
                return self.take_report();
            }
            State::Closed { .. } => return self.take_report(),
        }
        let unread_len = input.unread().len();
        if unread_len < self.receiving.unread_len || input.joined_len() != self.receiving.joined_len {
            let cause = CloseCause::WrongBuffer;
            self.receiving.unread_len = unread_len; // It is somebody else's, and stays as it is.
            self.fail_with(now, CloseCode::INTERNAL_ERROR, cause.to_string(), cause, Teardown::Shutdown);
            return self.take_report();
        }
        if unread_len > self.receiving.unread_len {
            self.timers.sign_of_life(now);
        }
        if delivery == Delivery::Whole
            && let Some(kind) = self.take_whole_message(input)
        {
            self.receiving.unread_len = input.unread().len();
            self.sending.owes_answer = true;
            match kind {
                MessageKind::Binary => return Some(Event::Binary(input.lent())),
                MessageKind::Text => {
                    if let Some(text) = input.lent_text() {
                        return Some(Event::Text(text));
                    }
                }
            }
            self.fail(now, ProtocolError::TextNotUtf8);
            return self.take_report();
        }
        #[cfg(feature = "deflate")]
        self.renew_inflation_budget();
        let step = self.step(now, input, delivery);
        self.receiving.unread_len = input.unread().len();
        self.receiving.joined_len = input.joined_len();
        input.set_awaited(self.receiving.frame_remaining);
        if let Ok(Step::Message(kind)) = step {
            input.mark_lent_message(kind);
        }
        self.sending.owes_answer |= step.as_ref().map_or(true, Step::is_told);
        let error = match step {
            Ok(Step::Idle) => {
                let is_paused = self.is_paused();
                self.receiving.has_backlog = is_paused && self.receiving.unread_len > 0;
                if is_paused {
                    // What is unread may be all there.
                    if self.receiving.message.is_some() {
                        self.timers.message_begun(now);
                    }
                    self.end_when_due(now);
                } else {
                    match self.receiving.stream {
                        Stream::Open => self.end_when_due(now),
                        Stream::Ended => self.end_of_stream(now, CloseCause::EndOfStream),
                        Stream::Failed => self.end_of_stream(now, CloseCause::TransportFailed),
                    }
                    self.timers.message(now, self.receiving.is_mid_message(), &self.config);
                }
                return self.take_report();
            }
            Ok(Step::Withheld) => {
                self.receiving.has_backlog = true;
                self.timers.withhold(now);
                return self.take_report();
            }
            #[cfg(feature = "deflate")]
            Ok(Step::Inflating) => {
                self.receiving.has_backlog = true;
                return Some(Event::Inflating);
            }
            Ok(Step::Message(MessageKind::Binary)) => return Some(Event::Binary(input.lent())),
            Ok(Step::Message(MessageKind::Text)) => match input.lent_text() {
                Some(text) => return Some(Event::Text(text)),
                None => ProtocolError::TextNotUtf8,
            },
            Ok(Step::Piece { kind: MessageKind::Binary, last }) => {
                return Some(Event::BinaryPiece { bytes: input.lent(), last });
            }
            Ok(Step::Piece { kind: MessageKind::Text, last }) => match input.lent_text() {
                Some(text) => return Some(Event::TextPiece { text, last }),
                None => ProtocolError::TextNotUtf8,
            },
            Ok(Step::Ping) => return Some(Event::Ping(input.lent())),
            Ok(Step::Pong { rtt }) => return Some(Event::Pong { payload: input.lent(), rtt }),
            Ok(Step::Close) => match ClosePayload::decode(input.lent()) {
                Ok(payload) => {
                    let (code, reason) = self.handle_close_frame(now, payload);
                    return Some(Event::CloseReceived { code, reason });
                }
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        self.fail(now, error);
        self.take_report()
    }

    /// Takes and lends a message in one frame that is all there, when nothing is wrong with it: the common case, decided by a few
    /// comparisons. `None` leaves it to [`step`](Self::step), which has the rules and the names of what breaks them.
    #[inline]
    fn take_whole_message(&mut self, input: &mut RecvBuf) -> Option<MessageKind> {
        const MASKED: u8 = 0x80;
        let receiving = &self.receiving;
        let between_messages = receiving.message.is_none() && receiving.frame_remaining == 0;
        if !between_messages || self.is_paused() {
            return None;
        }
        let &[first, second, ref rest @ ..] = input.unread() else { return None };
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        let (len, rest) = match second & !MASKED {
            126 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            127 => return None,
            len => (usize::from(len), rest),
        };
        let shortest = len >= 126 || second & !MASKED == len as u8;
        let (key, rest) = match (self.role, second & MASKED) {
            (Role::Server, MASKED) => {
                let (key, rest) = rest.split_first_chunk()?;
                (Some(*key), rest)
            }
            (Role::Client, 0) => (None, rest),
            _ => return None,
        };
        let limit = self.config.frame_len_max.min(self.config.message_len_max);
        let accepted = self.config.accepts == Accepts::TextAndBinary && self.config.fragments_max > 0;
        if !shortest || len > rest.len() || len as u64 > limit || !accepted {
            return None;
        }
        #[expect(clippy::arithmetic_side_effects, reason = "`rest` is the end of what is unread")]
        let header_len = input.unread().len() - rest.len();
        input.lend_whole_message(header_len, len, kind);
        if let Some(key) = key {
            input.unmask_lent(kind, key);
        }
        self.timers.message_done();
        Some(kind)
    }

    /// Decodes until something is to be told. Every round takes bytes, or returns.
    #[inline]
    fn step(&mut self, now: Instant, input: &mut RecvBuf, delivery: Delivery) -> Result<Step, ProtocolError> {
        // Even inside a frame: there has to be room for an answer to the message that it ends.
        if self.is_paused() {
            return Ok(Step::Idle);
        }
        loop {
            let receiving = &mut self.receiving;
            if let (Some(kind), Delivery::Pieces) = (receiving.message, delivery)
                && input.joined_len() > usize::from(receiving.partial_len)
            {
                input.lend_message(receiving.partial_len.into());
                receiving.in_pieces = true;
                return Ok(Step::Piece { kind, last: false });
            }
            #[cfg(feature = "deflate")]
            if receiving.is_inflating(input) {
                match self.inflate(input, delivery)? {
                    Some(step) => return Ok(step),
                    None => continue,
                }
            }
            if receiving.frame_remaining > 0 {
                if input.unread().is_empty() {
                    return Ok(Step::Idle);
                }
                if delivery == Delivery::Withheld {
                    return Ok(Step::Withheld);
                }
                receiving.join(input)?;
                if receiving.frame_remaining == 0 && receiving.fin {
                    return self.finish_message(input, delivery);
                }
                continue;
            }
            let Some((header, header_len)) = Header::decode(input.unread())? else {
                return Ok(Step::Idle);
            };
            self.check_header(&header)?;
            if header.opcode.is_control() {
                let payload_len = header.payload_len as usize; // at most 125
                if input.unread().len() < header_len.saturating_add(payload_len) {
                    return Ok(Step::Idle);
                }
                input.skip(header_len);
                let payload = input.lend_unread(payload_len);
                apply_mask_of(&header, payload);
                return Ok(self.take_control_frame(now, header.opcode, input));
            }

            if delivery == Delivery::Withheld {
                return Ok(Step::Withheld);
            }
            self.receiving.count_data_frame(&header, &self.config)?;
            input.skip(header_len);
            let whole = usize::try_from(header.payload_len).ok().filter(|&len| len <= input.unread().len());
            if let (Some(len), None, true, true) = (whole, self.receiving.message, header.fin, header.rsv.is_none()) {
                // The common case: one frame, all there.
                let kind = kind_of(header.opcode).ok_or(ProtocolError::NothingToContinue)?;
                let payload = input.lend_unread(len);
                apply_mask_of(&header, payload);
                self.timers.message_done();
                return Ok(if delivery == Delivery::Pieces {
                    Step::Piece { kind, last: true }
                } else {
                    Step::Message(kind)
                });
            }
            self.receiving.begin_frame(&header);
            #[cfg(feature = "deflate")]
            if self.receiving.compressed {
                self.count_compressed_frame(&header)?;
            }
            if header.payload_len == 0 && header.fin {
                return self.finish_message(input, delivery);
            }
        }
    }

    /// The last byte of the message under way has been taken.
    pub(super) fn finish_message(&mut self, input: &mut RecvBuf, delivery: Delivery) -> Result<Step, ProtocolError> {
        #[cfg(feature = "deflate")]
        if self.receiving.compressed {
            self.finish_inflating()?;
        }
        let receiving = &mut self.receiving;
        if receiving.partial_len > 0 {
            return Err(ProtocolError::TextNotUtf8);
        }
        let kind = receiving.message.take().ok_or(ProtocolError::NothingToContinue)?;
        let in_pieces = receiving.in_pieces || delivery == Delivery::Pieces;
        receiving.in_pieces = false;
        input.lend_message(0);
        self.timers.message_done();
        Ok(if in_pieces { Step::Piece { kind, last: true } } else { Step::Message(kind) })
    }

    /// What the role and the negotiated extensions say of a header.
    #[inline]
    fn check_header(&self, header: &Header) -> Result<(), ProtocolError> {
        if !header.rsv.is_none() && !self.is_agreed_on(header) {
            return Err(ProtocolError::ReservedBits(header.rsv.bits()));
        }
        match (self.role, header.masking_key) {
            (Role::Server, None) => Err(ProtocolError::MaskMissing),
            (Role::Client, Some(_)) => Err(ProtocolError::MaskForbidden),
            (Role::Server, Some(_)) | (Role::Client, None) => Ok(()),
        }
    }

    /// Whether the extensions have a use for the header's reserved bits.
    #[cold]
    fn is_agreed_on(&self, header: &Header) -> bool {
        #[cfg(feature = "deflate")]
        return self.is_compression_mark(header);
        #[cfg(not(feature = "deflate"))]
        {
            let _ = header;
            false
        }
    }

    /// A control frame, whose payload is lent. It may stand between the fragments of a message.
    fn take_control_frame(&mut self, now: Instant, opcode: Opcode, input: &RecvBuf) -> Step {
        if self.receiving.message.is_none() {
            self.timers.message_done();
        }
        match opcode {
            Opcode::Ping => {
                self.answer_ping(now, input.lent());
                Step::Ping
            }
            Opcode::Close => Step::Close,
            _ => Step::Pong { rtt: self.timers.pong(now, input.lent()) },
        }
    }
}

impl Step {
    /// Whether the application is told of it, and may have something to answer.
    fn is_told(&self) -> bool {
        match self {
            Self::Idle | Self::Withheld => false,
            #[cfg(feature = "deflate")]
            Self::Inflating => false,
            _ => true,
        }
    }
}

impl Receiving {
    /// Whether nothing has begun that is not complete, and the stream goes on.
    #[inline]
    fn is_at_rest(&self) -> bool {
        self.message.is_none() && self.frame_remaining == 0 && self.stream == Stream::Open
    }

    /// Whether there is something to inflate.
    #[cfg(feature = "deflate")]
    fn is_inflating(&self, input: &RecvBuf) -> bool {
        self.compressed && (self.output_pending || (self.frame_remaining > 0 && !input.unread().is_empty()))
    }

    /// Whether a frame or a message has begun that is not complete.
    fn is_mid_message(&self) -> bool {
        self.message.is_some() || self.unread_len > 0
    }

    /// Holds a data frame's header against the order of frames and the limits.
    #[inline]
    fn count_data_frame(&mut self, header: &Header, config: &Config) -> Result<(), ProtocolError> {
        match (kind_of(header.opcode), self.message) {
            (None, None) => return Err(ProtocolError::NothingToContinue),
            (Some(_), Some(_)) => return Err(ProtocolError::MessageUnfinished),
            (None, Some(_)) => {}
            (Some(kind), None) => {
                self.message_len = 0;
                self.fragments = 0;
                match (config.accepts, kind) {
                    (Accepts::TextAndBinary, _)
                    | (Accepts::TextOnly, MessageKind::Text)
                    | (Accepts::BinaryOnly, MessageKind::Binary) => {}
                    _ => return Err(ProtocolError::KindNotAccepted(kind)),
                }
            }
        }
        let len = header.payload_len;
        if len > config.frame_len_max {
            return Err(ProtocolError::FrameTooLong { len, max: config.frame_len_max });
        }
        if !self.counts_inflated(header) {
            self.message_len = self.message_len.saturating_add(len);
        }
        if self.message_len > config.message_len_max {
            return Err(ProtocolError::MessageTooLong { len: self.message_len, max: config.message_len_max });
        }
        self.fragments = self.fragments.saturating_add(1);
        if self.fragments > config.fragments_max {
            return Err(ProtocolError::TooManyFragments { max: config.fragments_max });
        }
        Ok(())
    }

    /// Whether the message that a data frame belongs to is compressed.
    #[inline]
    fn counts_inflated(&self, header: &Header) -> bool {
        #[cfg(feature = "deflate")]
        return !header.rsv.is_none() || (self.compressed && header.opcode == Opcode::Continuation);
        #[cfg(not(feature = "deflate"))]
        {
            let _ = header;
            false
        }
    }

    fn begin_frame(&mut self, header: &Header) {
        if let Some(kind) = kind_of(header.opcode) {
            self.message = Some(kind);
            self.partial_len = 0;
            #[cfg(feature = "deflate")]
            {
                self.compressed = !header.rsv.is_none();
            }
        }
        self.frame_remaining = header.payload_len;
        self.key = header.masking_key.unwrap_or_default();
        self.fin = header.fin;
    }

    /// Takes what is there of the frame under way: unmasks it and checks it while it is hot.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the buffer takes no more than what remains, for which it is asked"
    )]
    fn join(&mut self, input: &mut RecvBuf) -> Result<(), Utf8Error> {
        let kind = self.message.unwrap_or(MessageKind::Binary);
        let len = input.join(usize::try_from(self.frame_remaining).unwrap_or(usize::MAX), kind, self.key);
        self.key.rotate_left(len % 4);
        self.frame_remaining -= len as u64;
        if kind == MessageKind::Text {
            self.partial_len = input.check_text()?;
        }
        Ok(())
    }
}

impl From<Utf8Error> for ProtocolError {
    fn from(Utf8Error: Utf8Error) -> Self {
        Self::TextNotUtf8
    }
}

/// The kind of message that a data frame begins; `None` when it continues one.
#[inline]
fn kind_of(opcode: Opcode) -> Option<MessageKind> {
    match opcode {
        Opcode::Text => Some(MessageKind::Text),
        Opcode::Binary => Some(MessageKind::Binary),
        _ => None,
    }
}

#[inline]
fn apply_mask_of(header: &Header, payload: &mut [u8]) {
    if let Some(key) = header.masking_key {
        apply_mask(payload, key, 0);
    }
}
