//! The server's way in.

use std::sync::Arc;
use std::time::Instant;

use sansocket::handshake::RequestHead;
use sansocket::{Acceptance, CloseCause, Config, Connection, RecvBuf, Rejection};
use sansocket_common::{AcceptError, seed};

use crate::websocket::Opened;
use crate::{Transport, WebSocket};

/// Accepts whoever asks properly, with the defaults of [`Config`].
///
/// # Errors
/// [`AcceptError`].
pub fn accept<S: Transport>(stream: S) -> Result<WebSocket<S>, AcceptError> {
    Acceptor::new().accept(stream)
}

/// Shakes hands with clients; serves any number of them, from any number of threads.
///
/// ```no_run
/// use sansocket_std::{Acceptance, Acceptor, Rejection};
///
/// let acceptor = Acceptor::new();
/// let (stream, _) = std::net::TcpListener::bind("127.0.0.1:0")?.accept()?;
/// let not_found = Rejection::new(404)?;
/// let socket = acceptor.accept_with(stream, |request| match request.path() {
///     "/chat" => Ok(Acceptance::new()),
///     _ => Err(not_found.clone()),
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Acceptor {
    config: Arc<Config>,
}

impl Acceptor {
    /// With the defaults of [`Config`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits and deadlines of the connections.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Accepts whoever asks properly.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept<S: Transport>(&self, stream: S) -> Result<WebSocket<S>, AcceptError> {
        self.accept_with(stream, |_| Ok(Acceptance::new()))
    }

    /// Lets `decide` answer the request.
    ///
    /// It is not called for a request that is faulty or whose origin [`Config::origin`] forbids: that one is answered already.
    /// The handshake deadline runs meanwhile.
    ///
    /// # Errors
    /// [`AcceptError::Rejected`] once a rejection has been written, the other [`AcceptError`]s when it did not get so far.
    pub fn accept_with<S: Transport>(
        &self,
        stream: S,
        decide: impl FnOnce(&RequestHead<'_>) -> Result<Acceptance, Rejection>,
    ) -> Result<WebSocket<S>, AcceptError> {
        stream.prepare().map_err(AcceptError::Setup)?;
        let now = Instant::now();
        let connection = Connection::server(Arc::clone(&self.config), seed().map_err(AcceptError::Seed)?, now);
        let mut socket = WebSocket::new(connection, stream, RecvBuf::new());
        let mut decide = Some(decide);
        let mut decide_once = |request: &RequestHead<'_>| match decide.take() {
            Some(decide) => decide(request),
            None => Ok(Acceptance::new()), // There is one request.
        };
        match socket.open(Some(&mut decide_once)) {
            Opened::Open | Opened::Refused(_) => Ok(socket),
            Opened::Unfit(error) => Err(AcceptError::Answer(error)),
            Opened::Closed { closed, source } => match closed.cause {
                CloseCause::Refused(status) => Err(AcceptError::Rejected(status)),
                _ => Err(AcceptError::Handshake { closed, source }),
            },
        }
    }
}
