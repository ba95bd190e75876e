//! permessage-deflate on one connection: what was agreed, and the two directions of it. RFC 7692.

use std::sync::Arc;
use std::time::Instant;

use super::receiving::{Delivery, Step};
use super::{Connection, ProtocolError, Role, SendError};
use crate::buffer::RecvBuf;
use crate::deflate::{
    Compression, Corrupt, DeflateParams, Deflater, INFLATION_RATIO_FREE_LEN, Inflater, Position, PreparedMessage,
};
use crate::frame::{Header, Opcode, Rsv, apply_mask};
use crate::message::{Message, MessageKind};

/// An agreement on permessage-deflate, with what both directions remember.
pub(super) struct Deflating {
    params: DeflateParams,
    deflater: Deflater,
    inflater: Inflater,
    /// What the headers of the compressed message under way have announced so far.
    announced_len: u64,
    /// How many unread bytes of the frame under way have been unmasked, but not inflated yet.
    unmasked_len: usize,
    /// How many bytes this poll may still inflate.
    budget: usize,
}

/// Why inflating stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// All of the frame that is there has been inflated.
    Input,
    /// A piece is there to be delivered.
    Piece,
    /// So much is enough for one poll.
    Budget,
}

impl Connection {
    /// Compresses and inflates by these parameters, for a connection whose handshake somebody else made: what
    /// [`DeflateConfig::answer`](crate::deflate::DeflateConfig::answer) or [`check_answer`](crate::deflate::DeflateConfig::check_answer) came to.
    ///
    /// `None` is no compression, and so is a [`Config`](super::Config) without [`deflate`](super::Config::deflate). A window out of range counts
    /// as the nearest that is in it.
    #[must_use]
    pub fn with_deflate(mut self, params: Option<DeflateParams>) -> Self {
        self.agree_on_deflate(params);
        self
    }

    /// What the handshake agreed on; `None` without permessage-deflate.
    pub fn deflate_params(&self) -> Option<DeflateParams> {
        self.deflate.as_ref().map(|deflating| deflating.params)
    }

