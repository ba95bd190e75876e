//! Lines in, messages out: one thread types, the other receives.
//!
//! `cargo run -p sansocket-std --example chat_client [URL]`

#![allow(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;
use std::thread;

use sansocket_std::{CloseCode, Message, connect};

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let mut socket = connect(&url)?;
    let sender = socket.sender();
    thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                return;
            }
        }
        // Refused when the connection is over, which is what is asked for.
        let _ = sender.close(CloseCode::NORMAL, "");
    });
    while let Some(message) = socket.recv()? {
        match message {
            Message::Text(text) => println!("{text}"),
            Message::Binary(bytes) => println!("{} bytes", bytes.len()),
        }
    }
    Ok(())
}
