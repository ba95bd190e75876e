//! Header fields: looked up, lent from a parsed head, owned.

use std::fmt;

use thiserror::Error;

use super::token::{is_token, trim_blanks};

/// Anything that header fields can be looked up in.
///
/// Names are compared without regard to case, and the lines of one field come in the order in which
/// they were received (RFC 9110 sections 5.1 and 5.3). Implemented for [`Headers`], [`OwnedHeaders`]
/// and slices of pairs; an HTTP library's own map takes these few lines:
///
/// ```
/// # struct Map(Vec<(String, Vec<u8>)>);
/// impl sansocket::handshake::HeaderMap for Map {
///     fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
///         self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
///     }
/// }
/// ```
pub trait HeaderMap {
    /// The values of each line named `name`, in order.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a;

    /// The value of the first line named `name`.
    fn value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }
}

impl<T: HeaderMap + ?Sized> HeaderMap for &T {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        (**self).values(name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> HeaderMap for [(N, V)] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        let named = self.iter().filter(move |(field, _)| field.as_ref().eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_ref())
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const LEN: usize> HeaderMap for [(N, V); LEN] {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.as_slice().values(name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> HeaderMap for Vec<(N, V)> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.as_slice().values(name)
    }
}

/// The fields of a parsed head, in order, lent from the buffer that holds it.
///
/// Its `Debug` form hides the values of the fields that carry credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers<'b> {
    fields: Vec<httparse::Header<'b>>,
}

impl<'b> Headers<'b> {
    /// The fields must be those of a head that was parsed: names are tokens.
    pub(super) fn from_parsed(fields: Vec<httparse::Header<'b>>) -> Self {
        Self { fields }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no line at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Each line as its name, in the case in which it came, and its value without surrounding blanks.
    pub fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + '_ {
        self.fields.iter().map(|field| (field.name, trim_blanks(field.value)))
    }

    /// The value of the first line named `name`, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&'b str> {
        self.get_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of the first line named `name`.
    ///
    /// The bytes are visible ASCII, blanks, and anything from 0x80 on (RFC 9110 section 5.5).
    pub fn get_bytes(&self, name: &str) -> Option<&'b [u8]> {
        self.get_all(name).next()
    }

    /// The values of each line named `name`, in order.
    pub fn get_all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// A copy that outlives the buffer.
    pub fn to_owned(&self) -> OwnedHeaders {
        let fields = self.iter().map(|(name, value)| (name.into(), value.into()));
        OwnedHeaders { fields: fields.collect() }
    }
}

impl HeaderMap for Headers<'_> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.get_all(name)
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_fields(self.iter(), f)
    }
}

/// Header fields of their own, in order: what outlives a buffer, or what the application adds.
///
/// Each name is a token, and no value holds CR, LF, NUL or another control byte but the tab.
/// Its `Debug` form hides the values of the fields that carry credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OwnedHeaders {
    fields: Vec<(Box<str>, Box<[u8]>)>,
}

