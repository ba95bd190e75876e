//! What can go wrong with an open connection.

use std::io;
use std::sync::Arc;

use sansocket::{Closed, SendError};

/// Why a message was not received or not sent.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is over; receiving reports only an end that is not clean so.
    #[error("the connection is over: {closed}{}", cause(.source))]
    Closed {
        /// How it ended.
        closed: Closed,
        /// What the stream said, if it failed.
        source: Option<Arc<io::Error>>,
    },
    /// The order was refused, and nothing was sent.
    #[error("{0}")]
    Send(#[from] SendError),
}

impl Error {
    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<&Closed> {
        match self {
            Self::Closed { closed, .. } => Some(closed),
            Self::Send(_) => None,
        }
    }
}

fn cause(source: &Option<Arc<io::Error>>) -> String {
    source.as_ref().map(|source| format!(": {source}")).unwrap_or_default()
}
