//! WebSockets over the streams of one HTTP/2 connection (RFC 8441), both ends.

use std::time::{Duration, Instant};

use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use sansocket::StreamOrder;
use sansocket_tokio::deflate::DeflateConfig;
use sansocket_tokio::handshake::{ResponseFault, SETTINGS_ENABLE_CONNECT_PROTOCOL};
use sansocket_tokio::{
    Acceptance, Acceptor, Bytes, CloseCode, Config, Connection, Connector, Message, RecvBuf, Role, UpgradeError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use http2::{Client, H2Stream};

#[allow(dead_code)]
#[path = "../examples/tokio_http2.rs"]
mod http2;

fn connector() -> Connector {
    Connector::new("ws://example.com/echo?room=7").unwrap()
}

/// A client whose server is the example's.
async fn client() -> Client {
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(http2::serve(far, h2::server::Builder::new()));
    Client::connect(near).await.unwrap()
}

#[tokio::test]
async fn a_stream_carries_a_websocket_with_its_subprotocol() {
    let mut client = client().await;
    let connector = connector().subprotocol("soap").unwrap().subprotocol("echo").unwrap();
    let mut socket = client.open(&connector).await.unwrap();
    assert_eq!(socket.subprotocol().as_deref(), Some("echo"));
    for text in ["hello", "", "héllo"] {
        socket.send(text).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(text.into()));
    }
    let closed = socket.close(CloseCode::NORMAL, "done").await.unwrap();
    assert_eq!((closed.clean, closed.peer_code), (true, Some(CloseCode::NORMAL)));
}

/// The windows of HTTP/2 begin at 65,535 bytes: what is larger needs them to be opened as it is read.
#[tokio::test]
async fn a_message_beyond_the_flow_control_window_comes_through_and_streams_share_the_connection() {
    let mut client = client().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(client.open(&connector()).await.unwrap());
    }
    let exchanges = sockets.into_iter().enumerate().map(|(n, mut socket)| {
        tokio::spawn(async move {
            for len in [65_535, 65_536, 1_000_000 + n, 3_000_000] {
                let payload = vec![n as u8; len];
                socket.send(payload.clone()).await.unwrap();
                assert_eq!(socket.recv().await.unwrap(), Some(Message::from(payload)));
            }
            assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
        })
    });
    for exchange in exchanges.collect::<Vec<_>>() {
        exchange.await.unwrap();
    }
}

/// RFC 8441 section 5: `END_STREAM` is what the end of a TCP connection is.
#[tokio::test]
async fn both_ends_of_a_closing_handshake_are_ends_of_the_stream() {
    // Seen from a client that is bare h2: the server closes its direction behind its Close frame.
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(http2::serve(far, h2::server::Builder::new()));
    let (mut send, mut recv) = bare_client(near).await;
    let mut ours = Connection::open(Role::Client, Config::default(), [1; 32], Instant::now());
    ours.close(Instant::now(), CloseCode::GOING_AWAY, "").unwrap();
    pump(&mut ours, &mut send, &mut recv).await;
    assert!(recv.is_end_stream());
    send.send_data(Bytes::new(), true).unwrap();
    assert!(ours.closed().unwrap().clean);

    // Seen from a server that is bare h2: so does the client when it has seen the server's end, instead of a reset.
    let (near, far) = tokio::io::duplex(16 * 1024);
    let serving = tokio::spawn(async move {
        let (mut send, mut recv) = bare_server(far).await;
        let mut ours = Connection::open(Role::Server, Config::default(), [2; 32], Instant::now());
        pump(&mut ours, &mut send, &mut recv).await;
        assert!(ours.closed().unwrap().clean);
    });
    let mut socket = Client::connect(near).await.unwrap().open(&connector()).await.unwrap();
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    serving.await.unwrap();
}

/// RFC 8441 section 5: what would be a reset of the TCP connection is one of the stream, with `CANCEL`.
#[tokio::test]
async fn a_connection_that_is_aborted_resets_its_stream() {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let serving = tokio::spawn(async move {
        let (send, mut recv) = bare_server(far).await;
        let reason = recv.data().await.unwrap().unwrap_err().reason();
        drop(send);
        reason
    });
    Client::connect(near).await.unwrap().open(&connector()).await.unwrap().abort();
    assert_eq!(serving.await.unwrap(), Some(Reason::CANCEL));

    // The other way round, a reset is no clean end.
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(async move {
        let (mut send, mut recv) = bare_server(far).await;
        recv.data().await.unwrap().unwrap();
        send.send_reset(Reason::CANCEL);
    });
    let mut socket = Client::connect(near).await.unwrap().open(&connector()).await.unwrap();
    socket.send("now").await.unwrap();
    assert!(!socket.recv().await.unwrap_err().closed().unwrap().clean);
}

