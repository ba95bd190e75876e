//! Where a tunnel is to lead.

use core::net::{IpAddr, Ipv6Addr};
use std::fmt;

use super::PreludeError;
use crate::handshake::{Authority, WsUrl};

/// The host and the port that a proxy is asked to connect to.
///
/// ```
/// use sansocket::handshake::WsUrl;
/// use sansocket::proxy::Target;
///
/// assert_eq!(Target::new("::1", 9000)?.to_string(), "[::1]:9000");
/// assert_eq!(Target::from(&WsUrl::parse("wss://example.com/chat")?).to_string(), "example.com:443");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// In lower case, without the brackets of an IPv6 address.
    host: Box<str>,
    port: u16,
}

impl Target {
    /// `host` is a name or an address; an IPv6 address may stand in brackets. `port` is not 0.
    ///
    /// # Errors
    ///
    /// [`PreludeError::HostInvalid`] and [`PreludeError::PortInvalid`]. What is no host name, CR, LF and NUL included, never reaches a
    /// proxy.
    pub fn new(host: &str, port: u16) -> Result<Self, PreludeError> {
        if port == 0 {
            return Err(PreludeError::PortInvalid);
        }
        let host = match Authority::parse(host) {
            Ok(Authority { host, port: None }) => host,
            _ => host.parse::<Ipv6Addr>().map(|_| host).map_err(|_| PreludeError::HostInvalid)?,
        };
        Ok(Self { host: host.to_ascii_lowercase().into(), port })
    }

    /// The host in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The destination of a SOCKS5 request: address type, address and port. RFC 1928 section 5.
    pub(super) fn socks_address(&self) -> Result<Vec<u8>, PreludeError> {
        let mut address = match self.host.parse() {
            Ok(IpAddr::V4(address)) => [&[IPV4][..], &address.octets()].concat(),
            Ok(IpAddr::V6(address)) => [&[IPV6][..], &address.octets()].concat(),
            Err(_) => {
                let len = self.host.len();
                let len = u8::try_from(len).map_err(|_| PreludeError::HostTooLong { len })?;
                [&[DOMAIN_NAME, len], self.host.as_bytes()].concat()
            }
        };
        address.extend_from_slice(&self.port.to_be_bytes());
        Ok(address)
    }
}

impl From<&WsUrl> for Target {
    fn from(url: &WsUrl) -> Self {
        Self { host: url.host().into(), port: url.port() }
    }
}

/// As it stands in a `CONNECT`: the host, in brackets if need be, and always the port. RFC 9112 section 3.2.3.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

/// The types of address. RFC 1928 section 5.
pub(super) const IPV4: u8 = 1;
pub(super) const DOMAIN_NAME: u8 = 3;
pub(super) const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_written_for_each_kind_of_proxy() {
        let v6 = b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
        let table: [(&str, u16, &str, &[u8]); 6] = [
            ("example.com", 80, "example.com:80", b"\x03\x0bexample.com\0\x50"),
            ("192.0.2.1", 443, "192.0.2.1:443", b"\x01\xc0\0\x02\x01\x01\xbb"),
            ("2001:db8::1", 443, "[2001:db8::1]:443", v6),
            ("[2001:DB8::1]", 443, "[2001:db8::1]:443", v6),
            ("127.1", 65535, "127.1:65535", b"\x03\x05127.1\xff\xff"), // a name, for all that the core knows
            ("my_host.local.", 1, "my_host.local.:1", b"\x03\x0emy_host.local.\0\x01"),
        ];
        for (host, port, text, socks) in table {
            let target = Target::new(host, port).unwrap();
            assert_eq!((target.to_string().as_str(), &target.socks_address().unwrap()[..]), (text, socks), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let hosts = [
            "",
            " ",
            "a b",
            "a:80",
            "a/b",
            "a@b",
            "a\r\nX: y",
            "a\r",
            "a\n",
            "a\0",
            "[::1",
            "::1]",
            "[::1]:80",
            "[a]",
            "b\u{fc}cher",
            "fe80::1%eth0",
            "a%41",
            "*",
        ];
        for host in hosts {
            assert_eq!(Target::new(host, 80), Err(PreludeError::HostInvalid), "{host:?}");
        }
        assert_eq!(Target::new("a", 0), Err(PreludeError::PortInvalid));
    }

    #[test]
    fn a_name_of_255_bytes_fits_into_socks_and_no_longer_one() {
        for len in [1, 254, 255, 256, 257] {
            let target = Target::new(&"a".repeat(len), 80).unwrap();
            let expected = if len <= 255 { Ok(len + 4) } else { Err(PreludeError::HostTooLong { len }) };
            assert_eq!(target.socks_address().map(|address| address.len()), expected);
        }
    }
}
