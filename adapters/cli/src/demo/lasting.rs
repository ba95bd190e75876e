//! A client that outlives its connections: what it is given to send arrives, whatever becomes of the server meanwhile.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sansocket_std::client::{Client, ClientConfig, ClientEvent, ClientState, Delivery, End, Inbox, Outcome, Receipt};
use sansocket_std::json::JsonConfig;
use sansocket_std::{CloseCode, Connector};

use super::client::{self, Tally};
use super::server::{BOOKED, ORDER};
use super::story::Trouble;
use super::timeline::{Timeline, Who};
use crate::ending::Ending;
use crate::terminal::counted;

/// A client that outlives its connections.
pub(super) struct Lasting {
    timeline: Arc<Timeline>,
    client: Client,
    /// Nothing but answers to requests comes back here.
    _inbox: Inbox,
    teller: JoinHandle<()>,
    receipts: Vec<Receipt>,
    tally: Tally,
}

impl Lasting {
    /// Starts it, and waits until it is connected.
    pub(super) fn start(server: SocketAddr, timeline: &Arc<Timeline>) -> Result<Self, Trouble> {
        let connector = Connector::new(&format!("ws://{server}/orders"))?.config(client::config());
        let (client, inbox) = connector.client(config())?;
        let (mut events, telling) = (client.events(), Arc::clone(timeline));
        let teller = thread::Builder::new().spawn(move || {
            while let Some(event) = events.recv() {
                if let Ok(event) = event {
                    tell(&telling, &event);
                }
            }
        })?;
        let timeline = Arc::clone(timeline);
        let lasting = Self { timeline, client, _inbox: inbox, teller, receipts: Vec::new(), tally: Tally::default() };
        lasting.await_open()?;
        Ok(lasting)
    }

    /// Sends orders with these numbers.
    pub(super) fn order(&mut self, numbers: impl Iterator<Item = u32>) -> Result<(), Trouble> {
        for number in numbers {
            let text = format!("{ORDER}{number}");
            self.tally.sent += 1;
            self.tally.bytes_sent += text.len() as u64;
            self.receipts.push(self.client.send_tracked(text)?);
        }
        Ok(())
    }

    /// How many messages wait, or are on their way.
    pub(super) fn queued(&mut self) -> u64 {
        let queued = self.client.metrics().queued_messages as u64;
        self.tally.queued = self.tally.queued.max(queued);
        queued
    }

    /// Waits until it is connected.
    pub(super) fn await_open(&self) -> Result<(), Trouble> {
        let is_open = self.client.watch().until(ClientState::Open, PATIENCE);
        if is_open { Ok(()) } else { Err("the client does not come back".into()) }
    }

    /// Waits until it is known of each order what has become of it; whether all have arrived.
    pub(super) fn await_outcomes(&mut self) -> Result<bool, Trouble> {
        let mut all_arrived = true;
        for receipt in self.receipts.drain(..) {
            let len = format!("{ORDER}{}", receipt.token().0).len() as u64; // Tokens count from 1, as orders do.
            match receipt.outcome_timeout(PATIENCE) {
                Ok(Outcome::Confirmed) => {
                    self.tally.received += 1;
                    self.tally.bytes_received += len;
                }
                Ok(_) => all_arrived = false,
                Err(_) => return Err("nobody knows what became of an order".into()),
            }
        }
        Ok(all_arrived)
    }

    /// Asks the server how many orders it has booked.
    pub(super) fn ask(&mut self) -> Result<u32, Trouble> {
        self.note("asks how many orders are booked");
        let booked = self.client.request(BOOKED, &(), PATIENCE)?.parse()?;
        self.tally.answered += 1;
        self.note(format_args!("is answered: {booked}"));
        Ok(booked)
    }

    /// Closes once everything has left, and waits for the end.
    pub(super) fn close(self) -> Result<(End, Tally), Trouble> {
        self.note("closes");
        let end = self.client.close(CloseCode::NORMAL, "that was all", PATIENCE)?;
        let metrics = self.client.metrics();
        // It has told everything then.
        let _ = self.teller.join();
        let tally = Tally {
            resent: metrics.messages_resent,
            attempts: metrics.attempts,
            reconnections: metrics.reconnections,
            ..self.tally
        };
        Ok((end, tally))
    }

    /// Adds to the timeline.
    pub(super) fn note(&self, what: impl fmt::Display) {
        self.timeline.note(Who::Client, what);
    }
}

fn tell(timeline: &Timeline, event: &ClientEvent) {
    let note = |what: fmt::Arguments<'_>| timeline.note(Who::Client, what);
    match event {
        ClientEvent::Opened { again: false, .. } => note(format_args!("is connected")),
        ClientEvent::Opened { again: true, .. } => note(format_args!("is connected again")),
        ClientEvent::Lost { cause, in_doubt } if *in_doubt > 0 => note(format_args!(
            "loses its connection: {cause}; {} may not have arrived, and will be sent again",
            counted(*in_doubt, "order")
        )),
        ClientEvent::AttemptFailed { cause, .. } => note(format_args!("fails to connect: {cause}")),
        ClientEvent::Reconnecting { attempt, delay } => {
            note(format_args!("waits {} ms, then makes attempt {attempt}", delay.as_millis()));
        }
        ClientEvent::Ended(End::Closed(Some(closed))) => note(format_args!("{}", Ending(closed))),
        _ => {}
    }
}

/// Delays for a server that is back in a moment. What is lost is sent again.
fn config() -> ClientConfig {
    let mut config = ClientConfig::default();
    config.queue.delivery = Delivery::AtLeastOnce;
    config.backoff.first = Duration::from_millis(40);
    config.backoff.cap = Duration::from_millis(200);
    config.json = Some(JsonConfig::default());
    config.heartbeat.interval = Some(Duration::from_millis(200));
    config
}

/// For what takes milliseconds, and some delays.
const PATIENCE: Duration = Duration::from_secs(5);
