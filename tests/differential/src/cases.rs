//! Streams of frames that are right, nearly right and wrong, from a seed.

use crate::verdict::Role;

/// SplitMix64: small, seeded, good enough to choose cases.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// What an implementation in this role receives until the end of the stream.
pub fn stream(seed: u64, role: Role) -> Vec<u8> {
    let mut rng = Rng(seed);
    let mut bytes = Vec::new();
    let mut fragmented = false;
    for _ in 0..1 + rng.below(6) {
        // Three of four streams are right as far as they go.
        let wild = rng.one_in(12);
        let mut frame = Frame::right(&mut rng, role, &mut fragmented);
        if wild {
            frame.spoil(&mut rng);
        }
        frame.write(&mut rng, &mut bytes);
    }
    if rng.one_in(2) {
        Frame::close(&mut rng, role).write(&mut rng, &mut bytes);
    }
    if rng.one_in(10) {
        let len = rng.below(bytes.len() + 1);
        bytes.truncate(len);
    }
    if rng.one_in(20) && !bytes.is_empty() {
        let at = rng.below(bytes.len());
        bytes[at] ^= 1 << rng.below(8);
    }
    bytes
}

struct Frame {
    fin: bool,
    rsv: u8,
    opcode: u8,
    masked: bool,
    payload: Vec<u8>,
    /// How many bytes the length takes, if not the fewest.
    len_len: Option<usize>,
    /// What the header says, if not the truth.
    len: Option<u64>,
}

impl Frame {
    fn new(role: Role, fin: bool, opcode: u8, payload: Vec<u8>) -> Self {
        Self { fin, rsv: 0, opcode, masked: role == Role::Server, payload, len_len: None, len: None }
    }

    fn right(rng: &mut Rng, role: Role, fragmented: &mut bool) -> Self {
        if rng.one_in(5) {
            let opcode = 9 + rng.below(2) as u8;
            let len = *rng.of(&[&0, &1, &5, &124, &125]);
            return Self::new(role, true, opcode, vec![b'p'; len]);
        }
        let fin = !rng.one_in(3);
        let opcode = if *fragmented { 0 } else { 1 + rng.below(2) as u8 };
        *fragmented = !fin;
        Self::new(role, fin, opcode, payload(rng))
    }

    fn close(rng: &mut Rng, role: Role) -> Self {
        let codes = [
            0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015,
            1016, 1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535,
        ];
        let code: u16 = if rng.one_in(2) { 1000 } else { codes[rng.below(codes.len())] };
        let mut payload = code.to_be_bytes().to_vec();
        match rng.below(8) {
            0 => payload.clear(),
            1 => payload.truncate(1),
            2 => payload.extend(b"\xC3\x28"),
            3 => payload.extend([b'r'; 123]),
            4 => payload.extend([b'r'; 124]),
            _ => payload.extend(b"bye"),
        }
        Self::new(role, true, 8, payload)
    }

    fn spoil(&mut self, rng: &mut Rng) {
        match rng.below(11) {
            0 => self.rsv = 1 + rng.below(7) as u8,
            1 => self.opcode = rng.below(16) as u8,
            2 => self.masked = !self.masked,
            3 => self.fin = !self.fin,
            4 => self.len_len = Some(*rng.of(&[&2, &8])),
            5 => self.payload = payload(rng),
            6 => self.payload = vec![b'l'; *rng.of(&[&126, &127, &65535, &65536])],
            7 => self.opcode = 0,
            8 => self.opcode = 1,
            9 => self.len = Some(1 << 63 | rng.next() >> rng.below(40)),
            _ => *self = Self { masked: self.masked, ..Self::close(rng, Role::Server) },
        }
    }

    fn write(&self, rng: &mut Rng, out: &mut Vec<u8>) {
        out.push(u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode);
        let mask = u8::from(self.masked) << 7;
        let len = self.len.unwrap_or(self.payload.len() as u64);
        let least = if len < 126 {
            0
        } else if len < 65536 {
            2
        } else {
            8
        };
        match self.len_len.unwrap_or(least).max(least) {
            0 => out.push(mask | len as u8),
            2 => {
                out.push(mask | 126);
                out.extend((len as u16).to_be_bytes());
            }
            _ => {
                out.push(mask | 127);
                out.extend(len.to_be_bytes());
            }
        }
        let key = if self.masked { (rng.next() as u32).to_be_bytes() } else { [0; 4] };
        if self.masked {
            out.extend(key);
        }
        out.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

/// Text that is right, cut, or wrong; which of it a fragment makes right is a matter of luck.
fn payload(rng: &mut Rng) -> Vec<u8> {
    let texts: [&[u8]; 12] = [
        b"",
        b"hello",
        "κόσμε".as_bytes(),
        "𝄞".as_bytes(),
        b"\xF0\x9D\x84",
        b"\x9E",
        b"\xC0\xAF",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xFF",
        &[b'a'; 125],
        &[b'a'; 126],
    ];
    if rng.one_in(3) { texts[rng.below(texts.len())].to_vec() } else { texts[rng.below(4)].to_vec() }
}
