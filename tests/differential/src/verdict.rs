//! What an implementation makes of some bytes, in terms that all of them share.

use serde_json::{Value, json};

/// The role of the implementation that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub messages: Vec<Message>,
    pub end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub is_text: bool,
    pub payload: Vec<u8>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, with this code if any.
    Closed(Option<u16>),
    /// The peer broke the protocol; the code to close with, 1002 where an implementation names none.
    Failed(u16),
    /// The stream ended without a Close frame.
    Eof,
}

impl Verdict {
    pub fn to_json(&self) -> Value {
        let messages: Vec<_> =
            self.messages.iter().map(|message| json!([message.is_text, hex(&message.payload)])).collect();
        let end = match self.end {
            End::Closed(code) => json!(["closed", code]),
            End::Failed(code) => json!(["failed", code]),
            End::Eof => json!(["eof", null]),
        };
        json!({"messages": messages, "end": end})
    }

    /// `None` for what is no verdict.
    pub fn from_json(value: &Value) -> Option<Self> {
        let messages = value["messages"]
            .as_array()?
            .iter()
            .map(|message| Some(Message { is_text: message[0].as_bool()?, payload: unhex(message[1].as_str()?)? }));
        let code = value["end"][1].as_u64().and_then(|code| u16::try_from(code).ok());
        let end = match value["end"][0].as_str()? {
            "closed" => End::Closed(code),
            "failed" => End::Failed(code?),
            "eof" => End::Eof,
            _ => return None,
        };
        Some(Self { messages: messages.collect::<Option<_>>()?, end })
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
