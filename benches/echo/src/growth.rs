//! What grows, and with what: time by bytes, by messages, by other connections, and beside connections that never read.

use std::time::{Duration, Instant};

use harness::{Table, median};

use crate::load::{Load, Shape};
use crate::server::GROWTH;
use crate::started::{Started, raise_the_limit_of_open_files};

/// Prints a table for each.
pub(crate) fn print(rounds: usize) {
    raise_the_limit_of_open_files();
    let table = |head: &str, steps: &[usize], rows: &[(&str, Vec<f64>)]| {
        let mut table = Table::new([head.to_owned()].into_iter().chain(steps.iter().map(usize::to_string)));
        for (name, cells) in rows {
            table.row([(*name).to_owned()].into_iter().chain(cells.iter().map(|cell| format!("{cell:.2}"))));
        }
        println!("{table}");
    };

    let by_len = LENS.map(|len| median_of(rounds, || nanos_a_byte(len)));
    table("length of a message in bytes", &LENS, &[("ns a byte", by_len.into())]);

    let by_messages = MESSAGES.map(|messages| median_of(rounds, || micros_a_message(messages)));
    table("messages on a connection, 64 in flight", &MESSAGES, &[("µs a message", by_messages.into())]);

    let by_others = OTHERS.map(|others| median_of(rounds, || micros_beside(others)));
    table("idle connections beside 10 busy ones", &OTHERS, &[("µs a message", by_others.into())]);

    let (mut middle, mut late) = (Vec::new(), Vec::new());
    for slow in SLOW {
        let (mut middles, mut lates): (Vec<f64>, Vec<f64>) = (0..rounds).map(|_| latency_beside(slow)).unzip();
        middle.push(median(&mut middles));
        late.push(median(&mut lates));
    }
    let rows = [("µs to an echo, median", middle), ("µs to an echo, 99th percentile", late)];
    table("connections that send and never read, beside an honest one", &SLOW, &rows);
}

fn median_of(rounds: usize, mut measure: impl FnMut() -> f64) -> f64 {
    median(&mut (0..rounds).map(|_| measure()).collect::<Vec<_>>())
}

/// Of the server's processor time.
fn nanos_a_byte(len: usize) -> f64 {
    let shape = Shape { connections: 1, in_flight: (64 * 1024 / len).max(1), len };
    let bytes = len * shape.in_flight;
    let spent = spent_on((TOTAL_LEN / bytes).max(2), &shape, 0);
    spent.as_secs_f64() * 1e9 / (bytes * (TOTAL_LEN / bytes).max(2)) as f64
}

fn micros_a_message(messages: usize) -> f64 {
    let shape = Shape { connections: 1, in_flight: 64, len: 125 };
    let rounds = messages.div_ceil(shape.in_flight);
    spent_on(rounds, &shape, 0).as_secs_f64() * 1e6 / (rounds * shape.in_flight) as f64
}

fn micros_beside(others: usize) -> f64 {
    let shape = Shape { connections: 10, in_flight: 1, len: 125 };
    let rounds = 2000;
    spent_on(rounds, &shape, others).as_secs_f64() * 1e6 / (rounds * shape.connections) as f64
}

/// The server's processor time for so many rounds of a load, beside so many idle connections.
fn spent_on(rounds: usize, shape: &Shape, others: usize) -> Duration {
    let server = Started::server(GROWTH);
    let _idle = Load::connect(server.port(), false, &Shape { connections: others, in_flight: 1, len: 1 });
    if others > 0 {
        std::thread::sleep(SETTLED); // What a handshake leaves to be done a second later is not theirs.
    }
    let mut load = Load::connect(server.port(), false, shape);
    load.round(); // warm
    let before = server.processor_time();
    for _ in 0..rounds {
        load.round();
    }
    server.processor_time() - before
}

/// In microseconds, the median and the 99th percentile.
fn latency_beside(slow: usize) -> (f64, f64) {
    let server = Started::server(GROWTH);
    let mut slow = Load::connect(server.port(), false, &Shape { connections: slow, in_flight: 1, len: 16 * 1024 });
    slow.write_until_stuck();
    let mut honest = Load::connect(server.port(), false, &Shape { connections: 1, in_flight: 1, len: 125 });
    honest.round(); // warm
    let mut micros: Vec<f64> = (0..2000)
        .map(|_| {
            let start = Instant::now();
            honest.round();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    (micros[micros.len() / 2], micros[micros.len() * 99 / 100])
}

const LENS: [usize; 5] = [1024, 64 * 1024, 1024 * 1024, 16 * 1024 * 1024, 64 * 1024 * 1024];
const MESSAGES: [usize; 4] = [64, 6400, 64_000, 1_024_000];
const OTHERS: [usize; 3] = [10, 1000, 10_000];
const SLOW: [usize; 3] = [0, 1, 10];
/// By then a connection that nothing happens on is idle.
const SETTLED: Duration = Duration::from_millis(2500);
/// So much is echoed in all for each length.
const TOTAL_LEN: usize = 128 * 1024 * 1024;
