//! RFC 6455 sections 5 (framing), 7 (closing) and 8 (UTF-8), as tables. Each row runs at both ends, whole and split in every way.

mod support;

use sansocket::frame::{Header, Opcode};
use sansocket::{Accepts, ProtocolError, Role};
use support::Seen::{Binary, BinaryPiece, CloseReceived, Ping, Pong, Text, TextPiece};
use support::*;

fn t(text: &str) -> Seen {
    Text(text.to_owned())
}

fn b(bytes: impl AsRef<[u8]>) -> Seen {
    Binary(bytes.as_ref().to_vec())
}

#[test]
fn data_frames_of_every_length_form_pass() {
    let mut cases = vec![
        Case::passes("5.6", "an empty text", &[text("")], &[t("")]),
        Case::passes("5.6", "an empty binary", &[binary("")], &[b("")]),
        Case::passes("5.6", "text", &[text("Hello")], &[t("Hello")]),
        Case::passes("5.6", "a text with NUL", &[text("a\0b")], &[t("a\0b")]),
        Case::passes("5.6", "any bytes in binary", &[binary(b"\xff\xfe\0\x80")], &[b(b"\xff\xfe\0\x80")]),
        Case::passes("5.2", "several in one read", &[text("a"), binary("b"), text("")], &[t("a"), b("b"), t("")]),
    ];
    for len in [1, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 65_537] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let words = "ab€😀".repeat(len / 9) + &"x".repeat(len % 9);
        cases.push(Case::passes("5.2", format!("binary of {len} bytes"), &[binary(&bytes)], &[b(&bytes)]));
        cases.push(Case::passes("5.2", format!("text of {len} bytes"), &[text(&words)], &[t(&words)]));
    }
    check_all(&cases);
}

#[test]
fn a_length_not_in_its_shortest_form_or_above_63_bits_fails_with_1002() {
    let mut cases = Vec::new();
    for len in [0, 1, 125] {
        let frame = binary(vec![1; len]);
        cases.push(Case::fails("5.2", format!("{len} in 16 bits"), &[frame.clone().len_in_16_bits()], &[], 1002));
        cases.push(Case::fails("5.2", format!("{len} in 64 bits"), &[frame.len_in_64_bits()], &[], 1002));
    }
    for len in [126, 65_535] {
        let frame = binary(vec![1; len]).len_in_64_bits();
        cases.push(Case::fails("5.2", format!("{len} in 64 bits"), &[frame], &[], 1002));
    }
    for len in [1 << 63, (1 << 63) + 1, u64::MAX] {
        let promise = binary("").promising(len);
        cases.push(Case::fails("5.2", format!("length {len}"), std::slice::from_ref(&promise), &[], 1002));
        let continued = continuation("").promising(len);
        cases.push(Case::fails("5.2", format!("{len} more"), &[binary("abc").more(), continued], &[], 1002));
        cases.push(Case::fails("5.2", format!("{len} after a text"), &[text("a"), promise], &[t("a")], 1002));
    }
    for len in [16 * 1024 * 1024 + 1, (1 << 63) - 1] {
        let promise = binary("").promising(len);
        cases.push(Case::fails("7.4.1", format!("legal, but too long: {len}"), &[promise], &[], 1009));
    }
    check_all(&cases);
}

#[test]
fn reserved_bits_without_an_extension_fail_with_1002() {
    let mut cases = Vec::new();
    for bits in 1..8 {
        for frame in [text("a"), binary("a"), continuation("a"), ping("a"), pong("a"), close(1000, "")] {
            let name = format!("bits {bits:#05b} in {frame:?}");
            cases.push(Case::fails("5.2", name.clone(), &[frame.clone().rsv(bits)], &[], 1002));
            cases.push(Case::fails("5.2", name + " after a text", &[text("a"), frame.rsv(bits)], &[t("a")], 1002));
        }
    }
    check_all(&cases);
}

