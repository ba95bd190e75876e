//! The opening handshake of a connection, at both ends: what is answered on the wire, what is reported, what is refused.
//! RFC 6455 section 4. The rules themselves are tables beside their code; here they are held at the connection.

mod support;

use std::sync::Arc;

use sansocket::handshake::{AnswerError, FieldError, RequestError, RequestFault, ResponseFault, accept_key};
use sansocket::{
    Acceptance, ClientRequest, CloseCause, CloseCode, Config, Deadline, Event, OriginPolicy, ReadyState, Rejection,
    Side, StreamOrder,
};
use support::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request of RFC 6455 section 1.2 with other lines for one field.
fn request(field: &str, lines: &[&str]) -> Vec<u8> {
    let mut head = "GET /chat HTTP/1.1\r\n".to_owned();
    let fields = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    for (name, value) in fields.iter().filter(|(name, _)| *name != field) {
        head += &format!("{name}: {value}\r\n");
    }
    for value in lines {
        head += &format!("{field}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

fn good_request() -> Vec<u8> {
    request("X", &[])
}

/// A request with a field of such a length that the whole head has `len` bytes.
fn request_of(len: usize) -> Vec<u8> {
    let filler = "x".repeat(len - request("X", &[""]).len());
    request("X", &[&filler])
}

/// What a server answers, as its status line, its fields and its body.
fn answer_of(server: &mut Bench) -> (String, Vec<String>, Vec<u8>) {
    let wire = server.flush();
    let end = wire.windows(4).position(|window| window == b"\r\n\r\n").expect("the head of an answer");
    let head = std::str::from_utf8(&wire[..end]).unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    (lines.next().unwrap(), lines.collect(), wire[end + 4..].to_vec())
}

/// A client that asked for `/`, and what it was answered with.
fn client_with(request: &ClientRequest, config: Arc<Config>) -> (Bench, String) {
    let mut client = Bench::client(request, config);
    let head = String::from_utf8(client.flush()).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    (client, accept_key(key.as_bytes()).as_str().to_owned())
}

fn client(config: Arc<Config>) -> (Bench, String) {
    client_with(&ClientRequest::new("ws://localhost/").unwrap(), config)
}

fn response(accept: &str, more: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}

/// Always an answer, the right one, the connection ended after it, and never a request for the application.
#[test]
fn every_faulty_request_is_answered_on_the_wire_and_reported() {
    use RequestFault as F;
    let line = |line: &str| [line.as_bytes(), &good_request()["GET /chat HTTP/1.1".len()..]].concat();
    let many: Vec<&str> = vec!["y"; 101];
    let table: Vec<(Vec<u8>, F, &str, Vec<&str>)> = vec![
        (line("POST /chat HTTP/1.1"), F::MethodNotGet, "405 Method Not Allowed", vec!["Allow: GET"]),
        (line("HEAD /chat HTTP/1.1"), F::MethodNotGet, "405 Method Not Allowed", vec!["Allow: GET"]),
        (line("GET /chat HTTP/1.0"), F::HttpVersion, "505 HTTP Version Not Supported", vec![]),
        (line("GET /chat HTTP/2.0"), F::HttpVersion, "505 HTTP Version Not Supported", vec![]),
        (line("GET /chat#top HTTP/1.1"), F::TargetMalformed, "400 Bad Request", vec![]),
        (line("GET http://evil/chat HTTP/1.1"), F::TargetHostMismatch, "400 Bad Request", vec![]),
        (line("nonsense"), F::Malformed, "400 Bad Request", vec![]),
        (line("GET /chat HTTP/1.1\r\n folded: x"), F::Malformed, "400 Bad Request", vec![]),
        (b"\x16\x03\x01\x00\xa5\x01".to_vec(), F::Malformed, "400 Bad Request", vec![]),
        (request("Host", &[]), F::HostMissing, "400 Bad Request", vec![]),
        (request("Host", &["a", "b"]), F::HostRepeated, "400 Bad Request", vec![]),
        (request("Host", &["a b"]), F::HostMalformed, "400 Bad Request", vec![]),
        (
            request("Upgrade", &[]),
            F::UpgradeMissing,
            "426 Upgrade Required",
            vec!["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Connection: Upgrade, close"],
        ),
        (request("Connection", &["notupgradeatall"]), F::ConnectionMissing, "400 Bad Request", vec![]),
        (
            request("Sec-WebSocket-Version", &["8"]),
            F::VersionUnsupported,
            "426 Upgrade Required",
            vec!["Sec-WebSocket-Version: 13"],
        ),
        (
            request("Sec-WebSocket-Version", &[]),
            F::VersionMissing,
            "426 Upgrade Required",
            vec!["Sec-WebSocket-Version: 13"],
        ),
        (request("Sec-WebSocket-Key", &[]), F::KeyMissing, "400 Bad Request", vec![]),
        (request("Sec-WebSocket-Key", &["c2hvcnQ="]), F::KeyMalformed, "400 Bad Request", vec![]),
        (request("Sec-WebSocket-Key", &[KEY, KEY]), F::KeyRepeated, "400 Bad Request", vec![]),
        (request("Sec-WebSocket-Protocol", &["a b"]), F::SubprotocolMalformed, "400 Bad Request", vec![]),
        (request("Sec-WebSocket-Protocol", &["a, a"]), F::SubprotocolRepeated, "400 Bad Request", vec![]),
        (request("Sec-WebSocket-Extensions", &["a;;"]), F::ExtensionMalformed, "400 Bad Request", vec![]),
        (request("Content-Length", &["5"]), F::BodyNotAllowed, "400 Bad Request", vec![]),
        (request("Transfer-Encoding", &["chunked"]), F::BodyNotAllowed, "400 Bad Request", vec![]),
        (request("Origin", &["http://evil.example"]), F::OriginForbidden, "403 Forbidden", vec![]),
        (request_of(16 * 1024 + 1), F::HeadTooLong { max: 16 * 1024 }, "431 Request Header Fields Too Large", vec![]),
        (request("X", &many), F::TooManyHeaders { max: 100 }, "431 Request Header Fields Too Large", vec![]),
    ];
    for (wire, fault, status, fields) in table {
        for size in [1, 7, wire.len()] {
            let label = format!("{fault:?} in chunks of {size}");
            let mut server = Bench::server(config(|_| {}));
            for chunk in wire.chunks(size) {
                assert_eq!(server.receive(chunk), [], "{label}");
            }
            let (status_line, head, body) = answer_of(&mut server);
            assert_eq!(status_line, format!("HTTP/1.1 {status}"), "{label}");
            for field in &fields {
                assert!(head.iter().any(|line| line == field), "{label}: {field} is missing in {head:?}");
            }
            assert!(head.iter().any(|line| line.starts_with("Connection: ") && line.ends_with("close")), "{head:?}");
            let length = format!("Content-Length: {}", body.len());
            assert!(head.contains(&length), "{label}: {length} is missing in {head:?}");
            assert_eq!(server.connection.poll_stream(), Some(StreamOrder::ShutdownWrite), "{label}");
            let closed = only_closed(server.eof());
            assert_eq!((closed.by, closed.cause), (Side::Local, CloseCause::Request(fault)), "{label}");
            assert_eq!((closed.code, closed.clean), (CloseCode::ABNORMAL, false));
        }
    }
}

#[test]
fn a_request_is_accepted_however_it_is_split_and_frames_may_be_right_behind_it() {
    let wire = [good_request(), wire_to(sansocket::Role::Server, &[text("early"), ping("p")])].concat();
    for at in 0..=wire.len() {
        let mut server = Bench::server(config(|_| {}));
        let mut seen = Vec::new();
        for chunk in [&wire[..at], &wire[at..]] {
            for event in server.receive(chunk) {
                if event == Seen::Request {
                    server.connection.accept(server.now, &Acceptance::new()).unwrap();
                }
                seen.push(event);
            }
            seen.extend(server.poll());
        }
        assert_eq!(seen, [Seen::Request, Seen::Text("early".into()), Seen::Ping(b"p".to_vec())], "cut at {at}");
        let answer = server.flush();
        let expected = response(ACCEPT, "");
        assert!(answer.starts_with(&expected), "cut at {at}: {:?}", String::from_utf8_lossy(&answer));
        assert_eq!(decode(&answer[expected.len()..])[0].payload, b"p");
    }
}

/// Smuggling: bytes behind a request mean nothing until it is accepted, and are gone when it is not.
#[test]
fn bytes_pipelined_before_the_101_are_kept_but_not_decoded_and_dropped_on_reject() {
    let frames = wire_to(sansocket::Role::Server, &[text("early"), opcode(3, "")]);
    let wire = [good_request(), frames].concat();
    let mut server = Bench::server(config(|_| {}));
    assert_eq!(server.receive(&wire), [Seen::Request]);
    assert_eq!(server.poll(), [], "not before the decision");
    assert!(server.connection.outgoing().is_empty() && !server.connection.wants_read());
    server.connection.accept(server.now, &Acceptance::new()).unwrap();
    assert_eq!(server.poll(), [Seen::Text("early".into())]);

    let mut server = Bench::server(config(|_| {}));
    assert_eq!(server.receive(&wire), [Seen::Request]);
    server.connection.reject(server.now, &Rejection::new(404).unwrap()).unwrap();
    assert_eq!(server.poll(), []);
    assert_eq!(answer_of(&mut server).0, "HTTP/1.1 404 Not Found");
    assert_eq!(only_closed(server.eof()).cause, CloseCause::Refused(404));
    assert!(server.buf.is_empty(), "{:?}", server.buf.unread());
}

#[test]
fn the_application_sees_the_request_as_it_was_sent() {
    let mut server = Bench::server(config(|config| config.origin = OriginPolicy::Any));
    let wire = request("Origin", &["null"]);
    let wire = [b"GET /chat?room=7&x=%20 HTTP/1.1".as_slice(), &wire["GET /chat HTTP/1.1".len()..]].concat();
    server.buf.extend_from_slice(&wire);
    match server.connection.poll_event(server.now, &mut server.buf) {
        Some(Event::Request(head)) => {
            assert_eq!((head.method, head.path(), head.query()), ("GET", "/chat", Some("room=7&x=%20")));
            assert_eq!(
                (head.headers.get("origin"), head.headers.get("HOST")),
                (Some("null"), Some("server.example.com"))
            );
        }
        other => panic!("{other:?}"),
    }
}

/// CVE-2023-43669: the head is scanned once, also when it comes byte by byte up to the limit.
#[test]
fn a_head_byte_by_byte_ends_exactly_at_its_limit() {
    let max = 16 * 1024;
    for len in [max - 1, max, max + 1] {
        let wire = request_of(len);
        assert_eq!(wire.len(), len);
        let mut server = Bench::server(config(|_| {}));
        let mut answered_at = None;
        for (i, byte) in wire.iter().enumerate() {
            for seen in server.receive(&[*byte]) {
                assert_eq!((seen, i + 1), (Seen::Request, len));
                server.connection.accept(server.now, &Acceptance::new()).unwrap();
            }
            if answered_at.is_none() && !server.connection.outgoing().is_empty() {
                answered_at = Some(i + 1);
            }
        }
        assert_eq!(answered_at, Some(len.min(max)));
        let expected = if len <= max {
            "HTTP/1.1 101 Switching Protocols"
        } else {
            "HTTP/1.1 431 Request Header Fields Too Large"
        };
        assert_eq!(answer_of(&mut server).0, expected, "{len} bytes");
    }
}

/// An endless head costs its limit and no more, however it comes.
#[test]
fn an_endless_head_is_held_to_its_limit() {
    for chunk in [&b"x"[..], &[b'x'; 4096], b"A: b\r\n", b"\r\n"] {
        let mut server = Bench::server(config(|_| {}));
        server.receive(b"GET / HTTP/1.1\r\n");
        let mut received = 0;
        while server.connection.state() == ReadyState::Connecting {
            server.receive(chunk);
            received += chunk.len();
            assert!(received <= 16 * 1024 + chunk.len());
        }
        assert!(server.buf.capacity() <= 64 * 1024);
    }
}

/// CVE-2024-37890: any number of header fields.
#[test]
fn one_to_ten_thousand_header_fields_are_accepted_or_answered_with_431() {
    // The request itself has five.
    for (count, max) in
        [(1, 100), (94, 100), (95, 100), (96, 100), (1000, 100), (10_000, 100), (10_000, 10_005), (10_000, 10_004)]
    {
        let wire = request("X", &vec!["y"; count]);
        let mut server = Bench::server(config(|config| {
            config.headers_max = max;
            config.head_len_max = 1 << 20;
        }));
        let seen = server.receive(&wire);
        if count + 5 <= max {
            assert_eq!(seen, [Seen::Request], "{count} fields");
        } else {
            assert_eq!(seen, [], "{count} fields");
            assert_eq!(answer_of(&mut server).0, "HTTP/1.1 431 Request Header Fields Too Large");
        }
    }
    // With the default limit of bytes, too many to be read at all.
    let mut server = Bench::server(config(|_| {}));
    assert_eq!(server.receive(&request("X", &["y"; 10_000])), []);
    assert_eq!(answer_of(&mut server).0, "HTTP/1.1 431 Request Header Fields Too Large");
}

#[test]
fn a_subprotocol_is_accepted_only_if_it_was_offered() {
    for (offer, chosen, is_good) in [
        (&["chat, superchat"][..], "superchat", true),
        (&["chat", "superchat"], "superchat", true),
        (&["chat"], "Chat", false),
        (&["chat"], "other", false),
        (&[], "chat", false),
    ] {
        let mut server = Bench::server(config(|_| {}));
        assert_eq!(server.receive(&request("Sec-WebSocket-Protocol", offer)), [Seen::Request]);
        let accepted = server.connection.accept(server.now, &Acceptance::new().subprotocol(chosen).unwrap());
        assert_eq!(accepted.is_ok(), is_good, "{offer:?}: {chosen}");
        if is_good {
            assert_eq!(server.connection.subprotocol(), Some(chosen));
            let (_, head, _) = answer_of(&mut server);
            assert!(head.contains(&format!("Sec-WebSocket-Protocol: {chosen}")));
        } else {
            assert!(server.connection.outgoing().is_empty(), "nothing has happened");
            server.connection.accept(server.now, &Acceptance::new()).expect("it may still be accepted without one");
            assert_eq!(server.connection.subprotocol(), None);
        }
    }
}

#[test]
fn a_request_is_answered_once() {
    let reject = Rejection::new(503).unwrap();
    let mut server = Bench::server(config(|_| {}));
    assert!(server.connection.accept(server.now, &Acceptance::new()).is_err(), "no request came yet");
    assert!(server.connection.reject(server.now, &reject).is_err());
    server.receive(&good_request());
    server.connection.accept(server.now, &Acceptance::new()).unwrap();
    assert_eq!(server.connection.state(), ReadyState::Open);
    let answer = server.connection.buffered_len();
    assert!(server.connection.accept(server.now, &Acceptance::new()).is_err());
    assert!(server.connection.reject(server.now, &reject).is_err());
    assert_eq!(server.connection.buffered_len(), answer);
    let (mut client, _) = client(config(|_| {}));
    assert!(client.connection.accept(client.now, &Acceptance::new()).is_err(), "a client accepts nothing");
    assert!(client.connection.reject(client.now, &reject).is_err());
}

#[test]
fn a_rejection_reaches_the_wire_whole() {
    let mut server = Bench::server(config(|_| {}));
    server.receive(&good_request());
    let rejection = Rejection::new(401).unwrap().header("WWW-Authenticate", "Bearer").unwrap().body("who are you?\n");
    server.connection.reject(server.now, &rejection).unwrap();
    let (status, head, body) = answer_of(&mut server);
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    assert!(head.contains(&"WWW-Authenticate: Bearer".to_owned()));
    assert_eq!(body, b"who are you?\n");
    let closed = only_closed(server.eof());
    assert_eq!((closed.by, closed.cause, closed.clean), (Side::Local, CloseCause::Refused(401), false));
}

/// Cross-site WebSocket hijacking.
#[test]
fn foreign_origins_get_403() {
    let list = OriginPolicy::list(["https://good.com"]).unwrap();
    for (policy, origin, is_good) in [
        (OriginPolicy::SameOrigin, "http://server.example.com", true),
        (OriginPolicy::SameOrigin, "https://SERVER.example.com", true),
        (OriginPolicy::SameOrigin, "http://server.example.com:8080", false),
        (OriginPolicy::SameOrigin, "http://server.example.com.evil", false),
        (OriginPolicy::SameOrigin, "http://evil-server.example.com", false),
        (OriginPolicy::SameOrigin, "null", false),
        (OriginPolicy::SameOrigin, "", false),
        (list.clone(), "https://good.com", true),
        (list.clone(), "https://GOOD.com:443", true),
        (list.clone(), "http://good.com", false),
        (list.clone(), "https://good.com:444", false),
        (list.clone(), "https://good.com.evil", false),
        (list.clone(), "https://notgood.com", false),
        (list.clone(), "https://good.com@evil", false),
        (list, "null", false),
        (OriginPolicy::Any, "null", true),
        (OriginPolicy::Any, "https://evil", true),
    ] {
        let mut server = Bench::server(config(|config| config.origin = policy.clone()));
        let seen = server.receive(&request("Origin", &[origin]));
        assert_eq!(seen == [Seen::Request], is_good, "{policy:?}: {origin}");
        if !is_good {
            assert_eq!(answer_of(&mut server).0, "HTTP/1.1 403 Forbidden");
        }
    }
    let mut server = Bench::server(config(|_| {}));
    assert_eq!(server.receive(&good_request()), [Seen::Request], "no browser, no origin");
}

/// CVE-2026-1527: no string of the application reaches the wire with a line break in it.
#[test]
fn nothing_can_be_injected_into_a_head() {
    for evil in ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\x7f", "\x1b"] {
        let field = |error| matches!(error, RequestError::Field(_));
        let request = || ClientRequest::new("ws://localhost/").unwrap();
        assert!(request().header("X-Name", evil).is_err_and(field), "{evil:?}");
        assert!(request().header(evil, "value").is_err_and(field), "{evil:?}");
        assert!(request().subprotocol(evil).is_err(), "{evil:?}");
        for url in [
            "ws://{}/",
            "ws://localhost/{}",
            "ws://localhost/?{}",
            "ws://u:{}@localhost/",
            "ws://localhost:{}/",
            "{}://a/",
        ] {
            assert!(ClientRequest::new(&url.replace("{}", evil)).is_err(), "{url}, {evil:?}");
        }
        let field = |error| matches!(error, AnswerError::Field(_));
        assert!(Acceptance::new().header("X-Name", evil).is_err_and(field), "{evil:?}");
        assert!(Acceptance::new().header(evil, "value").is_err_and(field), "{evil:?}");
        assert!(Acceptance::new().subprotocol(evil).is_err(), "{evil:?}");
        assert!(Rejection::new(400).unwrap().header("X-Name", evil).is_err_and(field), "{evil:?}");
        assert!(Rejection::new(400).unwrap().header(evil, "value").is_err_and(field), "{evil:?}");
    }
    for reserved in ["Host", "upgrade", "Connection", "sec-websocket-key", "Sec-WebSocket-Anything", "Content-Length"] {
        let refused = ClientRequest::new("ws://localhost/").unwrap().header(reserved, "x");
        assert!(matches!(refused, Err(RequestError::Field(FieldError::NameReserved { .. }))), "{reserved}");
    }
}

#[test]
fn a_client_opens_on_a_101_however_it_is_split_and_what_follows_is_delivered() {
    let request = ClientRequest::new("ws://localhost/").unwrap().subprotocol("chat").unwrap();
    let (_, accept) = client_with(&request, config(|_| {}));
    let head = response(&accept, "Sec-WebSocket-Protocol: chat\r\n");
    let wire = [head, wire_to(sansocket::Role::Client, &[text("welcome"), ping("p")])].concat();
    for at in 0..=wire.len() {
        // The seed is the same, and so is the key.
        let (mut client, again) = client_with(&request, config(|_| {}));
        assert_eq!(again, accept);
        let mut seen = client.receive(&wire[..at]);
        seen.extend(client.receive(&wire[at..]));
        assert_eq!(seen, [Seen::Open, Seen::Text("welcome".into()), Seen::Ping(b"p".to_vec())], "cut at {at}");
        assert_eq!(client.connection.subprotocol(), Some("chat"));
        assert_eq!(client.connection.state(), ReadyState::Open);
        assert_eq!(client.flush_frames()[0].payload, b"p");
    }
}

#[test]
fn every_faulty_response_ends_the_client_at_once() {
    use ResponseFault as F;
    let with = |field: &str, line: &str| {
        let (_, accept) = client(config(|_| {}));
        let text = String::from_utf8(response(&accept, "")).unwrap();
        let kept: Vec<&str> = text.split("\r\n").filter(|kept| !kept.starts_with(field)).collect();
        kept.join("\r\n").replacen("\r\n", &format!("\r\n{line}"), 1).into_bytes()
    };
    let table = [
        (with("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"), F::AcceptMismatch),
        (with("Sec-WebSocket-Accept", ""), F::AcceptMissing),
        (with("Upgrade", ""), F::UpgradeMissing),
        (with("Connection", "Connection: close\r\n"), F::ConnectionMissing),
        (with("X", "Sec-WebSocket-Protocol: chat\r\n"), F::SubprotocolNotOffered),
        (with("X", "Sec-WebSocket-Extensions: permessage-deflate\r\n"), F::ExtensionNotOffered),
        (with("X", "Sec-WebSocket-Extensions: ;\r\n"), F::ExtensionMalformed),
        (with("X", "bad field\r\n"), F::Malformed),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(), F::Malformed),
        (b"HTTP/1.1 101 \n".to_vec(), F::Malformed),
        (b"HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\n\r\n".to_vec(), F::HttpVersion),
        (b"HTTP/2.0 200 OK\r\n\r\n".to_vec(), F::HttpVersion),
        (vec![b'x'; 16 * 1024], F::HeadTooLong { max: 16 * 1024 }),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(2000), F::HeadTooLong { max: 16 * 1024 }),
        (with("X", &"X: y\r\n".repeat(101)), F::TooManyHeaders { max: 100 }),
    ];
    for (wire, fault) in table {
        for size in [1, 100, wire.len()] {
            let (mut client, _) = client(config(|_| {}));
            let mut seen = Vec::new();
            for chunk in wire.chunks(size) {
                seen.extend(client.receive(chunk));
            }
            let closed = only_closed(seen);
            assert_eq!((closed.by, closed.cause), (Side::Local, CloseCause::Response(fault)), "chunks of {size}");
            assert_eq!(client.connection.poll_stream(), Some(StreamOrder::Drop));
            assert!(client.connection.outgoing().is_empty());
        }
    }
}

