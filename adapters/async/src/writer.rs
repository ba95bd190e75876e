//! Sending a message in pieces.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_sink::Sink;
use sansocket::{Bytes, CloseCode, Connection, FragmentPosition, MessageKind, SendError};

use crate::driver::{Driver, WhileStalled};
use crate::halves::Handle;
use crate::{Error, Runtime, Transport};

/// A message that is sent in pieces, each a fragment of its own: for one that is too large to hold, or not complete yet.
///
/// It is a `Sink` of [`Bytes`], so a stream can be forwarded to it, and also an `AsyncWrite` (of tokio, or of `futures-io`, by the adapter),
/// whose shutdown finishes the message. Each write to that is a fragment, of 64 KiB at most; put a `BufWriter` in front of many small ones.
///
/// The message begins with its first piece, and it has to be [finished](Self::finish). Meanwhile other messages wait, whoever sends them,
/// since fragments of different messages may not be mixed (RFC 6455 section 5.4); pings and pongs go between the pieces, and
/// the connection may be closed. So do not wait for the send of another message before this one is finished.
///
/// All of it is cancel-safe: a piece is taken whole, or not at all.
///
/// # When it is dropped
///
/// A message cannot be taken back. Dropped before it is finished, the writer closes the connection with 1011, and the peer never gets
/// a message that looks complete; dropped before its first piece, it does nothing.
pub struct MessageWriter<'a, T: Transport, R: Runtime> {
    handle: &'a Handle<T, R>,
    while_stalled: WhileStalled,
    kind: MessageKind,
    progress: Progress,
    #[cfg(feature = "deflate")]
    pub(crate) compression: sansocket::deflate::Compression,
    /// A piece that was given to the sink while there was no room.
    waiting: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    Begun,
    Finished,
}

impl<'a, T: Transport, R: Runtime> MessageWriter<'a, T, R> {
    pub(crate) fn new(handle: &'a Handle<T, R>, while_stalled: WhileStalled, kind: MessageKind) -> Self {
        Self {
            handle,
            while_stalled,
            kind,
            progress: Progress::New,
            #[cfg(feature = "deflate")]
            compression: Default::default(),
            waiting: None,
        }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Sends a piece: waits until there is room for it and, if it is the first, until nobody else is in the middle of a message. An empty one is
    /// nothing.
    ///
    /// Text may be cut anywhere.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over; [`Error::Send`] when it is closing, or for text that is not UTF-8;
    /// [`Error::MessageFinished`].
    pub async fn send_piece(&mut self, piece: impl AsRef<[u8]>) -> Result<(), Error> {
        poll_fn(|cx| self.poll_send_piece(cx, piece.as_ref())).await
    }

    /// Finishes the message. A second time it does nothing.
    ///
    /// # Errors
    /// As [`send_piece`](Self::send_piece); a text may not end in the middle of a code point.
    pub async fn finish(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// Waits until the stream has taken all that was sent.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended before.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    pub(crate) fn poll_send_piece(&mut self, cx: &Context<'_>, piece: &[u8]) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        self.poll_fragment(cx, piece)
    }

    pub(crate) fn poll_finish(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        if self.progress != Progress::Finished {
            ready!(self.poll_order(cx, &[], FragmentPosition::Last))?;
            self.progress = Progress::Finished;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_flushed(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_waiting(cx))?;
        self.handle.poll_flush(cx, self.while_stalled)
    }

    /// Sends what the sink was given.
    fn poll_waiting(&mut self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(piece) = self.waiting.clone() {
            ready!(self.poll_fragment(cx, &piece))?;
            self.waiting = None;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fragment(&mut self, cx: &Context<'_>, piece: &[u8]) -> Poll<Result<(), Error>> {
        if self.progress == Progress::Finished {
            return Poll::Ready(Err(Error::MessageFinished));
        }
        if !piece.is_empty() {
            ready!(self.poll_order(cx, piece, FragmentPosition::More))?;
            self.progress = Progress::Begun;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_order(&self, cx: &Context<'_>, piece: &[u8], position: FragmentPosition) -> Poll<Result<(), Error>> {
        self.handle.turn(|driver, now| {
            ready!(driver.poll_order(now, cx, self.while_stalled, &mut |connection, now| {
                self.queue(connection, now, piece, position)
            }))?;
            driver.set_writing(position == FragmentPosition::More);
            Poll::Ready(Ok(()))
        })
    }

    /// Refused while there is no room, or while somebody else is in the middle of a message.
    fn queue(
        &self,
        connection: &mut Connection,
        now: Instant,
        piece: &[u8],
        position: FragmentPosition,
    ) -> Result<(), SendError> {
        if self.progress == Progress::New {
            connection.can_send()?;
        }
        let send = |connection: &mut Connection| connection.send_fragment(now, self.kind, piece, position);
        #[cfg(feature = "deflate")]
        return connection.with_compression(self.compression, send);
        #[cfg(not(feature = "deflate"))]
        send(connection)
    }
}

impl<T: Transport, R: Runtime> Sink<Bytes> for MessageWriter<'_, T, R> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_waiting(cx)
    }

    fn start_send(self: Pin<&mut Self>, piece: Bytes) -> Result<(), Error> {
        let this = self.get_mut();
        match this.progress {
            Progress::Finished => return Err(Error::MessageFinished),
            // Without `poll_ready`, there is no place for it.
            _ if this.waiting.is_some() => return Err(this.handle.no_room()),
            _ => this.waiting = Some(piece),
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.get_mut().poll_flushed(cx)
    }

    /// Finishes the message, and flushes.
    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        ready!(this.poll_finish(cx))?;
        this.poll_flushed(cx)
    }
}

impl<T: Transport, R: Runtime> Drop for MessageWriter<'_, T, R> {
    fn drop(&mut self) {
        if self.progress == Progress::Begun {
            self.handle.turn(Driver::abandon_message);
        }
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for MessageWriter<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("kind", &self.kind)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl<T: Transport> Driver<T> {
    /// The writer of the message under way is gone.
    fn abandon_message(&mut self, now: Instant) {
        self.set_writing(false);
        // Refused only when the end has begun.
        let _ = self.connection.close(now, CloseCode::INTERNAL_ERROR, "a message was not finished");
        self.leave(now);
    }

    fn set_writing(&mut self, writing: bool) {
        self.due.senders |= self.writing && !writing;
        self.writing = writing;
    }
}
