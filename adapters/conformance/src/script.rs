//! What happens to a connection, step by step: what our application does, what the peer does, what becomes of the stream.

use std::time::Instant;

use sansocket::connection::FragmentPosition;
use sansocket::{CloseCode, Config, Connection, Role, SendError};

use crate::Rng;

/// A connection from its first byte to its last.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it is about.
    pub name: String,
    /// Masks, heartbeats and the sizes of reads and writes come from it.
    pub seed: u64,
    /// Which end is ours.
    pub role: Role,
    /// Of our end.
    pub config: Config,
    /// What happens once the handshake is done and the peer's greeting is there.
    pub steps: Vec<Step>,
}

/// One thing that happens. What comes of it is waited for before the next one.
#[derive(Clone, Debug)]
pub enum Step {
    /// Our application does something.
    Order(Order),
    /// Our application goes away with the next message, and receives no more.
    StopReceiving,
    /// It receives again.
    Receive,
    /// The peer's application does something.
    Peer(Order),
    /// The peer sends bytes that may be no frames.
    Raw(Vec<u8>),
    /// The peer answers nothing any more.
    Mute,
    /// The peer ends its direction of the stream.
    HalfClose,
    /// The stream breaks.
    Reset,
    /// The stream takes so many bytes more, and then none.
    Take(usize),
    /// The stream takes whatever comes.
    TakeAll,
    /// Time passes until the next deadline.
    UntilDue,
}

/// What an application does with a connection.
#[derive(Clone, Debug)]
pub enum Order {
    /// Sends a text.
    Text(String),
    /// Sends bytes.
    Binary(Vec<u8>),
    /// Sends a part of a text; whether it is the last one.
    TextFragment(String, FragmentPosition),
    /// Sends a part of a binary message.
    BinaryFragment(Vec<u8>, FragmentPosition),
    /// Sends a ping.
    Ping(Vec<u8>),
    /// Sends a pong that nobody asked for.
    Pong(Vec<u8>),
    /// Closes.
    Close(CloseCode, String),
    /// Ends it at once.
    Abort,
}

impl Order {
    /// Gives it to the core.
    ///
    /// # Errors
    /// When the core refuses it.
    pub fn give(&self, connection: &mut Connection, now: Instant) -> Result<(), SendError> {
        match self {
            Self::Text(text) => connection.send_text(now, text),
            Self::Binary(bytes) => connection.send_binary(now, bytes),
            Self::TextFragment(text, position) => connection.send_text_fragment(now, text, *position),
            Self::BinaryFragment(bytes, position) => connection.send_binary_fragment(now, bytes, *position),
            Self::Ping(payload) => connection.ping(now, payload),
            Self::Pong(payload) => connection.pong(now, payload),
            Self::Close(code, reason) => connection.close(now, *code, reason),
            Self::Abort => {
                connection.abort();
                Ok(())
            }
        }
    }
}

impl Script {
    /// A script of its own for each seed.
    pub fn any(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let role = if rng.once_in(2) { Role::Client } else { Role::Server };
        let mut config = timeless();
        config.high_water_mark = [100_000, 1_000_000][rng.below(2)];
        let mut steps = Vec::new();
        // Whether a message is under way in fragments: ours, and the peer's.
        let mut under_way = [false; 2];
        for _ in 0..rng.between(0, 20) {
            match rng.below(10) {
                0..4 => steps.push(Step::Order(talk(&mut rng, &mut under_way[0]))),
                4..8 => steps.push(Step::Peer(talk(&mut rng, &mut under_way[1]))),
                8 => stalled_stream(&mut rng, under_way, &mut steps),
                _ => receiver_away(&mut rng, under_way, &mut steps),
            }
        }
        end(&mut rng, role, under_way, &mut steps);
        // What is sent after the end is refused.
        for _ in 0..rng.below(3) {
            steps.push(Step::Order(Order::Text("too late".into())));
        }
        Self { name: "any".into(), seed, role, config, steps }
    }
}

/// Without deadlines, which do not come at the same time on every machine.
pub fn timeless() -> Config {
    let mut config = Config::default();
    config.ping_interval = None;
    config.pong_timeout = None;
    config.message_timeout = None;
    config
}

