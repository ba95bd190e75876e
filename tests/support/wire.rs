//! Frames as the peer of a connection sends them, legal or not; and what a connection sent, decoded by other code than its own.

use sansocket::Role;

/// One frame, about to be encoded. It is masked as the role of its sender demands, unless told otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    fin: bool,
    rsv: u8,
    opcode: u8,
    payload: Vec<u8>,
    /// Instead of the payload's length.
    promised: Option<u64>,
    form: LengthForm,
    /// As for the other role.
    mask_is_wrong: bool,
}

#[derive(Clone, Copy, Debug)]
enum LengthForm {
    Shortest,
    In16Bits,
    In64Bits,
}

impl Frame {
    /// Another fragment follows.
    pub(crate) fn more(mut self) -> Self {
        self.fin = false;
        self
    }

    /// With reserved bits, RSV1 the highest of three.
    pub(crate) fn rsv(mut self, bits: u8) -> Self {
        self.rsv = bits;
        self
    }

    pub(crate) fn len_in_16_bits(mut self) -> Self {
        self.form = LengthForm::In16Bits;
        self
    }

    pub(crate) fn len_in_64_bits(mut self) -> Self {
        self.form = LengthForm::In64Bits;
        self
    }

    /// Its header announces a payload of `len`, whatever follows.
    pub(crate) fn promising(mut self, len: u64) -> Self {
        self.promised = Some(len);
        self
    }

    /// Masked by a server, or not masked by a client.
    pub(crate) fn wrongly_masked(mut self) -> Self {
        self.mask_is_wrong = true;
        self
    }

    /// Appends the frame as `sender` sends it.
    pub(crate) fn encode(&self, sender: Role, key: [u8; 4], out: &mut Vec<u8>) {
        let is_masked = (sender == Role::Client) != self.mask_is_wrong;
        let mask_bit = if is_masked { 0x80 } else { 0 };
        let len = self.promised.unwrap_or(self.payload.len() as u64);
        out.push(if self.fin { 0x80 } else { 0 } | self.rsv << 4 | self.opcode);
        match (self.form, len) {
            (LengthForm::Shortest, ..=125) => out.push(mask_bit | len as u8),
            (LengthForm::Shortest, ..=0xFFFF) | (LengthForm::In16Bits, _) => {
                out.push(mask_bit | 126);
                out.extend((len as u16).to_be_bytes());
            }
            (LengthForm::Shortest | LengthForm::In64Bits, _) => {
                out.push(mask_bit | 127);
                out.extend(len.to_be_bytes());
            }
        }
        if is_masked {
            out.extend(key);
            out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            out.extend(&self.payload);
        }
    }
}

/// Any opcode, assigned or not.
pub(crate) fn opcode(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        fin: true,
        rsv: 0,
        opcode,
        payload: payload.as_ref().to_vec(),
        promised: None,
        form: LengthForm::Shortest,
        mask_is_wrong: false,
    }
}

pub(crate) fn continuation(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0x0, payload)
}

pub(crate) fn text(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0x1, payload)
}

pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0x2, payload)
}

pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0x9, payload)
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0xA, payload)
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Frame {
    close_raw([&code.to_be_bytes()[..], reason.as_ref()].concat())
}

pub(crate) fn close_empty() -> Frame {
    close_raw([])
}

/// A Close with any payload.
pub(crate) fn close_raw(payload: impl AsRef<[u8]>) -> Frame {
    opcode(0x8, payload)
}

/// What the peer of an endpoint with this role sends.
pub(crate) fn wire_to(role: Role, frames: &[Frame]) -> Vec<u8> {
    let sender = match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    };
    let mut wire = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        // Keys that differ, the first of them nothing but zeros.
        let i = i as u8;
        frame.encode(sender, [i, i.wrapping_mul(91), i.wrapping_mul(173), i.wrapping_mul(7)], &mut wire);
    }
    wire
}

/// A frame that a connection sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) fin: bool,
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    /// The code and the reason, if it is a Close.
    pub(crate) fn as_close(&self) -> Option<(u16, String)> {
        (self.opcode == 0x8).then(|| match self.payload.split_first_chunk() {
            None => (1005, String::new()),
            Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8(reason.to_vec()).unwrap()),
        })
    }
}

/// Takes apart what a connection sent: whole frames with their lengths in the shortest form, and nothing behind them.
#[track_caller]
pub(crate) fn decode(wire: &[u8]) -> Vec<Sent> {
    let mut rest = wire;
    let mut take = |n: usize| {
        let (taken, left) = rest.split_at_checked(n)?;
        rest = left;
        Some(taken)
    };
    let mut frames = Vec::new();
    while let Some(first) = take(1).map(|bytes| bytes[0]) {
        let mut frame = || {
            let second = take(1)?[0];
            let len = match second & 0x7F {
                126 => u64::from(u16::from_be_bytes(take(2)?.try_into().unwrap())),
                127 => u64::from_be_bytes(take(8)?.try_into().unwrap()),
                len => len.into(),
            };
            let form = if len < 126 { len } else { 127 - u64::from(len < 0x1_0000) };
            assert_eq!(u64::from(second & 0x7F), form, "length {len} is not in its shortest form");
            let key: Option<[u8; 4]> = if second & 0x80 == 0 { None } else { Some(take(4)?.try_into().unwrap()) };
            let mut payload = take(len as usize)?.to_vec();
            for (byte, key) in payload.iter_mut().zip(key.iter().flatten().cycle()) {
                *byte ^= key;
            }
            Some(Sent { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 0xF, key, payload })
        };
        frames.push(frame().expect("a frame is cut off"));
    }
    frames
}
