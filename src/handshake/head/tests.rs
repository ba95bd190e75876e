use proptest::prelude::*;

use super::*;

fn parse(head: &str) -> Result<RequestHead<'_>, RequestFault> {
    parse_request(head.as_bytes(), 100)
}

fn request(target: &str, host: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn a_request_is_lent_from_its_bytes() {
    let head =
        parse("GET /chat?a=b?c HTTP/1.1\r\nHost:example.com\r\nX-Empty:\r\nX: \t a b \t\r\nx: \u{e9}\r\n\r\n").unwrap();
    assert_eq!((head.method, head.target, head.version), ("GET", "/chat?a=b?c", HttpVersion::Http11));
    assert_eq!((head.path(), head.query()), ("/chat", Some("a=b?c")));
    let fields: Vec<_> = head.headers.iter().collect();
    let expected: [(&str, &[u8]); 4] =
        [("Host", b"example.com"), ("X-Empty", b""), ("X", b"a b"), ("x", "\u{e9}".as_bytes())];
    assert_eq!(fields, expected);
    assert_eq!(head.headers.get_all("X").count(), 2);
    assert_eq!(head.headers.to_owned().iter().collect::<Vec<_>>(), expected);
}

#[test]
fn path_and_query_of_each_form_of_target() {
    let table = [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?", "/a", Some("")),
        ("/a?b=http://c/d", "/a", Some("b=http://c/d")),
        ("//a://b", "//a://b", None),
        ("http://example.com", "/", None),
        ("http://example.com?q", "/", Some("q")),
        ("HTTPS://example.com/a?q", "/a", Some("q")),
    ];
    for (target, path, query) in table {
        let text = request(target, "example.com");
        let head = parse(&text).unwrap();
        assert_eq!((head.path(), head.query()), (path, query), "{target}");
        let owned = head.to_owned();
        assert_eq!((owned.path(), owned.query()), (path, query), "{target}");
    }
}

#[test]
fn a_target_is_in_origin_form_or_in_absolute_form_for_the_same_host() {
    use RequestFault::{TargetHostMismatch, TargetMalformed};
    // RFC 9112 section 3.2.
    let table = [
        ("/", "example.com", Ok(())),
        ("//evil.com/x", "example.com", Ok(())), // a path that looks like a host stays a path
        ("http://example.com/x", "example.com", Ok(())),
        ("http://example.com:80/x", "example.com", Ok(())),
        ("https://EXAMPLE.com/x", "example.com:443", Ok(())),
        ("ws://example.com/x", "example.com", Ok(())),
        ("wss://[::1]/x", "[::1]", Ok(())),
        ("http://evil.com/x", "example.com", Err(TargetHostMismatch)),
        ("http://example.com:81/x", "example.com", Err(TargetHostMismatch)),
        ("http://example.com.evil/x", "example.com", Err(TargetHostMismatch)),
        ("http://evil@example.com/x", "example.com", Err(TargetMalformed)),
        ("http:///x", "example.com", Err(TargetMalformed)),
        ("ftp://example.com/x", "example.com", Err(TargetMalformed)),
        ("/a#b", "example.com", Err(TargetMalformed)),
        ("http://example.com/#b", "example.com", Err(TargetMalformed)),
        ("*", "example.com", Err(TargetMalformed)),
        ("example.com:80", "example.com", Err(TargetMalformed)),
        ("chat", "example.com", Err(TargetMalformed)),
        ("?a", "example.com", Err(TargetMalformed)),
    ];
    for (target, host, expected) in table {
        let text = request(target, host);
        assert_eq!(parse(&text).unwrap().check(&OriginPolicy::default()).map(|_| ()), expected, "{target} for {host}");
    }
}

#[test]
fn a_malformed_request_is_refused() {
    let table = [
        "",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n",                // not whole
        "GET / HTTP/1.1\r\n\r\nrest",        // more than a head
        "GET / HTTP/1.1\nHost: a\n\n",       // RFC 9112 section 2.2: bare LF
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", // bare CR
        "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", // RFC 9110 section 5.5
        "GET / HTTP/1.1\r\nX: a\x01b\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n",
        "GET / HTTP/1.1\r\nX : a\r\n\r\n", // RFC 9112 section 5.1: blank before the colon
        "GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", // RFC 9112 section 5.2: folding
        "GET / HTTP/1.1\r\n X: a\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nn\u{e9}: a\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n", // two blanks
        "GET /  HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/2.0\r\n\r\n",
        "GET /caf\u{e9} HTTP/1.1\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET /\r\n\r\n", // HTTP/0.9
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/11\r\n\r\n",
        "GET / HTTP/1.10\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/x.y\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
    ];
    for text in table {
        assert_eq!(parse(text).map(|_| ()), Err(RequestFault::Malformed), "{text:?}");
    }
}

#[test]
fn a_wellformed_version_that_is_not_ours_is_said_to_be_so() {
    // RFC 9112 section 2.3. "PRI" is the preface of HTTP/2 with prior knowledge.
    for text in
        ["GET / HTTP/2.0\r\n\r\n", "GET / HTTP/0.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\n", "GET / HTTP/1.2\r\nA: b\r\n\r\n"]
    {
        assert_eq!(parse(text).map(|_| ()), Err(RequestFault::HttpVersion), "{text:?}");
    }
    let answer = parse_response(b"HTTP/2.0 200 OK\r\n\r\n", 10);
    assert_eq!(answer.map(|_| ()), Err(ResponseFault::HttpVersion));
    assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").unwrap().version, HttpVersion::Http10);
}

#[test]
fn an_empty_line_before_a_request_is_skipped() {
    // RFC 9112 section 2.2. Two empty lines are a head of their own, without a request.
    assert_eq!(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().headers.len(), 1);
    assert!(parse("\r\n\r\nGET / HTTP/1.1\r\n\r\n").is_err());
}

#[test]
fn the_number_of_headers_is_limited_to_the_line() {
    // CVE-2024-37890: too many headers must be an answer, not a crash.
    for lines in [0, 1, 2, 99, 100, 101, 200, 1_000, 10_000] {
        let request = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(lines));
        let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(lines));
        let request = parse_request(request.as_bytes(), 100).map(|head| head.headers.len());
        let answer = parse_response(answer.as_bytes(), 100).map(|head| head.headers.len());
        if lines <= 100 {
            assert_eq!((request, answer), (Ok(lines), Ok(lines)));
        } else {
            assert_eq!(request, Err(RequestFault::TooManyHeaders { max: 100 }), "{lines} lines");
            assert_eq!(answer, Err(ResponseFault::TooManyHeaders { max: 100 }), "{lines} lines");
            assert_eq!(RequestFault::TooManyHeaders { max: 100 }.status(), 431);
        }
    }
}

