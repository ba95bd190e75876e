//! The client's check of the server's answer (RFC 6455 section 4.1).

use thiserror::Error;

use super::accept_key::AcceptKey;
use super::extension::{Extension, Extensions, parse_extensions};
use super::head::{HttpVersion, ResponseHead};
use super::headers::{HeaderMap, Single};
use super::scanner::HeadError;
use super::token::has_token;

/// What a server agreed to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Accepted<'h> {
    /// The subprotocol that it chose among those offered.
    pub subprotocol: Option<&'h str>,
    /// The extensions that it chose, each of a name that was offered. Whether their parameters answer
    /// the offer, and whether they go together, is for the extensions to say.
    pub extensions: Vec<Extension<'h>>,
}

/// Checks that an answer opens the WebSocket that was asked for.
///
/// `expected` is [`ClientKey::accept`](super::ClientKey::accept) of the key that was sent;
/// `subprotocols` and `extensions` are what was offered. RFC 6455 section 4.1, "Once the client's
/// opening handshake has been sent".
///
/// # Errors
///
/// [`ResponseFault::Status`] first, since the rest of an answer other than 101 is a
/// [`Refusal`](super::Refusal) to be shown; then the first fault in the order of the RFC.
pub fn check_response<'h>(
    head: &'h ResponseHead<'_>,
    expected: &AcceptKey,
    subprotocols: &[impl AsRef<str>],
    extensions: Option<&str>,
) -> Result<Accepted<'h>, ResponseFault> {
    if head.status != 101 {
        return Err(ResponseFault::Status { status: head.status });
    }
    if head.version != HttpVersion::Http11 {
        return Err(ResponseFault::HttpVersion);
    }
    match Single::of(head.headers.values("Upgrade")) {
        Single::Once(protocol) if protocol.eq_ignore_ascii_case(b"websocket") => {}
        _ => return Err(ResponseFault::UpgradeMissing),
    }
    if !has_token(head.headers.values("Connection"), "upgrade") {
        return Err(ResponseFault::ConnectionMissing);
    }
    match Single::of(head.headers.values("Sec-WebSocket-Accept")) {
        Single::Missing => return Err(ResponseFault::AcceptMissing),
        Single::Repeated => return Err(ResponseFault::AcceptRepeated),
        Single::Once(accept) if accept == expected.as_bytes() => {}
        Single::Once(_) => return Err(ResponseFault::AcceptMismatch),
    }
    Ok(Accepted {
        extensions: accepted_extensions(&head.headers, extensions)?,
        subprotocol: accepted_subprotocol(&head.headers, subprotocols)?,
    })
}

/// What the client's side found wrong with an answer.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ResponseFault {
    /// No HTTP answer at all, or one that parsers may read in different ways (RFC 9112).
    #[error("the answer is not a well-formed HTTP/1.1 response")]
    Malformed,
    /// The head did not end within the limit.
    #[error("response head longer than {max} bytes")]
    HeadTooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// More lines than the limit.
    #[error("more than {max} header fields in the response")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// Not HTTP/1.1.
    #[error("the answer is not in HTTP/1.1")]
    HttpVersion,
    /// The server did not switch protocols (item 1), or did not answer a `CONNECT` with 2xx: it refuses, redirects or asks for
    /// authentication.
    #[error("the server answered with status {status}, which opens no WebSocket")]
    Status {
        /// The status.
        status: u16,
    },
    /// `Upgrade` is missing, repeated or not `websocket` (item 2).
    #[error("the answer has no Upgrade: websocket")]
    UpgradeMissing,
    /// `Connection` does not list `Upgrade` (item 3).
    #[error("the answer has no Connection: Upgrade")]
    ConnectionMissing,
    /// No `Sec-WebSocket-Accept` (item 4).
    #[error("the answer has no Sec-WebSocket-Accept")]
    AcceptMissing,
    /// More than one `Sec-WebSocket-Accept` (RFC 6455 section 11.3.3).
    #[error("Sec-WebSocket-Accept occurs more than once")]
    AcceptRepeated,
    /// The answer is not to this request (item 4): a cache, or a server that does not speak WebSocket.
    #[error("Sec-WebSocket-Accept does not answer the key of this request")]
    AcceptMismatch,
    /// An extension that was not offered (item 5).
    #[error("the server chose an extension that was not offered")]
    ExtensionNotOffered,
    /// Parameters of an extension that do not answer the offer, or that the extension does not have (RFC 7692 section 7.1).
    #[error("the server chose parameters for an extension that do not fit the offer")]
    ExtensionParams,
    /// `Sec-WebSocket-Extensions` does not follow its grammar (RFC 6455 section 9.1).
    #[error("Sec-WebSocket-Extensions of the answer is malformed")]
    ExtensionMalformed,
    /// A subprotocol that was not offered (item 6).
    #[error("the server chose a subprotocol that was not offered")]
    SubprotocolNotOffered,
    /// More than one subprotocol (RFC 6455 section 11.3.4).
    #[error("the server chose more than one subprotocol")]
    SubprotocolRepeated,
}