#[test]
fn reserved_opcodes_fail_with_1002() {
    let mut cases = Vec::new();
    for reserved in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "abc"] {
            let frame = opcode(reserved, payload);
            let name = format!("opcode {reserved} with {} bytes", payload.len());
            cases.push(Case::fails("5.2", name.clone(), std::slice::from_ref(&frame), &[], 1002));
            cases.push(Case::fails("5.2", name.clone() + " without FIN", &[frame.clone().more()], &[], 1002));
            let events = [t("a"), Ping(b"b".to_vec())];
            cases.push(Case::fails("5.2", name + " after others", &[text("a"), ping("b"), frame], &events, 1002));
        }
    }
    check_all(&cases);
}

#[test]
fn a_client_that_does_not_mask_and_a_server_that_does_fail_with_1002() {
    let mut cases = Vec::new();
    for frame in [text("a"), binary(""), continuation("a"), ping(""), pong("a"), close(1000, "")] {
        let name = format!("{frame:?}");
        cases.push(Case::fails("5.1", name.clone(), &[frame.clone().wrongly_masked()], &[], 1002));
        let frames = [text("a"), frame.wrongly_masked()];
        cases.push(Case::fails("5.1", name + " after a text", &frames, &[t("a")], 1002));
    }
    check_all(&cases);
}

/// CVE-2025-10148, and libraries that accept what is not masked.
#[test]
fn a_server_refuses_an_unmasked_frame_on_its_header_and_delivers_nothing_of_it() {
    for header in [&b"\x81\x05"[..], b"\x82\x7e\xff\xff", b"\x89\x7d", b"\x88\x02"] {
        let mut server = Bench::open(Role::Server, config(|_| {}));
        assert_eq!(server.receive(header), []);
        assert_eq!(server.flush_frames()[0].as_close().unwrap().0, 1002, "{header:x?}: no payload was waited for");
        let closed = only_closed(server.eof());
        assert_eq!(closed.cause, sansocket::CloseCause::Protocol(ProtocolError::MaskMissing));
    }
}

#[test]
fn control_frames_are_neither_fragmented_nor_longer_than_125_bytes() {
    let mut cases = Vec::new();
    for kind in [0x8, 0x9, 0xA] {
        cases.push(Case::fails("5.5", format!("{kind:#x} without FIN"), &[opcode(kind, "").more()], &[], 1002));
        for len in [126, 127, 65_535, 65_536] {
            let frame = opcode(kind, vec![b'a'; len]);
            cases.push(Case::fails("5.5", format!("{kind:#x} of {len} bytes"), &[frame], &[], 1002));
        }
        let frames = [text("a").more(), opcode(kind, "b").more(), continuation("c")];
        cases.push(Case::fails("5.5", format!("{kind:#x} without FIN between fragments"), &frames, &[], 1002));
    }
    check_all(&cases);
}

#[test]
fn pings_are_answered_in_order_with_their_payload() {
    let full = vec![0xFE; 125];
    let ten: Vec<Vec<u8>> = (0..10).map(|i| vec![i; usize::from(i)]).collect();
    check_all(&[
        Case::passes("5.5.2", "an empty ping", &[ping("")], &[Ping(vec![])]),
        Case::passes("5.5.2", "a ping of 125 bytes", &[ping(&full)], &[Ping(full.clone())]),
        Case::passes("5.5.2", "a ping that is not UTF-8", &[ping(b"\xff\0")], &[Ping(b"\xff\0".to_vec())]),
        Case::passes(
            "5.5.3",
            "ten pings, of which all are answered",
            &ten.iter().map(ping).collect::<Vec<_>>(),
            &ten.iter().cloned().map(Ping).collect::<Vec<_>>(),
        ),
        Case::passes(
            "5.5.3",
            "a pong that nobody asked for",
            &[pong("x"), pong("")],
            &[Pong(b"x".to_vec()), Pong(vec![])],
        ),
        Case::passes(
            "5.5.3",
            "a ping between texts",
            &[text("a"), ping("p"), text("b")],
            &[t("a"), Ping(b"p".to_vec()), t("b")],
        ),
    ]);
}

