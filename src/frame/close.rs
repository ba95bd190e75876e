//! Close codes and the payload of a Close frame.

use std::fmt;

use super::{CONTROL_PAYLOAD_LEN_MAX, from_utf8};

/// Why a connection ends, as a number. RFC 6455 section 7.4 and the registry that it founded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: what the connection was for is done.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server shuts down, or a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: text where only binary is taken, or the other way round.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close frame had no code. Only reported, never on the wire.
    pub const NO_STATUS_RECEIVED: Self = Self(1005);
    /// 1006: there was no Close frame. Only reported, never on the wire.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: a text that is not UTF-8, or another payload that contradicts its type.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a message that breaks the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message that is too big.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: the server did not take an extension that the client needs.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: something unexpected went wrong at the endpoint itself.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts; a client may come back after a random delay.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got a bad answer from behind.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: the TLS handshake failed. Only reported, never on the wire.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a Close frame may carry it: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    ///
    /// The same holds for sending and for receiving. The rest is either only reported ([`is_only_reported`](Self::is_only_reported)),
    /// or nobody has given it a meaning. RFC 6455 sections 7.4.1 and 7.4.2.
    pub const fn is_allowed_on_the_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether it only ever stands in a report to the application: 1005, 1006, 1015. RFC 6455 section 7.4.1.
    pub const fn is_only_reported(self) -> bool {
        matches!(self.0, 1005 | 1006 | 1015)
    }

    /// The registered name, in lower case; `None` for the ranges of libraries (3000–3999) and applications (4000–4999).
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "normal closure",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_DATA => "unsupported data",
            Self::NO_STATUS_RECEIVED => "no status received",
            Self::ABNORMAL => "abnormal closure",
            Self::INVALID_PAYLOAD => "invalid frame payload data",
            Self::POLICY_VIOLATION => "policy violation",
            Self::MESSAGE_TOO_BIG => "message too big",
            Self::MANDATORY_EXTENSION => "mandatory extension missing",
            Self::INTERNAL_ERROR => "internal error",
            Self::SERVICE_RESTART => "service restart",
            Self::TRY_AGAIN_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self::TLS_HANDSHAKE => "TLS handshake failed",
            _ => return None,
        })
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// What a Close frame says: a code and a reason. RFC 6455 section 5.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosePayload<'b> {
    /// Why the sender closes.
    pub code: CloseCode,
    /// The same in words, not meant for the user: at most 123 bytes.
    pub reason: &'b str,
}

impl<'b> ClosePayload<'b> {
    /// Decodes an unmasked payload; `None` when it is empty, which means [`CloseCode::NO_STATUS_RECEIVED`].
    ///
    /// # Errors
    /// [`ClosePayloadError`] for what may not be received. RFC 6455 sections 5.5.1, 7.4 and 8.1.
    pub fn decode(payload: &'b [u8]) -> Result<Option<Self>, ClosePayloadError> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() { Ok(None) } else { Err(ClosePayloadError::OneByte) };
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.is_allowed_on_the_wire() {
            return Err(ClosePayloadError::CodeNotAllowed(code));
        }
        let reason = from_utf8(reason).ok_or(ClosePayloadError::ReasonNotUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    /// Writes the payload to the front of `out` and returns its length. A reason of more than
    /// [`CLOSE_REASON_LEN_MAX`] bytes is cut before the code point that does not fit.
    pub fn encode(&self, out: &mut [u8; CONTROL_PAYLOAD_LEN_MAX]) -> usize {
        let reason = (0..=CLOSE_REASON_LEN_MAX.min(self.reason.len())).rev().find_map(|end| self.reason.get(..end));
        let reason = reason.unwrap_or_default().as_bytes();
        let [high, low, place @ ..] = out;
        [*high, *low] = self.code.0.to_be_bytes();
        for (place, byte) in place.iter_mut().zip(reason) {
            *place = *byte;
        }
        reason.len().saturating_add(2)
    }
}

/// Why a Close frame's payload may not be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosePayloadError {
    /// Half a code. RFC 6455 section 5.5.1.
    #[error("close payload of 1 byte, a code takes 2")]
    OneByte,
    /// A code that no Close frame may carry. RFC 6455 section 7.4.
    #[error("close code {} may not be sent", .0.0)]
    CodeNotAllowed(CloseCode),
    /// A reason that is not UTF-8. RFC 6455 section 8.1.
    #[error("close reason is not valid UTF-8")]
    ReasonNotUtf8,
}

/// The longest reason: what a control frame leaves beside the code.
pub const CLOSE_REASON_LEN_MAX: usize = CONTROL_PAYLOAD_LEN_MAX - 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 7.4, with the later entries of the registry: 1012, 1013, 1014.
    #[test]
    fn which_codes_may_stand_on_the_wire() {
        for code in 0..=u16::MAX {
            let expected = match code {
                ..1000 => false,
                1000..1004 => true,
                1004..1007 => false,
                1007..1015 => true,
                1015..3000 => false,
                3000..5000 => true,
                5000.. => false,
            };
            assert_eq!(CloseCode(code).is_allowed_on_the_wire(), expected, "{code}");
            assert_eq!(CloseCode(code).is_only_reported(), [1005, 1006, 1015].contains(&code), "{code}");
        }
    }

