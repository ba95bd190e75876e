//! Each limit of `Config` at one less, exactly, and one more; and what a send is refused for.

mod support;

use std::sync::Arc;

use sansocket::connection::CONTROL_ROOM;
use sansocket::{
    Bytes, CloseCause, CloseCode, Config, Event, FragmentPosition, MessageKind, ProtocolError, ReadyState, Role,
    SendError,
};
use support::*;

fn limited(change: impl FnOnce(&mut Config)) -> Arc<Config> {
    config(|config| {
        timeless(config);
        change(config);
    })
}

type Send = fn(&mut Bench) -> Result<(), SendError>;

fn b(len: usize) -> Seen {
    Seen::Binary(vec![7; len])
}

#[test]
fn frame_len_max() {
    let limits = limited(|config| config.frame_len_max = 1000);
    let mut cases = Vec::new();
    for len in [999, 1000] {
        let frames = [binary(vec![7; len])];
        cases.push(Case::passes("7.4.1", format!("{len} of 1000"), &frames, &[b(len)]).with(limits.clone()));
        let frames = [binary(vec![7; len]).more(), continuation(vec![7; len])];
        cases.push(Case::passes("7.4.1", format!("twice {len}"), &frames, &[b(2 * len)]).with(limits.clone()));
    }
    for frames in [vec![binary(vec![7; 1001])], vec![binary("").more(), continuation(vec![7; 1001])]] {
        cases.push(Case::fails("7.4.1", "1001 of 1000", &frames, &[], 1009).with(limits.clone()));
    }
    check_all(&cases);
}

#[test]
fn message_len_max() {
    let limits = limited(|config| config.message_len_max = 1000);
    let mut cases = Vec::new();
    for len in [999, 1000, 1001] {
        let splits: [(&str, Vec<Frame>); 4] = [
            ("in one frame", vec![binary(vec![7; len])]),
            ("in two", vec![binary(vec![7; 500]).more(), continuation(vec![7; len - 500])]),
            ("the last byte alone", vec![binary(vec![7; len - 1]).more(), continuation([7])]),
            ("with empty ones", vec![binary("").more(), continuation(vec![7; len]).more(), continuation("")]),
        ];
        for (name, frames) in splits {
            let name = format!("{len} of 1000 {name}");
            cases.push(match len {
                1001 => Case::fails("7.4.1", name, &frames, &[], 1009).with(limits.clone()),
                _ => Case::passes("7.4.1", name, &frames, &[b(len)]).with(limits.clone()),
            });
        }
    }
    // Each message has the whole limit for itself.
    let frames = [binary(vec![7; 1000]), binary(vec![7; 600]).more(), continuation(vec![7; 400])];
    cases.push(Case::passes("7.4.1", "one after the other", &frames, &[b(1000), b(1000)]).with(limits.clone()));
    check_all(&cases);
}

#[test]
fn a_frame_that_is_too_long_is_refused_on_its_header_by_what_it_announces() {
    for role in ROLES {
        let limits = limited(|config| config.frame_len_max = 1000);
        let mut bench = Bench::open(role, limits);
        assert_eq!(bench.receive_frames(&[binary("").promising(1001)]), []);
        bench.flush();
        let cause = only_closed(bench.eof()).cause;
        assert_eq!(cause, CloseCause::Protocol(ProtocolError::FrameTooLong { len: 1001, max: 1000 }));
    }
}

/// CVE-2020-27813: lengths near 2^63 that, added to what came before, overflow.
#[test]
fn a_message_near_2_to_the_63_does_not_overflow_the_count() {
    let huge = (1 << 63) - 1;
    for role in ROLES {
        for (frame_len_max, message_len_max) in
            [(1000, 1000), (u64::MAX, 1000), (u64::MAX, huge), (u64::MAX, u64::MAX - 1)]
        {
            let limits = limited(|config| {
                config.frame_len_max = frame_len_max;
                config.message_len_max = message_len_max;
            });
            let mut bench = Bench::open(role, limits);
            bench.receive_frames(&[binary(vec![7; 900]).more(), continuation("").promising(huge)]);
            let is_over = bench.connection.state() == ReadyState::Closing;
            assert_eq!(is_over, huge + 900 > message_len_max || huge > frame_len_max, "{role:?}");
            if is_over {
                assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1009);
            }
        }
        // Legal by both limits: it is only awaited.
        let limits = limited(|config| {
            config.frame_len_max = u64::MAX;
            config.message_len_max = u64::MAX;
        });
        let mut bench = Bench::open(role, limits);
        assert_eq!(bench.receive_frames(&[binary("").promising(huge)]), []);
        assert_eq!(bench.receive(&[0; 5000]), []);
        assert_eq!(bench.connection.state(), ReadyState::Open);
    }
}

