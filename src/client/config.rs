//! How a client outlives its connections: every policy, with the reason for its default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{BackoffConfig, HeartbeatConfig, RetryPolicy};
use crate::message::Message;

/// How a [`Client`](super::Client) behaves. Limits and deadlines of the single connection are those of [`ClientOptions`](super::ClientOptions).
///
/// ```
/// use sansocket::client::{ClientConfig, Delivery, Overflow};
///
/// let mut config = ClientConfig::default();
/// config.queue.messages_max = 100;
/// config.queue.overflow = Overflow::DropOldest;
/// config.queue.delivery = Delivery::AtLeastOnce;
/// ```
///
/// All there is, with the defaults:
///
/// ```
/// use sansocket::client::{Beat, ClientConfig, ConnectFailureKind, Delivery, Jitter, Overflow, RetryPolicy, Verdict};
/// use std::time::Duration;
///
/// let mut config = ClientConfig::default();
/// config.backoff.first = Duration::from_secs(5); // up to 5 s, 10 s, 20 s, 40 s, 60 s, 60 s, …
/// config.backoff.factor = 2.0;
/// config.backoff.cap = Duration::from_secs(60);
/// config.backoff.jitter = Jitter::Full;
/// config.backoff.attempts_max = None; // for ever
/// config.backoff.time_max = None;
/// config.backoff.uptime_min = Duration::from_secs(10); // until the delays begin anew
/// config.backoff.retry_after_max = Duration::from_secs(300);
///
/// config.retry = RetryPolicy::default()
///     .status(503..=503, Verdict::Retry)
///     .close_code(1000..=1000, Verdict::Stop)
///     .connect_failure(ConnectFailureKind::Tls, Verdict::Retry);
///
/// config.heartbeat.interval = Some(Duration::from_secs(25));
/// config.heartbeat.timeout = Duration::from_secs(20);
/// config.heartbeat.missed_max = 0;
/// config.heartbeat.beat = Beat::Ping;
///
/// config.queue.messages_max = 1024;
/// config.queue.bytes_max = 16 * 1024 * 1024;
/// config.queue.age_max = None; // nothing is too old
/// config.queue.overflow = Overflow::Refuse;
/// config.queue.delivery = Delivery::AtMostOnce;
///
/// config.auth = None;
/// config.asks_before_attempt = false;
/// # #[cfg(feature = "json")]
/// # {
/// config.json = None;
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How long to wait between attempts.
    pub backoff: BackoffConfig,
    /// What is worth retrying.
    pub retry: RetryPolicy,
    /// How to tell that the peer is gone. It takes the place of [`Config::ping_interval`](crate::Config::ping_interval) and
    /// [`Config::pong_timeout`](crate::Config::pong_timeout).
    pub heartbeat: HeartbeatConfig,
    /// What happens to messages that cannot leave yet.
    pub queue: QueueConfig,
    /// Who one is, told in the first message.
    ///
    /// Nothing: most servers want credentials in the request, see [`ClientOptions::header`](super::ClientOptions::header).
    pub auth: Option<Auth>,
    /// Whether to ask before each attempt what to connect to, see [`Order::Prepare`](super::Order::Prepare).
    ///
    /// No: the options serve for all attempts. For tokens that expire and servers that move.
    pub asks_before_attempt: bool,
    /// How messages with a type look, and what is promised of requests (feature `json`). Texts that arrive are taken apart then, and reported
    /// as [`ClientEvent::Json`](super::ClientEvent::Json); binary messages are as ever.
    ///
    /// None: messages are the application's affair.
    #[cfg(feature = "json")]
    pub json: Option<crate::json::JsonConfig>,
}

