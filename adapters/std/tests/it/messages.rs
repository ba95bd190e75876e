//! Messages get there, whole and in order.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use sansocket_std::{Acceptor, CloseCode, Config, Connector, Locked, Message, ReadyState};

use crate::support::{LIMIT, echo, listen, pair, pair_with, server_of_raw, within};

#[test]
fn messages_of_any_size_come_back_as_they_went() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let serving = thread::spawn(move || {
            echo(&mut server);
            server.closed().cloned()
        });
        let pattern = |len: usize| (0..len).map(|i| (i % 251) as u8).collect::<Vec<u8>>();
        for len in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20] {
            client.send(pattern(len)).unwrap();
            assert_eq!(client.recv().unwrap(), Some(Message::from(pattern(len))), "{len} bytes");
        }
        for text in ["", "hello", "p\u{e2}t\u{e9} \u{1f600}"] {
            client.send_text(text).unwrap();
            assert_eq!(client.recv().unwrap(), Some(Message::from(text)));
        }
        client.send_binary(b"bytes").unwrap();
        assert_eq!(client.recv().unwrap(), Some(Message::from(&b"bytes"[..])));
        let closed = client.close(CloseCode::NORMAL, "done").unwrap();
        assert!(closed.clean);
        assert_eq!(serving.join().unwrap().map(|closed| closed.reason), Some("done".into()));
    });
}

#[test]
fn both_ends_may_write_much_at_once_without_reading() {
    let took = within(LIMIT, || {
        let (client, server) = pair();
        let ends = [client, server].map(|mut end| {
            thread::spawn(move || {
                for i in 0..10_u8 {
                    end.send(vec![i; 1_000_000]).unwrap();
                }
                for i in 0..10_u8 {
                    assert_eq!(end.recv().unwrap(), Some(Message::from(vec![i; 1_000_000])));
                }
                end
            })
        });
        let [mut client, mut server] = ends.map(|end| end.join().unwrap());
        assert_eq!((client.state(), server.state()), (ReadyState::Open, ReadyState::Open));
        let closing = thread::spawn(move || server.recv().unwrap());
        client.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(closing.join().unwrap(), None);
    });
    // Far less than the write deadline would take.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn both_ends_may_write_one_large_message_at_once() {
    within(LIMIT, || {
        let (client, server) = pair();
        let ends = [client, server].map(|mut end| {
            thread::spawn(move || {
                end.send(vec![7; 10_000_000]).unwrap();
                assert_eq!(end.recv().unwrap().unwrap().as_bytes().len(), 10_000_000);
                end
            })
        });
        for end in ends {
            end.join().unwrap();
        }
    });
}

#[test]
fn a_client_that_only_feeds_and_a_server_that_echoes_do_not_block_each_other() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let serving = thread::spawn(move || echo(&mut server));
        for i in 0..200_u32 {
            client.feed([&i.to_be_bytes()[..], &[0; 50_000]].concat()).unwrap();
        }
        for i in 0..200_u32 {
            assert!(client.recv().unwrap().unwrap().as_bytes().starts_with(&i.to_be_bytes()));
        }
        client.close(CloseCode::NORMAL, "").unwrap();
        serving.join().unwrap();
    });
}

