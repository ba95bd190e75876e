//! From messages to DEFLATE data. RFC 7692 section 7.2.1.

use zlib_rs::{Deflate, DeflateConfig as ZlibConfig, DeflateError, DeflateFlush, Method, Strategy};

use super::config::WINDOW_BITS_MIN;
use super::history::History;
use super::{DeflateConfig, DeflatePool, TAIL};

/// What one end compresses with, and what it has sent.
pub(crate) struct Deflater {
    kind: CompressorKind,
    /// What the next message may refer to; `None` without context takeover.
    history: Option<History>,
    /// One that has seen the history; absent while idle.
    compressor: Option<Compressor>,
    mid_message: bool,
}

/// Where in its message a piece stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    More,
    Last,
}

impl Deflater {
    pub(crate) fn new(config: &DeflateConfig, window_bits: u8, no_context_takeover: bool) -> Self {
        Self {
            kind: CompressorKind::new(config, window_bits),
            history: (!no_context_takeover).then(|| History::new(window_bits)),
            compressor: None,
            mid_message: false,
        }
    }

    /// No match reaches further back than a window of so many bits.
    pub(crate) fn window_bits(&self) -> u8 {
        self.kind.window_bits
    }

    /// Compresses the next piece of a message, such that the peer can inflate all of it, and hands the bytes to `take`.
    pub(crate) fn compress<T>(
        &mut self,
        pool: &DeflatePool,
        piece: &[u8],
        position: Position,
        take: impl FnOnce(&[u8]) -> T,
    ) -> T {
        self.mid_message = position == Position::More;
        let take = |compressed: &[u8]| {
            pool.count_deflated(piece.len(), compressed.len());
            take(compressed)
        };
        let taken = if piece.is_empty() {
            // What came before has been flushed, so that this is the header of an empty block, or nothing. RFC 7692 section 7.2.3.6.
            take(if position == Position::Last { &[0x00] } else { &[] })
        } else {
            let compressor = self.compressor.get_or_insert_with(|| {
                let mut compressor = pool.take_compressor(self.kind);
                if let Some(history) = &mut self.history {
                    compressor.prime(history.window());
                }
                compressor
            });
            if let Some(history) = &mut self.history {
                history.push(piece);
            }
            match compressor.flush(piece) {
                Ok(flushed) if position == Position::More => take(flushed),
                Ok(flushed) => take(flushed.strip_suffix(&TAIL).unwrap_or(flushed)),
                Err(_) => {
                    // Not known to happen. What was flushed before ends at a byte, so that blocks of any make may follow.
                    self.compressor = None;
                    take(&stored(piece, position))
                }
            }
        };
        if self.history.is_none() && !self.mid_message {
            self.release(pool);
        }
        taken
    }

    /// The peer has inflated a message that was compressed elsewhere: its context has moved on.
    pub(crate) fn pass_over(&mut self, pool: &DeflatePool, message: &[u8]) {
        if let Some(history) = &mut self.history {
            history.push(message);
            self.release(pool);
        }
    }

    /// Gives the machinery back, unless a message is under way, and keeps what the next message may refer to.
    pub(crate) fn release(&mut self, pool: &DeflatePool) {
        if self.mid_message {
            return;
        }
        if let Some(compressor) = self.compressor.take() {
            pool.put_compressor(compressor);
        }
        if let Some(history) = &mut self.history {
            history.trim();
        }
    }

    /// The connection is over.
    pub(crate) fn retire(mut self, pool: &DeflatePool) {
        self.mid_message = false;
        self.release(pool);
    }
}

/// What one compressor can stand in for another in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompressorKind {
    pub(super) level: u8,
    pub(super) memory_level: u8,
    pub(super) window_bits: u8,
}

impl CompressorKind {
    pub(super) fn new(config: &DeflateConfig, window_bits: u8) -> Self {
        Self { level: config.level.clamp(1, 9), memory_level: config.memory_level.clamp(1, 9), window_bits }
    }
}

/// The machinery.
pub(super) struct Compressor {
    kind: CompressorKind,
    deflate: Deflate,
    /// What the last piece came to, at the front.
    out: Vec<u8>,
}

impl Compressor {
    pub(super) fn new(kind: CompressorKind) -> Self {
        // The library has no window of 8 bits. With the smallest it has, and matches that reach back by one byte only, which is what
        // run-length encoding is, none leaves the window that the peer has.
        let (window_bits, strategy) = match kind.window_bits {
            WINDOW_BITS_MIN => (WINDOW_BITS_MIN + 1, Strategy::Rle),
            bits => (bits, Strategy::Default),
        };
        let config = ZlibConfig {
            level: kind.level.into(),
            method: Method::Deflated,
            window_bits: i32::from(window_bits).saturating_neg(), // negative for data without a zlib header
            mem_level: kind.memory_level.into(),
            strategy,
        };
        Self { kind, deflate: Deflate::new_with_config(config), out: Vec::new() }
    }

    pub(super) fn kind(&self) -> CompressorKind {
        self.kind
    }

    /// To the start of a stream.
    pub(super) fn reset(&mut self) {
        self.deflate.reset();
    }

    /// At the start of a stream, makes it refer to what went before.
    fn prime(&mut self, window: &[u8]) {
        if !window.is_empty() && self.deflate.set_dictionary(window).is_err() {
            self.deflate.reset();
        }
    }

    /// Compresses a piece up to a flush, which ends with [`TAIL`].
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "totals only grow; `len` is at most the length of `out`, which, like any, can be doubled"
    )]
    pub(super) fn flush(&mut self, piece: &[u8]) -> Result<&[u8], DeflateError> {
        let mut rest = piece;
        let mut len = 0;
        loop {
            if self.out.len() < len + FLUSH_ROOM {
                // Grows with what comes out, not with what goes in.
                self.out.resize((2 * self.out.len()).max(OUT_LEN_MIN), 0);
            }
            let (consumed, produced) = (self.deflate.total_in(), self.deflate.total_out());
            let room = self.out.get_mut(len..).unwrap_or_default();
            let room_len = room.len();
            self.deflate.compress(rest, room, DeflateFlush::SyncFlush)?;
            let consumed = (self.deflate.total_in() - consumed) as usize;
            let produced = (self.deflate.total_out() - produced) as usize;
            rest = rest.get(consumed..).unwrap_or_default();
            len += produced;
            if rest.is_empty() && produced < room_len {
                return Ok(self.out.get(..len).unwrap_or_default());
            }
            if consumed == 0 && produced == 0 {
                return Err(DeflateError::StreamError);
            }
        }
    }

    /// Gives back what a spike left.
    pub(super) fn shrink(&mut self) {
        if self.out.len() > OUT_LEN_KEPT_MAX {
            self.out = Vec::new();
        }
    }
}

/// A piece in blocks that are not compressed, ending as a flush does. RFC 1951 section 3.2.4.
pub(super) fn stored(piece: &[u8], position: Position) -> Vec<u8> {
    let mut out = Vec::new();
    for block in piece.chunks(usize::from(u16::MAX)) {
        let len = block.len() as u16;
        out.push(0x00);
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend(block);
    }
    out.push(0x00);
    if position == Position::More {
        out.extend(TAIL);
    }
    out
}

/// With less room than this, zlib may flush twice.
const FLUSH_ROOM: usize = 16;
const OUT_LEN_MIN: usize = 1024;
/// What a compressor in the pool may hold beside itself.
const OUT_LEN_KEPT_MAX: usize = 32 * 1024;
