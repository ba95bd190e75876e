//! The server's side: it sends back what comes, books orders, and dies on demand.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sansocket::handshake::{RequestHead, choose_subprotocol};
use sansocket::json::EnvelopeFormat;
use sansocket_std::{AcceptError, Acceptance, Acceptor, CloseCause, Closed, Message, Rejection, WebSocket};

use super::story::Trouble;
use super::timeline::{Timeline, Who};
use crate::ending::{Ending, why_not_accepted};
use crate::terminal::counted;

/// A server on a free port, which ends with the process.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    reports: Sender<Outcome>,
    outcomes: Receiver<Outcome>,
}

/// How one connection ended, as the server saw it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was never opened.
    Refused,
    /// The server died.
    Died,
    /// By a Close frame, or for a fault.
    Ended(Closed),
    /// Somehow.
    Lost,
}

/// What the server counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Connections that were opened.
    pub(super) connections: u32,
    /// Handshakes that were refused.
    pub(super) refused: u32,
    /// Connections that ended by the peer's breach of the protocol.
    pub(super) protocol_errors: u32,
    /// How often it died.
    pub(super) deaths: u32,
    /// Orders that arrived again, and were not booked twice.
    pub(super) repeated: u64,
}

impl Server {
    /// Listens, and serves from threads of its own.
    pub(super) fn start(timeline: &Arc<Timeline>) -> Result<Self, Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (reports, outcomes) = mpsc::channel();
        let shared = Arc::new(Shared {
            timeline: Arc::clone(timeline),
            acceptor: Acceptor::new(),
            tally: Mutex::default(),
            ledger: Mutex::default(),
            life: Mutex::new(Life::Healthy),
        });
        let server = Self { address, shared, reports, outcomes };
        server.listen(listener)?;
        server.shared.note(format_args!("listens on {address}"));
        Ok(server)
    }

    /// Starts it again, after it has died.
    pub(super) fn restart(&self) -> Result<(), Trouble> {
        *self.shared.life() = Life::Healthy;
        self.listen(TcpListener::bind(self.address)?)?;
        self.shared.note("is started again, with the orders that it has booked");
        Ok(())
    }

    fn listen(&self, listener: TcpListener) -> Result<(), Trouble> {
        let (shared, reports) = (Arc::clone(&self.shared), self.reports.clone());
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if matches!(*shared.life(), Life::Dead) {
                    return; // The port is free then.
                }
                let (shared, reports) = (Arc::clone(&shared), reports.clone());
                thread::spawn(move || {
                    let outcome = shared.serve(stream);
                    let _ = reports.send(outcome); // The story may be over.
                });
            }
        })?;
        Ok(())
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The numbers of the orders that it has booked.
    pub(super) fn ledger(&self) -> Vec<u32> {
        lock(&self.shared.ledger).clone()
    }

    /// Waits for the next connection to end.
    pub(super) fn next_outcome(&mut self) -> Result<Outcome, Trouble> {
        self.outcomes.recv_timeout(PATIENCE).map_err(|_| "the server did not see a connection end".into())
    }

    /// Makes it die when so many more orders have come, all of a sudden.
    pub(super) fn prepare_death(&self, orders_left: u32) {
        *self.shared.life() = Life::Doomed { orders_left };
    }

    /// Waits until nobody listens any more.
    pub(super) fn await_silence(&self) -> Result<(), Trouble> {
        for _ in 0..1000 {
            if TcpStream::connect(self.address).is_err() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err("the server does not die".into())
    }

    /// What it has counted so far.
    pub(super) fn tally(&self) -> Tally {
        *lock(&self.shared.tally)
    }
}

struct Shared {
    timeline: Arc<Timeline>,
    acceptor: Acceptor,
    tally: Mutex<Tally>,
    /// What it would keep on a disk.
    ledger: Mutex<Vec<u32>>,
    life: Mutex<Life>,
}

/// How the server is.
enum Life {
    Healthy,
    /// It dies instead of booking the next order but so many.
    Doomed {
        orders_left: u32,
    },
    Dead,
}

impl Shared {
    /// Serves one connection from its first byte to its last.
    fn serve(&self, stream: TcpStream) -> Outcome {
        let mut socket = match self.acceptor.accept_with(stream, |request| self.decide(request)) {
            Ok(socket) => socket,
            Err(error) => return self.refused(&error),
        };
        lock(&self.tally).connections += 1;
        let subprotocol = socket.subprotocol().map(|name| format!(", subprotocol {name}")).unwrap_or_default();
        self.note(format_args!("accepts a connection{subprotocol}"));
        loop {
            match socket.recv() {
                Ok(Some(message)) => match order_in(&message) {
                    Some(_) if self.dies_now() => return self.die(&socket),
                    Some(number) => self.book(number),
                    // A failure to send is told by the next receive.
                    None => drop(self.answer(&mut socket, message)),
                },
                Ok(None) => return self.ended(socket.closed().cloned()),
                Err(error) => return self.ended(error.closed().cloned()),
            }
        }
    }