#[test]
fn fragments_max_counts_empty_ones() {
    let limits = limited(|config| config.fragments_max = 5);
    let mut cases = Vec::new();
    for payload in ["", "a"] {
        for count in [4, 5, 6] {
            let frames: Vec<Frame> = (0..count)
                .map(|i| match i {
                    0 => text(payload).more(),
                    _ if i == count - 1 => continuation(payload),
                    _ => continuation(payload).more(),
                })
                .collect();
            let name = format!("{count} of 5, each {payload:?}");
            cases.push(match count {
                6 => Case::fails("7.4.1", name, &frames, &[], 1008).with(limits.clone()),
                _ => Case::passes("7.4.1", name, &frames, &[Seen::Text(payload.repeat(count))]).with(limits.clone()),
            });
        }
    }
    // Control frames are none of them, and each message has the whole limit for itself.
    let many_pings = [vec![text("").more()], vec![ping(""); 9], vec![continuation(""), text("a")]].concat();
    let events = [vec![Seen::Ping(vec![]); 9], vec![Seen::Text("".into()), Seen::Text("a".into())]].concat();
    cases.push(Case::passes("5.4", "pings between", &many_pings, &events).with(limits));
    check_all(&cases);
}

#[test]
fn an_honest_mebibyte_in_parts_of_a_kibibyte_passes() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        let mut frames = vec![binary(vec![7; 1024]).more(); 1];
        frames.extend(vec![continuation(vec![7; 1024]).more(); 1022]);
        frames.push(continuation(vec![7; 1024]));
        let seen = bench.receive_frames(&frames);
        assert!(seen == [b(1024 * 1024)], "{role:?}: {} events", seen.len());
    }
}

#[test]
fn a_send_is_taken_up_to_the_mark_and_the_room_for_control_frames() {
    for role in ROLES {
        let header = if role == Role::Client { 8 } else { 4 };
        for (waiting, expected) in [
            (1000 - 1, Ok(())),
            (1000, Ok(())),
            (1001, Ok(())),
            (1000 + CONTROL_ROOM, Ok(())),
            (
                1000 + CONTROL_ROOM + 1,
                Err(SendError::AboveHighWaterMark { buffered: 1000 + CONTROL_ROOM + 1, high_water_mark: 1000 }),
            ),
        ] {
            let sends: [Send; 8] = [
                |bench| bench.connection.send_text(bench.now, "a"),
                |bench| bench.connection.send_binary(bench.now, &[7; 100_000]),
                |bench| bench.connection.send_text_shared(bench.now, &"a".repeat(5000).into()),
                |bench| bench.connection.send_binary_shared(bench.now, &Bytes::from_static(b"a")),
                |bench| bench.connection.send(bench.now, &"a".into()),
                |bench| bench.connection.send_text_fragment(bench.now, "a", FragmentPosition::More),
                |bench| bench.connection.ping(bench.now, b""),
                |bench| bench.connection.pong(bench.now, b""),
            ];
            for send in sends {
                let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
                bench.connection.send_binary(bench.now, &vec![7; waiting - header]).unwrap();
                assert_eq!(bench.connection.buffered_len(), waiting);
                assert_eq!(send(&mut bench), expected, "{role:?}, {waiting} wait");
                if expected.is_err() {
                    assert_eq!(bench.connection.can_send(), expected);
                    assert_eq!(bench.connection.buffered_len(), waiting, "nothing has happened");
                    bench.connection.advance_outgoing(bench.now, 1);
                    assert_eq!(send(&mut bench), Ok(()), "one byte less");
                }
            }
        }
    }
}

/// Holds that decoding is paused or not, and that what was received comes as soon as `one` byte is written.
#[track_caller]
fn pauses(bench: &mut Bench, is_paused: bool) {
    let waiting = bench.connection.buffered_len();
    assert_eq!(bench.connection.is_paused(), is_paused, "{waiting} wait");
    assert_eq!(bench.connection.wants_read(), !is_paused, "{waiting} wait");
    let seen = bench.receive_frames(&[text("a")]);
    assert_eq!(seen.is_empty(), is_paused);
    if is_paused {
        // What was received stays, and comes as soon as there is room.
        assert!(!bench.buf.unread().is_empty());
        bench.connection.advance_outgoing(bench.now, 1);
        assert!(!bench.connection.wants_read(), "what was received before comes first");
        assert_eq!(bench.poll(), [Seen::Text("a".into())]);
        assert!(bench.connection.wants_read());
    }
}

