//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
//!
//! ```text
//! Sec-WebSocket-Extensions = extension-list
//! extension-list  = 1#extension
//! extension       = extension-token *( ";" extension-param )
//! extension-param = token [ "=" (token | quoted-string) ]
//! ```
//! where a quoted string must be a token once it is unescaped.

use std::borrow::Cow;

use thiserror::Error;

use super::token::is_token_byte;

/// Parses every line of `Sec-WebSocket-Extensions` into the extensions that it names, in order.
///
/// Time and space are linear in the length of the lines. [`Extensions`] does the same without a list.
///
/// ```
/// use sansocket::handshake::parse_extensions;
///
/// let offers = parse_extensions([&b"permessage-deflate; server_max_window_bits=\"10\", x"[..]])?;
/// let names: Vec<_> = offers.iter().map(|offer| offer.name()).collect();
/// assert_eq!(names, ["permessage-deflate", "x"]);
/// let params: Vec<_> = offers[0].params().collect();
/// assert_eq!(params, [("server_max_window_bits", Some("10".into()))]);
/// # Ok::<(), sansocket::handshake::ExtensionError>(())
/// ```
///
/// # Errors
///
/// The first deviation from the grammar. Who finds one must fail the handshake.
pub fn parse_extensions<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Extension<'a>>, ExtensionError> {
    Extensions::new(values).collect()
}

/// One extension of the list, with its parameters.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    name: &'a str,
    /// What follows the name, already checked: empty, or `; name[=value]` any number of times.
    params: &'a str,
}

impl<'a> Extension<'a> {
    /// The name, a token.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Each parameter as its name and its value, unquoted and unescaped; `None` when it has no value.
    ///
    /// Names may occur more than once here: whether that is a fault is for the extension to say.
    pub fn params(&self) -> Params<'a> {
        Params { cursor: Cursor { line: self.params, at: 0 } }
    }
}

/// Iterates over the parameters of an [`Extension`].
#[derive(Clone, Debug)]
pub struct Params<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<Cow<'a, str>>);

    fn next(&mut self) -> Option<Self::Item> {
        // The text was checked when the extension was parsed: an error cannot come.
        self.cursor.param().ok().flatten().map(|param| (param.name, param.value.map(unescape)))
    }
}

/// Iterates over the extensions in the lines of `Sec-WebSocket-Extensions`; ends after the first error.
#[derive(Clone, Debug)]
pub struct Extensions<'a, I> {
    lines: I,
    line: Option<Cursor<'a>>,
    /// Whether this line has named an extension yet: an empty one is no list.
    named: bool,
    failed: bool,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Extensions<'a, I> {
    /// Over the lines of the field, in order.
    pub fn new(lines: impl IntoIterator<IntoIter = I>) -> Self {
        Self { lines: lines.into_iter(), line: None, named: false, failed: false }
    }

    fn parse_next(&mut self) -> Option<Result<Extension<'a>, ExtensionError>> {
        loop {
            let cursor = match &mut self.line {
                Some(cursor) => cursor,
                None => {
                    self.named = false;
                    match Cursor::new(self.lines.next()?) {
                        Ok(cursor) => self.line.insert(cursor),
                        Err(error) => return Some(Err(error)),
                    }
                }
            };
            cursor.skip(|byte| matches!(byte, b' ' | b'\t' | b','));
            if cursor.peek().is_some() {
                self.named = true;
                return Some(cursor.extension());
            }
            self.line = None;
            if !self.named {
                return Some(Err(ExtensionError::Empty));
            }
        }
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Extensions<'a, I> {
    type Item = Result<Extension<'a>, ExtensionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.parse_next();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// How a `Sec-WebSocket-Extensions` field deviates from its grammar (RFC 6455 section 9.1).
