//! A client that outlives its connections: cloneable handles, and threads that do what the core orders; and what it is told and tells.

mod inbox;
mod shared;
mod threads;
#[cfg(feature = "json")]
mod typed;
mod watch;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansocket::client::Client as Core;
use sansocket::{Bytes, CloseCode, Message, SendError};
pub use sansocket_common::client::*;
use sansocket_common::hub::Hub;
use sansocket_common::{ConnectError, seed};

use crate::Connector;
pub use inbox::Inbox;
use shared::Shared;
use threads::{Driver, Prepare};
#[cfg(feature = "json")]
pub use typed::Subscription;
pub use watch::{Events, Receipt, StateWatch};

/// A client that outlives its connections: it reconnects, sends heartbeats, queues while offline and authenticates, as its [`ClientConfig`] says.
/// [`Connector::client`] makes one.
///
/// A handle; clone it for as many threads as you like. What one of them sends keeps its order. A thread beside it does the work, and another one for
/// each connection, so nobody has to be in a call for the client to stay connected. The closures of the configuration must not use a handle of the client
/// that they are part of.
///
/// # When it is dropped
///
/// When all its handles and the [`Inbox`] are gone, the client closes with 1001 in the background: what is queued still leaves, over another
/// connection if need be, within 10 s, as long as the program runs: at the end of `main`, call [`close`](Self::close), which waits, or what is
/// queued is lost. [`abort`](Self::abort) ends it at once. A thread that is in the middle of connecting ends within [`connect_timeout`](Connector::connect_timeout).
#[derive(Clone)]
pub struct Client {
    lease: Arc<Lease>,
}

/// What keeps a client from closing.
pub(crate) struct Lease {
    shared: Arc<Shared>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.turn(|core| core.hub.abandon(Instant::now()));
    }
}

impl Connector {
    /// Starts a client that connects in this way, again and again, and returns at once: whether there is a connection, its
    /// [state](Client::state) and [events](Client::events) tell. What may be sent and received meanwhile, waits.
    ///
    /// # Errors
    /// [`ConnectError::Seed`]; [`ConnectError::Setup`] when there can be no more threads.
    pub fn client(&self, config: ClientConfig) -> Result<(Client, Inbox), ConnectError> {
        self.start(config, None)
    }

    /// The same, asking `prepare` before each attempt what to connect to, in a thread of its own: for tokens that expire and servers that move. An answer
    /// may take as long as a connect may ([`connect_timeout`](Self::connect_timeout)); one that comes later does not count, and until it has come,
    /// nothing else is asked.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn client_with(
        &self,
        mut config: ClientConfig,
        prepare: impl FnMut(Preparation) -> Prepared + Send + 'static,
    ) -> Result<(Client, Inbox), ConnectError> {
        config.asks_before_attempt = true;
        self.start(config, Some(Box::new(prepare)))
    }

    fn start(&self, config: ClientConfig, prepare: Option<Prepare>) -> Result<(Client, Inbox), ConnectError> {
        let core = Core::new(self.options.clone(), config, seed().map_err(ConnectError::Seed)?, Instant::now());
        let shared = Shared::new(Hub::new(core));
        Driver::start(Arc::clone(&shared), self.clone(), prepare).map_err(ConnectError::Setup)?;
        let lease = Arc::new(Lease { shared });
        Ok((Client { lease: Arc::clone(&lease) }, Inbox::new(lease)))
    }
}

impl Client {
    /// Sends a message: waits until there is room in the queue, not until it leaves. It leaves behind those that were accepted before, once there is a
    /// connection.
    ///
    /// # Errors
    /// [`Rejected`], with the message, when the client is closing or over, or for a message that is longer than the queue may be.
    pub fn send(&self, message: impl Into<Message>) -> Result<Token, Rejected> {
        self.accept(message.into(), |_, _| ())
    }

