//! Where implementations may differ from this one, and do. Anything else is a bug, here or there.

use crate::frames;
use crate::subjects::{self, Limits};
use crate::verdict::{End, Role, Verdict};

/// Two verdicts on the same bytes.
#[derive(Clone, Copy)]
pub struct Difference<'a> {
    pub name: &'static str,
    pub role: Role,
    pub bytes: &'a [u8],
    pub ours: &'a Verdict,
    /// What our end was due to, in words.
    pub cause: &'a str,
    pub theirs: &'a Verdict,
    /// What the other makes of other bytes.
    pub again: &'a dyn Fn(&[u8]) -> Verdict,
}

/// Why the two may differ, with the section that says so; `None` when nothing explains it.
pub fn explain(between: &Difference<'_>) -> Option<&'static str> {
    RULES.iter().find(|rule| rule.names.contains(&between.name) && (rule.applies)(between)).map(|rule| rule.why)
}

/// All that may be, by name and reason.
pub fn allowances() -> impl Iterator<Item = (&'static str, &'static str)> {
    RULES.iter().flat_map(|rule| rule.names.iter().map(|name| (*name, rule.why)))
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
        applies: |between| {
            (between.is_due_to("is not in its shortest form") || between.is_due_to("control frame of more than"))
                && between.overlooks(frames::shortened)
        },
        why: "RFC 6455 5.2: the minimal number of bytes must be used for a length. Not checked there",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets"],
        applies: |between| {
            between.is_due_to("control frame of more than")
                && between.theirs.end == End::Failed(1009)
                && frames::last_is_too_big(between.bytes)
                && between.same_messages()
        },
        why: "RFC 6455 5.5, 7.4.1: a control frame that is too big for any frame has two faults. Which is told first is open",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("control frame of more than") && between.overlooks(frames::without_long_pong)
        },
        why: "RFC 6455 5.5: at most 125 bytes in a control frame. Not checked there for a Pong",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("control frame of more than")
                && matches!(between.theirs.end, End::Closed(_) | End::Failed(1002 | 1007))
                && between.same_messages()
                && frames::close_payload(between.bytes).is_some()
        },
        why: "RFC 6455 5.5: at most 125 bytes in a control frame. Not checked there for a Close",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("masked") && between.overlooks(|bytes| frames::masked_right(bytes, between.role))
        },
        why: "RFC 6455 5.1: a client's frames are masked, a server's are not. Not checked there",
    },
    Rule {
        names: &["tungstenite"],
        applies: |between| {
            between.is_due_to("close code") && between.theirs.end == End::Closed(Some(1002)) && between.same_messages()
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
        names: &["tungstenite", "fastwebsockets", "websockets"],
        applies: |between| {
            between.is_due_to("close code")
                && between.theirs.end == End::Failed(1007)
                && frames::close_payload(between.bytes).is_some_and(|payload| str::from_utf8(&payload[2..]).is_err())
                && between.same_messages()
        },
        why: "RFC 6455 7.4, 8.1: a Close frame with a wrong code and a wrong reason has two faults. Which is told first is open",
    },
    Rule {
        names: &["wsproto"],
        applies: |between| {
            between.is_due_to("close reason")
                && between.theirs.end == End::Failed(1002)
                && frames::close_code(between.bytes) == Some(1014)
                && between.same_messages()
        },
        why: "RFC 6455 11.7, the registry: 1014 (Bad Gateway) has been registered since. Not known there, which is told before the wrong reason",
    },
    Rule {
        names: &["tungstenite", "fastwebsockets", "websockets", "wsproto"],
        applies: |between| {
            matches!(between.ours.end, End::Failed(_))
                && between.theirs.end == End::Eof
                && between.same_messages()
                && between.finds_it_when_the_frame_is_whole()
        },
        why: "RFC 6455 7.1.7: a fault is told by the first byte that shows it. There when the frame is whole, which it never is",
    },
    Rule {
        names: &["fastwebsockets", "websockets", "wsproto"],
        applies: |between| {
            between.ours.end == End::Eof
                && matches!(between.theirs.end, End::Failed(_))
                && between.same_messages()
                && between.is_found_when_the_header_is_whole()
        },
        why: "RFC 6455 7.1.7: a reserved bit, or a mask where none may be, is told when the header is whole here, at its byte there",
    },
    Rule {
        names: &["wsproto"],
        applies: |between| between.ours.end == End::Failed(1009) && between.has_no_limits(),
        why: "RFC 6455 10.4: what is too big is for an implementation to say. There it is left to the application",
    },
    Rule {
        names: &["websockets"],
        applies: |between| {
            matches!(between.ours.end, End::Closed(_))
                && between.theirs.end == End::Failed(1002)
                && between.same_messages()
                && frames::closes_inside_a_message(between.bytes)
        },
        why: "RFC 6455 5.4: control frames may come in the middle of a fragmented message. A Close may not there",
    },
    Rule {
        names: &["websockets"],
        applies: |between| {
            between.is_due_to("text is not valid UTF-8")
                && between.same_messages()
                && (between.theirs.end == End::Failed(1007)
                    || between.overlooks(|bytes| frames::with_plain_text(bytes, between.ours.messages.len())))
        },
        why: "RFC 6455 8.1: text that is not UTF-8 fails the connection. At its first wrong byte here, at the end of its message there, if there is one",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("text is not valid UTF-8")
                && between
                    .overlooks(|bytes| frames::without_cut_code_point(bytes, between.ours.messages.len(), between.role))
        },
        why: "RFC 6455 8.1: text that is not UTF-8 fails the connection. A code point that the end of a fragmented message cuts is left out there",
    },
    Rule {
        names: &["fastwebsockets"],
        applies: |between| {
            between.is_due_to("new message before the last one was finished")
                && between.overlooks(frames::without_unfinished_message)
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

    /// Whether the other makes of the bytes what is right once the fault is mended, which it does not look at.
    fn overlooks(&self, mend: impl Fn(&[u8]) -> Option<Vec<u8>>) -> bool {
        mend(self.bytes).is_some_and(|mended| self.is_right_for(&mended, Limits::Usual, self.theirs))
    }

    /// Whether the other makes of the bytes what is right where nothing is too big.
    fn has_no_limits(&self) -> bool {
        self.is_right_for(self.bytes, Limits::None, self.theirs)
    }

    /// Whether the other, who waits for the rest of the last frame, finds the same fault when it comes.
    fn finds_it_when_the_frame_is_whole(&self) -> bool {
        frames::completed(self.bytes, self.role).is_some_and(|whole| {
            let theirs = (self.again)(&whole);
            *self.ours == theirs || explain(&Difference { bytes: &whole, theirs: &theirs, ..*self }).is_some()
        })
    }

    /// Whether it is a fault here, too, when the rest of the last frame comes.
    fn is_found_when_the_header_is_whole(&self) -> bool {
        let whole = frames::completed(self.bytes, self.role);
        whole.is_some_and(|whole| matches!(subjects::sansocket(self.role, &whole, Limits::Usual).0.end, End::Failed(_)))
    }

    /// Whether our verdict on these bytes is the given one of the other, or may differ from it.
    fn is_right_for(&self, bytes: &[u8], limits: Limits, theirs: &Verdict) -> bool {
        let (ours, cause) = subjects::sansocket(self.role, bytes, limits);
        let between = Difference { bytes, ours: &ours, cause: &cause, theirs, ..*self };
        ours == *theirs || explain(&between).is_some()
    }
}
