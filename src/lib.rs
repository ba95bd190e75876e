//! WebSocket (RFC 6455) as a pure, runtime-free state machine: bytes, time and a seed go in; bytes, events and the next
//! deadline come out.
//!
//! This crate opens no socket, reads no clock and starts no thread. An *adapter* does that, in a page of code;
//! `sansocket-std` is one for blocking sockets, `sansocket-tokio` for tokio, `sansocket-async-std` for smol, async-std and other
//! `futures-io` runtimes; `sansocket-cli` is the command. Use this crate itself to embed WebSocket in a server, a proxy, a game engine or a test.
//!
//! # The loop
//!
//! Both ends in one function, joined by nothing but slices:
//!
//! ```
//! use sansocket::{Acceptance, ClientRequest, CloseCode, Config, Connection, Event, RecvBuf};
//! use std::time::Instant;
//!
//! let now = Instant::now(); // the only clock is the caller's
//! let request = ClientRequest::new("ws://example.com/echo")?;
//! let mut client = Connection::client(&request, Config::default(), [1; 32], now); // seeds come from the OS in real life
//! let mut server = Connection::server(Config::default(), [2; 32], now);
//! let (mut to_client, mut to_server) = (RecvBuf::new(), RecvBuf::new());
//! let mut echoed = None;
//!
//! while echoed.is_none() {
//!     // What one end has to write is what the other end receives.
//!     to_server.extend_from_slice(client.outgoing());
//!     client.advance_outgoing(now, client.outgoing().len());
//!     while let Some(event) = server.poll_event(now, &mut to_server) {
//!         match event {
//!             Event::Request(_) => server.accept(now, &Acceptance::new())?,
//!             Event::Text(text) => server.send_text(now, text)?, // `text` is lent: nothing was copied or allocated
//!             _ => {}
//!         }
//!     }
//!
//!     to_client.extend_from_slice(server.outgoing());
//!     server.advance_outgoing(now, server.outgoing().len());
//!     while let Some(event) = client.poll_event(now, &mut to_client) {
//!         match event {
//!             Event::Open(_) => client.send_text(now, "hello")?,
//!             Event::Text(text) => echoed = Some(text.to_owned()),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(echoed.as_deref(), Some("hello"));
//! client.close(now, CloseCode::NORMAL, "done")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With a real transport there are three more things to do: sleep until [`Connection::poll_timeout`] and then call
//! [`Connection::handle_timeout`], tell the connection when the stream ends, and do with the stream what
//! [`Connection::poll_stream`] orders. The page of [`connection`] spells out the whole loop.
//!
//! # What is guaranteed
//!
//! - **No panic** is reachable from bytes, from time, or from any order of calls.
//! - **One end.** Each connection reports exactly one [`Event::Closed`], last, and by a deadline: who began it, the code and
//!   the reason, whether it was clean, and the limit or deadline that was hit.
//! - **Strict.** Every MUST of RFC 6455 is enforced, UTF-8 up to the byte at which it breaks; what is valid before a
//!   fault in the same read is still delivered, and the fault is answered with its close code.
//! - **Bounded.** Memory grows with what was received, never with what a header promises. A peer that never reads, pings without end
//!   or sends empty fragments costs a known number of bytes. Every limit of a connection is a field of [`Config`] or of the `DeflateConfig` in it,
//!   those of a client are in [`ClientConfig`](client::ClientConfig), each with the reason for its default.
//! - **Linear.** Each byte is looked at a fixed number of times, however the input is cut.
//! - **Lent, not copied.** Payloads are slices of the [`RecvBuf`] that the transport read into, unmasked and joined in place;
//!   [`RecvBuf::take_payload`] makes them owned. A large payload that a server sends as [`Bytes`] goes out as it is.
//! - **Deterministic.** The same seed and the same calls give the same bytes, so any failure can be replayed. (Compressed ones if no pool
//!   hands compressors on.)
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | [`connection`] | [`Connection`], its events, limits and deadlines |
//! | [`handshake`] | the HTTP/1.1 upgrade as pure functions, for servers that do it themselves |
//! | [`frame`] | headers, masks, close codes and UTF-8 as pure functions, for proxies and analysers |
//! | [`client`] | a client that outlives its connections, and its way to a server: options, proxy, redirects |
//! | [`proxy`] | the way through an HTTP or SOCKS5 proxy, ahead of the handshake |
//! | [`buffer`] | [`RecvBuf`] |
//! | `deflate` | permessage-deflate, RFC 7692 (feature `deflate`) |
//! | `json` | messages with a type, requests with an answer (feature `json`) |
//!
//! The feature `http` lets [`handshake`] speak the types of the `http` crate.

// No panic by construction: what may panic, or overflow, is justified where it stands, or is not there. Tests may.
#![cfg_attr(
    not(any(test, fuzzing)),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod buffer;
pub mod client;
pub mod connection;
#[cfg(test)]
mod corpus;
#[cfg(feature = "deflate")]
pub mod deflate;
pub mod frame;
pub mod handshake;
#[cfg(feature = "json")]
pub mod json;
mod message;
#[cfg(any(test, fuzzing))]
mod program;
pub mod proxy;

pub use buffer::RecvBuf;
pub use client::ClientOptions;
pub use connection::{
    AcceptError, Accepts, AgreedExtensions, CloseCause, Closed, Config, Connection, Deadline, Event, FragmentPosition,
    ProtocolError, ReadyState, Role, SendError, Side, StreamOrder,
};
pub use frame::CloseCode;
pub use handshake::{Acceptance, ClientRequest, OriginPolicy, Refusal, Rejection};
pub use message::{Message, MessageKind};

pub use bytes::Bytes;
pub use bytestring::ByteString;
