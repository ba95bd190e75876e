//! Two machines, any orders to either, any network that keeps the order of bytes, and any times.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::program::Program;

/// Runs bytes as a program: orders, bytes that move, and time that passes. Whatever it is, nothing panics, both ends end once, in time, and
/// whoever receives a Close has received everything that was accepted before it.
pub fn operations(data: &[u8]) {
    let mut program = Program::new(data);
    let mut pair = Pair::new(&mut program);
    while !program.is_over() {
        pair.step(&mut program);
    }
    pair.end();
}

struct Pair {
    now: Instant,
    ends: [End; 2],
}

struct End {
    connection: Connection,
    buf: RecvBuf,
    /// What the network has for it.
    incoming: VecDeque<u8>,
    /// What follows that: the peer's direction is shut down.
    eof_follows: bool,
    in_pieces: bool,
    /// Its own direction is shut down.
    is_shut_down: bool,
    /// The transport is gone.
    dropped: bool,
    accepted: Vec<Message>,
    /// The message that is sent in fragments.
    fragments: Option<(MessageKind, Vec<u8>)>,
    /// What has arrived of the message that arrives in pieces.
    begun: Vec<u8>,
    received: Vec<Message>,
    /// How many of these have been compared with what was accepted.
    checked: usize,
    close_received: bool,
    closed: bool,
}

impl Pair {
    fn new(program: &mut Program<'_>) -> Self {
        let now = Instant::now();
        let settings = program.byte();
        let mut config = Config { high_water_mark: [1, 100, 4096, 65536][usize::from(settings & 3)], ..config() };
        config.frame_len_max = 1 << 20;
        config.message_len_max = 1 << 20;
        let ends = [Role::Client, Role::Server].map(|role| {
            #[cfg(feature = "deflate")]
            let connection = {
                let deflate = (settings & 4 != 0).then(|| crate::deflate::DeflateConfig {
                    inflation_ratio_max: u32::MAX,
                    inflated_per_poll_max: 1000,
                    ..crate::deflate::DeflateConfig::default()
                });
                let params = crate::deflate::DeflateParams {
                    client_no_context_takeover: settings & 8 != 0,
                    server_max_window_bits: 9,
                    ..Default::default()
                };
                let config = Config { deflate, ..config.clone() };
                Connection::open(role, config, [7; 32], now).with_deflate(Some(params))
            };
            #[cfg(not(feature = "deflate"))]
            let connection = Connection::open(role, config.clone(), [7; 32], now);
            End::new(connection, settings & 16 != 0)
        });
        Self { now, ends }
    }

    fn step(&mut self, program: &mut Program<'_>) {
        let choice = program.byte();
        let which = usize::from(choice & 1);
        let now = self.now;
        let end = &mut self.ends[which];
        match choice >> 1 {
            0..=19 => self.transfer(which, program.len()),
            20..=39 => end.poll(now),
            40..=49 => {
                let text = "é€x".repeat(program.len());
                if end.connection.send_text(now, &text).is_ok() {
                    end.accepted.push(text.into());
                }
            }
            50..=59 => {
                let payload = vec![b'b'; program.len()];
                if end.connection.send_binary_shared(now, &payload.clone().into()).is_ok() {
                    end.accepted.push(payload.into());
                }
            }
            60..=79 => {
                let (kind, last) = (program.byte(), program.byte());
                let kind = if kind & 1 == 0 { MessageKind::Text } else { MessageKind::Binary };
                end.fragment(now, kind, program.bytes(), last & 3 == 0);
            }
            80..=83 => _ = end.connection.ping(now, program.bytes()),
            84..=85 => _ = end.connection.pong(now, program.bytes()),
            86 => _ = end.connection.close(now, CloseCode(1000 + u16::from(program.byte())), "why"),
            87 if program.byte() == 7 => end.connection.abort(),
            88 if program.byte() == 7 => end.connection.handle_transport_error(),
            89..=94 => end.connection.release(),
            95..=99 => {
                end.buf.release();
                let mut other = RecvBuf::new();
                other.take_over(&mut end.buf);
                end.buf = other;
            }
            100..=110 => self.now += Duration::from_millis(u64::from(program.byte())),
            111..=113 => self.now += Duration::from_secs(u64::from(program.byte())),
            114..=117 => self.timeout(which),
            _ => end.obey(),
        }
        self.check();
    }

    /// Nothing is lost, doubled or out of order.
    fn check(&mut self) {
        let [client, server] = &mut self.ends;
        client.check(server);
        server.check(client);
    }

    /// Moves output to the other end.
    fn transfer(&mut self, from: usize, n: usize) {
        let now = self.now;
        let [client, server] = &mut self.ends;
        let (from, to) = if from == 0 { (client, server) } else { (server, client) };
        let n = n.min(from.connection.outgoing().len());
        if !from.dropped {
            if !to.dropped {
                to.incoming.extend(&from.connection.outgoing()[..n]);
            }
            from.connection.advance_outgoing(now, n);
        }
        from.obey();
        to.eof_follows |= from.is_shut_down && (from.dropped || from.connection.buffered_len() == 0);
        to.receive(n);
    }

