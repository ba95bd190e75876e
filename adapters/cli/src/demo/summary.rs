//! What the demonstration adds up to: for people, and as a JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use super::timeline::{Entry, Who};
use super::{client, server};
use crate::terminal::{Colours, counted};

/// What was counted, and whether everything held that was claimed.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// What the client counted.
    pub(super) client: client::Tally,
    /// What the server counted.
    pub(super) server: server::Tally,
    /// How long it took.
    pub(super) elapsed: Duration,
    claims: u32,
    failures: Vec<String>,
}

impl Summary {
    /// Notes whether something held.
    pub(super) fn claim(&mut self, claim: &str, held: bool) {
        self.claims += 1;
        if !held {
            self.failures.push(claim.to_owned());
        }
    }

    /// Whether everything did.
    pub(super) fn held(&self) -> bool {
        self.failures.is_empty()
    }

    /// A few lines, after a blank one.
    pub(super) fn to_text(&self, colours: Colours) -> String {
        let Self { client, server, elapsed, .. } = self;
        let rtt = client.rtt.map_or("none".to_owned(), |rtt| format!("{:.3} ms", millis(rtt)));
        let mut text = format!("\n{}\n", colours.paint("1", "In sum"));
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12}  {value}");
        };
        let compared = |sent: u64, received: u64| {
            format!("{sent} sent {} {received} received", if sent == received { "=" } else { "≠" })
        };
        row("messages", compared(client.sent, client.received));
        row("bytes", compared(client.bytes_sent, client.bytes_received));
        row("queue", format!("{} waited at most, {} sent again", client.queued, client.resent));
        row("requests", format!("{} answered", client.answered));
        row("server", format!("died {}, refused {}", times(server.deaths), counted(server.refused, "handshake")));
        let (opened, attempts) = (counted(server.connections, "connection"), client.attempts);
        row("connections", format!("{opened}, {attempts} attempts by the client that came back"));
        row("faults", counted(server.protocol_errors, "protocol error"));
        row("round trip", rtt);
        row("time", format!("{:.2} s", elapsed.as_secs_f64()));
        if self.held() {
            let verdict = format!(
                "All held: nothing was lost, nothing was booked twice, {} checked.",
                counted(self.claims, "claim")
            );
            let _ = writeln!(text, "\n{}", colours.paint("32", verdict));
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\n{}", colours.paint("31", format_args!("Did not hold: {failure}")));
        }
        text
    }

    /// One JSON object and a line feed. Times are in milliseconds.
    pub(super) fn to_json(&self, timeline: &[Entry]) -> String {
        let Self { client, server, elapsed, .. } = self;
        let numbers = [
            ("messages_sent", client.sent),
            ("messages_received", client.received),
            ("messages_resent", client.resent),
            ("bytes_sent", client.bytes_sent),
            ("bytes_received", client.bytes_received),
            ("messages_queued", client.queued),
            ("requests_answered", client.answered),
            ("orders_repeated", server.repeated),
            ("connections", server.connections.into()),
            ("attempts", client.attempts),
            ("reconnections", client.reconnections),
            ("deaths", server.deaths.into()),
            ("refused", server.refused.into()),
            ("protocol_errors", server.protocol_errors.into()),
            ("claims", self.claims.into()),
        ];
        let mut json = format!("{{\"held\":{}", self.held());
        for (name, number) in numbers {
            let _ = write!(json, ",\"{name}\":{number}");
        }
        let rtt = client.rtt.map_or("null".to_owned(), |rtt| format!("{:.3}", millis(rtt)));
        let _ = write!(json, ",\"rtt\":{rtt},\"elapsed\":{:.3}", millis(*elapsed));
        let failures: Vec<_> = self.failures.iter().map(|failure| quoted(failure)).collect();
        let _ = write!(json, ",\"failures\":[{}]", failures.join(","));
        let entries: Vec<_> = timeline.iter().map(entry_to_json).collect();
        let _ = writeln!(json, ",\"timeline\":[{}]}}", entries.join(","));
        json
    }
}

fn entry_to_json(entry: &Entry) -> String {
    let who = if entry.who == Who::Chapter { "null".to_owned() } else { quoted(entry.who.name()) };
    format!("{{\"at\":{:.3},\"who\":{who},\"what\":{}}}", millis(entry.at), quoted(&entry.what))
}

/// A JSON string. RFC 8259 section 7.
fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            ..' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { counted(count, "time") }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_json_wants_it() {
        for text in ["", "plain", "\"\\/\u{8}\n\r\t\0\u{1f}\u{7f}", "κόσμε 𝄞"] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text, "{text:?}");
        }
    }

    #[test]
    fn a_claim_that_does_not_hold_is_told() {
        let mut summary = Summary::default();
        summary.claim("water is \"wet\"", true);
        assert!(summary.held());
        summary.claim("fire is \"cold\"", false);
        assert!(!summary.held());
        assert!(summary.to_text(Colours::Off).ends_with("\nDid not hold: fire is \"cold\"\n"));
        let json: serde_json::Value = serde_json::from_str(&summary.to_json(&[])).unwrap();
        assert_eq!(json["held"], false);
        assert_eq!(json["failures"], serde_json::json!(["fire is \"cold\""]));
    }
}