    /// Sends what `send` sends compressed or not, as `compression` says. Of a message in fragments, the first one decides.
    ///
    /// ```
    /// # use sansocket::{Config, Connection, Role, deflate::Compression};
    /// # let now = std::time::Instant::now();
    /// # let mut connection = Connection::open(Role::Server, Config::default(), [0; 32], now);
    /// let token = "secret, in a message with somebody else's text";
    /// connection.with_compression(Compression::Never, |connection| connection.send_text(now, token))?;
    /// # Ok::<(), sansocket::SendError>(())
    /// ```
    pub fn with_compression<T>(&mut self, compression: Compression, send: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.sending.compression, compression);
        let sent = send(self);
        self.sending.compression = outer;
        sent
    }

    /// Queues a message that was compressed before, for many receivers; by a server without copying it if it is long.
    ///
    /// Where its window does not fit, or nothing was agreed on, the message is sent as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send_text`](Self::send_text).
    pub fn send_prepared(&mut self, now: Instant, prepared: &PreparedMessage) -> Result<(), SendError> {
        self.can_send()?;
        let message = prepared.message();
        if let Some(deflating) = &self.deflate
            && self.sending.compression != Compression::Never
            && let Some(payload) = prepared.compressed(deflating.deflater.window_bits())
        {
            let opcode = match message {
                Message::Text(_) => Opcode::Text,
                Message::Binary(_) => Opcode::Binary,
            };
            self.queue_shared_frame(now, Rsv::RSV1, opcode, payload)?;
            if let (Some(deflating), Some(config)) = (&mut self.deflate, &self.config.deflate) {
                deflating.deflater.pass_over(&config.pool, message.as_bytes());
            }
            return Ok(());
        }
        self.send(now, message)
    }

    pub(super) fn agree_on_deflate(&mut self, params: Option<DeflateParams>) {
        let params = params.map(DeflateParams::within_range);
        self.deflate = params.zip(self.config.deflate.as_ref()).map(|(params, config)| {
            let server = (params.server_max_window_bits, params.server_no_context_takeover);
            let client = (params.client_max_window_bits, params.client_no_context_takeover);
            let (own, peer) = match self.role {
                Role::Server => (server, client),
                Role::Client => (client, server),
            };
            Box::new(Deflating {
                params,
                deflater: Deflater::new(config, own.0, own.1),
                inflater: Inflater::new(peer.0, peer.1),
                announced_len: 0,
                unmasked_len: 0,
                budget: 0,
            })
        });
    }

    /// Gives back what an idle connection can do without.
    pub(super) fn release_deflate(&mut self) {
        if let (Some(deflating), Some(config)) = (&mut self.deflate, &self.config.deflate) {
            deflating.deflater.release(&config.pool);
            deflating.inflater.release(&config.pool);
        }
    }

    /// The connection is over.
    pub(super) fn retire_deflate(&mut self) {
        if let (Some(deflating), Some(config)) = (self.deflate.take(), &self.config.deflate) {
            deflating.deflater.retire(&config.pool);
            deflating.inflater.retire(&config.pool);
        }
    }

    // Sending.

    /// Queues a message or a fragment compressed, if it is to be; whether it did.
    pub(super) fn queue_compressed(&mut self, now: Instant, fin: bool, opcode: Opcode, payload: &[u8]) -> bool {
        let config = Arc::clone(&self.config);
        let Some(config) = &config.deflate else {
            return false;
        };
        if opcode != Opcode::Continuation {
            self.sending.compresses = match self.sending.compression {
                Compression::Default => !fin || payload.len() >= config.message_len_min,
                Compression::Always => true,
                Compression::Never => false,
            };
        }
        if !self.sending.compresses {
            return false;
        }
        let Some(mut deflating) = self.deflate.take() else {
            return false;
        };
        let before = self.buffered_len();
        // RFC 7692 section 6: the first frame says it for all of them.
        let rsv = if opcode == Opcode::Continuation { Rsv::NONE } else { Rsv::RSV1 };
        let position = if fin { Position::Last } else { Position::More };
        deflating.deflater.compress(&config.pool, payload, position, |compressed| {
            self.queue_frame(now, fin, rsv, opcode, compressed);
        });
        self.deflate = Some(deflating);
        self.ordered(now, before);
        true
    }

    // Receiving.

    /// Whether these reserved bits were agreed on. RFC 7692 section 6: RSV1, on the first frame of a message.
    pub(super) fn is_compression_mark(&self, header: &Header) -> bool {
        self.deflate.is_some() && header.rsv == Rsv::RSV1 && matches!(header.opcode, Opcode::Text | Opcode::Binary)
    }

    /// A poll begins.
    #[inline]
    pub(super) fn renew_inflation_budget(&mut self) {
        if let (Some(deflating), Some(config)) = (&mut self.deflate, &self.config.deflate) {
            deflating.budget = config.inflated_per_poll_max.max(1);
        }
    }

    /// Holds a frame of a compressed message against what such a message may take on the wire.
    pub(super) fn count_compressed_frame(&mut self, header: &Header) -> Result<(), ProtocolError> {
        let Some(deflating) = &mut self.deflate else {
            return Err(ProtocolError::ReservedBits(Rsv::RSV1.bits()));
        };
        if header.opcode != Opcode::Continuation {
            deflating.announced_len = 0;
        }
        deflating.announced_len = deflating.announced_len.saturating_add(header.payload_len);
        let max = compressed_len_max(self.config.message_len_max);
        if deflating.announced_len > max {
            return Err(ProtocolError::MessageTooLong { len: deflating.announced_len, max });
        }
        Ok(())
    }

    /// Inflates what is there of the compressed frame under way. `None` when there is something for the next round of the loop.
    pub(super) fn inflate(&mut self, input: &mut RecvBuf, delivery: Delivery) -> Result<Option<Step>, ProtocolError> {
        if delivery == Delivery::Withheld {
            return Ok(Some(Step::Withheld));
        }
        let begun_len = input.joined_len();
        let mut stop = self.inflate_frame(input, delivery);
        let is_over = stop == Ok(Stop::Input) && self.receiving.frame_remaining == 0 && self.receiving.fin;
        if is_over && let Err(error) = self.finish_inflating() {
            stop = Err(error);
        }
        let receiving = &mut self.receiving;
        // A text that is inflated in one go is checked when it is lent, as one that arrives in one read is. Otherwise what has been inflated
        // is checked before any other fault is told, so that it does not matter how the input is cut.
        let is_whole = begun_len == 0 && delivery == Delivery::Whole && !receiving.in_pieces;
        let is_checked_later = is_over && is_whole && stop.is_ok();
        if receiving.message == Some(MessageKind::Text) && !is_checked_later {
            receiving.partial_len = input.check_text()?;
        }
        match stop? {
            Stop::Budget => Ok(Some(Step::Inflating)),
            Stop::Input if is_over => self.finish_message(input, delivery).map(Some),
            Stop::Input | Stop::Piece => Ok(None),
        }
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "no more is consumed than there is of the frame, and no more produced than the budget"
    )]
    fn inflate_frame(&mut self, input: &mut RecvBuf, delivery: Delivery) -> Result<Stop, ProtocolError> {
        let (Some(deflating), Some(config)) = (&mut self.deflate, &self.config.deflate) else {
            return Err(ProtocolError::ReservedBits(Rsv::RSV1.bits()));
        };
        let receiving = &mut self.receiving;
        let max = self.config.message_len_max;
        loop {
            if deflating.budget == 0 {
                return Ok(Stop::Budget);
            }
            let room_max =
                usize::try_from(max.saturating_sub(receiving.message_len).saturating_add(1)).unwrap_or(usize::MAX);
            let frame_len = usize::try_from(receiving.frame_remaining).unwrap_or(usize::MAX);
            let (compressed, room) = input.inflate(frame_len, room_max.min(deflating.budget));
            if let Some(masked) = compressed.get_mut(deflating.unmasked_len..)
                && receiving.key != [0; 4]
            {
                apply_mask(masked, receiving.key, 0);
                receiving.key.rotate_left(masked.len() % 4);
            }
            let done = deflating.inflater.inflate(&config.pool, compressed, room);
            let is_full = done.produced == room.len();
            deflating.unmasked_len = compressed.len() - done.consumed;
            input.advance_inflated(done.consumed, done.produced);
            receiving.frame_remaining -= done.consumed as u64;
            receiving.output_pending = is_full;
            receiving.message_len = receiving.message_len.saturating_add(done.produced as u64);
            let work = done.produced + done.restarted.map_or(0, |copied| copied.max(1));
            deflating.budget = deflating.budget.saturating_sub(work);
            // What the headers announced stays the same within a frame, so that it does not matter where its bytes are cut; nor which of the
            // limits is looked at first, since it is the smaller one that was exceeded first.
            let ratio_max = config.inflation_ratio_max;
            let max_by_ratio = deflating.announced_len.saturating_mul(ratio_max.into()).max(INFLATION_RATIO_FREE_LEN);
            if receiving.message_len > max.min(max_by_ratio) {
                return Err(if max_by_ratio < max {
                    ProtocolError::InflationRatio { max: ratio_max }
                } else {
                    ProtocolError::MessageTooLong { len: receiving.message_len, max }
                });
            }
            if done.is_corrupt {
                return Err(ProtocolError::DeflateCorrupt);
            }
            if is_full && delivery == Delivery::Pieces {
                return Ok(Stop::Piece);
            }
            let goes_on = done.restarted.is_some() && deflating.unmasked_len > 0;
            if !is_full && !goes_on {
                return Ok(Stop::Input);
            }
        }
    }

    /// All of the compressed message under way has been inflated: it has to end as one does.
    pub(super) fn finish_inflating(&mut self) -> Result<(), ProtocolError> {
        self.receiving.compressed = false;
        if let (Some(deflating), Some(config)) = (&mut self.deflate, &self.config.deflate) {
            deflating.inflater.finish(&config.pool)?;
        }
        Ok(())
    }
}

impl From<Corrupt> for ProtocolError {
    fn from(Corrupt: Corrupt) -> Self {
        Self::DeflateCorrupt
    }
}

/// How many bytes a compressed message may take: what does not compress grows by 5 bytes in 16 KiB, and by up to 6 with each flush.
/// Without a limit, a peer could send empty blocks for ever.
fn compressed_len_max(message_len_max: u64) -> u64 {
    message_len_max.saturating_add(message_len_max / 8).saturating_add(1024)
}
