//! The thread that reads the standard input and sends its lines.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::lines::{Line, read_line};
use super::socket::Outlet;
use crate::terminal::note;

/// How far the typist is. It may still wait for a line when the connection has ended, so that nobody can wait for it.
#[derive(Default)]
pub(super) struct Typing {
    sent: AtomicU64,
    is_lacking: AtomicBool,
}

impl Typing {
    /// How many lines were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether no line had to be left out.
    pub(super) fn is_whole(&self) -> bool {
        !self.is_lacking.load(Ordering::Relaxed)
    }

    /// A line, or all that would follow, is left out for this reason.
    fn leave_out(&self, reason: impl std::fmt::Display) {
        self.is_lacking.store(true, Ordering::Relaxed);
        note(reason);
    }
}

/// Starts the thread. At the end of the input it closes the connection.
pub(super) fn spawn(outlet: Box<dyn Outlet>, line_len_max: u64, typing: Arc<Typing>) -> io::Result<()> {
    let type_all = move || {
        if send_lines(&mut io::stdin().lock(), line_len_max, &*outlet, &typing) {
            outlet.close();
        }
    };
    thread::Builder::new().name("typist".to_owned()).spawn(type_all).map(drop)
}

/// Sends each line; whether there is anything left to close.
fn send_lines(input: &mut impl BufRead, line_len_max: u64, outlet: &dyn Outlet, typing: &Typing) -> bool {
    for number in 1_u64.. {
        match read_line(input, line_len_max) {
            Ok(Line::Text(line)) => {
                if !outlet.send(line) {
                    return false;
                }
                typing.sent.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Line::NotUtf8) => typing.leave_out(format_args!("line {number} is not UTF-8, and was not sent")),
            Ok(Line::TooLong) => {
                typing.leave_out(format_args!(
                    "line {number} has more than {line_len_max} bytes; neither it nor what follows was sent: allow more by `--max-message`"
                ));
                break;
            }
            Ok(Line::End) => break,
            Err(error) => {
                typing.leave_out(format_args!("cannot read the standard input: {error}"));
                break;
            }
        }
    }
    true
}
