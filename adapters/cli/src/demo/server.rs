//! The server's side: it sends back what comes, and fails on demand.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use sansocket::handshake::{RequestHead, choose_subprotocol};
use sansocket_std::{AcceptError, Acceptance, Acceptor, CloseCause, Closed, Message, Rejection, WebSocket};

use super::story::Trouble;
use super::timeline::{Timeline, Who};
use crate::ending::{Ending, why_not_accepted};
use crate::terminal::counted;

/// A server on a free port, which ends with the process.
pub(super) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    outcomes: Receiver<Outcome>,
}

/// How one connection ended, as the server saw it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was never opened.
    Refused,
    /// The server cut it.
    Cut,
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
    /// Connections that the server cut.
    pub(super) cut: u32,
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
            weather: Mutex::new(Weather::Fair),
        });
        shared.note(format_args!("listens on {address}"));
        let serving = Arc::clone(&shared);
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, reports) = (Arc::clone(&serving), reports.clone());
                thread::spawn(move || {
                    let outcome = shared.serve(stream);
                    let _ = reports.send(outcome); // The story may be over.
                });
            }
        })?;
        Ok(Self { address, shared, outcomes })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection to end.
    pub(super) fn next_outcome(&mut self) -> Result<Outcome, Trouble> {
        self.outcomes.recv_timeout(PATIENCE).map_err(|_| "the server did not see a connection end".into())
    }

    /// Makes it cut the connection in the middle of what comes next, and turn away who comes then, for a while.
    pub(super) fn prepare_cut(&self) {
        *self.shared.weather() = Weather::Cutting { echoes_left: ECHOES_BEFORE_CUT };
    }

    /// What it has counted so far.
    pub(super) fn tally(&self) -> Tally {
        *self.shared.lock_tally()
    }
}

struct Shared {
    timeline: Arc<Timeline>,
    acceptor: Acceptor,
    tally: Mutex<Tally>,
    weather: Mutex<Weather>,
}

/// What the server does to its clients.
enum Weather {
    /// It serves them.
    Fair,
    /// It cuts the connection after so many more echoes.
    Cutting { echoes_left: u32 },
    /// It refuses so many more handshakes.
    Away { refusals_left: u32 },
}

impl Shared {
    /// Serves one connection from its first byte to its last.
    fn serve(&self, stream: TcpStream) -> Outcome {
        let mut socket = match self.acceptor.accept_with(stream, |request| self.decide(request)) {
            Ok(socket) => socket,
            Err(error) => return self.refused(&error),
        };
        self.lock_tally().connections += 1;
        let subprotocol = socket.subprotocol().map(|name| format!(", subprotocol {name}")).unwrap_or_default();
        self.note(format_args!("accepts a connection{subprotocol}"));
        loop {
            match socket.recv() {
                Ok(Some(message)) if self.is_cut_due() => return self.cut(socket, &message),
                // A failure to send is told by the next receive.
                Ok(Some(message)) => drop(self.answer(&mut socket, message)),
                Ok(None) => return self.ended(socket.closed().cloned()),
                Err(error) => return self.ended(error.closed().cloned()),
            }
        }
    }

    fn decide(&self, request: &RequestHead<'_>) -> Result<Acceptance, Rejection> {
        let mut weather = self.weather();
        if let Weather::Away { refusals_left } = &mut *weather {
            *refusals_left -= 1;
            if *refusals_left == 0 {
                *weather = Weather::Fair;
            }
            let rejection = Rejection::new(503).map(|rejection| rejection.body("restarting, come back in a moment\n"));
            return rejection.map_or(Ok(Acceptance::new()), Err);
        }
        let chosen = choose_subprotocol(&request.headers, &[SUBPROTOCOL]).ok().flatten();
        Ok(chosen.and_then(|name| Acceptance::new().subprotocol(name).ok()).unwrap_or_default())
    }

    /// Sends the message back, at once or later.
    fn answer(&self, socket: &mut WebSocket<TcpStream>, message: Message) -> Result<(), sansocket_std::Error> {
        match message.as_text() {
            Some(text) if text.starts_with(ORDER) => return socket.feed(message),
            Some(LATER) => {
                self.note(format_args!("will send back {LATER:?} in {} ms, from another thread", PAUSE.as_millis()));
                let sender = socket.sender();
                thread::spawn(move || {
                    thread::sleep(PAUSE);
                    sender.send(message)
                });
                return Ok(());
            }
            _ => {}
        }
        let len = u64::try_from(message.as_bytes().len()).unwrap_or(u64::MAX);
        self.note(format_args!("sends back {} of {}", message.kind(), counted(len, "byte")));
        socket.send(message)
    }

    /// Whether the next echo is one too many. Counts it, if not.
    fn is_cut_due(&self) -> bool {
        let mut weather = self.weather();
        match &mut *weather {
            Weather::Cutting { echoes_left: 0 } => {
                *weather = Weather::Away { refusals_left: REFUSALS_AFTER_CUT };
                true
            }
            Weather::Cutting { echoes_left } => {
                *echoes_left -= 1;
                false
            }
            _ => false,
        }
    }

    /// Ends the connection as a crash would: without a Close frame, with messages not answered, or not even read.
    fn cut(&self, mut socket: WebSocket<TcpStream>, unanswered: &Message) -> Outcome {
        // What it has answered so far leaves, if the client is still there.
        let _ = socket.flush();
        self.lock_tally().cut += 1;
        self.note(format_args!(
            "cuts the connection, instead of an answer to {:?}",
            unanswered.as_text().unwrap_or("")
        ));
        let _ = socket.transport().shutdown(Shutdown::Both);
        Outcome::Cut
    }

    fn refused(&self, error: &AcceptError) -> Outcome {
        self.lock_tally().refused += 1;
        self.note(format_args!("opens no connection: {}", why_not_accepted(error)));
        Outcome::Refused
    }

    fn ended(&self, closed: Option<Closed>) -> Outcome {
        let Some(closed) = closed else { return Outcome::Lost };
        if matches!(closed.cause, CloseCause::Protocol(_)) {
            self.lock_tally().protocol_errors += 1;
        }
        self.note(Ending(&closed));
        Outcome::Ended(closed)
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.timeline.note(Who::Server, what);
    }

    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What server and client agree to speak.
pub(super) const SUBPROTOCOL: &str = "echo.v1";
/// The message that comes back after a while.
pub(super) const LATER: &str = "take your time";
/// How a message begins that is one of many, and not worth a line of its own.
pub(super) const ORDER: &str = "order ";

/// Several ping intervals of the client.
const PAUSE: Duration = Duration::from_millis(150);
const ECHOES_BEFORE_CUT: u32 = 9;
/// How often the client has to wait, each time longer.
pub(super) const REFUSALS_AFTER_CUT: u32 = 2;
/// How long a connection may take to end: loopback and a thread's turn need milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
