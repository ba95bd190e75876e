//! Messages that cannot leave yet, in order, with what becomes of each.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Instant;

use super::heartbeat::after;
use super::{Delivery, Overflow, QueueConfig};
use crate::message::Message;

/// Names a message that was accepted. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What became of a message: each has exactly one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The transport has taken all of it. Whether the peer received it, nobody knows ([`Delivery::AtMostOnce`]).
    Written,
    /// The peer has received it, perhaps twice, as a pong has shown ([`Delivery::AtLeastOnce`]) or the application has said
    /// ([`Delivery::Acknowledged`], too).
    Confirmed,
    /// It never left as a whole.
    Dropped(DropReason),
    /// It left as a whole, but was not confirmed before the client ended, or before it was too old or in the way of others to be sent again.
    /// Whether the peer received it, nobody knows ([`Delivery::AtLeastOnce`], [`Delivery::Acknowledged`]).
    Unconfirmed,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue was full ([`QueueConfig::overflow`]).
    Overflow,
    /// It had waited too long ([`QueueConfig::age_max`]).
    Expired,
    /// The client ended: it was closed, aborted, or gave up.
    Ended,
}

/// Why a message was not accepted; it comes back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejected {
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: RejectReason,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The queue is full: try again when there are outcomes.
    #[error("the queue is full: {messages} messages of {bytes} bytes wait")]
    Full {
        /// How many wait.
        messages: usize,
        /// Their payloads.
        bytes: usize,
    },
    /// It is longer than the queue may be.
    #[error("message of {len} bytes, at most {max} may wait")]
    TooLong {
        /// Its length.
        len: usize,
        /// [`QueueConfig::bytes_max`].
        max: usize,
    },
    /// The client is closing, or has ended.
    #[error("the client is closed")]
    Closed,
}

/// Messages in the order in which they were accepted. The first `handed` of them are with the connection of the moment: in its output, or
/// written and not confirmed.
pub(super) struct Queue {
    config: QueueConfig,
    entries: VecDeque<Entry>,
    handed: usize,
    /// Of those, how many the transport has taken whole.
    written: usize,
    /// Of all payloads. They may share their memory, so that a `usize` need not hold the sum of them.
    bytes: u128,
    next_token: u64,
    /// What became of messages, until it is polled.
    outcomes: VecDeque<Finished>,
}

/// What became of a message.
pub(super) struct Finished {
    pub(super) token: Token,
    pub(super) outcome: Outcome,
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only JSON knows requests"))]
    pub(super) request: Option<NonZeroU64>,
}

struct Entry {
    token: Token,
    message: Message,
    since: Instant,
    /// Where in the connection's output it ends, once it is handed to it.
    end: u64,
    /// Whether a transport has taken all of it, this one or an earlier one.
    was_written: bool,
    /// The request that it is the message of.
    request: Option<NonZeroU64>,
    /// Nobody wants it any more, but a part of it may have left.
    is_cancelled: bool,
}

