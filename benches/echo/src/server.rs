//! The servers: each echoes the way its library's own example does, and some a second time with the flush put off until nothing more
//! has arrived.

use std::future::Future;
use std::io::Read as _;

use futures_util::io::{BufReader, BufWriter};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use sansocket_tokio::{Acceptor, Config, Connection, MessageRef};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

pub(crate) const RAW: &str = "raw-tokio";
pub(crate) const KINDS: [&str; 11] = [
    RAW,
    "sansocket",
    "sansocket-answer-with",
    "fastwebsockets",
    "tokio-websockets",
    "tokio-websockets-by-hand",
    "yawc",
    "yawc-by-hand",
    "tokio-tungstenite",
    "tokio-tungstenite-by-hand",
    "soketto",
];

/// Echoes messages of any length.
pub(crate) const GROWTH: &str = "growth";

/// Serves until the standard input ends.
pub(crate) fn serve(kind: &str) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match kind {
            RAW => listen(raw).await,
            "sansocket" => listen(sansocket).await,
            "sansocket-answer-with" => listen(sansocket_answer_with).await,
            "fastwebsockets" => listen(fastwebsockets).await,
            "tokio-websockets" => listen(tokio_websockets).await,
            "tokio-websockets-by-hand" => listen(tokio_websockets_by_hand).await,
            "yawc" => listen(yawc).await,
            "yawc-by-hand" => listen(yawc_by_hand).await,
            "tokio-tungstenite" => listen(tokio_tungstenite).await,
            "tokio-tungstenite-by-hand" => listen(tokio_tungstenite_by_hand).await,
            "soketto" => listen(soketto).await,
            GROWTH => listen(growth).await,
            _ => panic!("no server is called {kind}"),
        }
    });
}

/// Serves each connection in a task of its own.
async fn listen<F: Future<Output = Option<()>> + Send + 'static>(serve: fn(TcpStream) -> F) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound").port());
    loop {
        let (stream, _) = listener.accept().await.expect("a client connects");
        stream.set_nodelay(true).expect("a socket option");
        tokio::spawn(serve(stream));
    }
}

/// The handshake for servers that leave it to somebody else: every client of this load asks the same.
async fn shake_hands(stream: &mut TcpStream) -> Option<()> {
    const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    stream.write_all(RESPONSE).await.ok()
}

async fn raw(mut stream: TcpStream) -> Option<()> {
    shake_hands(&mut stream).await?;
    let mut buf = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buf).await.ok().filter(|n| *n > 0)?;
        stream.write_all(&buf[..n]).await.ok()?;
    }
}

async fn sansocket(stream: TcpStream) -> Option<()> {
    let mut socket = sansocket_tokio::accept(stream).await.ok()?;
    while let Some(message) = socket.recv().await.ok()? {
        socket.send(message).await.ok()?;
    }
    Some(())
}

async fn growth(stream: TcpStream) -> Option<()> {
    let mut config = Config::default();
    (config.frame_len_max, config.message_len_max) = (u64::MAX, u64::MAX);
    let mut socket = Acceptor::new().config(config).accept(stream).await.ok()?;
    while let Some(message) = socket.recv().await.ok()? {
        socket.send(message).await.ok()?;
    }
    Some(())
}

async fn sansocket_answer_with(stream: TcpStream) -> Option<()> {
    let mut socket = sansocket_tokio::accept(stream).await.ok()?;
    let answer = |message: MessageRef<'_>, connection: &mut Connection, now| {
        // Refused only when the connection is closing.
        let _ = match message {
            MessageRef::Text(text) => connection.send_text(now, text),
            MessageRef::Binary(payload) => connection.send_binary(now, payload),
        };
    };
    socket.answer_with(answer).await.ok()
}

async fn fastwebsockets(mut stream: TcpStream) -> Option<()> {
    use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
    shake_hands(&mut stream).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await.ok()?;
        match frame.opcode {
            OpCode::Close => return None,
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await.ok()?,
            _ => {}
        }
    }
}

async fn tokio_websockets(stream: TcpStream) -> Option<()> {
    let (_, mut socket) = tokio_websockets::ServerBuilder::new().accept(stream).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.ok()?;
        }
    }
    Some(())
}

async fn tokio_websockets_by_hand(stream: TcpStream) -> Option<()> {
    let (_, mut socket) = tokio_websockets::ServerBuilder::new().accept(stream).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            if message.is_text() || message.is_binary() {
                socket.feed(message).await.ok()?;
            }
            next = socket.next().now_or_never().flatten().transpose().ok()?;
        }
        socket.flush().await.ok()?;
    }
    Some(())
}

async fn yawc(mut stream: TcpStream) -> Option<()> {
    shake_hands(&mut stream).await?;
    let mut socket = yawc::WebSocket::from_stream(stream, yawc::Role::Server, yawc::Options::default()).ok()?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), yawc::frame::OpCode::Text | yawc::frame::OpCode::Binary) {
            socket.send(frame).await.ok()?;
        }
    }
    Some(())
}

async fn yawc_by_hand(mut stream: TcpStream) -> Option<()> {
    shake_hands(&mut stream).await?;
    let mut socket = yawc::WebSocket::from_stream(stream, yawc::Role::Server, yawc::Options::default()).ok()?;
    while let Some(frame) = socket.next().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if matches!(frame.opcode(), yawc::frame::OpCode::Text | yawc::frame::OpCode::Binary) {
                socket.feed(frame).await.ok()?;
            }
            next = socket.next().now_or_never().flatten();
        }
        socket.flush().await.ok()?;
    }
    Some(())
}

async fn tokio_tungstenite(stream: TcpStream) -> Option<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.ok()?;
        }
    }
    Some(())
}

async fn tokio_tungstenite_by_hand(stream: TcpStream) -> Option<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        let mut next = Some(message);
        while let Some(message) = next {
            if message.is_text() || message.is_binary() {
                socket.feed(message).await.ok()?;
            }
            next = socket.next().now_or_never().flatten().transpose().ok()?;
        }
        socket.flush().await.ok()?;
    }
    Some(())
}

async fn soketto(stream: TcpStream) -> Option<()> {
    use soketto::handshake::server::{Response, Server};
    let mut server = Server::new(BufReader::new(BufWriter::new(stream.compat())));
    let key = server.receive_request().await.ok()?.key();
    server.send_response(&Response::Accept { key, protocol: None }).await.ok()?;
    let (mut sender, mut receiver) = server.into_builder().finish();
    let mut message = Vec::new();
    loop {
        message.clear();
        match receiver.receive_data(&mut message).await.ok()? {
            soketto::Data::Text(_) => sender.send_text(std::str::from_utf8(&message).ok()?).await.ok()?,
            soketto::Data::Binary(_) => sender.send_binary_mut(&mut message).await.ok()?,
        }
        sender.flush().await.ok()?;
    }
}
