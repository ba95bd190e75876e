//! Tokens and the comma-separated lists of them (RFC 9110 sections 5.6.1 and 5.6.2).

/// Whether `bytes` is a token: one or more of the characters that need no quoting.
///
/// RFC 9110 section 5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a list field contains `token` as a whole element, without regard to case.
///
/// `values` are the lines of the field, which together are one list. A list with an element that is
/// no token matches nothing: what is malformed is not guessed at. Empty elements are skipped, as
/// RFC 9110 section 5.6.1.2 asks.
///
/// ```
/// use sansocket::handshake::has_token;
///
/// let has_upgrade = |value: &str| has_token([value.as_bytes()], "upgrade");
/// assert!(has_upgrade("keep-alive, Upgrade"));
/// assert!(!has_upgrade("notupgradeatall"));
/// ```
pub fn has_token<'a>(values: impl IntoIterator<Item = &'a [u8]>, token: &str) -> bool {
    has_element(values, token, is_token)
}

/// Whether an `Upgrade` field contains `protocol` without a version, without regard to case.
///
/// Its elements are `name` or `name/version` (RFC 9110 section 7.8), so that `h2c/1, websocket`
/// is well-formed, too.
pub(super) fn has_protocol<'a>(values: impl IntoIterator<Item = &'a [u8]>, protocol: &str) -> bool {
    has_element(values, protocol, |element| {
        let mut parts = element.splitn(2, |&byte| byte == b'/');
        parts.all(is_token)
    })
}

/// The elements of one line of a list field, trimmed; empty ones are left out.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_blanks).filter(|element| !element.is_empty())
}

/// `bytes` without the spaces and tabs at its ends (OWS, RFC 9110 section 5.6.3).
pub(super) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    ) || byte.is_ascii_alphanumeric()
}

fn has_element<'a>(
    values: impl IntoIterator<Item = &'a [u8]>,
    wanted: &str,
    is_well_formed: impl Fn(&[u8]) -> bool,
) -> bool {
    let mut found = false;
    for element in values.into_iter().flat_map(elements) {
        if !is_well_formed(element) {
            return false;
        }
        found |= element.eq_ignore_ascii_case(wanted.as_bytes());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_separator_and_no_control_byte() {
        // RFC 9110 section 5.6.2: the delimiters are (),/:;<=>?@[\]{} and the double quote.
        for byte in 0..=255u8 {
            let delimiter = br#"(),/:;<=>?@[\]{}""#.contains(&byte);
            assert_eq!(is_token(&[byte]), byte.is_ascii_graphic() && !delimiter, "byte {byte:#04x}");
        }
        assert!(is_token(b"Sec-WebSocket-Key"));
        assert!(!is_token(b""));
        assert!(!is_token(b"two words"));
    }

    #[test]
    fn only_a_whole_token_matches() {
        let table: [(&[&str], bool); 21] = [
            (&["upgrade"], true),
            (&["Upgrade"], true),
            (&["UPGRADE"], true),
            (&["keep-alive, Upgrade"], true),
            (&["keep-alive,Upgrade"], true),
            (&["\tupgrade \t"], true),
            (&[", ,upgrade,,"], true),          // RFC 9110 section 5.6.1.2
            (&["keep-alive", "upgrade"], true), // RFC 9110 section 5.3: the lines are one list
            (&[], false),
            (&[""], false),
            (&[","], false),
            (&["notupgradeatall"], false),
            (&["upgrades"], false),
            (&["notupgrade"], false),
            (&["up grade"], false),
            (&["\"upgrade\""], false),
            (&["upgrade;q=1"], false),
            (&["upgrade, bad token"], false), // a malformed list matches nothing
            (&["upgrade", "\"open"], false),
            (&["upgrade/1"], false),
            (&["up", "grade"], false),
        ];
        for (lines, expected) in table {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(has_token(lines.clone(), "upgrade"), expected, "{:?}", lines.collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_upgrade_field_may_name_versions_of_other_protocols() {
        let table: [(&str, bool); 10] = [
            ("websocket", true),
            ("WebSocket", true),
            ("HTTP/2.0, websocket", true),
            ("h2c, websocket", true),
            ("websocket/13", false),
            ("websocket/", false),
            ("HTTP/2/0, websocket", false),
            ("/, websocket", false),
            ("websockets", false),
            ("nowebsocket", false),
        ];
        for (value, expected) in table {
            assert_eq!(has_protocol([value.as_bytes()], "websocket"), expected, "{value}");
        }
    }
}