///
/// Offsets count bytes from the start of the line's value.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The field names no extension.
    #[error("the list of extensions is empty")]
    Empty,
    /// A name or a value is missing, or has a byte that no token has.
    #[error("no token at offset {offset} of the list of extensions")]
    TokenExpected {
        /// Where the token should be.
        offset: usize,
    },
    /// Something other than a comma follows an extension.
    #[error("unexpected byte at offset {offset} of the list of extensions")]
    Unexpected {
        /// Where it is.
        offset: usize,
    },
    /// A quoted string does not end.
    #[error("the quoted string at offset {offset} of the list of extensions does not end")]
    QuoteUnclosed {
        /// Where it begins.
        offset: usize,
    },
}

/// A place in one line. Every byte is passed once.
#[derive(Copy, Clone, Debug)]
struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

struct Param<'a> {
    name: &'a str,
    /// With the backslashes of a quoted string, without its quotes.
    value: Option<&'a str>,
}

impl<'a> Cursor<'a> {
    fn new(line: &'a [u8]) -> Result<Self, ExtensionError> {
        match std::str::from_utf8(line) {
            Ok(line) => Ok(Self { line, at: 0 }),
            Err(error) => Err(ExtensionError::Unexpected { offset: error.valid_up_to() }),
        }
    }

    /// `token *( ";" extension-param )`, up to the comma or the end.
    fn extension(&mut self) -> Result<Extension<'a>, ExtensionError> {
        let name = self.token()?;
        let start = self.at;
        while self.param()?.is_some() {}
        let params = self.since(start);
        match self.peek() {
            None | Some(b',') => Ok(Extension { name, params }),
            Some(_) => Err(ExtensionError::Unexpected { offset: self.at }),
        }
    }

    /// `";" token [ "=" (token | quoted-string) ]`; `None` when no semicolon is next.
    ///
    /// Blanks may stand between any two parts: the implied LWS of RFC 2616 section 2.1, on which
    /// the grammar of RFC 6455 section 9.1 rests.
    fn param(&mut self) -> Result<Option<Param<'a>>, ExtensionError> {
        if !self.eat(b';') {
            return Ok(None);
        }
        self.skip_blanks();
        let name = self.token()?;
        if !self.eat(b'=') {
            return Ok(Some(Param { name, value: None }));
        }
        self.skip_blanks();
        let value = if self.peek() == Some(b'"') { self.quoted()? } else { self.token()? };
        Ok(Some(Param { name, value: Some(value) }))
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let start = self.at;
        self.skip(is_token_byte);
        if self.at == start { Err(ExtensionError::TokenExpected { offset: start }) } else { Ok(self.since(start)) }
    }

    /// The inside of a quoted string whose unescaped value is a token.
    fn quoted(&mut self) -> Result<&'a str, ExtensionError> {
        let quote = self.at;
        self.pass();
        let start = self.at;
        loop {
            let byte = match self.peek() {
                Some(b'"') if self.at == start => return Err(ExtensionError::TokenExpected { offset: start }),
                Some(b'"') => break,
                Some(b'\\') => {
                    self.pass();
                    self.peek()
                }
                byte => byte,
            };
            match byte {
                Some(byte) if is_token_byte(byte) => self.pass(),
                Some(_) => return Err(ExtensionError::TokenExpected { offset: self.at }),
                None => return Err(ExtensionError::QuoteUnclosed { offset: quote }),
            }
        }
        let inside = self.since(start);
        self.pass();
        Ok(inside)
    }

    /// Passes blanks, then `wanted` if it is next.
    fn eat(&mut self, wanted: u8) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(wanted);
        if found {
            self.pass();
        }
        found
    }

    fn skip_blanks(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\t'));
    }

    fn skip(&mut self, skips: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&skips) {
            self.pass();
        }
    }

    fn pass(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn peek(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn since(&self, start: usize) -> &'a str {
        self.line.get(start..self.at).unwrap_or_default()
    }
}

