//! A say in compression, for each message (feature `deflate`).

use sansocket::deflate::{Compression, PreparedMessage};
use sansocket::{Connection, Message};

use crate::driver::WhileStalled;
use crate::{Error, MessageWriter, Runtime, Sender, Transport, WebSocket};

impl<T: Transport, R: Runtime> WebSocket<T, R> {
    /// Sends a message as [`send`](Self::send) does, compressed or not, as `compression` says.
    ///
    /// Send with [`Compression::Never`] what holds a secret beside text that somebody else chose: who sees how long frames are could
    /// guess the one by way of the other (CRIME, BREACH).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with_compression(
        &mut self,
        message: impl Into<Message>,
        compression: Compression,
    ) -> Result<(), Error> {
        let message = message.into();
        let order = |connection: &mut Connection, now| {
            connection.with_compression(compression, |connection| connection.send(now, &message))
        };
        self.handle.order(WhileStalled::Read, order).await
    }

    /// Sends a message that was compressed once for many receivers, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_prepared(&mut self, prepared: &PreparedMessage) -> Result<(), Error> {
        self.handle.order(WhileStalled::Read, |connection, now| connection.send_prepared(now, prepared)).await
    }
}

impl<T: Transport, R: Runtime> Sender<T, R> {
    /// Sends a message compressed or not, see [`WebSocket::send_with_compression`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_with_compression(
        &self,
        message: impl Into<Message>,
        compression: Compression,
    ) -> Result<(), Error> {
        let message = message.into();
        self.order(|connection, now| {
            connection.with_compression(compression, |connection| connection.send(now, &message))
        })
        .await
    }

    /// Sends a message that was compressed once for many receivers.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_prepared(&self, prepared: &PreparedMessage) -> Result<(), Error> {
        self.order(|connection, now| connection.send_prepared(now, prepared)).await
    }
}

impl<T: Transport, R: Runtime> MessageWriter<'_, T, R> {
    /// Whether the message is compressed: what holds when its first piece is sent. By default it is, however short, where permessage-deflate was
    /// agreed on; each piece is compressed as it comes. See [`WebSocket::send_with_compression`].
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}
