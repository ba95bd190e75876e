//! `sansocket connect --reconnect`: over as many connections as it takes, and what happens is told.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_lite::future::block_on;
use sansocket::{ClientOptions, CloseCode, Message, Side};
use sansocket_async_std::{AsyncStd, Dial, Smol};
use sansocket_std::client::{
    Cause, Client, ClientConfig, ClientEvent, ClientState, DropReason, End, Ended, Events, Inbox, Metrics, Missed,
    Outcome,
};
use sansocket_std::{ConnectError, Tls};
use sansocket_tokio::Tokio;

use super::advice::Advice;
use super::socket::Outlet;
use crate::Failure;
use crate::ending::Ending;
use crate::runtime::Runtime;
use crate::terminal::{counted, note};

/// A client that outlives its connections, for threads that wait, whatever it runs on.
pub(super) struct Lasting {
    pub(super) inbox: Box<dyn Receive>,
    pub(super) client: Arc<dyn Handle>,
    teller: JoinHandle<()>,
}

impl Lasting {
    /// A handle for whoever types: it does not close before the first attempt has shown whether there is a server.
    pub(super) fn outlet_for_typist(&self) -> Box<dyn Outlet> {
        Box::new(Patient { outlet: self.client.outlet(), client: Arc::clone(&self.client) })
    }

    /// Waits until everything has been told that happened before the end.
    pub(super) fn told(self) {
        // A panic there has been told.
        let _ = self.teller.join();
    }
}

/// Where messages come in.
pub(super) trait Receive {
    /// The next message; `None` when the client has ended as somebody wanted.
    fn recv(&mut self) -> Result<Option<Message>, Ended>;
}

/// What can be done with a client, and asked of it.
pub(super) trait Handle: Send + Sync {
    /// A handle to send by.
    fn outlet(&self) -> Box<dyn Outlet>;
    /// What happens from now on.
    fn events(&self) -> Box<dyn Happening>;
    /// What has been counted.
    fn metrics(&self) -> Metrics;
    /// How far it is.
    fn state(&self) -> ClientState;
    /// How it ended, once it has.
    fn end(&self) -> Option<End>;
}

/// See [`Lasting::outlet_for_typist`].
struct Patient {
    outlet: Box<dyn Outlet>,
    client: Arc<dyn Handle>,
}

impl Outlet for Patient {
    fn send(&self, text: String) -> bool {
        self.outlet.send(text)
    }

    fn close(&self) {
        let has_begun = || {
            let metrics = self.client.metrics();
            match self.client.state() {
                ClientState::Waiting => metrics.attempts > 0,
                ClientState::Connecting => metrics.connections > 0 || metrics.attempts > 1,
                _ => true,
            }
        };
        while !has_begun() {
            thread::sleep(LOOK);
        }
        self.outlet.close();
    }
}

/// What happens, in order.
pub(super) trait Happening: Send {
    /// The next event; `None` after the last.
    fn next(&mut self) -> Option<Result<ClientEvent, Missed>>;
}

/// Starts a client, and a thread that tells what happens to it.
pub(super) fn start(
    runtime: Runtime,
    options: ClientOptions,
    tls: Tls,
    config: ClientConfig,
    advice: Advice,
) -> Result<Lasting, Failure> {
    let started = match runtime {
        Runtime::Std => blocking(options, tls, config),
        Runtime::Tokio => asynchronous::<Tokio>(options, tls, config),
        Runtime::AsyncStd => asynchronous::<AsyncStd>(options, tls, config),
        Runtime::Smol => asynchronous::<Smol>(options, tls, config),
    };
    let (client, inbox) = started.map_err(Failure::message)?;
    let mut events = client.events();
    let gauge = Arc::clone(&client);
    let tell = move || {
        while let Some(event) = events.next() {
            match event {
                Ok(event) => tell(&event, &advice),
                Err(missed) => note(missed),
            }
        }
    };
    let teller = thread::Builder::new().name("events".to_owned()).spawn(tell).map_err(Failure::message)?;
    thread::Builder::new().name("rtt".to_owned()).spawn(move || tell_rtt(&*gauge)).map_err(Failure::message)?;
    Ok(Lasting { inbox, client, teller })
}

/// The end in words, and whether it is a good one.
pub(super) fn how_it_ended(end: &End) -> (String, bool) {
    match end {
        End::Closed(Some(closed)) => (Ending(closed).to_string(), Ending(closed).is_good()),
        // The server closed with 1000, as it is meant to.
        End::Stopped(Cause::Closed(closed)) if Ended::check(end).is_ok() => (Ending(closed).to_string(), true),
        end => (end.to_string(), Ended::check(end).is_ok()),
    }
}

/// What was counted beyond messages: `, over 3 connections`.
pub(super) fn summary(metrics: &Metrics) -> String {
    let dropped = match metrics.messages_dropped {
        0 => String::new(),
        dropped => format!(", {dropped} dropped"),
    };
    let rtt = metrics.smoothed_rtt.map(|rtt| format!(", rtt {}", millis(rtt))).unwrap_or_default();
    format!("{dropped}, over {}{rtt}", counted(metrics.connections, "connection"))
}

