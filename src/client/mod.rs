//! A client's way to a server: what to ask for ([`ClientOptions`]), and how to get there, by way of a proxy and of redirects ([`Attempt`]).

mod attempt;
mod backoff;
mod heartbeat;
mod options;

pub use attempt::Attempt;
pub use backoff::{Backoff, BackoffConfig, Jitter};
pub use heartbeat::{Beat, Heartbeat, HeartbeatConfig, HeartbeatOrder};
pub use options::ClientOptions;
