//! Deadlines fire while a call waits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use sansocket_std::sansocket::Deadline;
use sansocket_std::{
    AcceptError, Acceptor, CloseCause, CloseCode, Config, ConnectError, Connector, Error, Locked, Message, Side,
};

use crate::support::{LIMIT, REQUEST, client_of_raw, listen, masked, pair_with, read_head, server_of_raw, within};

const SHORT: Option<Duration> = Some(Duration::from_millis(60));

fn deadline_of(error: &Error) -> Deadline {
    match error.closed().map(|closed| closed.cause) {
        Some(CloseCause::Deadline(deadline)) => deadline,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mute_peer_is_noticed_by_the_heartbeat() {
    within(LIMIT, || {
        let mut config = Config::default();
        (config.ping_interval, config.pong_timeout) = (SHORT, SHORT);
        let begun = Instant::now();
        let (mut client, mut raw) = client_of_raw(config);
        let error = client.recv().unwrap_err();
        assert_eq!(deadline_of(&error), Deadline::Pong);
        assert!(begun.elapsed() >= 2 * SHORT.unwrap(), "{:?}", begun.elapsed());
        let mut sent = Vec::new();
        raw.read_to_end(&mut sent).unwrap();
        assert_eq!(sent[0], 0x89, "a ping");
    });
}

#[test]
fn the_heartbeat_keeps_a_silent_connection_and_measures_it() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.ping_interval = Some(Duration::from_millis(20));
        config.pong_timeout = Some(Duration::from_secs(10));
        let (mut client, mut server) = pair_with(config, Config::default());
        let serving = thread::spawn(move || {
            // The server answers pings while it waits for a message that comes late.
            assert_eq!(server.recv().unwrap(), Some("late".into()));
            server.recv().unwrap()
        });
        let sender = client.sender();
        let receiving = thread::spawn(move || {
            assert_eq!(client.recv().unwrap(), None);
            client.rtt()
        });
        while sender.with_connection(|connection, _| connection.rtt()).is_none() {
            thread::sleep(Duration::from_millis(10));
        }
        sender.send_text("late").unwrap();
        sender.close(CloseCode::NORMAL, "").unwrap();
        assert!(receiving.join().unwrap().is_some(), "no heartbeat was answered");
        assert_eq!(serving.join().unwrap(), None);
    });
}

#[test]
fn silence_ends_by_the_idle_deadline() {
    within(LIMIT, || {
        let mut config = Config::default();
        (config.ping_interval, config.idle_timeout, config.close_timeout) = (None, SHORT, SHORT);
        let (mut client, _raw) = client_of_raw(config);
        assert_eq!(deadline_of(&client.recv().unwrap_err()), Deadline::Idle);
    });
}

#[test]
fn a_message_that_never_ends_is_cut_off_however_it_drips() {
    within(LIMIT, || {
        let mut config = Config::default();
        (config.message_timeout, config.close_timeout) = (SHORT, SHORT);
        let (mut server, mut raw) = server_of_raw(config);
        let dripping = thread::spawn(move || {
            raw.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0]).unwrap();
            while raw.write_all(&[0]).is_ok() {}
        });
        assert_eq!(deadline_of(&server.recv().unwrap_err()), Deadline::Message);
        drop(server);
        dripping.join().unwrap();
    });
}

/// Nobody knows whether a read from it has brought all there is.
#[test]
fn so_it_is_on_a_stream_behind_a_lock() {
    within(LIMIT, || {
        let mut config = Config::default();
        (config.message_timeout, config.close_timeout) = (SHORT, SHORT);
        let (listener, address) = listen();
        let accepting = thread::spawn(move || {
            let tcp = listener.accept().unwrap().0;
            Acceptor::new().config(config).accept(Locked::new(tcp.try_clone().unwrap(), tcp)).unwrap()
        });
        let mut raw = TcpStream::connect(address).unwrap();
        raw.write_all(REQUEST.as_bytes()).unwrap();
        read_head(&mut raw);
        let mut server = accepting.join().unwrap();
        let dripping = thread::spawn(move || {
            raw.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0]).unwrap();
            while raw.write_all(&[0]).is_ok() {}
        });
        assert_eq!(deadline_of(&server.recv().unwrap_err()), Deadline::Message);
        drop(server);
        dripping.join().unwrap();
    });
}

