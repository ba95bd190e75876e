//! Lines of text from a stream, none longer than allowed.

use std::io::{self, BufRead, Read as _};

/// What a stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line of text, without its end.
    Text(String),
    /// A line that is not UTF-8, and so cannot be a text message. RFC 6455 section 5.6.
    NotUtf8,
    /// A line of more bytes than allowed; its rest is not read.
    TooLong,
    /// There are no more.
    End,
}

/// Reads a line that ends with a line feed, with or without a carriage return before it, or with the stream.
pub(super) fn read_line(input: &mut impl BufRead, len_max: u64) -> io::Result<Line> {
    let mut line = Vec::new();
    let end_len_max = 2;
    let mut limited = input.take(len_max.saturating_add(end_len_max));
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(Line::End);
    }
    if line.pop_if(|byte| *byte == b'\n').is_some() {
        line.pop_if(|byte| *byte == b'\r');
    }
    if line.len() as u64 > len_max {
        return Ok(Line::TooLong);
    }
    Ok(String::from_utf8(line).map_or(Line::NotUtf8, Line::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8], len_max: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            match read_line(&mut input, len_max).unwrap() {
                Line::End => return lines,
                Line::TooLong => {
                    lines.push(Line::TooLong);
                    return lines;
                }
                line => lines.push(line),
            }
        }
    }

    fn text(line: &str) -> Line {
        Line::Text(line.to_owned())
    }

    #[test]
    fn lines_end_with_a_line_feed_or_the_stream() {
        assert_eq!(lines(b"a\n\nb\r\n\r\nc", 10), [text("a"), text(""), text("b"), text(""), text("c")]);
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"a\rb\n", 10), [text("a\rb")]);
    }

    #[test]
    fn a_line_is_as_long_as_allowed_and_no_longer() {
        for end in ["", "\n", "\r\n"] {
            assert_eq!(lines(format!("abcd{end}").as_bytes(), 4), [text("abcd")], "{end:?}");
            assert_eq!(lines(format!("abcde{end}").as_bytes(), 4), [Line::TooLong], "{end:?}");
            assert_eq!(lines(format!("abcdef{end}").as_bytes(), 4), [Line::TooLong], "{end:?}");
            assert_eq!(lines(format!("abcdefg{end}").as_bytes(), 4), [Line::TooLong], "{end:?}");
        }
        assert_eq!(lines(b"abcd\n", u64::MAX), [text("abcd")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_over() {
        assert_eq!(lines(b"a\n\xff\xfe\nb\n", 10), [text("a"), Line::NotUtf8, text("b")]);
    }
}
