//! The bare core in a script, by the loop of its documentation and in virtual time: what an adapter has to do, step by step.

use std::sync::Arc;
use std::time::Instant;

use sansocket::{Acceptance, ClientRequest, Config, Connection, Event, RecvBuf, Role, StreamOrder};

use crate::link::{Progress, State, Trace};
use crate::script::{Order, Script, Step};

/// What the outside did in a script, and how far the core had come after each of it.
pub struct Recording {
    pub(crate) actions: Vec<(Action, Progress)>,
    /// What could be seen of it.
    pub trace: Trace,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Connect,
    Order(Order),
    Receive(bool),
    Bytes(Vec<u8>),
    Eof,
    Reset,
    Room(usize),
    TimePasses,
}

impl Script {
    /// Our end before its first byte.
    pub(crate) fn connection(&self, now: Instant) -> Connection {
        connection(self.role, self.config.clone(), self.seed, now)
    }

    /// Runs it on the core, which reads and writes in steps that `chunks` decides on.
    pub fn record(&self, chunks: u64) -> Recording {
        let now = Instant::now();
        let peer_role = if self.role == Role::Client { Role::Server } else { Role::Client };
        let mut recorder = Recorder {
            now,
            connection: self.connection(now),
            buf: RecvBuf::new(),
            link: State::new(chunks),
            told: Told::Nothing,
            application_away: false,
            peer: connection(peer_role, crate::script::timeless(), !self.seed, now),
            peer_buf: RecvBuf::new(),
            peer_read: 0,
            peer_told: false,
            mute: false,
            actions: Vec::new(),
        };
        recorder.act(Action::Connect);
        for step in &self.steps {
            recorder.step(step);
        }
        Recording { actions: recorder.actions, trace: recorder.link.trace }
    }
}

fn connection(role: Role, config: Config, seed: u64, now: Instant) -> Connection {
    let mut rng = crate::Rng::new(seed);
    let seed = std::array::from_fn(|_| rng.next() as u8);
    let config = Arc::new(config);
    match role {
        Role::Client => {
            let request = ClientRequest::new("ws://localhost/").expect("is a URL");
            Connection::client(&request, config, seed, now)
        }
        Role::Server => Connection::server(config, seed, now),
    }
}

struct Recorder {
    now: Instant,
    connection: Connection,
    buf: RecvBuf,
    link: State,
    /// What of the end of the stream the connection knows.
    told: Told,
    /// The application is busy with something else.
    application_away: bool,
    peer: Connection,
    peer_buf: RecvBuf,
    /// How much of what was written the peer has read.
    peer_read: usize,
    /// The peer knows of the end of the stream.
    peer_told: bool,
    mute: bool,
    actions: Vec<(Action, Progress)>,
}

#[derive(PartialEq)]
enum Told {
    Nothing,
    Eof,
    Reset,
}

