//! The two to fourteen bytes in front of a payload.

use std::fmt;

use super::Opcode;

/// A frame's header. RFC 6455 section 5.2.
///
/// Whether reserved bits or a mask may stand there depends on the role and on what was negotiated:
/// this type carries them as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whether this frame is the last of its message.
    pub fin: bool,
    /// The reserved bits, which only an extension gives a meaning.
    pub rsv: Rsv,
    /// What the payload is.
    pub opcode: Opcode,
    /// The key that the payload is masked with; `None` when it is not masked.
    pub masking_key: Option<[u8; 4]>,
    /// The payload's length in bytes, at most 2⁶³ − 1.
    pub payload_len: u64,
}

impl Header {
    /// Decodes the header at the front of `bytes`; `None` when more are needed.
    ///
    /// Consumes nothing: the caller advances by the returned length. What two bytes already give away is refused as
    /// soon as they are there. RFC 6455 section 5.2.
    ///
    /// # Errors
    /// [`HeaderError`] for what no role and no extension may send: a reserved opcode, a control frame that is fragmented
    /// or longer than 125 bytes, a length not in its shortest form or of 2⁶³ and more.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let Some(opcode) = Opcode::from_bits(first & OPCODE) else {
            return Err(HeaderError::OpcodeReserved(first & OPCODE));
        };
        let fin = first & FIN != 0;
        let len7 = second & LEN7;
        if opcode.is_control() {
            if !fin {
                return Err(HeaderError::ControlFragmented);
            }
            if usize::from(len7) > CONTROL_PAYLOAD_LEN_MAX {
                return Err(HeaderError::ControlTooLong);
            }
        }

        let (payload_len, rest) = match len7 {
            LEN7_IS_16_BITS => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*bytes));
                if len < u64::from(LEN7_IS_16_BITS) {
                    return Err(HeaderError::LengthNotShortest(len));
                }
                (len, rest)
            }
            LEN7_IS_64_BITS => {
                let Some((bytes, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*bytes);
                if len <= u64::from(u16::MAX) {
                    return Err(HeaderError::LengthNotShortest(len));
                }
                if len > PAYLOAD_LEN_MAX {
                    return Err(HeaderError::LengthTooLarge(len));
                }
                (len, rest)
            }
            len7 => (u64::from(len7), rest),
        };

        let (masking_key, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(*key), rest)
        };

        let header = Self { fin, rsv: Rsv(first & Rsv::ALL), opcode, masking_key, payload_len };
        #[expect(clippy::arithmetic_side_effects, reason = "`rest` is the end of `bytes`")]
        let len = bytes.len() - rest.len();
        Ok(Some((header, len)))
    }

    /// Writes the header to the front of `out`, the length in its shortest form, and returns how many bytes it takes.
    ///
    /// Whether the frame is a legal one is the caller's business, so that a test may encode what is not.
    #[inline]
    pub fn encode(&self, out: &mut [u8; HEADER_LEN_MAX]) -> usize {
        out[0] = if self.fin { FIN } else { 0 } | self.rsv.0 | self.opcode.bits();
        let masked = if self.masking_key.is_some() { MASKED } else { 0 };
        let mut len = if self.payload_len < u64::from(LEN7_IS_16_BITS) {
            out[1] = masked | self.payload_len.to_le_bytes()[0];
            2
        } else if let Ok(len) = u16::try_from(self.payload_len) {
            out[1] = masked | LEN7_IS_16_BITS;
            out[2..4].copy_from_slice(&len.to_be_bytes());
            4
        } else {
            out[1] = masked | LEN7_IS_64_BITS;
            out[2..10].copy_from_slice(&self.payload_len.to_be_bytes());
            10
        };
        if let Some(key) = self.masking_key
            && let Some(place) = out.get_mut(len..).and_then(|behind| behind.first_chunk_mut())
        {
            *place = key;
            len = len.saturating_add(4);
        }
        len
    }
}

/// The three reserved bits of a header. RFC 6455 section 5.2.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rsv(u8);

impl Rsv {
    /// No bit set, as always without an extension.
    pub const NONE: Self = Self(0);
    /// RSV1, which permessage-deflate uses. RFC 7692 section 6.
    pub const RSV1: Self = Self(0x40);
    /// RSV2.
    pub const RSV2: Self = Self(0x20);
    /// RSV3.
    pub const RSV3: Self = Self(0x10);

    const ALL: u8 = 0x70;

    /// Whether no bit is set.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of `other` are set in `self`.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The three bits as a number, RSV1 the highest: 0 to 7.
    pub const fn bits(self) -> u8 {
        self.0 >> 4
    }

