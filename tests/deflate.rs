//! permessage-deflate on a connection: which frames may be compressed, what limits hold, what is agreed on. RFC 7692.
#![cfg(feature = "deflate")]

mod support;

use std::sync::Arc;

use miniz_oxide::deflate::compress_to_vec;
use sansocket::client::ClientEvent;
use sansocket::deflate::{Compression, DeflateConfig, DeflateParams, INFLATION_RATIO_FREE_LEN, PreparedMessage};
use sansocket::handshake::ResponseFault;
use sansocket::{
    Acceptance, Bytes, ClientOptions, ClientRequest, CloseCause, Config, Connection, Event, FragmentPosition, Message,
    ProtocolError, RecvBuf, Role,
};
use support::*;

const RSV1: u8 = 0b100;
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn deflating(change: impl FnOnce(&mut Config, &mut DeflateConfig)) -> Arc<Config> {
    config(|config| {
        timeless(config);
        let mut deflate = DeflateConfig::default();
        change(config, &mut deflate);
        config.deflate = Some(deflate);
    })
}

/// What a peer sends for a message, made by another library.
fn compressed(message: impl AsRef<[u8]>) -> Vec<u8> {
    // It ends with a final block, which the header of an empty one has to follow. RFC 7692 section 7.2.3.4.
    [&compress_to_vec(message.as_ref(), 9)[..], &[0x00]].concat()
}

fn zipped(message: impl AsRef<[u8]>) -> Frame {
    text(compressed(message)).rsv(RSV1)
}

fn agreed(cases: Vec<Case>, config: &Arc<Config>) {
    let cases: Vec<Case> =
        cases.into_iter().map(|case| case.with(config.clone()).with_deflate(DeflateParams::default())).collect();
    check_all(&cases);
}

fn t(text: &str) -> Seen {
    Seen::Text(text.into())
}

/// RFC 7692 sections 6, 6.1 and 6.2.
#[test]
fn the_first_frame_of_a_message_says_whether_it_is_compressed() {
    let hello = || text(HELLO).rsv(RSV1);
    let (left, right) = HELLO.split_at(3);
    let parts = [text(left).rsv(RSV1).more(), continuation(right)];
    let long: String = (0..300).map(|i| format!("{} bottles, ", i * 7919 % 1000)).collect();
    let many: Vec<Frame> = {
        let wire = compressed(&long);
        let mut pieces: Vec<Frame> = wire.chunks(7).map(|piece| continuation(piece).more()).collect();
        pieces[0] = text(&wire[..7]).rsv(RSV1).more();
        pieces.push(continuation(""));
        pieces
    };
    let passes = |name: &str, frames: &[Frame], events: &[Seen]| Case::passes("7692 6.2", name, frames, events);
    let fails = |name: &str, frames: &[Frame], events: &[Seen], code| Case::fails("7692 6", name, frames, events, code);
    agreed(
        vec![
            passes("one frame", &[hello()], &[t("Hello")]),
            passes("binary", &[binary(HELLO).rsv(RSV1)], &[Seen::Binary(b"Hello".into())]),
            passes("in two", &parts, &[t("Hello")]),
            passes("in many, the last empty", &many, &[t(&long)]),
            passes(
                "an empty first one",
                &[text("").rsv(RSV1).more(), continuation("").more(), continuation(HELLO)],
                &[t("Hello")],
            ),
            passes(
                "a ping between",
                &[parts[0].clone(), ping("a"), parts[1].clone()],
                &[Seen::Ping(b"a".into()), t("Hello")],
            ),
            passes("plain", &[text("Hello")], &[t("Hello")]),
            passes(
                "mixed",
                &[hello(), text("plain"), hello(), binary("")],
                &[t("Hello"), t("plain"), t("Hello"), Seen::Binary(Vec::new())],
            ),
            passes("nothing, compressed", &[text([0x00]).rsv(RSV1), text([0x02, 0x00]).rsv(RSV1)], &[t(""), t("")]),
            passes(
                "the context goes on",
                &[hello(), text([0xf2, 0x00, 0x11, 0x00, 0x00]).rsv(RSV1)],
                &[t("Hello"), t("Hello")],
            ),
            passes(
                "the context goes on past plain ones",
                &[hello(), text("-"), text([0xf2, 0x00, 0x11, 0x00, 0x00]).rsv(RSV1)],
                &[t("Hello"), t("-"), t("Hello")],
            ),
            fails("a mark on a continuation", &[parts[0].clone(), continuation(right).rsv(RSV1)], &[], 1002),
            fails("a mark on a plain one's", &[text("a").more(), continuation("b").rsv(RSV1)], &[], 1002),
            fails("a mark on a ping", &[hello(), ping("").rsv(RSV1)], &[t("Hello")], 1002),
            fails("a mark on a pong", &[pong("").rsv(RSV1)], &[], 1002),
            fails("a mark on a close", &[close(1000, "").rsv(RSV1)], &[], 1002),
            fails("another bit", &[text(HELLO).rsv(0b010)], &[], 1002),
            fails("another bit, too", &[text(HELLO).rsv(0b101)], &[], 1002),
            fails("a frame that is not complete in itself", &[text(left).rsv(RSV1)], &[], 1007),
            fails("no data at all", &[text("").rsv(RSV1)], &[], 1007),
            fails("no deflate data", &[text([0xff; 20]).rsv(RSV1)], &[], 1007),
            fails("a match before the beginning", &[text([0xf2, 0x00, 0x11, 0x00, 0x00]).rsv(RSV1)], &[], 1007),
            fails("a text that is not UTF-8", &[zipped(b"caf\xc3(")], &[], 1007),
            fails("a text that breaks off", &[zipped(b"caf\xc3")], &[], 1007),
            fails("a new message in another", &[parts[0].clone(), hello()], &[], 1002),
        ],
        &deflating(|_, _| ()),
    );
    // Nobody may send it unasked.
    let unasked = Case::fails("5.2", "without the extension", &[hello()], &[], 1002).with(deflating(|_, _| ()));
    check_all(&[unasked]);
}

