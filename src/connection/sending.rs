//! From orders to bytes: messages, fragments, pings, and the back-pressure on them. RFC 6455 sections 5 and 6.1.

use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;

use super::receiving::Stream;
use super::{Connection, ReadyState, Role, SendError, State};
use crate::frame::{CONTROL_PAYLOAD_LEN_MAX, ClosePayload, Header, Opcode, Rsv, Utf8Validator};
use crate::message::{Message, MessageKind};

/// Whether a fragment is its message's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FragmentPosition {
    /// Another one follows.
    More,
    /// The message ends with it.
    Last,
}

/// What the application has sent, as far as it matters for what comes next.
#[derive(Default)]
pub(super) struct Sending {
    /// The kind of the message that was begun in fragments.
    fragmented: Option<MessageKind>,
    /// Its text so far.
    utf8: Utf8Validator,
    /// Whether an event was told that nothing has been sent after: the answer to it is taken, whatever waits.
    pub(super) owes_answer: bool,
    /// The output above the high-water mark for which decoding does not pause: that of a message that was sent while there was room.
    /// 0 when nothing is above the mark.
    pub(super) tolerated_len: usize,
    /// How much of that is control frames that nobody ordered.
    tolerated_control_len: usize,
    /// What the application wants of the message that it is about to send.
    #[cfg(feature = "deflate")]
    pub(super) compression: crate::deflate::Compression,
    /// Whether the message under way is compressed.
    #[cfg(feature = "deflate")]
    pub(super) compresses: bool,
}

impl Sending {
    #[inline]
    pub(super) fn output_shrank(&mut self, len: usize, high_water_mark: usize) {
        if len <= high_water_mark {
            self.tolerated_len = 0;
        }
    }
}

impl Connection {
    /// Queues a text message.
    ///
    /// # Errors
    /// [`SendError`] when the connection is not open, when a message sent in fragments is unfinished, or when more output waits than the
    /// high-water mark plus [`CONTROL_ROOM`]. Up to that a message is taken whole, however long; and after each event one is, whatever
    /// waits, to answer it.
    #[inline]
    pub fn send_text(&mut self, now: Instant, text: &str) -> Result<(), SendError> {
        self.check_whole_message()?;
        self.queue_message(now, true, Opcode::Text, text.as_bytes());
        Ok(())
    }

    /// Queues a binary message.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    #[inline]
    pub fn send_binary(&mut self, now: Instant, payload: &[u8]) -> Result<(), SendError> {
        self.check_whole_message()?;
        self.queue_message(now, true, Opcode::Binary, payload);
        Ok(())
    }

    /// Queues a text message, by a server without copying it if it has at least [`SHARED_PAYLOAD_LEN_MIN`] bytes.
    ///
    /// A client copies it, since it has to be masked.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text), and [`SendError::AboveHighWaterMark`] when more than `isize::MAX` bytes would wait: what shares its memory
    /// may add up to that.
    pub fn send_text_shared(&mut self, now: Instant, text: &ByteString) -> Result<(), SendError> {
        self.check_whole_message()?;
        self.queue_shared_message(now, Opcode::Text, text.as_bytes())
    }

    /// Queues a binary message, by a server without copying it if it has at least [`SHARED_PAYLOAD_LEN_MIN`] bytes.
    ///
    /// A client copies it, since it has to be masked.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text), and [`SendError::AboveHighWaterMark`] when more than `isize::MAX` bytes would wait: what shares its memory
    /// may add up to that.
    pub fn send_binary_shared(&mut self, now: Instant, payload: &Bytes) -> Result<(), SendError> {
        self.check_whole_message()?;
        self.queue_shared_message(now, Opcode::Binary, payload)
    }

    /// Whether a message would be taken now. What it takes to be so again is written output: ask after
    /// [`advance_outgoing`](Self::advance_outgoing).
    ///
    /// # Errors
    /// What [`send_text`](Self::send_text) would return.
    pub fn can_send(&self) -> Result<(), SendError> {
        self.check_whole_message()
    }

