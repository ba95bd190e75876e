//! Why there is no connection, and what to do about it.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sansocket::Refusal;
use sansocket_std::rustls::{self, CertificateError};
use sansocket_std::{ConnectError, TlsError};

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
        ConnectError::Tls { source: TlsError::Handshake(source), .. } => text.push_str(tls_advice(source)),
        ConnectError::Handshake { .. } => {
            text.push_str("; is that a WebSocket server, is it the right port, and does it want wss://?")
        }
        ConnectError::Refused(refusal) => text.push_str(&quoted_body(refusal)),
        _ => {}
    }
    text
}

/// What the fault says of the server, or of the command line.
fn tls_advice(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "; the certificate is for another name: connect by that name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "; the certificate has expired: it is the server's to renew, unless this machine's clock is wrong"
            }
            _ => "; if you know who issued the certificate, trust him by `--cafile`",
        },
        Some(rustls::Error::InvalidMessage(_)) => "; is it a server without TLS? then the URL begins with ws://",
        _ => "",
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

/// Enough for a sentence or two; the rest of an HTML page helps nobody on a terminal.
const BODY_CHARS_MAX: usize = 500;
