//! Sending a message in pieces.

use std::fmt;
use std::io::{self, Write};
use std::time::Instant;

use sansocket::{CloseCode, Connection, FragmentPosition, MessageKind, SendError};

use crate::shared::{Core, Shared};
use crate::{Error, Transport, WebSocket};

/// A message that is sent in pieces, each a fragment of its own: for one that is too large to hold, or not complete yet.
///
/// It is a [`Write`], each call of which sends a fragment, of 64 KiB at most; put a [`BufWriter`](io::BufWriter) in front of many small ones.
///
/// The message begins with its first piece, and it has to be [finished](Self::finish). Meanwhile other messages wait, whoever sends them,
/// since fragments of different messages may not be mixed (RFC 6455 section 5.4); pings and pongs go between the pieces, and
/// the connection may be closed. So do not send another message from the same thread before this one is finished.
///
/// # When it is dropped
///
/// A message cannot be taken back. Dropped before it is finished, the writer closes the connection with 1011, and the peer never gets
/// a message that looks complete; dropped before its first piece, it does nothing.
pub struct MessageWriter<'w, S: Transport> {
    by: By<'w, S>,
    kind: MessageKind,
    progress: Progress,
    #[cfg(feature = "deflate")]
    pub(crate) compression: sansocket::deflate::Compression,
}

/// Whose message it is.
pub(crate) enum By<'w, S: Transport> {
    Owner(&'w mut WebSocket<S>),
    Sender(&'w Shared<S>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    Begun,
    Finished,
}

impl<'w, S: Transport> MessageWriter<'w, S> {
    pub(crate) fn new(by: By<'w, S>, kind: MessageKind) -> Self {
        Self {
            by,
            kind,
            progress: Progress::New,
            #[cfg(feature = "deflate")]
            compression: Default::default(),
        }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Sends a piece, as [`WebSocket::send`] or [`Sender::send`](crate::Sender::send) does a message; the first one waits until nobody else
    /// is in the middle of one. An empty one is nothing.
    ///
    /// Text may be cut anywhere.
    ///
    /// # Errors
    /// As those; [`Error::Send`] for text that is not UTF-8, [`Error::MessageFinished`].
    pub fn send_piece(&mut self, piece: impl AsRef<[u8]>) -> Result<(), Error> {
        let piece = piece.as_ref();
        if self.progress == Progress::Finished {
            return Err(Error::MessageFinished);
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.send_fragment(piece, FragmentPosition::More)
    }

    /// Finishes the message. A second time it does nothing.
    ///
    /// # Errors
    /// As [`send_piece`](Self::send_piece); a text may not end in the middle of a code point.
    pub fn finish(&mut self) -> Result<(), Error> {
        match self.progress {
            Progress::Finished => Ok(()),
            Progress::New | Progress::Begun => self.send_fragment(&[], FragmentPosition::Last),
        }
    }

    fn send_fragment(&mut self, piece: &[u8], position: FragmentPosition) -> Result<(), Error> {
        let (kind, begins) = (self.kind, self.progress == Progress::New);
        #[cfg(feature = "deflate")]
        let compression = self.compression;
        let mut queued = false;
        let sent = self.by.send(|connection, now| {
            if begins {
                connection.can_send()?;
            }
            let send = |connection: &mut Connection| connection.send_fragment(now, kind, piece, position);
            #[cfg(feature = "deflate")]
            connection.with_compression(compression, send)?;
            #[cfg(not(feature = "deflate"))]
            send(connection)?;
            queued = true;
            Ok(position == FragmentPosition::More)
        });
        if queued {
            match position {
                FragmentPosition::More => self.progress = Progress::Begun,
                FragmentPosition::Last => {
                    self.progress = Progress::Finished;
                    self.by.wake_others();
                }
            }
        }
        sent
    }
}

impl<S: Transport> By<'_, S> {
    /// Gives an order that leaves a message unfinished or not.
    fn send(
        &mut self,
        mut order: impl FnMut(&mut Connection, Instant) -> Result<bool, SendError>,
    ) -> Result<(), Error> {
        let order = |core: &mut Core, now| {
            core.writing = order(&mut core.connection, now)?;
            Ok(())
        };
        match self {
            Self::Owner(socket) => socket.send_by_core(order),
            Self::Sender(shared) => shared.push_by_core(order),
        }
    }

    fn wake_others(&self) {
        match self {
            Self::Owner(socket) => socket.wake_waiting(),
            Self::Sender(shared) => shared.wake_waiting(),
        }
    }
}

impl<S: Transport> Write for MessageWriter<'_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let part = buf.get(..FRAGMENT_LEN_MAX).unwrap_or(buf);
        self.send_piece(part).map_err(Error::into_write_error)?;
        Ok(part.len())
    }

    /// Does nothing: a write returns when the transport has the piece, or when another thread is about to give it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Transport> Drop for MessageWriter<'_, S> {
    fn drop(&mut self) {
        if self.progress == Progress::Begun {
            // Refused only when the end has begun.
            let _ = self.by.send(|connection, now| {
                connection.close(now, CloseCode::INTERNAL_ERROR, "a message was not finished").map(|()| false)
            });
            self.by.wake_others();
        }
    }
}

impl<S: Transport> fmt::Debug for MessageWriter<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// So much of one write becomes a fragment, in bytes.
///
/// 64 KiB: as much as may wait to be written by default; more would only wait here instead of at the caller.
const FRAGMENT_LEN_MAX: usize = 64 * 1024;