    /// Queues a message, as [`send_text_shared`](Self::send_text_shared) and [`send_binary_shared`](Self::send_binary_shared) do.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    pub fn send(&mut self, now: Instant, message: &Message) -> Result<(), SendError> {
        match message {
            Message::Text(text) => self.send_text_shared(now, text),
            Message::Binary(payload) => self.send_binary_shared(now, payload),
        }
    }

    /// Queues the next fragment of a text message; the first one begins it. RFC 6455 section 5.4.
    ///
    /// # Errors
    /// [`SendError`] as for [`send_text`](Self::send_text), or when a binary message is under way.
    pub fn send_text_fragment(
        &mut self,
        now: Instant,
        text: &str,
        position: FragmentPosition,
    ) -> Result<(), SendError> {
        if self.sending.utf8.partial_len() > 0 {
            return self.send_fragment(now, MessageKind::Text, text.as_bytes(), position);
        }
        self.queue_fragment(now, MessageKind::Text, text.as_bytes(), position, Utf8Validator::new())
    }

    /// Queues the next fragment of a binary message; the first one begins it. RFC 6455 section 5.4.
    ///
    /// # Errors
    /// [`SendError`] as for [`send_text`](Self::send_text), or when a text message is under way.
    pub fn send_binary_fragment(
        &mut self,
        now: Instant,
        payload: &[u8],
        position: FragmentPosition,
    ) -> Result<(), SendError> {
        self.send_fragment(now, MessageKind::Binary, payload, position)
    }

    /// Queues a ping. The heartbeat sends its own; this one's pong is reported without a round trip time.
    ///
    /// # Errors
    /// [`SendError`] when the payload is longer than 125 bytes, the connection is not open, or too much output waits.
    pub fn ping(&mut self, now: Instant, payload: &[u8]) -> Result<(), SendError> {
        self.send_control(now, Opcode::Ping, payload)
    }

    /// Queues a pong that nobody asked for; pings are answered without it. RFC 6455 section 5.5.3.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, now: Instant, payload: &[u8]) -> Result<(), SendError> {
        self.send_control(now, Opcode::Pong, payload)
    }

    /// Queues the next fragment of a message of either kind; the first one begins it. Text may be cut anywhere, as it comes from a
    /// stream. RFC 6455 sections 5.4 and 5.6.
    ///
    /// # Errors
    /// As [`send_text_fragment`](Self::send_text_fragment), and [`SendError::TextNotUtf8`] for text that is not UTF-8 up to here, or that
    /// ends in the middle of a code point.
    pub fn send_fragment(
        &mut self,
        now: Instant,
        kind: MessageKind,
        payload: &[u8],
        position: FragmentPosition,
    ) -> Result<(), SendError> {
        self.check_room()?;
        let mut utf8 = self.sending.utf8;
        if kind == MessageKind::Text && utf8.feed(payload).is_err() {
            return Err(SendError::TextNotUtf8);
        }
        self.queue_fragment(now, kind, payload, position, utf8)
    }

    /// Queues a fragment, behind which the text so far is as `utf8` says.
    fn queue_fragment(
        &mut self,
        now: Instant,
        kind: MessageKind,
        payload: &[u8],
        position: FragmentPosition,
        utf8: Utf8Validator,
    ) -> Result<(), SendError> {
        self.check_room()?;
        let opcode = match (self.sending.fragmented, kind) {
            (Some(message), _) if message == kind => Opcode::Continuation,
            (Some(message), given) => return Err(SendError::FragmentKind { message, given }),
            (None, MessageKind::Text) => Opcode::Text,
            (None, MessageKind::Binary) => Opcode::Binary,
        };
        let last = position == FragmentPosition::Last;
        if last && utf8.partial_len() > 0 {
            return Err(SendError::TextNotUtf8);
        }
        self.queue_message(now, last, opcode, payload);
        self.sending.utf8 = utf8;
        self.sending.fragmented = if last { None } else { Some(kind) };
        Ok(())
    }

    fn send_control(&mut self, now: Instant, opcode: Opcode, payload: &[u8]) -> Result<(), SendError> {
        if payload.len() > CONTROL_PAYLOAD_LEN_MAX {
            return Err(SendError::ControlTooLong(payload.len()));
        }
        self.check_room()?;
        self.queue_order(now, true, opcode, payload);
        Ok(())
    }

    #[inline]
    fn check_whole_message(&self) -> Result<(), SendError> {
        self.check_room()?;
        match self.sending.fragmented {
            None => Ok(()),
            Some(_) => Err(SendError::MessageUnfinished),
        }
    }

    #[inline]
    fn check_room(&self) -> Result<(), SendError> {
        if !matches!(self.state, State::Open) {
            return Err(SendError::NotOpen(self.state()));
        }
        if self.receiving.stream == Stream::Failed {
            return Err(SendError::NotOpen(ReadyState::Closing));
        }
        let high_water_mark = self.config.high_water_mark;
        let buffered = self.send_buf.len();
        if buffered > high_water_mark.saturating_add(CONTROL_ROOM) && !self.sending.owes_answer {
            return Err(SendError::AboveHighWaterMark { buffered, high_water_mark });
        }
        Ok(())
    }

    /// Answers a ping, "unless it already received a Close frame". RFC 6455 section 5.5.2.
    pub(super) fn answer_ping(&mut self, now: Instant, payload: &[u8]) {
        if self.receiving.stream != Stream::Failed {
            self.receiving.unsent_pongs = self.receiving.unsent_pongs.saturating_add(1);
            self.queue_automatic(now, Opcode::Pong, payload);
        }
    }

    /// Queues the heartbeat's ping.
    pub(super) fn queue_heartbeat(&mut self, now: Instant) {
        if !self.timers.ping_waits() && self.receiving.stream != Stream::Failed {
            let payload: [u8; 8] = self.keystream.take();
            self.queue_automatic(now, Opcode::Ping, &payload);
            self.timers.pinged(now, payload, self.send_buf.len());
        }
    }

    /// Queues a Close frame, whatever else waits; `None` for one without a code.
    pub(super) fn queue_close(&mut self, now: Instant, payload: Option<ClosePayload<'_>>) {
        let mut bytes = [0; CONTROL_PAYLOAD_LEN_MAX];
        let len = payload.map_or(0, |payload| payload.encode(&mut bytes));
        self.queue_frame(now, true, Rsv::NONE, Opcode::Close, bytes.get(..len).unwrap_or_default());
    }

    /// Queues bytes that are no frame: the handshake's.
    pub(super) fn queue_raw(&mut self, now: Instant, bytes: &[u8]) {
        self.timers.output_queued(now, self.send_buf.is_empty());
        self.send_buf.push_raw(bytes);
    }

    /// Queues a message or a fragment, for which there is room.
    #[inline]
    fn queue_message(&mut self, now: Instant, fin: bool, opcode: Opcode, payload: &[u8]) {
        #[cfg(feature = "deflate")]
        if self.deflate.is_some() && self.queue_compressed(now, fin, opcode, payload) {
            return;
        }
        self.queue_order(now, fin, opcode, payload);
    }

    /// Queues what the application ordered, for which there is room.
    #[inline]
    fn queue_order(&mut self, now: Instant, fin: bool, opcode: Opcode, payload: &[u8]) {
        let before = self.send_buf.len();
        self.queue_frame(now, fin, Rsv::NONE, opcode, payload);
        self.ordered(now, before);
    }

    /// Takes note of an order, before which so much was waiting.
    #[inline]
    pub(super) fn ordered(&mut self, now: Instant, before: usize) {
        self.sending.owes_answer = false;
        let high_water_mark = self.config.high_water_mark;
        if self.send_buf.len() <= high_water_mark {
            return;
        }
        if before <= high_water_mark.saturating_add(CONTROL_ROOM) {
            self.sending.tolerated_len = self.send_buf.len();
            self.sending.tolerated_control_len = 0;
        }
        self.note_pause(now);
    }

    /// Takes note of when a pause begins.
    fn note_pause(&mut self, now: Instant) {
        if self.is_paused() {
            self.timers.pause(now);
        }
    }

    /// Queues a control frame that nobody ordered. Pongs have a limit of their own.
    fn queue_automatic(&mut self, now: Instant, opcode: Opcode, payload: &[u8]) {
        let before = self.send_buf.len();
        self.queue_frame(now, true, Rsv::NONE, opcode, payload);
        let added = self.send_buf.len().saturating_sub(before);
        let tolerable = (self.config.unsent_pongs_max.max(1) as usize).saturating_mul(CONTROL_FRAME_LEN_MAX);
        let tolerated = self.sending.tolerated_control_len.saturating_add(added);
        if self.sending.tolerated_len > 0 && tolerated <= tolerable {
            self.sending.tolerated_len = self.sending.tolerated_len.saturating_add(added);
            self.sending.tolerated_control_len = tolerated;
        }
        self.note_pause(now);
    }

    #[inline]
    pub(super) fn queue_frame(&mut self, now: Instant, fin: bool, rsv: Rsv, opcode: Opcode, payload: &[u8]) {
        self.timers.output_queued(now, self.send_buf.is_empty());
        let header = Header { fin, rsv, opcode, masking_key: None, payload_len: payload.len() as u64 };
        match self.role {
            Role::Server => self.send_buf.push(&header, payload),
            Role::Client => self.queue_masked_frame(header, payload),
        }
    }

    fn queue_masked_frame(&mut self, header: Header, payload: &[u8]) {
        let masking_key = Some(self.keystream.take());
        self.send_buf.push(&Header { masking_key, ..header }, payload);
    }

    /// Queues a whole message for which there is room, without a copy if that is worth it.
    #[inline]
    fn queue_shared_message(&mut self, now: Instant, opcode: Opcode, payload: &Bytes) -> Result<(), SendError> {
        if payload.len() < SHARED_PAYLOAD_LEN_MIN {
            self.queue_message(now, true, opcode, payload);
            return Ok(());
        }
        #[cfg(feature = "deflate")]
        if self.deflate.is_some() && self.queue_compressed(now, true, opcode, payload) {
            return Ok(());
        }
        self.queue_shared_frame(now, Rsv::NONE, opcode, payload)
    }

    /// The same for a payload that is as it goes out. Refuses it, and does nothing, only when with it more would wait than can be counted.
    pub(super) fn queue_shared_frame(
        &mut self,
        now: Instant,
        rsv: Rsv,
        opcode: Opcode,
        payload: &Bytes,
    ) -> Result<(), SendError> {
        let before = self.send_buf.len();
        if self.role == Role::Client || payload.len() < SHARED_PAYLOAD_LEN_MIN {
            self.queue_frame(now, true, rsv, opcode, payload);
            self.ordered(now, before);
            return Ok(());
        }
        if !self.send_buf.takes_shared(payload.len()) {
            let high_water_mark = self.config.high_water_mark;
            return Err(SendError::AboveHighWaterMark { buffered: before, high_water_mark });
        }
        let header = Header { fin: true, rsv, opcode, masking_key: None, payload_len: payload.len() as u64 };
        self.timers.output_queued(now, self.send_buf.is_empty());
        self.send_buf.push(&header, &[]);
        self.send_buf.push_shared(payload.clone());
        self.ordered(now, before);
        Ok(())
    }
}

