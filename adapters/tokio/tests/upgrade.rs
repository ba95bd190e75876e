//! WebSockets from an HTTP server's upgrade, over real sockets: the examples for hyper and axum, and a server that tells how it ends.

use std::convert::Infallible;
use std::time::Instant;

use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sansocket_tokio::deflate::DeflateConfig;
use sansocket_tokio::handshake::{AnswerError, SubprotocolError, encode_key};
use sansocket_tokio::{
    Acceptance, Acceptor, Bytes, ClientRequest, CloseCode, Closed, Config, ConnectError, Connection, Connector,
    Message, RecvBuf, Role, UpgradeError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[allow(dead_code)]
#[path = "../examples/tokio_axum_server.rs"]
mod axum_server;
#[allow(dead_code)]
#[path = "../examples/tokio_hyper_server.rs"]
mod hyper_server;

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

async fn hyper() -> String {
    let (listener, address) = listen().await;
    tokio::spawn(hyper_server::serve(listener));
    address
}

async fn axum() -> String {
    let (listener, address) = listen().await;
    tokio::spawn(axum_server::serve(listener));
    address
}

/// The answer to a request, read to the end of its body.
async fn exchange(stream: &mut TcpStream, request: &str) -> (u16, String, String) {
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let (head, mut body) = loop {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
        if let Some((head, body)) = std::str::from_utf8(&answer).unwrap().split_once("\r\n\r\n") {
            break (head.to_lowercase(), body.as_bytes().to_vec());
        }
    };
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |len| len.parse().unwrap());
    while body.len() < len {
        assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0);
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_route_of_hyper_becomes_a_websocket() {
    let address = hyper().await;
    let mut socket = sansocket_tokio::connect(&format!("ws://{address}/echo")).await.unwrap();
    for len in [0, 1, 125, 126, 65_536, 1 << 20] {
        socket.send("x".repeat(len)).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::from("x".repeat(len))));
    }
    let closed = socket.close(CloseCode::NORMAL, "done").await.unwrap();
    assert_eq!((closed.clean, closed.peer_code), (true, Some(CloseCode::NORMAL)));
}

#[tokio::test]
async fn a_route_of_axum_becomes_a_websocket_with_a_subprotocol() {
    let address = axum().await;
    let url = format!("ws://{address}/chat");
    let offering = Connector::new(&url).unwrap().subprotocol("soap").unwrap().subprotocol("echo").unwrap();
    let mut socket = offering.connect().await.unwrap();
    assert_eq!(socket.subprotocol().as_deref(), Some("echo"));
    socket.send("héllo").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), Some("héllo".into()));
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);

    let refused = sansocket_tokio::connect(&url).await.unwrap_err();
    let ConnectError::Refused(refusal) = refused else { panic!("{refused}") };
    assert_eq!((refusal.status, &refusal.body[..]), (400, &b"offer the subprotocol echo\n"[..]));
}

#[tokio::test]
async fn what_is_no_proper_request_is_answered_and_the_http_connection_goes_on() {
    let table = [
        ("GET /echo HTTP/1.1\nHost: a\n\n", 426, "upgrade: websocket is missing"),
        (
            "GET /echo HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 8\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
            426,
            "sec-websocket-version must be 13",
        ),
        (
            "GET /echo HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nOrigin: https://evil.example\n\n",
            403,
            "origin",
        ),
        (
            "GET /echo HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
             Sec-WebSocket-Key: short\n\n",
            400,
            "sec-websocket-key must be 16 bytes",
        ),
        ("POST /echo HTTP/1.1\nHost: a\nContent-Length: 0\n\n", 405, ""),
    ];
    let address = hyper().await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    for (request, status, says) in table {
        let (answered, head, body) = exchange(&mut stream, request).await;
        let body = body.to_lowercase();
        assert_eq!(answered, status, "{head}\n{body}");
        match status {
            405 => assert!(head.contains("\r\nallow: get") && body.is_empty(), "{head}\n{body}"),
            _ => assert!(head.contains("\r\ncontent-type: text/plain") && body.contains(says), "{head}\n{body}"),
        }
        if status == 426 {
            let fields = ["\r\nconnection: upgrade", "\r\nupgrade: websocket", "\r\nsec-websocket-version: 13"];
            assert!(fields.iter().all(|field| head.contains(field)), "{head}");
        }
        // On the same connection.
        let (status, _, body) = exchange(&mut stream, "GET / HTTP/1.1\nHost: a\n\n").await;
        assert_eq!((status, body.as_str()), (200, "hello\n"));
    }
    // HTTP/1.0 cannot upgrade.
    let (status, ..) = exchange(&mut stream, "GET /echo HTTP/1.0\nHost: a\nUpgrade: websocket\n\n").await;
    assert_eq!(status, 505);
}

/// Frames that come in the same segment as the request are in the stream that hyper hands over, and are answered.
#[tokio::test]
async fn frames_that_a_client_sends_behind_its_request_are_not_lost() {
    let address = hyper().await;
    let key = encode_key(*b"sixteen random b");
    let mut wire = Vec::new();
    ClientRequest::new(&format!("ws://{address}/echo")).unwrap().encode(&key, None, &mut wire);
    let now = Instant::now();
    let mut client = Connection::open(Role::Client, Config::default(), [9; 32], now);
    client.send_text(now, "at once").unwrap();
    client.send_binary(now, &[7; 20_000]).unwrap();
    client.ping(now, b"?").unwrap();
    wire.extend_from_slice(client.outgoing());
    client.advance_outgoing(now, client.outgoing().len());

    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(&wire).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.to_lowercase().contains(&format!("sec-websocket-accept: {}\r\n", key.accept().as_str()).to_lowercase())
    );
    let mut socket = sansocket_tokio::WebSocket::new(client, sansocket_tokio::Io(stream), RecvBuf::new());
    assert_eq!(socket.recv().await.unwrap(), Some("at once".into()));
    assert_eq!(socket.recv().await.unwrap(), Some(vec![7; 20_000].into()));
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
}

