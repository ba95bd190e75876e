//! Messages that outlive the buffer they came in.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

/// A whole message, owned. Cloning it shares the payload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// UTF-8.
    Text(ByteString),
    /// Any bytes.
    Binary(Bytes),
}

impl Message {
    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The text; `None` of a binary message, whatever it holds.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(payload) => payload,
        }
    }

    /// The payload of either kind, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(payload) => payload,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<ByteString> for Message {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(payload: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(payload))
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Self::Binary(payload.into())
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::Binary(payload)
    }
}

/// Text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Binary => "binary",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_payload_and_its_kind() {
        for (message, bytes, text, kind) in [
            (Message::from("a€"), "a€".as_bytes(), Some("a€"), "text"),
            (Message::from(vec![0xFF, 0]), &[0xFF, 0][..], None, "binary"),
        ] {
            assert_eq!((message.as_bytes(), message.as_text()), (bytes, text));
            assert_eq!(message.into_bytes(), bytes);
            let of_kind = if text.is_some() { MessageKind::Text } else { MessageKind::Binary };
            assert_eq!(of_kind.to_string(), kind);
        }
    }
}
