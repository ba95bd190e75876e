//! Receiving a message in pieces.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_core::Stream;
use futures_core::stream::FusedStream;
use sansocket::{Bytes, Event, MessageKind, SendError};

use crate::driver::Driver;
#[cfg(feature = "deflate")]
use crate::driver::ROUNDS_MAX;
use crate::halves::Handle;
use crate::{Error, Runtime, Transport};

/// A message that is received in pieces, as they arrive: for one that is too large to hold, or worth a look before it is complete.
///
/// It is a `Stream` of its pieces, and also an `AsyncRead` and `AsyncBufRead` (of tokio, or of `futures-io`, by the adapter). A piece is
/// what has arrived, at most what one read brought unless more was waiting, and never empty. The pieces of a text end where code points do,
/// so each is UTF-8 by itself; `AsyncRead` cuts them where the caller's buffer ends.
///
/// All of it is cancel-safe. While nobody reads, the peer is slowed down as ever, and control frames between the fragments are answered.
///
/// The limits of [`Config`](sansocket::Config) hold for the whole message: for a long one raise `message_len_max`, `frame_len_max` and
/// `fragments_max`, and `message_timeout` for a slow one. Then also receive and send by the halves of
/// [`split`](crate::WebSocket::split), because a `send` of the whole socket reads up to `message_len_max` bytes while it is stalled.
///
/// # An end that is too early
///
/// When the connection ends before the message does, however cleanly, that is an [`Error::Closed`], as an `AsyncRead` one of the kind
/// `UnexpectedEof`: an incomplete message never looks like a complete one.
///
/// # When it is dropped
///
/// What is left of the message is discarded by the next receive, without being held; that one gets the next message.
pub struct MessageReader<'a, T: Transport, R: Runtime> {
    handle: &'a Handle<T, R>,
    kind: MessageKind,
    /// What has arrived and was not handed out.
    piece: Bytes,
    /// Whether the last piece has arrived.
    is_last: bool,
    /// Whether the stream has told its end.
    ended: bool,
}

impl<'a, T: Transport, R: Runtime> MessageReader<'a, T, R> {
    /// Waits for a message to begin; `None` when the connection was closed cleanly.
    pub(crate) async fn begin(handle: &'a Handle<T, R>) -> Result<Option<Self>, Error> {
        match poll_fn(|cx| handle.turn(|driver, now| driver.poll_piece(now, cx, Of::NextMessage))).await {
            Some(Piece { kind, bytes, is_last }) => {
                Ok(Some(Self { handle, kind, piece: bytes, is_last, ended: false }))
            }
            None => handle.look(Driver::end).map(|()| None),
        }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Receives the next piece; `None` at the end of the message.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ends before the message does; again each time.
    pub async fn recv_piece(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_recv_piece(cx)).await
    }

    fn poll_recv_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let piece = ready!(self.poll_fill(cx)?).len();
        Poll::Ready(Ok((piece > 0).then(|| std::mem::take(&mut self.piece))))
    }

    /// What has arrived and was not handed out; empty at the end of the message.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], Error>> {
        if self.piece.is_empty() && !self.is_last {
            let polled = self.handle.turn(|driver, now| driver.poll_piece(now, cx, Of::MessageUnderWay));
            match ready!(polled) {
                Some(piece) => (self.piece, self.is_last) = (piece.bytes, piece.is_last),
                None => return Poll::Ready(Err(self.handle.look(Driver::over))),
            }
        }
        Poll::Ready(Ok(&self.piece))
    }

    /// So much has been handed out.
    #[cfg(any(feature = "tokio", feature = "futures-io"))]
    pub(crate) fn consume(&mut self, len: usize) {
        drop(self.piece.split_to(len.min(self.piece.len())));
    }
}

/// The pieces, until the message is complete or the connection ends: that is an error, and the last item.
impl<T: Transport, R: Runtime> Stream for MessageReader<'_, T, R> {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let next = ready!(this.poll_recv_piece(cx)).transpose();
        this.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl<T: Transport, R: Runtime> FusedStream for MessageReader<'_, T, R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T: Transport, R: Runtime> fmt::Debug for MessageReader<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .field("is_last", &self.is_last)
            .finish_non_exhaustive()
    }
}

/// A piece of a message.
struct Piece {
    kind: MessageKind,
    /// Empty only if it is the last.
    bytes: Bytes,
    is_last: bool,
}

/// Of which message a piece is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// What is left of one that was begun is discarded.
    NextMessage,
    MessageUnderWay,
}

impl<T: Transport> Driver<T> {
    /// The next piece; `None` when the connection is over.
    fn poll_piece(&mut self, now: Instant, cx: &Context<'_>, of: Of) -> Poll<Option<Piece>> {
        self.reader_comes();
        let mut rounds = 0;
        loop {
            let is_rest = of == Of::NextMessage && self.connection.is_partly_delivered();
            let (kind, is_last) = match self.connection.poll_event_in_pieces(now, self.buf.get()) {
                Some(Event::TextPiece { last, .. }) => (MessageKind::Text, last),
                Some(Event::BinaryPiece { last, .. }) => (MessageKind::Binary, last),
                Some(Event::Request(_)) => {
                    self.accept_unseen(now);
                    continue;
                }
                #[cfg(feature = "deflate")]
                Some(Event::Inflating) => {
                    rounds = ROUNDS_MAX; // It is the others' turn.
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                    continue;
                }
                Some(_) => continue,
                None => {
                    if self.connection.closed().is_some() {
                        return Poll::Ready(None);
                    }
                    ready!(self.poll_stream_for_reader(now, cx, &mut rounds));
                    continue;
                }
            };
            if !is_rest {
                let bytes = self.buf.get().take_payload();
                self.handed_out();
                return Poll::Ready(Some(Piece { kind, bytes, is_last }));
            }
        }
    }

    /// The end, which came too early.
    fn over(&self) -> Error {
        self.refusal(SendError::NotOpen(self.connection.state()))
    }
}
