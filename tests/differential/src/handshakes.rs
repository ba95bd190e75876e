//! Requests and responses, each right but for one thing.

use std::io::{self, Read, Write};
use std::time::Instant;

use sansocket::handshake::accept_key;
use sansocket::{ClientRequest, Config, Connection, Event, RecvBuf};
use serde_json::json;

use crate::verdict::hex;
use crate::{Python, Tally};

pub fn run(python: &mut Python, tally: &mut Tally) {
    for (change, why) in REQUESTS {
        let request = changed(REQUEST, change);
        let ours = accepts(request.as_bytes());
        let theirs = python.ask(&json!({"request": hex(request.as_bytes())}))["websockets"].as_bool();
        tally.compare_handshake("tungstenite", ours, tungstenite_accepts(request.as_bytes()), *why, &request);
        tally.compare_handshake("websockets", ours, theirs.expect("a verdict"), *why, &request);
    }
    for (change, why) in RESPONSES {
        let response = changed(RESPONSE, change);
        let ours = is_accepted(&response);
        let theirs = python.ask(&json!({"response": hex(response.as_bytes())}))["websockets"].as_bool();
        tally.compare_handshake("tungstenite", ours, tungstenite_is_accepted(&response), *why, &response);
        tally.compare_handshake("websockets", ours, theirs.expect("a verdict"), *why, &response);
    }
}

/// The text with each `OLD => NEW` of the change, which are lines.
fn changed(text: &str, change: &str) -> String {
    let mut text = text.to_owned();
    for line in change.lines().filter(|line| !line.is_empty()) {
        let (old, new) = line.split_once(" => ").expect("a change has two sides");
        let (old, new) = (unescaped(old), unescaped(new));
        assert!(text.contains(&old), "{old:?} is not in {text:?}");
        text = text.replace(&old, &new);
    }
    text
}

fn unescaped(text: &str) -> String {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t")
}

fn accepts(request: &[u8]) -> bool {
    let now = Instant::now();
    let mut config = Config::default();
    config.origin = sansocket::OriginPolicy::Any; // The others leave it to the application.
    let mut connection = Connection::server(config, [7; 32], now);
    let mut buf = RecvBuf::new();
    buf.extend_from_slice(request);
    matches!(connection.poll_event(now, &mut buf), Some(Event::Request(_)))
}

fn is_accepted(response: &str) -> bool {
    let now = Instant::now();
    let request = ClientRequest::new("ws://localhost/").expect("a URL");
    let mut connection = Connection::client(&request, Config::default(), [7; 32], now);
    let response = fitting(response, connection.outgoing());
    let mut buf = RecvBuf::new();
    buf.extend_from_slice(response.as_bytes());
    connection.advance_outgoing(now, connection.outgoing().len());
    matches!(connection.poll_event(now, &mut buf), Some(Event::Open(_)))
}

fn tungstenite_accepts(request: &[u8]) -> bool {
    tungstenite::accept(Once { written: Vec::new(), answer: Answer::Ready(request.to_vec()) }).is_ok()
}

fn tungstenite_is_accepted(response: &str) -> bool {
    let wire = Once { written: Vec::new(), answer: Answer::Fitting(response.to_owned()) };
    tungstenite::client("ws://localhost/", wire).is_ok()
}

/// The response with the accept value for the key of the request.
fn fitting(response: &str, request: &[u8]) -> String {
    let request = String::from_utf8_lossy(request);
    let key = request
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")));
    let (_, key) = key.expect("a request has a key");
    response.replace("ACCEPT", accept_key(key.as_bytes()).as_str())
}

/// A stream that has said all it will when it is first read.
struct Once {
    written: Vec<u8>,
    answer: Answer,
}

enum Answer {
    /// This is still to be read.
    Ready(Vec<u8>),
    /// To be made for the request.
    Fitting(String),
}

impl Read for Once {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Answer::Fitting(response) = &self.answer {
            self.answer = Answer::Ready(fitting(response, &self.written).into_bytes());
        }
        let Answer::Ready(rest) = &mut self.answer else { return Ok(0) };
        let n = rest.as_slice().read(buf)?;
        rest.drain(..n);
        Ok(n)
    }
}