    #[test]
    fn a_code_shows_its_number_and_the_name_that_the_registry_has_for_it() {
        let registered = [
            (CloseCode::NORMAL, 1000, "normal closure"),
            (CloseCode::GOING_AWAY, 1001, "going away"),
            (CloseCode::PROTOCOL_ERROR, 1002, "protocol error"),
            (CloseCode::UNSUPPORTED_DATA, 1003, "unsupported data"),
            (CloseCode::NO_STATUS_RECEIVED, 1005, "no status received"),
            (CloseCode::ABNORMAL, 1006, "abnormal closure"),
            (CloseCode::INVALID_PAYLOAD, 1007, "invalid frame payload data"),
            (CloseCode::POLICY_VIOLATION, 1008, "policy violation"),
            (CloseCode::MESSAGE_TOO_BIG, 1009, "message too big"),
            (CloseCode::MANDATORY_EXTENSION, 1010, "mandatory extension missing"),
            (CloseCode::INTERNAL_ERROR, 1011, "internal error"),
            (CloseCode::SERVICE_RESTART, 1012, "service restart"),
            (CloseCode::TRY_AGAIN_LATER, 1013, "try again later"),
            (CloseCode::BAD_GATEWAY, 1014, "bad gateway"),
            (CloseCode::TLS_HANDSHAKE, 1015, "TLS handshake failed"),
        ];
        for (code, number, name) in registered {
            assert_eq!((u16::from(code), code.name()), (number, Some(name)));
            assert_eq!(code.to_string(), format!("{number} ({name})"));
            assert_eq!(format!("{code:?}"), format!("CloseCode({number})"));
        }
        for number in (0..=u16::MAX).filter(|number| !registered.iter().any(|(code, ..)| code.0 == *number)) {
            assert_eq!(CloseCode::from(number).name(), None, "{number}");
        }
        assert_eq!(CloseCode(4000).to_string(), "4000");
    }

    #[test]
    fn payloads_that_may_be_received() {
        for (wire, expected) in [
            (&b""[..], None),
            (b"\x03\xe8", Some((1000, ""))),
            (b"\x03\xe9bye", Some((1001, "bye"))),
            (b"\x0f\xa0\xe2\x82\xac", Some((4000, "€"))),
        ] {
            let expected = expected.map(|(code, reason)| ClosePayload { code: CloseCode(code), reason });
            assert_eq!(ClosePayload::decode(wire), Ok(expected));
            if let Some(payload) = expected {
                let mut out = [0; CONTROL_PAYLOAD_LEN_MAX];
                let len = payload.encode(&mut out);
                assert_eq!(&out[..len], wire);
            }
        }
    }

    #[test]
    fn payloads_that_may_not() {
        for (wire, expected) in [
            (&b"\x03"[..], ClosePayloadError::OneByte),
            (b"\x03\xed", ClosePayloadError::CodeNotAllowed(CloseCode(1005))),
            (b"\0\0", ClosePayloadError::CodeNotAllowed(CloseCode(0))),
            (b"\x03\xe8\xff", ClosePayloadError::ReasonNotUtf8),
            (b"\x03\xe8\xe2\x82", ClosePayloadError::ReasonNotUtf8),
        ] {
            assert_eq!(ClosePayload::decode(wire), Err(expected));
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_code_point() {
        let reason = "é".repeat(100);
        let mut out = [0; CONTROL_PAYLOAD_LEN_MAX];
        let len = ClosePayload { code: CloseCode::NORMAL, reason: &reason }.encode(&mut out);
        let decoded = ClosePayload::decode(&out[..len]).unwrap().unwrap();
        assert_eq!(decoded.reason, "é".repeat(61));
    }
}
