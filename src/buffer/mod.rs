//! The two buffers of a connection: [`RecvBuf`], which the caller owns, and the output queue, which the connection owns.

#[cfg(feature = "deflate")]
#[expect(clippy::indexing_slicing, reason = "`start <= end <= storage.len()`, and what is lent lies within")]
mod inflated;
#[expect(
    clippy::indexing_slicing,
    reason = "the invariant that is drawn at its top, which its tests hold up against any order of calls"
)]
mod recv;
#[expect(clippy::indexing_slicing, reason = "`written <= at <= packed.len()` of each shared payload, in order")]
mod send;

pub use recv::{READ_SIZE, RecvBuf};
pub(crate) use send::SendBuf;
