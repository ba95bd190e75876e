//! Messages with a type, requests with an answer, and acknowledged delivery, as JSON (feature `json`).
//!
//! A message is an object of a few fields, its *envelope*; the names of the fields are the application's ([`EnvelopeFormat`]):
//!
//! ```json
//! {"type": "said", "payload": {"room": 7, "text": "hello"}}
//! {"type": "history", "id": 1, "payload": {"room": 7}}
//! {"id": 1, "payload": ["hello", "hi"]}
//! {"id": 1, "error": "no such room"}
//! ```
//!
//! The second is a request; the third and the fourth are two ways to answer it. A [`Client`](crate::client::Client) does all of that if
//! [`ClientConfig::json`](crate::client::ClientConfig::json) is set. What stands here is of use without it, and to servers:
//!
//! ```
//! use sansocket::json::{JsonConfig, JsonEvent, Requests};
//! use std::time::{Duration, Instant};
//!
//! let now = Instant::now();
//! let mut requests = Requests::new(JsonConfig::default());
//! let (id, message) = requests.request(now, "history", &7, Duration::from_secs(5))?;
//! assert_eq!(message.as_text(), Some(r#"{"type":"history","id":1,"payload":7}"#));
//!
//! // The server's side: it echoes the id.
//! let format = requests.config().format.clone();
//! let JsonEvent::Message(asked) = Requests::new(JsonConfig::default().with_peer_requests()).handle_message(&message) else { panic!() };
//! assert_eq!((&*asked.kind, asked.payload.parse::<u32>()?), ("history", 7));
//! let answer = format.answer(asked.id.as_ref().unwrap(), &["hello", "hi"])?;
//!
//! let JsonEvent::Answer(answered, Ok(payload)) = requests.handle_message(&answer) else { panic!() };
//! assert_eq!((answered, payload.parse::<Vec<&str>>()?), (id, vec!["hello", "hi"]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acks;
mod config;
mod envelope;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod requests;

pub use acks::{AckFields, Deduplicator};
pub use config::{Ids, JsonConfig, OnLost};
pub use envelope::{EncodeError, Envelope, EnvelopeFormat, MalformedReason, Payload};
pub use requests::{JsonEvent, RequestFailure, RequestId, RequestRefused, Requests};