#[test]
fn fragments_are_one_message_and_control_frames_may_stand_between_them() {
    let many: Vec<Frame> = (0..40)
        .map(|i| match i {
            0 => text("a").more(),
            39 => continuation("z"),
            _ => continuation("m").more(),
        })
        .collect();
    check_all(&[
        Case::passes("5.4", "two", &[text("Hel").more(), continuation("lo")], &[t("Hello")]),
        Case::passes("5.4", "empty ones", &[text("").more(), continuation("").more(), continuation("")], &[t("")]),
        Case::passes("5.4", "an empty last", &[binary("a").more(), continuation("")], &[b("a")]),
        Case::passes("5.4", "an empty first", &[binary("").more(), continuation("a")], &[b("a")]),
        Case::passes("5.4", "forty", &many, &[t(&format!("a{}z", "m".repeat(38)))]),
        Case::passes(
            "5.4",
            "a ping and a pong between",
            &[text("Hel").more(), ping("p"), continuation("l").more(), pong("q"), continuation("o")],
            &[Ping(b"p".to_vec()), Pong(b"q".to_vec()), t("Hello")],
        ),
        Case::passes(
            "5.4",
            "pings between empty fragments",
            &[binary("").more(), ping("1"), continuation("").more(), ping(""), continuation("")],
            &[Ping(b"1".to_vec()), Ping(vec![]), b("")],
        ),
        Case::passes(
            "5.4",
            "two messages, one after the other",
            &[text("a").more(), continuation("b"), binary("c").more(), continuation("d"), text("e")],
            &[t("ab"), b("cd"), t("e")],
        ),
        Case::closes("5.4", "a Close between", &[text("Hel").more(), close(1000, "enough")], &[], 1000, "enough"),
    ]);
}

#[test]
fn continuations_follow_the_rules_or_fail_with_1002() {
    check_all(&[
        Case::fails("5.4", "nothing to continue", &[continuation("a")], &[], 1002),
        Case::fails("5.4", "nothing to continue, without FIN", &[continuation("a").more()], &[], 1002),
        Case::fails("5.4", "nothing to continue, empty", &[continuation("")], &[], 1002),
        Case::fails("5.4", "after a whole message", &[text("a"), continuation("b")], &[t("a")], 1002),
        Case::fails(
            "5.4",
            "after the last fragment",
            &[text("a").more(), continuation("b"), continuation("c")],
            &[t("ab")],
            1002,
        ),
        Case::fails("5.4", "text in a text", &[text("a").more(), text("b")], &[], 1002),
        Case::fails("5.4", "binary in a text", &[text("a").more(), binary("b")], &[], 1002),
        Case::fails("5.4", "text in a binary, without FIN", &[binary("a").more(), text("b").more()], &[], 1002),
        Case::fails("5.4", "text after an empty fragment", &[text("").more(), text("b")], &[], 1002),
        Case::fails(
            "5.4",
            "text after a ping between fragments",
            &[text("a").more(), ping("p"), text("b")],
            &[Ping(b"p".to_vec())],
            1002,
        ),
    ]);
}

/// The answer to a good message leaves before the connection is failed on what follows in the same read.
#[test]
fn what_came_before_a_fault_is_delivered_and_its_answer_leaves_before_the_close() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let wire = wire_to(role, &[text("a"), ping("p"), opcode(3, "x")]);
        bench.buf.extend_from_slice(&wire);
        while let Some(event) = bench.connection.poll_event(bench.now, &mut bench.buf) {
            if let sansocket::Event::Text(text) = event {
                bench.connection.send_text(bench.now, text).unwrap();
            }
        }
        let sent = bench.flush_frames();
        let opcodes: Vec<u8> = sent.iter().map(|frame| frame.opcode).collect();
        assert_eq!(opcodes, [0x1, 0xA, 0x8], "{role:?}");
        assert_eq!(sent[2].as_close().unwrap().0, 1002);
    }
}

