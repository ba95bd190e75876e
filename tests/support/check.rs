//! One case of the RFC: what arrives, what the application sees of it, what is answered, how it ends.

use std::sync::Arc;
use std::time::Instant;

use sansocket::{CloseCause, Closed, Config, Connection, Event, RecvBuf, Role, Side, StreamOrder};

use super::{Frame, ROLES, Rng, SEED, Seen, decode, opcode, whole, wire_to};

/// Runs each case, for each role, whole and split in every way.
#[track_caller]
pub(crate) fn check_all(cases: &[Case]) {
    for case in cases {
        for role in case.roles {
            let wire = wire_to(*role, &case.frames);
            check(*role, &wire, case);
        }
    }
}

/// A row of a table. Pongs are expected for the pings among its events, without being told.
pub(crate) struct Case {
    section: &'static str,
    name: String,
    frames: Vec<Frame>,
    roles: &'static [Role],
    config: Arc<Config>,
    #[cfg(feature = "deflate")]
    deflate: Option<sansocket::deflate::DeflateParams>,
    events: Vec<Seen>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    /// The connection stays open.
    None,
    /// It is failed with this code.
    Fails(u16),
    /// The peer's Close is the last event, and is answered with this payload.
    Closes { code: u16, reason: String },
}

impl Case {
    fn new(section: &'static str, name: impl Into<String>, frames: &[Frame], events: &[Seen], end: End) -> Self {
        let (name, frames, events) = (name.into(), frames.to_vec(), events.to_vec());
        Self {
            section,
            name,
            frames,
            roles: &ROLES,
            config: Arc::default(),
            #[cfg(feature = "deflate")]
            deflate: None,
            events,
            end,
        }
    }

    /// All of it is legal: the connection stays open.
    pub(crate) fn passes(section: &'static str, name: impl Into<String>, frames: &[Frame], events: &[Seen]) -> Self {
        Self::new(section, name, frames, events, End::None)
    }

    /// After these events, the connection is failed with `code`.
    pub(crate) fn fails(
        section: &'static str,
        name: impl Into<String>,
        frames: &[Frame],
        events: &[Seen],
        code: u16,
    ) -> Self {
        Self::new(section, name, frames, events, End::Fails(code))
    }

    /// After these events, the peer's Close with `code` (1005 for none) and `reason` is reported and echoed.
    pub(crate) fn closes(
        section: &'static str,
        name: impl Into<String>,
        frames: &[Frame],
        events: &[Seen],
        code: u16,
        reason: &str,
    ) -> Self {
        let events = [events, &[Seen::CloseReceived(code, reason.to_owned())]].concat();
        Self::new(section, name, frames, &events, End::Closes { code, reason: reason.to_owned() })
    }

    /// With permessage-deflate agreed on, which the configuration must allow.
    #[cfg(feature = "deflate")]
    pub(crate) fn with_deflate(mut self, params: sansocket::deflate::DeflateParams) -> Self {
        self.deflate = Some(params);
        self
    }

    pub(crate) fn with(mut self, config: Arc<Config>) -> Self {
        self.config = config;
        self
    }
}

