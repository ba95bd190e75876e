//! The opening handshake, driven by the functions of [`handshake`](crate::handshake). RFC 6455 section 4.
//!
//! ```text
//! server: Request ── head is whole ──▶ Deciding ── accept() ──▶ Open
//!            │ fault                       │ reject()
//!            └──────▶ Draining ◀───────────┘
//! client: Response ── 101 ──▶ Open;   ── another status ──▶ RefusalBody ──▶ Closed;   ── fault ──▶ Closed
//! ```

use std::time::Instant;

use super::closing::Teardown;
use super::deadlines::after;
use super::receiving::Stream;
use super::{AcceptError, AgreedExtensions, CloseCause, Closed, Connection, Deadline, Event, Side, State};
use crate::buffer::RecvBuf;
use crate::frame::CloseCode;
use crate::handshake::{
    AcceptKey, Acceptance, BodyEnd, ClientRequest, HeadError, HeadScanner, Refusal, RefusalBody, Rejection,
    RequestFault, RequestHead, ResponseFault, ResponseHead, body_framing, check_response, encode_acceptance,
    encode_key, encode_rejection, offered_subprotocols, parse_request, parse_response,
};

/// A handshake under way.
pub(super) struct Opening {
    pub(super) deadline: Option<Instant>,
    /// Whether the deadline has passed, unless what is not decoded yet meets it.
    is_due: bool,
    scanner: HeadScanner,
    phase: Phase,
}

enum Phase {
    /// A server waits for the request.
    Request,
    /// A server's application decides.
    Deciding { accept: AcceptKey, offered: Vec<String>, extensions: AgreedExtensions },
    /// A client waits for the answer.
    Response { expected: AcceptKey, offered: Vec<String>, interim_len: usize },
    /// A client collects the body of a refusal, behind its head of so many bytes, until the deadline at most.
    RefusalBody { head_len: usize, body: RefusalBody },
}

impl Connection {
    /// Accepts the request of the last [`Event::Request`]. The connection is open: messages may be sent at once.
    ///
    /// # Errors
    /// [`AcceptError::NoRequest`] when none waits, [`AcceptError::SubprotocolNotOffered`].
    pub fn accept(&mut self, now: Instant, acceptance: &Acceptance) -> Result<(), AcceptError> {
        if self.receiving.stream == Stream::Failed {
            return Err(AcceptError::NoRequest);
        }
        let State::Opening(opening) = &self.state else {
            return Err(AcceptError::NoRequest);
        };
        let Phase::Deciding { accept, offered, extensions } = &opening.phase else {
            return Err(AcceptError::NoRequest);
        };
        let chosen = acceptance.chosen_subprotocol();
        if let Some(chosen) = chosen
            && !offered.iter().any(|offered| offered == chosen)
        {
            return Err(AcceptError::SubprotocolNotOffered);
        }
        let mut response = Vec::new();
        encode_acceptance(acceptance, accept, extensions.header(), &mut response);
        let extensions = extensions.clone();
        self.subprotocol = chosen.map(Into::into);
        self.agree_on(extensions);
        self.queue_raw(now, &response);
        self.enter_open(now);
        Ok(())
    }

    /// Rejects the request of the last [`Event::Request`]. [`Event::Closed`] follows once the answer is written.
    ///
    /// # Errors
    /// [`AcceptError::NoRequest`] when none waits.
    pub fn reject(&mut self, now: Instant, rejection: &Rejection) -> Result<(), AcceptError> {
        match &self.state {
            State::Opening(opening) if matches!(opening.phase, Phase::Deciding { .. }) => {}
            _ => return Err(AcceptError::NoRequest),
        }
        self.answer_and_drain(now, rejection, CloseCause::Refused(rejection.status()));
        Ok(())
    }

    pub(super) fn open_as_server(&mut self, now: Instant) {
        self.begin_opening(now, Phase::Request);
    }

    pub(super) fn open_as_client(&mut self, request: &ClientRequest, now: Instant) {
        let key = encode_key(self.keystream.take());
        let mut bytes = Vec::new();
        request.encode(&key, self.config.offered_extensions().as_deref(), &mut bytes);
        self.queue_raw(now, &bytes);
        let offered = request.subprotocols().to_vec();
        self.begin_opening(now, Phase::Response { expected: key.accept(), offered, interim_len: 0 });
    }

    fn begin_opening(&mut self, now: Instant, phase: Phase) {
        let deadline = after(now, self.config.handshake_timeout);
        self.state =
            State::Opening(Box::new(Opening { deadline, is_due: false, scanner: HeadScanner::default(), phase }));
    }

