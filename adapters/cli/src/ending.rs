//! How connections end, in words for the log and as success or failure.

use std::fmt;

use sansocket::{CloseCause, CloseCode, Closed};
use sansocket_std::{AcceptError, Error};

/// The end of a connection as a clause: `closed 1000 (normal closure) by this end, clean`.
pub(crate) struct Ending<'c>(pub(crate) &'c Closed);

impl Ending<'_> {
    /// Whether both ends agreed to part, and neither found fault with the other.
    pub(crate) fn is_good(&self) -> bool {
        self.0.clean && is_good(self.0.code) && self.0.peer_code.is_none_or(is_good)
    }
}

impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closed { code, by, reason, peer_code, clean, cause, .. } = self.0;
        write!(f, "closed {code}")?;
        let is_told_below = matches!(cause, CloseCause::Protocol(error) if error.to_string() == *reason);
        if !reason.is_empty() && !is_told_below {
            write!(f, " {reason:?}")?; // Quoted, and with its control characters escaped.
        }
        write!(f, " by {by}, {}", if *clean { "clean" } else { "not clean" })?;
        if let Some(peer_code) = peer_code.filter(|peer_code| peer_code != code) {
            write!(f, ", while the peer closed {peer_code}")?;
        }
        match cause {
            CloseCause::CloseFrame => Ok(()),
            cause => write!(f, ": {cause}"),
        }
    }
}

/// How a connection ended: by the report, with what the system says if the transport failed, or, without a report, by the error.
pub(crate) fn how_it_ended(closed: Option<&Closed>, error: Option<&Error>) -> String {
    match (closed, error) {
        (Some(closed), Some(Error::Closed { source: Some(source), .. })) => format!("{}: {source}", Ending(closed)),
        (Some(closed), _) => Ending(closed).to_string(),
        (None, Some(error)) => error.to_string(),
        (None, None) => "ended".to_owned(),
    }
}

/// Why a client that asked is not connected, in a few words.
pub(crate) fn why_not_accepted(error: &AcceptError) -> String {
    match error {
        AcceptError::Rejected(status) => format!("refused with status {status}"),
        // There were no frames yet, so that a close code would say nothing.
        AcceptError::Handshake { closed, .. } => match closed.cause {
            CloseCause::Request(fault) => format!("refused with status {}: {fault}", fault.status()),
            cause => format!("no handshake: {cause}"),
        },
        error => error.to_string(),
    }
}

fn is_good(code: CloseCode) -> bool {
    match code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS_RECEIVED => true,
        CloseCode(code) => code >= APPLICATION_CODES,
    }
}

/// From here on, libraries and applications give codes their meaning. RFC 6455 section 7.4.2.
const APPLICATION_CODES: u16 = 3000;
