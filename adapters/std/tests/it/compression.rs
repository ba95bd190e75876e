//! Which messages are compressed.

use sansocket_std::sansocket::deflate::{Compression, DeflateConfig, PreparedMessage};
use sansocket_std::{Config, Message, MessageKind};

use crate::support::{LIMIT, pair_with, within};

#[test]
fn each_message_has_a_choice_however_it_is_sent() {
    within(LIMIT, || {
        let deflate = DeflateConfig::default();
        let deflating = |deflate: DeflateConfig| {
            let mut config = Config::default();
            config.deflate = Some(deflate);
            config
        };
        let (mut client, mut server) = pair_with(deflating(deflate.clone()), deflating(DeflateConfig::default()));
        let sender = client.sender();
        let (short, long) = ("ab".repeat(100), "ab".repeat(1000));
        let mut deflated_len = 0;
        let mut expect = |text: &str, deflated: usize| {
            assert_eq!(server.recv().unwrap(), Some(Message::from(text)));
            deflated_len += deflated as u64;
            assert_eq!(deflate.pool.totals().deflated_len, deflated_len);
        };
        for (choice, short_is, long_is) in
            [(Compression::Default, false, true), (Compression::Always, true, true), (Compression::Never, false, false)]
        {
            for (text, is_compressed) in [(&short, short_is), (&long, long_is)] {
                let deflated = if is_compressed { text.len() } else { 0 };
                client.send_with_compression(text.as_str(), choice).unwrap();
                expect(text, deflated);
                sender.send_with_compression(text.as_str(), choice).unwrap();
                expect(text, deflated);
                for mut writer in [client.send_pieces(MessageKind::Text), sender.send_pieces(MessageKind::Text)] {
                    writer = writer.with_compression(choice);
                    for piece in text.as_bytes().chunks(70) {
                        writer.send_piece(piece).unwrap();
                    }
                    writer.finish().unwrap();
                    // Of pieces nobody knows how many will come.
                    expect(text, if choice == Compression::Never { 0 } else { text.len() });
                }
            }
        }
        let prepared = PreparedMessage::new(long.as_str(), &deflate);
        client.send_prepared(&prepared).unwrap();
        expect(&long, long.len()); // When it was prepared; and never again.
        sender.send_prepared(&prepared).unwrap();
        expect(&long, 0);
    });
}