#[test]
fn interim_answers_are_passed_over() {
    let (mut client, accept) = client(config(|_| {}));
    let interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(client.receive(interim), []);
    assert_eq!(client.receive(interim), []);
    assert_eq!(client.receive(&response(&accept, "")), [Seen::Open]);
}

/// What a server that refuses says reaches the client's application: status, fields, the start of the body.
#[test]
fn a_refusal_is_reported_with_its_body_however_that_is_framed() {
    let capped = || config(|config| config.refusal_body_len_max = 10);
    // The body on the wire, whether the stream ends then; what is reported, and whether it was cut.
    let table: [(&str, &str, bool, &str, bool); 16] = [
        ("Content-Length: 0\r\n", "", false, "", false),
        ("Content-Length: 9\r\n", "123456789", false, "123456789", false),
        ("Content-Length: 10\r\n", "1234567890", false, "1234567890", false),
        ("Content-Length: 11\r\n", "1234567890", true, "1234567890", true),
        ("Content-Length: 11\r\n", "12345678901", false, "1234567890", true),
        ("Content-Length: 9\r\n", "123456789 and more", false, "123456789", false),
        ("Content-Length: 9\r\n", "1234", true, "1234", true),
        ("Content-Length: 999999999999999999\r\n", "12345678901", false, "1234567890", true),
        ("Transfer-Encoding: chunked\r\n", "2\r\nno\r\n0\r\n\r\n", true, "no", false),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", false, "", false),
        ("Transfer-Encoding: chunked\r\n", "ff\r\n1234567890123", false, "123456", true),
        ("", "123456789", true, "123456789", false),
        ("", "1234567890", true, "1234567890", false),
        ("", "12345678901", true, "1234567890", true),
        ("", "12345678901", false, "1234567890", true),
        ("", "", true, "", false),
    ];
    for (field, body, ends, expected, is_cut) in table {
        let wire = format!("HTTP/1.1 403 Forbidden\r\n{field}X-Why: because\r\n\r\n{body}").into_bytes();
        for size in [1, wire.len()] {
            let label = format!("{field:?}, {body:?}, chunks of {size}");
            let (mut client, _) = client(capped());
            let mut refusal = None;
            let mut closed = None;
            let mut poll = |client: &mut Bench| {
                while let Some(event) = client.connection.poll_event(client.now, &mut client.buf) {
                    match event {
                        Event::Refused(found) => assert!(refusal.replace(found).is_none(), "{label}"),
                        Event::Closed(found) => assert!(closed.replace(found).is_none(), "{label}"),
                        other => panic!("{label}: {other:?}"),
                    }
                }
            };
            for chunk in wire.chunks(size) {
                client.buf.extend_from_slice(chunk);
                poll(&mut client);
            }
            if ends {
                client.connection.handle_eof();
                poll(&mut client);
            }
            let refusal = refusal.unwrap_or_else(|| panic!("{label}: no refusal"));
            assert_eq!((refusal.status, refusal.headers.get("X-Why")), (403, Some("because")), "{label}");
            let found = (std::str::from_utf8(&refusal.body).unwrap(), refusal.body_truncated);
            // A chunked body is cut by the bytes on the wire or by those of the body: both are bounds.
            if field.starts_with("Transfer") && is_cut {
                assert!("1234567890".starts_with(found.0) && found.1, "{label}: {found:?}");
            } else {
                assert_eq!(found, (expected, is_cut), "{label}");
            }
            let closed = closed.unwrap();
            assert_eq!((closed.by, closed.cause), (Side::Remote, CloseCause::Refused(403)), "{label}");
            assert_eq!(client.connection.poll_stream(), Some(StreamOrder::Drop));
        }
    }
}

