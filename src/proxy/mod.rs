//! The way through a proxy, ahead of the handshake: HTTP `CONNECT` (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928).
//!
//! A [`Prelude`] is a small state machine on a stream to the proxy. Once it reports success, the stream is one to the server, and
//! TLS or a [`Connection`](crate::Connection) goes on with it as if there were no proxy. Whoever owns the stream drives it as a
//! connection is driven:
//!
//! 1. Write [`outgoing`](Prelude::outgoing), and tell how much went by [`advance_outgoing`](Prelude::advance_outgoing).
//! 2. Read into the [`RecvBuf`](crate::RecvBuf) that the connection is going to use; at the end of the stream call
//!    [`handle_eof`](Prelude::handle_eof), on a transport error [`handle_transport_error`](Prelude::handle_transport_error).
//! 3. Call [`poll_outcome`](Prelude::poll_outcome). When it returns `None`, there may be more to write: go back to 1.
//! 4. When [`poll_timeout`](Prelude::poll_timeout) is due, and nothing can be read any more, call
//!    [`handle_timeout`](Prelude::handle_timeout).
//!
//! Bytes behind the proxy's last one stay unread in the buffer. They are the server's: leave them there for a connection, or hand them to
//! TLS.
//!
//! Which proxy to use, if any, says [`ProxyRules`], from the values of the usual environment variables, which it does not read
//! itself.
//!
//! ```
//! use sansocket::RecvBuf;
//! use sansocket::handshake::WsUrl;
//! use sansocket::proxy::{PreludeConfig, ProxyRules};
//! use std::time::Instant;
//!
//! let now = Instant::now(); // the only clock is the caller's
//! let rules = ProxyRules::new().https(Some("http://user:pass@proxy.example:3128")).no_proxy(Some("localhost,.internal"));
//! let url = WsUrl::parse("wss://example.com/chat")?;
//! let proxy = rules.proxy_for(&url)?.expect("example.com is not excepted");
//! assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128)); // connect there
//!
//! let mut prelude = proxy.prelude(&url, &PreludeConfig::default(), now)?;
//! assert_eq!(
//!     prelude.outgoing(),
//!     b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"
//! );
//! prelude.advance_outgoing(prelude.outgoing().len());
//!
//! let mut received = RecvBuf::new();
//! received.extend_from_slice(b"HTTP/1.1 200 Connection established\r\n");
//! assert_eq!(prelude.poll_outcome(&mut received), None);
//! received.extend_from_slice(b"\r\nthe server's first byte");
//! assert_eq!(prelude.poll_outcome(&mut received), Some(Ok(())));
//! assert_eq!(received.unread(), b"the server's first byte");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Security
//!
//! What goes to the proxy goes in the clear, the credentials for it included. Through a tunnel for a `wss` URL the proxy sees the
//! host, the port, and TLS; for a `ws` URL it sees everything. Names are resolved by the proxy, always: nothing about the server
//! reaches the local resolver.

mod config;
mod credentials;
#[cfg(any(test, fuzzing))]
mod drive;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod http;
mod no_proxy;
mod prelude;
mod rules;
mod socks5;
mod target;
mod url;

pub use config::PreludeConfig;
pub use credentials::Credentials;
pub use error::{PreludeError, ProxyError, SocksReply};
pub use prelude::Prelude;
pub use rules::ProxyRules;
pub use target::Target;
pub use url::{Proxy, ProxyKind, ProxyUrlError};