/// Text is refused at the byte with which it breaks, as far as it has been inflated.
#[test]
fn text_is_checked_as_it_is_inflated() {
    for role in ROLES {
        let mut bench = open(role, deflating(|_, _| ()));
        // A stored block, byte by byte: it never ends.
        let block = [&[0x00, 0xff, 0x00, 0x00, 0xff][..], b"caf\xc3("].concat();
        let frame = text(block).rsv(RSV1).promising(1000);
        let wire = wire_to(role, &[frame]);
        assert_eq!(bench.receive(&wire[..wire.len() - 1]), []);
        assert_eq!(bench.receive(&wire[wire.len() - 1..]), []);
        bench.flush();
        assert_eq!(only_closed(bench.eof()).cause, CloseCause::Protocol(ProtocolError::TextNotUtf8));
    }
}

fn open(role: Role, config: Arc<Config>) -> Bench {
    let mut bench = Bench::open(role, config.clone());
    bench.connection = Connection::open(role, config, SEED, bench.now).with_deflate(Some(DeflateParams::default()));
    bench
}

// Limits.

#[test]
fn message_len_max_counts_inflated_bytes() {
    let config = deflating(|config, _| config.message_len_max = 10_000);
    let mut cases = Vec::new();
    for len in [9_999, 10_000, 10_001, 1_000_000] {
        let wire = compressed(vec![b'a'; len]);
        let half = wire.len() / 2;
        for frames in [
            vec![text(&wire).rsv(RSV1)],
            vec![text(&wire[..half]).rsv(RSV1).more(), continuation(&wire[half..])],
            vec![text(&wire).rsv(RSV1).more(), continuation("")],
        ] {
            cases.push(match len {
                ..=10_000 => Case::passes("7.4.1", format!("{len}"), &frames, &[t(&"a".repeat(len))]),
                _ => Case::fails("7.4.1", format!("{len}"), &frames, &[], 1009),
            });
        }
    }
    let both = [zipped(vec![b'a'; 10_000]), zipped(vec![b'b'; 10_000])];
    cases.push(Case::passes("7.4.1", "one after the other", &both, &[t(&"a".repeat(10_000)), t(&"b".repeat(10_000))]));
    agreed(cases, &config);
}

/// Blocks of which nothing comes do not go on for ever.
#[test]
fn the_compressed_form_may_be_an_eighth_and_1_kib_longer_than_the_longest_message() {
    let config = deflating(|config, _| config.message_len_max = 8_000);
    let max = 8_000 + 1_000 + 1_024;
    let empty_blocks = |len: usize| {
        let mut wire = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(len / 5);
        // Fixed blocks of nothing and padding fill the rest.
        wire.extend(std::iter::repeat_n(0x00, len % 5));
        wire
    };
    let frame = |len| binary(empty_blocks(len)).rsv(RSV1);
    let promising = |len| binary([0x00]).rsv(RSV1).promising(len);
    let name = "empty blocks";
    agreed(
        vec![
            Case::passes("7.4.1", name, &[frame(max - 3)], &[Seen::Binary(Vec::new())]),
            Case::fails("7.4.1", "one too many, on its header", &[promising(max as u64 + 1)], &[], 1009),
            Case::fails(
                "7.4.1",
                "one too many, in two",
                &[binary(empty_blocks(max - 4)).rsv(RSV1).more(), continuation([0x00]).promising(5)],
                &[],
                1009,
            ),
        ],
        &config,
    );
    for (len, is_over) in [(max - 1, false), (max, false), (max + 1, true)] {
        let mut bench = open(Role::Server, config.clone());
        bench.receive_frames(&[promising(len as u64)]);
        assert_eq!(!bench.connection.outgoing().is_empty(), is_over, "{len} announced, {max} allowed");
    }
}

