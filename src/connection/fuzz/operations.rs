//! Two machines, any orders to either, any network that keeps the order of bytes, and any times.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use super::*;
use crate::connection::sending::CONTROL_FRAME_LEN_MAX;
use crate::program::Program;

/// Runs bytes as a program: orders, bytes that move, and time that passes. Whatever it is, nothing panics, neither end finds fault with the other, both
/// end once, at once when nothing holds the bytes up, and cleanly when nobody cut it short; whoever receives a Close has received everything that was
/// accepted before it; and what waits to be written is bounded.
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
    read_size: usize,
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
    closed: Option<Closed>,
    /// The most output that one order made.
    order_len_max: usize,
    /// Whether something was told that no order has answered.
    may_answer: bool,
}

impl Pair {
    fn new(program: &mut Program<'_>) -> Self {
        let now = Instant::now();
        let settings = program.byte();
        let choices = Choices(if settings & 32 == 0 { 0 } else { 16 });
        let mut config =
            Config { high_water_mark: [1, 100, 4096, 65536][usize::from(settings & 3)], ..choices.config() };
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
            End::new(connection, if settings & 64 == 0 { READ_SIZE } else { 64 }, settings & 16 != 0)
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
                let text = end.text(program.len());
                if end.order(|connection| connection.send_text(now, &text)) {
                    end.accepted.push(text.into());
                }
            }
            50..=59 => {
                let payload = vec![b'b'; program.len()];
                if end.order(|connection| connection.send_binary_shared(now, &payload.clone().into())) {
                    end.accepted.push(payload.into());
                }
            }
            60..=79 => {
                let (kind, last) = (program.byte(), program.byte());
                let kind = if kind & 1 == 0 { MessageKind::Text } else { MessageKind::Binary };
                end.fragment(now, kind, program.bytes(), last & 3 == 0);
            }
            80..=83 => _ = end.order(|connection| connection.ping(now, program.bytes())),
            84..=85 => _ = end.order(|connection| connection.pong(now, program.bytes())),
            86 => _ = end.connection.close(now, CloseCode(1000 + u16::from(program.byte())), "why"),
            87 if program.byte() == 7 => end.connection.abort(),
            88 if program.byte() == 7 => end.connection.handle_transport_error(),
            89..=94 => end.connection.release(),
            95..=99 => {
                end.buf.release();
                let mut other = RecvBuf::with_read_size(end.read_size);
                other.take_over(&mut end.buf);
                end.buf = other;
            }
            100..=110 => self.now += Duration::from_millis(u64::from(program.byte())),
            111..=113 => self.now += Duration::from_secs(u64::from(program.byte())),
            114..=117 => self.timeout(which),
            118..=120 => end.poll_control(now),
            #[cfg(feature = "deflate")]
            121..=122 => end.send_prepared(now, program),
            #[cfg(feature = "deflate")]
            123..=124 => end.send_compressed_or_not(now, program),
            _ => end.obey(),
        }
        self.check();
    }

    /// Nothing is lost, doubled or out of order, and what waits is bounded.
    fn check(&mut self) {
        let [client, server] = &mut self.ends;
        client.check(server);
        server.check(client);
        client.check_output();
        server.check_output();
    }

    /// Moves output to the other end.
    fn transfer(&mut self, from: usize, n: usize) {
        let now = self.now;
        let [client, server] = &mut self.ends;
        let (from, to) = if from == 0 { (client, server) } else { (server, client) };
        let output = from.output(n);
        if !from.dropped {
            if !to.dropped {
                to.incoming.extend(&output);
            }
            from.connection.advance_outgoing(now, output.len());
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
        let start = self.now;
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
                None if self.ends.iter().all(|end| end.closed.is_some()) => break,
                None => panic!("waits for ever: {:?}", self.ends.each_ref().map(|end| &end.connection)),
            }
            for which in [0, 1] {
                self.timeout(which);
            }
        }
        assert_eq!(self.now, start, "nothing is to be waited for while all bytes move");
        self.judge();
    }

    /// An end that nobody cut short is clean, and everything has arrived by then.
    fn judge(&self) {
        let [client, server] = self.ends.each_ref().map(|end| end.closed.as_ref().expect("both have ended"));
        let is_cut_short = |closed: &Closed| !matches!(closed.cause, CloseCause::CloseFrame | CloseCause::EndOfStream);
        if is_cut_short(client) || is_cut_short(server) {
            return;
        }
        assert!(client.clean && server.clean, "{client:?}, {server:?}");
        let [client, server] = &self.ends;
        assert_eq!(client.received.len(), server.accepted.len(), "the client has received all");
        assert_eq!(server.received.len(), client.accepted.len(), "the server has received all");
    }
}

impl End {
    fn new(connection: Connection, read_size: usize, in_pieces: bool) -> Self {
        Self {
            connection,
            buf: RecvBuf::with_read_size(read_size),
            incoming: VecDeque::new(),
            eof_follows: false,
            read_size,
            in_pieces,
            is_shut_down: false,
            dropped: false,
            accepted: Vec::new(),
            fragments: None,
            begun: Vec::new(),
            received: Vec::new(),
            checked: 0,
            close_received: false,
            closed: None,
            order_len_max: 0,
            may_answer: false,
        }
    }

    fn progress(&self) -> impl PartialEq + use<> {
        let lens = (self.incoming.len(), self.buf.len(), self.connection.buffered_len(), self.received.len());
        (lens, self.connection.state(), self.closed.is_some(), self.eof_follows)
    }

