//! The states of a connection and what leads from one to another, found by trying everything; `ARCHITECTURE.md` shows the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::opening::PhaseName;
use super::*;
use crate::buffer::RecvBuf;
use crate::frame::CloseCode;
use crate::handshake::{Acceptance, Rejection, encode_acceptance};

type Input = fn(&mut World);

/// What can happen to a connection. What it does by itself, such as writing an answer, is part of it.
const INPUTS: &[(&str, Input)] = &[
    ("request", |world| world.receive_in(&[REQUEST], A_REQUEST)),
    ("101", World::receive_acceptance),
    ("another status", |world| {
        world.receive_in(&[RESPONSE], b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\n");
    }),
    ("its body", |world| world.receive_in(&[REFUSAL], b"no\n")),
    ("malformed head", |world| world.receive_in(&[REQUEST, RESPONSE], b"\0\r\n\r\n")),
    ("message", |world| world.receive_frame(0x81, b"hi")),
    ("fault", |world| world.receive_frame(0x83, b"")),
    ("peer's Close", |world| world.receive_frame(0x88, b"")),
    ("accept()", |world| _ = world.connection.accept(world.now, &Acceptance::new())),
    ("reject()", |world| {
        if let Ok(rejection) = Rejection::new(403) {
            _ = world.connection.reject(world.now, &rejection);
        }
    }),
    ("close()", |world| _ = world.connection.close(world.now, CloseCode::NORMAL, "")),
    ("abort()", |world| world.connection.abort()),
    ("output written", World::write),
    ("end of stream", |world| world.connection.handle_eof()),
    ("transport error", |world| world.connection.handle_transport_error()),
    ("deadline", World::timeout),
];

const REQUEST: &str = "Opening (request)";
const RESPONSE: &str = "Opening (response)";
const REFUSAL: &str = "Opening (refusal)";

const A_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Longer sequences of inputs lead nowhere else.
const DEPTH: usize = 6;

struct World {
    connection: Connection,
    buf: RecvBuf,
    now: Instant,
}

impl World {
    fn new(role: Role) -> Self {
        let now = Instant::now();
        let connection = match role {
            Role::Server => Connection::server(Config::default(), [7; 32], now),
            Role::Client => {
                let request = ClientRequest::new("ws://a/").expect("a URL");
                Connection::client(&request, Config::default(), [7; 32], now)
            }
        };
        Self { connection, buf: RecvBuf::new(), now }
    }

    fn take(&mut self, input: usize) {
        INPUTS[input].1(self);
        while self.connection.poll_event(self.now, &mut self.buf).is_some() {}
        while self.connection.poll_stream().is_some() {}
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.connection.wants_read() {
            self.buf.extend_from_slice(bytes);
        }
    }

    fn receive_acceptance(&mut self) {
        if let State::Opening(opening) = &self.connection.state
            && let Some(accept) = opening.expected()
        {
            let mut answer = Vec::new();
            encode_acceptance(&Acceptance::new(), accept, None, &mut answer);
            self.receive(&answer);
        }
    }

    fn receive_in(&mut self, states: &[&str], bytes: &[u8]) {
        if states.contains(&self.state()) {
            self.receive(bytes);
        }
    }

    fn receive_frame(&mut self, first: u8, payload: &[u8]) {
        let mask_bit = if self.connection.role() == Role::Server { 0x80 } else { 0 };
        let key = if mask_bit > 0 { &[0; 4][..] } else { &[] };
        // While the handshake is under way, it would be something else.
        if !matches!(self.connection.state, State::Opening(_)) {
            self.receive(&[&[first, mask_bit | payload.len() as u8], key, payload].concat());
        }
    }

    fn write(&mut self) {
        while self.connection.buffered_len() > 0 {
            self.connection.advance_outgoing(self.now, self.connection.outgoing().len());
        }
    }

    fn timeout(&mut self) {
        if let Some(at) = self.connection.poll_timeout() {
            self.now = self.now.max(at);
            self.connection.handle_timeout(self.now);
        }
    }

    /// What can be seen of it: when that stays the same, so does all that follows.
    fn view(&self) -> impl PartialEq + use<> {
        let connection = &self.connection;
        let waits = (connection.buffered_len(), connection.wants_read(), self.buf.len());
        (self.state(), waits, connection.poll_timeout(), connection.receiving.stream == Stream::Open)
    }

    fn state(&self) -> &'static str {
        match &self.connection.state {
            State::Opening(opening) => match opening.phase_name() {
                PhaseName::Request => REQUEST,
                PhaseName::Deciding => "Opening (deciding)",
                PhaseName::Response => RESPONSE,
                PhaseName::RefusalBody => REFUSAL,
            },
            State::Open => "Open",
            State::CloseSent(_) => "CloseSent",
            State::Draining(_) => "Draining",
            State::Closed { .. } => "Closed",
        }
    }
}

/// Every way out of every state that up to [`DEPTH`] inputs lead to.
fn diagram(role: Role) -> String {
    let mut edges: BTreeMap<(&str, &str), BTreeSet<usize>> = BTreeMap::new();
    let mut sequences = vec![Vec::new()];
    while let Some(sequence) = sequences.pop() {
        for input in 0..INPUTS.len() {
            let mut world = World::new(role);
            sequence.iter().for_each(|&input| world.take(input));
            let (before, view) = (world.state(), world.view());
            world.take(input);
            let after = world.state();
            if before != after {
                edges.entry((before, after)).or_default().insert(input);
            }
            if sequence.len() + 1 < DEPTH && after != "Closed" && world.view() != view {
                sequences.push([&sequence[..], &[input]].concat());
            }
        }
    }
    let mut page = String::new();
    for ((from, to), inputs) in edges {
        let inputs: Vec<&str> = inputs.into_iter().map(|input| INPUTS[input].0).collect();
        let _ = writeln!(page, "{from:<18} ▶ {to:<18} {}", inputs.join(", "));
    }
    page
}

#[test]
fn the_map_shows_the_states_as_they_are() {
    let map = include_str!("../../ARCHITECTURE.md");
    let page = format!(
        "A server:\n\n```text\n{}```\n\nA client:\n\n```text\n{}```\n",
        diagram(Role::Server),
        diagram(Role::Client)
    );
    assert!(map.contains(&page), "ARCHITECTURE.md should hold this:\n\n{page}");
}