impl Recorder {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Order(order) => self.act(Action::Order(order.clone())),
            Step::StopReceiving => self.act(Action::Receive(false)),
            Step::Receive => self.act(Action::Receive(true)),
            Step::Peer(order) => {
                // Refused when the connection is not open any more.
                let _ = order.give(&mut self.peer, self.now);
                self.exchange();
            }
            Step::Raw(bytes) => self.act(Action::Bytes(bytes.clone())),
            Step::Mute => self.mute = true,
            Step::HalfClose => self.act(Action::Eof),
            Step::Reset => self.act(Action::Reset),
            Step::Take(n) => self.act(Action::Room(*n)),
            Step::TakeAll => self.act(Action::Room(usize::MAX)),
            Step::UntilDue => self.act(Action::TimePasses),
        }
    }

    /// Does something, and sees what comes of it; and what the peer answers, and so on.
    fn act(&mut self, action: Action) {
        if self.link.trace.dropped && !matches!(action, Action::Order(_)) {
            return;
        }
        match &action {
            Action::Connect => self.link.receives = 1,
            Action::Order(order) => {
                let taken = order.give(&mut self.connection, self.now).is_ok();
                if self.link.room == usize::MAX {
                    self.link.trace.orders.push(taken);
                }
            }
            Action::Receive(receiving) => {
                self.link.receiving = *receiving;
                self.link.receives += usize::from(*receiving && self.application_away);
                self.application_away &= !receiving;
            }
            Action::Bytes(bytes) => self.link.inbound.extend(bytes),
            Action::Eof => self.link.eof = true,
            Action::Reset => self.link.reset = true,
            Action::Room(room) => self.link.set_room(*room),
            Action::TimePasses => {
                self.now = self.connection.poll_timeout().expect("a deadline");
                self.connection.handle_timeout(self.now);
            }
        }
        self.settle();
        self.actions.push((action, self.link.progress()));
        self.exchange();
    }

    /// The loop of an adapter, until nothing can be done.
    fn settle(&mut self) {
        loop {
            let before = self.link.progress();
            if self.link.reset && self.told != Told::Reset {
                self.told = Told::Reset;
                self.connection.handle_transport_error();
            }
            if self.connection.wants_read() && !self.application_away {
                match self.link.read(self.buf.spare_mut()) {
                    Some(Ok(0)) if self.told == Told::Nothing => {
                        self.told = Told::Eof;
                        self.connection.handle_eof();
                    }
                    Some(Ok(n)) => self.buf.advance_received(n),
                    Some(Err(_)) | None => {}
                }
            }
            self.tell();
            while !self.connection.outgoing().is_empty() {
                let Some(Ok(n)) = self.link.write(&[std::io::IoSlice::new(self.connection.outgoing())]) else { break };
                self.connection.advance_outgoing(self.now, n);
            }
            while let Some(order) = self.connection.poll_stream() {
                match order {
                    StreamOrder::ShutdownWrite => self.link.trace.shut_down = true,
                    StreamOrder::Drop => self.link.trace.dropped = true,
                }
            }
            if self.link.progress() == before {
                break;
            }
        }
    }

    /// Tells the application what there is to tell, while it is there.
    fn tell(&mut self) {
        while !self.application_away {
            let Some(event) = self.connection.poll_event(self.now, &mut self.buf) else { break };
            match event {
                Event::Text(_) | Event::Binary(_) => {
                    self.link.trace.received.extend(self.buf.take_message());
                    self.application_away = !self.link.receiving;
                    self.link.receives += usize::from(self.link.receiving);
                }
                Event::Request(_) => {
                    self.connection.accept(self.now, &Acceptance::new()).expect("is a request");
                }
                Event::Closed(closed) => {
                    let clean = closed.clean;
                    self.link.trace.ended = Some((Some(closed), clean));
                }
                _ => {}
            }
        }
    }

    /// The peer's turn.
    fn exchange(&mut self) {
        if self.mute || self.link.trace.dropped && self.peer_told {
            return;
        }
        self.peer_buf.extend_from_slice(&self.link.trace.written[self.peer_read..]);
        self.peer_read = self.link.trace.written.len();
        if (self.link.trace.shut_down || self.link.trace.dropped) && !self.peer_told {
            self.peer_told = true;
            self.peer.handle_eof();
        }
        let mut greets = false;
        while let Some(event) = self.peer.poll_event(self.now, &mut self.peer_buf) {
            match event {
                Event::Request(_) => {
                    self.peer.accept(self.now, &Acceptance::new()).expect("is a request");
                    greets = true;
                }
                Event::Open(_) => greets = true,
                _ => {}
            }
        }
        if greets {
            self.peer.send_text(self.now, "hello").expect("is open");
        }
        let bytes = self.peer.outgoing().to_vec();
        if !bytes.is_empty() {
            self.peer.advance_outgoing(self.now, bytes.len());
            self.act(Action::Bytes(bytes));
        }
        if self.peer.poll_stream().is_some() {
            self.act(Action::Eof);
        }
    }
}
