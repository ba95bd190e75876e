//! A chat client on async-std: lines in, messages out. `async_std_chat_client URL`

use futures_util::StreamExt as _;
use futures_util::io::{AsyncBufReadExt as _, BufReader};
use sansocket_async_std::{AsyncStd, CloseCode, Connector, Message};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".into());
    async_std::task::block_on(async {
        let (sender, mut receiver) = Connector::<AsyncStd>::new(&url)?.connect().await?.split();
        let typing = async_std::task::spawn(async move {
            let mut lines = BufReader::new(async_std::io::stdin()).lines();
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