#[test]
fn frame_len_max_and_fragments_max_hold_for_compressed_messages() {
    let noise: Vec<u8> = (0..1000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let wire = compressed(&noise);
    let config = |max: usize| deflating(|config, _| config.frame_len_max = max as u64);
    for (max, passes) in [(wire.len() - 1, false), (wire.len(), true), (wire.len() + 1, true)] {
        let frames = [binary(&wire).rsv(RSV1)];
        let case = match passes {
            true => Case::passes("7.4.1", "frame", &frames, &[Seen::Binary(noise.clone())]),
            false => Case::fails("7.4.1", "frame", &frames, &[], 1009),
        };
        agreed(vec![case], &config(max));
    }
    for (fragments, passes) in [(4, true), (5, true), (6, false)] {
        let mut frames = vec![text(HELLO).rsv(RSV1).more()];
        frames
            .extend((1..fragments).map(|i| if i + 1 < fragments { continuation("").more() } else { continuation("") }));
        let case = match passes {
            true => Case::passes("7.4.1", "fragments", &frames, &[t("Hello")]),
            false => Case::fails("7.4.1", "fragments", &frames, &[], 1008),
        };
        agreed(vec![case], &deflating(|config, _| config.fragments_max = 5));
    }
}

#[test]
fn inflation_ratio_max_holds_beyond_the_first_mebibyte() {
    let free = usize::try_from(INFLATION_RATIO_FREE_LEN).unwrap();
    for len in [free - 1, free, free + 100_000] {
        let message = vec![0; len];
        let wire = compressed(&message);
        let ratio = (len - 1) / wire.len(); // the message is a little above it
        for (max, passes) in [(ratio, len <= free), (ratio + 1, true), (ratio + 2, true)] {
            let config = deflating(|_, deflate| deflate.inflation_ratio_max = max as u32);
            let mut bench = open(Role::Server, config);
            let seen: Vec<Seen> = receive(&mut bench, &wire_to(Role::Server, &[binary(&wire).rsv(RSV1)]));
            assert_eq!(seen.len(), usize::from(passes), "{len} bytes, ratio {ratio}, at most {max}");
            if !passes {
                bench.flush();
                let cause = only_closed(bench.eof()).cause;
                let error = ProtocolError::InflationRatio { max: max as u32 };
                assert_eq!(cause, CloseCause::Protocol(error));
                assert_eq!(error.close_code().0, 1008);
            }
        }
    }
}

/// It is the announced length of the frames that counts, so it does not matter how they arrive.
#[test]
fn inflation_limits_do_not_depend_on_how_the_input_is_cut() {
    const MIB: usize = 1024 * 1024;
    let run = |len: usize| compress_to_vec(&vec![0; len], 9);
    let noise = |len: usize| compress_to_vec(&Rng::new(7).bytes(len), 9);
    let mixed = [run(MIB + 64 * 1024), noise(100_000), vec![0x00]].concat();
    let bomb = [run(2 * MIB), noise(1000), vec![0x00]].concat();
    let corrupt = [run(2 * MIB), vec![0xff; 1000]].concat();
    let too_long = [noise(30_000), run(5 * MIB), vec![0x00]].concat();
    let one = |wire: &[u8]| vec![binary(wire).rsv(RSV1)];
    let two = |wire: &[u8], at: usize| vec![binary(&wire[..at]).rsv(RSV1).more(), continuation(&wire[at..])];
    let ratio = Some(ProtocolError::InflationRatio { max: 256 });
    let len_max = 4 * MIB as u64;
    let long = Some(ProtocolError::MessageTooLong { len: len_max + 1, max: len_max });
    for (name, frames, error) in [
        ("noise behind a run", one(&mixed), None),
        ("noise behind a run, announced later", two(&mixed, 1200), ratio),
        ("a run", one(&bomb), ratio),
        ("a run that breaks off", one(&corrupt), ratio),
        ("a run above the longest message", one(&too_long), long),
    ] {
        let wire = wire_to(Role::Server, &frames);
        let mut cuts = vec![vec![], vec![14], vec![100, 500], vec![1100], vec![1200, 1300], vec![wire.len() - 1]];
        cuts.extend([1000, 4096, 16_384].map(|size| (size..wire.len()).step_by(size).collect()));
        for cut in cuts {
            let mut bench = open(Role::Server, deflating(|config, _| config.message_len_max = len_max));
            let mut seen = Vec::new();
            let mut begin = 0;
            for end in cut.iter().copied().filter(|end| *end < wire.len()).chain([wire.len()]) {
                seen.extend(receive(&mut bench, &wire[begin..end]));
                begin = end;
            }
            assert_eq!(seen.len(), usize::from(error.is_none()), "{name}, cut at {cut:?}");
            bench.flush();
            let expected = error.map_or(CloseCause::EndOfStream, CloseCause::Protocol);
            assert_eq!(only_closed(bench.eof()).cause, expected, "{name}, cut at {cut:?}");
        }
    }
}

/// Behind each final block the window is set anew, which costs as much as inflating it would. RFC 7692 section 7.2.3.4.
#[test]
fn final_blocks_take_turns_as_what_is_inflated_does() {
    let message = Rng::new(7).bytes(32 * 1024);
    let blocks = 1000;
    let wire = [compress_to_vec(&message, 9), [0x03, 0x00].repeat(blocks), vec![0x00]].concat();
    // At a million bytes a poll, and at one.
    for (max, turns) in [(1_000_000, blocks * message.len() / 1_000_000), (1, blocks + message.len())] {
        let mut bench = open(Role::Server, deflating(|_, deflate| deflate.inflated_per_poll_max = max));
        bench.buf.extend_from_slice(&wire_to(Role::Server, &[binary(&wire).rsv(RSV1), zipped("next")]));
        let mut found = 0;
        while let Some(Event::Inflating) = bench.connection.poll_event(bench.now, &mut bench.buf) {
            found += 1;
        }
        assert!((turns..turns + turns / 10 + 5).contains(&found), "{found} turns, {turns} expected");
        assert_eq!(bench.buf.take_payload(), message, "what was inflated is as it was");
        assert_eq!(receive(&mut bench, &[]), [t("next")]);
    }
    // With nothing to remember yet, they are no free work either.
    let mut bench = open(Role::Server, deflating(|_, deflate| deflate.inflated_per_poll_max = 100));
    let wire = [[0x03, 0x00].repeat(blocks), vec![0x00]].concat();
    bench.buf.extend_from_slice(&wire_to(Role::Server, &[binary(&wire).rsv(RSV1)]));
    let mut found = 0;
    while let Some(Event::Inflating) = bench.connection.poll_event(bench.now, &mut bench.buf) {
        found += 1;
    }
    assert_eq!((found, bench.buf.take_payload().len()), (blocks / 100, 0));
}

/// As a connection does.
#[test]
fn a_client_takes_turns_while_it_inflates_a_long_message() {
    let options = ClientOptions::new("ws://example.com/").unwrap();
    let options = options.config(deflating(|_, deflate| deflate.inflated_per_poll_max = 1000));
    let mut rig = rig::Rig::with_options(options, rig::config(|_| ()));
    rig.accept();
    rig.events();
    let long = "x".repeat(10_000);
    rig.say(&long);
    let mut events = rig.events();
    assert_eq!(events.pop(), Some(ClientEvent::Message(long.into())));
    assert_eq!(events, vec![ClientEvent::Inflating; 10]);
}

/// All messages, past the places where a poll has inflated enough.
fn receive(bench: &mut Bench, bytes: &[u8]) -> Vec<Seen> {
    bench.buf.extend_from_slice(bytes);
    let mut seen = Vec::new();
    while let Some(event) = bench.connection.poll_event(bench.now, &mut bench.buf) {
        if !matches!(event, Event::Inflating) {
            seen.push(Seen::from(&event));
        }
    }
    seen
}

#[test]
fn inflated_per_poll_max_gives_others_their_turn() {
    // A byte follows on the final block, which counts as much as it leaves in the window: what the message does, once more.
    for (len, max, turns) in [
        (1000, 999, 2),
        (1000, 1000, 1),
        (1000, 1001, 1),
        (1000, 1999, 1),
        (1000, 2000, 1),
        (1000, 2001, 0),
        (1000, 0, 1000),
        (100_000, 1000, 100),
    ] {
        let config = deflating(|_, deflate| deflate.inflated_per_poll_max = max);
        let mut bench = open(Role::Client, config);
        let message = "x".repeat(len);
        bench.buf.extend_from_slice(&wire_to(Role::Client, &[zipped(&message), text("next")]));
        let mut found = 0;
        let whole = loop {
            match bench.connection.poll_event(bench.now, &mut bench.buf) {
                Some(Event::Inflating) => found += 1,
                Some(Event::Text(text)) => break text.to_owned(),
                other => panic!("{other:?}"),
            }
            // There is more to do, with what is here.
            assert!(!bench.connection.wants_read());
            assert!(bench.connection.poll_control_event(bench.now, &mut bench.buf).is_none());
        };
        assert_eq!((found, whole == message), (turns, true), "{len} bytes, {max} a poll");
        assert_eq!(bench.poll(), [t("next")]);
        assert!(bench.connection.wants_read());
    }
}

/// Pieces come as they are inflated, of bounded length, and the buffer does not grow with the message.
#[test]
fn a_message_larger_than_memory_is_inflated_in_pieces() {
    let config = deflating(|config, deflate| {
        config.message_len_max = u64::MAX;
        deflate.inflation_ratio_max = u32::MAX;
    });
    let mut bench = open(Role::Server, config);
    let wire = wire_to(Role::Server, &[binary(compressed(vec![7; 20_000_000])).rsv(RSV1)]);
    let (mut total, mut done) = (0, false);
    for chunk in wire.chunks(1000) {
        bench.buf.extend_from_slice(chunk);
        while let Some(event) = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf) {
            match event {
                Event::BinaryPiece { bytes, last } => {
                    assert!(bytes.iter().all(|byte| *byte == 7));
                    total += bytes.len();
                    done = last;
                }
                Event::Inflating => {}
                other => panic!("{other:?}"),
            }
            assert!(bench.buf.capacity() < 200_000, "{} bytes", bench.buf.capacity());
        }
    }
    assert!(done);
    assert_eq!(total, 20_000_000);
}

