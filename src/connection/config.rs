//! What a connection allows, and how long it waits: every limit and every deadline, each with the reason for its default.

use std::time::Duration;

use crate::handshake::OriginPolicy;

/// The limits and deadlines of a connection.
///
/// Shared between connections as `Arc<Config>`. Start from the default and change what differs:
///
/// ```
/// use sansocket::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.message_len_max = 64 * 1024;
/// config.ping_interval = Some(Duration::from_secs(10));
/// ```
///
/// A deadline of `None` is never due. Times below a millisecond count as one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The longest payload of one frame that is received, in bytes; a longer one closes with 1009.
    ///
    /// 16 MiB: as long as the longest message, so that nobody has to fragment.
    pub frame_len_max: u64,

    /// The longest message that is received, all fragments together, in bytes; a longer one closes with 1009 as soon as a header
    /// announces it.
    ///
    /// 16 MiB: more than any interactive message needs, little enough for a thousand of them at once. A caller who takes
    /// messages in pieces may raise it without needing more memory, together with `frame_len_max`, `fragments_max` and `message_timeout`.
    pub message_len_max: u64,

    /// The most frames that one message may come in, empty ones counted; more close with 1008. `u32::MAX` is no limit.
    ///
    /// 131,072: a message of 8 MiB in pieces of 64 bytes passes, and work without progress ends within milliseconds.
    pub fragments_max: u32,

    /// The kinds of message that are received; the other one closes with 1003.
    ///
    /// Both: which one an application speaks is its own business.
    pub accepts: Accepts,

    /// The longest HTTP head that is received, in bytes; a longer one is answered with 431.
    ///
    /// 16 KiB: room for the cookies and tokens that browsers send, twice what common HTTP servers allow.
    pub head_len_max: usize,

    /// The most header fields in an HTTP head; more are answered with 431.
    ///
    /// 100: common HTTP servers draw the line there; browsers send about twenty.
    pub headers_max: usize,

    /// How much of a refusal's body a client keeps to report, in bytes.
    ///
    /// 4 KiB: an error message, not a page.
    pub refusal_body_len_max: usize,

    /// Unsent output above which sends are refused, and nothing more is decoded once answers have piled up above it; in bytes.
    ///
    /// Up to the mark plus [`CONTROL_ROOM`](crate::connection::CONTROL_ROOM) a send is taken whole, however long, and one answer to each event
    /// always is. So what waits is at most the mark, that room, the last message, one answer, and the pongs below. 64 KiB: what one write
    /// hands to a socket; more would only wait here instead of there.
    pub high_water_mark: usize,

    /// The most pings that are answered before the transport has taken any of the answers, at least one; then decoding pauses.
    ///
    /// 128: nobody who reads the answers comes near. A peer that reads nothing costs at most 128 × 131 bytes; for one that reads a byte now
    /// and then, pongs may fill the output up to the high-water mark, or stand 128 × 131 bytes above a long message.
    pub unsent_pongs_max: u32,

    /// Whether and how to compress: permessage-deflate is offered by a client, and agreed to by a server. RFC 7692.
    ///
    /// Not at all: it costs time and memory, and has a side channel ([`deflate`](crate::deflate)).
    #[cfg(feature = "deflate")]
    pub deflate: Option<crate::deflate::DeflateConfig>,

    /// Which web pages a server lets connect. RFC 6455 section 10.2.
    ///
    /// The same origin, or none, which is how anything but a browser connects: a page elsewhere cannot use its visitor's cookies.
    pub origin: OriginPolicy,

    /// From the start to the end of the opening handshake, in total: a head that drips in byte by byte does not extend it.
    ///
    /// 10 s: several round trips on the worst of networks, and the time that a server's application has to decide.
    pub handshake_timeout: Option<Duration>,

    /// How often a ping is sent while the connection is open.
    ///
    /// 25 s: two fit in the 60 s after which common proxies drop what is silent, and many mobile networks keep a mapping for 30 s.
    pub ping_interval: Option<Duration>,

    /// How long after a ping was written any byte at all must have arrived; otherwise the peer counts as gone.
    ///
    /// 20 s: longer than the stalls of mobile networks, so that a dead peer is noticed within 45 s.
    pub pong_timeout: Option<Duration>,

    /// How long nothing may arrive while the connection is open; then it closes with 1001.
    ///
    /// Never: the heartbeat already tells a silent peer from a dead one. For those who switch the heartbeat off.
    pub idle_timeout: Option<Duration>,

    /// How long output may wait with none of it taken by the transport; then the transport is dropped.
    ///
    /// 30 s: a peer that reads, however slowly, takes some bytes in that time.
    pub write_timeout: Option<Duration>,

    /// From the first byte of a message to the last, or of a lone control frame; then it closes with 1008. While decoding waits for
    /// output to be written, it rests, for as long again at most: no message takes more than twice the time, unless the application does not
    /// take it ([`poll_control_event`](super::Connection::poll_control_event)).
    ///
    /// 120 s: what the longest message takes at about 1 Mbit/s. A caller who takes endless messages in pieces sets `None`.
    pub message_timeout: Option<Duration>,

    /// From the start of the closing handshake, or from a fault, to the end of the transport. What is queued has this long to leave, too.
    ///
    /// 10 s: a few round trips, and what output up to the high-water mark takes at 64 kbit/s.
    pub close_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_len_max: 16 * 1024 * 1024,
            message_len_max: 16 * 1024 * 1024,
            fragments_max: 131_072,
            accepts: Accepts::TextAndBinary,
            head_len_max: 16 * 1024,
            headers_max: 100,
            refusal_body_len_max: 4 * 1024,
            high_water_mark: 64 * 1024,
            unsent_pongs_max: 128,
            #[cfg(feature = "deflate")]
            deflate: None,
            origin: OriginPolicy::default(),
            handshake_timeout: Some(Duration::from_secs(10)),
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Some(Duration::from_secs(20)),
            idle_timeout: None,
            write_timeout: Some(Duration::from_secs(30)),
            message_timeout: Some(Duration::from_secs(120)),
            close_timeout: Some(Duration::from_secs(10)),
        }
    }
}

/// The kinds of message that an endpoint takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accepts {
    /// Any message.
    #[default]
    TextAndBinary,
    /// Text only, as for JSON.
    TextOnly,
    /// Binary only.
    BinaryOnly,
}
