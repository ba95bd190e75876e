//! The negotiation of a subprotocol (RFC 6455 sections 1.9 and 11.3.4).

use std::collections::BTreeSet;

use thiserror::Error;

use super::headers::HeaderMap;
use super::request_fault::RequestFault;
use super::token::{elements, is_token};

/// The subprotocols that a request offers, in the client's order of preference.
///
/// Names are compared byte by byte, case included.
///
/// # Errors
///
/// [`RequestFault::SubprotocolMalformed`] when the field is there, but is no list of tokens;
/// [`RequestFault::SubprotocolRepeated`] when a name occurs twice. RFC 6455 section 4.1, item 10.
pub fn offered_subprotocols(headers: &(impl HeaderMap + ?Sized)) -> Result<Vec<&str>, RequestFault> {
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    for line in headers.values("Sec-WebSocket-Protocol") {
        let before = names.len();
        for name in elements(line) {
            if !is_token(name) {
                return Err(RequestFault::SubprotocolMalformed);
            }
            if !seen.insert(name) {
                return Err(RequestFault::SubprotocolRepeated);
            }
            names.push(std::str::from_utf8(name).map_err(|_| RequestFault::SubprotocolMalformed)?);
        }
        if names.len() == before {
            return Err(RequestFault::SubprotocolMalformed);
        }
    }
    Ok(names)
}

/// The first of `supported` that the request offers: the server's order of preference decides.
///
/// `None` when there is none in common. The server may then go on without a subprotocol, and the
/// client decides whether it can.
///
/// # Errors
///
/// As [`offered_subprotocols`].
pub fn choose_subprotocol<'s>(
    headers: &(impl HeaderMap + ?Sized),
    supported: &'s [impl AsRef<str>],
) -> Result<Option<&'s str>, RequestFault> {
    let offered: BTreeSet<&str> = offered_subprotocols(headers)?.into_iter().collect();
    Ok(supported.iter().map(AsRef::as_ref).find(|name| offered.contains(name)))
}

/// Whether a request offers the subprotocol `name`: a server may answer with no other.
///
/// `false` when the offer is malformed. RFC 6455 section 4.2.2, step 5.5.
pub fn is_subprotocol_offered(headers: &(impl HeaderMap + ?Sized), name: &str) -> bool {
    offered_subprotocols(headers).is_ok_and(|offered| offered.contains(&name))
}

/// Why the application's subprotocol cannot be sent.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SubprotocolError {
    /// The name is no token (RFC 6455 section 4.1, item 10).
    #[error("a subprotocol must be a token: visible ASCII without separators")]
    NotAToken,
    /// A client offers the name twice (RFC 6455 section 4.1, item 10).
    #[error("a subprotocol is offered twice")]
    Repeated,
    /// A server accepts what the client did not offer (RFC 6455 section 4.2.2, step 5.5).
    #[error("the subprotocol to accept is not one that the client offered")]
    NotOffered,
}

/// Fails unless `name` is a token.
pub(super) fn check_subprotocol(name: &str) -> Result<(), SubprotocolError> {
    if is_token(name.as_bytes()) { Ok(()) } else { Err(SubprotocolError::NotAToken) }
}

#[cfg(test)]
mod tests {
    use super::super::linear::assert_linear;
    use super::*;

    fn lines<'a>(values: &[&'a str]) -> Vec<(&'static str, &'a str)> {
        values.iter().map(|value| ("sec-websocket-protocol", *value)).collect()
    }

    #[test]
    fn an_offer_is_a_list_of_distinct_tokens() {
        use RequestFault::{SubprotocolMalformed as Malformed, SubprotocolRepeated as Repeated};
        // RFC 6455 sections 4.1 item 10 and 11.3.4.
        type Names = &'static [&'static str];
        let table: &[(Names, Result<Names, RequestFault>)] = &[
            (&[], Ok(&[])),
            (&["chat"], Ok(&["chat"])),
            (&["chat, superchat"], Ok(&["chat", "superchat"])),
            (&["chat", "superchat,other"], Ok(&["chat", "superchat", "other"])),
            (&[" ,chat,, other, "], Ok(&["chat", "other"])), // RFC 9110 section 5.6.1.2
            (&["chat, Chat"], Ok(&["chat", "Chat"])),        // two names
            (&["v1.chat!#$%&'*+-.^_`|~"], Ok(&["v1.chat!#$%&'*+-.^_`|~"])),
            (&[""], Err(Malformed)),
            (&[","], Err(Malformed)),
            (&["chat", ""], Err(Malformed)),
            (&["chat room"], Err(Malformed)),
            (&["chat;q=1"], Err(Malformed)),
            (&["\"chat\""], Err(Malformed)),
            (&["chat/1"], Err(Malformed)),
            (&["ch\u{e9}t"], Err(Malformed)),
            (&["chat, chat"], Err(Repeated)),
            (&["chat", "other, chat"], Err(Repeated)),
        ];
        for (values, expected) in table {
            let headers = lines(values);
            assert_eq!(offered_subprotocols(&headers).as_deref(), expected.as_ref().copied(), "{values:?}");
        }
    }

    #[test]
    fn the_server_prefers_by_its_own_order() {
        let headers = lines(&["a, b, c"]);
        assert_eq!(choose_subprotocol(&headers, &["c", "a"]), Ok(Some("c")));
        assert_eq!(choose_subprotocol(&headers, &["x", "b"]), Ok(Some("b")));
        assert_eq!(choose_subprotocol(&headers, &["x", "A"]), Ok(None));
        assert_eq!(choose_subprotocol(&headers, &[""; 0]), Ok(None));
        assert_eq!(choose_subprotocol(&lines(&[]), &["a"]), Ok(None));
        assert_eq!(choose_subprotocol(&lines(&["a, a"]), &["a"]), Err(RequestFault::SubprotocolRepeated));
    }

    #[test]
    fn what_was_not_offered_is_known() {
        let headers = lines(&["a, b"]);
        assert!(is_subprotocol_offered(&headers, "b"));
        for name in ["c", "B", "", "a, b"] {
            assert!(!is_subprotocol_offered(&headers, name), "{name}");
        }
    }

    #[test]
    fn many_offers_cost_no_more_than_their_length() {
        let offer = |n: usize| {
            let names: Vec<String> = (0..n).map(|number| format!("p{number}")).collect();
            [("Sec-WebSocket-Protocol", names.join(","))]
        };
        assert_linear("all offered", offer, |headers, n| {
            assert_eq!(offered_subprotocols(headers).map(|names| names.len()), Ok(n));
        });
        assert_linear("the chosen one", offer, |headers, _| {
            assert_eq!(choose_subprotocol(headers, &["none", "p1"]), Ok(Some("p1")));
        });
        let blanks = |n| [("Sec-WebSocket-Protocol", format!("a{}b", " ,\t".repeat(n)))];
        assert_linear("blanks and commas", blanks, |headers, _| {
            assert_eq!(offered_subprotocols(headers), Ok(vec!["a", "b"]));
        });
        let twice = |n| [("Sec-WebSocket-Protocol", format!("a,{},a", "b".repeat(n)))];
        assert_linear("one long name", twice, |headers, _| {
            assert_eq!(offered_subprotocols(headers), Err(RequestFault::SubprotocolRepeated));
        });
    }
}