#[test]
fn a_close_is_reported_and_its_code_echoed() {
    let mut cases = vec![
        Case::closes("5.5.1", "without a code", &[close_empty()], &[], 1005, ""),
        Case::closes("5.5.1", "a code", &[close(1000, "")], &[], 1000, ""),
        Case::closes("5.5.1", "a code and words", &[close(1001, "bye, €")], &[], 1001, "bye, €"),
        Case::closes("5.5.1", "125 bytes", &[close(1000, "x".repeat(123))], &[], 1000, &"x".repeat(123)),
        Case::closes("5.5.1", "data after it is ignored", &[close(1000, ""), text("late")], &[], 1000, ""),
        Case::closes("5.5.1", "a ping after it is not answered", &[close(1000, ""), ping("late")], &[], 1000, ""),
        Case::closes("5.5.1", "a second one is ignored", &[close(1000, ""), close(1001, "")], &[], 1000, ""),
        Case::closes(
            "5.5.1",
            "nonsense after it is ignored",
            &[close(1000, ""), opcode(0xF, "").rsv(7)],
            &[],
            1000,
            "",
        ),
        Case::closes("5.5.1", "text before it", &[text("a"), close(1000, "b")], &[t("a")], 1000, "b"),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        cases.push(Case::closes("7.4", format!("code {code}"), &[close(code, "")], &[], code, ""));
    }
    check_all(&cases);
}

#[test]
fn a_close_that_may_not_be_sent_fails_the_connection() {
    let mut cases = vec![
        Case::fails("5.5.1", "half a code", &[close_raw([3])], &[], 1002),
        Case::fails("8.1", "words that are not UTF-8", &[close(1000, b"\xff")], &[], 1007),
        Case::fails("8.1", "words that break off", &[close(1000, b"abc\xE2\x82")], &[], 1007),
        Case::fails("8.1", "123 bytes of them", &[close(1000, [0xC0; 123])], &[], 1007),
    ];
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(Case::fails("7.4", format!("code {code}"), &[close(code, "")], &[], 1002));
        cases.push(Case::fails("7.4", format!("code {code}, with words"), &[close(code, "words")], &[], 1002));
    }
    check_all(&cases);
}

#[test]
fn text_is_utf_8_over_all_its_fragments_or_fails_with_1007() {
    let kosme = "κόσμε";
    let mut cases = vec![
        Case::passes("8.1", "the last code point", &[text("\u{10FFFF}")], &[t("\u{10FFFF}")]),
        Case::passes("8.1", "a noncharacter", &[text("\u{FFFE}\u{1FFFF}")], &[t("\u{FFFE}\u{1FFFF}")]),
        Case::passes("8.1", "byte order mark", &[text("\u{FEFF}a")], &[t("\u{FEFF}a")]),
        Case::passes("8.1", "binary need not be", &[binary(b"\xff\xC0\x80")], &[b(b"\xff\xC0\x80")]),
        Case::fails("8.1", "after a good text", &[text("ok"), text(b"\xff")], &[t("ok")], 1007),
        Case::fails("8.1", "in a later fragment", &[text("ok").more(), continuation(b"\xff")], &[], 1007),
        Case::fails("8.1", "in a fragment that is not the last", &[text(b"\xff").more()], &[], 1007),
        Case::fails(
            "8.1",
            "broken off before an empty last fragment",
            &[text(b"\xE2\x82").more(), continuation("")],
            &[],
            1007,
        ),
        Case::fails(
            "8.1",
            "a ping between the halves of a code point that never ends",
            &[text(b"\xE2\x82").more(), ping("p"), continuation("a")],
            &[Ping(b"p".to_vec())],
            1007,
        ),
        // What broke off in one text has no part in the next.
        Case::passes(
            "8.1",
            "each text starts anew",
            &[
                text(b"\xC3").more(),
                continuation(b"\xA9"),
                text("a"),
                binary(b"\xC3").more(),
                continuation(""),
                text("é"),
            ],
            &[t("é"), t("a"), b(b"\xC3"), t("é")],
        ),
    ];
    for at in 0..=kosme.len() {
        let (left, right) = kosme.as_bytes().split_at(at);
        let frames = [text(left).more(), ping("p"), continuation(right)];
        cases.push(Case::passes("5.6", format!("cut at {at}"), &frames, &[Ping(b"p".to_vec()), t(kosme)]));
    }
    let bytewise: Vec<Frame> = std::iter::once(text("").more())
        .chain(kosme.bytes().map(|byte| continuation([byte]).more()))
        .chain([continuation("")])
        .collect();
    cases.push(Case::passes("5.6", "a byte in each fragment", &bytewise, &[t(kosme)]));
    let bad: [&[u8]; 14] = [
        b"\x80",
        b"\xBF",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xE0\x80\x80",
        b"\xE0\x9F\xBF",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xF0\x80\x80\x80",
        b"\xF0\x8F\xBF\xBF",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xFE",
        b"\xC3\x28",
    ];
    for bytes in bad {
        for (before, after) in [("", ""), ("good €", ""), ("", "tail"), ("x", "y")] {
            let payload = [before.as_bytes(), bytes, after.as_bytes()].concat();
            cases.push(Case::fails("8.1", format!("{payload:x?}"), &[text(&payload)], &[], 1007));
        }
    }
    for broken_off in [&b"\xC3"[..], b"\xE2", b"\xE2\x82", b"\xF0", b"\xF0\x9F", b"\xF0\x9F\x98"] {
        let payload = [b"good ", broken_off].concat();
        cases.push(Case::fails("8.1", format!("{payload:x?} at the end"), &[text(&payload)], &[], 1007));
    }
    check_all(&cases);
}