#[test]
fn a_refusal_whose_body_stalls_is_reported_at_the_handshake_deadline() {
    let limits = config(|config| config.handshake_timeout = Some(10 * SEC));
    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let (mut client, _) = client(limits.clone());
        assert_eq!(client.receive(format!("HTTP/1.1 503 Busy\r\n{framing}\r\n").as_bytes()), []);
        assert_eq!(client.receive(b"5\r\nsorry"), [], "{framing:?}");
        assert_eq!(client.next_deadline(), Some((10 * SEC, Deadline::Handshake)));
        let seen = client.at(10 * SEC).timeout();
        assert!(matches!(&seen[..], [Seen::Refused(503, _), Seen::Closed(_)]), "{framing:?}: {seen:?}");
        assert_eq!(client.connection.poll_timeout(), None);
    }
}

#[test]
fn a_stream_that_ends_during_the_handshake_is_reported_as_that() {
    for wire in ["", "HTTP/1.1 10", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let (mut client, _) = client(config(|_| {}));
        assert_eq!(client.receive(wire.as_bytes()), []);
        let closed = only_closed(client.eof());
        assert_eq!((closed.by, closed.cause), (Side::Remote, CloseCause::EndOfStream), "{wire:?}");
    }
    for len in [0, 20, good_request().len()] {
        let mut server = Bench::server(config(|_| {}));
        server.receive(&good_request()[..len]);
        assert_eq!(only_closed(server.eof()).cause, CloseCause::EndOfStream, "{len} bytes");
        let mut server = Bench::server(config(|_| {}));
        server.receive(&good_request()[..len]);
        assert_eq!(only_closed(server.transport_error()).cause, CloseCause::TransportFailed, "{len} bytes");
    }
}

#[test]
fn a_connection_that_somebody_else_opened_starts_with_the_bytes_behind_the_head() {
    for role in ROLES {
        let mut bench = Bench::open(role, config(|_| {}));
        assert_eq!(bench.connection.state(), ReadyState::Open);
        assert!(bench.connection.outgoing().is_empty());
        assert_eq!(bench.receive_frames(&[text("a")]), [Seen::Text("a".into())]);
        assert!(bench.connection.accept(bench.now, &Acceptance::new()).is_err());
    }
}
