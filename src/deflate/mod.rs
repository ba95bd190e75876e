//! The extension permessage-deflate: negotiation, compression, inflation. RFC 7692.
//!
//! Switched on by [`Config::deflate`](crate::Config); off unless asked for, even where the feature is on, because features add up across
//! a program, and because compression has a price that the application has to agree to: time, memory, and a side channel.
//!
//! ```
//! use sansocket::{Config, deflate::DeflateConfig};
//!
//! let mut config = Config::default();
//! config.deflate = Some(DeflateConfig::default());
//! ```
//!
//! # What it costs
//!
//! The machinery of DEFLATE is large (about 165 KB to compress and 48 KB to inflate), but what a connection has to remember is not: the last bytes
//! that were sent and received, at most a window of each. So a connection that goes idle ([`Connection::release`](crate::Connection::release))
//! gives its machinery to the [`DeflatePool`] that all connections of a [`DeflateConfig`] share, and keeps the bytes; whoever needs machinery
//! next is primed with them. Without context takeover nothing is remembered, and machinery is given back after each message.
//!
//! | bytes of heap per connection | idle, released | between two messages, not released |
//! |---|--:|--:|
//! | nothing sent or received compressed yet | 416 | 416 |
//! | context takeover, windows of 9 bits | at most 1.4 KB | 200 KB |
//! | context takeover, windows of 12 bits, the default | at most 8.6 KB | 230 KB |
//! | the same, and a client that cannot be told its window, which then is 15 bits | at most 37 KB | 260 KB |
//! | context takeover, windows of 15 bits | at most 66 KB | 395 KB |
//! | no context takeover | 416 | 416, and up to one window |
//!
//! Until it is released, a connection with context takeover also keeps the room, up to twice, that the longest message compressed needed. One in
//! the middle of a compressed message has the machinery for it, and the part of the message that is inflated.
//!
//! Only a client that offers `client_max_window_bits` can be told a window. Whoever wants to keep nothing for the others either sets
//! [`DeflateConfig::peer_no_context_takeover`], which holds for all.
//!
//! # Security
//!
//! Who sees how long a frame is learns how well it was compressed. When a secret and a text that an attacker chooses go through one window, the
//! attacker can guess the secret piece by piece (CRIME, BREACH). Send such messages with [`Compression::Never`], or switch context takeover off
//! *and* keep secrets and foreign text in different messages.
//!
//! The pool is a side channel of its own, a narrow one: a compressor that served another connection before may choose other matches, and so make
//! the same message a few bytes longer or shorter. Nothing of what it saw is in its output, but who sends the same message often enough, and
//! sees how long each comes out, learns that something else went before. [`DeflatePool::new(0)`](DeflatePool::new) has no memory, and allocates a
//! compressor whenever a connection that was idle sends.
//!
//! What a peer sends is inflated in steps, into a buffer that grows with what has been inflated. [`Config::message_len_max`](crate::Config) counts
//! inflated bytes, and is exceeded by one byte at most; [`DeflateConfig::inflation_ratio_max`] bounds what a message may come to that is as long as
//! it says, and [`DeflateConfig::inflated_per_poll_max`] what a few bytes of input can set in motion.
//!
//! # The library
//!
//! DEFLATE itself is zlib-rs, used directly, in safe Rust. It inflates JSON 1.3 to 2 times as fast as miniz_oxide, and beside `flate2` on top of it
//! it has the settings that matter here: the memory level, the strategy, and stopping at the end of a block.

mod config;
mod deflater;
mod history;
mod inflater;
mod negotiation;
mod pool;
mod prepared;
#[cfg(test)]
mod tests;

pub use config::{Compression, DeflateConfig, INFLATION_RATIO_FREE_LEN};
pub use negotiation::{DeflateAnswer, DeflateParams, InvalidParams};
pub use pool::{DeflatePool, DeflateTotals};
pub use prepared::PreparedMessage;

pub(crate) use deflater::{Deflater, Position};
pub(crate) use inflater::{Corrupt, Inflater};

/// What ends each flushed piece of DEFLATE data, and is left out at the end of a message. RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
