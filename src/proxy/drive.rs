//! Drives preludes in tests.
#![cfg_attr(fuzzing, allow(dead_code, reason = "the fuzz body needs a part of it"))]

use std::time::{Duration, Instant};

use super::{Prelude, PreludeConfig, Proxy, ProxyError};
use crate::buffer::RecvBuf;
use crate::handshake::{Refusal, WsUrl};

pub(super) type Outcome = Result<(), ProxyError>;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn config() -> PreludeConfig {
    PreludeConfig { head_len_max: 200, headers_max: 3, refusal_body_len_max: 10, timeout: Some(SECOND) }
}

pub(super) fn prelude(proxy: &str) -> Prelude {
    let url = WsUrl::parse("wss://example.com/chat").unwrap();
    Proxy::parse(proxy).unwrap().prelude(&url, &config(), now()).unwrap()
}

/// Drives a prelude with everything the proxy sends, in pieces of these lengths in turn and then its end, and drains its output each
/// time: what it wrote, its outcome, and the bytes of the tunnel.
pub(super) fn drive(mut prelude: Prelude, wire: &[u8], pieces: &[usize]) -> (Vec<u8>, Outcome, Vec<u8>) {
    let (mut input, mut written, mut rest) = (RecvBuf::new(), Vec::new(), wire);
    let mut pieces = pieces.iter().cycle();
    loop {
        written.extend_from_slice(prelude.outgoing());
        prelude.advance_outgoing(prelude.outgoing().len());
        if let Some(outcome) = prelude.poll_outcome(&mut input) {
            written.extend_from_slice(prelude.outgoing());
            assert_eq!(prelude.poll_outcome(&mut input), None, "the outcome comes once");
            assert_eq!((prelude.poll_timeout(), prelude.wants_read(), prelude.outgoing()), (None, false, &[][..]));
            return (written, outcome, [input.unread(), rest].concat());
        }
        if !prelude.outgoing().is_empty() {
            continue;
        }
        assert!(prelude.wants_read(), "neither reads nor writes nor ends");
        if rest.is_empty() {
            prelude.handle_eof();
            assert!(!prelude.wants_read());
        } else {
            let (piece, after) = rest.split_at((*pieces.next().unwrap()).clamp(1, rest.len()));
            input.extend_from_slice(piece);
            rest = after;
        }
    }
}

/// The outcome and the tunnel's bytes; checked for the input as a whole, byte by byte and split at each place.
#[track_caller]
pub(super) fn outcome(proxy: &str, wire: &[u8]) -> (Outcome, Vec<u8>) {
    let (written, outcome, tunnel) = drive(prelude(proxy), wire, &[wire.len()]);
    for split in (1..wire.len()).chain([1]) {
        let pieces = if split == 1 { vec![1] } else { vec![split, wire.len()] };
        let found = drive(prelude(proxy), wire, &pieces);
        assert_eq!(found.1, outcome, "split at {split}");
        if outcome.is_ok() {
            assert_eq!((&found.0, &found.2), (&written, &tunnel), "split at {split}");
        }
    }
    (outcome, tunnel)
}

#[track_caller]
pub(super) fn error(proxy: &str, wire: &[u8]) -> ProxyError {
    outcome(proxy, wire).0.expect_err("there is no tunnel")
}

pub(super) fn refusal(error: ProxyError) -> Refusal {
    match error {
        ProxyError::Refused(refusal) => *refusal,
        other => panic!("{other:?} is no refusal"),
    }
}