    /// Gives an order that makes output; whether it was taken. For want of room it is refused if, and only if, there is none and it is no answer.
    fn order(&mut self, order: impl FnOnce(&mut Connection) -> Result<(), SendError>) -> bool {
        let before = self.connection.buffered_len();
        let is_welcome = self.may_answer || before <= self.connection.config().high_water_mark + CONTROL_ROOM;
        let ordered = order(&mut self.connection);
        self.order_len_max = self.order_len_max.max(self.connection.buffered_len() - before);
        match ordered {
            Ok(()) => assert!(is_welcome, "{before} bytes waited"),
            Err(SendError::AboveHighWaterMark { .. }) => assert!(!is_welcome, "{before} bytes waited"),
            Err(_) => {}
        }
        self.may_answer &= ordered.is_err();
        ordered.is_ok()
    }

    /// A text unlike the others, so that a match in another message than the sender meant gives something else.
    fn text(&self, len: usize) -> String {
        let number = self.accepted.len();
        format!("{number}{}x", "€".repeat(1 + number % 3)).repeat(len)
    }

    #[cfg(feature = "deflate")]
    fn send_prepared(&mut self, now: Instant, program: &mut Program<'_>) {
        use crate::deflate::{DeflateConfig, PreparedMessage};

        let text = self.text(program.len());
        let config = DeflateConfig { window_bits: 8 + program.byte() % 8, ..DeflateConfig::default() };
        let prepared = PreparedMessage::new(text.as_str(), &config);
        if self.order(|connection| connection.send_prepared(now, &prepared)) {
            self.accepted.push(text.into());
        }
    }

    #[cfg(feature = "deflate")]
    fn send_compressed_or_not(&mut self, now: Instant, program: &mut Program<'_>) {
        use crate::deflate::Compression;

        let compression = [Compression::Default, Compression::Always, Compression::Never][program.below(3)];
        let text = self.text(program.len());
        let send = |connection: &mut Connection| connection.send_text(now, &text);
        if self.order(|connection| connection.with_compression(compression, send)) {
            self.accepted.push(text.into());
        }
    }

    fn fragment(&mut self, now: Instant, kind: MessageKind, payload: &[u8], is_last: bool) {
        let position = if is_last { FragmentPosition::Last } else { FragmentPosition::More };
        if !self.order(|connection| connection.send_fragment(now, kind, payload, position)) {
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
    fn receive(&mut self, mut n: usize) {
        while self.connection.wants_read() && n > 0 && !self.incoming.is_empty() {
            let spare = self.buf.spare_mut();
            let len = n.min(spare.len()).min(self.incoming.len());
            for (to, from) in spare.iter_mut().zip(self.incoming.drain(..len)) {
                *to = from;
            }
            self.buf.advance_received(len);
            n -= len;
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

    /// What waits is at most what [`Config::high_water_mark`] says: the mark, the room above it, a message, an answer, and the pongs; and a heartbeat and
    /// a Close, which nobody orders either.
    fn check_output(&self) {
        let config = self.connection.config();
        let unordered = (config.unsent_pongs_max as usize + 2) * CONTROL_FRAME_LEN_MAX;
        let bound = config.high_water_mark + CONTROL_ROOM + 2 * self.order_len_max + unordered;
        let waits = self.connection.buffered_len();
        assert!(waits <= bound, "{waits} bytes wait, at most {bound} may");
    }

    /// The next bytes for the network, up to `n`.
    fn output(&self, n: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 4];
        let filled = self.connection.outgoing_slices(&mut slices);
        let mut bytes = Vec::new();
        for slice in &slices[..filled] {
            bytes.extend_from_slice(&slice[..slice.len().min(n - bytes.len())]);
        }
        let same_len = bytes.len().min(self.connection.outgoing().len());
        assert_eq!(bytes[..same_len], self.connection.outgoing()[..same_len], "the slices begin with something else");
        bytes
    }

    fn obey(&mut self) {
        while let Some(order) = self.connection.poll_stream() {
            assert!(!self.dropped, "{order:?} after the last order");
            self.dropped = order == StreamOrder::Drop;
            self.is_shut_down = true;
        }
    }

    /// Lets messages wait.
    fn poll_control(&mut self, now: Instant) {
        while let Some(event) = self.connection.poll_control_event(now, &mut self.buf) {
            self.may_answer = true;
            match event {
                Event::Ping(_) | Event::Pong { .. } => {}
                Event::CloseReceived { .. } => self.close_received = true,
                Event::Closed(closed) => return self.end(closed),
                event => panic!("{event:?}, which is no control event"),
            }
        }
    }

    /// The last event. The other end is honest, so no fault of its can be the cause, but for this limit.
    fn end(&mut self, closed: Closed) {
        assert!(
            match closed.cause {
                CloseCause::CloseFrame | CloseCause::EndOfStream | CloseCause::Deadline(_) => true,
                CloseCause::Aborted | CloseCause::TransportFailed => true,
                CloseCause::Protocol(error) => error == ProtocolError::TooManyFragments { max: 16 },
                _ => false,
            },
            "{closed:?}"
        );
        assert_eq!(self.closed.replace(closed), None, "a second end");
    }

    fn poll(&mut self, now: Instant) {
        loop {
            let event = match self.in_pieces {
                true => self.connection.poll_event_in_pieces(now, &mut self.buf),
                false => self.connection.poll_event(now, &mut self.buf),
            };
            let Some(event) = event else { break };
            assert!(self.closed.is_none(), "{event:?} after the end");
            #[cfg(feature = "deflate")]
            if let Event::Inflating = event {
                continue;
            }
            self.may_answer = true;
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
                Event::Closed(closed) => return self.end(closed),
                _ => {}
            }
        }
    }
}
