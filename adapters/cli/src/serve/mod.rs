//! `sansocket serve`: an echo server with a thread for each connection.

mod slots;

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sansocket::handshake::{RequestHead, choose_subprotocol};
use sansocket_std::{Acceptance, Acceptor, Config, Rejection, WebSocket};

use crate::Failure;
use crate::args::ServeArgs;
use crate::ending::{how_it_ended, why_not_accepted};
use crate::terminal::{counted, note};
use slots::{Slot, Slots};

/// Serves until the process is ended.
pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let listener =
        TcpListener::bind(args.listen).map_err(|error| Failure::Message(cannot_listen(args.listen, &error)))?;
    let address = listener.local_addr().map_err(Failure::message)?;
    announce(address);

    let slots = Slots::new(args.max_connections);
    let echo = Arc::new(Echo::new(args));
    loop {
        let slot = slots.take();
        match listener.accept() {
            Ok((stream, peer)) => serve_in_thread(Arc::clone(&echo), stream, peer, slot),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                note(format_args!("cannot accept a connection: {error}; trying again"));
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// What all connections share.
struct Echo {
    acceptor: Acceptor,
    subprotocols: Vec<String>,
    quiet: bool,
}

impl Echo {
    fn new(args: ServeArgs) -> Self {
        let mut config = Config::default();
        config.origin = args.origin;
        config.message_len_max = args.max_message;
        config.frame_len_max = args.max_message;
        config.ping_interval = args.ping_interval.0;
        config.idle_timeout = args.idle_timeout.0;
        Self { acceptor: Acceptor::new().config(config), subprotocols: args.subprotocols, quiet: args.quiet }
    }

    /// Serves one connection from its first byte to its last, and logs it.
    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let mut path = String::new();
        let accepted = self.acceptor.accept_with(stream, |request| {
            path = request.path().to_owned();
            self.decide(request)
        });
        let mut socket = match accepted {
            Ok(socket) => socket,
            Err(error) => return self.log(format_args!("{peer}: {}", why_not_accepted(&error))),
        };
        let subprotocol = socket.subprotocol().map(|name| format!(" ({name})")).unwrap_or_default();
        let mut echoed = Echoed::default();
        let error = echo_all(&mut socket, &mut echoed).err();
        let end = how_it_ended(socket.closed(), error.as_ref());
        let Echoed { messages, bytes } = echoed;
        let (messages, bytes) = (counted(messages, "message"), counted(bytes, "byte"));
        self.log(format_args!("{peer} {path}{subprotocol}: {end}; {messages}, {bytes}"));
    }

    /// Speaks the first of its subprotocols that the client offers; a client that offers none of them is welcome too.
    fn decide(&self, request: &RequestHead<'_>) -> Result<Acceptance, Rejection> {
        let chosen = choose_subprotocol(&request.headers, &self.subprotocols).ok().flatten();
        let acceptance = chosen.map_or(Ok(Acceptance::new()), |name| Acceptance::new().subprotocol(name));
        Ok(acceptance.unwrap_or_default()) // The names were checked on the command line.
    }

    fn log(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            note(line);
        }
    }
}

/// What came in, to go back.
#[derive(Default)]
struct Echoed {
    messages: u64,
    bytes: u64,
}

/// Sends back each message. It is only fed, so that all answers to one read leave in one write.
fn echo_all(socket: &mut WebSocket<TcpStream>, echoed: &mut Echoed) -> Result<(), sansocket_std::Error> {
    while let Some(message) = socket.recv()? {
        echoed.messages += 1;
        echoed.bytes += message.as_bytes().len() as u64;
        // Why an echo cannot leave is told by a receive, after the messages that came before.
        let _ = socket.feed(message);
    }
    Ok(())
}

/// A thread of its own, so that nothing one connection does, not even a panic, reaches another.
fn serve_in_thread(echo: Arc<Echo>, stream: TcpStream, peer: SocketAddr, slot: Slot) {
    let spawned = thread::Builder::new().name(format!("echo {peer}")).spawn(move || {
        echo.serve(stream, peer);
        drop(slot);
    });
    if let Err(error) = spawned {
        note(format_args!("{peer}: dropped, no thread to serve it: {error}"));
        thread::sleep(ACCEPT_PAUSE);
    }
}

/// Tells whoever started the server where it listens; nobody has to read it.
fn announce(address: SocketAddr) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush());
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: end it, or choose another port by `--listen` (0 takes a free one)"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; that is no address of this machine: try 127.0.0.1, or 0.0.0.0 for all it has"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another by `--listen`",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{advice}")
}

/// Whether only the connection that was to be accepted is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Out of file descriptors, memory or threads: long enough for some connections to end, too short to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
