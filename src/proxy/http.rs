//! The exchange with an HTTP proxy. RFC 9110 section 9.3.6.
//!
//! ```text
//! Answer ── 2xx ──▶ tunnel;   ── 1xx ──▶ Answer;   ── another status ──▶ Refusal ──▶ refused
//! ```

use super::{Credentials, PreludeConfig, PreludeError, ProxyError, Target};
use crate::buffer::RecvBuf;
use crate::handshake::{
    BodyEnd, HeadError, HeadScanner, OwnedHeaders, Refusal, RefusalBody, ResponseFault, body_framing,
    check_not_reserved, parse_response, write_field,
};

/// The client's side, once the request is written.
pub(super) struct HttpConnect {
    phase: Phase,
    head_len_max: usize,
    headers_max: usize,
    body_len_max: usize,
}

enum Phase {
    /// Waits for the head of the answer; interim ones had so many bytes.
    Answer { scanner: HeadScanner, interim_len: usize },
    /// Collects the body of a refusal, behind its head of so many bytes.
    Refusal { head_len: usize, body: RefusalBody },
}

impl HttpConnect {
    pub(super) fn new(config: &PreludeConfig) -> Self {
        Self {
            phase: Phase::Answer { scanner: HeadScanner::default(), interim_len: 0 },
            head_len_max: config.head_len_max,
            headers_max: config.headers_max,
            body_len_max: config.refusal_body_len_max,
        }
    }

    /// Reads on; `is_all` says that nothing more will be waited for.
    pub(super) fn step(&mut self, input: &mut RecvBuf, is_all: bool) -> Option<Result<(), ProxyError>> {
        match self.find_answer(input) {
            Ok(true) => Some(Ok(())),
            Ok(false) => self.read_refusal(input.unread(), is_all).map(Err),
            Err(fault) => Some(Err(ProxyError::Response(fault))),
        }
    }

    /// Whether the head that opens the tunnel is there; it is consumed then, and so are interim ones. A refusal's stays.
    fn find_answer(&mut self, input: &mut RecvBuf) -> Result<bool, ResponseFault> {
        while let Phase::Answer { scanner, interim_len } = &mut self.phase {
            let max = self.head_len_max;
            // All heads together share the limit, so that interim answers do not go on for ever.
            let head_len = match scanner.scan(input.unread(), max.saturating_sub(*interim_len)) {
                Ok(None) => return Ok(false),
                Ok(Some(head_len)) => head_len,
                Err(HeadError::TooLong { .. }) => return Err(ResponseFault::HeadTooLong { max }),
                Err(error) => return Err(error.into()),
            };
            let head = input.unread().get(..head_len).unwrap_or_default();
            let head = parse_response(head, self.headers_max)?;
            if head.is_interim() {
                *interim_len = interim_len.saturating_add(head_len);
                *scanner = HeadScanner::default();
                input.consume_unread(head_len);
            } else if matches!(head.status, 200..=299) {
                // RFC 9112 section 6.3: there is no body, whatever the fields say. RFC 9110 section 9.3.6 has them ignored.
                input.consume_unread(head_len);
                return Ok(true);
            } else {
                self.phase = Phase::Refusal { head_len, body: RefusalBody::new(body_framing(&head)) };
            }
        }
        Ok(false)
    }

    fn read_refusal(&mut self, received: &[u8], is_all: bool) -> Option<ProxyError> {
        let Phase::Refusal { head_len, body } = &mut self.phase else {
            return None;
        };
        let (head, raw) = received.split_at_checked(*head_len)?;
        let (body, body_truncated) =
            body.poll(raw, if is_all { BodyEnd::Stream } else { BodyEnd::Open }, self.body_len_max)?;
        let refused = parse_response(head, self.headers_max).map(|head| {
            let refusal = Refusal { status: head.status, headers: head.headers.to_owned(), body, body_truncated };
            ProxyError::Refused(Box::new(refusal))
        });
        Some(refused.unwrap_or_else(ProxyError::Response))
    }
}

/// The request. `Proxy-Authorization` among the fields goes before the credentials.
pub(super) fn encode_connect(
    target: &Target,
    credentials: Option<&Credentials>,
    headers: &OwnedHeaders,
) -> Result<Vec<u8>, PreludeError> {
    for (name, _) in headers.iter() {
        check_connect_field(name)?;
    }
    let authorization = credentials.map(Credentials::basic).transpose()?;
    let target = target.to_string();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\n").into_bytes();
    write_field("Host", target, &mut request);
    if let (Some(authorization), None) = (authorization, headers.get_bytes("Proxy-Authorization")) {
        write_field("Proxy-Authorization", authorization, &mut request);
    }
    for (name, value) in headers.iter() {
        write_field(name, value, &mut request);
    }
    request.extend_from_slice(b"\r\n");
    Ok(request)
}

/// Fails for a field that the request has already, or that would give it a body.
pub(super) fn check_connect_field(name: &str) -> Result<(), PreludeError> {
    Ok(check_not_reserved(name, &RESERVED)?)
}

const RESERVED: [&str; 7] = ["Host", "Connection", "Upgrade", "Content-Length", "Transfer-Encoding", "Trailer", "TE"];

#[cfg(test)]
mod tests;
