//! Openings, good and bad.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use sansocket_std::{
    AcceptError, Acceptance, Acceptor, CloseCause, ConnectError, Connector, Rejection, accept, connect,
};

use crate::support::{LIMIT, REQUEST, listen, within};

#[test]
fn a_refusal_has_its_status_fields_and_body() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let accepting = thread::spawn(move || {
            Acceptor::new().accept_with(listener.accept().unwrap().0, |request| {
                assert_eq!((request.path(), request.headers.get("x-token")), ("/chat", Some("7")));
                Err(Rejection::new(503).unwrap().header("Retry-After", "30").unwrap().body("come back later"))
            })
        });
        let connector = Connector::new(&format!("ws://{address}/chat")).unwrap().header("X-Token", "7").unwrap();
        let Err(ConnectError::Refused(refusal)) = connector.connect() else { panic!("not refused") };
        assert_eq!((refusal.status, refusal.headers.get("retry-after")), (503, Some("30")));
        assert_eq!(refusal.body, "come back later");
        assert!(matches!(accepting.join().unwrap(), Err(AcceptError::Rejected(503))));
        let error = ConnectError::Refused(refusal).to_string();
        assert_eq!(error, "the server refused the handshake with status 503; try again later");
    });
}

#[test]
fn the_subprotocol_is_agreed_on() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let accepting = thread::spawn(move || {
            Acceptor::new()
                .accept_with(listener.accept().unwrap().0, |_| Ok(Acceptance::new().subprotocol("chat.v1").unwrap()))
                .unwrap()
        });
        let connector = Connector::new(&format!("ws://{address}/")).unwrap();
        let client = connector.subprotocol("chat.v2").unwrap().subprotocol("chat.v1").unwrap().connect().unwrap();
        let server = accepting.join().unwrap();
        assert_eq!((client.subprotocol(), server.subprotocol()), (Some("chat.v1"), Some("chat.v1")));
    });
}

#[test]
fn an_answer_that_does_not_fit_is_500_for_the_client_and_an_error_here() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let accepting = thread::spawn(move || {
            Acceptor::new()
                .accept_with(listener.accept().unwrap().0, |_| Ok(Acceptance::new().subprotocol("chat").unwrap()))
        });
        let refused = connect(&format!("ws://{address}/"));
        assert!(matches!(refused, Err(ConnectError::Refused(refusal)) if refusal.status == 500));
        assert!(matches!(accepting.join().unwrap(), Err(AcceptError::Answer(_))));
    });
}

#[test]
fn a_faulty_request_is_answered_and_reported() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let accepting = thread::spawn(move || accept(listener.accept().unwrap().0));
        let mut raw = TcpStream::connect(address).unwrap();
        raw.write_all(REQUEST.replace("Version: 13", "Version: 8").as_bytes()).unwrap();
        let mut answer = String::new();
        raw.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        drop(raw);
        let error = accepting.join().unwrap().unwrap_err();
        assert!(
            matches!(&error, AcceptError::Handshake { closed, .. } if matches!(closed.cause, CloseCause::Request(_)))
        );
    });
}

#[test]
fn what_cannot_be_connected_to_says_what_to_do() {
    assert!(matches!(connect("http://localhost/"), Err(ConnectError::Request(_))));
    let (listener, address) = listen();
    drop(listener);
    let nobody = connect(&format!("ws://{address}/")).unwrap_err();
    assert!(matches!(nobody, ConnectError::Io { port, .. } if port == address.port()));
    let resolved = connect("ws://name.invalid/").unwrap_err();
    assert!(matches!(resolved, ConnectError::Resolve { .. }), "{resolved:?}");
}

#[test]
fn a_server_that_ends_the_stream_instead_is_reported() {
    within(LIMIT, || {
        let (listener, address) = listen();
        let ending = thread::spawn(move || drop(listener.accept().unwrap()));
        let connector = Connector::new(&format!("ws://{address}/")).unwrap();
        let error = connector.connect_timeout(Some(Duration::from_secs(5))).connect().unwrap_err();
        assert!(matches!(error, ConnectError::Handshake { .. }), "{error:?}");
        ending.join().unwrap();
    });
}