fn tell(event: &ClientEvent, advice: &Advice) {
    match event {
        ClientEvent::Opened { again: false, .. } => note("open"),
        ClientEvent::Opened { again: true, .. } => note("open again"),
        ClientEvent::AttemptFailed { cause, .. } => note(advice.explain_attempt(cause)),
        // The end that was wanted is told at the end.
        ClientEvent::Lost { cause: Cause::Closed(closed), .. } if closed.clean && closed.by == Side::Local => {}
        ClientEvent::Lost { cause: Cause::Closed(closed), in_doubt }
            if closed.clean && closed.peer_code == Some(CloseCode::NORMAL) =>
        {
            tell_doubt(*in_doubt);
        }
        ClientEvent::Lost { cause, in_doubt: 0 } => note(format_args!("lost: {cause}")),
        ClientEvent::Lost { cause, in_doubt } => {
            note(format_args!("lost: {cause}; {} may not have arrived", counted(*in_doubt, "message")));
        }
        ClientEvent::Reconnecting { attempt, delay } => {
            note(format_args!("waiting {:.2} s, then connecting: attempt {attempt}", delay.as_secs_f64()));
        }
        ClientEvent::Outcome(token, Outcome::Dropped(reason)) => {
            let reason = match reason {
                DropReason::Overflow => "too many wait",
                DropReason::Expired => "it waited too long",
                _ => "the client ended",
            };
            note(format_args!("line {} was dropped: {reason}", token.0));
        }
        _ => {}
    }
}

/// Tells how many messages may not have arrived, if any.
fn tell_doubt(messages: u64) {
    if messages > 0 {
        note(format_args!("{} may not have arrived", counted(messages, "message")));
    }
}

/// Tells the round trip of each heartbeat that is answered.
fn tell_rtt(client: &dyn Handle) {
    let mut told = None;
    while client.end().is_none() {
        let metrics = client.metrics();
        if let (Some(rtt), Some(smoothed)) = (metrics.rtt, metrics.smoothed_rtt)
            && told != Some(rtt)
        {
            note(format_args!("rtt {}, smoothed {}", millis(rtt), millis(smoothed)));
            told = Some(rtt);
        }
        thread::sleep(LOOK);
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

type Started = (Arc<dyn Handle>, Box<dyn Receive>);

fn blocking(options: ClientOptions, tls: Tls, config: ClientConfig) -> Result<Started, ConnectError> {
    let (client, inbox) = sansocket_std::Connector::from(options).tls(tls).client(config)?;
    Ok((Arc::new(client), Box::new(inbox)))
}

fn asynchronous<R: Dial>(options: ClientOptions, tls: Tls, config: ClientConfig) -> Result<Started, ConnectError> {
    let (client, inbox) = sansocket_async_std::Connector::<R>::from(options).tls(tls).client(config)?;
    Ok((Arc::new(client), Box::new(inbox)))
}

impl Receive for Inbox {
    fn recv(&mut self) -> Result<Option<Message>, Ended> {
        self.recv()
    }
}

impl Handle for Client {
    fn outlet(&self) -> Box<dyn Outlet> {
        Box::new(self.clone())
    }

    fn events(&self) -> Box<dyn Happening> {
        Box::new(self.events())
    }

    fn metrics(&self) -> Metrics {
        self.metrics()
    }

    fn state(&self) -> ClientState {
        self.state()
    }

    fn end(&self) -> Option<End> {
        self.end()
    }
}

impl Happening for Events {
    fn next(&mut self) -> Option<Result<ClientEvent, Missed>> {
        self.recv()
    }
}

impl Outlet for Client {
    fn send(&self, text: String) -> bool {
        self.send(text).is_ok()
    }

    fn close(&self) {
        let _ = self.start_close(CloseCode::NORMAL, "", FOR_EVER);
    }
}

impl<R: Dial> Receive for sansocket_async_std::Inbox<R> {
    fn recv(&mut self) -> Result<Option<Message>, Ended> {
        block_on(self.recv())
    }
}

impl<R: Dial> Handle for sansocket_async_std::Client<R> {
    fn outlet(&self) -> Box<dyn Outlet> {
        Box::new(self.clone())
    }

    fn events(&self) -> Box<dyn Happening> {
        Box::new(self.events())
    }

    fn metrics(&self) -> Metrics {
        self.metrics()
    }

    fn state(&self) -> ClientState {
        self.state()
    }

    fn end(&self) -> Option<End> {
        self.end()
    }
}

impl Happening for sansocket_async_std::Events {
    fn next(&mut self) -> Option<Result<ClientEvent, Missed>> {
        block_on(self.recv())
    }
}

impl<R: Dial> Outlet for sansocket_async_std::Client<R> {
    fn send(&self, text: String) -> bool {
        block_on(self.send(text)).is_ok()
    }

    fn close(&self) {
        let _ = self.start_close(CloseCode::NORMAL, "", FOR_EVER);
    }
}

/// Whoever typed lines and waits for the server to come back can interrupt the program.
const FOR_EVER: Duration = Duration::MAX;
/// How soon a round trip is told, and whether there is a server.
const LOOK: Duration = Duration::from_millis(50);
