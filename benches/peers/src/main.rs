//! The core beside other WebSocket libraries, in memory: the same work, in one run. It prints tables in Markdown and draws a plot.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -p peers -- [--rounds N] [--only WORDS] [--plot FILE.svg]`
//!
//! Times are medians of interleaved rounds; allocations are counted by the allocator, instructions by valgrind's callgrind.

mod subjects;
mod targets;
mod wire;

use std::fmt;

use harness::{Counting, Panel, Series, Table, count_allocations, count_instructions, counted_work, medians, plot};
use sansocket::Role;

use subjects::{SUBJECTS, Work};
use wire::{Case, Direction, Kind, LENS, seen};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let options = Options::from_args();
    if options.counts_instructions {
        return work_to_be_counted(&options);
    }
    let cases = options.cases();
    let figures = measure(&cases, &options);
    print(&cases, &figures);
    print!("{}", targets::report(&cases, &figures));
    if let Some(file) = &options.plot {
        let panels = panels(&cases, &figures);
        std::fs::write(file, plot("Time of a message in ns, by its size in bytes", &panels))
            .expect("the plot is written");
    }
}

struct Options {
    rounds: usize,
    /// Words that all occur in the name of a case that is measured.
    only: String,
    plot: Option<String>,
    counts_instructions: bool,
}

impl Options {
    fn from_args() -> Self {
        let mut options = Self { rounds: 15, only: String::new(), plot: None, counts_instructions: false };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
            match arg.as_str() {
                "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
                "--only" => options.only = value(),
                "--plot" => options.plot = Some(value()),
                "--count-instructions" => options.counts_instructions = true,
                _ => panic!("unknown argument {arg}"),
            }
        }
        options
    }

    fn cases(&self) -> Vec<Case> {
        use Direction::{Receive, Send};
        let mut cases = Vec::new();
        for (direction, role, kind) in [
            (Receive, Role::Server, Kind::Binary),
            (Receive, Role::Server, Kind::Ascii),
            (Receive, Role::Server, Kind::Mixed),
            (Receive, Role::Client, Kind::Binary),
            (Receive, Role::Client, Kind::Ascii),
            (Receive, Role::Client, Kind::Mixed),
            (Send, Role::Server, Kind::Binary),
            (Send, Role::Client, Kind::Binary),
        ] {
            cases.extend(LENS.map(|len| Case { direction, role, kind, len }));
        }
        let name = |case: &Case| format!("{} {}", case.group(), case.len);
        cases.retain(|case| self.only.split_whitespace().all(|word| name(case).split(' ').any(|part| part == word)));
        cases
    }
}

/// What one subject needs for one message.
#[derive(Clone, Copy)]
struct Figures {
    ns: f64,
    allocations: f64,
    instructions: f64,
}

/// One row for each case, one column for each subject.
type Matrix = Vec<Vec<Option<Figures>>>;

fn measure(cases: &[Case], options: &Options) -> Matrix {
    let mut instructions = count_instructions(&["--count-instructions", "--only", &options.only]).into_iter();
    cases
        .iter()
        .map(|case| {
            eprintln!("{} {}", case.group(), case.len);
            let mut works: Vec<Option<Work>> = SUBJECTS.iter().map(|subject| (subject.work)(case)).collect();
            let messages = messages_to_count(case);
            let allocations: Vec<f64> = works
                .iter_mut()
                .flatten()
                .map(|work| {
                    check(case, work);
                    work(messages);
                    count_allocations(|| _ = work(messages)) as f64 / messages as f64
                })
                .collect();
            let mut timed: Vec<Box<dyn FnMut(usize) + '_>> = Vec::new();
            for work in works.iter_mut().flatten() {
                timed.push(Box::new(move |messages| _ = work(messages)));
            }
            let times = medians(options.rounds, &mut timed);
            drop(timed);
            let mut measured = times.into_iter().zip(allocations).map(|(ns, allocations)| {
                let instructions = instructions.next().expect("each subject was counted") as f64 / messages as f64;
                Figures { ns, allocations, instructions }
            });
            works.iter().map(|work| work.as_ref().and_then(|_| measured.next())).collect()
        })
        .collect()
}

/// What runs under callgrind, in the order in which [`measure`] takes the counts.
fn work_to_be_counted(options: &Options) {
    for case in options.cases() {
        for subject in &SUBJECTS {
            let Some(mut work) = (subject.work)(&case) else { continue };
            let messages = messages_to_count(&case);
            work(messages); // warm
            counted_work(&mut || _ = work(messages));
        }
    }
}

fn messages_to_count(case: &Case) -> usize {
    (256 * 1024 / case.len).clamp(2, 256)
}

/// That the work is done, and done right.
fn check(case: &Case, work: &mut Work) {
    let messages = 2 * case.batch_len() + 1;
    match case.direction {
        Direction::Receive => {
            let expected: u64 = (0..messages).map(|_| seen(&case.payload())).sum();
            assert_eq!(work(messages), expected, "received {case:?}");
        }
        Direction::Send => {
            let before = work(0);
            let sent = work(messages) - before;
            assert_eq!(sent, (messages * case.frame_len()) as u64, "sent {case:?}");
        }
    }
}

impl Case {
    fn group(&self) -> String {
        let direction = if self.direction == Direction::Receive { "receive" } else { "send" };
        let role = if self.role == Role::Server { "server" } else { "client" };
        format!("{direction} {role} {}", self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Ascii => "ascii",
            Self::Mixed => "mixed",
        })
    }
}

/// The runs of cases that differ in size only.
fn groups(cases: &[Case]) -> impl Iterator<Item = (String, std::ops::Range<usize>)> {
    let mut at = 0;
    cases.chunk_by(|one, other| one.group() == other.group()).map(move |group| {
        let range = at..at + group.len();
        at = range.end;
        (group[0].group(), range)
    })
}

fn print(cases: &[Case], figures: &Matrix) {
    println!("ns a message (allocations a message, where there are any) · instructions a message\n");
    for (name, range) in groups(cases) {
        let lens = cases[range.clone()].iter().map(|case| case.len.to_string());
        let mut table = Table::new([name].into_iter().chain(lens));
        for (column, subject) in SUBJECTS.iter().enumerate() {
            let cells = figures[range.clone()].iter().map(|row| row[column].map_or_else(String::new, cell));
            table.row([subject.name.to_owned()].into_iter().chain(cells));
        }
        println!("{table}");
    }
}

fn cell(Figures { ns, allocations, instructions }: Figures) -> String {
    let ns = if ns < 100.0 { format!("{ns:.1}") } else { format!("{ns:.0}") };
    let allocations = if allocations < 0.05 { String::new() } else { format!(" ({allocations:.1})") };
    format!("{ns}{allocations} · {instructions:.0}")
}

fn panels(cases: &[Case], figures: &Matrix) -> Vec<Panel> {
    groups(cases)
        .map(|(title, range)| Panel {
            title,
            places: cases[range.clone()].iter().map(|case| case.len.to_string()).collect(),
            series: SUBJECTS
                .iter()
                .enumerate()
                .map(|(column, subject)| Series {
                    name: subject.name.to_owned(),
                    values: figures[range.clone()].iter().map(|row| row[column].map(|figures| figures.ns)).collect(),
                })
                .collect(),
        })
        .collect()
}