/// Autobahn 6.4.1 to 6.4.4: the first impossible byte is refused though its frame, and its message, has not ended.
#[test]
fn utf_8_fails_inside_a_frame_at_the_first_impossible_byte() {
    let start = "κόσμε".as_bytes();
    for role in ROLES {
        for (good, bad) in [(&b"\xF4"[..], 0x90), (b"\xED", 0xA0), (b"", 0xFF), (b"\xE2\x82", b'a'), (b"", 0xC0)] {
            let payload = [start, good, &[bad], &[b'x'; 40]].concat();
            for fragment in [false, true] {
                let frame = if fragment { text(&payload).more() } else { text(&payload) };
                let wire = wire_to(role, &[frame]);
                let until = wire.len() - 40 - 1;
                let mut bench = Bench::open(role, config(|_| {}));
                assert_eq!(bench.receive(&wire[..until]), []);
                assert!(bench.connection.outgoing().is_empty(), "{role:?}: the start of {payload:x?} is legal");
                bench.receive(&wire[until..=until]);
                let sent = bench.flush_frames();
                assert_eq!(sent[0].as_close().unwrap().0, 1007, "{role:?}: {payload:x?}");
            }
        }
    }
}

#[test]
fn kinds_that_are_not_accepted_fail_with_1003() {
    let text_only = config(|config| config.accepts = Accepts::TextOnly);
    let binary_only = config(|config| config.accepts = Accepts::BinaryOnly);
    check_all(&[
        Case::passes("7.4.1", "text where text is", &[text("a")], &[t("a")]).with(text_only.clone()),
        Case::fails("7.4.1", "binary where text is", &[text("a"), binary("b")], &[t("a")], 1003)
            .with(text_only.clone()),
        Case::fails("7.4.1", "its first fragment", &[binary("b").more()], &[], 1003).with(text_only),
        Case::passes("7.4.1", "binary where binary is", &[binary("a")], &[b("a")]).with(binary_only.clone()),
        Case::fails("7.4.1", "text where binary is", &[text("")], &[], 1003).with(binary_only),
    ]);
}

