//! The list of hosts that are reached without a proxy.

use core::net::IpAddr;

use crate::handshake::{Authority, WsUrl};

/// The entries of a `NO_PROXY` value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// `None` for every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name in lower case, and every name below it.
    Domain(Box<str>),
    /// The addresses that share the first so many bits with this one.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Entries stand between commas or blanks; what is no entry is passed over.
    pub(super) fn parse(value: &str) -> Self {
        let entries = value.split(|c: char| c == ',' || c.is_ascii_whitespace());
        Self { entries: entries.filter_map(Entry::parse).collect() }
    }

    pub(super) fn matches(&self, url: &WsUrl) -> bool {
        let name = url.host().strip_suffix('.').unwrap_or(url.host());
        let address = name.parse().ok().map(|address: IpAddr| address.to_canonical());
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|port| port == url.port())
                && match (&entry.hosts, address) {
                    (Hosts::All, _) => true,
                    (Hosts::Domain(domain), None) => is_within(name, domain),
                    (Hosts::Network(network, bits), Some(address)) => contains(*network, *bits, address),
                    // A name has no address before it is resolved, which is not for the core to do.
                    (Hosts::Domain(_), Some(_)) | (Hosts::Network(..), None) => false,
                }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some((address, bits)) = text.split_once('/') {
            let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
            let network = Hosts::network(address.parse().ok()?, bits.parse().ok().filter(|_| is_number)?)?;
            return Some(Self { hosts: network, port: None });
        }
        if let Ok(address) = text.parse() {
            return Some(Self { hosts: Hosts::address(address)?, port: None });
        }
        let text = text.strip_prefix("*.").or(text.strip_prefix('.')).unwrap_or(text);
        let Authority { host, port } = Authority::parse(text).ok()?;
        let hosts = match host.parse() {
            Ok(address) => Hosts::address(address)?,
            Err(_) => Hosts::Domain(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into()),
        };
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn address(address: IpAddr) -> Option<Self> {
        Self::network(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// Networks of IPv4 addresses that are written as IPv6 become what they are.
    fn network(address: IpAddr, bits: u32) -> Option<Self> {
        match address {
            IpAddr::V4(_) if bits > 32 => None,
            IpAddr::V6(_) if bits > 128 => None,
            IpAddr::V6(mapped) if bits >= 96 => match mapped.to_ipv4_mapped() {
                Some(address) => Some(Self::Network(address.into(), bits.saturating_sub(96))),
                None => Some(Self::Network(address, bits)),
            },
            _ => Some(Self::Network(address, bits)),
        }
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    match name.strip_suffix(domain) {
        Some(below) => !domain.is_empty() && (below.is_empty() || below.ends_with('.')),
        None => false,
    }
}

fn contains(network: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(value: &str, url: &str) -> bool {
        NoProxy::parse(value).matches(&WsUrl::parse(url).unwrap())
    }

    #[test]
    fn each_form_of_entry_excepts_what_it_names() {
        // (NO_PROXY, host and port of a ws URL, whether it is reached without a proxy)
        let table = [
            ("", "example.com", false),
            (",, ,", "example.com", false),
            ("*", "example.com", true),
            ("*", "[::1]:9000", true),
            ("other, *", "example.com", true),
            ("*x", "x", false), // no patterns
            ("ex*.com", "example.com", false),
            // Names, and what is below them.
            ("example.com", "example.com", true),
            ("example.com", "example.com:8080", true),
            ("example.com", "www.example.com", true),
            ("example.com", "a.b.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com", "example.com.evil", false),
            ("example.com", "example.co", false),
            ("example.com", "com", false),
            ("com", "example.com", true),
            (".example.com", "www.example.com", true),
            (".example.com", "example.com", true), // as in curl
            (".example.com", "notexample.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "notexample.com", false),
            ("EXAMPLE.com", "www.Example.COM", true),
            ("example.com.", "example.com", true),
            ("example.com", "example.com.", true),
            (".", "example.com", false),
            ("*.", "example.com", false),
            ("..com", "example.com", false),
            // Lists.
            ("a,example.com,b", "example.com", true),
            (" a , example.com ", "example.com", true),
            ("a example.com\tb", "example.com", true),
            ("http://bad,,b\u{fc}cher,example.com", "example.com", true), // what is no entry spoils nothing
            ("a,b", "example.com", false),
            // Ports.
            ("example.com:8080", "example.com:8080", true),
            ("example.com:8080", "www.example.com:8080", true),
            ("example.com:8080", "example.com", false),
            ("example.com:80", "example.com", true), // the default port of ws
            ("example.com:x", "example.com", false),
            ("192.0.2.1:8080", "192.0.2.1:8080", true),
            ("192.0.2.1:8080", "192.0.2.1:8081", false),
            ("[2001:db8::1]:8080", "[2001:db8::1]:8080", true),
            ("[2001:db8::1]:8080", "[2001:db8::1]", false),
            // Addresses are compared as such.
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("2.1", "192.0.2.1", false),
            (".2.1", "192.0.2.1", false),
            ("2001:db8::1", "[2001:db8::1]", true),
            ("2001:DB8:0:0::1", "[2001:db8::1]", true),
            ("[2001:db8::1]", "[2001:db8::1]", true),
            ("2001:db8::1", "[2001:db8::2]", false),
            ("192.0.2.1", "[::ffff:192.0.2.1]", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            // Networks.
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("192.0.2.0/31", "192.0.2.1", true),
            ("192.0.2.0/31", "192.0.2.2", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "[2001:db8::1]", false),
            ("0.0.0.0/0", "example.com", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/", "10.0.0.0", false),
            ("10.0.0.0/-1", "10.0.0.0", false),
            ("10.0.0.0/+8", "10.0.0.0", false),
            ("10.0.0.0/8/8", "10.0.0.0", false),
            ("10/8", "10.0.0.0", false),
            ("fd00::/8", "[fd12:3456::1]", true),
            ("fd00::/8", "[fe80::1]", false),
            ("2001:db8::/33", "[2001:db8:7fff::1]", true),
            ("2001:db8::/33", "[2001:db8:8000::1]", false),
            ("2001:db8::1/128", "[2001:db8::1]", true),
            ("2001:db8::1/129", "[2001:db8::1]", false),
            ("::/0", "[2001:db8::1]", true),
            ("::/0", "192.0.2.1", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
            // Nothing is special, as in curl.
            ("", "localhost", false),
            ("", "127.0.0.1", false),
            ("", "[::1]", false),
            ("localhost", "localhost", true),
        ];
        for (value, host, expected) in table {
            assert_eq!(matches(value, &format!("ws://{host}/")), expected, "{value:?} for {host}");
        }
        assert!(matches("example.com:443", "wss://example.com/"));
        assert!(!matches("example.com:80", "wss://example.com/"));
    }

    proptest! {
        #[test]
        fn no_value_makes_the_parser_panic(value in "[a-z0-9.:/*,\\[\\] \u{e9}]{0,40}", v6: u128, v4: u32) {
            let list = NoProxy::parse(&value);
            for host in [format!("[{}]", core::net::Ipv6Addr::from(v6)), core::net::Ipv4Addr::from(v4).to_string()] {
                list.matches(&WsUrl::parse(&format!("ws://{host}/")).unwrap());
            }
        }

        #[test]
        fn a_network_is_what_shares_its_first_bits(network: u32, address: u32, bits in 0..=32u32) {
            let value = format!("{}/{bits}", core::net::Ipv4Addr::from(network));
            let url = format!("ws://{}/", core::net::Ipv4Addr::from(address));
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            prop_assert_eq!(matches(&value, &url), network & mask == address & mask);
        }
    }
}
