//! permessage-deflate beside other WebSocket libraries, in memory: the same work at equal parameters, in one run. It prints a table in Markdown.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -p deflate -- [--rounds N]`, and the same with
//! `--no-default-features --features soketto`: soketto is on zlib in C, and whatever is built beside it is, too.
//!
//! Times are medians of interleaved rounds; allocations and bytes are counted by the allocator, instructions by valgrind's callgrind.

mod subjects;
mod wire;

use std::fmt;
use std::hint::black_box;

use harness::{Counting, Table, count_allocations, count_instructions, counted_work, held_bytes, medians};
use sansocket::deflate::{DeflateParams, DeflatePool};

use subjects::{Open, SUBJECTS, Socket};
use wire::{Wire, decompressed, messages};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One measurement, at a server.
#[derive(Clone, Copy, Debug)]
struct Case {
    sends: bool,
    len: usize,
    parameters: Parameters,
}

/// What all subjects are told. The window is of 15 bits and the memory level 8, which is all that some of them have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parameters {
    no_context_takeover: bool,
    level: u8,
}

impl Parameters {
    fn agreed(self) -> DeflateParams {
        DeflateParams {
            server_no_context_takeover: self.no_context_takeover,
            client_no_context_takeover: self.no_context_takeover,
            ..DeflateParams::default()
        }
    }
}

const PARAMETERS: [Parameters; 3] = [
    Parameters { no_context_takeover: false, level: 6 },
    Parameters { no_context_takeover: false, level: 1 },
    Parameters { no_context_takeover: true, level: 1 },
];
const LENS: [usize; 2] = [1024, 64 * 1024];

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takeover = if self.no_context_takeover { "no context takeover" } else { "context takeover" };
        write!(f, "{takeover}, level {}", self.level)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for parameters in PARAMETERS {
        for sends in [false, true] {
            cases.extend(LENS.map(|len| Case { sends, len, parameters }));
        }
    }
    cases
}

fn main() {
    let mut rounds = 15;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => rounds = args.next().and_then(|n| n.parse().ok()).expect("a number of rounds"),
            "--count-instructions" => return work_to_be_counted(),
            _ => panic!("unknown argument {arg}"),
        }
    }
    let mut instructions = count_instructions(&["--count-instructions"]).into_iter();
    println!(
        "ns a message (allocations a message) · instructions a message; bytes on the wire a message where it is sent\n"
    );
    let header = ["receive 1 KiB", "receive 64 KiB", "send 1 KiB", "send 64 KiB", "held: both ways used", "held: idle"];
    for parameters in PARAMETERS {
        let mut table = Table::new([parameters.to_string()].into_iter().chain(header.map(str::to_owned)));
        let mut rows: Vec<Vec<String>> = SUBJECTS.iter().map(|subject| vec![subject.name.to_owned()]).collect();
        for case in cases().into_iter().filter(|case| case.parameters == parameters) {
            for (row, cell) in rows.iter_mut().zip(measure(&case, rounds, &mut instructions)) {
                row.push(cell);
            }
        }
        for (row, subject) in rows.iter_mut().zip(&SUBJECTS) {
            row.extend(memory(subject.open, parameters).into_iter().flatten().map(|bytes| bytes.to_string()));
        }
        rows.into_iter().filter(|row| !row[1].is_empty()).for_each(|row| table.row(row));
        println!("{table}");
    }
}

/// Does so many messages.
type Work = Box<dyn FnMut(usize)>;

fn work(case: &Case, mut socket: Box<dyn Socket>) -> Work {
    let messages = messages(case.len);
    let mut at = 0;
    let sends = case.sends;
    Box::new(move |count| {
        for _ in 0..count {
            if sends {
                socket.send(&messages[at % messages.len()]);
            } else {
                black_box(socket.receive());
            }
            at += 1;
        }
    })
}

/// One cell for each subject; empty for what it does not do.
fn measure(case: &Case, rounds: usize, instructions: &mut impl Iterator<Item = u64>) -> Vec<String> {
    eprintln!("{case:?}");
    let wire_lens: Vec<Option<usize>> = SUBJECTS.iter().map(|subject| check(case, subject.open)).collect();
    let mut works: Vec<Option<Work>> = SUBJECTS.iter().map(|subject| open(case, subject.open)).collect();
    let count = messages_to_count(case);
    let allocations: Vec<f64> = works
        .iter_mut()
        .flatten()
        .map(|work| {
            work(2 * count);
            count_allocations(|| work(count)) as f64 / count as f64
        })
        .collect();
    let mut timed: Vec<Box<dyn FnMut(usize) + '_>> = Vec::new();
    for work in works.iter_mut().flatten() {
        timed.push(Box::new(work));
    }
    let times = medians(rounds, &mut timed);
    drop(timed);
    let mut measured = times.into_iter().zip(allocations);
    works
        .iter()
        .zip(wire_lens)
        .map(|(work, wire_len)| {
            let Some((ns, allocations)) = work.as_ref().and_then(|_| measured.next()) else { return String::new() };
            let instructions = instructions.next().expect("each subject was counted") as f64 / count as f64;
            let wire_len = wire_len.filter(|_| case.sends).map_or_else(String::new, |len| format!("; {len} B"));
            format!("{ns:.0} ({allocations:.1}) · {instructions:.0}{wire_len}")
        })
        .collect()
}

fn open(case: &Case, open: Open) -> Option<Work> {
    Some(work(
        case,
        open(case.parameters, &DeflatePool::default(), Wire::incoming(case.len, case.parameters.agreed()))?,
    ))
}

/// What runs under callgrind, in the order in which [`measure`] takes the counts.
fn work_to_be_counted() {
    for case in cases() {
        for subject in &SUBJECTS {
            let Some(mut work) = open(&case, subject.open) else { continue };
            work(messages_to_count(&case));
            counted_work(&mut || work(messages_to_count(&case)));
        }
    }
}

fn messages_to_count(case: &Case) -> usize {
    if case.len > 10_000 { 16 } else { 256 }
}

/// That the work is done, and done right; how long a message is on the wire.
fn check(case: &Case, open: Open) -> Option<usize> {
    let wire = Wire::incoming(case.len, case.parameters.agreed());
    let mut socket = open(case.parameters, &DeflatePool::default(), wire.clone())?;
    let messages = messages(case.len);
    for message in messages.iter().chain(&messages) {
        assert_eq!(socket.receive(), wire::digest(message), "received {case:?}");
    }
    wire.record();
    for message in &messages {
        socket.send(message);
    }
    let sent = wire.recorded();
    assert_eq!(decompressed(&sent, case.parameters.agreed()), messages, "sent {case:?}");
    assert!(sent.len() < messages.len() * case.len / 2, "compressed {case:?}");
    Some(sent.len() / messages.len())
}

/// The bytes of heap that a connection holds beside its transport, when both directions have been used: between two messages, and idle.
fn memory(open: Open, parameters: Parameters) -> Option<[isize; 2]> {
    let wire = Wire::incoming(1024, parameters.agreed());
    let message = messages(1024).swap_remove(0);
    // What connections share is there already; what one has for the time being is its own.
    let pool = DeflatePool::new(0);
    let mut other = open(parameters, &pool, wire.clone())?;
    other.receive();
    other.send(&message);
    other.idle();
    wire.rewind();
    let mut socket = None;
    let used = held_bytes(|| {
        let mut opened = open(parameters, &pool, wire.clone()).expect("as before");
        opened.receive();
        opened.send(&message);
        socket = Some(opened);
    });
    let released = held_bytes(|| socket.as_mut().expect("it is open").idle());
    drop(other);
    Some([used, used + released])
}
