//! Messages in pieces, beside whole ones.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use sansocket_std::{CloseCode, Config, Error, Message, MessageKind};

use crate::support::{LIMIT, Socket, client_of_raw, pair, pair_with, within};

#[test]
fn a_message_is_read_and_written_as_a_byte_stream() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let serving = thread::spawn(move || {
            // Echoes each message while it arrives, by a sender of its own.
            let sender = server.sender();
            while let Some(mut reader) = server.recv_pieces().unwrap() {
                let mut writer = sender.send_pieces(reader.kind());
                io::copy(&mut reader, &mut writer).unwrap();
                writer.finish().unwrap();
            }
        });
        let lines: Vec<String> = (0..500).map(|n| format!("Zeile {n}: äöü€😀")).collect();
        client.send(lines.join("\n")).unwrap();
        let reader = client.recv_pieces().unwrap().unwrap();
        assert_eq!(reader.kind(), MessageKind::Text);
        assert_eq!(reader.lines().map(Result::unwrap).collect::<Vec<_>>(), lines);

        let mut writer = client.send_pieces(MessageKind::Binary);
        writer.write_all(&[7; 1_000_000]).unwrap();
        writer.finish().unwrap();
        writer.finish().unwrap(); // Does nothing.
        assert!(matches!(writer.send_piece("more"), Err(Error::MessageFinished)));
        drop(writer);
        let mut bytes = Vec::new();
        client.recv_pieces().unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes == [7; 1_000_000]);

        client.send_pieces(MessageKind::Text).finish().unwrap();
        assert_eq!(client.recv().unwrap(), Some("".into()));
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

/// Longer than the owner may hold: so it is not held.
#[test]
fn a_message_of_any_length_passes() {
    within(LIMIT, || {
        let mut config = Config::default();
        (config.message_len_max, config.frame_len_max) = (u64::MAX, u64::MAX);
        let (mut client, mut server) = pair_with(Config::default(), config);
        let sending = thread::spawn(move || {
            let mut writer = client.send_pieces(MessageKind::Binary);
            for _ in 0..300 {
                writer.send_piece([7; 100_000]).unwrap();
            }
            writer.finish().unwrap();
            drop(writer);
            assert_eq!(client.recv().unwrap(), None);
        });
        let mut reader = server.recv_pieces().unwrap().unwrap();
        let (mut len, mut longest) = (0, 0);
        while let Some(piece) = reader.recv_piece().unwrap() {
            len += piece.len();
            longest = longest.max(piece.len());
        }
        assert_eq!(len, 30_000_000);
        assert!(longest <= 64 * 1024, "a piece of {longest} bytes");
        assert!(server.close(CloseCode::NORMAL, "").unwrap().clean);
        sending.join().unwrap();
    });
}

#[test]
fn text_may_be_sent_cut_anywhere_and_is_received_in_whole_code_points() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let text = "aä€😀".repeat(50);
        let mut writer = client.send_pieces(MessageKind::Text);
        for byte in text.bytes() {
            writer.send_piece([byte]).unwrap();
        }
        assert_eq!(writer.write(b"\xff").unwrap_err().kind(), io::ErrorKind::InvalidData);
        writer.finish().unwrap();
        let mut reader = server.recv_pieces().unwrap().unwrap();
        let mut received = String::new();
        while let Some(piece) = reader.recv_piece().unwrap() {
            received.push_str(str::from_utf8(&piece).unwrap());
        }
        assert_eq!(received, text);
    });
}

#[test]
fn what_a_reader_leaves_is_discarded_and_the_next_receive_gets_the_next_message() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let sending = thread::spawn(move || {
            for n in 0..3 {
                client.send(vec![n; 200_000]).unwrap();
                client.send(format!("message {n}")).unwrap();
            }
            client
        });
        let take_a_bit = |server: &mut Socket, n: u8| {
            let mut reader = server.recv_pieces().unwrap().unwrap();
            assert_eq!(reader.recv_piece().unwrap().unwrap()[0], n);
        };
        take_a_bit(&mut server, 0);
        assert_eq!(server.recv().unwrap(), Some("message 0".into()));
        take_a_bit(&mut server, 1);
        let mut text = String::new();
        server.recv_pieces().unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "message 1");
        take_a_bit(&mut server, 2);
        assert_eq!(server.messages().next().unwrap().unwrap(), "message 2".into());
        drop(sending.join().unwrap());
        assert!(server.recv_pieces().is_err(), "it was just dropped");
    });
}

