//! What can go wrong with an open connection, and what to do about it.

use std::io;
use std::sync::Arc;

use sansocket::{Closed, SendError};

/// Why a message was not received or not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is over, and [`Closed`] tells how; [`recv`](crate::WebSocket::recv) reports only an end that is not clean so.
    #[error("the connection is over: {0}")]
    Closed(Closed),
    /// The connection is over because the transport failed.
    #[error("the connection is over: {closed}: {source}")]
    Transport {
        /// How it ended.
        closed: Closed,
        /// What the transport said.
        source: Arc<io::Error>,
    },
    /// The transport failed while it was written to. How the connection ended is told by the next [`recv`](crate::WebSocket::recv),
    /// after the messages that arrived before.
    #[error("the message did not leave: {0}; receive to learn how the connection ended")]
    Broken(Arc<io::Error>),
    /// The order was refused, and nothing was sent.
    #[error("{}{}", .0, send_hint(.0))]
    Send(#[from] SendError),
}

impl Error {
    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed(closed) | Self::Transport { closed, .. } => Some(closed),
            Self::Broken(_) | Self::Send(_) => None,
        }
    }
}

fn send_hint(error: &SendError) -> &'static str {
    match error {
        SendError::NotOpen(_) => ": receive to learn why",
        _ => "",
    }
}
