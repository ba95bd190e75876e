//! The server's way in.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use sansocket::{Acceptance, Config};

use crate::handshake::receive_request;
use crate::{AcceptError, Incoming, Runtime, WebSocket, Wrap};

/// Shakes hands with clients; serves any number of them.
pub struct Acceptor<R> {
    pub(crate) config: Arc<Config>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Acceptor<R> {
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
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// [`AcceptError::Handshake`] when there is no request in time, or a faulty one, which has been answered; [`AcceptError::Seed`].
    pub async fn accept<S>(&self, stream: S) -> Result<WebSocket<R::Transport, R>, AcceptError>
    where
        R: Wrap<S>,
    {
        // The task of a connection is as large as the largest thing it ever waits for, however long ago. So that is not the handshake.
        let accepted = async {
            receive_request(R::wrap(stream), Arc::clone(&self.config)).await?.accept(&Acceptance::new()).await
        };
        Box::pin(accepted).await
    }

    /// Receives a request, to look at and to accept or reject in one's own time.
    ///
    /// Dropped before it is ready, it drops the stream.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn receive<S>(&self, stream: S) -> Result<Incoming<R::Transport, R>, AcceptError>
    where
        R: Wrap<S>,
    {
        Box::pin(receive_request(R::wrap(stream), Arc::clone(&self.config))).await
    }
}

impl<R> Default for Acceptor<R> {
    fn default() -> Self {
        // The same for all, of whom there may be one for each connection.
        static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(Arc::default);
        Self { config: Arc::clone(&CONFIG), runtime: PhantomData }
    }
}

impl<R> Clone for Acceptor<R> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), runtime: PhantomData }
    }
}

impl<R> std::fmt::Debug for Acceptor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
