//! What compression may cost, and what a peer may make it cost.

use super::DeflatePool;

/// The settings of permessage-deflate for one end of a connection. RFC 7692.
///
/// Values out of their range count as the nearest that is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// How hard to look for repetitions, from 1 (fast) to 9 (small).
    ///
    /// 2: on JSON within a seventh of the size that level 6 comes to, in about half its time; level 1 is four times as fast again, for a fifth to
    /// a third more bytes.
    pub level: u8,

    /// How much machinery one compressor is, from 1 (least) to 9: how many symbols one block holds.
    ///
    /// 5, about 165 KB with a window of 12 bits: 8, zlib's usual, takes 100 KB more and saves no bytes on messages below 16 KiB.
    pub memory_level: u8,

    /// The largest window that this end compresses with, 8 to 15 bits; the peer may ask for a smaller one. RFC 7692 section 7.1.2.
    ///
    /// 12, 4 KiB: what an idle connection has to remember of what it sent. On JSON it costs 3 % of the size beside 15 bits.
    pub window_bits: u8,

    /// The largest window that the peer is asked to compress with, 8 to 15 bits. RFC 7692 section 7.1.2.
    ///
    /// 12, 4 KiB: what an idle connection has to remember of what it received. A client that cannot be told, and a server that does
    /// not do it, use 15.
    pub peer_window_bits: u8,

    /// Whether each message that this end sends is compressed on its own. RFC 7692 section 7.1.1.
    ///
    /// No: small messages that resemble each other shrink by a third more when the next one may refer to the last.
    pub no_context_takeover: bool,

    /// Whether the peer is asked to compress each message on its own. RFC 7692 section 7.1.1.
    ///
    /// No, as above. Then nothing has to be remembered of what was received.
    pub peer_no_context_takeover: bool,

    /// The shortest message that is compressed, in bytes; a shorter one goes plain, but for [`Compression::Always`]. A message sent
    /// in fragments is compressed, since its length is not known.
    ///
    /// 256: a shorter one fits in one packet anyway.
    pub message_len_min: usize,

    /// How many times its compressed length a message may inflate to, beyond [`INFLATION_RATIO_FREE_LEN`]; more closes with 1008.
    /// `u32::MAX` is no limit.
    ///
    /// The compressed length is that of its frames, as far as their headers have come, so that the verdict does not depend on how the bytes
    /// arrive. Who announces much and sends little gets no further than DEFLATE itself, 1,032 times what was sent, and than
    /// [`Config::message_len_max`](crate::Config::message_len_max).
    ///
    /// 256: text compresses to a tenth, rarely to a fiftieth; DEFLATE ends at 1,032. Raise it for long runs of one byte.
    pub inflation_ratio_max: u32,

    /// How many bytes one poll for events inflates; then it returns [`Event::Inflating`](crate::Event::Inflating), and the next poll goes on.
    ///
    /// A final block in the middle of a message counts as many bytes as it leaves in the window, which has to be set up anew behind it.
    ///
    /// 1 MiB: about a millisecond, after which others may have their turn.
    pub inflated_per_poll_max: usize,

    /// Where machinery waits that no connection needs at the moment. Clones of a configuration share it.
    pub pool: DeflatePool,
}

/// How many bytes of a message [`DeflateConfig::inflation_ratio_max`] does not count against: 1 MiB.
///
/// That much costs nobody anything, and small messages of one byte repeated are common.
pub const INFLATION_RATIO_FREE_LEN: u64 = 1024 * 1024;

impl Default for DeflateConfig {
    fn default() -> Self {
        Self {
            level: 2,
            memory_level: 5,
            window_bits: 12,
            peer_window_bits: 12,
            no_context_takeover: false,
            peer_no_context_takeover: false,
            message_len_min: 256,
            inflation_ratio_max: 256,
            inflated_per_poll_max: 1024 * 1024,
            pool: DeflatePool::default(),
        }
    }
}

impl DeflateConfig {
    pub(super) fn own_window(&self) -> u8 {
        self.window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
    }

    pub(super) fn peer_window(&self) -> u8 {
        self.peer_window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
    }
}

/// Whether a message is compressed, where permessage-deflate was agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// If it has at least [`DeflateConfig::message_len_min`] bytes.
    #[default]
    Default,
    /// However short it is.
    Always,
    /// Not at all: it holds a secret beside text that somebody else chose, or is compressed already.
    Never,
}

pub(super) const WINDOW_BITS_MIN: u8 = 8;
pub(super) const WINDOW_BITS_MAX: u8 = 15;
