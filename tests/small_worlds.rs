//! Small worlds, seen whole: every sequence of frames up to a depth against a model of RFC 6455 in a page, and every order in which two ends can
//! close. `SANSOCKET_DEPTH` makes the worlds of frames larger: 4 frames, 17,000 sequences, unless set.

mod support;

use std::collections::BTreeSet;

use sansocket::frame::Header;
use sansocket::{CloseCode, Role, Side, StreamOrder};
use support::*;

/// At least one frame of each kind that the RFC tells apart, each with one fault at most.
fn alphabet() -> Vec<Frame> {
    vec![
        text("a"),
        text("b").more(),
        text(b"\xC3").more(), // half a code point
        text(b"\xFF"),
        continuation(b"\xA9"), // the other half
        continuation("").more(),
        binary(b"\xC3"),
        binary("").more(),
        ping("p"),
        ping("p").more(),
        pong(""),
        close_empty(),
        close(1000, "x"),
        close(1005, ""),
        close_raw(b"\x03"),
        opcode(0x3, ""),
        binary("").rsv(0b100),
        pong("").wrongly_masked(),
        binary("").len_in_16_bits(),
    ]
}

/// What a frame of the alphabet is to the model, which knows no code of the crate.
#[derive(Clone, Copy)]
enum Letter {
    Data {
        kind: Option<Kind>,
        payload: &'static [u8],
        fin: bool,
    },
    Ping,
    Pong,
    /// With this code and reason.
    Close(u16, &'static str),
    /// Refused whatever came before.
    Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Binary,
}

fn letters() -> Vec<Letter> {
    use Letter::*;
    let data = |kind, payload: &'static str, fin| Data { kind, payload: payload.as_bytes(), fin };
    let (text, binary) = (Some(Kind::Text), Some(Kind::Binary));
    vec![
        data(text, "a", true),
        data(text, "b", false),
        Data { kind: text, payload: b"\xC3", fin: false },
        Data { kind: text, payload: b"\xFF", fin: true },
        Data { kind: None, payload: b"\xA9", fin: true },
        data(None, "", false),
        Data { kind: binary, payload: b"\xC3", fin: true },
        data(binary, "", false),
        Ping,
        Fault,
        Pong,
        Close(1005, ""),
        Close(1000, "x"),
        Fault,
        Fault,
        Fault,
        Fault,
        Fault,
        Fault,
    ]
}

/// What the RFC says of frames: what the application is told, what is answered, and what ends it.
#[derive(Default)]
struct Model {
    message: Option<(Kind, Vec<u8>)>,
    told: Vec<Seen>,
    /// Opcode and payload.
    answered: Vec<(u8, Vec<u8>)>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Fails(u16),
    Closes(u16),
}

impl Model {
    fn take(&mut self, letter: Letter) {
        if self.end.is_some() {
            return;
        }
        match letter {
            Letter::Fault => self.fail(1002),
            Letter::Ping => {
                self.told.push(Seen::Ping(b"p".into()));
                self.answered.push((0xA, b"p".into()));
            }
            Letter::Pong => self.told.push(Seen::Pong(Vec::new())),
            Letter::Close(code, reason) => {
                self.told.push(Seen::CloseReceived(code, reason.into()));
                // RFC 6455 section 5.5.1: the answer "typically echoes the status code".
                let payload = if code == 1005 { Vec::new() } else { code.to_be_bytes().to_vec() };
                self.answered.push((0x8, payload));
                self.end = Some(End::Closes(code));
            }
            Letter::Data { kind, payload, fin } => {
                let (kind, mut message) = match (kind, self.message.take()) {
                    (Some(kind), None) => (kind, Vec::new()),
                    (None, Some(begun)) => begun,
                    (Some(_), Some(_)) | (None, None) => return self.fail(1002),
                };
                message.extend(payload);
                let is_over = match std::str::from_utf8(&message) {
                    _ if kind == Kind::Binary => false,
                    Ok(_) => false,
                    Err(error) => error.error_len().is_some() || fin,
                };
                match (is_over, fin, kind) {
                    (true, ..) => self.fail(1007),
                    (_, false, _) => self.message = Some((kind, message)),
                    (_, true, Kind::Text) => self.told.push(Seen::Text(String::from_utf8(message).unwrap())),
                    (_, true, Kind::Binary) => self.told.push(Seen::Binary(message)),
                }
            }
        }
    }

