//! What a frame carries.

/// The meaning of a frame's payload. RFC 6455 section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next piece of the message that an earlier frame began.
    Continuation = 0x0,
    /// A text message, or the first piece of one.
    Text = 0x1,
    /// A binary message, or the first piece of one.
    Binary = 0x2,
    /// A close code and reason, or nothing.
    Close = 0x8,
    /// A question that a [`Pong`](Self::Pong) with the same payload answers.
    Ping = 0x9,
    /// The answer to a [`Ping`](Self::Ping), or unasked for.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with these four bits; `None` when they are reserved (3 to 7, 11 to 15) or more than four.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The four bits on the wire.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a control frame: never fragmented, at most 125 bytes. RFC 6455 section 5.5.
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_of_the_sixteen_opcodes_are_assigned() {
        let known: Vec<u8> = (0..=u8::MAX).filter(|&bits| Opcode::from_bits(bits).is_some()).collect();
        assert_eq!(known, [0, 1, 2, 8, 9, 10]);
        for bits in known {
            let opcode = Opcode::from_bits(bits).unwrap();
            assert_eq!(opcode.bits(), bits);
            assert_eq!(opcode.is_control(), bits >= 8);
        }
    }
}
