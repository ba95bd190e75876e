//! A say in compression, for each message (feature `deflate`).

use sansocket::Message;
use sansocket::deflate::{Compression, PreparedMessage};

use crate::{Error, MessageWriter, Sender, Transport, WebSocket};

impl<S: Transport> WebSocket<S> {
    /// Sends a message as [`send`](Self::send) does, compressed or not, as `compression` says.
    ///
    /// Send with [`Compression::Never`] what holds a secret beside text that somebody else chose: who sees how long frames are could
    /// guess the one by way of the other (CRIME, BREACH).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_compression(
        &mut self,
        message: impl Into<Message>,
        compression: Compression,
    ) -> Result<(), Error> {
        let message = message.into();
        self.send_by_core(|core, now| {
            core.connection.with_compression(compression, |connection| connection.send(now, &message))
        })
    }

    /// Sends a message that was compressed once for many receivers, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, prepared: &PreparedMessage) -> Result<(), Error> {
        self.send_by_core(|core, now| core.connection.send_prepared(now, prepared))
    }
}

impl<S: Transport> Sender<S> {
    /// Sends a message compressed or not, see [`WebSocket::send_with_compression`].
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_compression(&self, message: impl Into<Message>, compression: Compression) -> Result<(), Error> {
        let message = message.into();
        self.shared.push(|connection, now| {
            connection.with_compression(compression, |connection| connection.send(now, &message))
        })
    }

    /// Sends a message that was compressed once for many receivers.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&self, prepared: &PreparedMessage) -> Result<(), Error> {
        self.shared.push(|connection, now| connection.send_prepared(now, prepared))
    }
}

impl<S: Transport> MessageWriter<'_, S> {
    /// Whether the message is compressed: what holds when its first piece is sent. By default it is, however short, where permessage-deflate was
    /// agreed on; each piece is compressed as it comes. See [`WebSocket::send_with_compression`].
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}
