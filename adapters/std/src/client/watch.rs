//! What happens to a client and to what it sends, for whoever wants to know. None of it keeps the client from closing.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::client::{ClientEvent, ClientState, Outcome, Token};
use sansocket_common::client::Missed;

use super::shared::{Shared, answer};

/// What becomes of one message. Dropping it changes nothing for the message.
#[must_use = "a receipt that nobody looks at only costs time: send() does without"]
pub struct Receipt {
    shared: Arc<Shared>,
    token: Token,
}

impl Receipt {
    pub(super) fn new(shared: Arc<Shared>, token: Token) -> Self {
        Self { shared, token }
    }

    /// The message that it is for.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Waits until it is known what becomes of the message.
    pub fn outcome(self) -> Outcome {
        self.shared.wait(|hub| hub.take_outcome(self.token))
    }

    /// The same for so long at most.
    ///
    /// # Errors
    /// The receipt, when it is not known by then.
    pub fn outcome_timeout(self, timeout: Duration) -> Result<Outcome, Self> {
        let deadline = Instant::now().checked_add(timeout);
        self.shared.wait_until(deadline, |hub| hub.take_outcome(self.token)).ok_or(self)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.shared.turn(|core| core.hub.forget(self.token));
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.token.0).finish()
    }
}

/// The events of a client, but for messages and the outcomes of those that have left. It is an iterator, too.
///
/// The client waits for nobody who reads them: when 256 wait, the oldest make room, and a [`Missed`] tells how many.
pub struct Events {
    shared: Arc<Shared>,
    feed: u64,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let feed = shared.turn(|core| core.hub.subscribe());
        Self { shared, feed }
    }

    /// Waits for the next event; `None` after [`ClientEvent::Ended`].
    pub fn recv(&mut self) -> Option<Result<ClientEvent, Missed>> {
        self.shared.wait(|hub| answer(hub.take_event(self.feed)))
    }

    /// The same for so long at most; `None` when nothing came by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Option<Result<ClientEvent, Missed>>> {
        self.shared.wait_until(Instant::now().checked_add(timeout), |hub| answer(hub.take_event(self.feed)))
    }
}

impl Iterator for Events {
    type Item = Result<ClientEvent, Missed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.recv()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.turn(|core| core.hub.unsubscribe(self.feed));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The state of a client, as it is and whenever it is another. Those that last no longer than it takes to look may be passed over; the newest is
/// not. It is an iterator, too.
pub struct StateWatch {
    shared: Arc<Shared>,
    seen: Option<ClientState>,
}

impl StateWatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen: None }
    }

    /// The state, at first; then the next that is another than the last. `None` after [`ClientState::Closed`].
    pub fn changed(&mut self) -> Option<ClientState> {
        let state = self.shared.wait(|hub| answer(hub.state_after(self.seen)));
        self.seen = state.or(self.seen);
        state
    }

    /// Waits until the client is in this state, for so long at most; whether it is.
    pub fn until(&mut self, state: ClientState, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        while self.seen != Some(state) {
            match self.shared.wait_until(deadline, |hub| answer(hub.state_after(self.seen))) {
                Some(Some(next)) => self.seen = Some(next),
                Some(None) | None => return false,
            }
        }
        true
    }
}

impl Iterator for StateWatch {
    type Item = ClientState;

    fn next(&mut self) -> Option<ClientState> {
        self.changed()
    }
}

impl fmt::Debug for StateWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWatch").field("seen", &self.seen).finish_non_exhaustive()
    }
}
