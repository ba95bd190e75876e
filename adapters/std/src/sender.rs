//! Sending from any thread.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use sansocket::{CloseCode, Connection, Message, MessageKind};

use crate::shared::Shared;
use crate::writer::By;
use crate::{Error, MessageWriter, Transport};

/// Sends from any thread, while the owner of the [`WebSocket`](crate::WebSocket) receives.
///
/// Cheap to clone. What one thread sends keeps its order. A send returns when the transport has taken the message, or when another
/// thread is writing and will take it along; so it waits for a peer that does not read. It ends with an error when the connection
/// does, or when the owner drops its socket.
///
/// A sender cannot read. The owner has to be in [`recv`](crate::WebSocket::recv) most of the time for pings to be answered and
/// deadlines to be served.
pub struct Sender<S: Transport> {
    pub(crate) shared: Arc<Shared<S>>,
}

impl<S: Transport> Sender<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Error`] when the connection is closing or over.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.shared.push(|connection, now| connection.send(now, &message))
    }

    /// Sends a text.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_text(&self, text: &str) -> Result<(), Error> {
        self.shared.push(|connection, now| connection.send_text(now, text))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_binary(&self, payload: &[u8]) -> Result<(), Error> {
        self.shared.push(|connection, now| connection.send_binary(now, payload))
    }

    /// Sends a message in pieces. Those of all others wait from its first piece to its last.
    pub fn send_pieces(&self, kind: MessageKind) -> MessageWriter<'_, S> {
        MessageWriter::new(By::Sender(&self.shared), kind)
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// As [`send`](Self::send), and when the payload has more than 125 bytes.
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.shared.push(|connection, now| connection.ping(now, payload))
    }

    /// Begins to close: nothing can be sent any more, and the owner's [`recv`](crate::WebSocket::recv) delivers what still arrives,
    /// then the end. Does nothing when the connection is closing already.
    ///
    /// # Errors
    /// [`Error::Send`] for a code that may not be sent, or a reason of more than 123 bytes.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        match self.shared.push(|connection, now| connection.close(now, code, reason)) {
            Err(Error::Send(refused)) => Err(Error::Send(refused)),
            // That it is over is what was asked for.
            _ => Ok(()),
        }
    }

    /// Gives access to all that the core can do; then writes out what it left, as [`send`](Self::send) does.
    ///
    /// The owner and other senders wait meanwhile. So `order` must not use a handle of any connection: two that use each other's would wait for
    /// ever.
    pub fn with_connection<R>(&self, order: impl FnOnce(&mut Connection, Instant) -> R) -> R {
        self.shared.with_connection(order)
    }
}

impl<S: Transport> Clone for Sender<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Transport> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("connection", &self.shared.lock().connection).finish_non_exhaustive()
    }
}
