//! A client that outlives its connections, where only the blocking one has threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sansocket_std::Connector;
use sansocket_std::client::{ClientConfig, Jitter, Prepared};

use crate::support::{LIMIT, within};

const MS: Duration = Duration::from_millis(1);

/// A client whose `prepare` takes longer than an attempt may; and how often that was asked.
fn asking(takes: Duration) -> (sansocket_std::Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let mut config = ClientConfig::default();
    (config.backoff.first, config.backoff.cap, config.backoff.jitter) = (10 * MS, 10 * MS, Jitter::None);
    let connector = Connector::new("ws://localhost:9/").unwrap().connect_timeout(Some(50 * MS));
    let started = connector.client_with(config, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        thread::sleep(takes);
        Prepared::Failed("late".into())
    });
    (started.unwrap().0, asked)
}

#[test]
fn what_to_connect_to_is_asked_once_at_a_time_and_not_after_the_end() {
    within(LIMIT, || {
        let begun = Instant::now();
        let (client, asked) = asking(300 * MS);
        while asked.load(Ordering::SeqCst) < 3 {
            thread::sleep(10 * MS);
        }
        client.abort();
        client.ended();
        thread::sleep(500 * MS); // For what has been asked.
        let by_then = asked.load(Ordering::SeqCst);
        assert!(by_then as u128 <= begun.elapsed().as_millis() / 300 + 1, "{by_then} in {:?}", begun.elapsed());
        thread::sleep(1000 * MS);
        assert_eq!(asked.load(Ordering::SeqCst), by_then);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_call_that_hangs_costs_one_thread() {
    within(LIMIT, || {
        let name_of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let tasks = || std::fs::read_dir("/proc/self/task").unwrap().map(|task| name_of(task.unwrap()));
        let threads = || tasks().filter(|name| name.starts_with("sansocket-clien")).count();
        let (client, _) = asking(3000 * MS);
        thread::sleep(200 * MS);
        let at_first = threads();
        // Some twenty attempts later, while other tests have clients, too.
        thread::sleep(1500 * MS);
        assert!(threads() < at_first + 12, "{at_first} threads, then {}", threads());
        client.abort();
    });
}
