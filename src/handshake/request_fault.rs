//! What can be wrong with a request, and the answer to each fault.

use thiserror::Error;

use super::answer::{push_number, write_status_line};
use super::headers::write_field;
use super::scanner::HeadError;

/// What the server's side found wrong with a request; each knows its answer.
///
/// `Display` is what the answer's body tells the client, for one who debugs it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// No HTTP request at all, or one that parsers may read in different ways (RFC 9112).
    #[error("not a well-formed HTTP/1.1 request")]
    Malformed,
    /// The head did not end within the limit. 431.
    #[error("request head longer than {max} bytes; send fewer or shorter header fields")]
    HeadTooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// More lines than the limit. 431.
    #[error("more than {max} header fields; send fewer")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// The method is not `GET` (RFC 6455 section 4.2.1, item 1). 405.
    #[error("a WebSocket handshake is a GET request")]
    MethodNotGet,
    /// Not HTTP/1.1 (RFC 6455 section 4.2.1, item 1). 505.
    #[error("a WebSocket handshake needs HTTP/1.1; a proxy on the way may have to be told so")]
    HttpVersion,
    /// The target is neither a path nor an absolute `http` URL, or has a fragment (RFC 9112 section 3.2).
    #[error("the request target must begin with a slash, or be an http URL, and have no fragment")]
    TargetMalformed,
    /// The target names another host than the `Host` field (RFC 9112 section 3.2.2).
    #[error("the request target and Host name different hosts")]
    TargetHostMismatch,
    /// A `Content-Length` other than one `0`, or a `Transfer-Encoding`: bytes of a body would be read as frames.
    #[error("a WebSocket handshake has no body: send neither Content-Length nor Transfer-Encoding")]
    BodyNotAllowed,
    /// No `Host` (RFC 6455 section 4.2.1, item 2).
    #[error("Host is missing")]
    HostMissing,
    /// More than one `Host` (RFC 9112 section 3.2).
    #[error("Host occurs more than once")]
    HostRepeated,
    /// `Host` is not a host with an optional port (RFC 9110 section 7.2).
    #[error("Host must be a host name or an IP address, with an optional port")]
    HostMalformed,
    /// No `Upgrade`, or none to `websocket` (RFC 6455 section 4.2.1, item 3): a plain HTTP request. 426.
    #[error("this is a WebSocket endpoint: connect with a WebSocket client (Upgrade: websocket is missing)")]
    UpgradeMissing,
    /// No `Connection: Upgrade` (RFC 6455 section 4.2.1, item 4).
    #[error("Connection: Upgrade is missing; a proxy on the way may have to be told to pass it on")]
    ConnectionMissing,
    /// No `Sec-WebSocket-Version` (RFC 6455 section 4.2.1, item 6). 426.
    #[error("Sec-WebSocket-Version is missing; it must be 13")]
    VersionMissing,
    /// A `Sec-WebSocket-Version` other than 13 (RFC 6455 section 4.4). 426.
    #[error("Sec-WebSocket-Version must be 13")]
    VersionUnsupported,
    /// No `Sec-WebSocket-Key` (RFC 6455 section 4.2.1, item 5).
    #[error("Sec-WebSocket-Key is missing")]
    KeyMissing,
    /// More than one `Sec-WebSocket-Key` (RFC 6455 section 11.3.1).
    #[error("Sec-WebSocket-Key occurs more than once")]
    KeyRepeated,
    /// `Sec-WebSocket-Key` is not the Base64 of 16 bytes (RFC 6455 section 4.2.1, item 5).
    #[error("Sec-WebSocket-Key must be 16 bytes in Base64")]
    KeyMalformed,
    /// `Sec-WebSocket-Protocol` is no list of tokens (RFC 6455 section 11.3.4).
    #[error("Sec-WebSocket-Protocol must be a comma-separated list of tokens")]
    SubprotocolMalformed,
    /// A subprotocol is offered twice (RFC 6455 section 4.1, item 10).
    #[error("Sec-WebSocket-Protocol names a subprotocol more than once")]
    SubprotocolRepeated,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 section 9.1).
    #[error("Sec-WebSocket-Extensions is malformed")]
    ExtensionMalformed,
    /// The page that opened the connection is of an origin that may not (RFC 6455 section 10.2). 403.
    #[error("the Origin of this request is not allowed to connect here")]
    OriginForbidden,
}

impl RequestFault {
    /// The status of the answer: 400, 403, 405, 426, 431 or 505.
    pub fn status(self) -> u16 {
        match self {
            Self::OriginForbidden => 403,
            Self::MethodNotGet => 405,
            Self::UpgradeMissing | Self::VersionMissing | Self::VersionUnsupported => 426,
            Self::HeadTooLong { .. } | Self::TooManyHeaders { .. } => 431,
            Self::HttpVersion => 505,
            Self::Malformed
            | Self::TargetMalformed
            | Self::TargetHostMismatch
            | Self::BodyNotAllowed
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostMalformed
            | Self::ConnectionMissing
            | Self::KeyMissing
            | Self::KeyRepeated
            | Self::KeyMalformed
            | Self::SubprotocolMalformed
            | Self::SubprotocolRepeated
            | Self::ExtensionMalformed => 400,
        }
    }