    /// The bits of such a number; what is above 7 is ignored.
    pub const fn from_bits(bits: u8) -> Self {
        Self((bits << 4) & Self::ALL)
    }
}

impl fmt::Debug for Rsv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsv({:#05b})", self.bits())
    }
}

/// Decodes headers that may arrive in pieces, one after the other, and keeps what is there of one.
///
/// For a proxy or an analyser, which passes payloads by without holding them:
///
/// ```
/// use sansocket::frame::HeaderDecoder;
///
/// let mut decoder = HeaderDecoder::new();
/// assert_eq!(decoder.feed(b"\x82\x7e\x01"), Ok((3, None)));
/// let (consumed, header) = decoder.feed(b"\x00 and 256 bytes of payload")?;
/// assert_eq!((consumed, header.map(|header| header.payload_len)), (1, Some(256)));
/// # Ok::<(), sansocket::frame::HeaderError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HeaderDecoder {
    begun: [u8; HEADER_LEN_MAX],
    begun_len: usize,
}

impl HeaderDecoder {
    /// Between two frames.
    pub const fn new() -> Self {
        Self { begun: [0; HEADER_LEN_MAX], begun_len: 0 }
    }

    /// Takes bytes from the front of `bytes` until a header is whole; returns how many, and the header.
    ///
    /// Without a header, all of `bytes` have been taken. With one, the payload is next: feed the decoder again when it has passed.
    ///
    /// # Errors
    /// As [`Header::decode`]; the decoder is of no further use then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Header>), HeaderError> {
        for (consumed, &byte) in (1..).zip(bytes) {
            if let Some(place) = self.begun.get_mut(self.begun_len) {
                *place = byte;
                self.begun_len = self.begun_len.saturating_add(1);
            }
            if let Some((header, _)) = Header::decode(self.begun.get(..self.begun_len).unwrap_or_default())? {
                self.begun_len = 0;
                return Ok((consumed, Some(header)));
            }
        }
        Ok((bytes.len(), None))
    }
}

/// Why no peer may send this header, whatever its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// An opcode that RFC 6455 section 5.2 reserves.
    #[error("opcode {0:#x} is reserved")]
    OpcodeReserved(u8),
    /// A control frame without FIN. RFC 6455 section 5.5.
    #[error("control frame is fragmented")]
    ControlFragmented,
    /// A control frame with an extended length. RFC 6455 section 5.5.
    #[error("control frame of more than {CONTROL_PAYLOAD_LEN_MAX} bytes")]
    ControlTooLong,
    /// A length that fits in fewer bytes. RFC 6455 section 5.2.
    #[error("payload length {0} is not in its shortest form")]
    LengthNotShortest(u64),
    /// A length with the most significant bit set. RFC 6455 section 5.2.
    #[error("payload length {0} is above 2^63 - 1")]
    LengthTooLarge(u64),
}

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const HEADER_LEN_MAX: usize = 14;
/// The longest payload of a control frame. RFC 6455 section 5.5.
pub const CONTROL_PAYLOAD_LEN_MAX: usize = 125;

