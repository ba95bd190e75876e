//! What happened, when, to whom: printed as it happens, or kept for the JSON object.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::terminal::Colours;

/// The record of a demonstration, shared by all that take part.
pub(super) struct Timeline {
    start: Instant,
    printer: Option<Colours>,
    entries: Mutex<Vec<Entry>>,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Since the start.
    pub(super) at: Duration,
    /// To whom.
    pub(super) who: Who,
    /// What, in a few words.
    pub(super) what: String,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody: the title of the entries that follow.
    Chapter,
    /// The server.
    Server,
    /// The client.
    Client,
    /// A raw socket that does not keep to the protocol.
    Stranger,
}

impl Timeline {
    /// Begins now; prints to the standard output in those colours, or only records.
    pub(super) fn begin(printer: Option<Colours>) -> Self {
        Self { start: Instant::now(), printer, entries: Mutex::default() }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Records what happens now.
    pub(super) fn note(&self, who: Who, what: impl fmt::Display) {
        let mut entries = self.lock(); // Before the clock is read, so that times only grow.
        let entry = Entry { at: self.elapsed(), who, what: what.to_string() };
        if let Some(colours) = self.printer {
            // Nobody needs to read along for the demonstration to go on.
            let _ = writeln!(io::stdout().lock(), "{}", entry.line(colours));
        }
        entries.push(entry);
    }

    /// All that was recorded.
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn line(&self, colours: Colours) -> String {
        if self.who == Who::Chapter {
            return format!("\n{}", colours.paint("1", &self.what));
        }
        let time = format!("{:>8.1} ms", self.at.as_secs_f64() * 1000.0);
        let who = format!("{:<8}", self.who.name());
        format!("{}  {}  {}", colours.paint("2", time), colours.paint(self.who.style(), who), self.what)
    }
}

impl Who {
    /// The name, as it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chapter => "chapter",
            Self::Server => "server",
            Self::Client => "client",
            Self::Stranger => "stranger",
        }
    }

    fn style(self) -> &'static str {
        match self {
            Self::Chapter => "1",
            Self::Server => "36",
            Self::Client => "32",
            Self::Stranger => "35",
        }
    }
}
