//! The adapter on both of its runtimes: the same claims for each.

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use sansocket_async::Dial;
use sansocket_async_std::{
    Acceptor, AsyncStd, CloseCode, Config, ConnectError, Connection, Connector, Error, Io, Message, MessageKind,
    RecvBuf, Role, Runtime, Smol, WebSocket,
};
use std::time::Duration;

async fn echo<T: sansocket_async::Transport, R: Runtime>(mut socket: WebSocket<T, R>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A runtime that can take over a stream of the standard library.
trait Adopt: Dial {
    fn adopt(stream: std::net::TcpStream) -> Self::Tcp;
}

impl Adopt for AsyncStd {
    fn adopt(stream: std::net::TcpStream) -> Self::Tcp {
        stream.into()
    }
}

impl Adopt for Smol {
    fn adopt(stream: std::net::TcpStream) -> Self::Tcp {
        stream.try_into().unwrap()
    }
}

/// Serves any number of connections.
fn serve<R: Adopt>() -> std::net::SocketAddr {
    let listener = async_io::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let address = listener.get_ref().local_addr().unwrap();
    R::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = R::adopt(stream.into_inner().unwrap());
            R::spawn(async move {
                if let Ok(socket) = Acceptor::<R>::new().accept(stream).await {
                    let _ = echo(socket).await;
                }
            });
        }
    });
    address
}

async fn messages_come_back<R: Adopt>() {
    let url = format!("ws://{}/", serve::<R>());
    let mut socket = Connector::<R>::new(&url).unwrap().connect().await.unwrap();
    for len in [0, 1, 125, 65_536, 1 << 20] {
        socket.send("x".repeat(len)).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some("x".repeat(len).into()));
        socket.send(vec![7; len]).await.unwrap();
        assert_eq!(socket.recv().await.unwrap(), Some(Message::from(vec![7; len])));
    }
    let closed = socket.close(CloseCode::NORMAL, "done").await.unwrap();
    assert!(closed.clean && closed.peer_code == Some(CloseCode::NORMAL), "{closed:?}");
}

async fn both_ends_write<R: Adopt>() {
    let url = format!("ws://{}/", serve::<R>());
    let socket = Connector::<R>::new(&url).unwrap().connect().await.unwrap();
    let (sender, mut receiver) = socket.split();
    for _ in 0..4 {
        let sender = sender.clone();
        R::spawn(async move { sender.send(vec![7; 3_000_000]).await.unwrap() });
    }
    for _ in 0..4 {
        assert_eq!(receiver.recv().await.unwrap().unwrap().as_bytes().len(), 3_000_000);
    }
    sender.start_close(CloseCode::NORMAL, "").unwrap();
    assert_eq!(receiver.recv().await.unwrap(), None);
}

/// The peer is a raw socket that says nothing.
async fn a_mute_peer_is_noticed<R: Dial>() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let mut config = Config::default();
    config.handshake_timeout = Some(Duration::from_millis(100));
    let error = Connector::<R>::new(&url).unwrap().config(config).connect().await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Handshake { .. }) && error.to_string().contains("handshake timeout"),
        "{error}"
    );
}

/// The server pings; a client that does nothing but sleep answers.
async fn the_keeper_answers_pings<R: Adopt>() {
    let listener = async_io::Async::<std::net::TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap();
    let url = format!("ws://{}/", listener.get_ref().local_addr().unwrap());
    let (done, waiting) = std::sync::mpsc::channel();
    R::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut config = Config::default();
        config.ping_interval = Some(Duration::from_millis(100));
        config.pong_timeout = Some(Duration::from_secs(10));
        let stream = R::adopt(stream.into_inner().unwrap());
        let mut socket = Acceptor::<R>::new().config(config).accept(stream).await.unwrap();
        let received = socket.recv().await;
        done.send((received, socket.rtt())).unwrap();
    });
    let mut socket = Connector::<R>::new(&url).unwrap().connect().await.unwrap();
    R::sleep_until(R::now() + Duration::from_millis(2500)).await;
    socket.send("still here").await.unwrap();
    assert_eq!(socket.recv().await.unwrap(), None, "the server dropped its socket: a clean close with 1001");
    let (received, rtt) = waiting.recv().unwrap();
    assert_eq!(received.unwrap(), Some("still here".into()));
    assert!(rtt.is_some());
}

/// An echo of one message through `futures-io`, cut anywhere, in a task that reads and one that writes.
async fn messages_in_pieces_are_byte_streams<R: Adopt>() {
    let url = format!("ws://{}/", serve::<R>());
    let mut socket = Connector::<R>::new(&url).unwrap().connect().await.unwrap();
    let text = "Zeile: äöü€😀\n".repeat(20_000);
    let mut writer = socket.send_pieces(MessageKind::Text);
    for piece in text.as_bytes().chunks(100_001) {
        writer.write_all(piece).await.unwrap();
    }
    futures_util::AsyncWriteExt::close(&mut writer).await.unwrap();
    drop(writer);
    let reader = socket.recv_pieces().await.unwrap().unwrap();
    assert_eq!(reader.kind(), MessageKind::Text);
    let lines: Vec<_> = futures_util::AsyncBufReadExt::lines(reader).map(Result::unwrap).collect().await;
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (20_000, Some("Zeile: äöü€😀")));

    socket.send(vec![7; 100_000]).await.unwrap();
    let mut bytes = Vec::new();
    let mut reader = socket.recv_pieces().await.unwrap().unwrap();
    reader.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, [7; 100_000]);
    drop(reader);

    // What breaks off is no end of file.
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &far, b"\x02\x03abc").unwrap();
    drop(far);
    let near = async_io::Async::new(near).unwrap();
    let connection = Connection::open(Role::Client, Config::default(), [7; 32], R::now());
    let mut socket = WebSocket::<_, R>::new(connection, Io(near), RecvBuf::new());
    let mut bytes = Vec::new();
    let error = socket.recv_pieces().await.unwrap().unwrap().read_to_end(&mut bytes).await.unwrap_err();
    assert_eq!((error.kind(), &bytes[..]), (std::io::ErrorKind::UnexpectedEof, &b"abc"[..]));
}

macro_rules! on_both_runtimes {
    ($($claim:ident)*) => {
        mod async_std_runtime {
            $(#[test]
            fn $claim() {
                async_std::task::block_on(super::$claim::<super::AsyncStd>());
            })*
        }

        mod smol_runtime {
            $(#[test]
            fn $claim() {
                smol::block_on(super::$claim::<super::Smol>());
            })*
        }
    };
}

on_both_runtimes! {
    messages_come_back
    both_ends_write
    a_mute_peer_is_noticed
    the_keeper_answers_pings
    messages_in_pieces_are_byte_streams
}
