//! What a connection costs: bytes and allocations, counted by the allocator. Each test measures the thread it runs on.
//!
//! `cargo test --test memory -- --nocapture` prints the figures.

// The figures are what one of these tests is run for.
#![allow(clippy::print_stdout)]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::sync::Arc;

use counting::measure;

use sansocket::client::Delivery;
use sansocket::connection::CONTROL_ROOM;
use sansocket::{
    Acceptance, Bytes, ClientRequest, CloseCause, CloseCode, Closed, Config, Connection, Deadline, Event, ReadyState,
    RecvBuf, Role,
};
use support::rig::{self, Rig};
use support::*;

fn limits() -> Arc<Config> {
    config(timeless)
}

fn drain(connection: &mut Connection, buf: &mut RecvBuf, now: std::time::Instant) -> usize {
    let mut events = 0;
    while connection.poll_event(now, buf).is_some() {
        events += 1;
    }
    events
}

#[test]
fn the_tally_counts_what_is_allocated() {
    let (cost, kept) = measure(|| {
        drop(vec![0_u8; 5000]);
        vec![0_u8; 1000]
    });
    assert_eq!((cost.live, cost.peak, cost.allocations, kept.len()), (1000, 5000, 2, 1000));
}

/// CVE-2022-35922: 14 bytes made other libraries reserve 15 MiB.
#[test]
fn every_length_from_0_to_2_to_the_63_promised_with_no_payload_allocates_at_most_a_constant() {
    let generous = config(|config| {
        timeless(config);
        config.frame_len_max = u64::MAX;
        config.message_len_max = u64::MAX;
    });
    let powers = (0..64).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 1]);
    let mut highest = 0;
    for len in powers.chain([u64::MAX]) {
        for role in ROLES {
            for limits in [limits(), generous.clone()] {
                for (frame, with_more) in [(binary(""), false), (text("").more(), false), (binary(""), true)] {
                    let mut wire = wire_to(role, &[frame.promising(len)]);
                    if with_more {
                        wire.extend([0; 10]);
                    }
                    let now = std::time::Instant::now();
                    let mut connection = Connection::open(role, limits.clone(), SEED, now);
                    let mut buf = RecvBuf::new();
                    let (cost, _) = measure(|| {
                        for byte in &wire {
                            buf.spare_mut()[0] = *byte;
                            buf.advance_received(1);
                            drain(&mut connection, &mut buf, now);
                        }
                    });
                    highest = highest.max(cost.peak);
                    assert!(cost.peak <= 20 * 1024, "{role:?}: {} bytes for a promise of {len}", cost.peak);
                }
            }
        }
    }
    println!("at most {highest} bytes for any promised length");
}

/// The application sends, the transport takes, the connection is lost, time goes by; and nobody asks what has become of anything.
#[test]
fn whoever_never_polls_for_events_costs_bounded_memory() {
    for delivery in [Delivery::AtMostOnce, Delivery::AtLeastOnce] {
        let client_config = rig::config(|config| config.queue.delivery = delivery);
        let messages_max = client_config.queue.messages_max;
        let mut rig = Rig::new(client_config);
        rig.accept();
        let (open, accepted) = measure(|| send_and_wait(&mut rig, 100));
        assert!((messages_max..=2 * messages_max).contains(&accepted), "{accepted} messages were accepted");
        // A message of 100 bytes is in the queue and in the output, or it is an outcome; both lists double as they grow.
        println!("{delivery:?}: {} bytes for {accepted} messages", open.peak);
        assert!(open.peak <= 400 * messages_max as isize, "{} bytes for {accepted} messages", open.peak);
        rig.client.handle_transport_error();
        let (later, accepted) = measure(|| send_and_wait(&mut rig, 1000));
        assert!(later.live <= 0 && accepted == 0, "{} bytes more, {accepted} messages", later.live);
    }
}

/// How many messages are accepted.
fn send_and_wait(rig: &mut Rig, rounds: usize) -> usize {
    let mut accepted = 0;
    for _ in 0..rounds {
        while rig.client.send(rig.now, vec![7; 100]).is_ok() {
            accepted += 1;
        }
        rig.client.advance_outgoing(rig.now, usize::MAX);
        if let Some(at) = rig.client.poll_timeout() {
            rig.now = at;
            rig.client.handle_timeout(at);
        }
        while rig.order().is_some() {}
    }
    accepted
}

