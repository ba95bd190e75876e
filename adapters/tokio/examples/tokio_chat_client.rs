//! A chat client: lines in, messages out. `tokio_chat_client URL`

use sansocket_tokio::{CloseCode, Message};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".into());
    let (sender, mut receiver) = sansocket_tokio::connect(&url).await?.split();
    let typing = tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
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
    typing.abort();
    Ok(())
}
