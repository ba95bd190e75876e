//! Messages with a number, so that whoever receives one twice notices, and whoever sent it learns that it has arrived.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The names of the fields for acknowledged delivery; in [`EnvelopeFormat::acks`](super::EnvelopeFormat::acks) they switch it on.
///
/// ```json
/// {"type": "said", "seq": 7, "session": "b2d1", "payload": "hello"}
/// {"ack": 7, "session": "90ff"}
/// ```
///
/// Numbers grow within a session, and may leave some out. An acknowledgement covers all up to its number. A session is whose memory it is:
/// that of the end that sends the message.
///
/// # What is promised
///
/// A [`Client`](crate::client::Client) keeps each message of [`send_typed`](crate::client::Client::send_typed) until it is acknowledged, and sends it
/// again on each connection until then, in order: **at least once** on the wire. Whoever receives drops what has a number that it has seen
/// ([`Deduplicator`], which a client has built in): **exactly once** to the handler, as long as both ends keep their session. A process that starts
/// anew has a new one: if it is the sender, what it had not yet got rid of is lost with it; if it is the receiver, what it had received
/// but not acknowledged comes once more, and the client reports [`JsonEvent::PeerRestarted`](super::JsonEvent::PeerRestarted).
///
/// Requests have no number. Their answer is what acknowledges them, and until it comes they are sent again: a request may be acted
/// on twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckFields {
    /// The number of a message.
    pub seq: Cow<'static, str>,
    /// Up to which number messages have arrived.
    pub ack: Cow<'static, str>,
    /// The session of the end that sends the message.
    pub session: Cow<'static, str>,
}

impl Default for AckFields {
    /// `seq`, `ack` and `session`.
    fn default() -> Self {
        Self { seq: "seq".into(), ack: "ack".into(), session: "session".into() }
    }
}

/// Tells which messages have been received before: for each session the highest number, since they come in order.
///
/// It serves a server for all of its clients, and keeps the sessions of those that it heard of last:
///
/// ```
/// use sansocket::json::{AckFields, Deduplicator, EnvelopeFormat};
///
/// let mut format = EnvelopeFormat::default();
/// format.acks = Some(AckFields::default());
/// let mut deduplicator = Deduplicator::new(10_000);
///
/// let message = r#"{"type": "said", "seq": 7, "session": "b2d1", "payload": "hello"}"#.into();
/// for is_new in [true, false] {
///     let envelope = format.decode(&message)?;
///     let (seq, session) = (envelope.seq.unwrap(), envelope.session.as_deref().unwrap_or_default());
///     assert_eq!(deduplicator.accept(session, seq), is_new); // act on it if it is, and acknowledge it in any case
///     assert_eq!(format.ack(seq, "90ff")?, r#"{"ack":7,"session":"90ff"}"#.into());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Deduplicator {
    sessions_max: usize,
    sessions: BTreeMap<String, Seen>,
    /// The sessions by when they were heard of last.
    by_age: BTreeMap<u64, String>,
    count: u64,
}

struct Seen {
    highest: u64,
    at: u64,
}

impl Deduplicator {
    /// For so many sessions, at least one; when there is another, the one that was heard of longest ago is forgotten, and what it sends again
    /// passes for new.
    pub fn new(sessions_max: usize) -> Self {
        Self { sessions_max: sessions_max.max(1), sessions: BTreeMap::new(), by_age: BTreeMap::new(), count: 0 }
    }

    /// Notes a message; whether it is new.
    #[expect(clippy::arithmetic_side_effects, reason = "nobody lives to make 2⁶⁴ calls")]
    pub fn accept(&mut self, session: &str, seq: u64) -> bool {
        self.count += 1;
        if let Some(seen) = self.sessions.get_mut(session) {
            if let Some(session) = self.by_age.remove(&seen.at) {
                self.by_age.insert(self.count, session);
            }
            seen.at = self.count;
            let is_new = seq > seen.highest;
            seen.highest = seen.highest.max(seq);
            return is_new;
        }
        if self.sessions.len() >= self.sessions_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.sessions.remove(&oldest);
        }
        self.sessions.insert(session.to_owned(), Seen { highest: seq, at: self.count });
        self.by_age.insert(self.count, session.to_owned());
        true
    }

    /// The highest number of a session: all up to it have been received. What to acknowledge when its client comes back.
    pub fn highest(&self, session: &str) -> Option<u64> {
        self.sessions.get(session).map(|seen| seen.highest)
    }

    /// How many sessions it knows.
    pub fn sessions_len(&self) -> usize {
        self.sessions.len()
    }
}

impl fmt::Debug for Deduplicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deduplicator").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

/// The longest session that is accepted, in bytes: a UUID has 36.
pub(super) const SESSION_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_received_is_no_news_in_its_session() {
        let mut deduplicator = Deduplicator::new(2);
        for (session, seq, is_new) in
            [("a", 1, true), ("a", 1, false), ("a", 5, true), ("a", 4, false), ("b", 4, true), ("a", u64::MAX, true)]
        {
            assert_eq!(deduplicator.accept(session, seq), is_new, "{session} {seq}");
        }
        assert_eq!((deduplicator.highest("b"), deduplicator.highest("c")), (Some(4), None));
    }

    #[test]
    fn the_session_that_was_heard_of_longest_ago_makes_room() {
        for (sessions_max, kept) in [(2, vec!["a", "c"]), (3, vec!["a", "b", "c"]), (4, vec!["a", "b", "c"])] {
            let mut deduplicator = Deduplicator::new(sessions_max);
            for session in ["a", "b", "a", "c"] {
                deduplicator.accept(session, 1);
            }
            let known: Vec<_> =
                ["a", "b", "c"].into_iter().filter(|name| deduplicator.highest(name).is_some()).collect();
            assert_eq!((known, deduplicator.sessions_len()), (kept.clone(), kept.len()), "{sessions_max}");
            assert_eq!(deduplicator.by_age.len(), kept.len());
        }
    }
}
