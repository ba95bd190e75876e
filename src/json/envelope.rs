//! One message as an object of few fields: to write it, and to find the fields again.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::acks::SESSION_LEN_MAX;
use super::{AckFields, Ids};
use crate::message::Message;

/// The names of the fields of a message, and the text around them.
///
/// ```
/// use sansocket::json::EnvelopeFormat;
///
/// let mut format = EnvelopeFormat::default();
/// format.id = "requestId".into();
/// format.payload = "data".into();
/// let message = format.message("say", &"hello")?;
/// assert_eq!(message.as_text(), Some(r#"{"type":"say","data":"hello"}"#));
/// # Ok::<(), sansocket::json::EncodeError>(())
/// ```
///
/// All there is:
///
/// ```
/// use sansocket::json::{AckFields, EnvelopeFormat};
///
/// let mut format = EnvelopeFormat::default();
/// (format.kind, format.id, format.payload) = ("event".into(), "requestId".into(), "data".into());
/// format.answer = Some("result".into());
/// format.error = "failure".into();
/// format.error_kind = Some("error".into());
/// format.constants = vec![("version".into(), "1".into())];
/// format.acks = Some(AckFields { seq: "n".into(), ..AckFields::default() });
/// ```
///
/// With [`json_rpc`](Self::json_rpc) it speaks JSON-RPC 2.0.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvelopeFormat {
    /// The type. `type` by default.
    pub kind: Cow<'static, str>,
    /// The id that an answer has in common with its request. `id` by default.
    pub id: Cow<'static, str>,
    /// What the message is about. `payload` by default.
    pub payload: Cow<'static, str>,
    /// The payload of an answer, if that has another name. `None` by default.
    pub answer: Option<Cow<'static, str>>,
    /// What stands in place of the payload when a request cannot be answered; `null` there is no error. `error` by default.
    pub error: Cow<'static, str>,
    /// The type by which an answer shows that it is an error, whose payload tells which. `None` by default: only the field does.
    pub error_kind: Option<Cow<'static, str>>,
    /// Fields with a fixed text that go first in each message. None by default; they are not looked for in what arrives.
    pub constants: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Acknowledged delivery, which [`AckFields`] describes. `None` by default: it takes a peer that acknowledges.
    pub acks: Option<AckFields>,
}

/// A message that arrived, taken apart. What it holds shares the memory of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The type; empty without one, as answers may be.
    pub kind: ByteString,
    /// The id, whatever it is made of.
    pub id: Option<Payload>,
    /// What it is about; `null` without one.
    pub payload: Payload,
    /// What went wrong, if something did.
    pub error: Option<Payload>,
    /// Its number ([`AckFields::seq`]).
    pub seq: Option<u64>,
    /// Up to which number the sender of this message has received ours ([`AckFields::ack`]).
    pub ack: Option<u64>,
    /// The session of the sender ([`AckFields::session`]).
    pub session: Option<ByteString>,
}

/// JSON that is known to be well-formed, as it arrived. It keeps the memory of the whole message.
///
/// ```
/// # use sansocket::json::EnvelopeFormat;
/// # let envelope = EnvelopeFormat::default().decode(&r#"{"type": "say", "payload": {"text": "hello"}}"#.into())?;
/// #[derive(serde::Deserialize)]
/// struct Say<'a> {
///     text: &'a str, // borrowed from the message
/// }
/// let say: Say<'_> = envelope.payload.parse()?;
/// assert_eq!(say.text, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(ByteString);

/// A payload cannot be written as JSON: a map whose keys are no texts, say, or a type whose own code failed.
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be written as JSON: {0}")]
pub struct EncodeError(#[from] serde_json::Error);

/// Why a message is no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedReason {
    /// It is no JSON, no object, or has a field twice.
    #[error("no envelope: {0}")]
    Json(String),
    /// The type is something else than a text.
    #[error("the type is no text")]
    KindNotText,
    /// A sequence number or an acknowledgement is no whole number up to 2⁶⁴ − 1.
    #[error("the number or the acknowledgement is no number")]
    NotANumber,
    /// The session is no text of at most 64 bytes.
    #[error("the session is no text of at most 64 bytes")]
    Session,
    /// It has neither a type nor an id.
    #[error("neither a type nor an id")]
    KindMissing,
}

