//! A client that outlives its connections: cloneable handles, and a task that does what the core orders.

mod inbox;
mod pipe;
mod shared;
mod task;
#[cfg(feature = "json")]
mod typed;
mod watch;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sansocket::client::{Client as Core, ClientConfig, ClientState, End, Metrics, RejectReason, Rejected, Token};
use sansocket::{CloseCode, Message, SendError};
use sansocket_common::client::{Preparation, Prepared};
use sansocket_common::hub::Hub;
use sansocket_common::{ConnectError, seed};

use crate::{Connector, Dial, Runtime};
pub use inbox::Inbox;
pub use pipe::{ReadFrom, WriteTo};
use shared::{For, Shared, wait_for};
use task::{Prepare, Task};
#[cfg(feature = "json")]
pub use typed::Subscription;
pub use watch::{Events, Receipt, StateWatch};

/// A client that outlives its connections: it reconnects, sends heartbeats, queues while offline and authenticates, as its
/// [`ClientConfig`] says. [`Connector::client`] makes one.
///
/// A handle; clone it for as many tasks as you like. What one of them sends keeps its order. A task beside it does the work, so nothing has to be
/// polled for the client to stay connected. All methods are cancel-safe unless they say otherwise. The closures of the configuration must not use a handle
/// of the client that they are part of.
///
/// # When it is dropped
///
/// When all its handles and the [`Inbox`] are gone, the client closes with 1001 in the background: what is queued still leaves, over another
/// connection if need be, within 10 s, as long as the runtime runs: at the end of `main`, call [`close`](Self::close) and wait for it, or what is
/// queued is lost. [`abort`](Self::abort) ends it at once.
pub struct Client<R: Runtime> {
    lease: Arc<Lease<R>>,
}

/// What keeps a client from closing.
pub(crate) struct Lease<R: Runtime> {
    shared: Arc<Shared>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Drop for Lease<R> {
    fn drop(&mut self) {
        self.shared.turn(|hub| hub.abandon(R::now()));
    }
}

impl<R: Dial> Connector<R> {
    /// Starts a client that connects in this way, again and again, and returns at once: whether there is a connection, its
    /// [state](Client::state) and [events](Client::events) tell. What may be sent and received meanwhile, waits.
    ///
    /// Spawns a task, so it has to be called in the runtime if the runtime asks for that, as tokio does.
    ///
    /// # Errors
    /// [`ConnectError::Seed`].
    pub fn client(&self, config: ClientConfig) -> Result<(Client<R>, Inbox<R>), ConnectError> {
        self.start(config, None)
    }

    /// The same, asking `prepare` before each attempt what to connect to: for tokens that expire and servers that move. An answer may take as
    /// long as a connect may ([`connect_timeout`](Self::connect_timeout)).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn client_with<F>(
        &self,
        mut config: ClientConfig,
        mut prepare: impl FnMut(Preparation) -> F + Send + 'static,
    ) -> Result<(Client<R>, Inbox<R>), ConnectError>
    where
        F: Future<Output = Prepared> + Send + 'static,
    {
        config.asks_before_attempt = true;
        self.start(config, Some(Box::new(move |asked| Box::pin(prepare(asked)))))
    }

    fn start(&self, config: ClientConfig, prepare: Option<Prepare>) -> Result<(Client<R>, Inbox<R>), ConnectError> {
        let now = R::now();
        let core = Core::new(self.options.clone(), config, seed().map_err(ConnectError::Seed)?, now);
        let shared = Shared::new(Hub::new(core));
        R::spawn(Task::new(Arc::clone(&shared), self.clone(), prepare));
        let lease = Arc::new(Lease { shared, runtime: PhantomData });
        Ok((Client { lease: Arc::clone(&lease) }, Inbox::new(lease)))
    }
}

impl<R: Runtime> Client<R> {
    /// Sends a message: waits until there is room in the queue, not until it leaves. It leaves behind those that were accepted before, once there is a
    /// connection.
    ///
    /// # Errors
    /// [`Rejected`], with the message, when the client is closing or over, or for a message that is longer than the queue may be.
    pub async fn send(&self, message: impl Into<Message>) -> Result<Token, Rejected> {
        self.accept(message.into(), |_, token| token).await
    }