/// RUSTSEC-2020-0043: output for a peer that takes none of it.
#[test]
fn a_peer_that_never_reads_costs_bounded_memory() {
    let limits = config(|config| {
        timeless(config);
        config.write_timeout = Some(30 * SEC);
    });
    for role in ROLES {
        let message = wire_to(role, &[binary(vec![7; 1000])]);
        let mut bench = Bench::open(role, limits.clone());
        let mut answers = 0;
        let (cost, ()) = measure(|| {
            for _ in 0..100_000 {
                if !bench.connection.wants_read() {
                    continue;
                }
                bench.buf.extend_from_slice(&message);
                while let Some(event) = bench.connection.poll_event(bench.now, &mut bench.buf) {
                    if let Event::Binary(payload) = event {
                        bench.connection.send_binary(bench.now, payload).expect("an answer fits");
                        answers += 1;
                    }
                }
                // And one who sends without being asked is refused in time.
                while bench.connection.send_binary(bench.now, &[7; 100]).is_ok() {}
            }
        });
        let bound = limits.high_water_mark + CONTROL_ROOM + 2 * 1014; // the last message, and one answer
        assert!(bench.connection.buffered_len() <= bound, "{} bytes wait", bench.connection.buffered_len());
        // A queue that doubles as it grows, and one read.
        assert!(cost.peak <= (2 * bound + 20 * 1024) as isize, "{role:?}: {} bytes, {answers} answers", cost.peak);
        println!("{role:?}: a peer that never reads costs {} bytes", cost.peak);
        bench.at(30 * SEC);
        let closed = only_closed(bench.timeout());
        assert_eq!(closed.cause, CloseCause::Deadline(Deadline::Write), "and not for long");
    }
}

/// Five of six libraries grew by 47 to 122 MB.
#[test]
fn a_million_pings_whose_pongs_are_never_read_cost_bounded_memory() {
    for role in ROLES {
        for reads_a_byte in [false, true] {
            let flood = wire_to(role, &vec![ping([7; 125]); 100]);
            let mut bench = Bench::open(role, limits());
            let mut answered = 0;
            let (cost, ()) = measure(|| {
                for _ in 0..10_000 {
                    if reads_a_byte {
                        // Just enough to look alive. After each write, what was read already comes first.
                        bench.connection.advance_outgoing(bench.now, 1);
                        answered += drain(&mut bench.connection, &mut bench.buf, bench.now);
                    }
                    if bench.connection.wants_read() {
                        bench.buf.extend_from_slice(&flood);
                    }
                    answered += drain(&mut bench.connection, &mut bench.buf, bench.now);
                }
            });
            let bound = bench.connection.config().high_water_mark + 131;
            assert!(bench.connection.buffered_len() <= bound);
            let expected = if reads_a_byte { bound as isize } else { 128 * 131 };
            assert!(
                cost.peak <= 2 * expected + 3 * flood.len() as isize + 40 * 1024,
                "{role:?}: {} bytes after {answered} pings",
                cost.peak
            );
            println!("{role:?}, takes a byte now and then {reads_a_byte}: {} bytes, {answered} answered", cost.peak);
        }
    }
}

/// CVE-2026-48779: tungstenite swallowed 8 M empty continuations in 1.5 s.
#[test]
fn eight_million_empty_fragments_end_with_1008_after_fragments_max() {
    for role in ROLES {
        let mut bench = Bench::open(role, limits());
        let max = bench.connection.config().fragments_max as usize;
        bench.receive_frames(&[text("").more()]);
        let one = wire_to(role, &[continuation("").more()]);
        let chunk = one.repeat(1000);
        let mut received = 1;
        let (cost, ()) = measure(|| {
            while bench.connection.state() == ReadyState::Open && received < 8_000_000 {
                bench.buf.extend_from_slice(&chunk);
                assert_eq!(drain(&mut bench.connection, &mut bench.buf, bench.now), 0);
                received += 1000;
            }
        });
        assert!(received > max && received <= max + 1001, "{role:?}: {received} of {max}");
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1008);
        assert!(cost.peak <= 50 * 1024, "{role:?}: {} bytes", cost.peak);
    }
}

/// A handshake, some messages both ways, some pings; then nothing for a while.
#[test]
fn an_idle_connection_holds_no_heap_after_release() {
    let shared = limits();
    let request = ClientRequest::new("ws://localhost/").unwrap();
    let now = std::time::Instant::now();
    let (cost, ends) = measure(|| {
        let mut client = Connection::client(&request, shared.clone(), SEED, now);
        let mut server = Connection::server(shared.clone(), SEED, now);
        let (mut client_buf, mut server_buf) = (RecvBuf::new(), RecvBuf::new());
        for round in 0..20 {
            server_buf.extend_from_slice(client.outgoing());
            client.advance_outgoing(now, client.outgoing().len());
            while let Some(event) = server.poll_event(now, &mut server_buf) {
                match event {
                    Event::Request(_) => server.accept(now, &Acceptance::new()).unwrap(),
                    Event::Text(text) => server.send_text(now, text).unwrap(),
                    _ => {}
                }
            }
            client_buf.extend_from_slice(server.outgoing());
            server.advance_outgoing(now, server.outgoing().len());
            drain(&mut client, &mut client_buf, now);
            if round < 19 {
                client.send_text(now, &"x".repeat(2000)).unwrap();
                client.ping(now, b"ping").unwrap();
            }
        }
        client.release();
        server.release();
        client_buf.release();
        server_buf.release();
        (client, server, client_buf, server_buf)
    });
    assert_eq!((ends.0.state(), ends.1.state()), (ReadyState::Open, ReadyState::Open));
    println!(
        "an idle connection: {} bytes (Connection {} + RecvBuf {}) + {} bytes of heap for both ends",
        size_of::<Connection>() + size_of::<RecvBuf>(),
        size_of::<Connection>(),
        size_of::<RecvBuf>(),
        cost.live,
    );
    assert_eq!(cost.live, 0);
    let compression = if cfg!(feature = "deflate") { size_of::<usize>() } else { 0 };
    assert!(size_of::<Connection>() <= 384 + compression && size_of::<RecvBuf>() <= 128);
}