// What is agreed on.

/// A client and a server, their handshake done.
struct Both {
    client: Bench,
    server: Bench,
}

fn shake_hands(client: Arc<Config>, server: Arc<Config>) -> Both {
    let request = ClientRequest::new("ws://example.com/").unwrap();
    let mut both = Both { client: Bench::client(&request, client), server: Bench::server(server) };
    let request = both.client.flush();
    assert_eq!(both.server.receive(&request), [Seen::Request]);
    both.server.connection.accept(both.server.now, &Acceptance::new()).unwrap();
    let answer = both.server.flush();
    assert_eq!(both.client.receive(&answer), [Seen::Open]);
    both
}

#[test]
fn both_ends_agree_on_it_only_if_both_want_it() {
    let plain = config(timeless);
    let zip = deflating(|_, _| ());
    for (client, server) in [(&plain, &zip), (&zip, &plain), (&plain, &plain)] {
        let both = shake_hands(client.clone(), server.clone());
        assert_eq!((both.client.connection.deflate_params(), both.server.connection.deflate_params()), (None, None));
    }
    let both = shake_hands(zip.clone(), zip);
    let params = DeflateParams { server_max_window_bits: 12, client_max_window_bits: 12, ..DeflateParams::default() };
    assert_eq!(both.client.connection.deflate_params(), Some(params));
    assert_eq!(both.server.connection.deflate_params(), Some(params));
}

