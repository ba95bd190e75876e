//! Both directions together, and each against another implementation.

use miniz_oxide::deflate::core::CompressorOxide;
use miniz_oxide::inflate::stream::InflateState;
use miniz_oxide::{DataFormat, MZFlush};
use proptest::prelude::*;

use super::*;

/// What an application might send: runs, repetitions near and far, text, noise.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        (any::<u8>(), 0..2000_usize).prop_map(|(byte, n)| vec![byte; n]),
        proptest::collection::vec(any::<u8>(), 0..400),
        proptest::collection::vec(b'a'..b'e', 0..600),
        (1..60_u32, any::<u32>()).prop_map(|(n, id)| {
            (0..n)
                .map(|i| format!(r#"{{"id":{},"name":"user {}","active":true}},"#, id ^ i, i % 7))
                .collect::<String>()
                .into()
        }),
    ];
    proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

#[derive(Clone, Debug)]
struct Sent {
    message: Vec<u8>,
    /// In how many fragments.
    fragments: usize,
    /// Whether the sender, and the receiver, goes idle behind it.
    releases: (bool, bool),
    /// Whether it was compressed for all.
    is_prepared: bool,
}

fn sent() -> impl Strategy<Value = Sent> {
    (message(), 1..5_usize, any::<(bool, bool)>(), proptest::bool::weighted(0.2))
        .prop_map(|(message, fragments, releases, is_prepared)| Sent { message, fragments, releases, is_prepared })
}

fn settings() -> impl Strategy<Value = DeflateConfig> {
    (1..=9_u8, 1..=9_u8, 8..=15_u8, any::<bool>(), 0..3_usize).prop_map(
        |(level, memory_level, window_bits, no_context_takeover, idle_max)| DeflateConfig {
            level,
            memory_level,
            window_bits,
            no_context_takeover,
            message_len_min: 1,
            pool: DeflatePool::new(idle_max),
            ..DeflateConfig::default()
        },
    )
}

/// All payloads of one message, joined.
fn compress(deflater: &mut Deflater, config: &DeflateConfig, sent: &Sent) -> Vec<u8> {
    if sent.is_prepared
        && let Some(payload) = PreparedMessage::new(&sent.message[..], config).compressed(deflater.window_bits())
    {
        deflater.pass_over(&config.pool, &sent.message);
        return payload.to_vec();
    }
    let mut compressed = Vec::new();
    let size = sent.message.len().div_ceil(sent.fragments).max(1);
    let mut pieces: Vec<&[u8]> = sent.message.chunks(size).collect();
    pieces.resize(sent.fragments, &[]);
    for (i, piece) in pieces.iter().enumerate() {
        let position = if i + 1 == pieces.len() { Position::Last } else { Position::More };
        deflater.compress(&config.pool, piece, position, |bytes| compressed.extend(bytes));
    }
    compressed
}

/// Inflates a message from pieces of one size into rooms of another.
fn inflate(
    inflater: &mut Inflater,
    pool: &DeflatePool,
    wire: &[u8],
    piece: usize,
    room: usize,
) -> Result<Vec<u8>, Corrupt> {
    let mut message = Vec::new();
    for mut piece in wire.chunks(piece) {
        loop {
            let mut output = vec![0; room];
            let done = inflater.inflate(pool, piece, &mut output);
            if done.is_corrupt {
                return Err(Corrupt);
            }
            message.extend(&output[..done.produced]);
            piece = &piece[done.consumed..];
            if done.produced < room && done.restarted.is_none() {
                assert!(piece.is_empty(), "input is left, and room");
                break;
            }
        }
    }
    inflater.finish(pool)?;
    Ok(message)
}

proptest! {
    #[test]
    fn any_messages_come_back_whatever_the_settings_the_fragments_and_the_split(
        config in settings(),
        all in proptest::collection::vec(sent(), 1..6),
        piece in 1..500_usize,
        room in 1..500_usize,
    ) {
        let mut deflater = Deflater::new(&config, config.window_bits, config.no_context_takeover);
        let mut inflater = Inflater::new(config.window_bits, config.no_context_takeover);
        let mut independent = InflateState::new(DataFormat::Raw);
        let mut so_far = Vec::new();
        for sent in all {
            let wire = compress(&mut deflater, &config, &sent);
            let found = inflate(&mut inflater, &config.pool, &wire, piece, room);
            prop_assert!(found.is_ok(), "corrupt");
            prop_assert_eq!(&found.unwrap(), &sent.message);

            // No match reaches further back than the window, so that a peer with no more than it can inflate this.
            if config.no_context_takeover {
                so_far.clear();
                independent = InflateState::new(DataFormat::Raw);
            }
            so_far.extend(&wire);
            so_far.extend(TAIL);
            let reach = longest_reach(&so_far);
            prop_assert!(reach <= 1 << config.window_bits, "a match reaches back {} bytes", reach);

            let mut output = vec![0; sent.message.len() + 1];
            let whole = [&wire[..], &TAIL].concat();
            let done = miniz_oxide::inflate::stream::inflate(&mut independent, &whole, &mut output, MZFlush::None);
            prop_assert_eq!((done.bytes_consumed, &output[..done.bytes_written]), (whole.len(), &sent.message[..]));

            if sent.releases.0 {
                deflater.release(&config.pool);
            }
            if sent.releases.1 {
                inflater.release(&config.pool);
            }
        }
        deflater.retire(&config.pool);
        inflater.retire(&config.pool);
    }

    #[test]
    fn what_another_compressor_makes_is_inflated_with_context_takeover(
        all in proptest::collection::vec((message(), any::<bool>()), 1..6),
        level in 0..=10_u8,
        piece in 1..500_usize,
        room in 1..500_usize,
    ) {
        let pool = DeflatePool::default();
        let mut inflater = Inflater::new(15, false);
        let mut compressor = CompressorOxide::default();
        compressor.set_format_and_level(DataFormat::Raw, level);
        for (message, releases) in all {
            let mut output = vec![0; 2 * message.len() + 1000];
            let done = miniz_oxide::deflate::stream::deflate(&mut compressor, &message, &mut output, MZFlush::Sync);
            let wire = &output[..done.bytes_written];
            let wire = wire.strip_suffix(&TAIL).unwrap_or(&[0]);
            let found = inflate(&mut inflater, &pool, wire, piece, room);
            prop_assert_eq!(found.ok(), Some(message));
            if releases {
                inflater.release(&pool);
            }
        }
    }

    /// zlib-rs looks at what a reset left behind when it chooses among matches, so that machinery from a pool may make other bytes.
    #[test]
    fn new_machinery_gives_the_same_bytes_each_time_and_used_machinery_the_same_message(
        config in settings(), before in message(), sent in sent(),
    ) {
        let used = DeflateConfig { pool: DeflatePool::new(1), ..config.clone() };
        let fresh = DeflateConfig { pool: DeflatePool::new(0), ..config };
        let mut other = Deflater::new(&used, used.window_bits, false);
        other.compress(&used.pool, &before, Position::More, |_| ());
        other.retire(&used.pool);
        let wires = [&used, &fresh, &fresh].map(|config| {
            compress(&mut Deflater::new(config, config.window_bits, config.no_context_takeover), config, &sent)
        });
        prop_assert_eq!(&wires[1], &wires[2]);
        let mut inflater = Inflater::new(used.window_bits, used.no_context_takeover);
        prop_assert_eq!(inflate(&mut inflater, &used.pool, &wires[0], 1000, 1000).ok(), Some(sent.message));
    }
}

/// RFC 7692 section 7.2.3, its examples of "Hello".
#[test]
fn the_examples_of_the_rfc_are_inflated() {
    let pool = DeflatePool::default();
    let hello = |all: &[&[u8]]| {
        let mut inflater = Inflater::new(15, false);
        for wire in all {
            for piece in 1..=wire.len() {
                for room in [1, 2, 5, 6] {
                    let mut fresh = Inflater::new(15, false);
                    for before in all.iter().take_while(|before| before != &wire) {
                        inflate(&mut fresh, &pool, before, 100, 100).unwrap();
                    }
                    assert_eq!(inflate(&mut fresh, &pool, wire, piece, room).unwrap(), b"Hello", "{wire:x?}");
                }
            }
            assert_eq!(inflate(&mut inflater, &pool, wire, 100, 100).unwrap(), b"Hello", "{wire:x?}");
        }
    };
    hello(&[&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]]); // 7.2.3.1
    hello(&[&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &[0xf2, 0x00, 0x11, 0x00, 0x00]]); // 7.2.3.2
    hello(&[&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]]); // 7.2.3.3
    hello(&[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]]); // 7.2.3.4, a final block
    hello(&[&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]]); // 7.2.3.5, two blocks
    // The window goes on behind a final block.
    hello(&[&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], &[0xf2, 0x00, 0x11, 0x00, 0x00]]);
    // 7.2.3.6: an empty message, in either form.
    for wire in [&[0x00][..], &[0x02, 0x00]] {
        assert_eq!(inflate(&mut Inflater::new(15, false), &pool, wire, 1, 1).unwrap(), b"");
    }
    let config = DeflateConfig::default();
    let mut deflater = Deflater::new(&config, 15, false);
    for _ in 0..2 {
        deflater.compress(&pool, b"", Position::Last, |bytes| assert_eq!(bytes, [0x00]));
        deflater.compress(&pool, b"Hello", Position::Last, |bytes| assert!(bytes.len() <= 7, "{bytes:x?}"));
    }
}

