//! The wire: header, mask, opcode, close code, UTF-8. Pure functions over bytes; no role, no state, no time.
//!
//! These parts know nothing of a connection, so that a proxy, an analyser or a test may use them alone:
//!
//! ```
//! use sansocket::frame::{Header, Opcode, apply_mask};
//!
//! let mut wire = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; // RFC 6455 section 5.7
//! let (header, header_len) = Header::decode(&wire)?.expect("the header is whole");
//! assert_eq!((header.fin, header.opcode, header.payload_len), (true, Opcode::Text, 5));
//!
//! let payload = &mut wire[header_len..];
//! apply_mask(payload, header.masking_key.expect("a client masks"), 0);
//! assert_eq!(payload, b"Hello");
//! # Ok::<(), sansocket::frame::HeaderError>(())
//! ```

mod close;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header;
mod mask;
mod opcode;
#[expect(
    clippy::indexing_slicing,
    reason = "the ranges of a buffer that keeps its invariant; the checks are the floor under `unsafe`"
)]
mod unchecked;
mod utf8;

pub use close::{CLOSE_REASON_LEN_MAX, CloseCode, ClosePayload, ClosePayloadError};
pub use header::{CONTROL_PAYLOAD_LEN_MAX, HEADER_LEN_MAX, Header, HeaderDecoder, HeaderError, Rsv};
pub use opcode::Opcode;
pub(crate) use unchecked::{TakenBytes, TextBytes, VECTOR_LEN_MIN, append_masked};
pub use unchecked::{apply_mask, from_utf8};
pub use utf8::{Utf8Error, Utf8Validator};
