//! Which messages are compressed.

use std::time::Instant;

use sansocket_tokio::deflate::{Compression, DeflateConfig, DeflateParams, PreparedMessage};
use sansocket_tokio::{Config, Connection, Io, Message, MessageKind, RecvBuf, Role, WebSocket};
use tokio::io::DuplexStream;

fn open(role: Role, stream: DuplexStream, deflate: &DeflateConfig) -> WebSocket<DuplexStream> {
    let mut config = Config::default();
    config.deflate = Some(deflate.clone());
    let connection = Connection::open(role, config, [7; 32], Instant::now());
    WebSocket::new(connection.with_deflate(Some(DeflateParams::default())), Io(stream), RecvBuf::new())
}

#[tokio::test]
async fn each_message_has_a_choice_however_it_is_sent() {
    let deflate = DeflateConfig::default();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let mut server = open(Role::Server, far, &DeflateConfig::default());
    let mut client = Some(open(Role::Client, near, &deflate));
    let (short, long) = ("ab".repeat(100), "ab".repeat(1000));
    let mut deflated_len = 0;
    let mut expect = async |text: &str, deflated: usize| {
        assert_eq!(server.recv().await.unwrap(), Some(Message::from(text)));
        deflated_len += deflated as u64;
        assert_eq!(deflate.pool.totals().deflated_len, deflated_len);
    };
    let prepared_elsewhere = DeflateConfig::default();
    let prepared = PreparedMessage::new(long.as_str(), &prepared_elsewhere);
    for whole in [true, false] {
        let halves = if whole { None } else { client.take().map(WebSocket::split) };
        for (choice, short_is, long_is) in
            [(Compression::Default, false, true), (Compression::Always, true, true), (Compression::Never, false, false)]
        {
            for (text, is_compressed) in [(&short, short_is), (&long, long_is)] {
                match (&mut client, &halves) {
                    (Some(socket), _) => socket.send_with_compression(text.as_str(), choice).await.unwrap(),
                    (_, Some((sender, _))) => sender.send_with_compression(text.as_str(), choice).await.unwrap(),
                    _ => unreachable!(),
                }
                expect(text, if is_compressed { text.len() } else { 0 }).await;
                let mut writer = match (&mut client, &halves) {
                    (Some(socket), _) => socket.send_pieces(MessageKind::Text),
                    (_, Some((sender, _))) => sender.send_pieces(MessageKind::Text),
                    _ => unreachable!(),
                };
                writer = writer.with_compression(choice);
                for piece in text.as_bytes().chunks(70) {
                    writer.send_piece(piece).await.unwrap();
                }
                writer.finish().await.unwrap();
                // Of pieces nobody knows how many will come.
                expect(text, if choice == Compression::Never { 0 } else { text.len() }).await;
            }
        }
        match (&mut client, &halves) {
            (Some(socket), _) => socket.send_prepared(&prepared).await.unwrap(),
            (_, Some((sender, _))) => sender.send_prepared(&prepared).await.unwrap(),
            _ => unreachable!(),
        }
        expect(&long, 0).await;
    }
}