/// RFC 7692 section 7.1, RFC 6455 section 4.1.
#[test]
fn an_answer_that_was_not_offered_fails_the_handshake() {
    use ResponseFault::{ExtensionMalformed, ExtensionNotOffered, ExtensionParams};
    for (answer, fault) in [
        ("x-deflate", ExtensionNotOffered),
        ("permessage-deflate, mux", ExtensionNotOffered),
        ("permessage-deflate; client_max_window_bits=16", ExtensionParams),
        ("permessage-deflate; server_max_window_bits=16", ExtensionParams),
        ("permessage-deflate; server_max_window_bits=7", ExtensionParams),
        ("permessage-deflate; no_such_thing", ExtensionParams),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", ExtensionParams),
        ("permessage-deflate, permessage-deflate", ExtensionParams),
        ("permessage-deflate;", ExtensionMalformed),
    ] {
        let request = ClientRequest::new("ws://example.com/").unwrap();
        let mut client = Bench::client(&request, deflating(|_, _| ()));
        let mut server = Bench::server(config(timeless));
        server.receive(&client.flush());
        server.connection.accept(server.now, &Acceptance::new()).unwrap();
        let response = String::from_utf8(server.flush()).unwrap();
        let response = response.replacen("\r\n", &format!("\r\nSec-WebSocket-Extensions: {answer}\r\n"), 1);
        let closed = only_closed(client.receive(response.as_bytes()));
        assert_eq!(closed.cause, CloseCause::Response(fault), "{answer}");
    }
}

