//! Received bytes: where a transport reads to, where payloads are unmasked and joined, where they are lent from.
//!
//! One allocation, divided by four marks:
//!
//! ```text
//! 0        start      joined      read        end        storage.len()
//! |  dead  | message  |   gap    | unread    | spare    |
//! ```
//!
//! *message* is the payload so far of the message under way, unmasked and in one piece; *gap* is what stood between its
//! fragments, headers and control frames; *unread* is what the connection has not looked at. The transport writes to
//! *spare*. Invariant: `start <= joined <= read <= end <= storage.len()`.
//!
//! A payload is lent to the caller as a slice of what has become *dead* by then, so nothing needs to be given back: the
//! next [`RecvBuf::spare_mut`] may overwrite it.

use std::ops::Range;

use bytes::Bytes;

#[cfg(feature = "deflate")]
use super::inflated::Inflated;
use crate::frame::{TakenBytes, TextBytes, Utf8Error, VECTOR_LEN_MIN};
use crate::message::{Message, MessageKind};

/// The bytes that one connection received and that are not used up yet; owned by the caller.
///
/// ```
/// use sansocket::RecvBuf;
/// use std::io::Read;
///
/// let mut transport = &b"\x81\x02hi"[..];
/// let mut buf = RecvBuf::new();
/// let received = transport.read(buf.spare_mut())?;
/// buf.advance_received(received);
/// assert_eq!(buf.unread(), b"\x81\x02hi");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It grows with what was received, never with what a header promises, doubling as it does; and it shrinks again some
/// messages after a spike, or at once by [`release`](Self::release). Between messages it may serve many connections in turn:
/// only one whose frame or message is incomplete ([`is_empty`](Self::is_empty) is false) has something to keep in it.
pub struct RecvBuf {
    storage: TextBytes,
    start: usize,
    joined: usize,
    read: usize,
    end: usize,
    /// What the last event lends; empty from the next change on.
    lent: Range<usize>,
    /// Of the message that the last event lends; `None` when it lends none, or something else.
    lent_kind: Option<MessageKind>,
    /// Where a message that arrives compressed is inflated to: it has no place among the bytes that are left.
    #[cfg(feature = "deflate")]
    inflated: Option<Box<Inflated>>,
    /// Whether what the last event lends lies there.
    #[cfg(feature = "deflate")]
    lends_inflated: bool,
    /// How large the allocation under `storage` was made, of which `storage` may only be the rest.
    allocated: usize,
    read_size: u32,
    /// How much of the frame under way is still to be received; 0 when that is not known.
    awaited: usize,
    /// How often in a row the buffer ran empty with most of its room unused.
    roomy_rounds: u8,
}

impl RecvBuf {
    /// An empty buffer, which allocates when it is first asked for room.
    pub fn new() -> Self {
        Self::with_read_size(READ_SIZE)
    }

    /// An empty buffer that offers at most `read_size` bytes to each read, from 64 to 16 Mi.
    pub fn with_read_size(read_size: usize) -> Self {
        Self {
            storage: TextBytes::default(),
            start: 0,
            joined: 0,
            read: 0,
            end: 0,
            lent: 0..0,
            lent_kind: None,
            #[cfg(feature = "deflate")]
            inflated: None,
            #[cfg(feature = "deflate")]
            lends_inflated: false,
            allocated: 0,
            read_size: read_size.clamp(READ_SIZE_MIN, READ_SIZE_MAX) as u32,
            awaited: 0,
            roomy_rounds: 0,
        }
    }

