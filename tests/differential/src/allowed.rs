//! Where implementations may differ from this one, and do. Anything else is a bug, here or there.

use crate::verdict::{End, Verdict};

/// Two verdicts on the same bytes.
pub struct Difference<'a> {
    pub name: &'static str,
    pub bytes: &'a [u8],
    pub ours: &'a Verdict,
    /// What our end was due to, in words.
    pub cause: &'a str,
    pub theirs: &'a Verdict,
}

/// Why the two may differ, with the section that says so; `None` when nothing explains it.
pub fn explain(between: &Difference<'_>) -> Option<&'static str> {
    RULES.iter().find(|rule| rule.names.contains(&between.name) && (rule.applies)(between)).map(|rule| rule.why)
}

struct Rule {
    names: &'static [&'static str],
    applies: fn(&Difference<'_>) -> bool,
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets"],
        applies: |between| {
            between.is_due_to("is above 2^63 - 1") && between.theirs.end == End::Failed(1009) && between.same_messages()
        },
        why: "RFC 6455 5.2: the most significant bit of a length must be 0. Called a message that is too big there, for it would be",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets"],
        applies: |between| between.is_due_to("is not in its shortest form") && between.ours_is_prefix(),
        why: "RFC 6455 5.2: the minimal number of bytes must be used for a length. Not checked there",
    },
    Rule {
        names: &["tungstenite", "websockets", "fastwebsockets"],
        applies: |between| between.is_due_to("control frame of more than") && between.ours_is_prefix(),
        why: "RFC 6455 5.5: at most 125 bytes in a control frame. Refused by its header here, there when it is whole, or, by fastwebsockets, not at all",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| between.is_due_to("masked") && between.ours_is_prefix(),
        why: "RFC 6455 5.1: a client's frames are masked, a server's are not. Not checked there",
    },
    Rule {
        names: &["tungstenite"],
        applies: |between| {
            between.is_due_to("close code") && matches!(between.theirs.end, End::Closed(_)) && between.same_messages()
        },
        why: "RFC 6455 7.4: a code that may not be sent is a fault. Taken there, and answered with 1002",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "wsproto"],
        applies: |between| {
            between.ours.end == End::Closed(Some(1014))
                && matches!(between.theirs.end, End::Failed(1002) | End::Closed(Some(1002)))
                && between.same_messages()
        },
        why: "RFC 6455 11.7, the registry: 1014 (Bad Gateway) has been registered since. Not known there",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets", "wsproto"],
        applies: |between| {
            between.is_due_to("close code") && between.theirs.end == End::Failed(1007) && between.same_messages()
        },
        why: "RFC 6455 7.4, 8.1: a Close frame with a wrong code and a wrong reason has two faults. Which is told first is open",
    },
    Rule {
        names: &["wsproto", "fastwebsockets", "tungstenite"],
        applies: |between| {
            between.is_due_to("close reason") && between.theirs.end == End::Failed(1002) && between.same_messages()
        },
        why: "RFC 6455 11.7, the registry: 1014 (Bad Gateway) has been registered since. Not known there, which is told before the wrong reason",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets", "wsproto"],
        applies: |between| {
            matches!(between.ours.end, End::Failed(_))
                && between.theirs.end == End::EndOfStream
                && between.same_messages()
                && between.ends_inside_a_frame()
        },
        why: "RFC 6455 7.1.7: a fault is told by the first byte that shows it. There when the frame is whole, which it never is",
    },
    Rule {
        names: &["fastwebsockets", "websockets", "wsproto"],
        applies: |between| {
            between.ours.end == End::EndOfStream
                && matches!(between.theirs.end, End::Failed(_))
                && between.same_messages()
                && between.ends_inside_a_header()
        },
        why: "RFC 6455 7.1.7: a reserved bit, or a mask where none may be, is told when the header is whole here, at its byte there",
    },
    Rule {
        names: &["wsproto"],
        applies: |between| between.ours.end == End::Failed(1009) && between.ours_is_prefix(),
        why: "RFC 6455 10.4: what is too big is for an implementation to say. There it is left to the application",
    },
    Rule {
        names: &["websockets"],
        applies: |between| {
            matches!(between.ours.end, End::Closed(_))
                && between.theirs.end == End::Failed(1002)
                && between.same_messages()
                && between.closes_inside_a_message()
        },
        why: "RFC 6455 5.4: control frames may come in the middle of a fragmented message. A Close may not there",
    },
    Rule {
        names: &["websockets", "fastwebsockets"],
        applies: |between| between.is_due_to("text is not valid UTF-8") && between.ours_is_prefix(),
        why: "RFC 6455 8.1: text that is not UTF-8 fails the connection. At its first wrong byte here, at the end of its message there, if there is one",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("new message before the last one was finished") && between.ours_is_prefix()
        },
        why: "RFC 6455 5.4: fragments of one message may not be mixed with those of another. Not checked there between two first fragments",
    },
];

impl Difference<'_> {
    fn is_due_to(&self, words: &str) -> bool {
        self.cause.contains(words)
    }

    fn same_messages(&self) -> bool {
        self.ours.messages == self.theirs.messages
    }

    /// Whether the other has at least what was delivered before the fault.
    fn ours_is_prefix(&self) -> bool {
        self.theirs.messages.starts_with(&self.ours.messages)
    }

    /// Whether the last frame is cut off, by the lengths that the headers say.
    fn ends_inside_a_frame(&self) -> bool {
        self.frames().last().is_some_and(|frame| frame.is_none_or(|frame| frame.len() < frame.wanted()))
    }

    /// Whether not even the last header is whole.
    fn ends_inside_a_header(&self) -> bool {
        self.frames().last().is_some_and(|frame| frame.is_none())
    }

    /// Whether the first Close frame comes in the middle of a message. All before it is known to be right.
    fn closes_inside_a_message(&self) -> bool {
        let mut inside = false;
        for frame in self.frames().flatten() {
            match frame.0[0] & 0x0F {
                8 => return inside,
                0..8 => inside = frame.0[0] & 0x80 == 0,
                _ => {}
            }
        }
        false
    }

    /// The frames, right or wrong; `None` for a header that is cut off.
    fn frames(&self) -> impl Iterator<Item = Option<Frame<'_>>> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let Some(header_len) = header_len(rest).filter(|len| *len <= rest.len()) else {
                rest = &[];
                return Some(None);
            };
            let end = Frame(rest).wanted().min(rest.len() as u64).max(header_len as u64);
            let (frame, behind) = rest.split_at(end as usize);
            rest = behind;
            Some(Some(Frame(frame)))
        })
    }
}

/// The bytes of a frame, as many as there are. Its header is whole.
#[derive(Clone, Copy)]
struct Frame<'a>(&'a [u8]);

impl Frame<'_> {
    fn len(self) -> u64 {
        self.0.len() as u64
    }

    /// How many bytes its header promises, itself included.
    fn wanted(self) -> u64 {
        let payload = match self.0[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes([self.0[2], self.0[3]])),
            127 => self.0[2..10].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
            len => u64::from(len),
        };
        payload.saturating_add(header_len(self.0).unwrap_or_default() as u64)
    }
}

fn header_len(bytes: &[u8]) -> Option<usize> {
    let second = bytes.get(1)?;
    let len = match second & 0x7F {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    Some(if second & 0x80 == 0 { len } else { len + 4 })
}