/// Runs one case whole, in chunks of every size, and cut in two at every place; with messages whole, in pieces, and
/// switching between the two; and once with more behind it, which may not matter after an end.
#[track_caller]
pub(crate) fn check(role: Role, wire: &[u8], case: &Case) {
    let label = format!("section {}: {} ({role:?})", case.section, case.name);
    let len = wire.len();
    let sizes: Vec<usize> = if len <= EVERY_SPLIT_LEN_MAX {
        (1..=len.max(1)).collect()
    } else {
        [1, 2, 3, 7, 64, 125, 127, 1000, 4096, 16_384, len / 2, len - 1, len].into()
    };
    for size in sizes {
        let chunks: Vec<&[u8]> = wire.chunks(size).collect();
        for delivery in [Delivery::Whole, Delivery::Pieces, Delivery::Mixed(size as u64)] {
            run(role, &chunks, case, delivery).hold(case, role, &format!("{label}, {delivery:?}, chunks of {size}"));
        }
    }
    if len <= EVERY_SPLIT_LEN_MAX {
        for at in 1..len {
            let (left, right) = wire.split_at(at);
            let found = run(role, &[left, right], case, Delivery::Whole);
            found.hold(case, role, &format!("{label}, cut at {at}"));
        }
    }
    if !matches!(case.end, End::None) {
        for garbage in [&[0xFF; 9][..], b"\x81\x02hi\x89\x00", &[0x88, 0x00]] {
            let found = run(role, &[&[wire, garbage].concat()], case, Delivery::Whole);
            found.hold(case, role, &format!("{label}, with more behind it in the same read"));
            let found = run(role, &[wire, garbage], case, Delivery::Whole);
            found.hold(case, role, &format!("{label}, with more behind it in the next read"));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Delivery {
    Whole,
    Pieces,
    /// Either, by the numbers of this seed.
    Mixed(u64),
}

/// What came of a run.
struct Outcome {
    /// All events but the last.
    events: Vec<Seen>,
    /// The last one.
    closed: Option<Closed>,
    /// All that was queued before the stream ended.
    sent: Vec<u8>,
    orders: Vec<StreamOrder>,
}

fn run(role: Role, chunks: &[&[u8]], case: &Case, delivery: Delivery) -> Outcome {
    let now = Instant::now();
    let mut connection = Connection::open(role, case.config.clone(), SEED, now);
    #[cfg(feature = "deflate")]
    {
        connection = connection.with_deflate(case.deflate);
    }
    let mut buf = RecvBuf::with_read_size(512);
    let mut rng = Rng::new(if let Delivery::Mixed(seed) = delivery { seed } else { 0 });
    let mut events = Vec::new();
    let mut drain = |connection: &mut Connection, buf: &mut RecvBuf| {
        loop {
            let in_pieces = match delivery {
                Delivery::Whole => false,
                Delivery::Pieces => true,
                Delivery::Mixed(_) => rng.once_in(2),
            };
            let event = match in_pieces {
                true => connection.poll_event_in_pieces(now, buf),
                false => connection.poll_event(now, buf),
            };
            let Some(event) = event else {
                return;
            };
            #[cfg(feature = "deflate")]
            if matches!(event, Event::Inflating) {
                continue;
            }
            let is_whole = matches!(event, Event::Text(_) | Event::Binary(_));
            let seen = Seen::from(&event);
            if is_whole {
                // What is taken is what was lent.
                let taken = buf.take_message().expect("a message was lent");
                match &seen {
                    Seen::Text(text) => assert_eq!(taken.as_text(), Some(&text[..])),
                    Seen::Binary(bytes) => assert_eq!(taken.as_bytes(), bytes),
                    _ => unreachable!("neither text nor binary"),
                }
            }
            events.push(seen);
        }
    };
    for chunk in chunks {
        let mut rest = *chunk;
        // As a transport does, and as a caller with bytes at hand does.
        if rest.len() % 2 == 0 {
            while !rest.is_empty() {
                let spare = buf.spare_mut();
                let n = spare.len().min(rest.len());
                spare[..n].copy_from_slice(&rest[..n]);
                buf.advance_received(n);
                rest = &rest[n..];
            }
        } else {
            buf.extend_from_slice(rest);
        }
        drain(&mut connection, &mut buf);
    }
    let mut sent = Vec::new();
    let mut orders = Vec::new();
    while !connection.outgoing().is_empty() {
        sent.extend(connection.outgoing());
        connection.advance_outgoing(now, connection.outgoing().len());
        drain(&mut connection, &mut buf);
    }
    orders.extend(std::iter::from_fn(|| connection.poll_stream()));
    connection.handle_eof();
    drain(&mut connection, &mut buf);
    drain(&mut connection, &mut buf);
    orders.extend(std::iter::from_fn(|| connection.poll_stream()));
    assert!(connection.outgoing().is_empty(), "something is queued after the end");
    let closed = match events.pop() {
        Some(Seen::Closed(closed)) => Some(closed),
        Some(other) => {
            events.push(other);
            None
        }
        None => None,
    };
    Outcome { events: whole(events), closed, sent, orders }
}

impl Outcome {
    #[track_caller]
    fn hold(self, case: &Case, role: Role, label: &str) {
        assert_eq!(self.events, case.events, "{label}");

        // What was sent: a pong for each ping, in order, and the Close that the end needs.
        let mut expected: Vec<_> = self
            .events
            .iter()
            .filter_map(|event| match event {
                Seen::Ping(payload) => Some(opcode(0xA, payload)),
                _ => None,
            })
            .collect();
        let mut sent = decode(&self.sent);
        let closed = self.closed.unwrap_or_else(|| panic!("{label}: no end"));
        let (by, code, clean) = match &case.end {
            End::None => (Side::Remote, 1006, false),
            End::Fails(code) => {
                let close = sent.pop().unwrap_or_else(|| panic!("{label}: no Close was sent"));
                let (sent_code, reason) = close.as_close().unwrap_or_else(|| panic!("{label}: {close:?} is no Close"));
                assert_eq!(sent_code, *code, "{label}: code of our Close");
                assert_eq!(closed.reason, reason, "{label}: the words of our Close are reported");
                assert!(
                    matches!(closed.cause, CloseCause::Protocol(error) if error.close_code().0 == *code),
                    "{label}"
                );
                assert!(!reason.is_empty() && reason.len() <= 123, "{label}: our Close says why");
                (Side::Local, *code, false)
            }
            End::Closes { code, reason } => {
                // RFC 6455 section 5.5.1: the answer echoes the code.
                let echo = if *code == 1005 { Vec::new() } else { code.to_be_bytes().to_vec() };
                expected.push(opcode(0x8, echo));
                assert_eq!((&closed.reason, closed.cause), (reason, CloseCause::CloseFrame), "{label}");
                (Side::Remote, *code, true)
            }
        };
        assert_eq!((closed.by, closed.code.0, closed.clean), (by, code, clean), "{label}: {closed:?}");
        let mut expected_wire = Vec::new();
        for (frame, sent) in expected.iter().zip(&sent) {
            frame.encode(role, sent.key.unwrap_or_default(), &mut expected_wire);
        }
        assert_eq!(sent.len(), expected.len(), "{label}: {sent:?} was sent");
        assert!(self.sent.starts_with(&expected_wire), "{label}: {sent:?} was sent");

        // RFC 6455 section 7.1.1: the server ends the transport first, and so does who fails the connection.
        let shuts_down = match &case.end {
            End::None => false,
            End::Fails(_) => true,
            End::Closes { .. } => role == Role::Server,
        };
        let orders: &[StreamOrder] =
            if shuts_down { &[StreamOrder::ShutdownWrite, StreamOrder::Drop] } else { &[StreamOrder::Drop] };
        assert_eq!(self.orders, orders, "{label}: orders for the transport");
    }
}

/// Longer wires are cut at chosen places only.
const EVERY_SPLIT_LEN_MAX: usize = 300;