#[tokio::test]
async fn a_server_refuses_with_a_status_and_a_body() {
    let mut client = client().await;
    let foreign = connector().header("Origin", "https://evil.example").unwrap();
    let refused = client.open(&foreign).await.unwrap_err();
    let refused = refused.downcast_ref::<UpgradeError>().unwrap();
    assert!(matches!(refused, UpgradeError::Response(_)) && refused.to_string().contains("403"), "{refused}");
    assert_eq!(refused.to_response().status(), 502);

    // What the client saw, and that the HTTP connection goes on.
    let (near, far) = tokio::io::duplex(16 * 1024);
    tokio::spawn(http2::serve(far, h2::server::Builder::new()));
    let (http, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    let mut plain = http::Request::get("http://example.com/").version(http::Version::HTTP_2).body(()).unwrap();
    for (status, says) in [(405, "extended CONNECT"), (501, ":protocol"), (403, "Origin")] {
        let mut http = http.clone().ready().await.unwrap();
        let (response, _) = http.send_request(std::mem::take(&mut plain), true).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        let text = String::from_utf8(body.data().await.unwrap().unwrap().to_vec()).unwrap();
        assert!(head.status == status && text.contains(says), "{head:?} {text}");
        plain = foreign.connect_request().unwrap();
        let protocol = if status == 405 { "webtransport" } else { "websocket" };
        plain.extensions_mut().insert(Protocol::from_static(protocol));
    }
}

/// RFC 8441 section 3: without the setting, a client must not ask.
#[tokio::test]
async fn a_server_without_the_setting_is_not_asked() {
    let (near, mut far) = tokio::io::duplex(16 * 1024);
    let serving = tokio::spawn(async move {
        // By hand: empty settings, the acknowledgement of the client's, and of its ping. No request may come.
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut preface = [0; 24];
        far.read_exact(&mut preface).await.unwrap();
        while let Ok(len) = far.read_u24().await {
            let (kind, flags, _stream) =
                (far.read_u8().await.unwrap(), far.read_u8().await.unwrap(), far.read_u32().await.unwrap());
            let mut payload = vec![0; len];
            far.read_exact(&mut payload).await.unwrap();
            assert_ne!(kind, 1, "a request came");
            if kind == 6 && flags == 0 {
                far.write_all(&[0, 0, 8, 6, 1, 0, 0, 0, 0]).await.unwrap();
                far.write_all(&payload).await.unwrap();
            }
        }
    });
    let mut client = Client::connect(near).await.unwrap();
    let error = client.open(&connector()).await.unwrap_err();
    assert_eq!(error.to_string(), "the server does not offer WebSockets over HTTP/2");
    drop(client);
    serving.await.unwrap();
    assert_eq!(SETTINGS_ENABLE_CONNECT_PROTOCOL, 8);
}

/// RFC 8441 section 5: extensions are negotiated as ever.
#[tokio::test]
async fn compression_is_agreed_on_if_both_ends_want_it() {
    for (client_wants, server_wants) in [(true, true), (true, false), (false, true)] {
        let (client, server) = (deflating(client_wants), deflating(server_wants));
        let (near, far) = tokio::io::duplex(16 * 1024);
        let acceptor = Acceptor::new().config(server.clone());
        tokio::spawn(async move {
            let mut connection = h2::server::Builder::new().enable_connect_protocol().handshake(far).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            let (response, upgrade) =
                acceptor.upgrade_connect(&request, Some("websocket"), &Acceptance::new()).unwrap();
            let send = respond.send_response(response.map(drop), false).unwrap();
            let mut socket = upgrade.open(H2Stream::new(send, request.into_body()));
            while let Some(message) = socket.recv().await.unwrap() {
                socket.send(message).await.unwrap();
            }
        });
        let mut http = Client::connect(near).await.unwrap();
        let mut socket = http.open(&connector().config(client.clone())).await.unwrap();
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

/// An answer that was not asked for opens nothing.
#[tokio::test]
async fn an_extension_that_was_not_offered_fails_the_handshake() {
    for (wanted, answer, fault) in [
        (false, "permessage-deflate", ResponseFault::ExtensionNotOffered),
        (true, "permessage-deflate; server_max_window_bits=16", ResponseFault::ExtensionParams),
        (true, "permessage-deflate, permessage-deflate", ResponseFault::ExtensionParams),
        (true, "permessage-deflate;", ResponseFault::ExtensionMalformed),
    ] {
        let response = http::Response::builder().header("sec-websocket-extensions", answer).body(()).unwrap();
        let (near, _far) = tokio::io::duplex(1024);
        let opened = connector().config(deflating(wanted)).open_connect(&response, near);
        assert!(matches!(opened, Err(UpgradeError::Response(found)) if found == fault), "{answer}: {opened:?}");
    }
}

trait ReadU24 {
    async fn read_u24(&mut self) -> std::io::Result<usize>;
}

impl ReadU24 for DuplexStream {
    async fn read_u24(&mut self) -> std::io::Result<usize> {
        Ok(usize::from(self.read_u8().await?) << 16 | usize::from(self.read_u16().await?))
    }
}

/// A stream to a server, asked for by h2 alone.
async fn bare_client(io: DuplexStream) -> (SendStream<Bytes>, RecvStream) {
    let (http, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut request = connector().connect_request().unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let mut http = http.ready().await.unwrap();
    let (response, send) = http.send_request(request, false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    (send, response.into_body())
}

/// The first stream of a client, accepted by h2 alone.
async fn bare_server(io: DuplexStream) -> (SendStream<Bytes>, RecvStream) {
    let mut connection = h2::server::Builder::new().enable_connect_protocol().handshake(io).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let send = respond.send_response(http::Response::new(()), false).unwrap();
    (send, request.into_body())
}

/// Drives a bare connection to its end; what the peer's direction ends with must be no reset.
async fn pump(connection: &mut Connection, send: &mut SendStream<Bytes>, recv: &mut RecvStream) {
    let mut buf = RecvBuf::new();
    while connection.closed().is_none() {
        while connection.poll_event(Instant::now(), &mut buf).is_some() {}
        let out = Bytes::copy_from_slice(connection.outgoing());
        connection.advance_outgoing(Instant::now(), out.len());
        let end = connection.poll_stream() == Some(StreamOrder::ShutdownWrite);
        if end || !out.is_empty() {
            send.send_data(out, end).unwrap();
        }
        match tokio::time::timeout(Duration::from_secs(10), recv.data()).await.unwrap() {
            Some(data) => {
                let data = data.unwrap();
                buf.extend_from_slice(&data);
                recv.flow_control().release_capacity(data.len()).unwrap();
            }
            None => connection.handle_eof(),
        }
    }
}
