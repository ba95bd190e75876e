//! Sends a few lines and prints what comes back.
//!
//! `cargo run -p sansocket-std --example client [URL]`

#![allow(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;

use sansocket_std::{CloseCode, Message, connect};

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let mut socket = connect(&url)?;
    println!("connected to {url}");

    for line in ["hello", "is anybody there?", "bye"] {
        socket.send_text(line)?;
        match socket.recv()? {
            Some(Message::Text(text)) => println!("> {line}\n< {text}"),
            Some(Message::Binary(bytes)) => println!("> {line}\n< {} bytes", bytes.len()),
            None => break,
        }
    }
    println!("{}", socket.close(CloseCode::NORMAL, "")?);
    Ok(())
}