#[test]
fn decoding_pauses_one_byte_above_the_mark() {
    for role in ROLES {
        let header = if role == Role::Client { 6 } else { 2 };
        for (waiting, is_paused) in [(999, false), (1000, false), (1001, true)] {
            let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
            // Pongs, which nobody ordered.
            let pings: Vec<Frame> = (0..7).map(|_| ping([7; 125])).collect();
            bench.receive_frames(&pings);
            bench.receive_frames(&[ping(vec![7; waiting - 7 * (125 + header) - header])]);
            assert_eq!(bench.connection.buffered_len(), waiting);
            pauses(&mut bench, is_paused);
        }
    }
}

/// A long message that was sent of one's own accord does not pause decoding; what is sent after the next event does.
#[test]
fn decoding_pauses_on_answers_above_a_long_message() {
    for role in ROLES {
        let header = if role == Role::Client { 8 } else { 4 };
        for (above, is_paused) in [(-1, false), (0, false), (1, true)] {
            let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
            bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
            assert_eq!(bench.receive_frames(&[text("question")]), [Seen::Text("question".into())]);
            bench.connection.send_binary(bench.now, &[7; 2000]).unwrap();
            assert!(matches!(bench.connection.can_send(), Err(SendError::AboveHighWaterMark { .. })), "one answer");
            assert_eq!(bench.poll(), []);
            assert!(bench.connection.can_send().is_err(), "that there is no event gives no room for an answer");
            let written = (2000 + header) as isize - above;
            bench.connection.advance_outgoing(bench.now, written as usize);
            pauses(&mut bench, is_paused);
        }
    }
}

/// Pongs do not pause decoding behind a long message before there are too many, and what is left of them counts when they leave one by one.
#[test]
fn as_many_pongs_as_may_wait_are_tolerated_behind_a_long_message() {
    for role in ROLES {
        let frame_len = 125 + if role == Role::Client { 6 } else { 2 };
        let limits = limited(|config| (config.high_water_mark, config.unsent_pongs_max) = (1000, 4));
        let mut bench = Bench::open(role, limits.clone());
        bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
        for number in 1..=4 {
            assert!(!bench.connection.is_paused(), "{role:?}, before ping {number}");
            bench.receive_frames(&[ping(vec![b'p'; 125])]);
        }
        assert!(bench.connection.is_paused(), "{role:?}, four pongs wait");

        let mut bench = Bench::open(role, limits);
        bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
        let message = bench.connection.buffered_len();
        for number in 1..=4 {
            bench.receive_frames(&[ping(vec![b'p'; 125])]);
            bench.connection.advance_outgoing(bench.now, 1);
            assert!(!bench.connection.is_paused(), "{role:?}, ping {number}: something was written");
        }
        // The bytes that have left are room, too, but for less than a pong.
        assert_eq!(bench.connection.buffered_len(), message + 4 * frame_len - 4);
        bench.receive_frames(&[ping(vec![b'p'; 125])]);
        assert!(bench.connection.is_paused(), "{role:?}, a fifth");
    }
}

#[test]
fn a_long_message_that_has_left_excuses_no_pongs() {
    for role in ROLES {
        let frame_len = 125 + if role == Role::Client { 6 } else { 2 };
        let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
        bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
        bench.flush();
        let pings = vec![ping(vec![b'p'; 125]); 30];
        assert_eq!(bench.receive_frames(&pings).len(), 1000 / frame_len + 1, "{role:?}");
        assert!(bench.connection.is_paused());
    }
}

#[test]
fn only_what_is_told_makes_room_for_an_answer() {
    for role in ROLES {
        let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
        bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
        let wire = wire_to(role, &[text("question")]);
        for byte in &wire[..wire.len() - 1] {
            assert_eq!(bench.receive(&[*byte]), []);
            assert!(bench.connection.can_send().is_err(), "{role:?}: nothing was asked yet");
        }
        assert_eq!(bench.receive(&wire[wire.len() - 1..]), [Seen::Text("question".into())]);
        assert!(bench.connection.can_send().is_ok());
    }
}