    /// The header fields that this answer needs beside those of every refusal.
    ///
    /// For an HTTP server that writes its own answers. 405 says which method it is (RFC 9110 section
    /// 15.5.6); 426 says to which protocol and in which version (RFC 9110 section 15.5.22, RFC 6455
    /// section 4.4).
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self.status() {
            405 => &[("Allow", "GET")],
            426 => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        }
    }

    /// Appends the whole answer: status line, header fields, and a line of text that says what is wrong.
    ///
    /// It ends the connection (`Connection: close`): the bytes that follow such a request cannot be
    /// trusted to be another. The answer to a method other than `GET` has no text, since that method
    /// may be `HEAD`.
    pub fn encode_response(self, out: &mut Vec<u8>) {
        let body = if self == Self::MethodNotGet { String::new() } else { format!("{self}\n") };
        let status = self.status();
        write_status_line(status, out);
        // RFC 9110 section 7.8: who sends Upgrade lists it in Connection.
        write_field("Connection", if status == 426 { "Upgrade, close" } else { "close" }, out);
        for (name, value) in self.headers() {
            write_field(name, value, out);
        }
        if !body.is_empty() {
            write_field("Content-Type", "text/plain; charset=utf-8", out);
        }
        out.extend_from_slice(b"Content-Length: ");
        push_number(body.len(), out);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body.as_bytes());
    }
}

impl From<HeadError> for RequestFault {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::TooLong { max } => Self::HeadTooLong { max },
            HeadError::BareCr | HeadError::BareLf | HeadError::Nul => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BodyFraming, HeadScanner, body_framing, parse_response};
    use super::*;

    const ALL: [RequestFault; 22] = [
        RequestFault::Malformed,
        RequestFault::HeadTooLong { max: 16384 },
        RequestFault::TooManyHeaders { max: 100 },
        RequestFault::MethodNotGet,
        RequestFault::HttpVersion,
        RequestFault::TargetMalformed,
        RequestFault::TargetHostMismatch,
        RequestFault::BodyNotAllowed,
        RequestFault::HostMissing,
        RequestFault::HostRepeated,
        RequestFault::HostMalformed,
        RequestFault::UpgradeMissing,
        RequestFault::ConnectionMissing,
        RequestFault::VersionMissing,
        RequestFault::VersionUnsupported,
        RequestFault::KeyMissing,
        RequestFault::KeyRepeated,
        RequestFault::KeyMalformed,
        RequestFault::SubprotocolMalformed,
        RequestFault::SubprotocolRepeated,
        RequestFault::ExtensionMalformed,
        RequestFault::OriginForbidden,
    ];

    #[test]
    fn every_answer_is_one_well_formed_response_that_closes() {
        for fault in ALL {
            let mut wire = Vec::new();
            fault.encode_response(&mut wire);
            let head_len = HeadScanner::default().scan(&wire, wire.len() + 1).unwrap().unwrap();
            let (head, body) = wire.split_at(head_len);
            let head = parse_response(head, 10).unwrap();
            assert_eq!(head.status, fault.status());
            assert!(!head.reason.is_empty(), "{fault:?}");
            assert!(head.headers.get("Connection").unwrap().ends_with("close"), "{fault:?}");
            assert_eq!(body_framing(&head), BodyFraming::Length(body.len() as u64), "{fault:?}");
            if fault != RequestFault::MethodNotGet {
                assert_eq!(body, format!("{fault}\n").as_bytes());
            }
        }
    }

    #[test]
    fn each_fault_has_the_status_that_the_rfcs_give_it() {
        for fault in ALL {
            let expected = match fault {
                RequestFault::OriginForbidden => 403, // RFC 6455 4.2.2
                RequestFault::MethodNotGet => 405,    // RFC 9110 15.5.6
                RequestFault::UpgradeMissing => 426,  // RFC 9110 15.5.22
                RequestFault::VersionMissing | RequestFault::VersionUnsupported => 426, // RFC 6455 4.4
                RequestFault::HeadTooLong { .. } | RequestFault::TooManyHeaders { .. } => 431, // RFC 6585 5
                RequestFault::HttpVersion => 505,     // RFC 9110 15.6.6
                _ => 400,
            };
            assert_eq!(fault.status(), expected, "{fault:?}");
        }
    }

    #[test]
    fn an_answer_of_426_names_the_protocol_and_its_version() {
        let mut wire = Vec::new();
        RequestFault::VersionUnsupported.encode_response(&mut wire);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 33\r\n\r\n\
             Sec-WebSocket-Version must be 13\n"
        );
    }

    #[test]
    fn an_answer_of_405_allows_get_and_has_no_body() {
        let mut wire = Vec::new();
        RequestFault::MethodNotGet.encode_response(&mut wire);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
