//! What the asynchronous adapters of [`sansocket`] have in common: one [`WebSocket`] over any stream ([`Transport`]) and any runtime
//! ([`Runtime`]).
//!
//! Applications use `sansocket-tokio` or another adapter, which name these types for their runtime. Use this crate to make one for another
//! runtime: implement the two traits.

mod accept;
mod client;
#[cfg(feature = "deflate")]
mod compression;
mod connect;
mod driver;
mod halves;
mod handshake;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod io;
mod keeper;
mod last_words;
mod prelude;
mod reader;
mod scratch;
mod transport;
#[cfg(feature = "http")]
mod upgrade;
mod wakers;
mod websocket;
mod writer;

pub use accept::Acceptor;
#[cfg(feature = "json")]
pub use client::Subscription;
pub use client::{Client, Events, Inbox, ReadFrom, Receipt, StateWatch, WriteTo};
pub use connect::Connector;
pub use driver::MessageRef;
pub use halves::{Receiver, Sender};
pub use handshake::Incoming;
pub use reader::MessageReader;
pub use sansocket_common::{AcceptError, ConnectError, Error, Tls, TlsError};
pub use transport::{Dial, MaybeTls, NoTls, Runtime, Transport, Wrap};
#[cfg(feature = "http")]
pub use upgrade::{Upgrade, UpgradeError};
pub use websocket::WebSocket;
pub use writer::MessageWriter;
