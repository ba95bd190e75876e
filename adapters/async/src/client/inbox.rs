//! The messages that arrive.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use sansocket::Message;
use sansocket_common::client::Ended;
use sansocket_common::hub::Polled;

use super::Lease;
use super::shared::{For, Place, Shared};
use crate::Runtime;

/// The messages that a [`Client`](super::Client) receives, over all of its connections, in order.
///
/// While 256 of them wait, or 256 KiB, the peer is slowed down. Until you have received all of them, the client reads no more from the peer. Its
/// pongs are not seen either, so the heartbeat and [`Auth::timeout`](sansocket::client::Auth::timeout) pause. Connecting and sending go on.
///
/// When it is dropped, what arrives is discarded from then on; a client that only sends should do that.
pub struct Inbox<R: Runtime> {
    // Before the lease, which would close the client.
    place: Place<Arc<Shared>>,
    _lease: Arc<Lease<R>>,
    /// Whether the stream has told its end.
    ended: bool,
}

impl<R: Runtime> Inbox<R> {
    pub(super) fn new(lease: Arc<Lease<R>>) -> Self {
        Self { place: Place::new(Arc::clone(&lease.shared), For::Messages), _lease: lease, ended: false }
    }

    /// Receives the next message; `None` when the client has ended because it was closed or aborted, or because the server closed with 1000.
    ///
    /// # Errors
    /// [`Ended`] when it has stopped or given up; again each time.
    pub async fn recv(&mut self) -> Result<Option<Message>, Ended> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message, if it is there already.
    pub fn try_recv(&mut self) -> Option<Message> {
        match self.place.shared().turn(|hub| hub.take_message()) {
            Polled::Ready(message) => Some(message),
            Polled::Nothing | Polled::Ended => None,
        }
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Result<Option<Message>, Ended>> {
        match ready!(self.place.poll_next(cx, |hub| hub.take_message())) {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => Poll::Ready(self.place.shared().look(|hub| hub.end().map_or(Ok(()), Ended::check)).map(|()| None)),
        }
    }
}

/// Messages, until the client ends: an [`Ended`] is the last item, an end that was wanted just ends the stream.
impl<R: Runtime> Stream for Inbox<R> {
    type Item = Result<Message, Ended>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let next = ready!(this.poll_recv(cx)).transpose();
        this.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl<R: Runtime> FusedStream for Inbox<R> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<R: Runtime> Drop for Inbox<R> {
    fn drop(&mut self) {
        self.place.shared().turn(|hub| hub.stop_receiving());
    }
}

impl<R: Runtime> fmt::Debug for Inbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("ended", &self.ended).finish_non_exhaustive()
    }
}
