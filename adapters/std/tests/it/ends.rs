//! How a connection ends, and what each side is told.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;

use sansocket_std::{CloseCause, CloseCode, Config, Error, Side};

use crate::support::{LIMIT, client_of_raw, masked, pair, server_of_raw, within};

#[test]
fn either_side_may_close_and_both_are_told_the_same() {
    within(LIMIT, || {
        for server_closes in [false, true] {
            let (client, server) = pair();
            let (mut closer, mut other) = if server_closes { (server, client) } else { (client, server) };
            let waiting = thread::spawn(move || {
                assert_eq!(other.recv().unwrap(), None);
                assert_eq!(other.recv().unwrap(), None, "and again");
                other.closed().cloned().unwrap()
            });
            let closed = closer.close(CloseCode(4000), "that is all").unwrap();
            assert_eq!((closed.by, closed.code, closed.clean), (Side::Local, CloseCode(4000), true));
            let closed = waiting.join().unwrap();
            assert_eq!((closed.by, closed.code, closed.clean), (Side::Remote, CloseCode(4000), true));
            assert_eq!(closed.reason, "that is all");
            assert!(closer.close(CloseCode::NORMAL, "").unwrap().clean, "closing twice is fine");
            assert!(matches!(closer.send_text("late"), Err(Error::Closed { .. })));
        }
    });
}

#[test]
fn what_was_on_its_way_is_received_after_the_close_began() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        server.send_text("on its way").unwrap();
        client.start_close(CloseCode::NORMAL, "").unwrap();
        assert!(matches!(client.send_text("late"), Err(Error::Send(_))));
        assert_eq!(client.recv().unwrap(), Some("on its way".into()));
        let serving = thread::spawn(move || server.recv().unwrap());
        assert_eq!(client.recv().unwrap(), None);
        assert_eq!(serving.join().unwrap(), None);
    });
}

#[test]
fn a_sender_may_close_while_the_owner_waits() {
    within(LIMIT, || {
        let (mut client, mut server) = pair();
        let sender = client.sender();
        let serving = thread::spawn(move || server.recv().unwrap());
        let receiving = thread::spawn(move || client.recv().unwrap());
        sender.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!((serving.join().unwrap(), receiving.join().unwrap()), (None, None));
        sender.close(CloseCode::NORMAL, "").unwrap();
        assert!(matches!(sender.send_text("late"), Err(Error::Closed { .. })));
    });
}

#[test]
fn a_code_that_may_not_be_sent_changes_nothing() {
    let (mut client, _server) = pair();
    assert!(matches!(client.close(CloseCode::ABNORMAL, ""), Err(Error::Send(_))));
    assert!(matches!(client.close(CloseCode::NORMAL, &"x".repeat(124)), Err(Error::Send(_))));
    client.send_text("still open").unwrap();
}

#[test]
fn an_end_without_a_close_frame_is_an_error_after_what_came_before() {
    within(LIMIT, || {
        let (mut server, mut raw) = server_of_raw(Config::default());
        raw.write_all(&masked(0x81, b"hi")).unwrap();
        raw.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.recv().unwrap(), Some("hi".into()));
        for _ in 0..2 {
            let error = server.recv().unwrap_err();
            let closed = error.closed().unwrap();
            assert_eq!(closed.cause, CloseCause::EndOfStream);
            assert_eq!((closed.by, closed.code, closed.clean), (Side::Remote, CloseCode::ABNORMAL, false));
        }
    });
}

#[test]
fn a_reset_is_an_error_with_what_the_system_said() {
    within(LIMIT, || {
        let (mut client, mut raw) = client_of_raw(Config::default());
        client.send_text("never read").unwrap();
        // Closed with something unread, a socket resets.
        raw.read_exact(&mut [0]).unwrap();
        drop(raw);
        let error = client.recv().unwrap_err();
        assert_eq!(error.closed().unwrap().cause, CloseCause::TransportFailed, "{error}");
        assert_eq!(client.transport_error().unwrap().kind(), std::io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("reset"), "{error}");
        assert!(client.send_text("late").is_err());
    });
}

#[test]
fn a_write_that_fails_does_not_hide_what_arrived_before() {
    within(LIMIT, || {
        let (mut client, mut raw) = client_of_raw(Config::default());
        raw.write_all(b"\x81\x04last").unwrap();
        raw.shutdown(Shutdown::Both).unwrap();
        drop(raw);
        // The first write is answered by a reset, a later one fails.
        while client.send(vec![0; 100_000]).is_ok() {}
        assert_eq!(client.recv().unwrap(), Some("last".into()));
        let error = client.recv().unwrap_err();
        assert_eq!(error.closed().unwrap().by, Side::Remote);
    });
}

#[test]
fn dropping_the_owner_ends_the_senders_and_the_peer() {
    within(LIMIT, || {
        let (client, mut server) = pair();
        let sender = client.sender();
        drop(client);
        assert!(
            matches!(sender.send_text("late"), Err(Error::Closed { closed, .. }) if closed.cause == CloseCause::Aborted)
        );
        assert!(server.recv().is_err());
    });
}

#[test]
fn a_broken_rule_ends_with_its_code_and_a_report() {
    within(LIMIT, || {
        let (mut server, mut raw) = server_of_raw(Config::default());
        raw.write_all(b"\x81\x02hi").unwrap();
        let closing = thread::spawn(move || {
            let mut rest = Vec::new();
            raw.read_to_end(&mut rest).unwrap();
            rest
        });
        let error = server.recv().unwrap_err();
        assert_eq!(error.closed().unwrap().code, CloseCode::PROTOCOL_ERROR, "{error}");
        assert!(error.to_string().contains("not masked"), "{error}");
        assert_eq!(closing.join().unwrap()[2..4], 1002_u16.to_be_bytes());
    });
}