    fn timeout(&mut self, which: usize) {
        let end = &mut self.ends[which];
        end.poll(self.now);
        end.connection.handle_timeout(self.now);
        let next = end.connection.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a hot loop: {:?}", end.connection);
        end.poll(self.now);
    }

    /// Lets everything happen, and time pass, until both have ended.
    fn end(&mut self) {
        let mut rounds = 0;
        // Heartbeats would go on for ever.
        _ = self.ends[0].connection.close(self.now, CloseCode::NORMAL, "");
        loop {
            rounds += 1;
            assert!(rounds < 10_000, "no end of it: {:?}", self.ends.each_ref().map(|end| &end.connection));
            self.check();
            let before = self.ends.each_ref().map(End::progress);
            for which in [0, 1] {
                self.transfer(which, 4096);
                self.ends[which].receive(usize::MAX);
                self.ends[which].poll(self.now);
            }
            if before != self.ends.each_ref().map(End::progress) {
                continue;
            }
            let due = self.ends.iter().filter_map(|end| end.connection.poll_timeout()).min();
            match due {
                Some(at) => self.now = self.now.max(at),
                None if self.ends.iter().all(|end| end.closed) => return,
                None => panic!("waits for ever: {:?}", self.ends.each_ref().map(|end| &end.connection)),
            }
            for which in [0, 1] {
                self.timeout(which);
            }
        }
    }
}

impl End {
    fn new(connection: Connection, in_pieces: bool) -> Self {
        Self {
            connection,
            buf: RecvBuf::new(),
            incoming: VecDeque::new(),
            eof_follows: false,
            in_pieces,
            is_shut_down: false,
            dropped: false,
            accepted: Vec::new(),
            fragments: None,
            begun: Vec::new(),
            received: Vec::new(),
            checked: 0,
            close_received: false,
            closed: false,
        }
    }

    fn progress(&self) -> (usize, usize, usize, usize, bool, bool) {
        let lens = (self.incoming.len(), self.buf.len(), self.connection.buffered_len());
        (lens.0, lens.1, lens.2, self.received.len(), self.eof_follows, self.closed)
    }

    fn fragment(&mut self, now: Instant, kind: MessageKind, payload: &[u8], is_last: bool) {
        let position = if is_last { FragmentPosition::Last } else { FragmentPosition::More };
        if self.connection.send_fragment(now, kind, payload, position).is_err() {
            return;
        }
        let (_, begun) = self.fragments.get_or_insert_with(|| (kind, Vec::new()));
        begun.extend(payload);
        if is_last && let Some((kind, bytes)) = self.fragments.take() {
            self.accepted.push(match kind {
                MessageKind::Text => String::from_utf8(bytes).expect("text that is no text was taken").into(),
                MessageKind::Binary => bytes.into(),
            });
        }
    }

    /// Takes what the network has, if it wants any.
    fn receive(&mut self, n: usize) {
        if self.connection.wants_read() {
            let bytes: Vec<u8> = self.incoming.drain(..n.min(self.incoming.len())).collect();
            self.buf.extend_from_slice(&bytes);
        }
        if self.incoming.is_empty() && self.eof_follows {
            self.connection.handle_eof();
        }
    }

    fn check(&mut self, other: &Self) {
        let new = &self.received[self.checked..];
        let accepted = other.accepted.get(self.checked..).unwrap_or_default();
        assert!(accepted.starts_with(new), "{new:?} of {accepted:?}");
        self.checked = self.received.len();
        assert!(
            !self.close_received || self.checked == other.accepted.len(),
            "a Close, but not what was accepted before it"
        );
    }

    fn obey(&mut self) {
        while let Some(order) = self.connection.poll_stream() {
            assert!(!self.dropped, "{order:?} after the last order");
            self.dropped = order == StreamOrder::Drop;
            self.is_shut_down = true;
        }
    }

    fn poll(&mut self, now: Instant) {
        loop {
            let event = match self.in_pieces {
                true => self.connection.poll_event_in_pieces(now, &mut self.buf),
                false => self.connection.poll_event(now, &mut self.buf),
            };
            let Some(event) = event else { break };
            assert!(!self.closed, "{event:?} after the end");
            match event {
                Event::Text(text) => self.received.push(text.into()),
                Event::Binary(bytes) => self.received.push(bytes.into()),
                Event::TextPiece { text, last } => {
                    self.begun.extend(text.as_bytes());
                    if last {
                        let text = String::from_utf8(std::mem::take(&mut self.begun));
                        self.received.push(text.expect("pieces of text are text").into());
                    }
                }
                Event::BinaryPiece { bytes, last } => {
                    self.begun.extend(bytes);
                    if last {
                        self.received.push(std::mem::take(&mut self.begun).into());
                    }
                }
                Event::CloseReceived { .. } => self.close_received = true,
                Event::Closed(_) => self.closed = true,
                _ => {}
            }
        }
    }
}
