//! `sansocket demo`: a server and a client in one process, over sockets of this machine, in fair weather and foul.

mod client;
mod lasting;
mod server;
mod story;
mod stranger;
mod summary;
mod timeline;

use std::io::{self, Write as _};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::Failure;
use crate::args::DemoArgs;
use crate::terminal::Colours;
use summary::Summary;
use timeline::Timeline;

/// Plays the demonstration; fails when something in it did not hold.
pub(crate) fn run(args: DemoArgs) -> Result<(), Failure> {
    let colours = Colours::of_stdout();
    let timeline = Arc::new(Timeline::begin((!args.json).then_some(colours)));
    let summary = play_in_time(&timeline);
    let text = if args.json { summary.to_json(&timeline.entries()) } else { summary.to_text(colours) };
    // A reader who has seen enough does not change whether it held.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    if summary.held() { Ok(()) } else { Err(Failure::Told) }
}

/// Plays in a thread of its own, so that a mistake by which both ends wait for each other is a failure, and no silence.
fn play_in_time(timeline: &Arc<Timeline>) -> Summary {
    let (report, summary) = mpsc::channel();
    let player = Arc::clone(timeline);
    thread::spawn(move || drop(report.send(story::play(&player)))); // Too late, if nobody listens.
    summary.recv_timeout(TIME_MAX).unwrap_or_else(|_| {
        let mut summary = Summary::default();
        summary.elapsed = timeline.elapsed();
        summary.claim("it comes to an end", false);
        summary
    })
}

/// Twenty times what it takes.
const TIME_MAX: Duration = Duration::from_secs(10);
