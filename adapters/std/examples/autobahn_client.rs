//! Runs the cases of an Autobahn fuzzing server, echoing what each of them sends.
//!
//! `cargo run --release -p sansocket-std --example autobahn_client URL AGENT`, with a URL like `ws://127.0.0.1:9001`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sansocket_std::deflate::DeflateConfig;
use sansocket_std::{Config, Connector};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(agent)) = (args.next(), args.next()) else {
        return Err("usage: autobahn_client URL AGENT".into());
    };
    let url = url.trim_end_matches('/');

    let mut config = Config::default();
    // The largest case sends 16 MiB, in frames of any size.
    config.frame_len_max = 16 * 1024 * 1024;
    config.message_len_max = 16 * 1024 * 1024;
    config.fragments_max = u32::MAX;
    // The suite counts what it gets, and pings of ours are not in its books.
    config.ping_interval = None;
    config.message_timeout = Some(Duration::from_secs(300));
    config.deflate = Some(DeflateConfig::default());
    let config = Arc::new(config);

    let count = case_count(&format!("{url}/getCaseCount"), &config)?;
    println!("{count} cases");
    for case in 1..=count {
        // Most cases end the connection in some way that is an error for an application.
        if let Err(error) = run_case(&format!("{url}/runCase?case={case}&agent={agent}"), &config) {
            eprintln!("case {case}: {error}");
        }
    }
    let mut report = Connector::new(&format!("{url}/updateReports?agent={agent}"))?.config(config).connect()?;
    while report.recv()?.is_some() {}
    Ok(())
}

fn case_count(url: &str, config: &Arc<Config>) -> Result<u32, Box<dyn Error>> {
    let mut socket = Connector::new(url)?.config(Arc::clone(config)).connect()?;
    let message = socket.recv()?.ok_or("no case count came")?;
    Ok(message.as_text().ok_or("the case count is not text")?.trim().parse()?)
}

fn run_case(url: &str, config: &Arc<Config>) -> Result<(), Box<dyn Error>> {
    let mut socket = Connector::new(url)?.config(Arc::clone(config)).connect()?;
    while let Some(message) = socket.recv()? {
        socket.feed(message)?;
    }
    Ok(())
}
