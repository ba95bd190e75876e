//! Echoes every message, with a thread for each connection.
//!
//! `cargo run --release -p sansocket-std --example echo_server [ADDRESS]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use sansocket_std::{Acceptor, Config};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);

    let acceptor = Arc::new(Acceptor::new().config(Config::default()));
    for stream in listener.incoming() {
        let stream = stream?;
        let acceptor = Arc::clone(&acceptor);
        thread::spawn(move || {
            if let Err(error) = serve(&acceptor, stream) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn serve(acceptor: &Acceptor, stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut socket = acceptor.accept(stream)?;
    while let Some(message) = socket.recv()? {
        // Fed, not sent: all that one read brought is answered with one write.
        socket.feed(message)?;
    }
    Ok(())
}
