//! How fast the core is: `cargo bench --bench core`. The transport has 64 KiB for each read, and the buffer says how much of that it takes.
//!
//! `benches/peers` sets it beside other libraries.

// The macros of criterion make functions without docs.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sansocket::frame::{HEADER_LEN_MAX, Header, Opcode, Rsv, Utf8Validator, apply_mask, from_utf8};
use sansocket::{Acceptance, Bytes, ClientRequest, Config, Connection, Event, RecvBuf, Role};

criterion_group!(benches, frame, receive, send, handshake, deflate);
criterion_main!(benches);

const SIZES: [usize; 6] = [16, 125, 1024, 16 * 1024, 64 * 1024, 1024 * 1024];
/// How many messages an iteration takes: many small ones come in one read.
const BATCH_LEN: usize = 64;
/// What a socket has ready for one read.
const CHUNK_LEN: usize = 64 * 1024;

fn frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for len in SIZES {
        group.throughput(Throughput::Bytes(len as u64));
        let mut payload = vec![b'a'; len];
        group.bench_function(BenchmarkId::new("mask", len), |bencher| {
            bencher.iter(|| apply_mask(black_box(&mut payload), [1, 2, 3, 4], 1));
        });
        for (name, text) in [("ascii", "a".repeat(len)), ("mixed", "é€💩 abc".repeat(len / 13 + 1))] {
            group.bench_function(BenchmarkId::new(format!("utf8 {name}"), len), |bencher| {
                bencher.iter(|| from_utf8(black_box(text.as_bytes())).is_some());
            });
            group.bench_function(BenchmarkId::new(format!("utf8 in pieces {name}"), len), |bencher| {
                bencher.iter(|| {
                    let mut validator = Utf8Validator::new();
                    text.as_bytes().chunks(1000).all(|piece| validator.feed(black_box(piece)).is_ok())
                });
            });
        }
    }
    group.finish();
    let wire = frame_of(Opcode::Binary, &[0; 1024], Some([1, 2, 3, 4]));
    criterion.bench_function("frame/decode header", |bencher| bencher.iter(|| Header::decode(black_box(&wire))));
    let Ok(Some((header, _))) = Header::decode(&wire) else { panic!("the header is whole") };
    criterion.bench_function("frame/encode header", |bencher| {
        bencher.iter(|| {
            let mut head = [0; HEADER_LEN_MAX];
            (black_box(header).encode(&mut head), head)
        });
    });
}

fn receive(criterion: &mut Criterion) {
    for (role, masking_key) in [(Role::Server, Some([1, 2, 3, 4])), (Role::Client, None)] {
        for (kind, opcode, unit) in
            [("binary", Opcode::Binary, "a"), ("ascii", Opcode::Text, "a"), ("mixed", Opcode::Text, "é€💩 abc")]
        {
            let mut group = criterion.benchmark_group(format!("receive {kind} as {role:?}"));
            for len in SIZES {
                let payload = unit.repeat(len / unit.len());
                let wire = frame_of(opcode, payload.as_bytes(), masking_key).repeat(BATCH_LEN);
                group.throughput(Throughput::Elements(BATCH_LEN as u64));
                let now = Instant::now();
                let mut connection = Connection::open(role, Config::default(), [7; 32], now);
                let mut buf = RecvBuf::new();
                group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
                    bencher.iter(|| {
                        let mut received = 0;
                        for mut chunk in wire.chunks(CHUNK_LEN) {
                            while !chunk.is_empty() {
                                let spare = buf.spare_mut();
                                let (read, rest) = chunk.split_at(spare.len().min(chunk.len()));
                                spare[..read.len()].copy_from_slice(read);
                                buf.advance_received(read.len());
                                chunk = rest;
                                while let Some(event) = connection.poll_event(now, &mut buf) {
                                    received += match event {
                                        Event::Text(text) => text.len(),
                                        Event::Binary(bytes) => bytes.len(),
                                        event => panic!("{event:?}"),
                                    };
                                }
                            }
                        }
                        assert_eq!(received, BATCH_LEN * payload.len());
                    });
                });
            }
            group.finish();
        }
    }
}

