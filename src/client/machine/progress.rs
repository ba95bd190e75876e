//! While there is a connection: what arrives, what leaves, and when all has left.

use std::time::Instant;

use super::link::{AuthState, Link, SentPing};
use super::{Client, Messages, State};
use crate::buffer::RecvBuf;
use crate::client::heartbeat::after;
use crate::client::metrics::count;
use crate::client::{AuthAnswer, Beat, Cause, ClientEvent, Delivery, End, HeartbeatOrder};
use crate::connection::{Closed, Event};
use crate::frame::CloseCode;
use crate::handshake::{OwnedHeaders, RedirectError, Refusal};
use crate::message::Message;

/// One event of the connection, as far as the client acts on it.
enum Happened {
    Nothing,
    Opened(OwnedHeaders),
    Refused(Box<Refusal>),
    Message,
    Pong([u8; 8]),
    #[cfg(feature = "deflate")]
    Inflating,
    Closed(Closed),
    Other,
}

impl Client {
    /// Takes one event of the connection; whether there may be more to do.
    pub(super) fn step(&mut self, now: Instant, input: &mut RecvBuf, messages: Messages) -> bool {
        let State::Linked(link) = &mut self.state else {
            return false;
        };
        let arrived = input.unread().len().saturating_sub(link.unread_len);
        if arrived > 0 {
            count(&mut self.metrics.bytes_received, arrived as u64);
            self.heartbeat.handle_received(now);
        }
        let may_withhold = link.opened_at.is_some() && !link.stream_ended && self.closing.is_none();
        let withholds = messages == Messages::Withheld && may_withhold;
        let event = if withholds {
            link.connection.poll_control_event(now, input)
        } else {
            link.connection.poll_event(now, input)
        };
        let happened = match event {
            None => Happened::Nothing,
            Some(Event::Open(response)) => Happened::Opened(response.headers.to_owned()),
            Some(Event::Refused(refusal)) => Happened::Refused(refusal),
            Some(Event::Text(_) | Event::Binary(_)) => Happened::Message,
            Some(Event::Pong { payload, .. }) => payload.try_into().map_or(Happened::Other, Happened::Pong),
            #[cfg(feature = "deflate")]
            Some(Event::Inflating) => Happened::Inflating,
            Some(Event::Closed(closed)) => Happened::Closed(closed),
            Some(_) => Happened::Other,
        };
        let message = input.take_message();
        link.unread_len = input.unread().len();
        let was_withheld = link.is_withheld;
        let is_in_the_way = withholds && !link.connection.wants_read() && !link.connection.is_paused();
        link.set_withheld(now, is_in_the_way, self.config.auth.as_ref().map(|auth| auth.timeout));
        if was_withheld {
            self.heartbeat.handle_received(now);
        }
        match happened {
            Happened::Nothing => return self.settle(now),
            Happened::Opened(headers) => self.opened(now, headers),
            Happened::Refused(refusal) => self.refused(refusal),
            Happened::Message => self.received(now, message),
            Happened::Pong(payload) => self.ponged(now, &payload),
            #[cfg(feature = "deflate")]
            Happened::Inflating => self.events.push_back(ClientEvent::Inflating),
            Happened::Closed(closed) => self.lost(now, closed),
            Happened::Other => {}
        }
        true
    }

    /// All that arrived has been looked at; whether anything came of it.
    fn settle(&mut self, now: Instant) -> bool {
        let State::Linked(link) = &mut self.state else {
            return true;
        };
        let order = if link.is_resting() { None } else { self.heartbeat.poll_order() };
        match order {
            Some(HeartbeatOrder::Beat) => link.beat_due = true,
            Some(HeartbeatOrder::Lost) => {
                link.cause.get_or_insert(Cause::HeartbeatLost);
                link.connection.abort();
                return true;
            }
            None => {}
        }
        if let State::Linked(link) = &mut self.state
            && link.auth == AuthState::TimedOut
        {
            link.auth = AuthState::Done;
            link.reject_auth(now, Cause::AuthTimedOut);
            return true;
        }
        #[cfg(feature = "json")]
        self.send_ack(now);
        self.flush(now);
        !self.events.is_empty()
    }

    fn opened(&mut self, now: Instant, headers: OwnedHeaders) {
        let again = self.metrics.connections > 0;
        count(&mut self.metrics.connections, 1);
        count(&mut self.metrics.reconnections, again.into());
        self.events.push_back(ClientEvent::Opened { headers, again });
        self.heartbeat.start(now);
        if let State::Linked(link) = &mut self.state {
            link.opened_at = Some(now);
        }
        match (&self.config.auth, &mut self.state) {
            (Some(_), State::Linked(link)) => link.auth = AuthState::Unsent,
            _ => self.ready(now),
        }
        self.flush(now);
    }

    /// Messages may leave.
    fn ready(&mut self, now: Instant) {
        if let State::Linked(link) = &mut self.state {
            link.is_ready = true;
            self.backoff.opened(now);
            self.events.push_back(ClientEvent::Ready { again: self.metrics.connections > 1 });
        }
    }

    fn refused(&mut self, refusal: Box<Refusal>) {
        if let State::Linked(link) = &mut self.state {
            let asked = link.attempt.request().url().clone();
            match link.attempt.redirect(&refusal) {
                Ok(true) if self.config.auth.is_some() && !asked.is_same_origin(link.attempt.request().url()) => {
                    link.cause = Some(Cause::Redirect(RedirectError::Credentials));
                }
                Ok(true) => link.is_redirected = true,
                Ok(false) => link.cause = Some(Cause::Refused(refusal)),
                Err(error) => link.cause = Some(Cause::Redirect(error)),
            }
        }
    }