impl EnvelopeFormat {
    /// JSON-RPC 2.0: `method`, `params`, `result`, `error`, and the version in front. Notifications are messages, calls are requests.
    ///
    /// ```
    /// use sansocket::json::EnvelopeFormat;
    ///
    /// let message = EnvelopeFormat::json_rpc().message("update", &[1, 2])?;
    /// assert_eq!(message.as_text(), Some(r#"{"jsonrpc":"2.0","method":"update","params":[1,2]}"#));
    /// # Ok::<(), sansocket::json::EncodeError>(())
    /// ```
    pub fn json_rpc() -> Self {
        Self {
            kind: "method".into(),
            payload: "params".into(),
            answer: Some("result".into()),
            constants: vec![("jsonrpc".into(), "2.0".into())],
            ..Self::default()
        }
    }

    /// A message with a type.
    ///
    /// # Errors
    /// [`EncodeError`] when the payload cannot be written as JSON.
    pub fn message<P: Serialize + ?Sized>(&self, kind: &str, payload: &P) -> Result<Message, EncodeError> {
        self.encode(&Parts { kind: Some(kind), ..Parts::new(self, &self.payload, payload) })
    }

    /// A message with a type and a number, for acknowledged delivery. Without [`acks`](Self::acks), just a message.
    ///
    /// # Errors
    /// [`EncodeError`] when the payload cannot be written as JSON.
    pub fn numbered<P: Serialize + ?Sized>(
        &self,
        kind: &str,
        payload: &P,
        seq: u64,
        session: &str,
    ) -> Result<Message, EncodeError> {
        let acks =
            self.acks.as_ref().map(|names| Numbers { number: (&names.seq, seq), session: (&names.session, session) });
        self.encode(&Parts { kind: Some(kind), acks, ..Parts::new(self, &self.payload, payload) })
    }

    /// The acknowledgement that all up to this number have arrived. `session` is that of the end that has received them.
    ///
    /// # Errors
    /// [`EncodeError`], which does not happen.
    pub fn ack(&self, seq: u64, session: &str) -> Result<Message, EncodeError> {
        let names = self.acks.clone().unwrap_or_default();
        let acks = Some(Numbers { number: (&names.ack, seq), session: (&names.session, session) });
        self.encode(&Parts::<()> { format: self, kind: None, id: None, acks, payload: None })
    }

    /// An answer to the request with this id.
    ///
    /// # Errors
    /// [`EncodeError`] when the payload cannot be written as JSON.
    pub fn answer<P: Serialize + ?Sized>(&self, id: &Payload, payload: &P) -> Result<Message, EncodeError> {
        let name = self.answer.as_ref().unwrap_or(&self.payload);
        self.encode(&Parts { id: Some(Id::Echo(id)), ..Parts::new(self, name, payload) })
    }

    /// The answer that the request with this id has failed, and why.
    ///
    /// # Errors
    /// [`EncodeError`] when the error cannot be written as JSON.
    pub fn error_answer<E: Serialize + ?Sized>(&self, id: &Payload, error: &E) -> Result<Message, EncodeError> {
        let id = Some(Id::Echo(id));
        match &self.error_kind {
            Some(kind) => self.encode(&Parts { kind: Some(kind), id, ..Parts::new(self, &self.payload, error) }),
            None => self.encode(&Parts { id, ..Parts::new(self, &self.error, error) }),
        }
    }