/// How far above the high-water mark output may be and a send is still taken, in bytes.
///
/// The answer to a ping (at most 131 bytes) and a heartbeat (14) may lift it above the mark between an event and the application's
/// answer to that event, which then still finds room.
pub const CONTROL_ROOM: usize = 256;

/// The longest control frame: header, masking key, payload.
pub(super) const CONTROL_FRAME_LEN_MAX: usize = 6 + CONTROL_PAYLOAD_LEN_MAX;

/// A shared payload of at least this many bytes is queued without a copy.
///
/// Below, one more slice in a vectored write costs more than copying does.
pub const SHARED_PAYLOAD_LEN_MIN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Config;

    fn server() -> (Connection, Instant) {
        let mut config = Config::default();
        (config.high_water_mark, config.unsent_pongs_max) = (usize::MAX, u32::MAX);
        let now = Instant::now();
        (Connection::open(Role::Server, config, [0; 32], now), now)
    }

    #[test]
    fn shared_payloads_are_refused_above_what_can_be_counted() {
        let payload = Bytes::from(vec![0; SHARED_PAYLOAD_LEN_MIN]);
        let text = ByteString::try_from(payload.clone()).unwrap();
        let max = isize::MAX as usize - payload.len();
        for (waits, is_taken) in [(max - 1, true), (max, true), (max + 1, false), (usize::MAX - 100, false)] {
            let (mut connection, now) = server();
            connection.send_buf.pretend(waits);
            let refused = SendError::AboveHighWaterMark { buffered: waits, high_water_mark: usize::MAX };
            let expected = if is_taken { Ok(()) } else { Err(refused) };
            assert_eq!(connection.send_binary_shared(now, &payload), expected, "{waits}");
            if !is_taken {
                assert_eq!(connection.send_text_shared(now, &text), expected, "{waits}");
                assert_eq!(connection.buffered_len(), waits, "nothing has happened");
            }
        }
    }

    /// As after 4 GiB of pongs above the high-water mark, on a machine of 32 bits.
    #[test]
    fn tolerated_output_stays_at_the_end_of_what_can_be_counted() {
        let (mut connection, now) = server();
        (connection.sending.tolerated_len, connection.sending.tolerated_control_len) = (usize::MAX - 1, usize::MAX - 1);
        connection.answer_ping(now, b"ping");
        assert_eq!(connection.buffered_len(), 6);
        assert!(!connection.is_paused());
    }
}
