#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod accept;
pub mod client;
#[cfg(feature = "deflate")]
mod compression;
mod connect;
mod locked;
mod maybe_tls;
mod prelude;
mod reader;
mod sender;
mod shared;
#[cfg(feature = "rustls")]
mod tls;
mod transport;
mod websocket;
mod writer;

pub use accept::{Acceptor, accept};
#[cfg(feature = "json")]
pub use client::Subscription;
pub use client::{Client, Events, Inbox, Receipt, StateWatch};
pub use connect::{Connector, connect};
pub use locked::Locked;
pub use maybe_tls::MaybeTls;
pub use reader::MessageReader;
pub use sender::Sender;
#[cfg(feature = "rustls")]
pub use tls::TlsStream;
pub use transport::Transport;
pub use websocket::{Messages, Parts, WebSocket};
pub use writer::MessageWriter;

#[cfg(feature = "rustls")]
pub use rustls;
pub use sansocket;

sansocket_common::reexports!();