/// What was read while a send was stalled is received first, in pieces like the rest.
#[test]
fn messages_that_were_kept_come_first() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let other = thread::spawn(move || {
            server.send("kept").unwrap();
            server.send(vec![2; 8_000_000]).unwrap();
            server.recv().unwrap().unwrap().as_bytes().len()
        });
        client.send(vec![1; 8_000_000]).unwrap();
        let mut text = String::new();
        client.recv_pieces().unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "kept");
        let mut bytes = Vec::new();
        client.recv_pieces().unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.len(), other.join().unwrap()), (8_000_000, 8_000_000));
    });
}

/// However the connection ends: what is incomplete never looks complete.
#[test]
fn a_message_that_breaks_off_is_an_error() {
    within(LIMIT, || {
        // Half a frame; a fragment; a fragment and a Close.
        for (wire, clean) in [
            (&b"\x82\x0501234"[..6], false),
            (b"\x02\x0401234"[..6].as_ref(), false),
            (b"\x02\x040123\x88\x02\x03\xe8", true),
        ] {
            let (mut client, mut raw) = client_of_raw(Config::default());
            raw.write_all(wire).unwrap();
            raw.shutdown(Shutdown::Write).unwrap();
            let mut reader = client.recv_pieces().unwrap().unwrap();
            assert_eq!(reader.recv_piece().unwrap().unwrap(), "0123");
            for _ in 0..2 {
                let error = reader.recv_piece().unwrap_err();
                assert_eq!(error.closed().unwrap().clean, clean, "{error}");
            }
            assert_eq!(reader.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            drop(reader);
            assert_eq!(client.recv().is_ok(), clean, "as ever");
        }
    });
}

#[test]
fn a_writer_that_is_dropped_in_the_middle_closes_the_connection() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        client.send_pieces(MessageKind::Text).send_piece("").unwrap(); // Nothing has begun.
        client.send("first").unwrap();
        let sender = client.sender();
        let mut writer = client.send_pieces(MessageKind::Text);
        writer.send_piece("never ").unwrap();
        let waiting = thread::spawn(move || sender.send("another"));
        thread::sleep(Duration::from_millis(50));
        drop(writer);
        assert!(waiting.join().unwrap().is_err(), "who waited for it is told");
        let serving = thread::spawn(move || {
            assert_eq!(server.recv().unwrap(), Some("first".into()));
            assert_eq!(server.recv().unwrap(), None);
            server.closed().unwrap().code
        });
        assert_eq!(client.recv().unwrap(), None);
        assert_eq!(serving.join().unwrap(), CloseCode::INTERNAL_ERROR);
    });
}

/// Fragments of different messages are never mixed: the peer would fail the connection, or get the wrong bytes.
#[test]
fn messages_of_many_senders_are_not_mixed() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let threads: Vec<_> = (1..5_u8)
            .map(|id| {
                let sender = client.sender();
                thread::spawn(move || {
                    for _ in 0..100 {
                        if id % 2 == 0 {
                            sender.send(vec![id; 500]).unwrap();
                            continue;
                        }
                        let mut writer = sender.send_pieces(MessageKind::Binary);
                        for _ in 0..10 {
                            writer.send_piece([id; 50]).unwrap();
                            sender.ping(b"between").unwrap();
                        }
                        writer.finish().unwrap();
                    }
                })
            })
            .collect();
        let serving = thread::spawn(move || {
            let mut counts = [0; 5];
            for _ in 0..500 {
                let message = server.recv().unwrap().unwrap().into_bytes();
                assert!(message.len() == 500 && message.iter().all(|byte| *byte == message[0]));
                counts[usize::from(message[0])] += 1;
            }
            assert_eq!(counts, [100; 5]);
            // Not before all of them have been told that theirs has left.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(server.close(CloseCode::NORMAL, "").unwrap().clean);
        });
        // The owner, too, waits for its turn.
        for _ in 0..100 {
            client.send(Message::from(vec![0; 500])).unwrap();
        }
        assert_eq!(client.recv().unwrap(), None);
        serving.join().unwrap();
    });
}