const PAYLOAD_LEN_MAX: u64 = u64::MAX >> 1;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LEN7: u8 = 0x7F;
const LEN7_IS_16_BITS: u8 = 126;
const LEN7_IS_64_BITS: u8 = 127;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(opcode: Opcode, payload_len: u64, masking_key: Option<[u8; 4]>) -> Header {
        Header { fin: true, rsv: Rsv::NONE, opcode, masking_key, payload_len }
    }

    fn encoded(header: Header) -> Vec<u8> {
        let mut out = [0; HEADER_LEN_MAX];
        let len = header.encode(&mut out);
        out[..len].to_vec()
    }

    #[test]
    fn the_examples_of_section_5_7() {
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let hello = header(Opcode::Text, 5, None);
        for (wire, expected) in [
            (&b"\x81\x05"[..], hello),
            (b"\x81\x85\x37\xfa\x21\x3d", Header { masking_key: key, ..hello }),
            (b"\x01\x03", Header { fin: false, payload_len: 3, ..hello }),
            (b"\x80\x02", header(Opcode::Continuation, 2, None)),
            (b"\x89\x05", header(Opcode::Ping, 5, None)),
            (b"\x8a\x85\x37\xfa\x21\x3d", header(Opcode::Pong, 5, key)),
            (b"\x82\x7e\x01\x00", header(Opcode::Binary, 256, None)),
            (b"\x82\x7f\0\0\0\0\0\x01\0\0", header(Opcode::Binary, 65536, None)),
        ] {
            assert_eq!(Header::decode(wire), Ok(Some((expected, wire.len()))));
            assert_eq!(encoded(expected), wire);
        }
    }

    #[test]
    fn each_length_takes_its_shortest_form() {
        for (len, bytes) in [(0, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (PAYLOAD_LEN_MAX, 10)] {
            let wire = encoded(header(Opcode::Binary, len, None));
            assert_eq!(wire.len(), bytes, "length {len}");
            assert_eq!(Header::decode(&wire), Ok(Some((header(Opcode::Binary, len, None), bytes))));
        }
    }

    /// RFC 6455 section 5.2: "the minimal number of bytes MUST be used", "the most significant bit MUST be 0".
    #[test]
    fn a_length_in_a_longer_form_or_above_63_bits_is_refused() {
        for len in [0_u16, 1, 125] {
            let wire = [&[0x82, 126][..], &len.to_be_bytes()].concat();
            assert_eq!(Header::decode(&wire), Err(HeaderError::LengthNotShortest(len.into())));
        }
        for len in [0_u64, 125, 126, 65535] {
            let wire = [&[0x82, 127][..], &len.to_be_bytes()].concat();
            assert_eq!(Header::decode(&wire), Err(HeaderError::LengthNotShortest(len)));
        }
        for len in [1 << 63, u64::MAX] {
            let wire = [&[0x82, 127][..], &len.to_be_bytes()].concat();
            assert_eq!(Header::decode(&wire), Err(HeaderError::LengthTooLarge(len)));
        }
    }

    /// RFC 6455 section 5.5.
    #[test]
    fn control_frames_are_short_and_whole() {
        for opcode in [0x8, 0x9, 0xA] {
            assert_eq!(Header::decode(&[opcode, 0]), Err(HeaderError::ControlFragmented));
            assert!(matches!(Header::decode(&[FIN | opcode, 125]), Ok(Some(_))));
            for len7 in [126, 127] {
                assert_eq!(Header::decode(&[FIN | opcode, len7]), Err(HeaderError::ControlTooLong));
            }
        }
    }

    #[test]
    fn reserved_opcodes_are_refused_from_two_bytes() {
        for bits in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(Header::decode(&[FIN | bits, 0]), Err(HeaderError::OpcodeReserved(bits)));
        }
    }

    #[test]
    fn reserved_bits_are_told_apart() {
        for (first, rsv) in [(0xC2, Rsv::RSV1), (0xA2, Rsv::RSV2), (0x92, Rsv::RSV3)] {
            let (header, _) = Header::decode(&[first, 0]).unwrap().unwrap();
            assert_eq!(header.rsv, rsv);
            assert!(header.rsv.contains(rsv) && !header.rsv.is_none());
            assert_eq!(encoded(header), [first, 0]);
        }
        assert_eq!(Rsv::RSV1.union(Rsv::RSV3).bits(), 0b101);
        for (all, some) in (0..8).flat_map(|all| (0..8).map(move |some| (all, some))) {
            assert_eq!(Rsv::from_bits(all).contains(Rsv::from_bits(some)), some & !all == 0, "{all:#b}, {some:#b}");
            assert_eq!(format!("{:?}", Rsv::from_bits(all)), format!("Rsv({all:#05b})"));
            assert_eq!(Rsv::from_bits(all).union(Rsv::from_bits(some)).bits(), all | some);
        }
    }

    proptest! {
        #[test]
        fn any_header_comes_back_and_no_prefix_of_it_does(
            fin: bool, rsv in 0..8_u8, opcode in 0..3_u8, masking_key: Option<[u8; 4]>, payload_len in 0..=PAYLOAD_LEN_MAX, shift in 0..63,
        ) {
            let header = Header {
                fin, rsv: Rsv::from_bits(rsv), opcode: Opcode::from_bits(opcode).unwrap(), masking_key, payload_len: payload_len >> shift,
            };
            let wire = encoded(header);
            prop_assert_eq!(Header::decode(&wire), Ok(Some((header, wire.len()))));
            for end in 0..wire.len() {
                prop_assert_eq!(Header::decode(&wire[..end]), Ok(None));
                let mut decoder = HeaderDecoder::new();
                prop_assert_eq!(decoder.feed(&wire[..end]), Ok((end, None)));
                prop_assert_eq!(decoder.feed(&[&wire[end..], b"payload"].concat()), Ok((wire.len() - end, Some(header))));
                prop_assert_eq!(decoder.feed(&wire), Ok((wire.len(), Some(header))));
            }
        }
    }
}
