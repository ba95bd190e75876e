//! Requests and responses, each right but for one thing.

use std::io::{self, Read, Write};
use std::time::Instant;

use sansocket::handshake::accept_key;
use sansocket::{ClientRequest, Config, Connection, Event, RecvBuf};
use serde_json::json;

use crate::verdict::hex;
use crate::{Python, Tally};

pub fn run(python: &mut Python, tally: &mut Tally) {
    for row in REQUESTS {
        let request = changed(REQUEST, row.change);
        let ours = accepts(request.as_bytes());
        let theirs = python.ask(&json!({"request": hex(request.as_bytes())}))["websockets"].as_bool();
        tally.compare_handshake("tungstenite", ours, tungstenite_accepts(request.as_bytes()), row, &request);
        tally.compare_handshake("websockets", ours, theirs.expect("a verdict"), row, &request);
    }
    for row in RESPONSES {
        let response = changed(RESPONSE, row.change);
        let ours = is_accepted(&response);
        let theirs = python.ask(&json!({"response": hex(response.as_bytes())}))["websockets"].as_bool();
        tally.compare_handshake("tungstenite", ours, tungstenite_is_accepted(&response), row, &response);
        tally.compare_handshake("websockets", ours, theirs.expect("a verdict"), row, &response);
    }
}

/// A handshake that is right but for one thing.
pub struct Row {
    /// What differs from the right one.
    change: &'static str,
    /// Whether sansocket takes it.
    pub is_taken: bool,
    /// Who does not do the same.
    pub differs: &'static [&'static str],
    pub why: &'static str,
}

/// Everybody takes it.
const fn taken(change: &'static str) -> Row {
    Row { change, is_taken: true, differs: &[], why: "" }
}

/// Everybody refuses it.
const fn refused(change: &'static str) -> Row {
    Row { change, is_taken: false, differs: &[], why: "" }
}

