//! What compression costs a connection: bytes, counted by the allocator, and what a peer can make of them.
//!
//! `cargo test --features deflate --test deflate_memory -- --nocapture` prints the figures.
#![cfg(feature = "deflate")]
// The figures are what one of these tests is run for.
#![allow(clippy::print_stdout)]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::sync::Arc;

use counting::measure;
use miniz_oxide::deflate::compress_to_vec;
use sansocket::deflate::{DeflateConfig, DeflateParams, DeflatePool};
use sansocket::{CloseCause, Config, Connection, Event, ProtocolError, RecvBuf, Role};
use support::*;

const RSV1: u8 = 0b100;
const WINDOW: usize = 32 * 1024;
/// One inflater with its window, and what goes on past it, twice a window.
const INFLATER: usize = 48 * 1024 + 2 * WINDOW;

fn open(role: Role, config: &Arc<Config>, params: DeflateParams) -> Bench {
    let mut bench = Bench::open(role, config.clone());
    bench.connection = Connection::open(role, config.clone(), SEED, bench.now).with_deflate(Some(params));
    bench
}

/// Feeds a wire in reads, and returns how many bytes of messages came of it.
fn receive(bench: &mut Bench, wire: &[u8]) -> usize {
    let mut received = 0;
    for chunk in wire.chunks(16 * 1024) {
        if !bench.connection.wants_read() {
            break;
        }
        bench.buf.extend_from_slice(chunk);
        while let Some(event) = bench.connection.poll_event(bench.now, &mut bench.buf) {
            if let Event::Binary(bytes) = event {
                received += bytes.len();
            }
        }
    }
    received
}

/// 1 MiB that inflates to 1 GiB. RFC 7692 leaves it to the receiver not to follow. CVE-2026-1526, soketto #107.
#[test]
fn a_bomb_stops_at_the_cap_and_costs_no_more_than_the_cap() {
    // One block after the other of a run of zeros, each a thousandth of what it inflates to.
    let part = compress_to_vec(&vec![0; 1 << 24], 9);
    let one_gib: Vec<u8> = part.repeat(64);
    assert!(one_gib.len() < 1_200_000, "{}", one_gib.len());
    for message_len_max in [64 * 1024, 1024 * 1024, 16 * 1024 * 1024] {
        for ratio_max in [u32::MAX, 256] {
            let config = config(|config| {
                timeless(config);
                config.message_len_max = message_len_max;
                config.deflate.insert(DeflateConfig::default()).inflation_ratio_max = ratio_max;
            });
            let in_one = wire_to(Role::Server, &[binary(&one_gib[..one_gib.len().min(60_000)]).rsv(RSV1)]);
            let size = one_gib.len() / 10_000 + 1;
            let mut frames: Vec<Frame> = one_gib.chunks(size).map(|piece| continuation(piece).more()).collect();
            frames[0] = binary(&one_gib[..size]).rsv(RSV1).more();
            let in_many = wire_to(Role::Server, &frames);
            for (name, wire) in [("one frame", &in_one), ("10,000 fragments", &in_many)] {
                let mut bench = open(Role::Server, &config, DeflateParams::default());
                let (cost, received) = measure(|| receive(&mut bench, wire));
                assert_eq!(received, 0);
                bench.flush();
                let CloseCause::Protocol(error) = only_closed(bench.eof()).cause else {
                    panic!("no fault");
                };
                match error {
                    // It stops at the very byte.
                    ProtocolError::MessageTooLong { len, max } => assert_eq!((len, max), (max + 1, message_len_max)),
                    ProtocolError::InflationRatio { .. } => assert!(ratio_max < u32::MAX && message_len_max > 1 << 20),
                    error => panic!("{name}: {error}"),
                }
                // A buffer that doubles as it grows, and for a moment stands beside what it grew from; and what was received.
                let bound = 3 * message_len_max as usize + INFLATER + 2 * 64 * 1024;
                let inflated = match error {
                    ProtocolError::InflationRatio { .. } => "by the ratio",
                    _ => "at the cap",
                };
                println!("{name}, cap {message_len_max}: stopped {inflated}, {} bytes at most", cost.peak);
                assert!(cost.peak <= bound as isize, "{name}: {} bytes", cost.peak);
            }
        }
    }
}

/// The message before it has filled the window with what the bomb repeats.
#[test]
fn context_takeover_makes_no_larger_bomb() {
    let config = config(|config| {
        timeless(config);
        config.message_len_max = 1024 * 1024;
        config.deflate = Some(DeflateConfig::default());
    });
    let mut first = compress_to_vec(&(0..WINDOW as u32).map(|i| ((i * i) >> 7) as u8).collect::<Vec<_>>(), 6);
    first.push(0x00);
    let mut bench = open(Role::Server, &config, DeflateParams::default());
    // Fixed code: matches of 258 bytes from 32,768 back, for ever.
    let mut bits = String::from("010"); // not final, fixed code: bits in the order of the wire
    for _ in 0..20_000 {
        bits += "11000101"; // length 258
        bits += "11101"; // distances from 24,577 …
        bits += "1111111111111"; // … to 32,768
    }
    let bomb: Vec<u8> = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |value, (i, bit)| value | (bit - b'0') << i))
        .collect();
    let wire = wire_to(Role::Server, &[binary(&first).rsv(RSV1), binary(bomb).rsv(RSV1)]);
    let (cost, received) = measure(|| receive(&mut bench, &wire));
    assert_eq!(received, WINDOW);
    bench.flush();
    let error = ProtocolError::MessageTooLong { len: 1024 * 1024 + 1, max: 1024 * 1024 };
    assert_eq!(only_closed(bench.eof()).cause, CloseCause::Protocol(error));
    assert!(cost.peak <= (3 * 1024 * 1024 + INFLATER + 2 * 64 * 1024) as isize, "{} bytes", cost.peak);
}