/// CVE-2026-2229, ws 3.3.1: what a client offers may be nonsense. The connection opens, and is not compressed.
#[test]
fn an_offer_that_makes_no_sense_is_declined() {
    for offer in
        ["permessage-deflate; server_max_window_bits=300", "permessage-deflate; client_max_window_bits=-1", "foo"]
    {
        let mut server = Bench::server(deflating(|_, _| ()));
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"
        );
        assert_eq!(server.receive(request.as_bytes()), [Seen::Request]);
        server.connection.accept(server.now, &Acceptance::new()).unwrap();
        let answer = String::from_utf8(server.flush()).unwrap();
        assert!(!answer.contains("Sec-WebSocket-Extensions"), "{answer}");
        assert_eq!(server.connection.deflate_params(), None);
    }
}

// Sending.

#[test]
fn messages_are_compressed_from_message_len_min_on_unless_told_otherwise() {
    let config = deflating(|_, deflate| deflate.message_len_min = 100);
    for role in ROLES {
        let mut bench = open(role, config.clone());
        let mut sends = |len: usize, compression: Option<Compression>, expected: bool| {
            let text = "a".repeat(len);
            match compression {
                None => bench.connection.send_text(bench.now, &text).unwrap(),
                Some(choice) => {
                    let send = |connection: &mut Connection| connection.send_text(bench.now, &text);
                    bench.connection.with_compression(choice, send).unwrap();
                }
            }
            let sent = bench.flush();
            assert_eq!(sent[0] & 0x40 != 0, expected, "{len} bytes, {compression:?}");
            assert_eq!(sent.len() < len, expected && len > 20, "{len} bytes, {compression:?}");
        };
        for (len, expected) in [(0, false), (99, false), (100, true), (101, true), (5000, true)] {
            sends(len, None, expected);
            sends(len, Some(Compression::Default), expected);
            sends(len, Some(Compression::Always), true);
            sends(len, Some(Compression::Never), false);
        }
        sends(99, None, false); // The choice does not outlive its message.
    }
}

/// Fragments are compressed as they come: the first frame says so, and all that was sent can be inflated at once. RFC 7692 section 6.1.
#[test]
fn any_fragments_are_compressed_each_as_it_comes_whatever_the_parameters() {
    for_each_seed(150, |seed| {
        let mut rng = Rng::new(seed);
        let params = DeflateParams {
            server_no_context_takeover: rng.once_in(2),
            client_no_context_takeover: rng.once_in(2),
            server_max_window_bits: rng.between(8, 15) as u8,
            client_max_window_bits: rng.between(8, 15) as u8,
        };
        let config = deflating(|_, deflate| {
            deflate.level = rng.between(1, 9) as u8;
            deflate.memory_level = rng.between(1, 9) as u8;
        });
        let role = ROLES[rng.below(2)];
        let peer_role = if role == Role::Client { Role::Server } else { Role::Client };
        let mut bench = open(role, config.clone());
        let mut peer = open(peer_role, config.clone());
        for bench in [&mut bench, &mut peer] {
            let role = bench.connection.role();
            bench.connection = Connection::open(role, config.clone(), SEED, bench.now).with_deflate(Some(params));
        }
        for _ in 0..3 {
            let message: Vec<u8> = (0..rng.below(5000)).map(|_| b'a' + rng.below(3) as u8).collect();
            let choice = [Compression::Never, Compression::Always, Compression::Default][rng.below(3)];
            let mut received = Vec::new();
            let mut rest = &message[..];
            let mut is_first = true;
            while is_first || !rest.is_empty() {
                let at = if rng.once_in(5) { 0 } else { rng.between(1, 2000).min(rest.len()) };
                let (fragment, behind) = rest.split_at(at);
                rest = behind;
                let send = |connection: &mut Connection| {
                    connection.send_binary_fragment(bench.now, fragment, FragmentPosition::More)
                };
                // The first one decides for all.
                let choice = if is_first { choice } else { Compression::Default };
                bench.connection.with_compression(choice, send).unwrap();
                let wire = bench.flush();
                let [sent] = &decode(&wire)[..] else { panic!("one frame for each fragment") };
                let compresses = is_first && choice != Compression::Never;
                assert_eq!((sent.fin, sent.rsv & RSV1 != 0), (false, compresses));
                assert_eq!(sent.opcode, if is_first { 0x2 } else { 0x0 });
                is_first = false;
                received.extend(pieces(&mut peer, &wire));
                assert_eq!(received, message[..message.len() - rest.len()], "all that was sent has arrived");
                if rng.once_in(4) {
                    bench.connection.ping(bench.now, b"between").unwrap();
                    bench.connection.release();
                    peer.connection.release();
                    peer.receive(&bench.flush());
                }
            }
            bench.connection.send_binary_fragment(bench.now, b"end", FragmentPosition::Last).unwrap();
            let wire = bench.flush();
            assert!(decode(&wire)[0].fin && decode(&wire)[0].rsv == 0);
            received.extend(pieces(&mut peer, &wire));
            assert_eq!(received, [&message[..], b"end"].concat());
        }
    });
}