/// "After each event there is room for an answer": even when the event is the end of a frame that was under way.
#[test]
fn an_answer_to_each_event_always_fits() {
    for role in ROLES {
        for frames in
            [[text("abcdef"), text("b")], [text("abcdef").more(), continuation("b")], [ping("abcdef"), binary("b")]]
        {
            let wire = wire_to(role, &frames);
            for cut in 0..wire.len() {
                let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 1000));
                bench.receive(&wire[..cut]);
                bench.flush();
                bench.connection.send_binary(bench.now, &[7; 5000]).unwrap();
                bench.buf.extend_from_slice(&wire[cut..]);
                let mut answered = 0;
                loop {
                    while let Some(event) = bench.connection.poll_event(bench.now, &mut bench.buf) {
                        drop(event);
                        bench.connection.send_binary(bench.now, &[7; 2000]).expect("an answer fits");
                        answered += 1;
                    }
                    if bench.connection.outgoing().is_empty() {
                        break;
                    }
                    bench.connection.advance_outgoing(bench.now, 1000);
                }
                assert!(answered >= 1, "{role:?}, cut at {cut}");
            }
        }
    }
}

/// A ping's pong and a heartbeat come between the event and the answer to it.
#[test]
fn an_answer_fits_behind_the_pong_and_the_heartbeat() {
    for role in ROLES {
        let limits = limited(|config| {
            config.high_water_mark = 1000;
            config.ping_interval = Some(SEC);
        });
        let header = if role == Role::Client { 8 } else { 4 };
        let mut bench = Bench::open(role, limits);
        bench.connection.send_binary(bench.now, &vec![7; 1000 - header]).unwrap();
        bench.at(SEC);
        bench.connection.handle_timeout(bench.now);
        let heartbeat = bench.connection.buffered_len() - 1000;
        assert!(heartbeat <= 14);
        bench.connection.advance_outgoing(bench.now, heartbeat);
        assert_eq!(bench.connection.buffered_len(), 1000);
        let seen = bench.receive_frames(&[ping(vec![7; 125])]);
        assert_eq!(seen.len(), 1);
        bench.connection.send_binary(bench.now, &[7; 10_000]).expect("an answer fits");
    }
}

#[test]
fn unsent_pongs_max() {
    for role in ROLES {
        for max in [1, 2, 128] {
            let mut bench = Bench::open(role, limited(|config| config.unsent_pongs_max = max));
            let flood = vec![ping("x"); 3 * max as usize];
            assert_eq!(
                bench.receive_frames(&flood).len(),
                max as usize,
                "{role:?}: one pong is answered, then a pause"
            );
            assert!(bench.connection.is_paused() && !bench.connection.wants_read());
            // The transport takes some: that many again.
            assert_eq!(bench.poll(), []);
            bench.connection.advance_outgoing(bench.now, 1);
            assert_eq!(bench.poll().len(), max as usize, "{role:?}");
            bench.flush();
            assert_eq!(bench.poll().len(), max as usize);
            assert_eq!(bench.flush_frames().len(), max as usize);
            assert!(!bench.connection.is_paused());
        }
    }
}

/// Even where a limit of zero makes little sense, it must not stop a connection for good.
#[test]
fn limits_of_zero_refuse_or_count_as_one_and_never_hang() {
    for role in ROLES {
        let mut bench = Bench::open(role, limited(|config| config.unsent_pongs_max = 0));
        assert_eq!(bench.receive_frames(&[text("a")]), [Seen::Text("a".into())], "{role:?}: no pong is unsent");
        let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 0));
        assert_eq!(bench.receive_frames(&[text("a")]), [Seen::Text("a".into())]);
        let mut bench = Bench::open(role, limited(|config| config.fragments_max = 0));
        assert_eq!(bench.receive_frames(&[text("a")]), []);
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1008);
        let mut bench = Bench::open(role, limited(|config| config.message_len_max = 0));
        assert_eq!(bench.receive_frames(&[text(""), text("a")]), [Seen::Text(String::new())]);
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1009);
    }
}