#[test]
fn pieces_come_as_the_bytes_do_and_end_with_one_that_says_so() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let wire = wire_to(role, &[binary("abcdef").more(), ping("p"), continuation("gh"), text("i"), binary("")]);
        let header_len = if role == Role::Server { 6 } else { 2 };
        let pieces = |bench: &mut Bench, wire: &[u8]| {
            bench.buf.extend_from_slice(wire);
            let mut seen = Vec::new();
            while let Some(event) = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf) {
                seen.push(Seen::from(&event));
            }
            seen
        };
        assert_eq!(pieces(&mut bench, &wire[..header_len]), []);
        let (left, right) = wire.split_at(header_len + 2);
        assert_eq!(pieces(&mut bench, &left[header_len..]), [BinaryPiece(b"ab".to_vec(), false)]);
        let expected = [
            BinaryPiece(b"cdef".to_vec(), false),
            Ping(b"p".to_vec()),
            BinaryPiece(b"gh".to_vec(), true),
            TextPiece("i".into(), true),
            BinaryPiece(vec![], true),
        ];
        assert_eq!(pieces(&mut bench, right), expected, "{role:?}");
        assert!(bench.buf.is_empty());
    }
}

#[test]
fn a_piece_of_text_never_breaks_a_code_point() {
    let euro = "€".as_bytes();
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let wire = wire_to(role, &[text([b"a", euro, b"b"].concat())]);
        let (header, payload) = wire.split_at(wire.len() - 5);
        let mut seen = Vec::new();
        bench.buf.extend_from_slice(header);
        for byte in payload {
            bench.buf.extend_from_slice(&[*byte]);
            while let Some(event) = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf) {
                match Seen::from(&event) {
                    TextPiece(piece, _) => seen.push(piece),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(seen, ["a", "€", "b"], "{role:?}");
    }
}

#[test]
fn a_message_begun_whole_may_go_on_in_pieces_and_the_other_way_round() {
    for role in ROLES {
        let first = wire_to(role, &[text("ab").more()]);
        let second = wire_to(role, &[continuation("cd")]);
        let poll = |bench: &mut Bench, in_pieces: bool| {
            let (connection, buf) = (&mut bench.connection, &mut bench.buf);
            let event = if in_pieces {
                connection.poll_event_in_pieces(bench.now, buf)
            } else {
                connection.poll_event(bench.now, buf)
            };
            event.map(|event| Seen::from(&event))
        };

        let mut bench = Bench::open(role, config(|_| {}));
        bench.buf.extend_from_slice(&first);
        assert_eq!(poll(&mut bench, false), None);
        assert_eq!(poll(&mut bench, true), Some(TextPiece("ab".into(), false)));
        bench.buf.extend_from_slice(&second);
        assert_eq!(poll(&mut bench, false), Some(TextPiece("cd".into(), true)), "{role:?}: what was begun so ends so");

        let mut bench = Bench::open(role, config(|_| {}));
        bench.buf.extend_from_slice(&first);
        assert_eq!(poll(&mut bench, false), None);
        bench.buf.extend_from_slice(&second);
        assert_eq!(poll(&mut bench, false), Some(t("abcd")));
        bench.buf.extend_from_slice(&wire_to(role, &[text("next")]));
        assert_eq!(poll(&mut bench, false), Some(t("next")), "{role:?}: the next one is whole again");
    }
}

#[test]
fn a_message_is_partly_delivered_from_its_first_piece_to_its_last() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let mut poll = |wire: &[Frame]| {
            bench.buf.extend_from_slice(&wire_to(role, wire));
            let seen = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf).map(|event| Seen::from(&event));
            (seen, bench.connection.is_partly_delivered())
        };
        assert_eq!(poll(&[]), (None, false));
        assert_eq!(poll(&[text("all")]), (Some(TextPiece("all".into(), true)), false));
        assert_eq!(poll(&[text("").more()]), (None, false));
        assert_eq!(poll(&[continuation("a").more()]), (Some(TextPiece("a".into(), false)), true));
        assert_eq!(poll(&[continuation("").more()]), (None, true));
        assert_eq!(poll(&[continuation("")]), (Some(TextPiece(String::new(), true)), false), "{role:?}");
    }
}

