//! Echoes every message, with a thread for each connection; Ctrl-C shuts it down gracefully.
//!
//! `cargo run --release -p sansocket-std --example echo_server -- [--listen ADDR]`. The first line it prints is `listening on ADDR`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::collections::HashMap;
use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use sansocket_std::{Acceptor, CloseCode, Config, Sender};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    let mut signals = Signals::new([SIGINT])?;
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);

    let acceptor = Acceptor::new().config(Config::default());
    let house = Arc::new(House::default());
    let serving = Arc::clone(&house);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // It is of one connection, or will pass, as when there are too many open files.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            let (acceptor, house) = (acceptor.clone(), Arc::clone(&serving));
            thread::spawn(move || {
                if let Err(error) = serve(&acceptor, stream, &house) {
                    eprintln!("{error}");
                }
            });
        }
    });

    signals.forever().next();
    house.close(Duration::from_secs(10));
    Ok(())
}

fn serve(acceptor: &Acceptor, stream: TcpStream, house: &House) -> Result<(), Box<dyn Error>> {
    let mut socket = acceptor.accept(stream)?;
    let Some(_guest) = house.enter(socket.sender()) else {
        socket.close(CloseCode::GOING_AWAY, "the server shuts down")?;
        return Ok(());
    };
    while let Some(message) = socket.recv()? {
        // Fed, not sent: all that one read brought is answered with one write. Refused once the connection closes.
        if socket.feed(message).is_err() {
            break;
        }
    }
    while socket.recv()?.is_some() {}
    Ok(())
}

/// Who is connected.
#[derive(Default)]
struct House {
    guests: Mutex<Guests>,
    left: Condvar,
}

#[derive(Default)]
struct Guests {
    senders: HashMap<u64, Sender<TcpStream>>,
    entered: u64,
    closed: bool,
}

impl House {
    /// `None` when it is closed.
    fn enter(&self, sender: Sender<TcpStream>) -> Option<Guest<'_>> {
        let mut guests = self.guests.lock().unwrap();
        if guests.closed {
            return None;
        }
        guests.entered += 1;
        let number = guests.entered;
        guests.senders.insert(number, sender);
        Some(Guest { house: self, number })
    }

    /// Lets nobody in any more, says goodbye to everybody, and waits until they have left.
    fn close(&self, patience: Duration) {
        let mut guests = self.guests.lock().unwrap();
        guests.closed = true;
        for sender in guests.senders.values() {
            let sender = sender.clone();
            // A thread for each: one who does not read holds up nobody but his own.
            thread::spawn(move || sender.close(CloseCode::GOING_AWAY, "the server shuts down"));
        }
        drop(self.left.wait_timeout_while(guests, patience, |guests| !guests.senders.is_empty()));
    }
}

/// Somebody in the house, until he is dropped.
struct Guest<'h> {
    house: &'h House,
    number: u64,
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.house.guests.lock().unwrap().senders.remove(&self.number);
        self.house.left.notify_all();
    }
}