    /// Takes a message apart. The payload is checked to be JSON, but not looked into. Unknown fields are passed over.
    ///
    /// # Errors
    /// [`MalformedReason`] when it is no envelope.
    pub fn decode(&self, text: &ByteString) -> Result<Envelope, MalformedReason> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let mut fields = deserializer.deserialize_map(FieldsVisitor(self)).map_err(json_error)?;
        deserializer.end().map_err(json_error)?;
        let kind = match fields.take(FieldName::Kind) {
            Some(kind) => text_of(text, kind.get()).ok_or(MalformedReason::KindNotText)?,
            None => ByteString::new(),
        };
        let id = fields.payload(text, FieldName::Id).filter(|id| !id.is_null());
        let mut number = |name| fields.take(name).map(|raw| raw.get().parse().map_err(|_| MalformedReason::NotANumber));
        let (seq, ack) = (number(FieldName::Seq).transpose()?, number(FieldName::Ack).transpose()?);
        let session = fields.take(FieldName::Session).map(|raw| {
            text_of(text, raw.get()).filter(|session| session.len() <= SESSION_LEN_MAX).ok_or(MalformedReason::Session)
        });
        let session = session.transpose()?;
        if kind.is_empty() && id.is_none() && ack.is_none() {
            return Err(MalformedReason::KindMissing);
        }
        let mut error = fields.payload(text, FieldName::Error).filter(|error| !error.is_null());
        let answer = fields.payload(text, FieldName::Answer);
        let mut payload = fields.payload(text, FieldName::Payload).or(answer).unwrap_or(Payload::null());
        if id.is_some() && error.is_none() && self.error_kind.as_ref().is_some_and(|error| **error == *kind) {
            error = Some(std::mem::replace(&mut payload, Payload::null()));
        }
        Ok(Envelope { kind, id, payload, error, seq, ack, session })
    }

    pub(super) fn request<P: Serialize + ?Sized>(
        &self,
        kind: &str,
        ids: &Ids,
        id: u64,
        payload: &P,
    ) -> Result<Message, EncodeError> {
        let id = Some(Id::Own(ids, id));
        self.encode(&Parts { kind: Some(kind), id, ..Parts::new(self, &self.payload, payload) })
    }

    fn encode<P: Serialize + ?Sized>(&self, parts: &Parts<'_, P>) -> Result<Message, EncodeError> {
        Ok(Message::from(serde_json::to_string(parts)?))
    }

    fn field(&self, name: &str) -> Option<FieldName> {
        let is = |of: &Cow<'static, str>| *of == name;
        match name {
            _ if is(&self.kind) => Some(FieldName::Kind),
            _ if is(&self.id) => Some(FieldName::Id),
            _ if is(&self.payload) => Some(FieldName::Payload),
            _ if is(&self.error) => Some(FieldName::Error),
            _ if self.answer.as_ref().is_some_and(is) => Some(FieldName::Answer),
            _ => match &self.acks {
                Some(acks) if is(&acks.seq) => Some(FieldName::Seq),
                Some(acks) if is(&acks.ack) => Some(FieldName::Ack),
                Some(acks) if is(&acks.session) => Some(FieldName::Session),
                _ => None,
            },
        }
    }
}

impl Default for EnvelopeFormat {
    fn default() -> Self {
        Self {
            kind: "type".into(),
            id: "id".into(),
            payload: "payload".into(),
            answer: None,
            error: "error".into(),
            error_kind: None,
            constants: Vec::new(),
            acks: None,
        }
    }
}

impl Payload {
    /// The JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says, as whatever type that is; texts may be borrowed.
    ///
    /// # Errors
    /// Those of [`serde_json::from_str`]: it is something else than the type wants, or is nested more than 128 deep.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        *self.0 == *"null"
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<ByteString> {
        text_of(&self.0, &self.0)
    }

    fn null() -> Self {
        Self(ByteString::from_static("null"))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// What is written.
struct Parts<'a, P: ?Sized> {
    format: &'a EnvelopeFormat,
    kind: Option<&'a str>,
    id: Option<Id<'a>>,
    acks: Option<Numbers<'a>>,
    payload: Option<(&'a str, &'a P)>,
}

/// Two fields with their names.
struct Numbers<'a> {
    number: (&'a str, u64),
    session: (&'a str, &'a str),
}

enum Id<'a> {
    Own(&'a Ids, u64),
    Echo(&'a Payload),
}

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own(Ids::Number, id) => serializer.serialize_u64(*id),
            Self::Own(Ids::Text(prefix), id) => serializer.collect_str(&format_args!("{prefix}{id}")),
            Self::Echo(id) => id.serialize(serializer),
        }
    }
}

impl<'a, P: ?Sized> Parts<'a, P> {
    fn new(format: &'a EnvelopeFormat, name: &'a str, payload: &'a P) -> Self {
        Self { format, kind: None, id: None, acks: None, payload: Some((name, payload)) }
    }
}