#[test]
fn a_message_that_ends_inside_a_block_is_corrupt() {
    let pool = DeflatePool::default();
    let config = DeflateConfig::default();
    let mut message: Vec<u8> = (0..2000_u32).flat_map(|i| (i * i).to_string().into_bytes()).collect();
    message.truncate(3000);
    for strategy in 0..3 {
        let wire = match strategy {
            0 => compress(
                &mut Deflater::new(&config, 12, false),
                &config,
                &Sent { message: message.clone(), fragments: 1, releases: (false, false), is_prepared: false },
            ),
            1 => [&[0x00, 0x05, 0x00, 0xfa, 0xff][..], b"Hello", &[0x00]].concat(),
            _ => vec![0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        };
        let whole = inflate(&mut Inflater::new(15, false), &pool, &wire, wire.len(), 10_000);
        assert!(whole.is_ok());
        for end in (0..wire.len()).filter(|end| wire[..*end] != [0x00]) {
            let cut = inflate(&mut Inflater::new(15, false), &pool, &wire[..end], 100, 10_000);
            assert!(cut.is_err(), "{strategy}: {end} of {} bytes pass for a message", wire.len());
        }
    }
    // A flush that was not stripped, and garbage.
    for wire in [&[0x00, 0x00, 0x00, 0xff, 0xff][..], &[0xff; 10], &[0x06], &[0xf2, 0x00, 0x11, 0x00, 0x00]] {
        assert!(inflate(&mut Inflater::new(15, false), &pool, wire, 1, 10).is_err(), "{wire:x?}");
    }
}

/// A fallback for what is not known to happen still has to be right.
#[test]
fn stored_blocks_end_as_a_flush_does() {
    let pool = DeflatePool::default();
    for len in [1, 65_535, 65_536, 200_000] {
        let message: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let wire = [deflater::stored(&message, Position::More), deflater::stored(&message, Position::Last)].concat();
        assert_eq!(inflate(&mut Inflater::new(8, false), &pool, &wire, 1000, 1000).unwrap(), message.repeat(2));
    }
}

#[test]
fn compression_shrinks_what_resembles_the_last_message() {
    let first = br#"{"type":"order","symbol":"ACME","side":"buy","quantity":100,"price":10.25}"#;
    let second = br#"{"type":"order","symbol":"ACME","side":"sell","quantity":70,"price":10.50}"#;
    for releases in [false, true] {
        let sizes = [false, true].map(|no_context_takeover| {
            let config = DeflateConfig { no_context_takeover, ..DeflateConfig::default() };
            let mut deflater = Deflater::new(&config, 12, no_context_takeover);
            deflater.compress(&config.pool, first, Position::Last, <[u8]>::len);
            if releases {
                deflater.release(&config.pool);
            }
            deflater.compress(&config.pool, second, Position::Last, <[u8]>::len)
        });
        assert!(sizes[0] * 2 < sizes[1], "{sizes:?}, released: {releases}");
    }
}

/// How far back the furthest match in well-formed DEFLATE data reaches. RFC 1951.
fn longest_reach(data: &[u8]) -> usize {
    let mut bits = Bits { data, at: 0 };
    let mut reach = 0;
    while bits.left() >= 3 {
        assert_eq!(bits.take(1), 0, "a final block");
        let (lengths, distances) = match bits.take(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let len = bits.take(16);
                assert_eq!(len ^ 0xFFFF, bits.take(16));
                bits.at += 8 * len;
                continue;
            }
            1 => {
                let fixed = [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat();
                (Huffman::new(&fixed), Huffman::new(&[5; 30]))
            }
            _ => {
                let (literals, distances, codes) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
                let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
                let mut code_lengths = [0; 19];
                for place in &order[..codes] {
                    code_lengths[*place] = bits.take(3);
                }
                let code = Huffman::new(&code_lengths);
                let mut lengths = Vec::new();
                while lengths.len() < literals + distances {
                    match code.symbol(&mut bits) {
                        16 => lengths.extend(vec![*lengths.last().unwrap(); 3 + bits.take(2)]),
                        17 => lengths.extend(vec![0; 3 + bits.take(3)]),
                        18 => lengths.extend(vec![0; 11 + bits.take(7)]),
                        len => lengths.push(len),
                    }
                }
                (Huffman::new(&lengths[..literals]), Huffman::new(&lengths[literals..]))
            }
        };
        loop {
            match lengths.symbol(&mut bits) {
                256 => break,
                0..256 => {}
                length => {
                    // Section 3.2.5: 257 to 264 and 285 have no extra bits, then one more for every four.
                    bits.at += if length == 285 { 0 } else { ((length - 257) / 4).saturating_sub(1) };
                    let symbol = distances.symbol(&mut bits);
                    let extra = (symbol / 2).saturating_sub(1);
                    let base = if symbol < 4 { symbol } else { (2 + symbol % 2) << extra };
                    reach = reach.max(base + 1 + bits.take(extra));
                }
            }
        }
    }
    reach
}

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn left(&self) -> usize {
        8 * self.data.len() - self.at
    }

    fn take(&mut self, n: usize) -> usize {
        (0..n).fold(0, |value, i| {
            let bit = usize::from(self.data[self.at / 8] >> (self.at % 8) & 1);
            self.at += 1;
            value | bit << i
        })
    }
}

/// Canonical codes: how many there are of each length, and the symbols in order.
struct Huffman {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Huffman {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|len| counts[*len] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1);
            if code < first + count {
                return self.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }
}
