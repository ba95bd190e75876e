//! A client and the server of the moment, without a network between them.

use std::time::{Duration, Instant};

use sansocket::client::{
    Auth, AuthAnswer, Client, ClientConfig, ClientEvent, ClientState, End, Jitter, Order, Outcome,
};
use sansocket::{Acceptance, ClientOptions, Config, Connection, Event, RecvBuf, Rejection};

/// A client with the server of the moment, which sends back what it gets unless told otherwise.
pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) input: RecvBuf,
    pub(crate) server: Option<Connection>,
    pub(crate) server_input: RecvBuf,
    pub(crate) answer: fn(&str) -> Option<&'static str>,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) events: Vec<ClientEvent>,
    pub(crate) received: Vec<String>,
}

pub(crate) fn config(change: impl FnOnce(&mut ClientConfig)) -> ClientConfig {
    let mut config = ClientConfig::default();
    config.backoff.jitter = Jitter::None;
    change(&mut config);
    config
}

pub(crate) fn with_auth(config: &mut ClientConfig) {
    config.auth = Some(Auth::new("token 1", |message| match message.as_text() {
        Some("ok") => AuthAnswer::Accepted,
        Some("no") => AuthAnswer::Refused("expired".into()),
        _ => AuthAnswer::Other,
    }));
}

impl Rig {
    pub(crate) fn new(config: ClientConfig) -> Self {
        Self::with_options(ClientOptions::new("ws://example.com/a").unwrap(), config)
    }

    pub(crate) fn with_options(options: ClientOptions, config: ClientConfig) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(options, config, [7; 32], now),
            input: RecvBuf::new(),
            server: None,
            server_input: RecvBuf::new(),
            answer: |_| None,
            now,
            start: now,
            events: Vec::new(),
            received: Vec::new(),
        }
    }

    pub(crate) fn order(&mut self) -> Option<Order> {
        self.client.poll_order(self.now)
    }

    /// Obeys the order to connect, and lets the server answer like this.
    pub(crate) fn connect(&mut self, respond: impl Fn(&mut Connection, Instant)) {
        let order = self.order();
        assert!(matches!(order, Some(Order::Connect(_))), "{order:?}");
        self.client.handle_connected(self.now);
        self.input = RecvBuf::new();
        self.server_input = RecvBuf::new();
        let mut limits = Config::default();
        limits.ping_interval = None;
        #[cfg(feature = "deflate")]
        {
            limits.deflate = Some(sansocket::deflate::DeflateConfig::default()); // With a client that offers it.
        }
        self.server = Some(Connection::server(limits, [9; 32], self.now));
        self.pump(&respond);
    }

    pub(crate) fn accept(&mut self) {
        self.connect(|server, now| server.accept(now, &Acceptance::new()).unwrap());
    }

    pub(crate) fn refuse(&mut self, status: u16, headers: &[(&str, &str)]) {
        self.connect(|server, now| {
            let mut rejection = Rejection::new(status).unwrap();
            for (name, value) in headers {
                rejection = rejection.header(name, value).unwrap();
            }
            server.reject(now, &rejection).unwrap();
        });
    }

    pub(crate) fn run(&mut self) {
        self.pump(&|_, _| ());
    }

    /// Until nothing happens any more.
    pub(crate) fn pump(&mut self, respond: &dyn Fn(&mut Connection, Instant)) {
        let now = self.now;
        loop {
            let mut progress = false;
            while let Some(event) = self.client.poll_event(now, &mut self.input) {
                self.events.push(event);
                progress = true;
            }
            let Some(server) = &mut self.server else { break };
            let out = self.client.outgoing().to_vec();
            self.server_input.extend_from_slice(&out);
            self.client.advance_outgoing(now, out.len());
            progress |= !out.is_empty();
            while let Some(event) = server.poll_event(now, &mut self.server_input) {
                progress = true;
                match event {
                    Event::Request(_) => respond(server, now),
                    Event::Text(text) => {
                        self.received.push(text.to_owned());
                        if let Some(answer) = (self.answer)(text) {
                            server.send_text(now, answer).unwrap();
                        }
                    }
                    _ => {}
                }
            }
            let out = server.outgoing().to_vec();
            self.input.extend_from_slice(&out);
            server.advance_outgoing(now, out.len());
            progress |= !out.is_empty();
            if server.poll_stream().is_some() {
                self.client.handle_eof();
                progress = true;
            }
            if self.server.is_some() && matches!(self.client.state(), ClientState::Waiting | ClientState::Closed) {
                assert!(matches!(self.order(), Some(Order::Drop)), "{:?}", self.client);
                self.server = None;
            }
            if !progress {
                break;
            }
        }
    }

    /// The server says something.
    pub(crate) fn say(&mut self, text: &str) {
        self.server.as_mut().unwrap().send_text(self.now, text).unwrap();
        self.run();
    }

    pub(crate) fn cut(&mut self) {
        self.server = None;
        self.client.handle_transport_error();
        self.run();
        assert!(matches!(self.order(), Some(Order::Drop)));
    }

    pub(crate) fn at(&mut self, after_start: Duration) {
        self.now = self.start + after_start;
        self.client.handle_timeout(self.now);
        assert!(self.client.poll_timeout().is_none_or(|at| at > self.now || self.client.state() == ClientState::Open));
        self.run();
    }

    /// Lets the clock strike when it is due, and returns when that was.
    pub(crate) fn strike(&mut self) -> Duration {
        let at = self.client.poll_timeout().expect("something is due") - self.start;
        self.at(at);
        at
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let of = |event| if let ClientEvent::Outcome(token, outcome) = event { Some((token.0, outcome)) } else { None };
        self.events().into_iter().filter_map(of).collect()
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.events.iter().find_map(|event| if let ClientEvent::Ended(end) = event { Some(end) } else { None })
    }
}