impl<P: Serialize + ?Sized> Serialize for Parts<'_, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.format.constants {
            map.serialize_entry(name, value)?;
        }
        if let Some(kind) = self.kind {
            map.serialize_entry(&self.format.kind, kind)?;
        }
        if let Some(id) = &self.id {
            map.serialize_entry(&self.format.id, id)?;
        }
        if let Some(Numbers { number, session }) = &self.acks {
            map.serialize_entry(number.0, &number.1)?;
            map.serialize_entry(session.0, session.1)?;
        }
        if let Some((name, payload)) = self.payload {
            map.serialize_entry(name, payload)?;
        }
        map.end()
    }
}

#[derive(Clone, Copy)]
enum FieldName {
    Kind,
    Id,
    Payload,
    Answer,
    Error,
    Seq,
    Ack,
    Session,
}

/// The fields that were there, in the order of [`FieldName`].
#[derive(Default)]
struct Fields<'de>([Option<&'de RawValue>; 8]);

impl<'de> Fields<'de> {
    fn take(&mut self, name: FieldName) -> Option<&'de RawValue> {
        self.field(name).take()
    }

    #[expect(clippy::indexing_slicing, reason = "there is one for each name")]
    fn field(&mut self, name: FieldName) -> &mut Option<&'de RawValue> {
        &mut self.0[name as usize]
    }

    fn payload(&mut self, text: &ByteString, name: FieldName) -> Option<Payload> {
        self.take(name).map(|raw| Payload(text.slice_ref(raw.get())))
    }
}

struct FieldsVisitor<'a>(&'a EnvelopeFormat);

impl<'de> Visitor<'de> for FieldsVisitor<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(NameSeed(self.0))? {
            match name {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(name) => {
                    // Two readers could read two things.
                    if fields.field(name).replace(map.next_value()?).is_some() {
                        return Err(A::Error::custom("a field stands there twice"));
                    }
                }
            }
        }
        Ok(fields)
    }
}

struct NameSeed<'a>(&'a EnvelopeFormat);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<FieldName>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<FieldName>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// The text that a piece of JSON is, in the memory of the whole unless something is escaped in it.
fn text_of(whole: &ByteString, json: &str) -> Option<ByteString> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str::<String>(json).ok().map(ByteString::from);
    }
    Some(whole.slice_ref(inner))
}