impl Queue {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            config,
            entries: VecDeque::new(),
            handed: 0,
            written: 0,
            bytes: 0,
            next_token: 1,
            outcomes: VecDeque::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        now: Instant,
        message: Message,
        request: Option<NonZeroU64>,
    ) -> Result<Token, Rejected> {
        let len = message.as_bytes().len();
        let max = self.config.bytes_max;
        if len > max {
            return Err(Rejected { message, reason: RejectReason::TooLong { len, max } });
        }
        // Outcomes that nobody polls are memory, too.
        let outcomes_are_full = self.outcomes.len() >= self.config.messages_max;
        let has_room = !outcomes_are_full && self.has_room(len);
        match self.config.overflow {
            _ if has_room => {}
            Overflow::DropOldest if !outcomes_are_full && self.could_have_room(len) => {
                while !self.has_room(len) && self.handed < self.entries.len() {
                    self.drop_waiting(DropReason::Overflow);
                }
            }
            Overflow::DropNewest if !outcomes_are_full => {
                let token = self.token();
                self.outcomes.push_back(Finished { token, outcome: Outcome::Dropped(DropReason::Overflow), request });
                return Ok(token);
            }
            _ => {
                let reason = RejectReason::Full { messages: self.entries.len(), bytes: self.bytes() };
                return Err(Rejected { message, reason });
            }
        }
        let token = self.token();
        self.bytes = self.bytes.saturating_add(len as u128);
        self.entries.push_back(Entry {
            token,
            message,
            since: now,
            end: 0,
            was_written: false,
            request,
            is_cancelled: false,
        });
        Ok(token)
    }

    /// The next message for the connection.
    pub(super) fn next_waiting(&self) -> Option<&Message> {
        self.entries.get(self.handed).map(|entry| &entry.message)
    }

    /// It is in the connection's output now, up to `end`.
    #[expect(clippy::arithmetic_side_effects, reason = "there are more entries than `handed`")]
    pub(super) fn hand_over(&mut self, end: u64) {
        if let Some(entry) = self.entries.get_mut(self.handed) {
            entry.end = end;
            self.handed += 1;
        }
    }

    /// The transport has taken the output up to `written`; returns how many messages more that are.
    #[expect(clippy::arithmetic_side_effects, reason = "`written < handed`, and each round ends one of `handed`")]
    pub(super) fn output_written(&mut self, written: u64) -> u64 {
        let mut count = 0;
        while self.written < self.handed
            && let Some(entry) = self.entries.get_mut(self.written)
            && entry.end <= written
        {
            count += 1;
            match self.config.delivery {
                Delivery::AtMostOnce => self.finish(0, Outcome::Written),
                Delivery::AtLeastOnce | Delivery::Acknowledged => {
                    entry.was_written = true;
                    let is_cancelled = entry.is_cancelled;
                    self.written += 1;
                    if is_cancelled {
                        self.remove(self.written - 1);
                    }
                }
            }
        }
        count
    }

    /// How many messages the connection has that the transport has not taken whole.
    #[expect(clippy::arithmetic_side_effects, reason = "`written <= handed`")]
    pub(super) fn unwritten(&self) -> u64 {
        (self.handed - self.written) as u64
    }

    /// Whether the peer has to show what it has received.
    pub(super) fn awaits_confirmation(&self) -> bool {
        self.written > 0 && self.config.delivery == Delivery::AtLeastOnce
    }

    /// The peer has received the output up to `end`.
    pub(super) fn confirm_output(&mut self, end: u64) {
        while self.written > 0 && self.entries.front().is_some_and(|entry| entry.end <= end) {
            self.finish(0, Outcome::Confirmed);
        }
    }

    /// The peer has received the messages up to `token`. Requests among them stay: what confirms those is their answer.
    #[expect(clippy::arithmetic_side_effects, reason = "`at` is less than the number of entries")]
    pub(super) fn confirm(&mut self, token: Token) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at)
            && entry.was_written
            && entry.token <= token
        {
            match entry.request {
                Some(_) => at += 1,
                None => self.finish(at, Outcome::Confirmed),
            }
        }
    }

    /// The connection is lost: what it had goes out first on the next. Returns how many of those may arrive twice.
    pub(super) fn requeue(&mut self) -> usize {
        while let Some(at) = self.entries.iter().take(self.handed).position(|entry| entry.is_cancelled) {
            self.remove(at);
        }
        self.handed = 0;
        std::mem::take(&mut self.written)
    }

    /// Whether the message waits, is on its way, or is not confirmed.
    #[cfg(feature = "json")]
    pub(super) fn contains(&self, token: Token) -> bool {
        self.entries.binary_search_by_key(&token, |entry| entry.token).is_ok()
    }

    /// Takes back a message that it was done with, to be sent again: it is older than all that wait. Only between two connections.
    #[cfg(feature = "json")]
    pub(super) fn restore(&mut self, token: Token, message: Message, since: Instant, request: Option<NonZeroU64>) {
        self.bytes = self.bytes.saturating_add(message.as_bytes().len() as u128);
        self.entries.push_front(Entry {
            token,
            message,
            since,
            end: 0,
            was_written: true,
            request,
            is_cancelled: false,
        });
    }

    /// Forgets a message, and nobody is told. What is in the output of a connection leaves with that connection or not at all.
    #[cfg(feature = "json")]
    pub(super) fn cancel(&mut self, token: Token) {
        let Ok(at) = self.entries.binary_search_by_key(&token, |entry| entry.token) else { return };
        match self.entries.get_mut(at) {
            Some(entry) if (self.written..self.handed).contains(&at) => entry.is_cancelled = true,
            _ => drop(self.remove(at)),
        }
    }

    /// Drops what waits, since the client ends.
    pub(super) fn stop(&mut self) {
        while self.handed < self.entries.len() {
            self.drop_waiting(DropReason::Ended);
        }
    }

    /// The client has ended, and so has its connection.
    pub(super) fn end(&mut self) {
        self.requeue();
        self.stop();
    }

    /// When the next message has waited too long.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        after(self.entries.get(self.handed)?.since, self.config.age_max?)
    }

    /// Drops what has waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.expires_at().is_some_and(|at| at <= now) {
            self.drop_waiting(DropReason::Expired);
        }
    }

    pub(super) fn poll_outcome(&mut self) -> Option<Finished> {
        self.outcomes.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.config.delivery
    }

    fn has_room(&self, len: usize) -> bool {
        self.entries.len() < self.config.messages_max && self.fits(self.bytes, len)
    }

    /// Whether there would be room if nothing waited.
    fn could_have_room(&self, len: usize) -> bool {
        let handed: u128 = self.entries.iter().take(self.handed).map(Entry::len).sum();
        self.handed < self.entries.len() && self.fits(handed, len)
    }

    fn fits(&self, bytes: u128, len: usize) -> bool {
        bytes.saturating_add(len as u128) <= self.config.bytes_max as u128
    }

    /// The token of the next message.
    #[cfg(feature = "json")]
    pub(super) fn next_token(&self) -> Token {
        Token(self.next_token)
    }

    #[expect(clippy::arithmetic_side_effects, reason = "nobody lives to send 2⁶⁴ messages")]
    fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn drop_waiting(&mut self, reason: DropReason) {
        if let Some(entry) = self.entries.get(self.handed) {
            let outcome = entry.dropped(reason);
            self.finish(self.handed, outcome);
        }
    }

    fn finish(&mut self, at: usize, outcome: Outcome) {
        if let Some(entry) = self.remove(at) {
            self.outcomes.push_back(Finished { token: entry.token, outcome, request: entry.request });
        }
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`bytes` is the sum of all entries, and `at` is counted if it is less"
    )]
    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        self.bytes -= entry.len();
        self.handed -= usize::from(at < self.handed);
        self.written -= usize::from(at < self.written);
        Some(entry)
    }
}