impl From<HeadError> for ResponseFault {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::TooLong { max } => Self::HeadTooLong { max },
            HeadError::BareCr | HeadError::BareLf | HeadError::Nul => Self::Malformed,
        }
    }
}

pub(super) fn accepted_extensions<'h>(
    headers: &'h (impl HeaderMap + ?Sized),
    offered: Option<&str>,
) -> Result<Vec<Extension<'h>>, ResponseFault> {
    let accepted =
        parse_extensions(headers.values("Sec-WebSocket-Extensions")).map_err(|_| ResponseFault::ExtensionMalformed)?;
    let is_offered = |extension: &Extension<'_>| {
        let mut offers = Extensions::new(offered.map(str::as_bytes)).flatten();
        offers.any(|offer| offer.name() == extension.name())
    };
    if accepted.iter().all(is_offered) { Ok(accepted) } else { Err(ResponseFault::ExtensionNotOffered) }
}

pub(super) fn accepted_subprotocol<'h>(
    headers: &'h (impl HeaderMap + ?Sized),
    offered: &[impl AsRef<str>],
) -> Result<Option<&'h str>, ResponseFault> {
    match Single::of(headers.values("Sec-WebSocket-Protocol")) {
        Single::Missing => Ok(None),
        Single::Repeated => Err(ResponseFault::SubprotocolRepeated),
        Single::Once(chosen) if chosen.contains(&b',') => Err(ResponseFault::SubprotocolRepeated),
        Single::Once(chosen) => match std::str::from_utf8(chosen) {
            Ok(chosen) if offered.iter().any(|name| name.as_ref() == chosen) => Ok(Some(chosen)),
            _ => Err(ResponseFault::SubprotocolNotOffered),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{accept_key, parse_response};
    use super::*;

    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    /// Checks the answer of RFC 6455 section 1.2 with the lines of `name` replaced by `values`.
    fn check(name: &str, values: &[&str]) -> Result<(Option<String>, Vec<String>), ResponseFault> {
        let lines = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)];
        let mut text = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        for (field, value) in lines.into_iter().filter(|(field, _)| *field != name) {
            text += &format!("{field}: {value}\r\n");
        }
        for value in values {
            text += &format!("{name}: {value}\r\n");
        }
        check_text(&(text + "\r\n"))
    }

    fn check_text(text: &str) -> Result<(Option<String>, Vec<String>), ResponseFault> {
        let head = parse_response(text.as_bytes(), 20)?;
        let expected = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        let accepted = check_response(&head, &expected, &["chat", "superchat"], Some("x; y=1, z"))?;
        let extensions = accepted.extensions.iter().map(|extension| extension.name().to_owned());
        Ok((accepted.subprotocol.map(str::to_owned), extensions.collect()))
    }

    #[test]
    fn each_field_is_held_to_its_rule() {
        use ResponseFault::*;
        let plain = || Ok((None, vec![]));
        let chose = |name: &str| Ok((Some(name.to_owned()), vec![]));
        let extended = |names: &[&str]| Ok((None, names.iter().map(|name| (*name).to_owned()).collect()));
        // RFC 6455 section 4.1, the items after "Once the client's opening handshake has been sent".
        let table: &[(&str, &[&str], Result<_, ResponseFault>)] = &[
            ("Server", &["x"], plain()),
            // Item 2.
            ("Upgrade", &[], Err(UpgradeMissing)),
            ("Upgrade", &["WebSocket"], plain()),
            ("Upgrade", &["h2c"], Err(UpgradeMissing)),
            ("Upgrade", &["websocket, h2c"], Err(UpgradeMissing)),
            ("Upgrade", &["websocket", "websocket"], Err(UpgradeMissing)),
            // Item 3.
            ("Connection", &[], Err(ConnectionMissing)),
            ("Connection", &["keep-alive, upgrade"], plain()),
            ("Connection", &["notupgradeatall"], Err(ConnectionMissing)),
            ("Connection", &["close"], Err(ConnectionMissing)),
            // Item 4 and section 11.3.3.
            ("Sec-WebSocket-Accept", &[], Err(AcceptMissing)),
            ("Sec-WebSocket-Accept", &[ACCEPT, ACCEPT], Err(AcceptRepeated)),
            ("Sec-WebSocket-Accept", &["S3PPLMBITXAQ9KYGZZHZRBK+XOO="], Err(AcceptMismatch)),
            ("Sec-WebSocket-Accept", &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo"], Err(AcceptMismatch)),
            ("Sec-WebSocket-Accept", &["dGhlIHNhbXBsZSBub25jZQ=="], Err(AcceptMismatch)),
            ("Sec-WebSocket-Accept", &[""], Err(AcceptMismatch)),
            // Item 5 and section 9.1.
            ("Sec-WebSocket-Extensions", &["x"], extended(&["x"])),
            ("Sec-WebSocket-Extensions", &["z; a=\"b\"", "x"], extended(&["z", "x"])),
            ("Sec-WebSocket-Extensions", &["w"], Err(ExtensionNotOffered)),
            ("Sec-WebSocket-Extensions", &["x, w"], Err(ExtensionNotOffered)),
            ("Sec-WebSocket-Extensions", &["y"], Err(ExtensionNotOffered)),
            ("Sec-WebSocket-Extensions", &["x;"], Err(ExtensionMalformed)),
            ("Sec-WebSocket-Extensions", &[""], Err(ExtensionMalformed)),
            // Item 6 and section 11.3.4.
            ("Sec-WebSocket-Protocol", &["chat"], chose("chat")),
            ("Sec-WebSocket-Protocol", &[" superchat "], chose("superchat")),
            ("Sec-WebSocket-Protocol", &["Chat"], Err(SubprotocolNotOffered)),
            ("Sec-WebSocket-Protocol", &["other"], Err(SubprotocolNotOffered)),
            ("Sec-WebSocket-Protocol", &[""], Err(SubprotocolNotOffered)),
            ("Sec-WebSocket-Protocol", &["chat, superchat"], Err(SubprotocolRepeated)),
            ("Sec-WebSocket-Protocol", &["chat", "chat"], Err(SubprotocolRepeated)),
        ];
        for (name, values, expected) in table {
            assert_eq!(&check(name, values), expected, "{name}: {values:?}");
        }
    }

    #[test]
    fn nothing_may_be_chosen_where_nothing_was_offered() {
        let text = format!(
            "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\
             Sec-WebSocket-Extensions: x\r\n\r\n"
        );
        let head = parse_response(text.as_bytes(), 20).unwrap();
        let expected = accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        let none: [&str; 0] = [];
        assert_eq!(check_response(&head, &expected, &none, None), Err(ResponseFault::ExtensionNotOffered));
    }

    #[test]
    fn an_answer_other_than_101_in_http_1_1_does_not_open() {
        // Item 1.
        for status in [100, 200, 301, 400, 401, 403, 426, 503] {
            let fault = check_text(&format!("HTTP/1.1 {status} x\r\n\r\n"));
            assert_eq!(fault, Err(ResponseFault::Status { status }));
        }
        assert_eq!(check_text("HTTP/1.0 101 x\r\n\r\n"), Err(ResponseFault::HttpVersion));
        assert_eq!(ResponseFault::from(HeadError::TooLong { max: 9 }), ResponseFault::HeadTooLong { max: 9 });
    }
}