impl OwnedHeaders {
    /// No fields.
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// Adds a line at the end; blanks around the value are dropped.
    ///
    /// # Errors
    ///
    /// [`FieldError::NameInvalid`] and [`FieldError::ValueInvalid`]; nothing has been added then.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), FieldError> {
        let value = value.as_ref();
        check_name(name)?;
        check_value(value)?;
        self.fields.push((name.into(), trim_blanks(value).into()));
        Ok(())
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no line at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Each line as its name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of the first line named `name`, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of the first line named `name`.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of each line named `name`, in order.
    pub fn get_all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s [u8]> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Removes each line named `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
    }

    /// Writes each line with its CRLF.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            write_field(name, value, out);
        }
    }
}

impl HeaderMap for OwnedHeaders {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.get_all(name)
    }
}

impl fmt::Debug for OwnedHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_fields(self.iter(), f)
    }
}

/// Why a header field of the application cannot be sent.
///
/// It never shows the value, which may be a secret.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// The name is no token (RFC 9110 section 5.1).
    #[error("the name of a header field is empty or holds a byte that is not allowed in a token")]
    NameInvalid,
    /// The value holds CR, LF, NUL or another control byte (RFC 9110 section 5.5).
    #[error("byte {byte:#04x} at offset {offset} is not allowed in the value of a header field")]
    ValueInvalid {
        /// The byte in question.
        byte: u8,
        /// Where it is in the value.
        offset: usize,
    },
    /// The handshake writes this field itself; a second one would contradict it.
    #[error("{name} is written by the handshake itself and cannot be set")]
    NameReserved {
        /// The field, or the family of fields.
        name: &'static str,
    },
}

/// Fails if `name` is, without regard to case, one of `reserved`; `Sec-WebSocket-*` there means the family.
pub(crate) fn check_not_reserved(name: &str, reserved: &[&'static str]) -> Result<(), FieldError> {
    let is_reserved = |reserved: &str| match reserved.strip_suffix('*') {
        Some(family) => {
            let start = name.as_bytes().get(..family.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()))
        }
        None => reserved.eq_ignore_ascii_case(name),
    };
    match reserved.iter().find(|reserved| is_reserved(reserved)) {
        Some(name) => Err(FieldError::NameReserved { name }),
        None => Ok(()),
    }
}

/// Fails unless `value` may stand in a header field (RFC 9110 section 5.5).
pub(super) fn check_value(value: &[u8]) -> Result<(), FieldError> {
    match value.iter().position(|&byte| !matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        Some(offset) => Err(FieldError::ValueInvalid { byte: value.get(offset).copied().unwrap_or_default(), offset }),
        None => Ok(()),
    }
}

/// Writes `name: value` and CRLF; both must have been checked.
pub(crate) fn write_field(name: &str, value: impl AsRef<[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_ref());
    out.extend_from_slice(b"\r\n");
}

/// The one value of a field that may stand on one line only.
pub(super) enum Single<'a> {
    Missing,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Single<'a> {
    pub(super) fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Missing,
            (Some(value), None) => Self::Once(trim_blanks(value)),
            (Some(_), Some(_)) => Self::Repeated,
        }
    }
}

fn check_name(name: &str) -> Result<(), FieldError> {
    if is_token(name.as_bytes()) { Ok(()) } else { Err(FieldError::NameInvalid) }
}

fn fmt_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_map()
        .entries(fields.map(|(name, value)| {
            let is_secret = SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name));
            let value = if is_secret { "(hidden)".into() } else { String::from_utf8_lossy(value) };
            (name, value)
        }))
        .finish()
}

/// The fields whose values are not for a log.
const SECRET: [&str; 5] = ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Location"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_values_come_in_order() {
        // RFC 9110 sections 5.1 and 5.3.
        let pairs = [("Accept", "a"), ("ACCEPT", "b"), ("Other", "c")];
        assert_eq!(pairs.values("accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(pairs.value("oTHER"), Some(&b"c"[..]));
        assert_eq!(pairs.value("none"), None);
        let mut owned = OwnedHeaders::new();
        for (name, value) in pairs {
            owned.push(name, value).unwrap();
        }
        assert_eq!(owned.values("accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(owned.get("other"), Some("c"));
        assert_eq!(owned.len(), 3);
        owned.remove("ACCEPT");
        assert_eq!(owned.iter().collect::<Vec<_>>(), [("Other", &b"c"[..])]);
    }

    #[test]
    fn a_value_that_is_not_utf8_is_there_as_bytes() {
        let mut owned = OwnedHeaders::new();
        owned.push("X", b"caf\xe9").unwrap();
        assert_eq!(owned.get("x"), None);
        assert_eq!(owned.get_bytes("x"), Some(&b"caf\xe9"[..]));
    }

    #[test]
    fn no_control_byte_but_the_tab_gets_into_a_value() {
        for byte in 0..=255u8 {
            let pushed = OwnedHeaders::new().push("X", [b'a', byte, b'b']);
            let allowed = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let expected = if allowed { Ok(()) } else { Err(FieldError::ValueInvalid { byte, offset: 1 }) };
            assert_eq!(pushed, expected, "byte {byte:#04x}");
        }
    }

    #[test]
    fn a_name_must_be_a_token() {
        for name in ["", " ", "a b", "a:", "a\r\n", "a\r\nb: c", "a\0", "é", "a\t", "(a)"] {
            assert_eq!(OwnedHeaders::new().push(name, "v"), Err(FieldError::NameInvalid), "{name:?}");
        }
    }

    #[test]
    fn blanks_around_a_value_are_dropped() {
        let mut owned = OwnedHeaders::new();
        owned.push("X", " \t a b\t ").unwrap();
        owned.push("Empty", "  ").unwrap();
        assert_eq!(owned.get("X"), Some("a b"));
        assert_eq!(owned.get("Empty"), Some(""));
    }

    #[test]
    fn debug_hides_credentials() {
        let mut owned = OwnedHeaders::new();
        for name in SECRET {
            owned.push(&name.to_lowercase(), "s3cret").unwrap();
        }
        owned.push("Accept", "visible").unwrap();
        let debug = format!("{owned:?}");
        assert!(!debug.contains("s3cret"), "{debug}");
        assert!(debug.contains("visible"), "{debug}");
        assert!(!owned.is_empty() && OwnedHeaders::new().is_empty());
    }

    #[test]
    fn lent_fields_show_themselves_without_credentials() {
        let head = b"GET / HTTP/1.1\r\nHost: h\r\nCookie: s3cret\r\n\r\n";
        let request = crate::handshake::parse_request(head, 10).unwrap();
        assert_eq!(format!("{:?}", request.headers), r#"{"Host": "h", "Cookie": "(hidden)"}"#);
        assert!(!request.headers.is_empty());
        let request = crate::handshake::parse_request(b"GET / HTTP/1.1\r\n\r\n", 10).unwrap();
        assert!(request.headers.is_empty());
    }
}
