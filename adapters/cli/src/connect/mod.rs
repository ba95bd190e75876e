//! `sansocket connect`: lines of the standard input become messages, messages become lines of the standard output.

mod advice;
mod lasting;
mod lines;
mod printer;
mod socket;
mod typist;

use std::io::Write;
use std::sync::Arc;

use sansocket::client::ClientConfig;
use sansocket::deflate::{DeflateConfig, DeflateTotals};
use sansocket::handshake::RequestError;
use sansocket::{ClientOptions, ClientRequest, Config};
use sansocket_async_std::{AsyncStd, Smol};
use sansocket_std::{ConnectError, Error, Tls};
use sansocket_tokio::Tokio;

use crate::Failure;
use crate::args::{ConnectArgs, ProxyArg};
use crate::ending::{Ending, how_it_ended};
use crate::runtime::{Runtime, enter_tokio};
use crate::terminal::{counted, note};
use advice::Advice;
use lasting::Lasting;
use printer::Printer;
use socket::Socket;
use typist::Typing;

/// Talks to a server until one of the two closes.
pub(crate) fn run(args: ConnectArgs) -> Result<(), Failure> {
    args.runtime.prepare()?;
    let (max_message, runtime, tls) = (args.max_message, args.runtime, args.tls.tls()?);
    let reconnect = args.reconnect.then(|| client_config(&args));
    let deflate = args.deflate.then(DeflateConfig::default);
    let options = options(args, deflate.clone())?;
    let url = format!("{:?}", options.request().url()); // Without the credentials in it.
    let advice = Advice::about(options.request().url());

    // Until the end: a connection on tokio needs it.
    let tokio = if runtime.runtime == Runtime::Tokio { Some(enter_tokio(runtime.threads)?) } else { None };
    let _inside = tokio.as_ref().map(tokio::runtime::Runtime::enter);
    if let Some(config) = reconnect {
        note(format_args!("connecting to {url}"));
        let lasting = lasting::start(runtime.runtime, options, tls, config, advice)?;
        return talk_for_long(lasting, max_message, deflate);
    }
    let connected = connect(runtime.runtime, options, tls);
    let mut socket = connected.map_err(|error| Failure::Message(advice.explain(&error)))?;
    let subprotocol = socket.subprotocol().map(|name| format!(", subprotocol {name}")).unwrap_or_default();
    note(format_args!("open {url}{subprotocol}"));

    let typing = Arc::new(Typing::default());
    typist::spawn(socket.outlet(), max_message, Arc::clone(&typing)).map_err(Failure::message)?;
    let mut printer = Printer::of_stdout();
    let error = print_all(&mut *socket, &mut printer).err();

    let compressed = deflate.map(|deflate| how_compressed(deflate.pool.totals())).unwrap_or_default();
    let counts = format!("{} sent, {} received{compressed}", counted(typing.sent(), "message"), printer.received());
    let closed = socket.closed();
    note(format_args!("{}; {counts}", how_it_ended(closed.as_ref(), error.as_ref())));
    let ended_well = closed.is_some_and(|closed| Ending(&closed).is_good());
    verdict(printer, ended_well && typing.is_whole())
}

/// Talks to a server over as many connections as it takes.
fn talk_for_long(mut lasting: Lasting, max_message: u64, deflate: Option<DeflateConfig>) -> Result<(), Failure> {
    let typing = Arc::new(Typing::default());
    typist::spawn(lasting.outlet_for_typist(), max_message, Arc::clone(&typing)).map_err(Failure::message)?;
    let mut printer = Printer::of_stdout();
    while let Ok(Some(message)) = lasting.inbox.recv() {
        if printer.print(&message).is_break() {
            lasting.client.outlet().close();
        }
    }
    let (ending, ended_well) = lasting.client.end().as_ref().map(lasting::how_it_ended).unwrap_or_default();
    let metrics = lasting.client.metrics();
    lasting.told();
    let compressed = deflate.map(|deflate| how_compressed(deflate.pool.totals())).unwrap_or_default();
    let counts = format!("{} sent, {} received", counted(metrics.messages_sent, "message"), printer.received());
    note(format_args!("{ending}; {counts}{}{compressed}", lasting::summary(&metrics)));
    verdict(printer, ended_well && typing.is_whole() && metrics.messages_dropped == 0 && metrics.connections > 0)
}

