//! Events that outlive the buffer that lent them.

use sansocket::{Closed, Event};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Request,
    Open,
    /// The status and the body.
    Refused(u16, Vec<u8>),
    Text(String),
    Binary(Vec<u8>),
    TextPiece(String, bool),
    BinaryPiece(Vec<u8>, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    CloseReceived(u16, String),
    Closed(Closed),
    #[cfg(feature = "deflate")]
    Inflating,
}

impl From<&Event<'_>> for Seen {
    fn from(event: &Event<'_>) -> Self {
        match event {
            Event::Request(_) => Self::Request,
            Event::Open(_) => Self::Open,
            Event::Refused(refusal) => Self::Refused(refusal.status, refusal.body.to_vec()),
            Event::Text(text) => Self::Text((*text).to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::TextPiece { text, last } => {
                assert!(*last || !text.is_empty(), "an empty piece before the last");
                Self::TextPiece((*text).to_owned(), *last)
            }
            Event::BinaryPiece { bytes, last } => {
                assert!(*last || !bytes.is_empty(), "an empty piece before the last");
                Self::BinaryPiece(bytes.to_vec(), *last)
            }
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong { payload, .. } => Self::Pong(payload.to_vec()),
            Event::CloseReceived { code, reason } => Self::CloseReceived(code.0, (*reason).to_owned()),
            Event::Closed(closed) => Self::Closed(closed.clone()),
            #[cfg(feature = "deflate")]
            Event::Inflating => Self::Inflating,
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

/// The same events with pieces put together; a message whose last piece never came is left out.
pub(crate) fn whole(seen: Vec<Seen>) -> Vec<Seen> {
    let mut wholes = Vec::new();
    let (mut text, mut binary) = (String::new(), Vec::new());
    for event in seen {
        match event {
            Seen::TextPiece(piece, last) => {
                text += &piece;
                if last {
                    wholes.push(Seen::Text(std::mem::take(&mut text)));
                }
            }
            Seen::BinaryPiece(piece, last) => {
                binary.extend(piece);
                if last {
                    wholes.push(Seen::Binary(std::mem::take(&mut binary)));
                }
            }
            other => wholes.push(other),
        }
    }
    wholes
}