    pub(super) fn poll_opening<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<Event<'b>> {
        let event = match &self.state {
            State::Opening(opening) => match &opening.phase {
                Phase::Request => self.poll_request(now, input).map(Event::Request),
                Phase::Deciding { .. } => None,
                Phase::Response { .. } | Phase::RefusalBody { .. } => self.poll_response(now, input),
            },
            _ => None,
        };
        if event.is_some() {
            return event;
        }
        // Only here, so that a refusal whose end is the end of the stream is reported as one.
        match self.receiving.stream {
            Stream::Open => self.give_up_when_due(now),
            Stream::Ended => self.end_opening(Side::Remote, CloseCause::EndOfStream),
            Stream::Failed => self.end_opening(Side::Remote, CloseCause::TransportFailed),
        }
        self.take_report()
    }

    /// The handshake deadline has passed. The next poll sees whether what has arrived meets it.
    pub(super) fn pass_handshake(&mut self) {
        if let State::Opening(opening) = &mut self.state {
            opening.deadline = None;
            opening.is_due = true;
        }
    }

    /// Nothing is left to decode that would meet the deadline, if it has passed. RFC 9110 sections 15.5.9 and 15.6.4.
    fn give_up_when_due(&mut self, now: Instant) {
        let cause = CloseCause::Deadline(Deadline::Handshake);
        let State::Opening(opening) = &self.state else {
            return;
        };
        if !opening.is_due {
            return;
        }
        let status = match opening.phase {
            Phase::Request => 408,
            Phase::Deciding { .. } => 503,
            // A refusal that is still here has its head in another buffer.
            Phase::Response { .. } | Phase::RefusalBody { .. } => return self.cut_short(cause),
        };
        match Rejection::new(status) {
            Ok(rejection) => self.answer_and_drain(now, &rejection, cause),
            Err(_) => self.cut_short(cause),
        }
    }

    /// Reads a request, and answers it when it is faulty.
    fn poll_request<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<RequestHead<'b>> {
        let State::Opening(opening) = &mut self.state else {
            return None;
        };
        let scanned = opening.scanner.scan(input.unread(), self.config.head_len_max);
        let mut unread_len = input.unread().len();
        let read = match scanned {
            Ok(None) => return None,
            Err(error) => Err(error.into()),
            Ok(Some(head_len)) => {
                input.lend_unread(head_len);
                let input = &*input;
                unread_len = input.unread().len();
                self.read_request(input.lent())
            }
        };
        match read {
            Ok(head) => Some(head),
            Err(fault) => {
                self.receiving.unread_len = unread_len;
                let mut response = Vec::new();
                fault.encode_response(&mut response);
                self.queue_raw(now, &response);
                let closed = Closed::local(CloseCode::ABNORMAL, String::new(), CloseCause::Request(fault));
                self.drain(now, closed, Teardown::Shutdown);
                None
            }
        }
    }

    fn read_request<'b>(&mut self, head: &'b [u8]) -> Result<RequestHead<'b>, RequestFault> {
        let head = parse_request(head, self.config.headers_max)?;
        let accept = head.check(&self.config.origin)?.accept;
        let offered = offered_subprotocols(&head.headers)?.into_iter().map(str::to_owned).collect();
        if let State::Opening(opening) = &mut self.state {
            let extensions = self.config.choose_extensions(&head.headers);
            opening.phase = Phase::Deciding { accept, offered, extensions };
        }
        Ok(head)
    }

    fn poll_response<'b>(&mut self, now: Instant, input: &'b mut RecvBuf) -> Option<Event<'b>> {
        let head = match self.find_response(input) {
            Ok(None) => return self.poll_refusal(input),
            Ok(Some(head_len)) => {
                input.lend_unread(head_len);
                let input = &*input;
                self.read_response(now, input.lent())
            }
            Err(fault) => Err(fault),
        };
        match head {
            Ok(head) => Some(Event::Open(head)),
            Err(fault) => {
                self.end_opening(Side::Local, CloseCause::Response(fault));
                None
            }
        }
    }

    /// Finds the head of the final answer, passing over interim ones; a refusal's stays where it is.
    fn find_response(&mut self, input: &mut RecvBuf) -> Result<Option<usize>, ResponseFault> {
        let State::Opening(opening) = &mut self.state else {
            return Ok(None);
        };
        while let Phase::Response { interim_len, .. } = &mut opening.phase {
            let max = self.config.head_len_max;
            // All heads together share the limit, so that interim answers do not go on for ever.
            let head_len = match opening.scanner.scan(input.unread(), max.saturating_sub(*interim_len)) {
                Ok(None) => return Ok(None),
                Ok(Some(head_len)) => head_len,
                Err(HeadError::TooLong { .. }) => return Err(ResponseFault::HeadTooLong { max }),
                Err(error) => return Err(error.into()),
            };
            let head = input.unread().get(..head_len).unwrap_or_default();
            let head = parse_response(head, self.config.headers_max)?;
            if head.is_interim() {
                *interim_len = interim_len.saturating_add(head_len);
                opening.scanner = HeadScanner::default();
                input.skip(head_len);
            } else if head.status == 101 {
                return Ok(Some(head_len));
            } else {
                opening.phase = Phase::RefusalBody { head_len, body: RefusalBody::new(body_framing(&head)) };
            }
        }
        Ok(None)
    }

    fn read_response<'b>(&mut self, now: Instant, head: &'b [u8]) -> Result<ResponseHead<'b>, ResponseFault> {
        let head = parse_response(head, self.config.headers_max)?;
        if let State::Opening(opening) = &self.state
            && let Phase::Response { expected, offered, .. } = &opening.phase
        {
            let offered_extensions = self.config.offered_extensions();
            let accepted = check_response(&head, expected, offered, offered_extensions.as_deref())?;
            let extensions = self.config.check_extensions(&accepted)?;
            self.subprotocol = accepted.subprotocol.map(Into::into);
            self.agree_on(extensions);
            self.enter_open(now);
        }
        Ok(head)
    }

    /// Reports a refusal as soon as its body is there, or as much of it as is kept, or as will ever come.
    fn poll_refusal(&mut self, input: &mut RecvBuf) -> Option<Event<'static>> {
        let State::Opening(opening) = &mut self.state else {
            return None;
        };
        let is_due = opening.is_due;
        let Phase::RefusalBody { head_len, body } = &mut opening.phase else {
            return None;
        };
        let (head, rest) = input.unread().split_at_checked(*head_len)?;
        let end = match self.receiving.stream {
            // What there is of the body has to do.
            Stream::Open if is_due => BodyEnd::Cut,
            Stream::Open => BodyEnd::Open,
            Stream::Ended => BodyEnd::Stream,
            Stream::Failed => BodyEnd::Cut,
        };
        let (body, body_truncated) = body.poll(rest, end, self.config.refusal_body_len_max)?;
        let refusal = parse_response(head, self.config.headers_max).map(|head| Refusal {
            status: head.status,
            headers: head.headers.to_owned(),
            body,
            body_truncated,
        });
        let refusal = refusal.ok()?;
        input.skip(input.unread().len());
        self.end_opening(Side::Remote, CloseCause::Refused(refusal.status));
        Some(Event::Refused(Box::new(refusal)))
    }

    /// The application closes before the connection is open.
    pub(super) fn close_opening(&mut self, now: Instant) {
        match (&self.state, Rejection::new(503)) {
            (State::Opening(opening), Ok(rejection)) if matches!(opening.phase, Phase::Deciding { .. }) => {
                self.answer_and_drain(now, &rejection, CloseCause::Refused(rejection.status()));
            }
            _ => self.abort(),
        }
    }

    fn answer_and_drain(&mut self, now: Instant, rejection: &Rejection, cause: CloseCause) {
        let mut response = Vec::new();
        encode_rejection(rejection, &mut response);
        self.queue_raw(now, &response);
        self.drain(now, Closed::local(CloseCode::ABNORMAL, String::new(), cause), Teardown::Shutdown);
    }

    fn end_opening(&mut self, by: Side, cause: CloseCause) {
        if matches!(self.state, State::Opening(_)) {
            self.finish(Closed { by, ..Closed::local(CloseCode::ABNORMAL, String::new(), cause) });
        }
    }
}

impl Opening {
    /// While the application decides, nothing that arrives is of use, and nothing bounds it.
    pub(super) fn wants_read(&self) -> bool {
        !matches!(self.phase, Phase::Deciding { .. })
    }
}

/// A [`Phase`] by its name.
#[cfg(test)]
pub(super) enum PhaseName {
    Request,
    Deciding,
    Response,
    RefusalBody,
}

#[cfg(test)]
impl Opening {
    pub(super) fn phase_name(&self) -> PhaseName {
        match self.phase {
            Phase::Request => PhaseName::Request,
            Phase::Deciding { .. } => PhaseName::Deciding,
            Phase::Response { .. } => PhaseName::Response,
            Phase::RefusalBody { .. } => PhaseName::RefusalBody,
        }
    }

    /// What a client has to be answered.
    pub(super) fn expected(&self) -> Option<&AcceptKey> {
        match &self.phase {
            Phase::Response { expected, .. } => Some(expected),
            _ => None,
        }
    }
}