fn verdict(printer: Printer<impl Write>, is_good: bool) -> Result<(), Failure> {
    match printer.into_failure() {
        Some(error) => Err(Failure::Message(format!("cannot write to the standard output: {error}"))),
        None if is_good => Ok(()),
        None => Err(Failure::Told),
    }
}

fn connect(runtime: Runtime, options: ClientOptions, tls: Tls) -> Result<Box<dyn Socket>, ConnectError> {
    match runtime {
        Runtime::Std => socket::blocking(options, tls),
        Runtime::Tokio => socket::asynchronous::<Tokio>(options, tls),
        Runtime::AsyncStd => socket::asynchronous::<AsyncStd>(options, tls),
        Runtime::Smol => socket::asynchronous::<Smol>(options, tls),
    }
}

fn options(args: ConnectArgs, deflate: Option<DeflateConfig>) -> Result<ClientOptions, Failure> {
    let mut config = config(&args);
    config.deflate = deflate;
    let (redirects, timeout, proxy) = (args.redirects, args.connect_timeout.0, args.proxy.clone());
    let options = ClientOptions::from(request(args)?).config(config).redirects(redirects).connect_timeout(timeout);
    Ok(match proxy {
        None => options,
        Some(ProxyArg::Is(proxy)) => options.proxy(*proxy),
        Some(ProxyArg::FromEnv) => options.proxy_rules(sansocket_std::proxy_rules_from_env()),
    })
}

fn config(args: &ConnectArgs) -> Config {
    let mut config = Config::default();
    config.message_len_max = args.max_message;
    config.frame_len_max = args.max_message;
    config.ping_interval = args.ping_interval.0;
    config
}

fn client_config(args: &ConnectArgs) -> ClientConfig {
    let mut config = ClientConfig::default();
    config.backoff.attempts_max = (args.attempts > 0).then_some(args.attempts);
    config.heartbeat.interval = args.ping_interval.0;
    config
}

fn request(args: ConnectArgs) -> Result<ClientRequest, Failure> {
    let wrong = |option: &str, value: &str, error: RequestError| Failure::Usage(format!("{option} '{value}': {error}"));
    let mut request = ClientRequest::from(args.url);
    for name in &args.subprotocols {
        request = request.subprotocol(name).map_err(|error| wrong("--subprotocol", name, error))?;
    }
    for (name, value) in &args.headers {
        // The value may be a secret.
        request = request.header(name, value).map_err(|error| wrong("--header", &format!("{name}: …"), error))?;
    }
    match args.origin {
        Some(origin) => request.header("Origin", &origin).map_err(|error| wrong("--origin", &origin, error)),
        None => Ok(request),
    }
}

/// How much of the compressed messages went over the wire, in each direction: `, compressed to 31 % and 28 %`.
fn how_compressed(totals: DeflateTotals) -> String {
    let percent = |wire: u64, plain: u64| match plain {
        0 => "-".to_owned(),
        plain => format!("{:.0} %", 100.0 * wire as f64 / plain as f64),
    };
    if totals.deflated_len + totals.inflated_len == 0 {
        return ", none compressed".to_owned();
    }
    let sent = percent(totals.deflated_wire_len, totals.deflated_len);
    let received = percent(totals.inflated_wire_len, totals.inflated_len);
    format!(", compressed to {sent} sent, {received} received")
}

/// Prints each message until the connection has ended.
///
/// When the standard output takes no more, the connection is closed, and the rest is received but not printed.
fn print_all(socket: &mut dyn Socket, printer: &mut Printer<impl Write>) -> Result<(), Error> {
    while let Some(message) = socket.recv()? {
        if printer.print(&message).is_break() {
            socket.outlet().close();
        }
    }
    Ok(())
}