    fn decide(&self, request: &RequestHead<'_>) -> Result<Acceptance, Rejection> {
        let chosen = choose_subprotocol(&request.headers, &[SUBPROTOCOL]).ok().flatten();
        Ok(chosen.and_then(|name| Acceptance::new().subprotocol(name).ok()).unwrap_or_default())
    }

    /// Sends the message back, at once or later.
    fn answer(&self, socket: &mut WebSocket<TcpStream>, message: Message) -> Result<(), sansocket_std::Error> {
        if let Some(answer) = self.answer_to(&message) {
            return socket.send(answer);
        }
        if message.as_text() == Some(LATER) {
            self.note(format_args!("will send back {LATER:?} in {} ms, from another thread", PAUSE.as_millis()));
            let sender = socket.sender();
            thread::spawn(move || {
                thread::sleep(PAUSE);
                sender.send(message)
            });
            return Ok(());
        }
        let len = u64::try_from(message.as_bytes().len()).unwrap_or(u64::MAX);
        self.note(format_args!("sends back {} of {}", message.kind(), counted(len, "byte")));
        socket.send(message)
    }

    /// The answer to a request, if the message is one.
    fn answer_to(&self, message: &Message) -> Option<Message> {
        let Message::Text(text) = message else { return None };
        let format = EnvelopeFormat::default();
        let request = format.decode(text).ok().filter(|request| request.kind == BOOKED)?;
        let booked = lock(&self.ledger).len();
        self.note(format_args!("is asked how many orders it has booked: {booked}"));
        format.answer(request.id.as_ref()?, &booked).ok()
    }

    /// Books an order, unless it has it already.
    fn book(&self, number: u32) {
        let mut ledger = lock(&self.ledger);
        if ledger.contains(&number) {
            lock(&self.tally).repeated += 1;
        } else {
            ledger.push(number);
        }
    }

    /// Whether this order is one too many. Counts it, if not.
    fn dies_now(&self) -> bool {
        let mut life = self.life();
        match &mut *life {
            Life::Doomed { orders_left: 0 } => {
                *life = Life::Dead;
                true
            }
            Life::Doomed { orders_left } => {
                *orders_left -= 1;
                false
            }
            _ => false,
        }
    }

    /// Ends the connection as the end of its process would: without a Close frame, with messages that are not even read; and stops to listen.
    fn die(&self, socket: &WebSocket<TcpStream>) -> Outcome {
        lock(&self.tally).deaths += 1;
        self.note(format_args!(
            "dies in the middle of its work, with {} booked",
            counted(lock(&self.ledger).len() as u64, "order")
        ));
        let stream = socket.transport();
        // Whoever waits for the next client looks up then.
        drop(stream.local_addr().and_then(TcpStream::connect));
        let _ = stream.shutdown(Shutdown::Both);
        Outcome::Died
    }

    fn refused(&self, error: &AcceptError) -> Outcome {
        lock(&self.tally).refused += 1;
        self.note(format_args!("opens no connection: {}", why_not_accepted(error)));
        Outcome::Refused
    }

    fn ended(&self, closed: Option<Closed>) -> Outcome {
        let Some(closed) = closed else { return Outcome::Lost };
        if matches!(closed.cause, CloseCause::Protocol(_)) {
            lock(&self.tally).protocol_errors += 1;
        }
        self.note(Ending(&closed));
        Outcome::Ended(closed)
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.timeline.note(Who::Server, what);
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the order that a message is.
fn order_in(message: &Message) -> Option<u32> {
    message.as_text()?.strip_prefix(ORDER)?.parse().ok()
}

/// What server and client agree to speak.
pub(super) const SUBPROTOCOL: &str = "echo.v1";
/// The message that comes back after a while.
pub(super) const LATER: &str = "take your time";
/// The request for how many orders are booked.
pub(super) const BOOKED: &str = "booked";
/// How a message begins that is an order; its number follows.
pub(super) const ORDER: &str = "order ";

/// Several ping intervals of the client.
const PAUSE: Duration = Duration::from_millis(150);
/// How long a connection may take to end: loopback and a thread's turn need milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