#[test]
fn senders_on_four_threads_keep_their_own_order_while_the_owner_receives() {
    within(LIMIT, || {
        const COUNT: u32 = 5_000;
        let (mut client, mut server) = pair();
        let serving = thread::spawn(move || echo(&mut server));
        let senders: Vec<_> = (0..4_u32)
            .map(|thread| {
                let sender = client.sender();
                thread::spawn(move || {
                    for i in 0..COUNT {
                        let len = if i % 1000 == 0 { 100_000 } else { 20 };
                        let mut payload = vec![0; len];
                        payload[..4].copy_from_slice(&thread.to_be_bytes());
                        payload[4..8].copy_from_slice(&i.to_be_bytes());
                        if i % 50 == 0 {
                            sender.ping(b"between").unwrap();
                        }
                        sender.send_binary(&payload).unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0_u32; 4];
        for _ in 0..4 * COUNT {
            let message = client.recv().unwrap().unwrap();
            let (thread, rest) = message.as_bytes().split_first_chunk().unwrap();
            let (i, _) = rest.split_first_chunk().unwrap();
            let next = &mut next[u32::from_be_bytes(*thread) as usize];
            assert_eq!(u32::from_be_bytes(*i), *next);
            *next += 1;
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(next, [COUNT; 4]);
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

#[test]
fn owner_and_senders_may_all_send() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let sender = client.sender();
        let other = thread::spawn(move || (0..2_000).try_for_each(|_| sender.send_text("other")));
        let receiving = thread::spawn(move || server.messages().map(Result::unwrap).count());
        for _ in 0..2_000 {
            client.send_text("owner").unwrap();
        }
        other.join().unwrap().unwrap();
        client.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(receiving.join().unwrap(), 4_000);
    });
}

/// The sender's message is above the mark, and the peer reads nothing before it is read itself.
#[test]
fn an_owner_that_waits_for_room_reads_while_another_thread_is_stuck_in_its_write() {
    const LEN: usize = 12 * 1024 * 1024;
    within(LIMIT, || {
        let mut config = Config::default();
        config.write_timeout = Some(Duration::from_secs(20));
        let (mut server, mut raw) = server_of_raw(config);
        let peer = thread::spawn(move || {
            raw.write_all(&[&[0x82, 0xFF][..], &(LEN as u64).to_be_bytes(), &[0; 4], &vec![7; LEN]].concat()).unwrap();
            let mut received = vec![0; 10 + LEN + 3];
            raw.read_exact(&mut received).unwrap();
            received.split_off(10 + LEN)
        });
        let sender = server.sender();
        let sending = thread::spawn(move || sender.send(vec![0; LEN]));
        while server.with_connection(|connection, _| connection.buffered_len()) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        server.send_text("x").unwrap();
        sending.join().unwrap().unwrap();
        assert_eq!(peer.join().unwrap(), b"\x81\x01x");
        assert_eq!(server.recv().unwrap(), Some(vec![7; LEN].into()));
    });
}

#[test]
fn the_iterator_ends_with_the_connection_and_a_failure_is_its_last_item() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        client.feed("a").unwrap();
        client.feed("b").unwrap();
        client.start_close(CloseCode::NORMAL, "").unwrap();
        let receiving = thread::spawn(move || server.messages().collect::<Result<Vec<_>, _>>());
        assert!(client.messages().next().is_none());
        assert_eq!(receiving.join().unwrap().unwrap(), [Message::from("a"), Message::from("b")]);

        let (mut client, server) = pair();
        drop(server);
        let mut messages = client.messages();
        assert!(messages.next().unwrap().is_err());
        assert!(messages.next().is_none());
    });
}

#[test]
fn a_connection_taken_apart_goes_on_without_losing_a_byte() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        for text in ["a", "b", "c"] {
            client.feed(text).unwrap();
        }
        client.flush().unwrap();
        assert_eq!(server.recv().unwrap(), Some("a".into()));
        let sender = server.sender();
        let mut server = server.into_parts().expect_err("there is a sender");
        drop(sender);
        server.feed("unsent").unwrap();
        let parts = server.into_parts().unwrap();
        assert!(!parts.buf.is_empty(), "one write came in one read");
        let mut server = sansocket_std::WebSocket::from_parts(parts);
        assert_eq!(server.recv().unwrap(), Some("b".into()));
        assert_eq!(server.recv().unwrap(), Some("c".into()));
        let serving = thread::spawn(move || echo(&mut server));
        assert_eq!(client.recv().unwrap(), Some("unsent".into()));
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

#[test]
fn messages_kept_during_a_stalled_send_survive_being_taken_apart() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        // More than the socket holds: the server has to read in between, and keeps what it finds.
        let sending = thread::spawn(move || {
            client.send_text("kept").unwrap();
            client.send(vec![0; 12_000_000]).unwrap();
            while client.recv().unwrap().is_some_and(|message| message.as_bytes() != b"last") {}
            client
        });
        server.send(vec![0; 12_000_000]).unwrap();
        server.send_text("last").unwrap();
        let parts = server.into_parts().unwrap();
        let mut server = sansocket_std::WebSocket::from_parts(parts);
        assert_eq!(server.recv().unwrap(), Some("kept".into()));
        assert_eq!(server.recv().unwrap().unwrap().as_bytes().len(), 12_000_000);
        sending.join().unwrap();
    });
}