#[test]
fn what_may_not_be_sent_is_refused_and_nothing_happens() {
    for role in ROLES {
        let mut bench = Bench::open(role, limited(|_| {}));
        let (connection, now) = (&mut bench.connection, bench.now);
        assert_eq!(connection.ping(now, &[0; 126]), Err(SendError::ControlTooLong(126)));
        assert_eq!(connection.pong(now, &[0; 126]), Err(SendError::ControlTooLong(126)));
        assert_eq!(connection.ping(now, &[0; 125]), Ok(()));
        for code in [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(connection.close(now, CloseCode(code), ""), Err(SendError::CloseCode(CloseCode(code))));
        }
        let too_long = SendError::CloseReasonTooLong { len: 124, max: 123 };
        assert_eq!(connection.close(now, CloseCode::NORMAL, &"x".repeat(124)), Err(too_long));
        let without_code = SendError::CloseReasonTooLong { len: 1, max: 0 };
        assert_eq!(connection.close(now, CloseCode::NO_STATUS_RECEIVED, "x"), Err(without_code));
        assert_eq!(connection.state(), ReadyState::Open);
        bench.flush();
        let (connection, now) = (&mut bench.connection, bench.now);

        connection.send_text_fragment(now, "a", FragmentPosition::More).unwrap();
        let waiting = connection.buffered_len();
        assert_eq!(connection.send_text(now, "b"), Err(SendError::MessageUnfinished));
        assert_eq!(connection.send_binary(now, b"b"), Err(SendError::MessageUnfinished));
        let kinds = SendError::FragmentKind { message: MessageKind::Text, given: MessageKind::Binary };
        assert_eq!(connection.send_binary_fragment(now, b"b", FragmentPosition::Last), Err(kinds));
        assert_eq!(connection.buffered_len(), waiting, "{role:?}: nothing has happened");
        connection.send_text_fragment(now, "b", FragmentPosition::Last).unwrap();
        connection.send_binary(now, b"c").unwrap();

        connection.close(now, CloseCode::NORMAL, &"x".repeat(123)).unwrap();
        let waiting = connection.buffered_len();
        assert_eq!(connection.send_text(now, "late"), Err(SendError::NotOpen(ReadyState::Closing)));
        assert_eq!(connection.ping(now, b"late"), Err(SendError::NotOpen(ReadyState::Closing)));
        assert_eq!(connection.close(now, CloseCode::NORMAL, "again"), Ok(()), "the first one stands");
        assert_eq!(connection.buffered_len(), waiting, "{role:?}");
        connection.abort();
        assert_eq!(connection.send_text(now, "late"), Err(SendError::NotOpen(ReadyState::Closed)));
    }
    let mut server = Bench::server(limited(|_| {}));
    let refused = SendError::NotOpen(ReadyState::Connecting);
    assert_eq!(server.connection.send_text(server.now, "early"), Err(refused));
    assert_eq!(server.connection.ping(server.now, b""), Err(refused));
}

#[test]
fn a_close_fits_whatever_else_waits() {
    for role in ROLES {
        let mut bench = Bench::open(role, limited(|config| config.high_water_mark = 10));
        bench.connection.send_binary(bench.now, &[7; 100_000]).unwrap();
        assert!(bench.connection.send_text(bench.now, "a").is_err());
        bench.connection.close(bench.now, CloseCode::NORMAL, "bye").unwrap();
        let sent = bench.flush_frames();
        assert_eq!(sent[1].as_close(), Some((1000, "bye".into())), "{role:?}");
    }
}

#[test]
fn a_large_shared_payload_waits_uncopied_at_a_server() {
    for (len, pieces) in [(4095, 1), (4096, 2), (4097, 2)] {
        let mut bench = Bench::open(Role::Server, limited(|_| {}));
        let payload = Bytes::from(vec![7; len]);
        bench.connection.send_binary_shared(bench.now, &payload).unwrap();
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        assert_eq!(bench.connection.outgoing_slices(&mut slices), pieces, "{len} bytes");
        assert_eq!(slices[pieces - 1].as_ptr() == payload.as_ptr(), pieces == 2);
        assert_eq!(bench.flush_frames()[0].payload, payload);
    }
}

#[test]
fn events_hold_the_limits_whichever_way_they_are_polled() {
    for role in ROLES {
        let mut bench = Bench::open(role, limited(|config| config.message_len_max = 10));
        bench.buf.extend_from_slice(&wire_to(role, &[binary(vec![7; 6]).more(), continuation(vec![7; 5])]));
        let first = bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf);
        assert!(matches!(first, Some(Event::BinaryPiece { bytes: &[7, 7, 7, 7, 7, 7], last: false })), "{role:?}");
        assert!(bench.connection.poll_event_in_pieces(bench.now, &mut bench.buf).is_none());
        assert_eq!(bench.flush_frames()[0].as_close().unwrap().0, 1009);
    }
}