fn send(criterion: &mut Criterion) {
    for role in [Role::Server, Role::Client] {
        let mut group = criterion.benchmark_group(format!("send binary as {role:?}"));
        for len in SIZES {
            group.throughput(Throughput::Elements(1));
            let payload = Bytes::from(vec![b'a'; len]);
            let now = Instant::now();
            let mut connection = Connection::open(role, Config::default(), [7; 32], now);
            let mut sent = 0_usize;
            group.bench_function(BenchmarkId::from_parameter(len), |bencher| {
                bencher.iter(|| {
                    connection.send_binary_shared(now, black_box(&payload)).expect("there is room");
                    sent += 1;
                    // Up to a batch leaves in one write.
                    while connection.buffered_len() > 64 * 1024
                        || (sent.is_multiple_of(BATCH_LEN) && connection.buffered_len() > 0)
                    {
                        let n = black_box(connection.outgoing()).len();
                        connection.advance_outgoing(now, n);
                    }
                });
            });
        }
        group.finish();
    }
}

fn handshake(criterion: &mut Criterion) {
    let config = Arc::new(Config::default());
    let request = ClientRequest::new("ws://example.com/chat").expect("the URL is valid");
    let now = Instant::now();
    let asked = Connection::client(&request, config.clone(), [7; 32], now).outgoing().to_vec();
    let serve = || {
        let mut connection = Connection::server(config.clone(), [7; 32], now);
        let mut buf = RecvBuf::new();
        buf.extend_from_slice(black_box(&asked));
        assert!(matches!(connection.poll_event(now, &mut buf), Some(Event::Request(_))));
        connection.accept(now, &Acceptance::new()).expect("a request waits");
        connection
    };
    let answer = serve().outgoing().to_vec();
    criterion.bench_function("handshake as Server", |bencher| bencher.iter(serve));
    criterion.bench_function("handshake as Client", |bencher| {
        bencher.iter(|| {
            let mut connection = Connection::client(&request, config.clone(), [7; 32], now);
            let mut buf = RecvBuf::new();
            buf.extend_from_slice(black_box(&answer));
            assert!(matches!(connection.poll_event(now, &mut buf), Some(Event::Open(_))));
            connection
        });
    });
}

/// Compressed text both ways, by the default settings: with what a connection keeps while it is busy, and primed anew for each message.
#[cfg(feature = "deflate")]
fn deflate(criterion: &mut Criterion) {
    use sansocket::deflate::{DeflateConfig, DeflateParams};

    let mut config = Config::default();
    config.deflate = Some(DeflateConfig::default());
    let params = DeflateParams { server_max_window_bits: 12, client_max_window_bits: 12, ..DeflateParams::default() };
    let now = Instant::now();
    for is_released in [false, true] {
        let mut group = criterion.benchmark_group(if is_released { "deflate, released" } else { "deflate" });
        for len in [1024, 64 * 1024] {
            let mut text: String = (0..len / 16).map(|i| format!("{{\"id\":{},\"on\":true}},", i * 7919)).collect();
            text.truncate(len);
            let open = |role| Connection::open(role, config.clone(), [7; 32], now).with_deflate(Some(params));
            let mut server = open(Role::Server);
            group.bench_function(BenchmarkId::new("send", len), |bencher| {
                bencher.iter(|| {
                    server.send_text(now, black_box(&text)).expect("there is room");
                    server.advance_outgoing(now, usize::MAX);
                    if is_released {
                        server.release();
                    }
                });
            });
            let (mut client, mut buf) = (open(Role::Client), RecvBuf::new());
            client.send_text(now, &text).expect("there is room");
            let wire = client.outgoing().to_vec();
            group.bench_function(BenchmarkId::new("receive", len), |bencher| {
                bencher.iter(|| {
                    buf.extend_from_slice(&wire);
                    let event = server.poll_event(now, &mut buf);
                    assert!(matches!(event, Some(Event::Text(found)) if found.len() == len));
                    if is_released {
                        server.release();
                    }
                });
            });
        }
        group.finish();
    }
}

#[cfg(not(feature = "deflate"))]
fn deflate(_: &mut Criterion) {}

fn frame_of(opcode: Opcode, payload: &[u8], masking_key: Option<[u8; 4]>) -> Vec<u8> {
    let header = Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len: payload.len() as u64 };
    let mut wire = vec![0; HEADER_LEN_MAX];
    let mut head = [0; HEADER_LEN_MAX];
    let head_len = header.encode(&mut head);
    wire.splice(.., head[..head_len].iter().copied());
    wire.extend_from_slice(payload);
    if let Some(key) = masking_key {
        apply_mask(&mut wire[head_len..], key, 0);
    }
    wire
}