#[test]
fn text_that_is_sent_in_fragments_may_be_cut_anywhere_but_is_utf_8() {
    use sansocket::{FragmentPosition::*, MessageKind, SendError::TextNotUtf8};
    let euro = "€".as_bytes();
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let (connection, now) = (&mut bench.connection, bench.now);
        connection.send_fragment(now, MessageKind::Text, &euro[..1], More).unwrap();
        let waiting = connection.buffered_len();
        assert_eq!(connection.send_fragment(now, MessageKind::Text, b"x", More), Err(TextNotUtf8));
        assert_eq!(connection.send_fragment(now, MessageKind::Text, &euro[1..2], Last), Err(TextNotUtf8), "breaks off");
        assert_eq!(connection.send_text_fragment(now, "x", More), Err(TextNotUtf8));
        assert_eq!(connection.send_text_fragment(now, "", Last), Err(TextNotUtf8));
        assert_eq!(connection.buffered_len(), waiting, "{role:?}: nothing has happened");
        connection.send_fragment(now, MessageKind::Text, &euro[1..2], More).unwrap();
        connection.send_text_fragment(now, "", More).unwrap();
        connection.send_fragment(now, MessageKind::Text, &euro[2..], Last).unwrap();
        connection.send_fragment(now, MessageKind::Binary, &euro[..1], Last).unwrap();
        connection.send_text_fragment(now, "next", Last).unwrap();

        let other = if role == Role::Client { Role::Server } else { Role::Client };
        let mut peer = Bench::open(other, config(|_| {}));
        peer.buf.extend_from_slice(bench.connection.outgoing());
        let mut seen = Vec::new();
        while let Some(event) = peer.connection.poll_event(peer.now, &mut peer.buf) {
            seen.push(Seen::from(&event));
        }
        assert_eq!(seen, [t("€"), b([0xE2]), t("next")]);
    }
}

#[test]
fn a_message_much_longer_than_the_buffer_passes_in_pieces_without_being_held() {
    let limits = config(|config| {
        config.message_len_max = u64::MAX;
        config.frame_len_max = u64::MAX;
    });
    for role in ROLES {
        let mut bench = Bench::open(role, limits.clone());
        let len = 20_000_000;
        let mut header = wire_to(role, &[binary("").promising(len)]);
        bench.buf.extend_from_slice(&header);
        header.clear();
        let mut left = len;
        let mut ended = false;
        while left > 0 {
            let spare = bench.buf.spare_mut();
            let n = spare.len().min(left as usize);
            spare[..n].fill(0);
            bench.buf.advance_received(n);
            left -= n as u64;
            while let Some(event) = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf) {
                match event {
                    sansocket::Event::BinaryPiece { last, .. } => ended = last,
                    other => panic!("{other:?}"),
                }
            }
            assert!(bench.buf.capacity() <= 64 * 1024, "{} bytes are held", bench.buf.capacity());
        }
        assert!(ended);
    }
}

#[test]
fn what_a_connection_sends_is_masked_by_a_client_only() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let (connection, now) = (&mut bench.connection, bench.now);
        connection.send_text(now, "text").unwrap();
        connection.send_binary(now, &[7; 70_000]).unwrap();
        bench.flush_frames();
        let connection = &mut bench.connection;
        connection.send_binary(now, &[7; 126]).unwrap();
        connection.ping(now, b"ping").unwrap();
        connection.pong(now, b"").unwrap();
        connection.send_text_fragment(now, "a", sansocket::FragmentPosition::More).unwrap();
        connection.ping(now, b"between").unwrap();
        connection.send_text_fragment(now, "b", sansocket::FragmentPosition::Last).unwrap();
        connection.close(now, sansocket::CloseCode::NORMAL, "bye").unwrap();
        let sent = bench.flush_frames();
        let expected: [(bool, u8, &[u8]); 7] = [
            (true, 0x2, &[7; 126]),
            (true, 0x9, b"ping"),
            (true, 0xA, b""),
            (false, 0x1, b"a"),
            (true, 0x9, b"between"),
            (true, 0x0, b"b"),
            (true, 0x8, b"\x03\xe8bye"),
        ];
        assert_eq!(sent.len(), expected.len());
        for (sent, (fin, opcode, payload)) in sent.iter().zip(expected) {
            assert_eq!((sent.fin, sent.rsv, sent.opcode, &sent.payload[..]), (fin, 0, opcode, payload));
            assert_eq!(sent.key.is_some(), role == Role::Client);
        }
    }
}

