//! The client's side: it counts what it sends and what comes back, and goes on where a lost connection left it.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sansocket::FragmentPosition;
use sansocket_std::{CloseCode, Closed, Config, Connector, MaybeTls, Message, WebSocket};

use super::server::SUBPROTOCOL;
use super::story::Trouble;
use super::timeline::{Timeline, Who};
use crate::ending::{Ending, how_it_ended};
use crate::terminal::counted;

/// A client that outlives its connections.
pub(super) struct Client {
    timeline: Arc<Timeline>,
    connector: Connector,
    socket: WebSocket<MaybeTls<TcpStream>>,
    tally: Tally,
}

/// What the client counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Messages to send, each counted once.
    pub(super) sent: u64,
    /// Messages that came back, as they were and in order.
    pub(super) received: u64,
    /// Messages sent a second time, since nobody knew what had become of the first.
    pub(super) resent: u64,
    /// The payloads of `sent`.
    pub(super) bytes_sent: u64,
    /// The payloads of `received`.
    pub(super) bytes_received: u64,
    /// How often a lost connection was replaced.
    pub(super) reconnections: u32,
    /// The round trip of the last heartbeat that was looked at.
    pub(super) rtt: Option<Duration>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(server: SocketAddr, timeline: &Arc<Timeline>) -> Result<Self, Trouble> {
        let connector = Connector::new(&format!("ws://{server}/demo"))?.subprotocol(SUBPROTOCOL)?.config(config());
        let socket = connector.connect()?;
        let client = Self { timeline: Arc::clone(timeline), connector, socket, tally: Tally::default() };
        client.note(format_args!("is connected, subprotocol {}", client.socket.subprotocol().unwrap_or("none")));
        Ok(client)
    }

    /// What it has counted so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Adds to the timeline.
    pub(super) fn note(&self, what: impl fmt::Display) {
        self.timeline.note(Who::Client, what);
    }

    /// Sends a message and waits for it to come back.
    pub(super) fn exchange(&mut self, message: Message) -> Result<(), Trouble> {
        self.note(format_args!("sends {}", described(&message)));
        self.socket.send(message.clone())?;
        self.await_echo(&message)
    }

    /// Sends a text in several frames and waits for it to come back. RFC 6455 section 5.4.
    pub(super) fn exchange_in_fragments(&mut self, pieces: &[&str]) -> Result<(), Trouble> {
        let whole = Message::from(pieces.concat());
        self.note(format_args!("sends {} in {} fragments", described(&whole), pieces.len()));
        self.socket.with_connection(|connection, now| {
            for (i, piece) in pieces.iter().enumerate() {
                let is_last = i + 1 == pieces.len();
                let position = if is_last { FragmentPosition::Last } else { FragmentPosition::More };
                connection.send_text_fragment(now, piece, position)?;
            }
            Ok::<(), sansocket::SendError>(())
        })?;
        self.await_echo(&whole)
    }

    /// The round trip of the last heartbeat that was answered.
    pub(super) fn rtt(&mut self) -> Option<Duration> {
        self.tally.rtt = self.socket.rtt();
        self.tally.rtt
    }

    /// Sends many messages at once, and stays until each has come back, over as many connections as that takes.
    pub(super) fn deliver(&mut self, messages: Vec<String>) -> Result<(), Trouble> {
        let (mut confirmed, mut handed_over) = (0, 0);
        self.note(format_args!("sends {} at once", counted(messages.len() as u64, "message")));
        for message in &messages {
            self.tally.sent += 1;
            self.tally.bytes_sent += message.len() as u64;
        }
        loop {
            self.tally.resent += (handed_over - confirmed) as u64;
            let Err(lost) = self.deliver_from(&messages, &mut confirmed, &mut handed_over) else {
                self.note(format_args!("has all {} back, in order", messages.len()));
                return Ok(());
            };
            self.note(format_args!("loses its connection: {lost}"));
            self.note(format_args!("has {confirmed} of {} back, keeps {}", messages.len(), messages.len() - confirmed));
            self.reconnect()?;
            self.note(format_args!("sends the {} again that it kept", messages.len() - confirmed));
        }
    }

    /// Sends what is not confirmed yet, and receives as much as this connection yields.
    fn deliver_from(
        &mut self,
        messages: &[String],
        confirmed: &mut usize,
        handed_over: &mut usize,
    ) -> Result<(), Trouble> {
        for (i, message) in messages.iter().enumerate().skip(*confirmed) {
            if self.socket.feed(message.as_str()).is_err() {
                break; // What came back before is still there to be received, and then the reason.
            }
            *handed_over = (*handed_over).max(i + 1);
        }
        while let Some(expected) = messages.get(*confirmed) {
            match self.socket.recv() {
                Ok(Some(message)) if message.as_text() == Some(expected) => {
                    *confirmed += 1;
                    self.count_echo(&message);
                }
                Ok(Some(message)) => return Err(format!("{} came back, not {expected:?}", described(&message)).into()),
                Ok(None) => return Err("the server closed".into()),
                Err(error) => return Err(how_it_ended(error.closed(), Some(&error)).into()),
            }
        }
        Ok(())
    }

    /// Connects again, after a delay that doubles with each attempt.
    fn reconnect(&mut self) -> Result<(), Trouble> {
        let mut delay = RECONNECT_DELAY;
        for attempt in 1..=RECONNECT_ATTEMPTS {
            self.note(format_args!("waits {} ms", delay.as_millis()));
            thread::sleep(delay);
            match self.connector.connect() {
                Ok(socket) => {
                    self.socket = socket;
                    self.tally.reconnections += 1;
                    self.note(format_args!("is connected again, at attempt {attempt}"));
                    return Ok(());
                }
                Err(error) => self.note(format_args!("fails to connect: {error}")),
            }
            delay *= 2;
        }
        Err("the server did not come back".into())
    }

    /// Closes, and waits for the end.
    pub(super) fn close(mut self) -> Result<(Closed, Tally), Trouble> {
        self.note("closes");
        let closed = self.socket.close(CloseCode::NORMAL, "that was all")?;
        self.note(Ending(&closed));
        Ok((closed, self.tally))
    }

    fn await_echo(&mut self, sent: &Message) -> Result<(), Trouble> {
        self.tally.sent += 1;
        self.tally.bytes_sent += sent.as_bytes().len() as u64;
        let received = self.socket.recv()?.ok_or("the server closed instead of an answer")?;
        if received != *sent {
            return Err(format!("{} came back as {}", described(sent), described(&received)).into());
        }
        self.count_echo(&received);
        self.note(format_args!("has it back: {}", described(&received)));
        Ok(())
    }

    fn count_echo(&mut self, message: &Message) {
        self.tally.received += 1;
        self.tally.bytes_received += message.as_bytes().len() as u64;
    }
}

/// Deadlines for a network without delays, so that no mistake makes the demonstration long.
fn config() -> Config {
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_millis(40));
    config.pong_timeout = Some(Duration::from_secs(2));
    config.handshake_timeout = Some(Duration::from_secs(2));
    config.close_timeout = Some(Duration::from_secs(2));
    config
}

/// Short texts as they are, others by their length.
fn described(message: &Message) -> String {
    match message.as_text() {
        Some(text) if text.len() <= 40 => format!("text {text:?}"),
        _ => format!("{} of {}", message.kind(), counted(message.as_bytes().len() as u64, "byte")),
    }
}

const RECONNECT_DELAY: Duration = Duration::from_millis(20);
const RECONNECT_ATTEMPTS: u32 = 6;
