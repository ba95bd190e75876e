//! Receiving a message in pieces.

use std::fmt;
use std::io::{self, BufRead, Read};

use sansocket::{Bytes, MessageKind};

use crate::websocket::Piece;
use crate::{Error, Transport, WebSocket};

/// A message that is received in pieces, as they arrive: for one that is too large to hold, or worth a look before it is complete.
///
/// It is a [`Read`] and a [`BufRead`]. A piece is what has arrived, at most what one read brought unless more was waiting, and never empty.
/// The pieces of a text end where code points do, so each is UTF-8 by itself; `Read` cuts them where the caller's buffer ends.
///
/// The limits of [`Config`](crate::Config) hold for the whole message: for a long one raise `message_len_max`, `frame_len_max` and
/// `fragments_max`, and `message_timeout` for a slow one. Then send by a [`Sender`](crate::Sender), because a send of the owner reads up
/// to `message_len_max` bytes while it is stalled.
///
/// # An end that is too early
///
/// When the connection ends before the message does, however cleanly, that is an error, by [`Read`] one of the kind
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): an incomplete message never looks like a complete one.
///
/// # When it is dropped
///
/// What is left of the message is discarded by the next receive, without being held; that one gets the next message.
pub struct MessageReader<'w, S: Transport> {
    socket: &'w mut WebSocket<S>,
    kind: MessageKind,
    /// What has arrived and was not handed out.
    bytes: Bytes,
    /// Whether the last piece has arrived.
    is_last: bool,
}

impl<'w, S: Transport> MessageReader<'w, S> {
    pub(crate) fn new(socket: &'w mut WebSocket<S>, first: Piece) -> Self {
        Self { socket, kind: first.kind, bytes: first.bytes, is_last: first.is_last }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Waits for the next piece; `None` at the end of the message.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ends before the message does; again each time.
    pub fn recv_piece(&mut self) -> Result<Option<Bytes>, Error> {
        let is_end = self.fill()?.is_empty();
        Ok((!is_end).then(|| std::mem::take(&mut self.bytes)))
    }

    /// What has arrived and was not handed out; empty at the end of the message.
    fn fill(&mut self) -> Result<&[u8], Error> {
        if self.bytes.is_empty() && !self.is_last {
            let piece = self.socket.next_piece()?;
            (self.bytes, self.is_last) = (piece.bytes, piece.is_last);
        }
        Ok(&self.bytes)
    }
}

impl<S: Transport> Read for MessageReader<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.fill_buf()?.read(buf)?;
        self.consume(len);
        Ok(len)
    }
}

impl<S: Transport> BufRead for MessageReader<'_, S> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill().map_err(Error::into_read_error)
    }

    fn consume(&mut self, len: usize) {
        drop(self.bytes.split_to(len.min(self.bytes.len())));
    }
}

impl<S: Transport> fmt::Debug for MessageReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .field("is_last", &self.is_last)
            .finish_non_exhaustive()
    }
}
