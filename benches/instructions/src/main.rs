//! Instruction counts of a small set, held against committed figures.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -p instructions` fails when a count has grown by more than 5 %; with
//! `-- --renew` it writes the figures anew.

mod works;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use harness::{Table, count_instructions, counted_work};
use works::WORKS;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.txt");
const RENEW: &str = "cargo run --release --manifest-path benches/Cargo.toml -p instructions -- --renew";
/// A count may grow by this part of the committed one: what another version of the C library, or a cleverer one of the compiler, may make.
const GROWTH_MAX: f64 = 0.05;
const TOOLCHAIN: &str = "# toolchain: ";

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--count") => {
            for (_, start) in WORKS {
                let mut work = start();
                work(); // warm
                counted_work(&mut work);
            }
            ExitCode::SUCCESS
        }
        Some("--renew") => {
            std::fs::write(BASELINE, baseline(&count())).expect("the baseline is written");
            ExitCode::SUCCESS
        }
        Some(arg) => panic!("unknown argument {arg}"),
        None => compare(),
    }
}

fn count() -> Vec<(&'static str, u64)> {
    let counts = count_instructions(&["--count"]);
    assert_eq!(counts.len(), WORKS.len(), "each work is counted once");
    WORKS.iter().map(|(name, _)| *name).zip(counts).collect()
}

fn baseline(counts: &[(&str, u64)]) -> String {
    let mut text = format!(
        "# User-space instructions, counted by valgrind's callgrind on x86-64 with AVX2. Renew them by\n# {RENEW}\n{TOOLCHAIN}{}\n",
        toolchain()
    );
    for (name, count) in counts {
        let _ = writeln!(text, "{count} {name}");
    }
    text
}

fn compare() -> ExitCode {
    let text = std::fs::read_to_string(BASELINE).expect("the baseline is there");
    let committed: BTreeMap<&str, u64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(count, name)| (name, count.parse().expect("a count in front of each name")))
        .collect();
    let mut table = Table::new(["instructions", "committed", "now", "growth"]);
    let mut grown = Vec::new();
    for (name, count) in count() {
        let Some(&before) = committed.get(name) else {
            grown.push(name);
            table.row([name.to_owned(), "none".to_owned(), count.to_string(), String::new()]);
            continue;
        };
        let growth = count as f64 / before as f64 - 1.0;
        if growth > GROWTH_MAX {
            grown.push(name);
        }
        table.row([name.to_owned(), before.to_string(), count.to_string(), format!("{:+.1} %", growth * 100.0)]);
    }
    println!("{table}");
    if grown.is_empty() {
        return ExitCode::SUCCESS;
    }
    let before = text.lines().find_map(|line| line.strip_prefix(TOOLCHAIN)).unwrap_or("an unknown toolchain");
    println!(
        "More than {:.0} % above the committed figures, or without one: {}.\nThose hold for {before}; this is {}.\n\
         If it is meant to be so, or if the toolchain is the reason, renew them by\n  {RENEW}",
        GROWTH_MAX * 100.0,
        grown.join(", "),
        toolchain()
    );
    ExitCode::FAILURE
}

fn toolchain() -> String {
    let version = Command::new("rustc").arg("--version").output().expect("rustc runs").stdout;
    String::from_utf8_lossy(&version).trim().to_owned()
}