#[test]
fn an_answer_is_lent_from_its_bytes() {
    let head = parse_response(b"HTTP/1.1 404 Not Found\r\nX: y\r\n\r\n", 10).unwrap();
    assert_eq!((head.status, head.reason, head.version), (404, "Not Found", HttpVersion::Http11));
    assert_eq!(head.headers.get("x"), Some("y"));
    // RFC 9112 section 4: the reason may be missing, with its blank or without.
    assert_eq!(parse_response(b"HTTP/1.0 200 \r\n\r\n", 10).unwrap().version, HttpVersion::Http10);
    assert_eq!(parse_response(b"HTTP/1.1 200\r\n\r\n", 10).unwrap().reason, "");
}

#[test]
fn a_malformed_answer_is_refused() {
    let table: [&[u8]; 11] = [
        b"",
        b"\r\n\r\n",
        b"\r\nHTTP/1.1 101 S\r\n\r\n",
        b"HTTP/1.1 101 S\r\n",
        b"HTTP/1.1 101 S\n\n",
        b"HTTP/1.1 99 S\r\n\r\n",
        b"HTTP/1.1 099 S\r\n\r\n",
        b"HTTP/1.1 1010 S\r\n\r\n",
        b"HTTP/1.1 abc S\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    ];
    for text in table {
        assert_eq!(parse_response(text, 10).map(|_| ()), Err(ResponseFault::Malformed), "{text:?}");
    }
}

#[test]
fn interim_answers_are_those_before_the_final_one() {
    // RFC 9110 section 15.2: every 1xx, except 101, which ends HTTP.
    for (status, interim) in [(100, true), (101, false), (102, true), (103, true), (199, true), (200, false)] {
        let text = format!("HTTP/1.1 {status} \r\n\r\n");
        assert_eq!(parse_response(text.as_bytes(), 1).unwrap().is_interim(), interim, "{status}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), max in 0..8usize) {
        let mut head = bytes;
        head.extend_from_slice(b"\r\n\r\n");
        for start in ["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\n"] {
            let head = &[start.as_bytes(), &head].concat();
            if let Ok(request) = parse_request(head, max) {
                prop_assert!(request.headers.len() <= max);
                let _ = (request.path(), request.query(), request.check(&OriginPolicy::default()));
            }
            let _ = parse_response(head, max);
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        fields in proptest::collection::vec(("[A-Za-z0-9-]{1,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..10),
        target in "/[!-\"$-~]{0,30}",
    ) {
        let mut text = format!("GET {target} HTTP/1.1\r\n");
        for (name, value) in &fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let head = parse(&text).unwrap();
        prop_assert_eq!(head.target, &target);
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let read: Vec<_> = head.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect();
        prop_assert_eq!(read, fields);
    }
}

#[test]
fn the_query_is_shown_nowhere() {
    for target in ["/a?token=s3cret", "http://h/a?token=s3cret", "/a?token=s3cret?s3cret"] {
        let wire = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = parse_request(wire.as_bytes(), 10).unwrap();
        for shown in [format!("{head:?}"), format!("{:?}", head.to_owned())] {
            assert!(shown.contains("/a?(hidden)") && !shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("Host") && shown.contains("Http11") && shown.contains("GET"), "{shown}");
        }
    }
}
