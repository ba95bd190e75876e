//! The HTTP/1.1 upgrade, both sides, as pure functions over bytes (RFC 6455 section 4).
//!
//! A WebSocket begins as one HTTP request and one answer. The client sends a `GET` that asks for an
//! upgrade and carries sixteen random bytes in `Sec-WebSocket-Key`; the server proves that it
//! understood by answering 101 with a digest of that key, and from the next byte on both speak
//! frames. Everything that can go wrong here goes wrong between two programs that do not trust each
//! other, with proxies between them that may read the same bytes differently. So these rules hold
//! throughout:
//!
//! - **One reading.** What two HTTP parsers could read in two ways is refused: bare CR and LF, NUL,
//!   folded lines, two `Host` fields, a body on an upgrade. Lists are matched by whole tokens.
//! - **Linear.** A head that arrives in pieces is scanned once ([`HeadScanner`]); no grammar here
//!   backtracks; every length has a limit that the caller sets.
//! - **No injection.** A string from the application reaches the wire only through a type that has
//!   refused CR, LF, NUL and the other control bytes.
//! - **Always an answer.** A fault in a request knows the answer to it ([`RequestFault`]); a refusal
//!   by a server is handed over with its status, fields and the start of its body ([`Refusal`]).
//!
//! Both sides, without any connection:
//!
//! ```
//! use sansocket::handshake::*;
//!
//! // The client writes its request …
//! let request = ClientRequest::new("wss://chat.example.com/room?id=7")?.subprotocol("chat.v2")?;
//! let key = encode_key(*b"sixteen random b");
//! let mut wire = Vec::new();
//! request.encode(&key, None, &mut wire);
//!
//! // … the server finds its end, reads it and accepts …
//! let head_len = HeadScanner::default().scan(&wire, 16 * 1024)?.expect("the head is whole");
//! let head = parse_request(&wire[..head_len], 100)?;
//! let upgrade = head.check(&OriginPolicy::default())?; // pages of the same origin, and no browser at all
//! let chosen = choose_subprotocol(&head.headers, &["chat.v2", "chat.v1"])?;
//! let mut acceptance = Acceptance::new();
//! if let Some(chosen) = chosen {
//!     acceptance = acceptance.subprotocol(chosen)?;
//! }
//! acceptance.check(&head.headers)?;
//! let mut answer = Vec::new();
//! encode_acceptance(&acceptance, &upgrade.accept, None, &mut answer);
//!
//! // … and the client checks the answer.
//! let answer = parse_response(&answer, 100)?;
//! let accepted = check_response(&answer, &key.accept(), request.subprotocols(), None)?;
//! assert_eq!(accepted.subprotocol, Some("chat.v2"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept_key;
mod answer;
mod authority;
mod client;
mod extended_connect;
mod extension;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod head;
mod headers;
#[cfg(feature = "http")]
mod http_types;
#[cfg(test)]
mod linear;
mod origin;
mod redirect;
mod refusal;
mod refusal_body;
mod request_fault;
mod response;
mod scanner;
mod server;
mod subprotocol;
mod token;
mod url;

pub use accept_key::{AcceptKey, ClientKey, accept_key, encode_key};
pub use answer::{Acceptance, AnswerError, Rejection, encode_acceptance, encode_rejection, reason_phrase};
pub use client::{ClientRequest, RequestError};
pub use extended_connect::{
    ConnectFault, ConnectFields, ExtendedConnect, PseudoHeaders, SETTINGS_ENABLE_CONNECT_PROTOCOL,
    check_connect_response, check_extended_connect, connect_acceptance, connect_request,
};
pub use extension::{Extension, ExtensionError, Extensions, Params, parse_extensions};
pub use head::{HttpVersion, OwnedRequestHead, RequestHead, ResponseHead, parse_request, parse_response};
pub use headers::{FieldError, HeaderMap, Headers, OwnedHeaders};
#[cfg(feature = "http")]
pub use http_types::check_http_request;
pub use origin::{Origin, OriginError, OriginPolicy};
pub use redirect::{RedirectError, Redirects};
pub use refusal::{BodyFraming, ChunkedPrefix, Refusal, RetryAfter, body_framing, decode_chunked_prefix};
pub use request_fault::RequestFault;
pub use response::{Accepted, ResponseFault, check_response};
pub use scanner::{HeadError, HeadScanner};
pub use server::{UpgradeRequest, check_request};
pub use subprotocol::{SubprotocolError, choose_subprotocol, is_subprotocol_offered, offered_subprotocols};
pub use token::{has_token, is_token};
pub use url::{UrlError, WsUrl};

// For the preludes, which read and write heads of their own.
pub(crate) use authority::Authority;
pub(crate) use headers::{check_not_reserved, write_field};
pub(crate) use refusal_body::{BodyEnd, RefusalBody};
pub(crate) use url::{check_characters, percent_decoded};