#[test]
fn the_core_is_within_reach() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        client
            .with_connection(|connection, now| {
                use sansocket_std::sansocket::FragmentPosition::{Last, More};
                connection.send_text_fragment(now, "in ", More)?;
                connection.send_text_fragment(now, "two", Last)
            })
            .unwrap();
        assert_eq!(server.recv().unwrap(), Some("in two".into()));
    });
}

#[test]
fn a_message_above_the_limit_closes_with_1009() {
    within(LIMIT, || {
        let mut small = Config::default();
        small.message_len_max = 1000;
        let (mut client, mut server) = pair_with(Config::default(), small);
        client.send(vec![0; 1000]).unwrap();
        assert!(server.recv().unwrap().is_some());
        client.send(vec![0; 1001]).unwrap();
        let serving = thread::spawn(move || server.recv().unwrap_err().closed().cloned().unwrap());
        client.recv().unwrap();
        assert_eq!(serving.join().unwrap().code, CloseCode::MESSAGE_TOO_BIG);
        assert_eq!(client.closed().unwrap().code, CloseCode::MESSAGE_TOO_BIG);
    });
}

#[cfg(unix)]
#[test]
fn unix_sockets_carry_it_too() {
    within(LIMIT, || {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        let serving = thread::spawn(move || echo(&mut sansocket_std::Acceptor::new().accept(b).unwrap()));
        let mut client = sansocket_std::Connector::new("ws://localhost/").unwrap().handshake(a).unwrap();
        client.send(vec![1; 3_000_000]).unwrap();
        assert_eq!(client.recv().unwrap(), Some(vec![1; 3_000_000].into()));
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}

/// A stream that can only do one thing at a time, and that holds back what it was given until it is flushed.
struct OneAtATime {
    reader: std::net::TcpStream,
    writer: std::io::BufWriter<std::net::TcpStream>,
}

impl std::io::Read for OneAtATime {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buf)
    }
}

impl std::io::Write for OneAtATime {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.writer.write(&buf[..buf.len().min(5000)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

#[test]
fn a_stream_behind_a_lock_serves_a_sender_while_the_owner_waits() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let lock = |tcp: std::net::TcpStream| {
            let stream = OneAtATime {
                reader: tcp.try_clone().unwrap(),
                writer: std::io::BufWriter::new(tcp.try_clone().unwrap()),
            };
            Locked::new(stream, tcp)
        };
        let serving = thread::spawn(move || {
            let mut server = Acceptor::new().accept(lock(listener.accept().unwrap().0)).unwrap();
            echo(&mut server);
        });
        let tcp = std::net::TcpStream::connect(address).unwrap();
        let mut client = Connector::new("wss://localhost/").unwrap().handshake(lock(tcp)).unwrap();
        let sender = client.sender();
        let sending = thread::spawn(move || {
            for len in [0, 1, 10_000, 3_000_000, 7] {
                sender.send(vec![5; len]).unwrap();
            }
        });
        for len in [0, 1, 10_000, 3_000_000, 7] {
            assert_eq!(client.recv().unwrap(), Some(vec![5; len].into()));
        }
        sending.join().unwrap();
        client.send(vec![6; 10_000_000]).unwrap();
        assert_eq!(client.recv().unwrap().unwrap().as_bytes().len(), 10_000_000);
        assert!(client.close(CloseCode::NORMAL, "").unwrap().clean);
        serving.join().unwrap();
    });
}
