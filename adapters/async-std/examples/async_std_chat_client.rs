//! A chat client on async-std that survives its server: lines in, messages out. What is typed while there is no connection waits.
//! `async_std_chat_client URL`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::io::{AsyncBufReadExt as _, BufReader};
use sansocket_async_std::client::{ClientConfig, ClientEvent};
use sansocket_async_std::{AsyncStd, CloseCode, Connector, Message};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".into());
    async_std::task::block_on(async {
        let mut config = ClientConfig::default();
        config.backoff.first = Duration::from_millis(500); // Somebody is waiting.
        config.backoff.cap = Duration::from_secs(10);
        let (client, mut inbox) = Connector::<AsyncStd>::new(&url)?.client(config)?;

        let mut events = client.events();
        let _told = async_std::task::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    Ok(ClientEvent::Ready { .. }) => eprintln!("* connected to {url}"),
                    Ok(ClientEvent::Lost { cause, .. }) => eprintln!("* lost: {cause}"),
                    Ok(ClientEvent::AttemptFailed { cause, .. }) => eprintln!("* {cause}"),
                    Ok(ClientEvent::Reconnecting { attempt, delay }) => eprintln!("* attempt {attempt} in {delay:.1?}"),
                    _ => {}
                }
            }
        });
        let _typing = async_std::task::spawn(async move {
            let mut lines = BufReader::new(async_std::io::stdin()).lines();
            while let Some(Ok(line)) = lines.next().await {
                if client.send(line).await.is_err() {
                    return;
                }
            }
            // A code and a reason that may be sent; what was typed leaves first.
            let _ = client.close(CloseCode::NORMAL, "", Duration::from_secs(30)).await;
        });
        while let Some(message) = inbox.recv().await? {
            match message {
                Message::Text(text) => println!("{text}"),
                Message::Binary(bytes) => println!("{} bytes", bytes.len()),
            }
        }
        Ok(())
    })
}