#[test]
fn a_payload_that_is_handed_over_is_masked_by_a_client_all_the_same() {
    use sansocket::connection::SHARED_PAYLOAD_LEN_MIN;
    for role in ROLES {
        for len in [SHARED_PAYLOAD_LEN_MIN - 1, SHARED_PAYLOAD_LEN_MIN, 3 * SHARED_PAYLOAD_LEN_MIN] {
            let mut bench = Bench::open(role, config(|_| {}));
            let text = "a".repeat(len);
            bench.connection.send_binary_shared(bench.now, &text.clone().into()).unwrap();
            bench.connection.send_text_shared(bench.now, &text.clone().into()).unwrap();
            let sent = bench.flush_frames();
            assert_eq!(sent.len(), 2);
            for (sent, opcode) in sent.iter().zip([0x2, 0x1]) {
                assert_eq!((sent.fin, sent.opcode, &sent.payload[..]), (true, opcode, text.as_bytes()));
                assert_eq!(sent.key.is_some(), role == Role::Client, "{role:?}, {len} bytes");
            }
        }
    }
}

/// After its own Close an endpoint sends nothing more, but still hears what the peer sent before its own.
#[test]
fn messages_still_arrive_between_our_close_and_the_peers() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        bench.connection.close(bench.now, sansocket::CloseCode::NORMAL, "done").unwrap();
        let frames = [text("a"), binary("b").more(), pong("p"), continuation("c"), close(1000, "done too")];
        let seen = bench.receive_frames(&frames);
        assert_eq!(seen, [t("a"), Pong(b"p".to_vec()), b("bc"), CloseReceived(1000, "done too".into())]);
        let sent = bench.flush_frames();
        assert_eq!(sent.len(), 1, "{role:?}: one Close, no answer to the answer");
        assert_eq!(sent[0].as_close(), Some((1000, "done".into())));
        let closed = only_closed(bench.eof());
        assert_eq!((closed.by, closed.clean, &closed.reason[..]), (sansocket::Side::Local, true, "done"), "{role:?}");
    }
}

/// The examples of section 5.7, byte for byte.
#[test]
fn the_examples_of_the_rfc_arrive() {
    for (role, wire, expected) in [
        (Role::Client, &b"\x81\x05\x48\x65\x6c\x6c\x6f"[..], t("Hello")),
        (Role::Server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", t("Hello")),
        (Role::Client, b"\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", t("Hello")),
        (Role::Client, b"\x89\x05\x48\x65\x6c\x6c\x6f", Ping(b"Hello".to_vec())),
        (Role::Server, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Pong(b"Hello".to_vec())),
    ] {
        assert_eq!(Bench::open(role, config(|_| {})).receive(wire), [expected], "{wire:x?}");
    }
    for (len, start) in [(256, &b"\x82\x7e\x01\x00"[..]), (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0")] {
        let wire = [start, &vec![5; len]].concat();
        assert_eq!(Bench::open(Role::Client, config(|_| {})).receive(&wire), [b(vec![5; len])]);
    }
}

/// The builder of the tests and the codec of the crate agree, so that neither hides a fault of the other.
#[test]
fn the_builder_of_these_tests_agrees_with_the_header_of_the_crate() {
    for (frame, opcode) in
        [(text("abc"), Opcode::Text), (binary(vec![0; 300]), Opcode::Binary), (ping(""), Opcode::Ping)]
    {
        for sender in ROLES {
            let mut wire = Vec::new();
            frame.encode(sender, [1, 2, 3, 4], &mut wire);
            let (header, _) = Header::decode(&wire).unwrap().unwrap();
            assert_eq!((header.fin, header.opcode), (true, opcode));
            assert_eq!(header.masking_key, (sender == Role::Client).then_some([1, 2, 3, 4]));
            assert_eq!(header.payload_len, decode(&wire)[0].payload.len() as u64);
        }
    }
}