/// A promise of compressed bytes is worth no more than any other.
#[test]
fn nothing_is_allocated_for_what_a_header_promises() {
    let config = config(|config| {
        timeless(config);
        config.frame_len_max = u64::MAX;
        config.message_len_max = u64::MAX / 4;
        config.deflate = Some(DeflateConfig::default());
    });
    for len in (7..62).map(|power| 1_u64 << power) {
        let mut bench = open(Role::Server, &config, DeflateParams::default());
        let wire = wire_to(Role::Server, &[binary([0x00]).rsv(RSV1).promising(len)]);
        let (cost, _) = measure(|| receive(&mut bench, &wire));
        assert!(cost.peak <= (INFLATER + 20 * 1024) as isize, "{} bytes for a promise of {len}", cost.peak);
    }
}

#[test]
fn an_idle_connection_keeps_what_it_has_to_remember_and_no_more() {
    let takeover =
        |bits| DeflateParams { server_max_window_bits: bits, client_max_window_bits: bits, ..DeflateParams::default() };
    let alone = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateParams::default()
    };
    let modes = [
        ("windows of 9 bits", takeover(9), 2 << 9),
        ("windows of 12 bits", takeover(12), 2 << 12),
        ("windows of 15 bits", takeover(15), 2 << 15),
        (
            "a client that cannot be told",
            DeflateParams { server_max_window_bits: 12, ..takeover(15) },
            (1 << 12) + (1 << 15),
        ),
        ("no context takeover", alone, 0),
    ];
    for (name, params, remembered) in modes {
        let pool = DeflatePool::new(0);
        let config = config(|config| {
            timeless(config);
            config.deflate.insert(DeflateConfig::default()).pool = pool;
        });
        let text: String = (0..4000_u32).map(|i| format!("{{\"id\":{}}},", i * 7919)).collect();
        let mut buf = RecvBuf::new();
        let (mut peer, now) = (open(Role::Client, &config, params), std::time::Instant::now());
        peer.connection.send_text(now, &text).unwrap();
        let wire = peer.flush();
        peer.connection.release(); // What the pool itself takes is no connection's.

        let (fresh, mut connection) =
            measure(|| Connection::open(Role::Server, config.clone(), SEED, now).with_deflate(Some(params)));
        let (busy, ()) = measure(|| {
            buf.extend_from_slice(&wire);
            assert!(matches!(connection.poll_event(now, &mut buf), Some(Event::Text(found)) if found == text));
            connection.send_text(now, &text).unwrap();
            connection.advance_outgoing(now, usize::MAX);
            buf.release();
        });
        let (released, ()) = measure(|| connection.release());
        let idle = fresh.live + busy.live + released.live;
        println!("{name}: {} bytes at first, {} between messages, {idle} idle", fresh.live, fresh.live + busy.live,);
        assert!(fresh.live <= 512, "{name}: {} bytes at first", fresh.live);
        assert!(idle <= fresh.live + remembered, "{name}: {idle} bytes idle");
        // And it is worth it.
        connection.send_text(now, &text).unwrap();
        let wire = connection.outgoing().to_vec();
        assert_eq!(peer.receive(&[&first_wire(&config, params, &text)[..], &wire].concat()).len(), 2);
    }
}

#[test]
fn a_connection_that_has_ended_leaves_its_machinery_to_the_next() {
    let config = config(|config| {
        timeless(config);
        config.deflate.insert(DeflateConfig::default()).pool = DeflatePool::new(1);
    });
    let text = "some text ".repeat(1000);
    let wire = {
        let mut client = open(Role::Client, &config, DeflateParams::default());
        client.connection.send_text(client.now, &text).unwrap();
        client.flush()
    };
    let live_and_end = || {
        let mut server = open(Role::Server, &config, DeflateParams::default());
        assert_eq!(server.receive(&wire), [Seen::Text(text.clone())]);
        server.connection.send_text(server.now, &text).unwrap();
        server.connection.abort();
    };
    live_and_end();
    let (cost, ()) = measure(live_and_end);
    assert!(cost.peak <= 128 * 1024, "{} bytes for the second", cost.peak);
}

/// What a server sends of `text` first.
fn first_wire(config: &Arc<Config>, params: DeflateParams, text: &str) -> Vec<u8> {
    let mut server = open(Role::Server, config, params);
    server.connection.send_text(server.now, text).unwrap();
    server.flush()
}

/// After the first, messages are compressed and inflated without an allocation.
#[test]
fn a_message_on_a_busy_connection_allocates_nothing() {
    let config = config(|config| {
        timeless(config);
        config.deflate = Some(DeflateConfig::default());
    });
    let text = r#"{"symbol":"ACME","price":10.25}"#.repeat(32);
    for no_context_takeover in [false, true] {
        let params = DeflateParams {
            server_no_context_takeover: no_context_takeover,
            client_no_context_takeover: no_context_takeover,
            ..DeflateParams::default()
        };
        let mut server = open(Role::Server, &config, params);
        let mut client = open(Role::Client, &config, params);
        for round in 0..200 {
            let (cost, ()) = measure(|| {
                client.connection.send_text(client.now, &text).unwrap();
                server.buf.extend_from_slice(client.connection.outgoing());
                client.connection.advance_outgoing(client.now, usize::MAX);
                let event = server.connection.poll_event(server.now, &mut server.buf);
                assert!(matches!(event, Some(Event::Text(found)) if found == text));
            });
            // A window that is full is forgotten in halves, and grows no more.
            assert!(round < 100 || cost.allocations == 0, "round {round}: {} allocations", cost.allocations);
        }
    }
}
