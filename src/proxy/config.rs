//! What a prelude allows, and how long it waits.

use std::time::Duration;

/// The limits and the deadline of a prelude. Start from the default and change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreludeConfig {
    /// The longest head of an HTTP proxy's answer, interim answers included, in bytes.
    ///
    /// 16 KiB: what a connection allows a server.
    pub head_len_max: usize,

    /// The most header fields in an HTTP proxy's answer.
    ///
    /// 100: what a connection allows a server.
    pub headers_max: usize,

    /// How much of the body an HTTP proxy refuses with is kept to report, in bytes.
    ///
    /// 4 KiB: an error message, not a page.
    pub refusal_body_len_max: usize,

    /// From the creation of the prelude to its outcome, in total: bytes that drip in do not extend it. `None` for no deadline.
    ///
    /// 30 s: the proxy resolves the name and connects to the server in that time, which may take it several attempts.
    pub timeout: Option<Duration>,
}

impl Default for PreludeConfig {
    fn default() -> Self {
        Self {
            head_len_max: 16 * 1024,
            headers_max: 100,
            refusal_body_len_max: 4 * 1024,
            timeout: Some(Duration::from_secs(30)),
        }
    }
}