/// One buffer that reads for many connections: only those in the middle of something keep any memory.
#[test]
fn a_connection_in_the_middle_of_a_frame_keeps_what_it_has_of_it() {
    let mut bench = Bench::open(Role::Server, limits());
    let wire = wire_to(Role::Server, &[binary(vec![7; 1000])]);
    let (cost, ()) = measure(|| {
        bench.receive(&wire[..300]);
        bench.buf.release();
        bench.connection.release();
    });
    assert!((1..=600).contains(&cost.live), "{} bytes", cost.live);
    assert_eq!(bench.receive(&wire[300..]), [Seen::Binary(vec![7; 1000])], "and it goes on");
}

#[test]
fn receiving_allocates_nothing_in_steady_state() {
    for role in ROLES {
        for frames in [
            vec![text("small and many"); 200],
            vec![binary(vec![7; 9000])],
            vec![text("a").more(), ping("p"), continuation("b"), pong("q"), binary("")],
        ] {
            let wire = wire_to(role, &frames);
            let mut bench = Bench::open(role, limits());
            let round = |bench: &mut Bench| {
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    let spare = bench.buf.spare_mut();
                    let n = spare.len().min(rest.len());
                    spare[..n].copy_from_slice(&rest[..n]);
                    bench.buf.advance_received(n);
                    rest = &rest[n..];
                    drain(&mut bench.connection, &mut bench.buf, bench.now);
                }
                let waiting = bench.connection.buffered_len();
                bench.connection.advance_outgoing(bench.now, waiting);
            };
            // The buffers find their size.
            for _ in 0..50 {
                round(&mut bench);
            }
            let (cost, ()) = measure(|| (0..1000).for_each(|_| round(&mut bench)));
            // The keystream of a client is made in batches, in place.
            assert_eq!((cost.allocations, cost.live), (0, 0), "{role:?}: {} frames", frames.len());
        }
    }
}

#[test]
fn sending_allocates_nothing_in_steady_state() {
    for role in ROLES {
        let mut bench = Bench::open(role, limits());
        let payload = vec![7; 5000];
        let round = |bench: &mut Bench| {
            let (connection, now) = (&mut bench.connection, bench.now);
            for _ in 0..10 {
                connection.send_text(now, "small").unwrap();
            }
            connection.send_binary(now, &payload).unwrap();
            connection.ping(now, b"ping").unwrap();
            while connection.buffered_len() > 0 {
                connection.advance_outgoing(now, 1000);
            }
        };
        (0..50).for_each(|_| round(&mut bench));
        let (cost, ()) = measure(|| (0..1000).for_each(|_| round(&mut bench)));
        assert_eq!((cost.allocations, cost.live), (0, 0), "{role:?}");
    }
}

#[test]
fn a_large_shared_payload_is_sent_by_a_server_without_a_copy() {
    let mut bench = Bench::open(Role::Server, limits());
    let payload = Bytes::from(vec![7; 1_000_000]);
    let (cost, ()) = measure(|| bench.connection.send_binary_shared(bench.now, &payload).unwrap());
    assert!(cost.peak < 1000, "{} bytes", cost.peak);
}

#[test]
fn taking_a_payload_costs_at_most_one_allocation() {
    for role in ROLES {
        for len in [0, 1, 100, 5000, 20_000, 1_000_000] {
            let mut bench = Bench::open(role, limits());
            let wire = wire_to(role, &[binary(vec![7; len]), binary(vec![7; len])]);
            for _ in 0..10 {
                bench.buf.extend_from_slice(&wire);
                for _ in 0..2 {
                    let event = bench.connection.poll_event(bench.now, &mut bench.buf);
                    assert!(matches!(event, Some(Event::Binary(_))));
                    let (cost, payload) = measure(|| bench.buf.take_payload());
                    assert!(cost.allocations <= 1, "{role:?}: {} allocations for {len} bytes", cost.allocations);
                    assert_eq!(payload.len(), len);
                    // No copy, or one that is as long as the payload.
                    assert!(cost.live <= len as isize + 64, "{role:?}: {} bytes for {len}", cost.live);
                }
            }
        }
    }
}