    fn fail(&mut self, code: u16) {
        self.answered.push((0x8, code.to_be_bytes().to_vec()));
        self.end = Some(End::Fails(code));
    }
}

/// Runs each sequence that the model has not ended before its last frame but one, since what follows an end changes nothing.
fn each_sequence(depth: usize, run: &mut impl FnMut(&[usize], &Model)) -> usize {
    let letters = letters();
    let mut count = 0;
    let mut sequences = vec![Vec::new()];
    while let Some(sequence) = sequences.pop() {
        let mut model = Model::default();
        let mut ended_before_last = false;
        for &at in &sequence {
            ended_before_last = model.end.is_some();
            model.take(letters[at]);
        }
        run(&sequence, &model);
        count += 1;
        if sequence.len() < depth && !ended_before_last {
            sequences.extend((0..letters.len()).map(|at| [&sequence[..], &[at]].concat()));
        }
    }
    count
}

fn check_sequence(role: Role, frames: &[Frame], model: &Model, chunk_len: usize) {
    let mut bench = Bench::open(role, config(timeless));
    let wire = wire_to(role, frames);
    let told: Vec<Seen> = wire.chunks(chunk_len.max(1)).flat_map(|chunk| bench.receive(chunk)).collect();
    assert_eq!(told, model.told, "{frames:?}");
    let answered = bench.flush_frames();
    for (found, (opcode, payload)) in answered.iter().zip(&model.answered) {
        // What a fault's Close says in words is the crate's own affair.
        let said =
            if let (Some(End::Fails(_)), 0x8) = (model.end, *opcode) { &found.payload[..2] } else { &found.payload };
        assert_eq!((found.opcode, said, found.fin, found.rsv), (*opcode, &payload[..], true, 0), "{frames:?}");
    }
    assert_eq!(answered.len(), model.answered.len(), "{frames:?}");
    let mut ended = bench.poll();
    ended.extend(bench.eof());
    bench.flush();
    ended.extend(bench.poll());
    let closed = only_closed(ended);
    match model.end {
        None => assert!(!closed.clean && closed.code == CloseCode::ABNORMAL, "{frames:?}: {closed:?}"),
        Some(End::Fails(code)) => {
            assert_eq!((closed.clean, closed.by, closed.code.0), (false, Side::Local, code), "{frames:?}");
        }
        Some(End::Closes(code)) => {
            assert_eq!((closed.clean, closed.by, closed.code.0), (true, Side::Remote, code), "{frames:?}");
        }
    }
}

#[test]
fn every_sequence_of_frames_up_to_a_depth_does_what_the_model_does() {
    let depth = number_from_environment("SANSOCKET_DEPTH").unwrap_or(4) as usize;
    let alphabet = alphabet();
    assert_eq!(alphabet.len(), letters().len());
    for role in ROLES {
        let frames = |sequence: &[usize]| -> Vec<Frame> { sequence.iter().map(|&at| alphabet[at].clone()).collect() };
        let count = each_sequence(depth, &mut |sequence, model| {
            check_sequence(role, &frames(sequence), model, usize::MAX);
        });
        assert!(count > 16_000 || depth < 4, "{count} sequences");
        each_sequence(3, &mut |sequence, model| check_sequence(role, &frames(sequence), model, 1));
    }
}

// Two ends.

/// What an application does, in this order; the world decides when.
const SCRIPT: [fn(&mut Bench) -> bool; 2] = [
    |bench| bench.connection.send_text(bench.now, "last words").is_ok(),
    |bench| bench.connection.close(bench.now, CloseCode(4000 + bench.connection.role() as u16), "").is_ok(),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The application's next order.
    Order(usize),
    /// One frame to the other end, or the end of the direction.
    Deliver(usize),
}

struct World {
    ends: [Bench; 2],
    orders: [usize; 2],
    /// Whether the message was taken.
    spoke: [bool; 2],
    /// Whether the end of its direction is still to be delivered, and whether it has been.
    shut: [bool; 2],
    told_eof: [bool; 2],
    seen: [Vec<Seen>; 2],
    delivered: [usize; 2],
}

impl World {
    fn after(steps: &[Step]) -> Self {
        let ends = ROLES.map(|role| Bench::open(role, config(timeless)));
        let mut world = Self {
            ends,
            orders: [0; 2],
            spoke: [false; 2],
            shut: [false; 2],
            told_eof: [false; 2],
            seen: [Vec::new(), Vec::new()],
            delivered: [0; 2],
        };
        for step in steps {
            world.take(*step);
        }
        world
    }

