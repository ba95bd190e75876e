//! `sansocket connect`: lines of the standard input become messages, messages become lines of the standard output.

mod advice;
mod lines;
mod printer;
mod typist;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use sansocket::handshake::RequestError;
use sansocket_std::{ClientRequest, CloseCode, Config, Connector, MaybeTls, WebSocket};

use crate::Failure;
use crate::args::ConnectArgs;
use crate::ending::{Ending, how_it_ended};
use crate::terminal::{counted, note};
use printer::Printer;
use typist::Typing;

/// Talks to a server until one of the two closes.
pub(crate) fn run(args: ConnectArgs) -> Result<(), Failure> {
    let max_message = args.max_message;
    let config = config(&args);
    let request = request(args).map_err(|error| Failure::Usage(error.to_string()))?;
    let url = format!("{:?}", request.url()); // Without the credentials in it.

    let connected = Connector::from(request).config(config).connect();
    let mut socket = connected.map_err(|error| Failure::Message(advice::explain(&error)))?;
    let subprotocol = socket.subprotocol().map(|name| format!(", subprotocol {name}")).unwrap_or_default();
    note(format_args!("open {url}{subprotocol}"));

    let typing = Arc::new(Typing::default());
    typist::spawn(socket.sender(), max_message, Arc::clone(&typing)).map_err(Failure::message)?;
    let mut printer = Printer::of_stdout();
    let error = print_all(&mut socket, &mut printer).err();

    let counts = format!("{} sent, {} received", counted(typing.sent(), "message"), printer.received());
    note(format_args!("{}; {counts}", how_it_ended(socket.closed(), error.as_ref())));
    let ended_well = socket.closed().is_some_and(|closed| Ending(closed).is_good());
    match printer.into_failure() {
        Some(error) => Err(Failure::Message(format!("cannot write to the standard output: {error}"))),
        None if ended_well && typing.is_whole() => Ok(()),
        None => Err(Failure::Told),
    }
}

fn config(args: &ConnectArgs) -> Config {
    let mut config = Config::default();
    config.message_len_max = args.max_message;
    config.frame_len_max = args.max_message;
    config.ping_interval = args.ping_interval.0;
    config
}

fn request(args: ConnectArgs) -> Result<ClientRequest, RequestError> {
    let mut request = ClientRequest::from(args.url);
    for name in &args.subprotocols {
        request = request.subprotocol(name)?;
    }
    for (name, value) in &args.headers {
        request = request.header(name, value)?;
    }
    match args.origin {
        Some(origin) => request.header("Origin", origin),
        None => Ok(request),
    }
}

/// Prints each message until the connection has ended.
///
/// When the standard output takes no more, the connection is closed, and the rest is received but not printed.
fn print_all(
    socket: &mut WebSocket<MaybeTls<TcpStream>>,
    printer: &mut Printer<impl Write>,
) -> Result<(), sansocket_std::Error> {
    while let Some(message) = socket.recv()? {
        if printer.print(&message).is_break() {
            let _ = socket.start_close(CloseCode::NORMAL, ""); // If it is over already, the next receive tells.
        }
    }
    Ok(())
}