/// A frame of the peer's, of which `declared` bytes are announced and the payload follows, masked with zeros if it has to be.
pub fn raw_frame(ours: Role, first: u8, declared: usize, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if ours == Role::Server { 0x80 } else { 0 };
    let mut frame = vec![first];
    match declared {
        0..126 => frame.push(mask_bit | declared as u8),
        126..65_536 => {
            frame.push(mask_bit | 126);
            frame.extend((declared as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask_bit | 127);
            frame.extend((declared as u64).to_be_bytes());
        }
    }
    if ours == Role::Server {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

fn text(rng: &mut Rng) -> String {
    let len = length(rng);
    std::iter::repeat_n("añ→", len / 6 + 1).collect::<String>() + &rng.below(1000).to_string()
}

fn length(rng: &mut Rng) -> usize {
    match rng.below(12) {
        0 => 0,
        1 => 125,
        2 => 126,
        3 => rng.between(65_530, 65_540),
        _ => rng.below(300),
    }
}

fn talk(rng: &mut Rng, under_way: &mut bool) -> Order {
    let len = length(rng);
    let position = if rng.once_in(3) { FragmentPosition::Last } else { FragmentPosition::More };
    match rng.below(8) {
        0 => {
            let len = rng.below(126);
            Order::Ping(rng.bytes(len))
        }
        1 => Order::Pong(rng.bytes(len.min(125))),
        // Refused, for the other kind is under way.
        2 if *under_way && rng.once_in(3) => Order::TextFragment("no".into(), position),
        // Refused, while one is under way.
        3 if !*under_way || rng.once_in(3) => Order::Text(text(rng)),
        4 if !*under_way || rng.once_in(3) => Order::Binary(rng.bytes(len)),
        5 if *under_way => {
            *under_way = false;
            Order::BinaryFragment(rng.bytes(len), FragmentPosition::Last)
        }
        _ => {
            *under_way = position == FragmentPosition::More;
            Order::BinaryFragment(rng.bytes(len), position)
        }
    }
}

/// What is sent stays in the connection until the stream goes on; what arrives is received meanwhile.
fn stalled_stream(rng: &mut Rng, [ours, theirs]: [bool; 2], steps: &mut Vec<Step>) {
    steps.push(Step::Take(rng.below(100)));
    if !ours {
        for _ in 0..rng.between(1, 3) {
            let len = rng.below(2000);
            steps.push(Step::Order(Order::Binary(rng.bytes(len))));
        }
    }
    if !theirs {
        for _ in 0..rng.below(3) {
            steps.push(Step::Peer(Order::Text(text(rng))));
        }
    }
    steps.push(Step::TakeAll);
}

/// What arrives waits; what is sent leaves. No control frames: not every adapter answers them while nobody is in a call.
fn receiver_away(rng: &mut Rng, [ours, theirs]: [bool; 2], steps: &mut Vec<Step>) {
    steps.push(Step::StopReceiving);
    for _ in 0..rng.between(1, 4) {
        if !theirs {
            steps.push(Step::Peer(Order::Text(text(rng))));
        }
        if !ours {
            let len = length(rng);
            steps.push(Step::Order(Order::Binary(rng.bytes(len))));
        }
    }
    steps.push(Step::Receive);
}

fn end(rng: &mut Rng, role: Role, [ours, theirs]: [bool; 2], steps: &mut Vec<Step>) {
    if !ours && rng.once_in(4) {
        // In the middle of a frame of ours.
        steps.push(Step::Take(rng.below(40)));
        steps.push(Step::Order(Order::Binary(rng.bytes(100))));
        steps.push(if rng.once_in(2) { Step::Reset } else { Step::TakeAll });
    }
    if !theirs && rng.once_in(4) {
        // In the middle of a frame of theirs.
        let len = rng.below(50);
        steps.push(Step::Raw(raw_frame(role, 0x82, 100, &rng.bytes(len))));
        let cut = if rng.once_in(2) { Step::Reset } else { Step::HalfClose };
        return steps.push(cut);
    }
    match rng.below(8) {
        0 => steps.push(Step::Order(Order::Abort)),
        1 => steps.push(Step::HalfClose),
        2 => steps.push(Step::Reset),
        3 => steps.push(Step::Raw(rng.bytes(30))),
        4 => {
            // Ours is on its way when theirs arrives.
            steps.push(Step::Take(0));
            steps.push(Step::Order(Order::Close(CloseCode::NORMAL, "ours".into())));
            steps.push(Step::Peer(Order::Close(CloseCode::GOING_AWAY, "theirs".into())));
            steps.push(Step::TakeAll);
        }
        5 => steps.push(Step::Peer(Order::Close(CloseCode::GOING_AWAY, "theirs".into()))),
        _ => steps.push(Step::Order(Order::Close(CloseCode(4000), "bye".into()))),
    }
    // Random bytes may be a frame that is not complete.
    steps.push(Step::HalfClose);
}