    /// What can happen next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for at in [0, 1] {
            if self.orders[at] < SCRIPT.len() {
                steps.push(Step::Order(at));
            }
            if !self.ends[at].connection.outgoing().is_empty() || self.shut[at] && !self.told_eof[1 - at] {
                steps.push(Step::Deliver(at));
            }
        }
        steps
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Order(at) => {
                let done = SCRIPT[self.orders[at]](&mut self.ends[at]);
                self.spoke[at] |= done && self.orders[at] == 0;
                self.orders[at] += 1;
            }
            Step::Deliver(from) => {
                let to = 1 - from;
                let out = self.ends[from].connection.outgoing().to_vec();
                if out.is_empty() {
                    self.told_eof[to] = true;
                    let seen = self.ends[to].eof();
                    self.seen[to].extend(seen);
                } else {
                    let (header, header_len) = Header::decode(&out).unwrap().expect("output is frames");
                    let frame = &out[..header_len + header.payload_len as usize];
                    let now = self.ends[from].now;
                    self.ends[from].connection.advance_outgoing(now, frame.len());
                    self.delivered[from] += 1;
                    let seen = self.ends[to].receive(frame);
                    self.seen[to].extend(seen);
                }
            }
        }
        for at in [0, 1] {
            let seen = self.ends[at].poll();
            self.seen[at].extend(seen);
            while let Some(order) = self.ends[at].connection.poll_stream() {
                assert!(matches!(order, StreamOrder::ShutdownWrite | StreamOrder::Drop));
                self.shut[at] = true;
            }
        }
    }

    /// All has happened that can.
    fn check(&self, steps: &[Step]) {
        for at in [0, 1] {
            let label = format!("{:?} after {steps:?}: {:?}", ROLES[at], self.seen);
            let [before @ .., Seen::Closed(closed)] = &self.seen[at][..] else { panic!("no end: {label}") };
            assert!(!before.iter().any(|seen| matches!(seen, Seen::Closed(_))), "two ends: {label}");
            assert!(closed.clean, "{label}");
            let expected: Vec<Seen> = self.spoke[1 - at].then(|| Seen::Text("last words".into())).into_iter().collect();
            let texts: Vec<Seen> = before.iter().filter(|seen| matches!(seen, Seen::Text(_))).cloned().collect();
            assert_eq!(texts, expected, "lost: {label}");
            assert!(
                self.spoke[at] || self.seen[at].iter().any(|seen| matches!(seen, Seen::CloseReceived(..))),
                "{label}"
            );
        }
    }
}

/// Of two ends that speak and close, in any order, with each frame and each end of a direction delivered at any time.
#[test]
fn every_order_in_which_two_ends_can_close_is_clean_and_loses_nothing() {
    let mut stories = 0;
    let mut ends = BTreeSet::new();
    let mut prefixes = vec![Vec::new()];
    while let Some(steps) = prefixes.pop() {
        let world = World::after(&steps);
        let next = world.steps();
        if next.is_empty() {
            world.check(&steps);
            stories += 1;
            ends.insert(world.seen.each_ref().map(|seen| seen.len()));
        }
        prefixes.extend(next.into_iter().map(|step| [&steps[..], &[step]].concat()));
    }
    assert_eq!(stories, 480);
    assert!(ends.len() > 1, "all the same: {ends:?}");
}
