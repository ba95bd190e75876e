//! What happens to a client and to what it sends, for whoever wants to know. None of it keeps the client from closing.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use sansocket::client::{ClientEvent, ClientState, Outcome, Token};
use sansocket_common::client::Missed;

use super::shared::{For, Place, Shared};

/// What becomes of one message: a future that is ready when that is known. Dropping it changes nothing for the message.
#[must_use = "a receipt that nobody looks at only costs time: send() does without"]
pub struct Receipt {
    place: Place<Arc<Shared>>,
    token: Token,
}

impl Receipt {
    pub(super) fn new(shared: Arc<Shared>, token: Token) -> Self {
        Self { place: Place::for_outcome(shared, token.0), token }
    }

    /// The message that it is for.
    pub fn token(&self) -> Token {
        self.token
    }
}

impl Future for Receipt {
    type Output = Outcome;

    /// Polled again after it was ready, it is pending for ever.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self.get_mut();
        let token = this.token;
        this.place.poll(cx, |hub| hub.take_outcome(token).map_or(Poll::Pending, Poll::Ready))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.place.shared().turn(|hub| hub.forget(self.token));
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.token.0).finish()
    }
}

/// The events of a client, but for messages and the outcomes of those that have left.
///
/// The client waits for nobody who reads them: when 256 wait, the oldest make room, and a [`Missed`] tells how many.
pub struct Events {
    place: Place<Arc<Shared>>,
    feed: u64,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let feed = shared.turn(|hub| hub.subscribe());
        Self { place: Place::new(shared, For::Events), feed }
    }

    /// The next event; `None` after [`ClientEvent::Ended`].
    pub async fn recv(&mut self) -> Option<Result<ClientEvent, Missed>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &Context<'_>) -> Poll<Option<Result<ClientEvent, Missed>>> {
        let feed = self.feed;
        self.place.poll_next(cx, |hub| hub.take_event(feed))
    }
}

impl Stream for Events {
    type Item = Result<ClientEvent, Missed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.place.shared().turn(|hub| hub.unsubscribe(self.feed));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The state of a client, as it is and whenever it is another. Those that last no longer than it takes to look may be passed over; the newest is
/// not.
pub struct StateWatch {
    place: Place<Arc<Shared>>,
    seen: Option<ClientState>,
}

impl StateWatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { place: Place::new(shared, For::State), seen: None }
    }

    /// The state, at first; then the next that is another than the last. `None` after [`ClientState::Closed`].
    pub async fn changed(&mut self) -> Option<ClientState> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// Waits until the client is in this state; whether it ever is.
    pub async fn until(&mut self, state: ClientState) -> bool {
        while self.seen != Some(state) {
            if self.changed().await.is_none() {
                return false;
            }
        }
        true
    }

    fn poll_changed(&mut self, cx: &Context<'_>) -> Poll<Option<ClientState>> {
        let seen = self.seen;
        let polled = self.place.poll_next(cx, |hub| hub.state_after(seen));
        if let Poll::Ready(Some(state)) = polled {
            self.seen = Some(state);
        }
        polled
    }
}

impl Stream for StateWatch {
    type Item = ClientState;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_changed(cx)
    }
}

impl fmt::Debug for StateWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWatch").field("seen", &self.seen).finish_non_exhaustive()
    }
}
