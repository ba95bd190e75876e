//! Printing that survives whoever reads it: a closed pipe is no panic, and a peer's text no command to the terminal.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

/// Writes a line to the standard error. When nobody reads that any more, there is nobody left to tell.
pub(crate) fn note(line: impl fmt::Display) {
    // One write, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Text from elsewhere with its control characters escaped, but for tabs and line feeds: what is shown on a terminal must
/// not drive it.
pub(crate) struct Shown<'t>(pub(crate) &'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() && !matches!(c, '\t' | '\n') {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Colours for a terminal, or none. See <https://no-color.org>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// ANSI sequences.
    On,
    /// Plain text.
    Off,
}

impl Colours {
    /// On when the standard output is a terminal and `NO_COLOR` is unset or empty.
    pub(crate) fn of_stdout() -> Self {
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !forbidden { Self::On } else { Self::Off }
    }

    /// The text, dressed in a style such as `1` (bold) or `32` (green).
    pub(crate) fn paint(self, style: &str, text: impl fmt::Display) -> String {
        match self {
            Self::On => format!("\x1b[{style}m{text}\x1b[0m"),
            Self::Off => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(Shown("a\tb\n\x1b[2J\r\u{9b}é").to_string(), "a\tb\n\\u{1b}[2J\\r\\u{9b}é");
    }

    #[test]
    fn nouns_are_counted() {
        assert_eq!(
            [counted(0_u32, "byte"), counted(1_u32, "byte"), counted(2_u32, "byte")],
            ["0 bytes", "1 byte", "2 bytes"]
        );
    }
}