    fn received(&mut self, now: Instant, message: Option<Message>) {
        let Some(message) = message else { return };
        count(&mut self.metrics.messages_received, 1);
        if self.is_awaiting_auth() {
            match self.judge(&message) {
                AuthAnswer::Other => {}
                AuthAnswer::Accepted => return self.auth_accepted(now),
                AuthAnswer::Refused(why) => return self.auth_refused(now, why),
            }
        }
        if let Beat::Message { is_answer, .. } = &self.config.heartbeat.beat
            && is_answer(&message)
        {
            self.heartbeat.handle_answer(now);
            return;
        }
        #[cfg(feature = "json")]
        if self.typed.is_some() && message.as_text().is_some() {
            return self.received_json(now, &message);
        }
        self.events.push_back(ClientEvent::Message(message));
    }

    fn is_awaiting_auth(&self) -> bool {
        matches!(&self.state, State::Linked(link) if matches!(link.auth, AuthState::Sent { .. } | AuthState::TimedOut))
    }

    fn auth_accepted(&mut self, now: Instant) {
        let State::Linked(link) = &mut self.state else { return };
        let is_renewed = link.auth_answered();
        if !link.is_ready {
            self.ready(now);
        } else if !is_renewed {
            self.events.push_back(ClientEvent::Reauthenticated);
        }
        self.flush(now);
    }

    fn auth_refused(&mut self, now: Instant, why: String) {
        let State::Linked(link) = &mut self.state else { return };
        if !link.auth_answered() {
            link.reject_auth(now, Cause::AuthRefused(why));
        }
        self.flush(now);
    }

    fn ponged(&mut self, now: Instant, payload: &[u8; 8]) {
        let State::Linked(link) = &mut self.state else { return };
        let Some(ping) = link.take_ping(payload) else { return };
        link.messages_confirmed = link.messages_confirmed.max(ping.messages);
        if ping.is_beat {
            self.heartbeat.handle_answer(now);
        }
        if self.queue.delivery() == Delivery::AtLeastOnce {
            self.queue.confirm_output(ping.begin);
        }
        self.flush(now);
    }

    /// Sends the beat that is due, if there is room.
    fn beat(&mut self, now: Instant) {
        let State::Linked(link) = &mut self.state else { return };
        if !link.beat_due {
            return;
        }
        match &self.config.heartbeat.beat {
            Beat::Ping => self.ping(now, true),
            // It waits for the credentials, as all messages do.
            Beat::Message { message, .. } => {
                if link.is_ready && link.connection.send(now, message).is_ok() {
                    link.beat_due = false;
                    link.beat_end = Some(link.output_end());
                }
            }
        }
    }

    /// Sends a ping whose pong tells what has arrived.
    fn ping(&mut self, now: Instant, is_beat: bool) {
        let State::Linked(link) = &mut self.state else { return };
        let payload: [u8; 8] = self.keystream.take();
        let begin = link.output_end();
        if link.connection.ping(now, &payload).is_err() {
            return;
        }
        let messages = link.messages_written.saturating_add(self.queue.unwritten());
        if link.pings.len() >= PINGS_MAX {
            link.pings.pop_front();
        }
        link.pings.push_back(SentPing { payload, begin, messages, is_beat });
        if is_beat {
            link.beat_due = false;
            link.beat_end = Some(link.output_end());
        }
    }

    /// Hands what waits to the connection, as far as it has room.
    pub(super) fn flush(&mut self, now: Instant) {
        let State::Linked(link) = &mut self.state else { return };
        if let (AuthState::Unsent, Some(auth)) = (link.auth, &self.config.auth)
            && link.connection.send(now, &auth.message).is_ok()
        {
            link.auth = AuthState::Sent { deadline: after(now, auth.timeout) };
        }
        let is_ready = link.is_ready;
        self.beat(now);
        if !is_ready {
            return self.drain(now);
        }
        let State::Linked(link) = &mut self.state else { return };
        while let Some(message) = self.queue.next_waiting()
            && link.connection.send(now, message).is_ok()
        {
            self.queue.hand_over(link.output_end());
        }
        if self.queue.awaits_confirmation() && link.pings.is_empty() {
            self.ping(now, false);
        }
        self.drain(now);
    }

    /// Closes when that is wanted and all has left.
    pub(super) fn drain(&mut self, now: Instant) {
        if !self.is_over && self.queue.is_empty() && self.closing.as_ref().is_some_and(|closing| !closing.begun) {
            self.events.push_back(ClientEvent::Drained);
            self.begin_close(now);
        }
    }

    /// The time to drain is over.
    pub(super) fn stop_draining(&mut self, now: Instant) {
        if self.closing.as_ref().is_some_and(|closing| !closing.begun) {
            self.queue.stop();
            self.begin_close(now);
        }
    }

    fn begin_close(&mut self, now: Instant) {
        let Some(closing) = &mut self.closing else { return };
        closing.begun = true;
        match &mut self.state {
            // The code and the reason have been checked.
            State::Linked(link) => drop(link.connection.close(now, closing.code, &closing.reason)),
            _ => self.finish(now, End::Closed(None)),
        }
    }
}

impl Link {
    /// Closes, since the credentials do not do.
    fn reject_auth(&mut self, now: Instant, cause: Cause) {
        self.is_ready = false;
        self.cause.get_or_insert(cause);
        let _ = self.connection.close(now, AUTH_FAILED, "authentication failed"); // a code and a reason that may be sent
    }
}

/// How many pings may wait for an answer; older ones are told by a later one's.
const PINGS_MAX: usize = 8;

/// The habitual code for credentials that were refused, or not answered.
const AUTH_FAILED: CloseCode = CloseCode(4001);