    /// The same, with a receipt that tells what becomes of the message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_tracked(&self, message: impl Into<Message>) -> Result<Receipt, Rejected> {
        let token = self.accept(message.into(), |hub, token| {
            hub.track(token);
            token
        });
        Ok(Receipt::new(Arc::clone(&self.lease.shared), token.await?))
    }

    /// Sends a message if there is room for it in the queue. Never waits.
    ///
    /// # Errors
    /// [`Rejected`], with the message: as [`send`](Self::send), and when there is no room.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Token, Rejected> {
        let message = message.into();
        self.lease.shared.turn(|hub| hub.send(R::now(), message))
    }

    async fn accept<O>(
        &self,
        message: Message,
        accepted: impl Fn(&mut Hub, Token) -> O + Unpin,
    ) -> Result<O, Rejected> {
        let mut waiting = Some(message);
        wait_for(&self.lease.shared, For::Room, |hub| {
            // Not polled again once it has been taken.
            let Some(message) = waiting.take() else { return Poll::Pending };
            match hub.send(R::now(), message) {
                Ok(token) => Poll::Ready(Ok(accepted(hub, token))),
                Err(Rejected { message, reason: RejectReason::Full { .. } }) => {
                    waiting = Some(message);
                    Poll::Pending
                }
                Err(rejected) => Poll::Ready(Err(rejected)),
            }
        })
        .await
    }

    /// The peer has received all messages up to this one, as the application knows: they are not sent again, with
    /// [`Delivery::AtLeastOnce`](sansocket::client::Delivery::AtLeastOnce) and
    /// [`Delivery::Acknowledged`](sansocket::client::Delivery::Acknowledged). With the latter nothing else confirms them.
    pub fn acknowledge(&self, token: Token) {
        self.lease.shared.turn(|hub| hub.acknowledge(R::now(), token));
    }

    /// Sends new credentials, on this connection if it is open, and on each from now on. Does nothing without
    /// [`ClientConfig::auth`].
    pub fn reauthenticate(&self, credentials: impl Into<Message>) {
        let credentials = credentials.into();
        self.lease.shared.turn(|hub| hub.reauthenticate(R::now(), credentials));
    }

    /// Closes once all messages have left, over as many connections as that takes but within `drain_timeout`, and waits for the end. What has not
    /// left by then is dropped. The closing handshake comes on top of that ([`Config::close_timeout`](sansocket::Config::close_timeout)).
    ///
    /// Messages that arrive meanwhile can still be received, as many as the [`Inbox`] holds. Dropped before it is ready, this goes on in the
    /// background; of a client that is closing already, it just waits for the end.
    ///
    /// # Errors
    /// [`SendError`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub async fn close(&self, code: CloseCode, reason: &str, drain_timeout: Duration) -> Result<End, SendError> {
        self.start_close(code, reason, drain_timeout)?;
        Ok(self.ended().await)
    }

    /// Begins to close, and does not wait.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn start_close(&self, code: CloseCode, reason: &str, drain_timeout: Duration) -> Result<(), SendError> {
        self.lease.shared.turn(|hub| hub.close(R::now(), code, reason, drain_timeout))
    }

    /// Ends at once, for all handles: what waits is dropped, and so is the stream.
    pub fn abort(&self) {
        self.lease.shared.turn(|hub| hub.abort(R::now()));
    }

    /// Waits for the end, whatever it comes from.
    pub async fn ended(&self) -> End {
        wait_for(&self.lease.shared, For::State, |hub| match hub.end() {
            Some(end) => Poll::Ready(end.clone()),
            None => Poll::Pending,
        })
        .await
    }

    /// How the client ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.lease.shared.look(|hub| hub.end().cloned())
    }

    /// How far the client is.
    pub fn state(&self) -> ClientState {
        self.lease.shared.look(|hub| hub.client().state())
    }

    /// Follows the state: as it is, then whenever it is another.
    pub fn watch(&self) -> StateWatch {
        StateWatch::new(Arc::clone(&self.lease.shared))
    }

    /// What happens to the client: connections, attempts, delays, messages that are dropped, the end. Whoever asks first gets what has happened since
    /// the beginning, others what happens from now on.
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(&self.lease.shared))
    }

    /// What the client has counted so far.
    pub fn metrics(&self) -> Metrics {
        self.lease.shared.look(|hub| hub.client().metrics(R::now()))
    }
}

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self { lease: Arc::clone(&self.lease) }
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.shared.look(|hub| hub.client().fmt(f))
    }
}
