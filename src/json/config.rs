//! How messages with a type look, and what is promised of requests.

use std::borrow::Cow;

use super::EnvelopeFormat;

/// How messages with a type look, and how [`Requests`](super::Requests) are kept.
///
/// ```
/// use sansocket::json::{Ids, JsonConfig, OnLost};
///
/// let mut config = JsonConfig::default();
/// config.format.id = "requestId".into();
/// config.format.payload = "data".into();
/// config.ids = Ids::Text("c-".into());
/// config.pending_max = 100;
/// config.on_lost = OnLost::Resend;
/// config.peer_requests = true;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JsonConfig {
    /// The names of the fields.
    ///
    /// `type`, `id`, `payload` and `error`: the most common.
    pub format: EnvelopeFormat,
    /// How ids are written.
    ///
    /// As numbers: the shortest.
    pub ids: Ids,
    /// The most requests that wait for an answer, those among them that have failed without anybody having polled for it. One more is refused.
    ///
    /// 1024: as many as messages may wait.
    pub pending_max: usize,
    /// What becomes of requests when the connection is lost behind them.
    ///
    /// They fail: nothing is asked twice unless it is made to bear that, and the caller knows at once.
    pub on_lost: OnLost,
    /// Whether the peer makes requests of its own: a message with a type and an id that no request has had is one. Its ids must differ from ours
    /// then, as numbers do from [`Ids::Text`], or else a request would be taken for an answer.
    ///
    /// No: such an id is a mistake, and reported as [`JsonEvent::Unknown`](super::JsonEvent::Unknown).
    pub peer_requests: bool,
}

impl JsonConfig {
    /// With requests of the peer's, see [`peer_requests`](Self::peer_requests).
    #[must_use]
    pub fn with_peer_requests(mut self) -> Self {
        self.peer_requests = true;
        self
    }
}

impl Default for JsonConfig {
    fn default() -> Self {
        Self {
            format: EnvelopeFormat::default(),
            ids: Ids::Number,
            pending_max: 1024,
            on_lost: OnLost::Fail,
            peer_requests: false,
        }
    }
}

/// How ids are written. An answer may have the number as text, too, since some servers keep ids as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// `1`, `2`, …
    #[default]
    Number,
    /// As text behind this prefix: `"c-1"`, `"c-2"`, …
    Text(Cow<'static, str>),
}

/// What becomes of a request that the peer may have received when the connection is lost before the answer came. One that has not left as a
/// whole is sent on the next connection in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// It fails.
    #[default]
    Fail,
    /// It waits on. For servers that answer on the next connection.
    Wait,
    /// It is sent again, and may be acted on twice.
    Resend,
}