    /// The same, with a receipt that tells what becomes of the message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_tracked(&self, message: impl Into<Message>) -> Result<Receipt, Rejected> {
        let token = self.accept(message.into(), Hub::track)?;
        Ok(Receipt::new(Arc::clone(&self.lease.shared), token))
    }

    /// Sends a message if there is room for it in the queue. Never waits.
    ///
    /// # Errors
    /// [`Rejected`], with the message: as [`send`](Self::send), and when there is no room.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Token, Rejected> {
        let message = message.into();
        self.lease.shared.turn(|core| core.hub.send(Instant::now(), message))
    }

    fn accept(&self, message: Message, accepted: impl Fn(&mut Hub, Token)) -> Result<Token, Rejected> {
        let mut waiting = Some(message);
        self.lease.shared.wait(|hub| match hub.send(Instant::now(), waiting.take()?) {
            Ok(token) => {
                accepted(hub, token);
                Some(Ok(token))
            }
            Err(Rejected { message, reason: RejectReason::Full { .. } }) => {
                waiting = Some(message);
                None
            }
            Err(rejected) => Some(Err(rejected)),
        })
    }

    /// The peer has received all messages up to this one, as the application knows: they are not sent again, with
    /// [`Delivery::AtLeastOnce`] and [`Delivery::Acknowledged`]. With the latter nothing else confirms them.
    pub fn acknowledge(&self, token: Token) {
        self.lease.shared.turn(|core| core.hub.acknowledge(Instant::now(), token));
    }

    /// Sends new credentials, on this connection if it is open, and on each from now on. Does nothing without [`ClientConfig::auth`].
    pub fn reauthenticate(&self, credentials: impl Into<Message>) {
        let credentials = credentials.into();
        self.lease.shared.turn(|core| core.hub.reauthenticate(Instant::now(), credentials));
    }

    /// Closes once all messages have left, over as many connections as that takes but within `drain_timeout`, and waits for the end. What has not
    /// left by then is dropped. The closing handshake comes on top of that ([`Config::close_timeout`](sansocket::Config::close_timeout)).
    ///
    /// Messages that arrive meanwhile can still be received, as many as the [`Inbox`] holds. Of a client that is closing already, it just waits for the
    /// end.
    ///
    /// # Errors
    /// [`SendError`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub fn close(&self, code: CloseCode, reason: &str, drain_timeout: Duration) -> Result<End, SendError> {
        self.start_close(code, reason, drain_timeout)?;
        Ok(self.ended())
    }

    /// Begins to close, and does not wait.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn start_close(&self, code: CloseCode, reason: &str, drain_timeout: Duration) -> Result<(), SendError> {
        self.lease.shared.turn(|core| core.hub.close(Instant::now(), code, reason, drain_timeout))
    }

    /// Ends at once, for all handles: what waits is dropped, and so is the stream.
    pub fn abort(&self) {
        self.lease.shared.turn(|core| core.hub.abort(Instant::now()));
    }

    /// Waits for the end, whatever it comes from.
    pub fn ended(&self) -> End {
        self.lease.shared.wait(|hub| hub.end().cloned())
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
        self.lease.shared.look(|hub| hub.client().metrics(Instant::now()))
    }

    /// Sends what a reader gives, each read as a binary message of 16 KiB at most, until its end; returns how many bytes that were. It reads no
    /// further while there is no room in the queue.
    ///
    /// # Errors
    /// What the reader says; of the kind `BrokenPipe`, around a [`Rejected`], when the client is closing or over.
    pub fn pipe_from(&self, mut reader: impl Read) -> io::Result<u64> {
        let mut buf = vec![0; PIECE_LEN_MAX];
        let mut total = 0;
        loop {
            let n = match reader.read(&mut buf) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece = Bytes::copy_from_slice(buf.get(..n).unwrap_or_default());
            if piece.is_empty() {
                return Ok(total);
            }
            total += n as u64;
            self.send(piece).map_err(|rejected| io::Error::new(io::ErrorKind::BrokenPipe, rejected))?;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.shared.look(|hub| hub.client().fmt(f))
    }
}

/// So much of a reader becomes one message.
const PIECE_LEN_MAX: usize = 16 * 1024;