/// The bytes of the binary message under way that arrive.
fn pieces(bench: &mut Bench, wire: &[u8]) -> Vec<u8> {
    bench.buf.extend_from_slice(wire);
    let mut received = Vec::new();
    while let Some(event) = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf) {
        match event {
            Event::BinaryPiece { bytes, .. } => received.extend(bytes),
            Event::Binary(bytes) => received.extend(bytes),
            Event::Inflating => {}
            other => panic!("{other:?}"),
        }
    }
    received
}

#[test]
fn a_refused_message_leaves_no_trace() {
    let config = deflating(|config, _| config.high_water_mark = 100);
    let mut bench = open(Role::Server, config.clone());
    let mut peer = open(Role::Client, config);
    let noise = |seed: u32| -> Vec<u8> { (0..1000).map(|i| ((i * seed) >> 3) as u8).collect() };
    bench.connection.send_binary(bench.now, &noise(77_777)).unwrap();
    assert!(bench.connection.send_binary(bench.now, &noise(99_999)).is_err());
    let wire = bench.flush();
    bench.connection.send_binary(bench.now, &noise(99_999)).unwrap();
    assert_eq!(
        peer.receive(&[wire, bench.flush()].concat()),
        [Seen::Binary(noise(77_777)), Seen::Binary(noise(99_999))]
    );
}

#[test]
fn one_prepared_message_serves_all_whose_window_is_large_enough() {
    let text = r#"{"symbol":"ACME","price":10.25}"#.repeat(400);
    let config = deflating(|_, deflate| deflate.window_bits = 10);
    let prepared = PreparedMessage::new(&text[..], config.deflate.as_ref().unwrap());
    assert!(prepared.compressed_len().unwrap() < 1000);
    for bits in [8, 9, 10, 11, 15] {
        let params = DeflateParams { server_max_window_bits: bits, ..DeflateParams::default() };
        let now = std::time::Instant::now();
        let mut server = Bench::open(Role::Server, config.clone());
        server.connection = Connection::open(Role::Server, config.clone(), SEED, now).with_deflate(Some(params));
        let mut client = Bench::open(Role::Client, config.clone());
        client.connection = Connection::open(Role::Client, config.clone(), SEED, now).with_deflate(Some(params));
        let mut first = Vec::new();
        for round in 0..3 {
            // What goes before and behind refers to it rightly.
            server.connection.send_text(now, &text[..500]).unwrap();
            assert_eq!(client.receive(&server.flush()), [t(&text[..500])]);
            server.connection.send_prepared(now, &prepared).unwrap();
            let wire = server.flush();
            // Without room for matches, a window of 8 bits has runs and short codes only.
            let expected = if bits == 8 { text.len() * 2 / 3 } else { text.len() / 4 };
            assert!(wire.len() < expected, "{bits} bits: {} bytes", wire.len());
            if round == 0 {
                first = wire.clone();
            }
            assert!(bits < 10 || wire == first, "{bits} bits: the same bytes for all");
            assert_eq!(wire[0], 0xC1);
            assert_eq!(client.receive(&wire), [t(&text)]);
            let mut reference = Bench::open(Role::Server, config.clone());
            reference.connection.send_prepared(now, &prepared).unwrap();
            assert_eq!(reference.flush_frames().len(), 1, "plain where nothing was agreed on");
        }
    }
    // Nothing to gain.
    let config = config.deflate.clone().unwrap();
    assert_eq!(PreparedMessage::new("short", &config).compressed_len(), None);
    assert_eq!(PreparedMessage::new(&text[..], &config).message().as_text(), Some(&text[..]));
}

