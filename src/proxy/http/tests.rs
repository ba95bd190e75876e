use super::super::drive::{config, drive, error, now, outcome, prelude, refusal};
use super::super::{Prelude, Proxy};
use super::*;
use crate::handshake::{FieldError, WsUrl};

const PROXY: &str = "http://proxy";

#[test]
fn the_request_is_what_the_rfc_wants() {
    // RFC 9110 section 9.3.6, RFC 9112 section 3.2.3, RFC 7617 section 2.
    let table = [
        ("http://proxy", "ws://Example.com/x", "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"),
        ("http://proxy", "wss://[::1]/x", "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"),
        (
            "http://Aladdin:open%20sesame@proxy",
            "wss://h:8443",
            "CONNECT h:8443 HTTP/1.1\r\nHost: h:8443\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
        ),
        // The server's credentials are none of the proxy's business.
        ("http://proxy", "wss://u:p@h", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"),
    ];
    for (proxy, url, request) in table {
        let proxy = Proxy::parse(proxy).unwrap();
        let prelude = proxy.prelude(&WsUrl::parse(url).unwrap(), &config(), now()).unwrap();
        assert_eq!(String::from_utf8_lossy(prelude.outgoing()), request);
    }
}

#[test]
fn fields_are_added_and_an_authorization_among_them_wins() {
    let proxy = Proxy::parse("http://u:p@proxy").unwrap().header("User-Agent", "x/1").unwrap();
    let proxy = proxy.header("proxy-authorization", "Bearer t").unwrap();
    let prelude = proxy.prelude(&WsUrl::parse("ws://h").unwrap(), &config(), now()).unwrap();
    assert_eq!(
        String::from_utf8_lossy(prelude.outgoing()),
        "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nUser-Agent: x/1\r\nproxy-authorization: Bearer t\r\n\r\n"
    );
    let mut headers = OwnedHeaders::new();
    headers.push("Host", "other").unwrap();
    let refused = Prelude::http_connect(&Target::new("h", 80).unwrap(), None, &headers, &config(), now());
    assert_eq!(refused.unwrap_err(), PreludeError::Field(FieldError::NameReserved { name: "Host" }));
}

#[test]
fn any_success_opens_the_tunnel_and_what_follows_is_the_tunnels() {
    // RFC 9110 section 9.3.6, RFC 9112 section 6.3: no body, whatever the fields say.
    let heads = [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
        "HTTP/1.1 299 \r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for head in heads {
        for rest in [&b""[..], b"\x16\x03\x01", b"HTTP/1.1 403 No\r\n\r\n", b"\r\n\r\n\0"] {
            let wire = [head.as_bytes(), rest].concat();
            assert_eq!(outcome(PROXY, &wire), (Ok(()), rest.to_vec()), "{head:?}");
        }
    }
}

#[test]
fn every_other_status_is_a_refusal() {
    for status in (101..=101).chain(300..=999) {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        let (_, outcome, _) = drive(prelude(PROXY), text.as_bytes(), &[1000]);
        assert_eq!(refusal(outcome.unwrap_err()).status, status);
    }
    let text = "HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?rest";
    let refused = error(PROXY, text.as_bytes());
    assert_eq!(refused.to_string(), "the proxy refused with status 407");
    let refusal = refusal(refused);
    assert_eq!(refusal.headers.get("proxy-authenticate"), Some("Basic"));
    assert_eq!((&refusal.body[..], refusal.body_truncated), (&b"who?"[..], false));
}

#[test]
fn of_a_refusals_body_as_much_is_kept_as_is_allowed() {
    let chunked = "Transfer-Encoding: chunked";
    // (field, body on the wire, what is kept, whether it is cut); at most 10 bytes
    let table = [
        ("X: y", "123456789", "123456789", false),
        ("X: y", "1234567890", "1234567890", false),
        ("X: y", "12345678901", "1234567890", true),
        ("Content-Length: 9", "1234567890", "123456789", false),
        ("Content-Length: 10", "1234567890", "1234567890", false),
        ("Content-Length: 11", "12345678901", "1234567890", true),
        ("Content-Length: 9", "12345", "12345", true),
        (chunked, "2\r\nno\r\n0\r\n\r\n", "no", false),
        (chunked, "7\r\n1234567\r\n", "1234567", true),
        (chunked, "7\r\n123", "123", true),
    ];
    for (field, body, kept, truncated) in table {
        let text = format!("HTTP/1.1 403 No\r\n{field}\r\n\r\n{body}");
        let refusal = refusal(error(PROXY, text.as_bytes()));
        assert_eq!((&refusal.body[..], refusal.body_truncated), (kept.as_bytes(), truncated), "{field}: {body:?}");
    }
}

#[test]
fn the_head_is_limited_interim_answers_included() {
    let too_long = ProxyError::Response(ResponseFault::HeadTooLong { max: 200 });
    for interim in [0, 1, 2] {
        for len in [199, 200, 201, 1000] {
            let interims = "HTTP/1.1 100 \r\n\r\n".repeat(interim);
            let fixed = interims.len() + "HTTP/1.1 200 \r\nX: \r\n\r\n".len();
            let text = format!("{interims}HTTP/1.1 200 \r\nX: {}\r\n\r\n", "x".repeat(len - fixed));
            let expected = if len <= 200 { Ok(()) } else { Err(too_long.clone()) };
            assert_eq!(outcome(PROXY, text.as_bytes()).0, expected, "{interim} interim answers, {len} bytes");
        }
    }
    let forever = "HTTP/1.1 100 \r\n\r\n".repeat(100);
    assert_eq!(error(PROXY, forever.as_bytes()), too_long);
}

#[test]
fn the_number_of_fields_is_limited() {
    for fields in [2, 3, 4] {
        for status in [200, 403] {
            let text = format!("HTTP/1.1 {status} x\r\n{}\r\n", "a: b\r\n".repeat(fields));
            let found = outcome(PROXY, text.as_bytes()).0;
            let too_many = Err(ProxyError::Response(ResponseFault::TooManyHeaders { max: 3 }));
            assert_eq!(found == too_many, fields > 3, "{status} with {fields} fields: {found:?}");
        }
    }
}

#[test]
fn what_is_no_answer_is_told_at_once() {
    use ResponseFault::{HttpVersion, Malformed};
    let table: [(&[u8], ResponseFault); 6] = [
        (b"HTTP/1.1 200 OK\n\n", Malformed),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", Malformed),
        (b"\x05\x00", Malformed), // SOCKS
        (b"HTTP/1.1 99 x\r\n\r\n", Malformed),
        (b"HTTP/2.0 200 OK\r\n\r\n", HttpVersion),
        (b"SSH-2.0-x\r\n\r\n", Malformed),
    ];
    for (wire, fault) in table {
        assert_eq!(error(PROXY, wire), ProxyError::Response(fault), "{wire:?}");
    }
}
