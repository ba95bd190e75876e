//! What a server meets when 100,000 clients lose it at once, in virtual time: the table in the docs of `Backoff`.

use std::time::{Duration, Instant};

use sansocket::client::{Backoff, BackoffConfig, Jitter};

/// So many clients at one server lose it at the same moment.
const CLIENTS: u64 = 100_000;

#[test]
fn the_table_of_the_docs_is_what_comes_out() {
    let rows = [("full (the default)", Jitter::Full), ("equal", Jitter::Equal), ("none", Jitter::None)];
    let herds = std::thread::scope(|scope| {
        let herds = rows.map(|(_, jitter)| [0, 60].map(|away| scope.spawn(move || herd(jitter, away))));
        herds.map(|herds| herds.map(|herd| herd.join().unwrap()))
    });
    let table: String = std::iter::zip(rows, herds)
        .map(|((name, _), [at_once, minute])| {
            let figures =
                [number(at_once.peak), seconds(at_once.back_after), number(minute.peak), number(minute.peak_back)];
            format!("/// | {name} | {} | {} |\n", figures.join(" | "), seconds(minute.back_after))
        })
        .collect();
    assert!(
        include_str!("../src/client/backoff.rs").contains(&table),
        "the table in src/client/backoff.rs has to be:\n{table}"
    );
}

struct Herd {
    /// The most attempts within one second.
    peak: u32,
    /// The same, since the server takes them.
    peak_back: u32,
    /// From then until the last client is back.
    back_after: Duration,
}

/// The server refuses every attempt for so many seconds, and then accepts all.
fn herd(jitter: Jitter, away: u64) -> Herd {
    let mut config = BackoffConfig::default();
    config.jitter = jitter;
    let start = Instant::now();
    let mut attempts = vec![0; 600];
    let mut last = Duration::ZERO;
    for client in 0..CLIENTS {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&client.to_le_bytes());
        let mut backoff = Backoff::new(config.clone(), seed);
        let mut at = Duration::ZERO;
        loop {
            at += backoff.failed(start + at, None).unwrap();
            attempts[at.as_secs() as usize] += 1;
            if at >= Duration::from_secs(away) {
                break;
            }
        }
        last = last.max(at);
    }
    let most = |attempts: &[u32]| attempts.iter().copied().max().unwrap();
    Herd {
        peak: most(&attempts),
        peak_back: most(&attempts[away as usize..]),
        back_after: last - Duration::from_secs(away),
    }
}

fn number(count: u32) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}