/// A payload that is kept, for a queue or a history, keeps no more than four times its size.
#[test]
fn a_small_payload_that_is_kept_does_not_pin_the_buffer_it_came_in() {
    for len in [1, 100, 1000, 5000, 20_000] {
        let (cost, kept) = measure(|| {
            let mut bench = Bench::open(Role::Client, limits());
            bench.buf.extend_from_slice(&wire_to(Role::Client, &[binary(vec![7; len]), binary(vec![7; 30_000])]));
            assert!(matches!(bench.connection.poll_event(bench.now, &mut bench.buf), Some(Event::Binary(_))));
            bench.buf.take_payload()
        });
        assert_eq!(kept.len(), len);
        assert!(cost.live <= 4 * len as isize + 100, "{} bytes are held for {len}", cost.live);
    }
}

#[test]
fn the_buffers_shrink_after_a_spike() {
    for role in ROLES {
        let mut bench = Bench::open(role, limits());
        let small = wire_to(role, &[text("small")]);
        let (cost, ()) = measure(|| {
            let wire = wire_to(role, &[binary(vec![7; 4_000_000])]);
            bench.receive(&wire);
            bench.connection.send_binary(bench.now, &vec![7; 4_000_000]).unwrap();
            bench.connection.advance_outgoing(bench.now, usize::MAX);
        });
        let spike = cost.live;
        assert!(spike > 4_000_000, "there was a spike of {spike} bytes");
        let (cost, ()) = measure(|| {
            for _ in 0..40 {
                bench.buf.spare_mut()[..small.len()].copy_from_slice(&small);
                bench.buf.advance_received(small.len());
                drain(&mut bench.connection, &mut bench.buf, bench.now);
                bench.connection.send_text(bench.now, "small").unwrap();
                bench.connection.advance_outgoing(bench.now, usize::MAX);
            }
        });
        assert!(spike + cost.live <= 100 * 1024, "{role:?}: {} of {spike} bytes are still held", spike + cost.live);
    }
}

#[test]
fn an_end_gives_everything_back_but_the_report() {
    for role in ROLES {
        let now = std::time::Instant::now();
        let shared = limits();
        let (cost, _connection) = measure(|| {
            let mut connection = Connection::open(role, shared.clone(), SEED, now);
            connection.send_binary(now, &[7; 50_000]).unwrap();
            connection.close(now, CloseCode::NORMAL, "").unwrap();
            connection.abort();
            let mut buf = RecvBuf::new();
            assert_eq!(drain(&mut connection, &mut buf, now), 1);
            connection
        });
        assert!(cost.live <= size_of::<Closed>() as isize, "{role:?}: {} bytes are still held", cost.live);
    }
}

/// Control frames between fragments leave nothing behind, however the reads fall.
#[test]
fn control_frames_inside_a_message_cost_no_memory() {
    for role in ROLES {
        for in_pieces in [false, true] {
            let mut bench = Bench::open(role, config(timeless));
            bench.receive(&wire_to(role, &[text("\u{20ac}").more()])[..]);
            let pongs = wire_to(role, &[pong([7; 100])]).repeat(997);
            for _ in 0..100 {
                for chunk in pongs.chunks(1013) {
                    bench.buf.extend_from_slice(chunk);
                    while let Some(event) = match in_pieces {
                        true => bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf),
                        false => bench.connection.poll_event(bench.now, &mut bench.buf),
                    } {
                        assert!(matches!(event, Event::Pong { .. } | Event::TextPiece { .. }), "{event:?}");
                    }
                }
                assert!(bench.buf.capacity() <= 64 * 1024, "{role:?}: {} bytes", bench.buf.capacity());
            }
        }
    }
}

/// A peer that reads a little now and then, and pings in between, while a long message waits for it.
#[test]
fn pongs_behind_a_long_message_are_bounded() {
    let limits = config(timeless);
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        bench.connection.send_binary(bench.now, &[7; 70_000]).unwrap();
        let pings = wire_to(role, &[ping([7; 125])]).repeat(128);
        for _ in 0..2000 {
            if bench.connection.wants_read() {
                bench.buf.extend_from_slice(&pings);
            }
            bench.poll();
            let bound = 70_014 + 3 * 128 * 131;
            assert!(bench.connection.buffered_len() <= bound, "{} bytes wait", bench.connection.buffered_len());
            bench.connection.advance_outgoing(bench.now, 1000);
        }
    }
}
