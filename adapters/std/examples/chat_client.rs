//! A chat client that survives its server: lines in, messages out. What is typed while there is no connection waits.
//!
//! `cargo run -p sansocket-std --example chat_client [URL]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use sansocket_std::client::{ClientConfig, ClientEvent};
use sansocket_std::{CloseCode, Connector, Message};

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let mut config = ClientConfig::default();
    config.backoff.first = Duration::from_millis(500); // Somebody is waiting.
    config.backoff.cap = Duration::from_secs(10);
    let (client, inbox) = Connector::new(&url)?.client(config)?;

    let events = client.events();
    thread::spawn(move || {
        for event in events {
            match event {
                Ok(ClientEvent::Ready { .. }) => eprintln!("* connected to {url}"),
                Ok(ClientEvent::Lost { cause, .. }) => eprintln!("* lost: {cause}"),
                Ok(ClientEvent::AttemptFailed { cause, .. }) => eprintln!("* {cause}"),
                Ok(ClientEvent::Reconnecting { attempt, delay }) => eprintln!("* attempt {attempt} in {delay:.1?}"),
                _ => {}
            }
        }
    });
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if client.send(line).is_err() {
                return;
            }
        }
        // A code and a reason that may be sent; what was typed leaves first.
        let _ = client.close(CloseCode::NORMAL, "", Duration::from_secs(30));
    });
    for message in inbox {
        match message? {
            Message::Text(text) => println!("{text}"),
            Message::Binary(bytes) => println!("{} bytes", bytes.len()),
        }
    }
    Ok(())
}
