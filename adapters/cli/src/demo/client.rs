//! A client with one connection: it counts what it sends and what comes back.

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use sansocket::FragmentPosition;
use sansocket_std::{CloseCode, Closed, Config, Connector, MaybeTls, Message, WebSocket};

use super::server::SUBPROTOCOL;
use super::story::Trouble;
use super::timeline::{Timeline, Who};
use crate::ending::Ending;
use crate::terminal::counted;

/// A client with one connection.
pub(super) struct Client {
    timeline: Arc<Timeline>,
    socket: WebSocket<MaybeTls<TcpStream>>,
    tally: Tally,
}

/// What the clients counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Messages to send, each counted once.
    pub(super) sent: u64,
    /// Messages that came back as they were, or whose arrival is confirmed.
    pub(super) received: u64,
    /// Messages that were sent a second time, since nobody knew what had become of the first.
    pub(super) resent: u64,
    /// The payloads of `sent`.
    pub(super) bytes_sent: u64,
    /// The payloads of `received`.
    pub(super) bytes_received: u64,
    /// The most messages that waited while there was no server.
    pub(super) queued: u64,
    /// Attempts to connect.
    pub(super) attempts: u64,
    /// How often a lost connection was replaced.
    pub(super) reconnections: u64,
    /// Requests that had their answer.
    pub(super) answered: u64,
    /// The round trip of the last heartbeat that was looked at.
    pub(super) rtt: Option<Duration>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(server: SocketAddr, timeline: &Arc<Timeline>) -> Result<Self, Trouble> {
        let connector = Connector::new(&format!("ws://{server}/demo"))?.subprotocol(SUBPROTOCOL)?.config(config());
        let socket = connector.connect()?;
        let client = Self { timeline: Arc::clone(timeline), socket, tally: Tally::default() };
        client.note(format_args!("is connected, subprotocol {}", client.socket.subprotocol().unwrap_or("none")));
        Ok(client)
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
        self.tally.received += 1;
        self.tally.bytes_received += received.as_bytes().len() as u64;
        self.note(format_args!("has it back: {}", described(&received)));
        Ok(())
    }
}

/// Deadlines for a network without delays, so that no mistake makes the demonstration long.
pub(super) fn config() -> Config {
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
