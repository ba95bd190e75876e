//! The messages that arrive.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::Message;
use sansocket_common::client::Ended;
use sansocket_common::hub::Polled;

use super::Lease;
use super::shared::answer;

/// The messages that a [`Client`](super::Client) receives, over all of its connections, in order.
///
/// While 256 of them wait, or 256 KiB, the peer is slowed down. Until you have received all of them, the client reads no more from the peer. Its
/// pongs are not seen either, so the heartbeat and [`Auth::timeout`](sansocket::client::Auth::timeout) pause. Connecting and sending go on.
///
/// When it is dropped, what arrives is discarded from then on; a client that only sends should do that.
pub struct Inbox {
    lease: Arc<Lease>,
    /// Whether the iterator has told its end.
    ended: bool,
}

impl Inbox {
    pub(super) fn new(lease: Arc<Lease>) -> Self {
        Self { lease, ended: false }
    }

    /// Waits for the next message; `None` when the client has ended because it was closed or aborted, or because the server closed with 1000.
    ///
    /// # Errors
    /// [`Ended`] when it has stopped or given up; again each time.
    pub fn recv(&mut self) -> Result<Option<Message>, Ended> {
        let next = self.lease.shared.wait(|hub| answer(hub.take_message()));
        self.or_end(next)
    }

    /// The same for so long at most; `None` when nothing came by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Result<Option<Message>, Ended>> {
        let deadline = Instant::now().checked_add(timeout);
        let next = self.lease.shared.wait_until(deadline, |hub| answer(hub.take_message()))?;
        Some(self.or_end(next))
    }

    /// The next message, if it is there already.
    pub fn try_recv(&mut self) -> Option<Message> {
        match self.lease.shared.turn(|core| core.hub.take_message()) {
            Polled::Ready(message) => Some(message),
            Polled::Nothing | Polled::Ended => None,
        }
    }

    /// Writes the payloads of all messages to a writer, until the client ends; returns how many bytes that were. While the writer takes nothing,
    /// messages wait.
    ///
    /// # Errors
    /// What the writer says; of the kind `ConnectionAborted`, around an [`Ended`], when the client stopped or gave up.
    pub fn pipe_to(&mut self, mut writer: impl Write) -> io::Result<u64> {
        let mut total = 0;
        while let Some(message) =
            self.recv().map_err(|ended| io::Error::new(io::ErrorKind::ConnectionAborted, ended))?
        {
            writer.write_all(message.as_bytes())?;
            writer.flush()?;
            total += message.as_bytes().len() as u64;
        }
        Ok(total)
    }

    fn or_end(&self, next: Option<Message>) -> Result<Option<Message>, Ended> {
        match next {
            Some(message) => Ok(Some(message)),
            None => self.lease.shared.look(|hub| hub.end().map_or(Ok(()), Ended::check)).map(|()| None),
        }
    }
}

/// Messages, until the client ends: an [`Ended`] is the last item, an end that was wanted just ends the iteration.
impl Iterator for Inbox {
    type Item = Result<Message, Ended>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.recv().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl std::iter::FusedIterator for Inbox {}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.lease.shared.turn(|core| core.hub.stop_receiving());
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("ended", &self.ended).finish_non_exhaustive()
    }
}
