//! Between two connections: what became of the last, and whether and when there is another.

use std::time::Instant;

use super::{Client, State};
use crate::client::heartbeat::after;
use crate::client::metrics::count;
use crate::client::{Cause, ClientEvent, End, Verdict};
use crate::connection::{Closed, Side, StreamOrder};

impl Client {
    /// The time for the next attempt has come.
    pub(super) fn begin_attempt(&mut self) {
        let State::Waiting { cause, .. } = &mut self.state else { return };
        if self.config.asks_before_attempt {
            self.state = State::Preparing { cause: cause.take(), ordered: false, deadline: None };
        } else {
            self.connect();
        }
    }

    pub(super) fn connect(&mut self) {
        self.state = State::Connecting { attempt: Box::new(self.options.attempt()), ordered: false, deadline: None };
    }

    /// There is no connection to be had.
    pub(super) fn attempt_failed(&mut self, now: Instant, cause: Cause) {
        self.state = State::Closed; // There is nothing to give up any more.
        self.events.push_back(ClientEvent::AttemptFailed { attempt: self.backoff.failures(), cause: cause.clone() });
        self.retry(now, cause);
    }

    /// The connection is over.
    pub(super) fn lost(&mut self, now: Instant, closed: Closed) {
        let State::Linked(link) = std::mem::replace(&mut self.state, State::Closed) else { return };
        let mut link = *link;
        link.output_over(&mut self.queue, &mut self.metrics);
        while let Some(order) = link.connection.poll_stream() {
            self.drop_due |= order == StreamOrder::Drop;
        }
        self.heartbeat.stop();
        count(&mut self.metrics.messages_resent, self.queue.requeue() as u64);
        #[cfg(feature = "json")]
        if let Some(typed) = &mut self.typed {
            typed.link_lost();
        }
        #[cfg(feature = "json")]
        if self.closing.as_ref().is_none_or(|closing| !closing.begun) {
            let resent = self.requests_lost();
            count(&mut self.metrics.messages_resent, resent);
        }
        self.queue.expire(now);
        if link.is_redirected {
            self.state = State::Connecting { attempt: Box::new(link.attempt), ordered: false, deadline: None };
            return;
        }
        let cause = link.cause.unwrap_or_else(|| Cause::Closed(closed.clone()));
        let was_open = link.opened_at.is_some();
        if let Some(since) = link.opened_at {
            self.metrics.count_uptime(now, since);
            // Whoever answers a Close frame has received all that was before it.
            let is_answered = closed.clean && closed.by == Side::Local;
            let confirmed = if is_answered { link.messages_written } else { link.messages_confirmed };
            let in_doubt = link.messages_written.saturating_sub(confirmed);
            self.events.push_back(ClientEvent::Lost { cause: cause.clone(), in_doubt });
        }
        if self.closing.as_ref().is_some_and(|closing| closing.begun) {
            self.finish(now, End::Closed(Some(closed)));
        } else if was_open {
            self.retry(now, cause);
        } else {
            self.attempt_failed(now, cause);
        }
    }

    pub(super) fn needs_credentials(&self, cause: &Cause) -> bool {
        self.config.retry.verdict(cause) == Verdict::NeedsCredentials
    }

    /// Tries again, if that is worth it.
    fn retry(&mut self, now: Instant, cause: Cause) {
        match self.config.retry.verdict(&cause) {
            Verdict::Retry => {}
            Verdict::NeedsCredentials if self.config.asks_before_attempt => {}
            Verdict::NeedsCredentials | Verdict::Stop => return self.finish(now, End::Stopped(cause)),
        }
        let since_epoch =
            self.wall_clock.and_then(|(at, since_epoch)| since_epoch.checked_add(now.saturating_duration_since(at)));
        let Some(delay) = self.backoff.failed(now, cause.retry_after(since_epoch)) else {
            return self.finish(now, End::GaveUp(cause));
        };
        let Some(until) = after(now, delay) else {
            return self.finish(now, End::GaveUp(cause)); // later than any clock shows
        };
        self.events.push_back(ClientEvent::Reconnecting { attempt: self.backoff.failures(), delay });
        self.state = State::Waiting { until, cause: Some(cause) };
    }

    /// Ends, whatever is under way.
    pub(super) fn finish(&mut self, now: Instant, end: End) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed if self.is_over => return,
            State::Connecting { ordered, .. } => self.drop_due |= ordered,
            State::Linked(mut link) => {
                link.output_over(&mut self.queue, &mut self.metrics);
                link.connection.abort();
                self.drop_due |=
                    std::iter::from_fn(|| link.connection.poll_stream()).any(|order| order == StreamOrder::Drop);
                if let Some(since) = link.opened_at {
                    self.metrics.count_uptime(now, since);
                }
            }
            State::Closed | State::Waiting { .. } | State::Preparing { .. } => {}
        }
        self.is_over = true;
        self.heartbeat.stop();
        self.queue.end();
        #[cfg(feature = "json")]
        if let Some(typed) = &mut self.typed {
            typed.end();
        }
        self.events.push_back(ClientEvent::Ended(end));
    }
}