/// The limits of the queue in which messages wait while they cannot leave, and what is promised of those that have.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueConfig {
    /// The most messages that wait. As many outcomes may wait to be polled; with more, messages are refused. Requests that are sent again
    /// (`OnLost::Resend`, feature `json`) come on top, of this and of `bytes_max`: they were accepted, so at most `pending_max` of them.
    ///
    /// 1024: some minutes of a person's work, or a second of a sensor's.
    pub messages_max: usize,
    /// The most bytes of payload that wait. A single message above it is always refused.
    ///
    /// 16 MiB: as much as the longest message by default.
    pub bytes_max: usize,
    /// The longest that a message waits; then it is dropped, and reported.
    ///
    /// For ever: what is too old, only the application knows.
    pub age_max: Option<Duration>,
    /// What happens to one more message when the queue is full.
    ///
    /// It is refused: nothing is lost behind the caller's back.
    pub overflow: Overflow,
    /// What is promised of messages that have left.
    ///
    /// At most once: a message is never doubled unless it is made to bear that.
    pub delivery: Delivery,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            messages_max: 1024,
            bytes_max: 16 * 1024 * 1024,
            age_max: None,
            overflow: Overflow::Refuse,
            delivery: Delivery::AtMostOnce,
        }
    }
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The caller keeps it.
    #[default]
    Refuse,
    /// The oldest that waits make room, and are reported as dropped. For states that replace each other.
    DropOldest,
    /// It is dropped, and reported so.
    DropNewest,
}

/// What is promised of a message that the transport has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It is not sent again, whether it has arrived or not.
    #[default]
    AtMostOnce,
    /// It is kept until a pong shows that it has arrived, or [`Client::acknowledge`](super::Client::acknowledge) says so, and sent again on
    /// the next connection otherwise. It may arrive twice.
    ///
    /// A pong shows that the peer's WebSocket has received all before the ping, not that its application has acted on it. A ping is sent
    /// whenever messages wait for one.
    AtLeastOnce,
    /// It is kept until [`Client::acknowledge`](super::Client::acknowledge) says that it has arrived, and sent again on each connection until then.
    /// Pongs prove nothing. For peers that acknowledge what they have acted on; it is implied by
    #[cfg_attr(feature = "json", doc = "[`EnvelopeFormat::acks`](crate::json::EnvelopeFormat::acks), which does that.")]
    #[cfg_attr(not(feature = "json"), doc = "`EnvelopeFormat::acks` (feature `json`), which does that.")]
    Acknowledged,
}

/// Credentials as the first message on each connection. No other message is sent until they are accepted, and no redirect to another scheme,
/// host or port is followed, since that is not whom they are meant for.
///
/// ```
/// use sansocket::client::{Auth, AuthAnswer, ClientConfig};
/// use std::time::Duration;
///
/// let mut auth = Auth::new(r#"{"token": "s3cret"}"#, |message| match message.as_text() {
///     Some("welcome") => AuthAnswer::Accepted,
///     Some(text) if text.starts_with("go away") => AuthAnswer::Refused(text.to_owned()),
///     _ => AuthAnswer::Other, // delivered as ever
/// });
/// auth.timeout = Duration::from_secs(5);
/// let mut config = ClientConfig::default();
/// config.auth = Some(auth);
/// ```
#[derive(Clone)]
pub struct Auth {
    /// The credentials.
    pub message: Message,
    /// What the server says to them.
    pub judge: Arc<dyn Fn(&Message) -> AuthAnswer + Send + Sync>,
    /// How long the answer may take; then the connection is closed with 4001.
    ///
    /// 10 s by [`Auth::new`]: as long as the handshake may take.
    pub timeout: Duration,
}

impl Auth {
    /// Credentials, and how to tell what the server says to them.
    pub fn new(message: impl Into<Message>, judge: impl Fn(&Message) -> AuthAnswer + Send + Sync + 'static) -> Self {
        Self { message: message.into(), judge: Arc::new(judge), timeout: Duration::from_secs(10) }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message is a secret.
        f.debug_struct("Auth").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What a message says about the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthAnswer {
    /// They are accepted. The message is not delivered.
    Accepted,
    /// They are refused, with these words. The message is not delivered.
    Refused(String),
    /// Nothing: it is delivered.
    Other,
}
