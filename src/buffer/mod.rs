//! The two buffers of a connection: [`RecvBuf`], which the caller owns, and the output queue, which the connection owns.

#[cfg(feature = "deflate")]
mod inflated;
mod recv;
mod send;

pub use recv::{READ_SIZE, RecvBuf};
pub(crate) use send::SendBuf;
