//! One compressed message for many receivers.

use bytes::Bytes;

use super::deflater::{Compressor, CompressorKind};
use super::{DeflateConfig, TAIL};
use crate::message::Message;

/// A message with its compressed form, which any number of connections may send. Cloning it shares both.
///
/// ```
/// use sansocket::deflate::{DeflateConfig, PreparedMessage};
///
/// let prices = "up ".repeat(1000);
/// let prepared = PreparedMessage::new(prices.as_str(), &DeflateConfig::default());
/// assert!(prepared.compressed_len().unwrap() < 100);
/// ```
#[derive(Clone, Debug)]
pub struct PreparedMessage {
    message: Message,
    compressed: Option<Compressed>,
}

#[derive(Clone, Debug)]
struct Compressed {
    window_bits: u8,
    payload: Bytes,
}

impl PreparedMessage {
    /// Compresses `message` on its own, so that it suits every connection whose window is at least that of `config`. A message that is below
    /// [`DeflateConfig::message_len_min`], or that does not get shorter, stays plain.
    pub fn new(message: impl Into<Message>, config: &DeflateConfig) -> Self {
        let message = message.into();
        let compressed = if message.as_bytes().len() < config.message_len_min.max(1) {
            None
        } else {
            compress(message.as_bytes(), config)
        };
        Self { message, compressed }
    }

    /// What was prepared.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// How long the compressed form is; `None` when there is none.
    pub fn compressed_len(&self) -> Option<usize> {
        self.compressed.as_ref().map(|compressed| compressed.payload.len())
    }

    /// The compressed form, if no match in it reaches further back than a window of so many bits.
    pub(crate) fn compressed(&self, window_bits: u8) -> Option<&Bytes> {
        self.compressed
            .as_ref()
            .filter(|compressed| compressed.window_bits <= window_bits)
            .map(|compressed| &compressed.payload)
    }
}

fn compress(message: &[u8], config: &DeflateConfig) -> Option<Compressed> {
    let window_bits = config.own_window();
    let mut compressor: Compressor = config.pool.take_compressor(CompressorKind::new(config, window_bits));
    let flushed = compressor.flush(message).ok()?;
    let payload =
        flushed.strip_suffix(&TAIL).filter(|payload| payload.len() < message.len()).map(Bytes::copy_from_slice);
    config.pool.put_compressor(compressor);
    let payload = payload?;
    config.pool.count_deflated(message.len(), payload.len());
    Some(Compressed { window_bits, payload })
}
