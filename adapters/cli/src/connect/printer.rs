//! Messages as lines of the standard output.

use std::io::{self, IsTerminal as _, StdoutLock, Write};
use std::ops::ControlFlow;

use sansocket_std::Message;

use crate::terminal::Shown;

/// The standard output, as long as somebody reads it.
pub(super) struct Printer<W> {
    out: W,
    escapes: bool,
    received: u64,
    is_closed: bool,
    failure: Option<io::Error>,
}

impl Printer<StdoutLock<'static>> {
    /// On a terminal, control characters are escaped.
    pub(super) fn of_stdout() -> Self {
        Self::new(io::stdout().lock(), io::stdout().is_terminal())
    }
}

impl<W: Write> Printer<W> {
    fn new(out: W, escapes: bool) -> Self {
        Self { out, escapes, received: 0, is_closed: false, failure: None }
    }

    /// How many messages came, printed or not.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Why not all could be printed, unless a reader such as `head` has seen enough.
    pub(super) fn into_failure(self) -> Option<io::Error> {
        self.failure
    }

    /// Prints a message as a line; breaks when that was tried for the last time.
    pub(super) fn print(&mut self, message: &Message) -> ControlFlow<()> {
        self.received += 1;
        if self.is_closed {
            return ControlFlow::Continue(());
        }
        let Err(error) = self.write(message) else { return ControlFlow::Continue(()) };
        self.is_closed = true;
        self.failure = (error.kind() != io::ErrorKind::BrokenPipe).then_some(error);
        ControlFlow::Break(())
    }

    fn write(&mut self, message: &Message) -> io::Result<()> {
        match message {
            Message::Text(text) if self.escapes => writeln!(self.out, "{}", Shown(text))?,
            Message::Text(text) => writeln!(self.out, "{text}")?,
            Message::Binary(payload) => {
                let mut line = String::with_capacity(BINARY_PREFIX.len() + 2 * payload.len() + 1);
                line.push_str(BINARY_PREFIX);
                line.extend(payload.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(hexadecimal));
                line.push('\n');
                self.out.write_all(line.as_bytes())?;
            }
        }
        self.out.flush()
    }
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('?')
}

const BINARY_PREFIX: &str = "binary: ";

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(message: Message, escapes: bool) -> String {
        let mut printer = Printer::new(Vec::new(), escapes);
        assert!(printer.print(&message).is_continue());
        String::from_utf8(printer.out).unwrap()
    }

    #[test]
    fn each_kind_of_message_is_a_line() {
        assert_eq!(printed("a\x1bb".into(), false), "a\x1bb\n");
        assert_eq!(printed("a\x1bb".into(), true), "a\\u{1b}b\n");
        assert_eq!(printed("".into(), false), "\n");
        assert_eq!(printed(Message::from(&b"\x00\x7f\xff"[..]), true), "binary: 007fff\n");
    }

    /// Takes nothing.
    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_that_fails_is_tried_once_and_a_reader_that_left_is_no_failure() {
        for (kind, is_failure) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)] {
            let mut printer = Printer::new(Broken(kind), false);
            assert!(printer.print(&"a".into()).is_break());
            assert!(printer.print(&"b".into()).is_continue());
            assert_eq!(printer.received(), 2);
            assert_eq!(printer.into_failure().is_some(), is_failure, "{kind}");
        }
    }
}