fn json_error(error: serde_json::Error) -> MalformedReason {
    MalformedReason::Json(error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(text: &str) -> Result<Envelope, MalformedReason> {
        EnvelopeFormat::default().decode(&text.into())
    }

    fn fields(envelope: &Envelope) -> (&str, Option<&str>, &str, Option<&str>) {
        let Envelope { kind, id, payload, error, .. } = envelope;
        (kind, id.as_ref().map(Payload::as_str), payload.as_str(), error.as_ref().map(Payload::as_str))
    }

    #[test]
    fn the_fields_are_found_wherever_they_stand() {
        let table = [
            (r#"{"type":"a"}"#, ("a", None, "null", None)),
            (r#" { "x" : {"type":"b"}, "payload" : [ 1 ] , "type" : "a" } "#, ("a", None, "[ 1 ]", None)),
            (r#"{"id":"q","payload":{"a":"}"}}"#, ("", Some("\"q\""), "{\"a\":\"}\"}", None)),
            (r#"{"id":1,"error":null,"payload":2}"#, ("", Some("1"), "2", None)),
            (r#"{"id":1,"error":{"code":2}}"#, ("", Some("1"), "null", Some("{\"code\":2}"))),
            ("{\"t\\u0079pe\":\"a\\n\\u00e9\"}", ("a\n\u{e9}", None, "null", None)),
            (r#"{"type":"","id":1}"#, ("", Some("1"), "null", None)),
        ];
        for (text, expected) in table {
            assert_eq!(fields(&decode(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn the_names_are_the_applications() {
        let mut format = EnvelopeFormat::default();
        (format.kind, format.id, format.payload) = ("event".into(), "request \"id\"".into(), "data".into());
        (format.answer, format.error_kind) = (Some("result".into()), Some("error".into()));
        let request = format.request("ask", &Ids::Text("é\"".into()), 7, &[1]).unwrap();
        let text = r#"{"event":"ask","request \"id\"":"é\"7","data":[1]}"#;
        assert_eq!(request.as_text(), Some(text));
        let Message::Text(text) = request else { panic!() };
        let asked = format.decode(&text).unwrap();
        let id = asked.id.unwrap();
        let answers = [
            (format.answer(&id, &1).unwrap(), ("", "1", None)),
            (format.error_answer(&id, &2).unwrap(), ("error", "null", Some("2"))),
        ];
        for (answer, (kind, payload, error)) in answers {
            let Message::Text(text) = answer else { panic!() };
            assert_eq!(fields(&format.decode(&text).unwrap()), (kind, Some(id.as_str()), payload, error));
        }
    }

    #[test]
    fn numbers_are_looked_for_only_if_they_are_wanted() {
        let mut format = EnvelopeFormat::default();
        let text = ByteString::from(r#"{"type":"a","seq":7,"session":"s","ack":3}"#);
        let strange = ByteString::from(r#"{"type":"a","seq":"x","session":1,"ack":-1}"#);
        for text in [&text, &strange] {
            let envelope = format.decode(text).unwrap();
            assert_eq!((envelope.seq, envelope.ack, envelope.session), (None, None, None));
        }
        format.acks = Some(AckFields::default());
        let envelope = format.decode(&text).unwrap();
        assert_eq!((envelope.seq, envelope.ack, envelope.session.as_deref()), (Some(7), Some(3), Some("s")));
        for (field, why) in
            [(r#""seq":-1"#, MalformedReason::NotANumber), (r#""ack":1.0"#, MalformedReason::NotANumber)]
        {
            assert_eq!(format.decode(&format!(r#"{{"type":"a",{field}}}"#).into()), Err(why), "{field}");
        }
        for (len, ok) in [(63, true), (64, true), (65, false)] {
            let text = format!(r#"{{"type":"a","session":"{}"}}"#, "s".repeat(len));
            assert_eq!(format.decode(&text.into()).is_ok(), ok, "{len}");
        }
        assert_eq!(format.decode(&r#"{"seq":1}"#.into()), Err(MalformedReason::KindMissing));
        let message = format.numbered("a", &1, 7, "s").unwrap();
        assert_eq!(message, r#"{"type":"a","seq":7,"session":"s","payload":1}"#.into());
    }

    #[test]
    fn what_it_holds_shares_the_memory_of_the_message() {
        let text = ByteString::from(r#"{"type":"said","payload":"hello"}"#);
        let envelope = EnvelopeFormat::default().decode(&text).unwrap();
        let range = text.as_bytes().as_ptr_range();
        for part in [envelope.kind.as_bytes(), envelope.payload.0.as_bytes()] {
            assert!(range.contains(&part.as_ptr()));
        }
        assert!(
            range.contains(&envelope.payload.parse::<&str>().unwrap().as_ptr()),
            "and what is parsed out of it, too"
        );
    }

    proptest! {
        /// Pieces of envelopes in any order, some of which are whole.
        #[test]
        fn whatever_arrives_is_taken_apart_or_malformed(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u00e9", "\\ud800", "é", "null", "-1", "1e9", " ",
                    "\"type\":", "\"a\",", "\"id\":1,", "\"id\":\"\\n\",", "\"seq\":7,", "\"session\":\"s\",", "\"payload\":[]",
                ]),
                0..12,
            ),
            wrapped: bool,
        ) {
            let mut format = EnvelopeFormat::json_rpc();
            (format.kind, format.error_kind, format.acks) = ("type".into(), Some("a".into()), Some(AckFields::default()));
            let text = pieces.concat();
            let text = ByteString::from(if wrapped { format!("{{{text}}}") } else { text });
            if let Ok(envelope) = format.decode(&text) {
                let is_object = text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(&text).is_ok();
                prop_assert!(is_object);
                prop_assert!(!envelope.kind.is_empty() || envelope.id.is_some() || envelope.ack.is_some());
            }
        }
    }

    /// What is nested is not descended into until it is parsed, and then not too deep.
    #[test]
    fn depth_costs_no_stack() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for field in ["payload", "id", "error", "else"] {
            let text = format!(r#"{{"type":"a","{field}":{}}}"#, deep(1_000_000));
            assert!(decode(&text).is_ok(), "{field}");
        }
        let payload = |levels| decode(&format!(r#"{{"type":"a","payload":{}}}"#, deep(levels))).unwrap().payload;
        assert!(payload(127).parse::<serde_json::Value>().is_ok());
        assert!(payload(128).parse::<serde_json::Value>().is_err());
    }
}
