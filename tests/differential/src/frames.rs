//! The frames in some bytes, right or wrong, and the same bytes with one fault less.

use std::ops::Range;

use crate::verdict::Role;

/// A frame whose header is whole.
#[derive(Clone, Copy)]
struct Frame {
    at: usize,
    header_len: usize,
    /// How many bytes the header promises behind itself.
    payload_len: u64,
    fin: bool,
    opcode: u8,
    key: Option<[u8; 4]>,
}

impl Frame {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.get(at..)?;
        let (first, second) = (*header.first()?, *header.get(1)?);
        let header_len = header_len(second);
        let length = header.get(2..header_len - key_len(second))?;
        let payload_len = match second & 0x7F {
            len @ 0..126 => u64::from(len),
            _ => length.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        let key = header.get(header_len - key_len(second)..header_len)?;
        Some(Self {
            at,
            header_len,
            payload_len,
            fin: first & 0x80 != 0,
            opcode: first & 0x0F,
            key: key.try_into().ok(),
        })
    }

    fn is_control(self) -> bool {
        self.opcode & 8 != 0
    }

    fn end(self) -> usize {
        usize::try_from(self.payload_len).map_or(usize::MAX, |len| len.saturating_add(self.at + self.header_len))
    }

    /// Where the payload is, as far as it is there.
    fn payload(self, bytes: &[u8]) -> Range<usize> {
        self.at + self.header_len..self.end().min(bytes.len())
    }

    fn unmasked(self, bytes: &[u8]) -> Vec<u8> {
        bytes[self.payload(bytes)].iter().zip(self.key()).map(|(byte, key)| byte ^ key).collect()
    }

    fn key(self) -> impl Iterator<Item = u8> {
        self.key.unwrap_or_default().into_iter().cycle()
    }
}

/// Those with a whole header.
fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = Frame::at(bytes, at)?;
        at = frame.end();
        Some(frame)
    })
}

/// The bytes, and what makes the last frame whole that is not, or its header, where the payload is long; `None` when nothing is missing.
pub fn completed(bytes: &[u8], role: Role) -> Option<Vec<u8>> {
    let last = frames(bytes).last();
    let mut whole = bytes.to_vec();
    let last = match last {
        Some(last) if last.end() > bytes.len() => last,
        _ => {
            let at = last.map_or(0, Frame::end);
            if at == bytes.len() {
                return None;
            }
            if whole.len() == at + 1 {
                whole.push(if role == Role::Server { 0x80 } else { 0 });
            }
            // The least lengths that need so many bytes, and a key.
            let template: &[u8] = match whole[at + 1] & 0x7F {
                126 => &[0, 126, 0, 0, 0, 0],
                127 => &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
                _ => &[0; 4],
            };
            let there = whole.len() - at - 2;
            whole.extend(&template[there..header_len(whole[at + 1]) - 2]);
            Frame::at(&whole, at)?
        }
    };
    let is_long = last.end() > whole.len() + MISSING_MAX;
    if !is_long {
        whole.resize(last.end().max(whole.len()), b'a');
    }
    (whole.len() > bytes.len()).then_some(whole)
}

/// With the first length that is not in its shortest form in its shortest.
pub fn shortened(bytes: &[u8]) -> Option<Vec<u8>> {
    let is_longer = |frame: &Frame| match bytes[frame.at + 1] & 0x7F {
        126 => frame.payload_len < 126,
        127 => frame.payload_len < 65536,
        _ => false,
    };
    let frame = frames(bytes).find(is_longer)?;
    let marked = bytes[frame.at + 1] & 0x80;
    let mut header = vec![bytes[frame.at]];
    match frame.payload_len as u16 {
        len @ 0..126 => header.push(marked | len as u8),
        len => header.extend([[marked | 126].as_slice(), &len.to_be_bytes()].concat()),
    }
    header.extend(frame.key.iter().flatten());
    Some(replaced(bytes, frame.at..frame.at + frame.header_len, &header))
}

/// With the first frame masked that should be, or not masked that should not be, whose payload is taken as it stands.
pub fn masked_right(bytes: &[u8], role: Role) -> Option<Vec<u8>> {
    let frame = frames(bytes).find(|frame| frame.key.is_some() != (role == Role::Server))?;
    let mut header = bytes[frame.at..frame.at + frame.header_len].to_vec();
    header[1] ^= 0x80;
    match frame.key {
        Some(_) => header.truncate(header.len() - 4),
        None => header.extend([0; 4]),
    }
    Some(replaced(bytes, frame.at..frame.at + frame.header_len, &header))
}

