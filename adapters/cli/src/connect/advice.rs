//! Why there is no connection, and what to do about it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sansocket::Refusal;
use sansocket::client::Cause;
use sansocket::handshake::WsUrl;
use sansocket_std::ConnectError;

use crate::terminal::Shown;

/// Advice about a server.
pub(super) struct Advice {
    host: String,
    port: u16,
}

impl Advice {
    pub(super) fn about(server: &WsUrl) -> Self {
        Self { host: server.host().to_owned(), port: server.port() }
    }

    /// The error in words, with advice.
    pub(super) fn explain(&self, error: &ConnectError) -> String {
        let mut text = error.to_string();
        match error {
            ConnectError::Handshake { .. } => text.push_str(IS_IT_WEBSOCKET),
            ConnectError::Refused(refusal) => text.push_str(&quoted_body(refusal)),
            _ => self.add_how(&mut text),
        }
        text
    }

    /// The same of an attempt of a client that goes on.
    pub(super) fn explain_attempt(&self, cause: &Cause) -> String {
        match cause {
            Cause::Refused(refusal) => self.explain(&ConnectError::Refused(refusal.clone())),
            Cause::Closed(closed) => self.explain(&ConnectError::Handshake { closed: closed.clone(), source: None }),
            cause => {
                let mut text = cause.to_string();
                self.add_how(&mut text);
                text
            }
        }
    }

    /// How to do by this command what the text advises.
    fn add_how(&self, text: &mut String) {
        let is_down = text.ends_with("; is the server running?")
            && text.starts_with(&format!("cannot connect to {}:{}: ", self.host, self.port));
        if is_down && let Some(ip) = loopback(&self.host) {
            let address = SocketAddr::new(ip, self.port);
            let _ = write!(text, " start one with `sansocket serve --listen {address}`");
        } else if text.ends_with("; trust its issuer, if you know who that is") {
            text.push_str(": `--cafile`");
        }
    }
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

const IS_IT_WEBSOCKET: &str = "; is that a WebSocket server, is it the right port, and does it want wss://?";

/// Enough for a sentence or two; the rest of an HTML page helps nobody on a terminal.
const BODY_CHARS_MAX: usize = 500;
