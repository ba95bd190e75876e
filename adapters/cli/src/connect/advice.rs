//! Why there is no connection, and what to do about it.

use std::fmt::Write as _;
use std::io;

use sansocket::Refusal;
use sansocket_std::ConnectError;

use crate::terminal::Shown;

/// The error in words, with advice.
pub(super) fn explain(error: &ConnectError) -> String {
    let mut text = error.to_string();
    match error {
        ConnectError::Io { address, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
            text.push_str("; is the server running?");
            if address.ip().is_loopback() {
                let _ = write!(text, " start one with `sansocket serve --listen {address}`");
            }
        }
        ConnectError::Handshake { .. } => text.push_str("; is that a WebSocket server, and is it the right port?"),
        ConnectError::Refused(refusal) => text.push_str(&quoted_body(refusal)),
        _ => {}
    }
    text
}

/// The start of a refusal's body, a mark before each of its lines.
fn quoted_body(refusal: &Refusal) -> String {
    let body = String::from_utf8_lossy(&refusal.body);
    let shown: String = body.trim_end().chars().take(BODY_CHARS_MAX).collect();
    let mut quoted = String::new();
    for line in shown.lines() {
        let _ = write!(quoted, "\n  | {}", Shown(line));
    }
    if refusal.body_truncated || shown.len() < body.trim_end().len() {
        quoted.push_str("\n  | …");
    }
    quoted
}

/// Enough for a sentence or two; the rest of an HTML page helps nobody on a terminal.
const BODY_CHARS_MAX: usize = 500;
