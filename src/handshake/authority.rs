//! The host and the port, as they stand in URLs, in `Host` and in `Origin`.

use core::net::Ipv6Addr;

/// `host [ ":" port ]` (RFC 3986 section 3.2 without the user information).
///
/// Stricter than the grammar: a registered name is letters, digits, `-`, `.`, `_` and `~` only. No
/// name that DNS knows has more, and the comma and the percent sign of the grammar are what attacks
/// are made of. An empty port is refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Authority<'a> {
    /// Without the brackets of an IPv6 address: only such an address contains a colon.
    pub(crate) host: &'a str,
    /// 1 to 65535.
    pub(crate) port: Option<u16>,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum AuthorityError {
    HostEmpty,
    HostInvalid,
    PortInvalid,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, AuthorityError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(AuthorityError::HostInvalid)?;
                // A zone (RFC 6874) means nothing to the peer; the address parser refuses it.
                host.parse::<Ipv6Addr>().map_err(|_| AuthorityError::HostInvalid)?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if rest.is_empty() => None,
                    None => return Err(AuthorityError::HostInvalid),
                };
                (host, port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                if host.is_empty() {
                    return Err(AuthorityError::HostEmpty);
                }
                if !host.bytes().all(is_name_byte) {
                    return Err(AuthorityError::HostInvalid);
                }
                (host, port)
            }
        };
        let port = port.map(|port| parse_port(port).ok_or(AuthorityError::PortInvalid)).transpose()?;
        Ok(Self { host, port })
    }

    pub(super) fn parse_bytes(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| AuthorityError::HostInvalid)?)
    }

    /// Whether both name the same host and port, where a missing port is `default_port`.
    pub(super) fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn parse_port(text: &str) -> Option<u16> {
    if text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&port| port != 0)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use AuthorityError::{HostEmpty, HostInvalid, PortInvalid};

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        let table = [
            ("example.com", Ok(("example.com", None))),
            ("EXAMPLE.com:8080", Ok(("EXAMPLE.com", Some(8080)))),
            ("my_host.local:1", Ok(("my_host.local", Some(1)))),
            ("127.0.0.1:65535", Ok(("127.0.0.1", Some(65535)))),
            ("[::1]", Ok(("::1", None))),
            ("[2001:db8::1]:443", Ok(("2001:db8::1", Some(443)))),
            ("[::ffff:192.0.2.1]", Ok(("::ffff:192.0.2.1", None))),
            ("xn--bcher-kva.example", Ok(("xn--bcher-kva.example", None))),
            ("", Err(HostEmpty)),
            (":80", Err(HostEmpty)),
            ("a:", Err(PortInvalid)),
            ("a:0", Err(PortInvalid)),
            ("a:65536", Err(PortInvalid)),
            ("a:000080", Err(PortInvalid)),
            ("a:+80", Err(PortInvalid)),
            ("a:-1", Err(PortInvalid)),
            ("a:8o", Err(PortInvalid)),
            ("a:80:80", Err(PortInvalid)),
            ("a:80@b", Err(PortInvalid)),
            ("::1", Err(HostEmpty)), // an IPv6 address without its brackets
            ("2001:db8::1", Err(PortInvalid)),
            ("[::1", Err(HostInvalid)),
            ("[]", Err(HostInvalid)),
            ("[::1]80", Err(HostInvalid)),
            ("[::1]:", Err(PortInvalid)),
            ("[fe80::1%25eth0]", Err(HostInvalid)),
            ("[fe80::1%eth0]", Err(HostInvalid)),
            ("[v1.x]", Err(HostInvalid)),
            ("[example.com]", Err(HostInvalid)),
            ("[1.2.3.4]", Err(HostInvalid)),
            ("user@a", Err(HostInvalid)),
            ("a b", Err(HostInvalid)),
            ("a,b", Err(HostInvalid)),
            ("a/b", Err(HostInvalid)),
            ("a\\b", Err(HostInvalid)),
            ("a%2eb", Err(HostInvalid)),
            ("b\u{fc}cher.example", Err(HostInvalid)),
            ("a\r\nb", Err(HostInvalid)),
            ("a\0", Err(HostInvalid)),
        ];
        for (text, expected) in table {
            let found = Authority::parse(text).map(|authority| (authority.host, authority.port));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