impl Entry {
    fn len(&self) -> u128 {
        self.message.as_bytes().len() as u128
    }

    /// What it is when it is given up.
    fn dropped(&self, reason: DropReason) -> Outcome {
        if self.was_written { Outcome::Unconfirmed } else { Outcome::Dropped(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SEC: Duration = Duration::from_secs(1);

    fn queue(change: impl FnOnce(&mut QueueConfig)) -> (Queue, Instant) {
        let mut config = QueueConfig::default();
        change(&mut config);
        (Queue::new(config), Instant::now())
    }

    fn outcomes(queue: &mut Queue) -> Vec<(u64, Outcome)> {
        std::iter::from_fn(|| queue.poll_outcome()).map(|finished| (finished.token.0, finished.outcome)).collect()
    }

    #[test]
    fn a_message_is_written_when_its_last_byte_is() {
        for (written, outcome) in [(99, None), (100, Some(Outcome::Written)), (101, Some(Outcome::Written))] {
            let (mut queue, now) = queue(|_| ());
            queue.push(now, "one".into(), None).unwrap();
            queue.push(now, "two".into(), None).unwrap();
            queue.hand_over(100);
            assert_eq!(queue.output_written(written), u64::from(outcome.is_some()));
            assert_eq!(outcomes(&mut queue).first().map(|(_, outcome)| *outcome), outcome, "{written}");
            queue.requeue();
            let first = queue.next_waiting().unwrap().as_text().unwrap().to_owned();
            assert_eq!(first, if outcome.is_some() { "two" } else { "one" }, "what did not leave whole goes first");
        }
    }

    #[test]
    fn what_was_written_is_sent_again_until_it_is_confirmed() {
        let (mut queue, now) = queue(|config| config.delivery = Delivery::AtLeastOnce);
        for text in ["1", "2", "3"] {
            queue.push(now, text.into(), None).unwrap();
        }
        queue.hand_over(10);
        queue.hand_over(20);
        queue.confirm_output(20);
        assert_eq!(outcomes(&mut queue), [], "what has not left has not arrived");
        assert_eq!(queue.unwritten(), 2);
        assert_eq!(queue.output_written(10), 1);
        assert_eq!(queue.unwritten(), 1);
        assert_eq!(queue.output_written(20), 1);
        queue.confirm_output(19);
        assert_eq!(outcomes(&mut queue), [(1, Outcome::Confirmed)]);
        assert_eq!(queue.requeue(), 1);
        assert_eq!(queue.next_waiting(), Some(&"2".into()));
        queue.confirm(Token(3)); // of those that were written once
        assert_eq!(outcomes(&mut queue), [(2, Outcome::Confirmed)]);
        queue.end();
        assert_eq!(outcomes(&mut queue), [(3, Outcome::Dropped(DropReason::Ended))]);
    }

    #[test]
    fn payloads_that_share_their_memory_may_add_up_to_more_than_a_usize_holds() {
        for overflow in [Overflow::Refuse, Overflow::DropOldest] {
            for (len, is_taken) in [(9, true), (10, true), (11, false)] {
                let (mut queue, now) = queue(|config| (config.bytes_max, config.overflow) = (usize::MAX, overflow));
                queue.bytes = usize::MAX as u128 - 10; // as clones of one message come to
                let pushed = queue.push(now, vec![0; len].into(), None);
                assert_eq!(pushed.is_ok(), is_taken, "{len} bytes, {overflow:?}");
                #[cfg(feature = "json")]
                {
                    queue.restore(Token(0), vec![0; 100].into(), now, None);
                    assert_eq!(queue.bytes(), usize::MAX);
                    queue.cancel(Token(0));
                }
                queue.end();
                assert_eq!(queue.bytes(), usize::MAX - 10);
            }
        }
    }

    #[test]
    fn the_limits_of_count_and_bytes_hold_with_each_policy() {
        for (overflow, limit_bytes) in [
            (Overflow::Refuse, false),
            (Overflow::DropOldest, false),
            (Overflow::DropNewest, false),
            (Overflow::Refuse, true),
            (Overflow::DropOldest, true),
            (Overflow::DropNewest, true),
        ] {
            let (mut queue, now) = queue(|config| {
                config.overflow = overflow;
                (config.messages_max, config.bytes_max) = if limit_bytes { (100, 30) } else { (3, 1000) };
            });
            for _ in 0..3 {
                queue.push(now, vec![0; 10].into(), None).unwrap();
            }
            assert_eq!(outcomes(&mut queue), [], "up to the limit");
            let one_more = queue.push(now, vec![0; 10].into(), None);
            match overflow {
                Overflow::Refuse => {
                    let rejected = one_more.unwrap_err();
                    assert_eq!(rejected.reason, RejectReason::Full { messages: 3, bytes: 30 });
                    assert_eq!(rejected.message, vec![0; 10].into());
                }
                Overflow::DropOldest => assert_eq!(outcomes(&mut queue), [(1, Outcome::Dropped(DropReason::Overflow))]),
                Overflow::DropNewest => assert_eq!(outcomes(&mut queue), [(4, Outcome::Dropped(DropReason::Overflow))]),
            }
            assert_eq!((queue.len(), queue.bytes()), (3, 30));
        }
    }

    #[test]
    fn a_message_longer_than_the_queue_is_refused_whatever_the_policy() {
        for overflow in [Overflow::Refuse, Overflow::DropOldest, Overflow::DropNewest] {
            let (mut queue, now) = queue(|config| (config.overflow, config.bytes_max) = (overflow, 10));
            assert!(queue.push(now, vec![0; 10].into(), None).is_ok());
            let rejected = queue.push(now, vec![0; 11].into(), None).unwrap_err();
            assert_eq!(rejected.reason, RejectReason::TooLong { len: 11, max: 10 });
        }
    }

    #[test]
    fn what_a_connection_has_is_never_dropped_to_make_room() {
        let (mut queue, now) = queue(|config| (config.overflow, config.messages_max) = (Overflow::DropOldest, 2));
        queue.push(now, "1".into(), None).unwrap();
        queue.push(now, "2".into(), None).unwrap();
        queue.hand_over(10);
        queue.push(now, "3".into(), None).unwrap();
        assert_eq!(outcomes(&mut queue), [(2, Outcome::Dropped(DropReason::Overflow))]);
        queue.hand_over(20);
        assert!(queue.push(now, "4".into(), None).is_err());
    }

    #[test]
    fn outcomes_that_nobody_polls_are_bounded() {
        let (mut queue, now) = queue(|config| (config.overflow, config.messages_max) = (Overflow::DropNewest, 10));
        let accepted = (0..1000).filter(|_| queue.push(now, "x".into(), None).is_ok()).count();
        assert_eq!(accepted, 20, "ten that wait and ten that were dropped");
    }

    #[test]
    fn messages_expire_at_their_age_unless_a_connection_has_them() {
        for (age, expired) in [(9_999, 0), (10_000, 1), (10_001, 1)] {
            let (mut queue, now) = queue(|config| config.age_max = Some(10 * SEC));
            queue.push(now, "1".into(), None).unwrap();
            queue.push(now, "2".into(), None).unwrap();
            queue.hand_over(10);
            queue.expire(now + Duration::from_millis(age));
            assert_eq!(outcomes(&mut queue).len(), expired, "{age}");
            assert_eq!(queue.len(), 2 - expired);
        }
    }
}
