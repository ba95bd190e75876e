//! Why there is no connection, and what to do about it.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sansocket::Refusal;
use sansocket_std::ConnectError;

use crate::terminal::Shown;

/// The error in words, with advice.
pub(super) fn explain(error: &ConnectError) -> String {
    let mut text = error.to_string();
    match error {
        ConnectError::Io { host, port, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
            text.push_str("; is the server running?");
            if let Some(ip) = loopback(host) {
                let address = SocketAddr::new(ip, *port);
                let _ = write!(text, " start one with `sansocket serve --listen {address}`");
            }
        }
        ConnectError::Handshake { .. } => text.push_str("; is that a WebSocket server, and is it the right port?"),
        ConnectError::Refused(refusal) => text.push_str(&quoted_body(refusal)),
        _ => {}
    }
    text
}

/// The address of this machine that the host stands for.
fn loopback(host: &str) -> Option<IpAddr> {
    match host.parse() {
        Ok(ip) => Some(ip).filter(IpAddr::is_loopback),
        Err(_) => (host == "localhost").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
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