#[test]
fn a_close_that_is_not_answered_ends_by_the_close_deadline() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.close_timeout = SHORT;
        let (mut client, _raw) = client_of_raw(config.clone());
        let error = client.close(CloseCode::NORMAL, "").unwrap_err();
        assert_eq!(deadline_of(&error), Deadline::Close);
        assert_eq!(error.closed().unwrap().by, Side::Local);

        // And when a sender begins it while the owner waits already.
        let (mut client, _raw) = client_of_raw(config);
        let sender = client.sender();
        let receiving = thread::spawn(move || client.recv().unwrap_err());
        sender.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(deadline_of(&receiving.join().unwrap()), Deadline::Close);
    });
}

#[test]
fn a_peer_that_floods_cannot_put_the_close_deadline_off() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.close_timeout = SHORT;
        let (mut server, mut raw) = server_of_raw(config);
        let flooding = thread::spawn(move || {
            let flood = masked(0x82, &[0; 100]).repeat(1000);
            while raw.write_all(&flood).is_ok() {}
        });
        assert_eq!(deadline_of(&server.close(CloseCode::NORMAL, "").unwrap_err()), Deadline::Close);
        drop(server);
        flooding.join().unwrap();
    });
}

#[test]
fn a_server_waits_for_a_request_only_so_long() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.handshake_timeout = SHORT;
        let (listener, address) = listen();
        let accepting = thread::spawn(move || Acceptor::new().config(config).accept(listener.accept().unwrap().0));
        let mut raw = TcpStream::connect(address).unwrap();
        raw.write_all(&REQUEST.as_bytes()[..40]).unwrap();
        let mut answer = String::new();
        raw.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        drop(raw);
        match accepting.join().unwrap() {
            Err(AcceptError::Handshake { closed, .. }) => {
                assert_eq!(closed.cause, CloseCause::Deadline(Deadline::Handshake));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_client_waits_for_an_answer_only_so_long() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.handshake_timeout = SHORT;
        let (listener, address) = listen();
        let connected = Connector::new(&format!("ws://{address}/")).unwrap().config(config).connect();
        match connected {
            Err(ConnectError::Handshake { closed, .. }) => {
                assert_eq!(closed.cause, CloseCause::Deadline(Deadline::Handshake));
            }
            other => panic!("{other:?}"),
        }
        drop(listener);
    });
}

#[test]
fn a_peer_that_reads_nothing_ends_by_the_write_deadline() {
    within(LIMIT, || {
        let mut config = Config::default();
        config.write_timeout = Some(Duration::from_millis(200));
        let (mut client, _raw) = client_of_raw(config.clone());
        let error = client.send(vec![0; 16 << 20]).unwrap_err();
        assert_eq!(deadline_of(&error), Deadline::Write);

        // A sender notices it alone, with nobody receiving.
        let (client, _raw) = client_of_raw(config.clone());
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let sender = client.sender();
                thread::spawn(move || {
                    loop {
                        if let Err(error) = sender.send(vec![0; 100_000]) {
                            return error;
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            assert_eq!(deadline_of(&sender.join().unwrap()), Deadline::Write);
        }

        // An echo that is stalled stops reading, and ends so, too: what it holds is bounded.
        config.message_len_max = 1 << 20;
        let (mut server, mut raw) = server_of_raw(config);
        let flooding = thread::spawn(move || {
            let flood = masked(0x82, &[0; 100]).repeat(1000);
            let mut sent = 0;
            while raw.write_all(&flood).is_ok() {
                sent += flood.len();
            }
            sent
        });
        let error = loop {
            match server.recv() {
                Ok(message) => server.feed(message.unwrap()).unwrap_or_default(),
                Err(error) => break error,
            }
        };
        assert_eq!(deadline_of(&error), Deadline::Write);
        let held = server.with_connection(|connection, _| connection.buffered_len());
        assert!(held <= 200_000, "{held} bytes wait");
        drop(server);
        flooding.join().unwrap();
    });
}

#[test]
fn a_flood_of_pings_is_answered_without_a_message() {
    within(LIMIT, || {
        let (mut server, mut raw) = server_of_raw(Config::default());
        let mut pings = masked(0x89, b"x").repeat(1000);
        pings.extend(masked(0x81, b"done"));
        raw.write_all(&pings).unwrap();
        assert_eq!(server.recv().unwrap(), Some(Message::from("done")));
        let mut pongs = vec![0; 3000];
        raw.read_exact(&mut pongs).unwrap();
        assert_eq!(pongs, b"\x8a\x01x".repeat(1000));
    });
}
