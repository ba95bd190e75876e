//! A chat client on smol: lines in, messages out. `smol_chat_client URL`

use futures_util::StreamExt as _;
use futures_util::io::{AsyncBufReadExt as _, BufReader};
use sansocket_async_std::{CloseCode, Connector, Message, Smol};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".into());
    smol::block_on(async {
        let (sender, mut receiver) = Connector::<Smol>::new(&url)?.connect().await?.split();
        let typing = smol::spawn(async move {
            let mut lines = BufReader::new(smol::Unblock::new(std::io::stdin())).lines();
            while let Some(Ok(line)) = lines.next().await {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
            let _ = sender.start_close(CloseCode::NORMAL, "");
        });
        while let Some(message) = receiver.recv().await? {
            #[allow(clippy::print_stdout)]
            match message {
                Message::Text(text) => println!("{text}"),
                Message::Binary(bytes) => println!("{} bytes", bytes.len()),
            }
        }
        drop(typing);
        Ok(())
    })
}