impl Write for Once {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.written.extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What differs from the request above, and, if implementations may disagree about it, why.
const REQUESTS: &[(&str, Option<&str>)] = &[
    ("", None),
    ("GET => POST", None),
    ("GET => get", None),
    ("HTTP/1.1 => HTTP/1.0", None),
    ("/chat => /chat?room=7", None),
    ("Upgrade: websocket => Upgrade: WebSocket", None),
    ("Upgrade: websocket => Upgrade: websockets", None),
    ("Upgrade: websocket => Upgrade: h2c", None),
    ("Upgrade: websocket => X: y", None),
    ("Connection: Upgrade => Connection: keep-alive, Upgrade", None),
    ("Connection: Upgrade => connection: UPGRADE", None),
    ("Connection: Upgrade => Connection: close", None),
    ("Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 8", None),
    ("Sec-WebSocket-Version: 13 => X: y", None),
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => X: y", None),
    ("Host: localhost => Host: localhost\\r\\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", None),
    (
        "Host: localhost => Host: localhost\\r\\nHost: evil",
        Some("RFC 9112 3.2: a request with two Host fields is refused. Not looked at there"),
    ),
    ("Host: localhost => X: y", Some("RFC 6455 4.2.1: a request has a Host field. Not looked at there")),
    ("Host: localhost => Host : localhost", None),
    ("Host: localhost => Host: localhost\\r\\n folded: yes", None),
    (
        "Host: localhost => Host: localhost\\r\\nContent-Length: 5",
        Some("RFC 9110 7.8, request smuggling: an upgrade has no body. tungstenite takes the body for frames"),
    ),
    (
        "Host: localhost => Host: localhost\\r\\nTransfer-Encoding: chunked",
        Some("RFC 9110 7.8, request smuggling: an upgrade has no body. tungstenite takes the body for frames"),
    ),
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => Sec-WebSocket-Key: short", None),
    (
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        Some("RFC 6455 11.3.1: the key must not appear more than once. tungstenite takes the first"),
    ),
    (
        "Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Version: 8",
        Some("RFC 6455 11.3.5: the version must not appear more than once. tungstenite takes the first"),
    ),
    ("Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 13, 8", None),
    ("Connection: Upgrade => Connection: notupgradeatall", None),
    (
        "Connection: Upgrade => Connection: keep-alive\\r\\nConnection: Upgrade",
        Some("RFC 9110 5.3: fields of one name are one list. tungstenite takes the first"),
    ),
    (
        "Upgrade: websocket => Upgrade: h2c, websocket",
        Some("RFC 9110 7.8: Upgrade is a list, of which the server may take any. Taken whole there"),
    ),
    (
        "Upgrade: websocket => Upgrade: h2c\\r\\nUpgrade: websocket",
        Some("RFC 9110 7.8: Upgrade is a list, of which the server may take any. Taken whole there"),
    ),
    ("/chat => http://localhost/chat", None),
    (
        "/chat => http://evil/chat",
        Some(
            "RFC 9112 3.2.2: the target names another host than the Host field, which is compared with Origin. Not looked at there",
        ),
    ),
    ("/chat => *", Some("RFC 9112 3.2: the target of a GET is a path or a URL. Not looked at there")),
    ("/chat => chat", Some("RFC 9112 3.2: the target of a GET is a path or a URL. Not looked at there")),
    ("/chat => /a b", None),
    ("/chat => /chat#top", Some("RFC 9112 3.2: a target has no fragment. tungstenite cuts it off")),
    ("Host: localhost => Host: localhost\\r\\nSec-WebSocket-Protocol: chat, superchat", None),
    (
        "Host: localhost => Host: localhost\\r\\nSec-WebSocket-Protocol: a b",
        Some("RFC 6455 4.1: subprotocols are tokens. tungstenite leaves them to the application"),
    ),
    (
        "Host: localhost => Host: localhost\\r\\nSec-WebSocket-Extensions: ;;;",
        Some(
            "RFC 6455 9.1: extensions that do not follow the grammar are refused. Not looked at there unless one is supported",
        ),
    ),
    ("Host: localhost => Host: localhost\\r\\nSec-WebSocket-Extensions: x-unknown; a=1", None),
];

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: ACCEPT\r\n\r\n";

/// The same for a response.
const RESPONSES: &[(&str, Option<&str>)] = &[
    ("", None),
    ("101 Switching Protocols => 101 Whatever", None),
    ("101 Switching Protocols => 200 OK", None),
    ("101 Switching Protocols => 302 Found", None),
    ("HTTP/1.1 => HTTP/1.0", None),
    ("Upgrade: websocket => Upgrade: WebSocket", None),
    ("Upgrade: websocket => Upgrade: h2c", None),
    ("Connection: Upgrade => Connection: close", None),
    (
        "Connection: Upgrade => Connection: keep-alive, Upgrade",
        Some("RFC 6455 4.1: Connection contains the token Upgrade, among others perhaps. tungstenite wants it alone"),
    ),
    ("Sec-WebSocket-Accept: ACCEPT => X: y", None),
    ("Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", None),
    ("Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Protocol: chat", None),
    (
        "Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Extensions: x-unknown",
        Some("RFC 6455 4.1: an extension that was not asked for fails the connection. tungstenite does not look"),
    ),
    (
        "Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Accept: ACCEPT",
        Some("RFC 6455 11.3.3: the field must not appear more than once. tungstenite takes the first"),
    ),
    (
        "Upgrade: websocket => Upgrade: websocket\\r\\nUpgrade: h2c",
        Some("RFC 6455 4.1: in a response, Upgrade is websocket and nothing else. tungstenite takes the first"),
    ),
    ("Upgrade: websocket => X: y", None),
    ("Connection: Upgrade => X: y", None),
    ("Upgrade: websocket => Upgrade : websocket", None),
    ("Upgrade: websocket => Upgrade: websocket\\r\\n folded", None),
];
