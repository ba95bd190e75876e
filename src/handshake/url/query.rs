//! Parameters of the query, `name=value&…` (URL Standard section 5, RFC 3986 section 3.4).

use std::fmt::Write as _;

use super::{WsUrl, percent_decoded};

impl WsUrl {
    /// Sets a parameter of the query, in place of those of the same name, behind all others. What a query may not hold, or would be
    /// taken for something else, is escaped: any text will do.
    ///
    /// Servers that browsers talk to expect tokens there, since browsers set no headers. They end up in the logs of servers and
    /// proxies, so a header is better where it is possible. This library shows no query in its `Debug` forms.
    ///
    /// ```
    /// use sansocket::handshake::WsUrl;
    ///
    /// let url = WsUrl::parse("wss://example.com/chat?room=7&token=old")?;
    /// let url = url.with_query_parameter("token", "a&b=c d");
    /// assert_eq!(url.target(), "/chat?room=7&token=a%26b%3Dc%20d");
    /// assert_eq!(format!("{url:?}"), "wss://example.com/chat?(hidden)");
    /// # Ok::<(), sansocket::handshake::UrlError>(())
    /// ```
    #[must_use]
    pub fn with_query_parameter(self, name: &str, value: &str) -> Self {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut target = format!("{path}?");
        let is_other = |part: &&str| {
            let present = part.split_once('=').map_or(*part, |(name, _)| name);
            !part.is_empty() && percent_decoded(present) != name.as_bytes()
        };
        for part in query.split('&').filter(is_other) {
            target.push_str(part);
            target.push('&');
        }
        escape(name, &mut target);
        target.push('=');
        escape(value, &mut target);
        Self { target: target.into(), ..self }
    }
}

/// All but the unreserved characters of RFC 3986 section 2.3.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")), // a string takes all
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_takes_the_place_of_its_namesakes() {
        for (before, after) in [
            ("ws://h", "/?t=1"),
            ("ws://h/a?", "/a?t=1"),
            ("ws://h/a?t", "/a?t=1"),
            ("ws://h/a?t=0&b=2&%74=3&T=4&t", "/a?b=2&T=4&t=1"),
            ("ws://h/a?b=t=5&&c", "/a?b=t=5&c&t=1"),
        ] {
            assert_eq!(WsUrl::parse(before).unwrap().with_query_parameter("t", "1").target(), after, "{before}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_set_is_a_url_and_can_be_read_again(name: String, value: String) {
            let url = WsUrl::parse("ws://h/a?b=c").unwrap().with_query_parameter(&name, &value);
            let again = WsUrl::parse(&format!("ws://h{}", url.target())).unwrap();
            let (read_name, read_value) = again.target().rsplit_once(['?', '&']).unwrap().1.split_once('=').unwrap();
            prop_assert_eq!(percent_decoded(read_name), name.as_bytes());
            prop_assert_eq!(percent_decoded(read_value), value.as_bytes());
        }
    }
}
