//! The two buffers of a connection: [`RecvBuf`], which the caller owns, and the output queue, which the connection owns.

#[cfg(feature = "deflate")]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "`start <= end <= storage.len()`, and what is lent lies within; two lengths, at most `isize::MAX` each, have a sum"
)]
mod inflated;
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the invariant that is drawn at its top, which its tests hold up against any order of calls; two lengths, at most \
              `isize::MAX` each, have a sum"
)]
mod recv;
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "`written <= at <= packed.len()` of each shared payload, in order; `len` is the sum of what waits, which `SHARED_LEN_MAX` bounds"
)]
mod send;

pub use recv::{READ_SIZE, RecvBuf};
pub(crate) use send::SendBuf;
