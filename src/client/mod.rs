//! A client's way to a server ([`ClientOptions`], [`Attempt`]), and a client that outlives its connections ([`Client`]): it reconnects, sends
//! heartbeats, queues while offline and authenticates.
//!
//! [`Backoff`] and [`Heartbeat`] are of use without it. A connection in three attempts, with the network played by hand:
//!
//! ```
//! use sansocket::client::{Client, ClientConfig, ClientEvent, ClientOptions, ConnectFailure, ConnectFailureKind, Order};
//! use sansocket::RecvBuf;
//! use std::time::Instant;
//!
//! let mut now = Instant::now();
//! let options = ClientOptions::new("ws://example.com/feed")?;
//! let mut client = Client::new(options, ClientConfig::default(), [7; 32], now); // the seed comes from the OS in real life
//! let mut input = RecvBuf::new();
//!
//! // There is no network, but messages are accepted, and wait.
//! let token = client.send(now, "hello")?;
//! for _ in 0..2 {
//!     let Some(Order::Connect(attempt)) = client.poll_order(now) else { unreachable!() };
//!     assert_eq!(attempt.address(), Ok(("example.com", 80)));
//!     let failure = ConnectFailure { kind: ConnectFailureKind::Io, message: "network is unreachable".into() };
//!     client.handle_connect_failed(now, failure);
//!     while let Some(event) = client.poll_event(now, &mut input) {
//!         println!("{event:?}"); // AttemptFailed, Reconnecting
//!     }
//!     now = client.poll_timeout().expect("the next attempt");
//!     client.handle_timeout(now);
//! }
//!
//! // The third time there is a stream, and the request is in the output.
//! assert!(matches!(client.poll_order(now), Some(Order::Connect(_))));
//! client.handle_connected(now);
//! assert!(client.outgoing().starts_with(b"GET /feed HTTP/1.1\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod backoff;
mod config;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod heartbeat;
mod machine;
mod metrics;
mod options;
mod pool;
mod queue;
mod retry;

pub use attempt::Attempt;
pub use backoff::{Backoff, BackoffConfig, Jitter};
pub use config::{Auth, AuthAnswer, ClientConfig, Delivery, Overflow, QueueConfig};
pub use event::{ClientEvent, ClientState, End, Order};
pub use heartbeat::{Beat, Heartbeat, HeartbeatConfig, HeartbeatOrder};
#[cfg(feature = "json")]
pub use machine::NotSent;
pub use machine::{Client, Prepared};
pub use metrics::Metrics;
pub use options::ClientOptions;
pub use pool::Pool;
pub use queue::{DropReason, Outcome, RejectReason, Rejected, Token};
pub use retry::{Cause, ConnectFailure, ConnectFailureKind, RetryPolicy, Verdict};