#[test]
fn a_window_out_of_range_counts_as_the_nearest_in_it() {
    let config = deflating(|_, deflate| deflate.message_len_min = 0);
    let text = "up and down, ".repeat(100);
    for (bits, nearest) in [(0, 8), (7, 8), (8, 8), (9, 9), (14, 14), (15, 15), (16, 15), (64, 15), (u8::MAX, 15)] {
        let params =
            DeflateParams { server_max_window_bits: bits, client_max_window_bits: bits, ..DeflateParams::default() };
        let [mut server, mut client] = [Role::Server, Role::Client].map(|role| {
            let mut bench = Bench::open(role, config.clone());
            bench.connection = Connection::open(role, config.clone(), SEED, bench.now).with_deflate(Some(params));
            bench
        });
        let held = server.connection.deflate_params().unwrap();
        assert_eq!((held.server_max_window_bits, held.client_max_window_bits), (nearest, nearest), "{bits}");
        for _ in 0..2 {
            server.connection.send_text(server.now, &text).unwrap();
            assert_eq!(client.receive(&server.flush()), [t(&text)], "{bits}");
            client.connection.send_text(client.now, &text).unwrap();
            assert_eq!(server.receive(&client.flush()), [t(&text)], "{bits}");
        }
    }
}

#[test]
fn any_mix_of_sends_arrives_whatever_the_parameters_and_the_split() {
    for_each_seed(100, |seed| {
        let mut rng = Rng::new(seed);
        let settings = |rng: &mut Rng| {
            deflating(|_, deflate| {
                deflate.window_bits = rng.between(8, 15) as u8;
                deflate.peer_window_bits = rng.between(8, 15) as u8;
                deflate.level = rng.between(1, 9) as u8;
                deflate.memory_level = rng.between(1, 9) as u8;
                deflate.no_context_takeover = rng.once_in(3);
                deflate.peer_no_context_takeover = rng.once_in(3);
                deflate.message_len_min = rng.between(0, 300);
                deflate.inflated_per_poll_max = rng.between(1, 3000);
            })
        };
        let mut both = shake_hands(settings(&mut rng), settings(&mut rng));
        assert_eq!(both.client.connection.deflate_params(), both.server.connection.deflate_params());
        for _ in 0..20 {
            let Both { client, server } = &mut both;
            let (from, to) = if rng.once_in(2) { (client, server) } else { (server, client) };
            let expected: Vec<Seen> = (0..rng.between(1, 4)).map(|_| send_something(from, &mut rng)).collect();
            let wire = from.flush();
            let mut seen = Vec::new();
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (chunk, more) = rest.split_at(rest.len().min(rng.between(1, 4000)));
                rest = more;
                to.buf.extend_from_slice(chunk);
                let in_pieces = rng.once_in(2);
                while let Some(event) = match in_pieces {
                    true => to.connection.poll_event_in_pieces(to.now, &mut to.buf),
                    false => to.connection.poll_event(to.now, &mut to.buf),
                } {
                    if matches!(event, Event::Inflating) {
                        continue;
                    }
                    let event = Seen::from(&event);
                    if let (Seen::Binary(_) | Seen::Text(_), true) = (&event, rng.once_in(2)) {
                        let taken = to.buf.take_message().expect("a message was lent");
                        assert_eq!(seen_of(&taken), event);
                    }
                    seen.push(event);
                }
                if rng.once_in(3) {
                    to.connection.release();
                    to.buf.release();
                    let mut other = RecvBuf::new();
                    other.take_over(&mut to.buf);
                    to.buf = other;
                }
            }
            assert_eq!(whole(seen), expected);
            if rng.once_in(3) {
                from.connection.release();
            }
        }
    });
}

fn seen_of(message: &Message) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.to_string()),
        Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
    }
}

/// Sends one message in any of the ways there are.
fn send_something(bench: &mut Bench, rng: &mut Rng) -> Seen {
    let now = bench.now;
    let text: String = (0..rng.below(60)).map(|i| format!("{{\"n\":{},\"é\":\"{}\"}}", i * 7, rng.below(10))).collect();
    let bytes: Vec<u8> = (0..rng.below(3000)).map(|_| rng.below(20) as u8).collect();
    let choice = [Compression::Never, Compression::Always, Compression::Default][rng.below(3)];
    bench.connection.with_compression(choice, |connection| {
        match rng.below(5) {
            0 => connection.send_text(now, &text).unwrap(),
            1 => connection.send_text_shared(now, &text.as_str().into()).unwrap(),
            2 => {
                let deflate = connection.config().deflate.clone().unwrap();
                connection.send_prepared(now, &PreparedMessage::new(&text[..], &deflate)).unwrap();
            }
            3 => {
                for (i, part) in text.split_inclusive('}').enumerate() {
                    if i == 2 && rng.once_in(2) {
                        connection.release();
                    }
                    connection.send_text_fragment(now, part, FragmentPosition::More).unwrap();
                }
                connection.send_text_fragment(now, "", FragmentPosition::Last).unwrap();
            }
            _ => {
                connection.send_binary_shared(now, &Bytes::from(bytes.clone())).unwrap();
                return Seen::Binary(bytes.clone());
            }
        }
        Seen::Text(text.clone())
    })
}
