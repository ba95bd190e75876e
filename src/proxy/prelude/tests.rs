use std::ops::Range;

use proptest::prelude::*;

use super::super::drive::{SECOND, config, drive, error, now, prelude, refusal};
use super::*;

#[test]
fn the_end_of_the_stream_is_judged_after_what_came_before_it() {
    for proxy in ["http://proxy", "socks5h://proxy"] {
        assert_eq!(error(proxy, b""), ProxyError::EndOfStream);
    }
    assert_eq!(error("http://proxy", b"HTTP/1.1 200 OK\r\n\r"), ProxyError::EndOfStream);
    assert_eq!(error("socks5h://proxy", b"\x05"), ProxyError::EndOfStream);
    // Read together with its end, a success is one.
    let mut prelude = prelude("http://proxy");
    prelude.advance_outgoing(1000);
    prelude.handle_eof();
    let mut input = RecvBuf::new();
    input.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(prelude.poll_outcome(&mut input), Some(Ok(())));
}

#[test]
fn a_transport_error_ends_it() {
    let mut prelude = prelude("http://proxy");
    prelude.handle_transport_error();
    prelude.handle_eof();
    assert_eq!(prelude.poll_outcome(&mut RecvBuf::new()), Some(Err(ProxyError::TransportFailed)));
    prelude.handle_transport_error();
    assert_eq!(prelude.poll_outcome(&mut RecvBuf::new()), None);
}

#[test]
fn the_deadline_fires_when_it_is_due_and_once() {
    let start = now();
    let target = Target::new("h", 80).unwrap();
    let mut prelude = Prelude::socks5(&target, None, &config(), start).unwrap();
    let mut input = RecvBuf::new();
    assert_eq!(prelude.poll_timeout(), Some(start + SECOND));
    prelude.handle_timeout(start + SECOND - Duration::from_nanos(1));
    assert_eq!((prelude.poll_outcome(&mut input), prelude.poll_timeout()), (None, Some(start + SECOND)));
    // What drips in does not extend it.
    input.extend_from_slice(b"\x05");
    assert_eq!((prelude.poll_outcome(&mut input), prelude.poll_timeout()), (None, Some(start + SECOND)));
    prelude.handle_timeout(start + SECOND);
    assert_eq!(prelude.poll_timeout(), None);
    let timed_out = ProxyError::TimedOut { timeout: SECOND };
    assert_eq!(timed_out.to_string(), "no tunnel through the proxy within 1s");
    assert_eq!(prelude.poll_outcome(&mut input), Some(Err(timed_out)));
    prelude.handle_timeout(start + 2 * SECOND);
    assert_eq!(prelude.poll_outcome(&mut input), None);

    for timeout in [None, Some(Duration::MAX)] {
        let config = PreludeConfig { timeout, ..config() };
        assert_eq!(Prelude::socks5(&target, None, &config, start).unwrap().poll_timeout(), None);
    }
}

#[test]
fn of_a_refusal_there_is_what_came_before_the_deadline() {
    let mut prelude = prelude("http://proxy");
    let mut input = RecvBuf::new();
    input.extend_from_slice(b"HTTP/1.1 502 x\r\nContent-Length: 9\r\n\r\nsor");
    assert_eq!(prelude.poll_outcome(&mut input), None);
    prelude.handle_timeout(now() + SECOND);
    let refusal = refusal(prelude.poll_outcome(&mut input).unwrap().unwrap_err());
    assert_eq!((&refusal.body[..], refusal.body_truncated), (&b"sor"[..], true));
}

#[test]
fn the_tunnel_begins_behind_the_last_byte_of_the_request() {
    // A proxy that answers before it has read all.
    let mut prelude = prelude("http://proxy");
    let mut input = RecvBuf::new();
    input.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\ntunnel");
    prelude.advance_outgoing(10);
    for _ in 0..2 {
        assert_eq!(prelude.poll_outcome(&mut input), None);
        assert!(prelude.outgoing().starts_with(b"mple.com") || prelude.outgoing().starts_with(b"ample.com"));
        assert!(prelude.poll_timeout().is_some());
    }
    prelude.advance_outgoing(prelude.outgoing().len() - 1);
    assert_eq!(prelude.poll_outcome(&mut input), None);
    prelude.advance_outgoing(usize::MAX);
    assert_eq!(prelude.poll_outcome(&mut input), Some(Ok(())));
    assert_eq!(input.unread(), b"tunnel");
}

#[test]
fn partial_writes_lose_nothing() {
    let mut prelude = prelude("socks5h://user:pass@proxy");
    let mut input = RecvBuf::new();
    input.extend_from_slice(b"\x05\x02\x01\0");
    let mut written = Vec::new();
    while let Some(&byte) = prelude.outgoing().first() {
        written.push(byte);
        prelude.advance_outgoing(1);
        assert_eq!(prelude.poll_outcome(&mut input), None);
    }
    assert_eq!(written, b"\x05\x02\0\x02\x01\x04user\x04pass\x05\x01\0\x03\x0bexample.com\x01\xbb");
}

#[test]
fn debug_shows_no_credentials() {
    for proxy in ["http://someone:s3cret@proxy", "socks5h://someone:s3cret@proxy"] {
        let debug = format!("{:?}", prelude(proxy));
        assert!(!debug.contains("s3cret") && !debug.contains("someone") && !debug.contains("Basic"), "{debug}");
    }
}

/// What a proxy may send, right or nearly so.
fn wires() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let status = "(HTTP/1.1 100 \r\n\r\n){0,2}HTTP/1.[01] (200|204|403|407|101|2) x\r\n";
    let fields = "(Content-Length: [0-9]{1,2}\r\n|Transfer-Encoding: chunked\r\n|A: b\r\n){0,4}\r\n";
    let body = "([0-9]\r\n)?[a-z]{0,12}(\r\n0\r\n\r\n)?[a-z]{0,8}";
    let http = (status, fields, body)
        .prop_map(|(status, fields, body)| (true, format!("{status}{fields}{body}").into_bytes()));
    let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(3), Just(4), Just(5), any::<u8>()];
    let starts: [&[u8]; 4] = [b"\x05\0\x05\0\0", b"\x05\x02\x01\0\x05\0\0", b"\x05", b""];
    let start = proptest::sample::select(starts.to_vec());
    let socks =
        (start, proptest::collection::vec(byte, 0..30)).prop_map(|(start, rest)| (false, [start, &rest[..]].concat()));
    prop_oneof![http, socks]
}

/// How many bytes arrive at a time.
const PIECES: Range<usize> = 1..20;

proptest! {
    #[test]
    fn the_outcome_does_not_depend_on_how_the_input_is_split(
        (is_http, wire) in wires(),
        pieces in proptest::collection::vec(PIECES, 1..8),
    ) {
        let proxy = if is_http { "http://u:p@proxy" } else { "socks5h://u:p@proxy" };
        let whole = drive(prelude(proxy), &wire, &[wire.len()]);
        let split = drive(prelude(proxy), &wire, &pieces);
        prop_assert_eq!(&split.1, &whole.1);
        if whole.1.is_ok() {
            prop_assert_eq!((split.0, split.2), (whole.0, whole.2));
        }
    }

    #[test]
    fn no_bytes_make_a_prelude_panic(wire in proptest::collection::vec(any::<u8>(), 0..100), is_http: bool) {
        let proxy = if is_http { "http://proxy" } else { "socks5h://u:p@proxy" };
        let _ = drive(prelude(proxy), &wire, &[3, 1, 7]);
    }
}