/// A server that closes when told `bye`, and that tells how each of its WebSockets ended.
async fn telling() -> (String, mpsc::Receiver<(Option<String>, Closed)>) {
    let (listener, address) = listen().await;
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let acceptance = Acceptance::new().subprotocol("chat").unwrap();
                let (response, upgrade) = Acceptor::new().upgrade(&request, &acceptance).unwrap();
                let (upgraded, tell) = (hyper::upgrade::on(&mut request), tell.clone());
                tokio::spawn(async move {
                    let mut socket = upgrade.open(TokioIo::new(upgraded.await.unwrap()));
                    while let Some(message) = socket.recv().await.unwrap() {
                        if message.as_text() == Some("bye") {
                            socket.close(CloseCode(4001), "as you wish").await.unwrap();
                        }
                    }
                    tell.send((socket.subprotocol(), socket.closed().unwrap())).await.unwrap();
                });
                std::future::ready(Ok::<_, Infallible>(response.map(Full::new)))
            });
            let http = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { http.with_upgrades().await.unwrap() });
        }
    });
    (address, told)
}

#[tokio::test]
async fn the_closing_handshake_works_both_ways() {
    let (address, mut told) = telling().await;
    let connector = Connector::new(&format!("ws://{address}/")).unwrap().subprotocol("chat").unwrap();

    let mut socket = connector.connect().await.unwrap();
    let ours = socket.close(CloseCode::GOING_AWAY, "home").await.unwrap();
    let (subprotocol, theirs) = told.recv().await.unwrap();
    assert_eq!(subprotocol.as_deref(), Some("chat"));
    assert!(ours.clean && theirs.clean);
    assert_eq!((theirs.code, theirs.reason.as_str()), (CloseCode::GOING_AWAY, "home"));

    let mut socket = connector.connect().await.unwrap();
    socket.send("bye").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), None);
    let ours = socket.closed().unwrap();
    let (_, theirs) = told.recv().await.unwrap();
    assert!(ours.clean && theirs.clean);
    assert_eq!((ours.code, ours.reason.as_str()), (CloseCode(4001), "as you wish"));
}

/// The server's own faults are 500s that say nothing.
#[tokio::test]
async fn a_subprotocol_that_was_not_offered_is_the_servers_fault() {
    let request = Request::get("/")
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    let acceptor = Acceptor::new();
    let error = acceptor.upgrade(&request, &Acceptance::new().subprotocol("chat").unwrap()).unwrap_err();
    let mismatch = UpgradeError::Answer(AnswerError::Subprotocol(SubprotocolError::NotOffered));
    assert_eq!(error.to_string(), mismatch.to_string());
    let response: Response<Bytes> = error.to_response();
    assert_eq!((response.status().as_u16(), response.body().len()), (500, 0));

    // What is under way holds nothing: to drop it is to forget it.
    let (response, upgrade) = acceptor.upgrade(&request, &Acceptance::new()).unwrap();
    assert_eq!(response.status(), 101);
    drop(upgrade);
}

/// Both ends compress if both want to, whatever HTTP library makes the handshake.
#[tokio::test]
async fn compression_is_agreed_on_if_both_ends_want_it() {
    for (client_wants, server_wants) in [(true, true), (true, false), (false, true), (false, false)] {
        let (client, server) = (deflating(client_wants), deflating(server_wants));
        let (listener, address) = listen().await;
        let acceptor = Acceptor::new().config(server.clone());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let (response, upgrade) = acceptor.upgrade(&request, &Acceptance::new()).unwrap();
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut socket = upgrade.open(TokioIo::new(upgraded.await.unwrap()));
                    while let Some(message) = socket.recv().await.unwrap() {
                        socket.send(message).await.unwrap();
                    }
                });
                std::future::ready(Ok::<_, Infallible>(response.map(Full::new)))
            });
            let http = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            http.with_upgrades().await.unwrap();
        });
        let connector = Connector::new(&format!("ws://{address}/")).unwrap().config(client.clone());
        let mut socket = connector.connect().await.unwrap();
        let text = "{\"symbol\":\"ACME\",\"price\":10.25}".repeat(100);
        for _ in 0..3 {
            socket.send(&text[..]).await.unwrap();
            assert_eq!(socket.recv().await.unwrap(), Some(text.as_str().into()));
        }
        let agreed = client_wants && server_wants;
        assert_eq!(socket.with_connection(|connection, _| connection.deflate_params().is_some()), agreed);
        let len = if agreed { 3 * text.len() as u64 } else { 0 };
        for config in [&client, &server] {
            let totals = config.deflate.as_ref().map(|deflate| deflate.pool.totals()).unwrap_or_default();
            assert_eq!((totals.deflated_len, totals.inflated_len), (len, len));
        }
        assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    }
}

fn deflating(wanted: bool) -> Config {
    let mut config = Config::default();
    config.deflate = wanted.then(DeflateConfig::default);
    config
}