/// The inside of a quoted string without the backslashes; a value that was not quoted has none.
fn unescape(value: &str) -> Cow<'_, str> {
    if value.contains('\\') { value.replace('\\', "").into() } else { value.into() }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::super::linear::assert_linear;
    use super::*;

    /// The list written in one form: names, then parameters, unquoted.
    fn normal(line: &str) -> Result<String, ExtensionError> {
        let list = parse_extensions([line.as_bytes()])?;
        let list = list.iter().map(|extension| {
            let params = extension.params().map(|(name, value)| match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            });
            extension.name().to_owned() + &params.collect::<String>()
        });
        Ok(list.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn well_formed_lists_are_read() {
        // RFC 6455 section 9.1 and its examples; RFC 7692 section 7.
        let table = [
            ("foo", "foo"),
            ("foo, bar; baz=2", "foo,bar;baz=2"),
            ("deflate-stream", "deflate-stream"),
            ("mux; max-channels=4; flow-control, deflate-stream", "mux;max-channels=4;flow-control,deflate-stream"),
            ("private-extension", "private-extension"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate;client_max_window_bits"),
            ("a;b=\"10\"", "a;b=10"),
            ("a;b=\"\\1\\0\"", "a;b=10"),
            ("a; b ; c = d ;e=\"f\" , g", "a;b;c=d;e=f,g"),
            ("\ta\t;\tb\t=\tc\t", "a;b=c"),
            (",, a ,,b,", "a,b"), // RFC 9110 section 5.6.1.2
            ("a;b;b", "a;b;b"),   // for the extension to judge
            ("a, a", "a,a"),
        ];
        for (line, expected) in table {
            assert_eq!(normal(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn malformed_lists_are_refused_where_they_deviate() {
        use ExtensionError::*;
        let table = [
            ("", Empty),
            (" ", Empty),
            (",", Empty),
            (";", TokenExpected { offset: 0 }),
            ("a;", TokenExpected { offset: 2 }),
            ("a; ", TokenExpected { offset: 3 }),
            ("a;;b", TokenExpected { offset: 2 }),
            ("a;b=", TokenExpected { offset: 4 }),
            ("a;b=,c", TokenExpected { offset: 4 }),
            ("a;=b", TokenExpected { offset: 2 }),
            ("a=b", Unexpected { offset: 1 }),
            ("a b", Unexpected { offset: 2 }),
            ("a;b=c d", Unexpected { offset: 6 }),
            ("a;b=c=d", Unexpected { offset: 5 }),
            ("a;b c", Unexpected { offset: 4 }),
            ("a/b", Unexpected { offset: 1 }),
            ("\"a\"", TokenExpected { offset: 0 }),
            ("a;\"b\"", TokenExpected { offset: 2 }),
            ("a;b=\"\"", TokenExpected { offset: 5 }), // empty is no token
            ("a;b=\"c d\"", TokenExpected { offset: 6 }),
            ("a;b=\"c,d\"", TokenExpected { offset: 6 }),
            ("a;b=\"\\\"\"", TokenExpected { offset: 6 }),
            ("a;b=\"\\\\\"", TokenExpected { offset: 6 }),
            ("a;b=\"c\"d", Unexpected { offset: 7 }),
            ("a;b=\"c", QuoteUnclosed { offset: 4 }),
            ("a;b=\"c\\", QuoteUnclosed { offset: 4 }),
            ("a;b=\"", QuoteUnclosed { offset: 4 }),
            ("a;b='c d'", Unexpected { offset: 7 }),
            ("a\0", Unexpected { offset: 1 }),
            ("a;b=\u{e9}", TokenExpected { offset: 4 }),
        ];
        for (line, error) in table {
            assert_eq!(normal(line), Err(error), "{line}");
        }
        assert_eq!(parse_extensions([&b"a;\xff"[..]]), Err(Unexpected { offset: 2 }));
    }

    #[test]
    fn the_lines_are_one_list_and_each_must_be_well_formed() {
        let names = |lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
            parse_extensions(lines).map(|list| list.iter().map(|e| e.name()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Ok(vec![]));
        assert_eq!(names(&["a, b", "c"]), Ok(vec!["a", "b", "c"]));
        assert_eq!(names(&["a", ""]), Err(ExtensionError::Empty));
        // A quoted string does not reach into the next line.
        assert_eq!(names(&["a;b=\"c", "d\""]), Err(ExtensionError::QuoteUnclosed { offset: 4 }));
    }

    #[test]
    fn nothing_comes_after_an_error() {
        let mut list = Extensions::new([&b"a, b c, d"[..], b"e"]);
        assert!(list.next().unwrap().is_ok());
        assert!(list.next().unwrap().is_err());
        assert_eq!(list.next(), None);
    }

    #[test]
    fn long_hostile_lists_are_read_in_linear_time() {
        // ws 3.3.1: repeated quotes and blanks sent a regular expression into quadratic time. Each is read to its end, or nearly.
        use ExtensionError::*;
        type Outcome = fn(usize) -> Result<(usize, usize), ExtensionError>;
        let table: &[(&str, &str, &str, Outcome)] = &[
            ("", "a,", "", |n| Ok((n, 0))),
            ("", ",", "", |_| Err(Empty)),
            ("", " ", "", |_| Err(Empty)),
            ("", "a;b=\"c\",", "", |n| Ok((n, n))),
            ("a", ";b", "", |n| Ok((1, n))),
            ("a", ";b=\"\\1\"", "", |n| Ok((1, n))),
            ("a;b=\"", "\\c", "\"", |_| Ok((1, 1))),
            ("a;b=\"", "\\c", "", |_| Err(QuoteUnclosed { offset: 4 })),
            ("a;b=\"", "c", "", |_| Err(QuoteUnclosed { offset: 4 })),
            ("a;b=\"", "c", "\\", |_| Err(QuoteUnclosed { offset: 4 })),
            ("a", ";b=\"c\"", "\"", |n| Err(Unexpected { offset: 1 + 6 * n })),
            ("a", " ", "b", |n| Err(Unexpected { offset: 1 + n })),
            ("a;b", "\t ", "= c", |_| Ok((1, 1))),
            ("a", " ; b = \"c\" ", "\\", |n| Err(Unexpected { offset: 1 + 11 * n })),
            ("a", " ,", "\"", |n| Err(TokenExpected { offset: 1 + 2 * n })),
        ];
        for (start, part, end, outcome) in table {
            let line = |n| format!("{start}{}{end}", part.repeat(n));
            assert_linear(&format!("{start}{part}{part}…{end}"), line, |line, n| {
                let list = parse_extensions([line.as_bytes()]);
                let counts = list.map(|list| (list.len(), list.iter().map(|one| one.params().count()).sum()));
                assert_eq!(counts, outcome(n), "{start}{part}…{end}");
            });
        }
        let lines = |n| vec!["a"; n];
        assert_linear("many lines", lines, |lines, n| {
            assert_eq!(parse_extensions(lines.iter().map(|line| line.as_bytes())).map(|list| list.len()), Ok(n));
        });
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "[ab;=,\"\\\\ \t\u{e9}]{0,40}") {
            if let Ok(normal_form) = normal(&line) {
                prop_assert_eq!(normal(&normal_form), Ok(normal_form.clone()));
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            list in vec(("[a-z!.~-]{1,8}", vec(("[a-z_]{1,8}", of("[0-9a-z]{1,4}")), 0..4)), 1..5),
            quoted: bool,
        ) {
            let mut lines = Vec::new();
            let mut plain = Vec::new();
            for (name, params) in &list {
                let (mut line, mut expected) = (name.clone(), name.clone());
                for (param, value) in params {
                    line += &format!("; {param}");
                    expected += &format!(";{param}");
                    if let Some(value) = value {
                        line += &if quoted { format!("=\"{value}\"") } else { format!("={value}") };
                        expected += &format!("={value}");
                    }
                }
                lines.push(line);
                plain.push(expected);
            }
            prop_assert_eq!(normal(&lines.join(", ")), Ok(plain.join(",")));
        }
    }
}
