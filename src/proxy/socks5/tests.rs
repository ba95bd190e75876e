use super::super::Prelude;
use super::super::drive::{config, drive, error, now, outcome, prelude};
use super::*;

const PROXY: &str = "socks5h://proxy";
const WITH_LOGIN: &str = "socks5h://user:pass@proxy";
const EXAMPLE_COM: &[u8] = b"\x05\x01\0\x03\x0bexample.com\x01\xbb";

#[test]
fn a_tunnel_without_login() {
    // RFC 1928 sections 3 to 6.
    let wire = b"\x05\0\x05\0\0\x01\x7f\0\0\x01\x04\x38tunnel";
    let (written, outcome, tunnel) = drive(prelude(PROXY), wire, &[1]);
    assert_eq!((written, outcome, tunnel), ([b"\x05\x01\0", EXAMPLE_COM].concat(), Ok(()), b"tunnel".to_vec()));
}

#[test]
fn a_tunnel_with_login() {
    // RFC 1929 section 2.
    let wire = b"\x05\x02\x01\0\x05\0\0\x01\x7f\0\0\x01\x04\x38tunnel";
    let (written, outcome, tunnel) = drive(prelude(WITH_LOGIN), wire, &[1]);
    let expected = [b"\x05\x02\0\x02\x01\x04user\x04pass", EXAMPLE_COM].concat();
    assert_eq!((written, outcome, tunnel), (expected, Ok(()), b"tunnel".to_vec()));
    // The proxy may not want it.
    let wire = b"\x05\0\x05\0\0\x01\x7f\0\0\x01\x04\x38";
    let (written, outcome, _) = drive(prelude(WITH_LOGIN), wire, &[1]);
    assert_eq!((written, outcome), ([b"\x05\x02\0\x02", EXAMPLE_COM].concat(), Ok(())));
}

#[test]
fn the_bound_address_is_passed_over_to_the_byte() {
    let longest = [&[3, 255][..], &[b'x'; 255]].concat();
    let addresses: [&[u8]; 6] =
        [b"\x01\x7f\0\0\x01", b"\x04aaaabbbbccccdddd", b"\x03\x00", b"\x03\x01h", b"\x03\x0bexample.com", &longest];
    for address in addresses {
        for rest in [&b""[..], b"\x05", b"\0\0\0\0"] {
            let wire = [b"\x05\0\x05\0\0", address, b"\x01\xbb", rest].concat();
            assert_eq!(outcome(PROXY, &wire), (Ok(()), rest.to_vec()), "{address:?}");
        }
        // A byte less is not enough.
        let wire = [b"\x05\0\x05\0\0", address, b"\x01"].concat();
        assert_eq!(error(PROXY, &wire), ProxyError::EndOfStream);
    }
    // The reserved byte may be any: there is nothing to be gained by a refusal.
    assert_eq!(outcome(PROXY, b"\x05\0\x05\0\xff\x03\0\0\0").0, Ok(()));
}

#[test]
fn each_reply_has_its_meaning() {
    use SocksReply::*;
    // RFC 1928 section 6.
    let table = [
        (1, GeneralFailure, "the proxy did not connect: general failure"),
        (2, NotAllowed, "the proxy did not connect: not allowed by its ruleset"),
        (3, NetworkUnreachable, "the proxy did not connect: network unreachable"),
        (4, HostUnreachable, "the proxy did not connect: host unreachable"),
        (5, ConnectionRefused, "the proxy did not connect: connection refused"),
        (6, TtlExpired, "the proxy did not connect: time to live expired"),
        (7, CommandNotSupported, "the proxy did not connect: command not supported"),
        (8, AddressTypeNotSupported, "the proxy did not connect: address type not supported"),
        (9, Other(9), "the proxy did not connect: reply code 0x09"),
        (255, Other(255), "the proxy did not connect: reply code 0xff"),
    ];
    for (code, reply, text) in table {
        // The rest of the answer, or a part of it, or none.
        for rest in [&b"\0\x01\0\0\0\0\0\0"[..], b"\0\x01\0", b""] {
            let error = error(PROXY, &[&b"\x05\0\x05"[..], &[code], rest].concat());
            assert_eq!((&error, error.to_string().as_str()), (&ProxyError::Socks(reply), text));
        }
    }
    for code in 1..=255 {
        assert_eq!(SocksReply::of(code).code(), code);
    }
}

#[test]
fn every_deviation_is_told_at_its_byte() {
    use ProxyError::*;
    let table: [(&str, &[u8], ProxyError); 14] = [
        (PROXY, b"\x05\xff", NoAcceptableMethod),
        (WITH_LOGIN, b"\x05\xff", NoAcceptableMethod),
        (PROXY, b"\x05\x02", MethodNotOffered { method: 2 }),
        (PROXY, b"\x05\x01", MethodNotOffered { method: 1 }),
        (WITH_LOGIN, b"\x05\x01", MethodNotOffered { method: 1 }),
        (PROXY, b"\x04", NotSocks5 { version: 4 }),
        (PROXY, b"HTTP/1.1 400 Bad Request\r\n\r\n", NotSocks5 { version: b'H' }),
        (PROXY, b"\x05\0\x04", NotSocks5 { version: 4 }),
        (PROXY, b"\x05\0\x05\0\0\x02", AddressTypeUnknown { address_type: 2 }),
        (PROXY, b"\x05\0\x05\0\0\0", AddressTypeUnknown { address_type: 0 }),
        (WITH_LOGIN, b"\x05\x02\x05", LoginVersion { version: 5 }),
        (WITH_LOGIN, b"\x05\x02\x01\x01", LoginRefused { status: 1 }),
        (WITH_LOGIN, b"\x05\x02\x01\xff", LoginRefused { status: 255 }),
        (WITH_LOGIN, b"\x05\x02\x01\0\x05\x02", Socks(SocksReply::NotAllowed)),
    ];
    for (proxy, wire, expected) in table {
        assert_eq!(error(proxy, wire), expected, "{wire:?}");
        // It does not take the end of the stream to know.
        let mut prelude = prelude(proxy);
        let mut input = RecvBuf::new();
        input.extend_from_slice(wire);
        assert_eq!(prelude.poll_outcome(&mut input), Some(Err(expected)));
    }
}

#[test]
fn what_does_not_fit_is_refused_up_front() {
    let long = "x".repeat(256);
    let (name, host) = (Target::new(&long, 80).unwrap(), Target::new("h", 80).unwrap());
    let socks = |target: &Target, credentials: Option<&Credentials>| {
        Prelude::socks5(target, credentials, &config(), now()).map(|_| ()).unwrap_err()
    };
    assert_eq!(socks(&name, None), PreludeError::HostTooLong { len: 256 });
    let user = Credentials::new(&long, "").unwrap();
    assert_eq!(socks(&host, Some(&user)), PreludeError::UserTooLong { len: 256 });
    let password = Credentials::new("", &long).unwrap();
    assert_eq!(socks(&host, Some(&password)), PreludeError::PasswordTooLong { len: 256 });
}