const fn only_others_refuse(change: &'static str, differs: &'static [&'static str], why: &'static str) -> Row {
    Row { change, is_taken: true, differs, why }
}

const fn others_take(change: &'static str, differs: &'static [&'static str], why: &'static str) -> Row {
    Row { change, is_taken: false, differs, why }
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

const REQUESTS: &[Row] = &[
    taken(""),
    refused("GET => POST"),
    refused("GET => get"),
    refused("HTTP/1.1 => HTTP/1.0"),
    taken("/chat => /chat?room=7"),
    taken("Upgrade: websocket => Upgrade: WebSocket"),
    refused("Upgrade: websocket => Upgrade: websockets"),
    refused("Upgrade: websocket => Upgrade: h2c"),
    refused("Upgrade: websocket => X: y"),
    taken("Connection: Upgrade => Connection: keep-alive, Upgrade"),
    taken("Connection: Upgrade => connection: UPGRADE"),
    refused("Connection: Upgrade => Connection: close"),
    refused("Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 8"),
    refused("Sec-WebSocket-Version: 13 => X: y"),
    refused("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => X: y"),
    taken("Host: localhost => Host: localhost\\r\\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    others_take(
        "Host: localhost => Host: localhost\\r\\nHost: evil",
        &["tungstenite", "websockets"],
        "RFC 9112 3.2: a request with two Host fields is refused. Not looked at there",
    ),
    others_take(
        "Host: localhost => X: y",
        &["tungstenite", "websockets"],
        "RFC 6455 4.2.1: a request has a Host field. Not looked at there",
    ),
    refused("Host: localhost => Host : localhost"),
    refused("Host: localhost => Host: localhost\\r\\n folded: yes"),
    others_take(
        "Host: localhost => Host: localhost\\r\\nContent-Length: 5",
        &["tungstenite"],
        "RFC 9110 7.8, request smuggling: an upgrade has no body. tungstenite takes the body for frames",
    ),
    others_take(
        "Host: localhost => Host: localhost\\r\\nTransfer-Encoding: chunked",
        &["tungstenite"],
        "RFC 9110 7.8, request smuggling: an upgrade has no body. tungstenite takes the body for frames",
    ),
    refused("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => Sec-WebSocket-Key: short"),
    others_take(
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== => Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &["tungstenite"],
        "RFC 6455 11.3.1: the key must not appear more than once. tungstenite takes the first",
    ),
    others_take(
        "Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Version: 8",
        &["tungstenite"],
        "RFC 6455 11.3.5: the version must not appear more than once. tungstenite takes the first",
    ),
    refused("Sec-WebSocket-Version: 13 => Sec-WebSocket-Version: 13, 8"),
    refused("Connection: Upgrade => Connection: notupgradeatall"),
    only_others_refuse(
        "Connection: Upgrade => Connection: keep-alive\\r\\nConnection: Upgrade",
        &["tungstenite"],
        "RFC 9110 5.3: fields of one name are one list. tungstenite takes the first",
    ),
    only_others_refuse(
        "Upgrade: websocket => Upgrade: h2c, websocket",
        &["tungstenite", "websockets"],
        "RFC 9110 7.8: Upgrade is a list, of which the server may take any. Taken whole there",
    ),
    only_others_refuse(
        "Upgrade: websocket => Upgrade: h2c\\r\\nUpgrade: websocket",
        &["tungstenite", "websockets"],
        "RFC 9110 7.8: Upgrade is a list, of which the server may take any. Taken whole there",
    ),
    taken("/chat => http://localhost/chat"),
    others_take(
        "/chat => http://evil/chat",
        &["tungstenite", "websockets"],
        "RFC 9112 3.2.2: the target names another host than the Host field, which is compared with Origin. Not looked at there",
    ),
    others_take(
        "/chat => *",
        &["tungstenite", "websockets"],
        "RFC 9112 3.2: the target of a GET is a path or a URL. Not looked at there",
    ),
    others_take(
        "/chat => chat",
        &["tungstenite", "websockets"],
        "RFC 9112 3.2: the target of a GET is a path or a URL. Not looked at there",
    ),
    refused("/chat => /a b"),
    others_take(
        "/chat => /chat#top",
        &["tungstenite", "websockets"],
        "RFC 9112 3.2: a target has no fragment. tungstenite cuts it off",
    ),
    taken("Host: localhost => Host: localhost\\r\\nSec-WebSocket-Protocol: chat, superchat"),
    others_take(
        "Host: localhost => Host: localhost\\r\\nSec-WebSocket-Protocol: a b",
        &["tungstenite"],
        "RFC 6455 4.1: subprotocols are tokens. tungstenite leaves them to the application",
    ),
    others_take(
        "Host: localhost => Host: localhost\\r\\nSec-WebSocket-Extensions: ;;;",
        &["tungstenite", "websockets"],
        "RFC 6455 9.1: extensions that do not follow the grammar are refused. Not looked at there unless one is supported",
    ),
    taken("Host: localhost => Host: localhost\\r\\nSec-WebSocket-Extensions: x-unknown; a=1"),
];

const RESPONSE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: ACCEPT\r\n\r\n";

const RESPONSES: &[Row] = &[
    taken(""),
    taken("101 Switching Protocols => 101 Whatever"),
    refused("101 Switching Protocols => 200 OK"),
    refused("101 Switching Protocols => 302 Found"),
    refused("HTTP/1.1 => HTTP/1.0"),
    taken("Upgrade: websocket => Upgrade: WebSocket"),
    refused("Upgrade: websocket => Upgrade: h2c"),
    refused("Connection: Upgrade => Connection: close"),
    only_others_refuse(
        "Connection: Upgrade => Connection: keep-alive, Upgrade",
        &["tungstenite"],
        "RFC 6455 4.1: Connection contains the token Upgrade, among others perhaps. tungstenite wants it alone",
    ),
    refused("Sec-WebSocket-Accept: ACCEPT => X: y"),
    refused("Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    refused("Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Protocol: chat"),
    others_take(
        "Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Extensions: x-unknown",
        &["tungstenite"],
        "RFC 6455 4.1: an extension that was not asked for fails the connection. tungstenite does not look",
    ),
    others_take(
        "Sec-WebSocket-Accept: ACCEPT => Sec-WebSocket-Accept: ACCEPT\\r\\nSec-WebSocket-Accept: ACCEPT",
        &["tungstenite"],
        "RFC 6455 11.3.3: the field must not appear more than once. tungstenite takes the first",
    ),
    others_take(
        "Upgrade: websocket => Upgrade: websocket\\r\\nUpgrade: h2c",
        &["tungstenite"],
        "RFC 6455 4.1: in a response, Upgrade is websocket and nothing else. tungstenite takes the first",
    ),
    refused("Upgrade: websocket => X: y"),
    refused("Connection: Upgrade => X: y"),
    refused("Upgrade: websocket => Upgrade : websocket"),
    refused("Upgrade: websocket => Upgrade: websocket\\r\\n folded"),
];
