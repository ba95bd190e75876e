//! The same seed and the same calls give the same bytes; and no masking key comes twice.

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use sansocket::{ClientRequest, CloseCode, Connection, FragmentPosition, RecvBuf, Role};
use support::*;

/// All that a connection writes in some calls of every kind.
fn life(seed: [u8; 32], role: Role, release: bool) -> Vec<u8> {
    let now = std::time::Instant::now();
    let mut connection = Connection::open(role, config(|_| {}), seed, now);
    let mut buf = RecvBuf::new();
    connection.send_text(now, "text").unwrap();
    connection.send_binary(now, &[7; 300]).unwrap();
    if release {
        connection.release();
    }
    connection.send_text_fragment(now, "a", FragmentPosition::Last).unwrap();
    connection.ping(now, b"ping").unwrap();
    connection.handle_timeout(now + 25 * SEC);
    buf.extend_from_slice(&wire_to(role, &[ping("p"), text("t")]));
    while connection.poll_event(now, &mut buf).is_some() {}
    connection.close(now, CloseCode::NORMAL, "bye").unwrap();
    connection.outgoing().to_vec()
}

#[test]
fn the_same_seed_and_calls_give_the_same_bytes() {
    for role in ROLES {
        assert_eq!(life([1; 32], role, false), life([1; 32], role, false));
    }
}

#[test]
fn another_seed_gives_other_masks_and_the_same_frames() {
    let (one, other) = (decode(&life([1; 32], Role::Client, false)), decode(&life([2; 32], Role::Client, false)));
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one.key, other.key);
        assert_eq!(one.opcode, other.opcode);
        // But for the heartbeat, whose payload is of the seed, too.
        assert_eq!(one.payload == other.payload, one.opcode != 0x9 || one.payload == b"ping");
    }
    // A single bit of the seed is another seed.
    let mut bit = [1; 32];
    bit[31] ^= 0x80;
    assert_ne!(life([1; 32], Role::Client, false), life(bit, Role::Client, false));
}

#[test]
fn each_handshake_has_a_key_of_its_own() {
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let now = std::time::Instant::now();
    let mut seen = BTreeSet::new();
    for i in 0..100 {
        let connection = Connection::client(&request, config(|_| {}), [i; 32], now);
        let head = String::from_utf8(connection.outgoing().to_vec()).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        assert!(seen.insert(key.to_owned()), "key {key} came twice");
    }
}

/// CVE-2025-10148: one key for a whole connection lets an attacker write what he likes on the wire.
#[test]
fn each_frame_has_a_fresh_key() {
    let mut bench = Bench::open(Role::Client, config(|_| {}));
    let mut keys = BTreeSet::new();
    let mut ones = 0;
    let count = 10_000;
    for i in 0..count {
        match i % 4 {
            0 => bench.connection.send_text(bench.now, "same text").unwrap(),
            1 => bench.connection.send_binary(bench.now, b"").unwrap(),
            2 => bench.connection.ping(bench.now, b"").unwrap(),
            _ => drop(bench.receive(b"\x89\x00")),
        }
        for frame in bench.flush_frames() {
            let key = frame.key.unwrap();
            ones += key.iter().map(|byte| byte.count_ones()).sum::<u32>();
            keys.insert(key);
        }
        if i % 100 == 99 {
            bench.connection.release();
        }
    }
    // By chance, 10,000 keys of 32 bits share 0.01 pairs.
    assert!(keys.len() >= count - 2, "{} keys for {count} frames", keys.len());
    let share = f64::from(ones) / (32.0 * count as f64);
    assert!((0.49..0.51).contains(&share), "{share} of the bits are ones");
    assert!(!keys.contains(&[0; 4]));
}

proptest! {
    /// So that it does not matter to the peer when an adapter finds its connection idle.
    #[test]
    fn releasing_memory_changes_no_byte(seed: [u8; 32]) {
        for role in ROLES {
            prop_assert_eq!(life(seed, role, false), life(seed, role, true));
        }
    }
}