    /// Room for a transport to read into: never empty, at most the read size. What it holds is arbitrary.
    ///
    /// Follow it with [`advance_received`](Self::advance_received). Payloads lent before are gone.
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.forget_lent();
        self.compact_when_cheap();
        if self.storage.len() - self.end < self.read_size() / ROOM_MIN_DIVISOR {
            self.make_room(self.read_size());
        }
        let end = self.storage.len().min(self.end + self.read_len_max());
        self.storage.range_mut(self.end..end)
    }

    /// What a read is offered: in the middle of a long frame no more than the rest of it, so that the next frame begins at the front again
    /// and is never moved.
    #[inline]
    fn read_len_max(&self) -> usize {
        let read_size = self.read_size();
        if self.awaited < read_size / ROOM_MIN_DIVISOR { read_size } else { read_size.min(self.awaited) }
    }

    #[inline]
    fn read_size(&self) -> usize {
        self.read_size as usize
    }

    /// Takes the first `len` bytes of [`spare_mut`](Self::spare_mut) as received; more than it held count as all it held.
    #[inline]
    pub fn advance_received(&mut self, len: usize) {
        let len = len.min(self.read_len_max()).min(self.storage.len() - self.end);
        self.end += len;
        self.awaited = self.awaited.saturating_sub(len);
    }

    /// Appends bytes that somebody else has read: the first frames behind an HTTP head, or a test's.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.forget_lent();
        self.compact_when_cheap();
        if self.storage.len() - self.end < bytes.len() {
            self.make_room(bytes.len().max(self.read_size()));
        }
        self.storage.range_mut(self.end..self.end + bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// The bytes that no connection has taken: what followed the handshake, an incomplete header, or what followed a Close.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.storage[self.read..self.end]
    }

    /// Drops the first `len` bytes of [`unread`](Self::unread), or all when it has fewer.
    ///
    /// For a caller who takes over after the connection; one that is still open would lose its place in the stream.
    #[inline]
    pub fn consume_unread(&mut self, len: usize) {
        self.forget_lent();
        self.skip(len);
    }

    /// Takes the payload that the last event lent, as bytes that outlive the buffer's next use. Empty when it lent none, or
    /// when it has been taken.
    ///
    /// A payload that fills at least a quarter of its allocation is split off without a copy. A smaller one is copied, so that
    /// what is kept never pins more than four times its own size.
    ///
    /// ```
    /// # use sansocket::{Config, Connection, Event, RecvBuf, Role};
    /// # use std::time::Instant;
    /// # let now = Instant::now();
    /// # let mut connection = Connection::open(Role::Client, Config::default(), [0; 32], now);
    /// # let mut buf = RecvBuf::new();
    /// # buf.extend_from_slice(b"\x82\x02hi");
    /// if let Some(Event::Binary(payload)) = connection.poll_event(now, &mut buf) {
    ///     assert_eq!(payload, b"hi"); // lent
    ///     let kept: bytes::Bytes = buf.take_payload(); // taken
    ///     assert_eq!(kept, "hi");
    /// }
    /// ```
    pub fn take_payload(&mut self) -> Bytes {
        self.take_lent().into_bytes()
    }

    /// Takes the message that the last event lent, as [`take_payload`](Self::take_payload) does; `None` when it lent no whole message, or when
    /// it has been taken.
    pub fn take_message(&mut self) -> Option<Message> {
        let kind = self.lent_kind.take()?;
        let payload = self.take_lent();
        match kind {
            MessageKind::Binary => Some(Message::Binary(payload.into_bytes())),
            MessageKind::Text => payload.into_text().map(Message::Text),
        }
    }

    fn take_lent(&mut self) -> TakenBytes {
        let lent = std::mem::take(&mut self.lent);
        self.lent_kind = None;
        #[cfg(feature = "deflate")]
        if std::mem::take(&mut self.lends_inflated)
            && let Some(inflated) = &mut self.inflated
        {
            return inflated.take(lent);
        }
        let small = lent.len() < self.allocated / PIN_FACTOR_MAX;
        // A control frame is lent from behind the message under way, which then has to stay where it is.
        if small || lent.end > self.start {
            return self.storage.copy(lent);
        }
        self.start -= lent.end;
        self.joined -= lent.end;
        self.read -= lent.end;
        self.end -= lent.end;
        let payload = self.storage.split(lent);
        if self.storage.is_empty() {
            // The payload is all there was.
            self.storage = TextBytes::default();
            self.allocated = 0;
        }
        payload
    }

    /// Whether nothing is left: no unread byte, no message under way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.joined_len() == 0 && self.read == self.end
    }

    /// How many bytes are left: unread, or of the message under way.
    pub fn len(&self) -> usize {
        self.joined_len() + (self.end - self.read)
    }

    /// How large the allocations are, a part of which payloads that were taken may share.
    pub fn capacity(&self) -> usize {
        #[cfg(feature = "deflate")]
        let inflated = self.inflated.as_ref().map_or(0, |inflated| inflated.allocated());
        #[cfg(not(feature = "deflate"))]
        let inflated = 0;
        self.allocated + inflated
    }

    /// Takes over what is left in `other`, which is empty then. What was left here is dropped.
    ///
    /// So one buffer may read for many connections: each keeps what it is in the middle of in a small one of its own, made small by
    /// [`release`](Self::release).
    pub fn take_over(&mut self, other: &mut Self) {
        self.forget_lent();
        other.forget_lent();
        (self.start, self.joined, self.read, self.end) = (0, 0, 0, 0);
        #[cfg(feature = "deflate")]
        if !self.inflated().is_empty() || !other.inflated().is_empty() {
            self.inflated = other.inflated.take();
        }
        let (message_len, left) = (other.stored_message_len(), other.stored_len());
        self.make_room(left);
        other.copy_left_to(&mut self.storage);
        (self.joined, self.read, self.end) = (message_len, message_len, left);
        (other.start, other.joined, other.read, other.end) = (0, 0, 0, 0);
    }

    /// Gives the allocation back, but for what is left in it; none of it while that is more than half. For a connection that goes idle.
    pub fn release(&mut self) {
        self.forget_lent();
        // Otherwise a release after each read would move a long message each time.
        if self.stored_len() <= self.allocated / 2 {
            self.reallocate(self.stored_len());
        }
        #[cfg(feature = "deflate")]
        if let Some(inflated) = &mut self.inflated {
            inflated.release();
            self.inflated.take_if(|inflated| inflated.allocated() == 0);
        }
    }

    // What a connection does with it.

    /// Takes the first `len` unread bytes, which are no payload.
    #[inline]
    pub(crate) fn skip(&mut self, len: usize) {
        self.read += len.min(self.end - self.read);
        self.close_gap_when_no_message();
    }

    /// Drops all but the first `len` unread bytes.
    pub(crate) fn truncate_unread(&mut self, len: usize) {
        self.end = self.end.min(self.read.saturating_add(len));
    }

    /// Takes the first `len` unread bytes and lends them, to be unmasked in place.
    #[inline]
    pub(crate) fn lend_unread(&mut self, len: usize) -> &mut [u8] {
        let lent = self.read..self.end.min(self.read.saturating_add(len));
        self.read = lent.end;
        self.close_gap_when_no_message();
        self.lend(lent.clone());
        self.storage.range_mut(lent)
    }

    /// Takes the first `header_len` unread bytes, and lends the `len` behind them as a message, while no message is under way.
    #[inline]
    pub(crate) fn lend_whole_message(&mut self, header_len: usize, len: usize, kind: MessageKind) {
        let start = self.end.min(self.read.saturating_add(header_len));
        let end = self.end.min(start.saturating_add(len));
        (self.start, self.joined, self.read) = (end, end, end);
        self.lend(start..end);
        self.lent_kind = Some(kind);
    }

    /// Unmasks what [`lend_whole_message`](Self::lend_whole_message) lent.
    #[inline]
    pub(crate) fn unmask_lent(&mut self, kind: MessageKind, key: [u8; 4]) {
        self.unmask(self.lent.clone(), kind, key);
    }

    /// Takes the first `len` unread bytes into the message under way, unmasks them, and returns how many there were.
    #[inline]
    pub(crate) fn join(&mut self, len: usize, kind: MessageKind, key: [u8; 4]) -> usize {
        let len = len.min(self.end - self.read);
        let piece = self.joined..self.joined + len;
        if self.joined != self.read {
            self.storage.move_within(self.read..self.read + len, self.joined);
        }
        self.joined = piece.end;
        self.read += len;
        if self.read == self.end {
            // What comes next lands right behind the message.
            self.read = self.joined;
            self.end = self.joined;
        }
        if key != [0; 4] {
            self.unmask(piece, kind, key);
        }
        len
    }

    #[inline(always)] // a short message is unmasked in a few instructions
    fn unmask(&mut self, range: Range<usize>, kind: MessageKind, key: [u8; 4]) {
        if range.len() < VECTOR_LEN_MIN {
            self.storage.mask_short(range, key);
        } else if kind == MessageKind::Text {
            self.storage.unmask_text(range, key);
        } else {
            self.storage.mask(range, key);
        }
    }

    /// Checks the message under way as a text, as far as it has not been checked, and returns how many bytes of an unfinished code point
    /// it ends with.
    pub(crate) fn check_text(&mut self) -> Result<u8, Utf8Error> {
        #[cfg(feature = "deflate")]
        if let Some(inflated) = &mut self.inflated
            && inflated.len() > 0
        {
            return inflated.check_text();
        }
        self.storage.check_text(self.start..self.joined)
    }

    /// Takes note of how much of the frame under way is still to be received; 0 between frames.
    #[inline]
    pub(crate) fn set_awaited(&mut self, len: u64) {
        self.awaited = usize::try_from(len).unwrap_or(usize::MAX);
    }

    /// How many bytes the message under way has so far, inflated if it is compressed.
    #[inline]
    pub(crate) fn joined_len(&self) -> usize {
        #[cfg(feature = "deflate")]
        let inflated_len = self.inflated().len();
        #[cfg(not(feature = "deflate"))]
        let inflated_len = 0;
        self.stored_message_len() + inflated_len
    }

    /// Lends the message under way but for its last `keep` bytes, with which it goes on.
    #[inline]
    pub(crate) fn lend_message(&mut self, keep: usize) {
        #[cfg(feature = "deflate")]
        if let Some(inflated) = &mut self.inflated
            && inflated.len() > 0
        {
            self.lent = inflated.lend(keep);
            self.lent_kind = None;
            self.lends_inflated = true;
            return;
        }
        let until = self.joined - keep.min(self.stored_message_len());
        self.lend(self.start..until);
        self.start = until;
        self.close_gap_when_no_message();
    }

    /// The first `len` unread bytes, which belong to a compressed message, and room to inflate them to: at most `room_max` bytes behind
    /// what is inflated already.
    #[cfg(feature = "deflate")]
    pub(crate) fn inflate(&mut self, len: usize, room_max: usize) -> (&mut [u8], &mut [u8]) {
        self.forget_lent();
        let compressed = self.read..self.end.min(self.read.saturating_add(len));
        let hint = compressed.len().saturating_mul(4);
        let inflated = self.inflated.get_or_insert_default();
        (self.storage.range_mut(compressed), inflated.room(hint, room_max))
    }

    /// So many bytes were taken, and so many came of them.
    #[cfg(feature = "deflate")]
    pub(crate) fn advance_inflated(&mut self, consumed: usize, produced: usize) {
        self.skip(consumed);
        if let Some(inflated) = &mut self.inflated {
            inflated.advance(produced);
        }
    }

    /// The compressed message under way, as far as it is inflated and not lent yet.
    #[cfg(feature = "deflate")]
    pub(crate) fn inflated(&self) -> &[u8] {
        self.inflated.as_ref().map_or(&[], |inflated| inflated.message())
    }

    /// Remembers that what is lent is a whole message, for [`take_message`](Self::take_message).
    #[inline]
    pub(crate) fn mark_lent_message(&mut self, kind: MessageKind) {
        self.lent_kind = Some(kind);
    }

    /// What [`lend_unread`](Self::lend_unread) or [`lend_message`](Self::lend_message) lent.
    #[inline]
    pub(crate) fn lent(&self) -> &[u8] {
        #[cfg(feature = "deflate")]
        if self.lends_inflated
            && let Some(inflated) = &self.inflated
        {
            return inflated.slice(self.lent.clone());
        }
        &self.storage[self.lent.clone()]
    }

    /// The same as text; `None` when it is not UTF-8. What has been checked is not checked again.
    #[inline]
    pub(crate) fn lent_text(&mut self) -> Option<&str> {
        #[cfg(feature = "deflate")]
        if self.lends_inflated
            && let Some(inflated) = &mut self.inflated
        {
            return inflated.text(self.lent.clone());
        }
        self.storage.text(self.lent.clone())
    }

    #[inline]
    fn forget_lent(&mut self) {
        self.lend(0..0);
    }

    #[inline]
    fn lend(&mut self, lent: Range<usize>) {
        self.lent = lent;
        self.lent_kind = None;
        #[cfg(feature = "deflate")]
        {
            self.lends_inflated = false;
        }
    }

    /// How many bytes of the message under way lie between the marks.
    #[inline]
    fn stored_message_len(&self) -> usize {
        self.joined - self.start
    }

    #[inline]
    fn stored_len(&self) -> usize {
        (self.joined - self.start) + (self.end - self.read)
    }

    #[inline]
    fn close_gap_when_no_message(&mut self) {
        if self.start == self.joined {
            self.start = self.read;
            self.joined = self.read;
        }
    }

    /// Moves what is left to the front when it is little beside what is dead before it: moving it later, as the beginning of a long
    /// message, would cost more.
    #[inline]
    fn compact_when_cheap(&mut self) {
        let left = self.stored_len();
        if (self.end - left) / DEAD_FACTOR_MIN < left {
            return;
        }
        if self.allocated > SPIKE_FACTOR * self.read_size() && self.is_spike_over() {
            self.reallocate(left);
        } else if left == 0 {
            self.rebase();
        } else {
            self.close_up();
        }
    }

    /// Counts a round that a buffer made large by a spike was used for, and tells whether it has not been needed for a while.
    #[cold]
    fn is_spike_over(&mut self) -> bool {
        let is_roomy = self.end < self.allocated / SPIKE_FACTOR;
        self.roomy_rounds = if is_roomy { self.roomy_rounds + 1 } else { 0 };
        self.roomy_rounds >= ROOMY_ROUNDS_MAX
    }

    /// Provides for at least `room` spare bytes.
    #[cold]
    fn make_room(&mut self, room: usize) {
        let left = self.stored_len();
        let needed = left + room;
        if left > self.storage.len() / 2 {
            self.reallocate(needed.max(2 * self.storage.len()));
        } else if needed <= self.storage.len() {
            // Each move frees at least as much as it moves, so all moves together cost no more than the reads.
            self.close_up();
        } else {
            self.reallocate(needed);
        }
    }

    /// Moves what is left to the front of a fresh allocation of `len` bytes.
    fn reallocate(&mut self, len: usize) {
        let mut storage = TextBytes::zeroed(len);
        self.copy_left_to(&mut storage);
        self.storage = storage;
        self.allocated = len;
        self.roomy_rounds = 0;
        self.rebase();
    }

    /// Moves the message to the front, and what is unread up to it.
    fn close_up(&mut self) {
        let message_len = self.stored_message_len();
        self.storage.move_within(self.start..self.joined, 0);
        self.storage.move_within(self.read..self.end, message_len);
        self.rebase();
    }

    /// Copies the message, and right behind it what is unread.
    fn copy_left_to(&self, storage: &mut TextBytes) {
        storage.copy_from(&self.storage, self.start..self.joined, 0);
        storage.copy_from(&self.storage, self.read..self.end, self.stored_message_len());
    }

    /// Moves the marks after what is left has been moved to the front.
    fn rebase(&mut self) {
        let (message_len, left) = (self.stored_message_len(), self.stored_len());
        (self.start, self.joined, self.read, self.end) = (0, message_len, message_len, left);
    }
}

impl Default for RecvBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvBuf")
            .field("unread", &self.unread().len())
            .field("message", &self.joined_len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

/// How many bytes a read is offered unless said otherwise: what a first-level cache holds, so that a payload is unmasked
/// while it is hot, and enough small frames for one call to the kernel. 16 KiB, and some for the headers: a payload of that length comes in
/// one read.
pub const READ_SIZE: usize = 16 * 1024 + 64;

const READ_SIZE_MIN: usize = 64;
const READ_SIZE_MAX: usize = 16 * 1024 * 1024;

/// Less room than this part of the read size is not worth a call to the kernel.
const ROOM_MIN_DIVISOR: usize = 4;
/// How much larger than a taken payload the memory may be that it keeps alive.
pub(super) const PIN_FACTOR_MAX: usize = 4;
/// What is left may be moved when so many times as much is dead.
const DEAD_FACTOR_MIN: usize = 16;
/// A buffer this much larger than a read, or than what is used of it, is due to shrink.
pub(super) const SPIKE_FACTOR: usize = 4;
/// How many rounds of little use pass before it does, so that a sender of large messages does not pay for it each time.
pub(super) const ROOMY_ROUNDS_MAX: u8 = 16;

#[cfg(test)]
mod tests;