/// Without the first Pong of more than 125 bytes.
pub fn without_long_pong(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = frames(bytes).find(|frame| frame.opcode == 10 && frame.payload_len > 125)?;
    Some(replaced(bytes, frame.at..frame.payload(bytes).end, &[]))
}

/// Without the fragments of the first message that another begins in the middle of.
pub fn without_unfinished_message(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut message: Vec<Frame> = Vec::new();
    for frame in frames(bytes).filter(|frame| !frame.is_control()) {
        if frame.opcode != 0 && !message.is_empty() {
            let unfinished = message.iter().rev();
            return Some(unfinished.fold(bytes.to_vec(), |bytes, part| replaced(&bytes, part.at..part.end(), &[])));
        }
        message.push(frame);
        if frame.fin {
            message.clear();
        }
    }
    None
}

/// With letters in place of all that the message of this number holds.
pub fn with_plain_text(bytes: &[u8], number: usize) -> Option<Vec<u8>> {
    let mut plain = bytes.to_vec();
    let mut finished = 0;
    for frame in frames(bytes).filter(|frame| !frame.is_control()) {
        if finished == number {
            let payload = &mut plain[frame.payload(bytes)];
            payload.iter_mut().zip(frame.key()).for_each(|(byte, key)| *byte = b'a' ^ key);
        }
        finished += usize::from(frame.fin);
    }
    (plain != bytes).then_some(plain)
}

/// With the message of this number in one frame, and without the code point that its end cuts.
pub fn without_cut_code_point(bytes: &[u8], number: usize, role: Role) -> Option<Vec<u8>> {
    let mut finished = 0;
    let parts = frames(bytes).filter(|frame| !frame.is_control()).filter(|frame| {
        let is_of_it = finished == number;
        finished += usize::from(frame.fin);
        is_of_it
    });
    let parts: Vec<Frame> = parts.collect();
    let text: Vec<u8> = parts.iter().flat_map(|part| part.unmasked(bytes)).collect();
    let (last, before) = parts.split_last().filter(|(last, _)| last.fin && last.end() <= bytes.len())?;
    let error = str::from_utf8(&text).err().filter(|error| error.error_len().is_none())?;
    let text = &text[..error.valid_up_to()];

    let marked = if role == Role::Server { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).ok()? {
        len @ 0..126 => frame.push(marked | len as u8),
        len => frame.extend([[marked | 126].as_slice(), &len.to_be_bytes()].concat()),
    }
    frame.extend(std::iter::repeat_n(0, key_len(marked)));
    frame.extend(text);
    let whole = replaced(bytes, last.at..last.end(), &frame);
    Some(before.iter().rev().fold(whole, |bytes, part| replaced(&bytes, part.at..part.end(), &[])))
}

/// Whether the last frame is said to be longer than any implementation takes by default.
pub fn last_is_too_big(bytes: &[u8]) -> bool {
    frames(bytes).last().is_some_and(|frame| frame.payload_len > 64 << 20)
}

/// Whether the first Close frame comes in the middle of a message. All before it is known to be right.
pub fn closes_inside_a_message(bytes: &[u8]) -> bool {
    let before: Vec<Frame> = frames(bytes).take_while(|frame| frame.opcode != 8).collect();
    let is_inside = before.iter().rfind(|frame| !frame.is_control()).is_some_and(|frame| !frame.fin);
    is_inside && close_frame(bytes).is_some()
}

/// The code of the first Close frame.
pub fn close_code(bytes: &[u8]) -> Option<u16> {
    close_payload(bytes).map(|payload| u16::from_be_bytes([payload[0], payload[1]]))
}

/// What is in the first Close frame, as far as it is there: a code at least.
pub fn close_payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let frame = close_frame(bytes)?;
    let payload = frame.unmasked(bytes);
    (payload.len() >= 2).then_some(payload)
}

fn close_frame(bytes: &[u8]) -> Option<Frame> {
    frames(bytes).find(|frame| frame.opcode == 8)
}

fn replaced(bytes: &[u8], range: Range<usize>, new: &[u8]) -> Vec<u8> {
    [&bytes[..range.start], new, &bytes[range.end..]].concat()
}

fn header_len(second: u8) -> usize {
    let len = match second & 0x7F {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    len + key_len(second)
}

fn key_len(second: u8) -> usize {
    if second & 0x80 == 0 { 0 } else { 4 }
}

/// How much of a payload is made up.
const MISSING_MAX: usize = 1 << 20;
