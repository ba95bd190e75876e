//! Echo servers on tokio, side by side, over loopback TCP: the server on one core, the load on another.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml -p echo -- [--rounds N] [--seconds S] [--only WORDS] [--idle N]`
//!
//! Prints tables in Markdown: the server's processor time and its user-space instructions for each message, what each of many idle
//! connections holds resident, and, of sansocket alone, how its time grows with bytes, messages and other connections (`--only growth` for just
//! that). Needs two cores, Linux, `taskset` and valgrind.

mod growth;
mod load;
mod server;
mod started;

use std::time::Duration;

use harness::{Table, median};
use load::{Load, SHAPES};
use server::KINDS;
use started::Started;

fn main() {
    let mut args = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("--serve") {
        args.next();
        return server::serve(&args.next().expect("the kind of server"));
    }
    let mut options = Options { rounds: 3, seconds: 1.0, only: String::new(), idle: 10_000 };
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => options.rounds = value.parse().expect("a number of rounds"),
            "--seconds" => options.seconds = value.parse().expect("a number of seconds"),
            "--only" => options.only = value,
            "--idle" => options.idle = value.parse().expect("a number of connections"),
            _ => panic!("unknown argument {arg}"),
        }
    }
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| options.includes(kind)).collect();
    started::pin_to_the_load_core();
    if !kinds.is_empty() {
        print_comparison(&kinds, &options);
    }
    if options.includes(server::GROWTH) {
        print_growth(&options);
    }
}

fn print_comparison(kinds: &[&str], options: &Options) {
    let times = times(kinds, options);
    let mut table = Table::new(["server"].into_iter().map(String::from).chain(SHAPES.map(|shape| shape.to_string())));
    for (kind, times) in kinds.iter().zip(&times) {
        let cells =
            SHAPES.iter().zip(times).map(|(shape, micros)| format!("{micros:.3} ({:.0})", instructions(kind, shape)));
        table.row([(*kind).to_owned()].into_iter().chain(cells));
    }
    println!("µs of the server's processor time a message (user-space instructions a message)\n\n{table}");
    if options.idle > 0 {
        let mut table = Table::new(["server", "after the handshake", "after an echo of 16 KiB"]);
        for kind in kinds {
            let [handshake, echo] = idle(kind, options.idle);
            table.row([(*kind).to_owned(), format!("{handshake:.0}"), format!("{echo:.0}")]);
        }
        println!("resident bytes of each of {} idle connections\n\n{table}", options.idle);
    }
}

fn print_growth(options: &Options) {
    println!("how sansocket's time grows\n");
    growth::print(options.rounds);
}

struct Options {
    rounds: usize,
    seconds: f64,
    /// Words of which one occurs in the name of each server that is measured; empty for all.
    only: String,
    idle: usize,
}

impl Options {
    fn includes(&self, kind: &str) -> bool {
        self.only.is_empty() || self.only.split(',').any(|word| kind == word)
    }
}

/// For each server and shape of load the median over the rounds, in microseconds of the server's processor time a message.
fn times(kinds: &[&str], options: &Options) -> Vec<Vec<f64>> {
    let mut rounds = vec![vec![Vec::new(); SHAPES.len()]; kinds.len()];
    for _ in 0..options.rounds {
        for (shape, number) in SHAPES.iter().zip(0..) {
            for (kind, rounds) in kinds.iter().zip(&mut rounds) {
                let server = Started::server(kind);
                let mut load = Load::connect(server.port(), server.is_raw(), shape);
                load.run_for(Duration::from_secs_f64(options.seconds / 5.0)); // warm
                let before = server.processor_time();
                let messages = load.run_for(Duration::from_secs_f64(options.seconds));
                let spent = server.processor_time() - before;
                let times: &mut Vec<f64> = &mut rounds[number];
                times.push(spent.as_secs_f64() * 1e6 / messages as f64);
                eprintln!("{kind}, {shape}: {:.3} µs", times[times.len() - 1]);
            }
        }
    }
    rounds.iter_mut().map(|shapes| shapes.iter_mut().map(|times| median(times)).collect()).collect()
}

/// The difference between two runs, so that starting and connecting does not count.
fn instructions(kind: &str, shape: &load::Shape) -> f64 {
    let [few, many] = [20, 120].map(|rounds| {
        let server = Started::server_under_callgrind(kind);
        let mut load = Load::connect(server.port(), server.is_raw(), shape);
        for _ in 0..rounds {
            load.round();
        }
        server.stop_and_count()
    });
    (many - few) as f64 / (100 * shape.connections * shape.in_flight) as f64
}

fn idle(kind: &str, connections: usize) -> [f64; 2] {
    started::raise_the_limit_of_open_files();
    let server = Started::server(kind);
    let settle = || std::thread::sleep(Duration::from_millis(2500));
    let shape = load::Shape { connections: 100, in_flight: 1, len: 16 * 1024 };
    // What the first connections make the program set up does not count.
    drop(Load::connect(server.port(), server.is_raw(), &shape));
    settle();
    let before = server.resident_len();
    let mut load = Load::connect(server.port(), server.is_raw(), &load::Shape { connections, ..shape });
    settle();
    let connected = server.resident_len();
    load.round_one_by_one();
    settle();
    let echoed = server.resident_len();
    [connected, echoed].map(|len| (len as f64 - before as f64) / connections as f64)
}
