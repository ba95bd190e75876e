//! `sansocket serve`: an echo server.

mod asynchronous;
mod blocking;
mod slots;

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use sansocket::deflate::DeflateConfig;
use sansocket::handshake::{HeaderMap, choose_subprotocol};
use sansocket::{Acceptance, Config, Message};
use sansocket_async_std::{AsyncStd, Smol};
use sansocket_std::rustls::ServerConfig;
use sansocket_tokio::Tokio;

use crate::Failure;
use crate::args::ServeArgs;
use crate::runtime::{Runtime, enter_tokio};
use crate::terminal::{counted, note};

/// Serves until the process is ended.
pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    args.runtime.prepare()?;
    let tls = args.tls.config(args.listen.ip())?;
    let listener =
        TcpListener::bind(args.listen).map_err(|error| Failure::Message(cannot_listen(args.listen, &error)))?;
    announce(listener.local_addr().map_err(Failure::message)?);

    let runtime = args.runtime;
    let echo = Arc::new(Echo::new(args, tls));
    match runtime.runtime {
        Runtime::Std => blocking::serve(&listener, &echo),
        Runtime::Tokio => enter_tokio(runtime.threads)?.block_on(asynchronous::serve::<Tokio>(listener, &echo)),
        Runtime::AsyncStd => async_std::task::block_on(asynchronous::serve::<AsyncStd>(listener, &echo)),
        Runtime::Smol => smol::block_on(asynchronous::serve::<Smol>(listener, &echo)),
    }
}

/// What all connections share.
struct Echo {
    config: Arc<Config>,
    tls: Option<Arc<ServerConfig>>,
    subprotocols: Vec<String>,
    connections_max: u32,
    quiet: bool,
}

impl Echo {
    fn new(args: ServeArgs, tls: Option<Arc<ServerConfig>>) -> Self {
        let mut config = Config::default();
        config.origin = args.origin;
        config.message_len_max = args.max_message;
        config.frame_len_max = args.max_message;
        config.ping_interval = args.ping_interval.0;
        config.idle_timeout = args.idle_timeout.0;
        config.deflate = args.deflate.then(DeflateConfig::default);
        config.handshake_timeout = args.handshake_timeout.0;
        config.pong_timeout = args.pong_timeout.0;
        config.write_timeout = args.write_timeout.0;
        config.message_timeout = args.message_timeout.0;
        Self {
            config: Arc::new(config),
            tls,
            subprotocols: args.subprotocols,
            connections_max: args.max_connections,
            quiet: args.quiet,
        }
    }

    /// Speaks the first of its subprotocols that the client offers; a client that offers none of them is welcome too.
    fn decide(&self, headers: &(impl HeaderMap + ?Sized)) -> Acceptance {
        let chosen = choose_subprotocol(headers, &self.subprotocols).ok().flatten();
        let acceptance = chosen.map_or(Ok(Acceptance::new()), |name| Acceptance::new().subprotocol(name));
        acceptance.unwrap_or_default() // The names were checked on the command line.
    }

    fn log(&self, line: impl std::fmt::Display) {
        if !self.quiet {
            note(line);
        }
    }

    /// Logs a connection that has ended.
    fn log_end(&self, peer: SocketAddr, path: &str, subprotocol: Option<&str>, echoed: &Echoed, end: &str) {
        let subprotocol = subprotocol.map(|name| format!(" ({name})")).unwrap_or_default();
        let (messages, bytes) = (counted(echoed.messages, "message"), counted(echoed.bytes, "byte"));
        self.log(format_args!("{peer} {path}{subprotocol}: {end}; {messages}, {bytes}"));
    }
}

/// What came in, to go back.
#[derive(Default)]
struct Echoed {
    messages: u64,
    bytes: u64,
}

impl Echoed {
    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += message.as_bytes().len() as u64;
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

fn cannot_accept(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(ENFILE | EMFILE) if cfg!(unix) => "; raise `ulimit -n`, or lower `--max-connections`",
        _ => "",
    };
    format!("cannot accept a connection: {error}; trying again{advice}")
}

/// Whether only the connection that was to be accepted is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Out of file descriptors, memory or threads: long enough for some connections to end, too short to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Out of file descriptors: the system, and this process. The numbers are the same on every Unix, and the standard library names neither.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn what_to_do_when_file_descriptors_run_out_is_told() {
        for (number, is_told) in [(ENFILE - 1, false), (ENFILE, true), (EMFILE, true), (EMFILE + 1, false)] {
            let text = cannot_accept(&io::Error::from_raw_os_error(number));
            assert_eq!(text.ends_with("; raise `ulimit -n`, or lower `--max-connections`"), is_told, "{text}");
        }
    }
}
