//! Readers and writers as the other end of a client's messages.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use sansocket::Bytes;

use super::{Client, Inbox};
use crate::Runtime;

/// A runtime that reads from an `S`. The adapters implement it for all readers of their runtime.
pub trait ReadFrom<S>: Runtime {
    /// Reads some bytes; 0 at the end.
    fn poll_read(reader: Pin<&mut S>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
}

/// A runtime that writes to an `S`. The adapters implement it for all writers of their runtime.
pub trait WriteTo<S>: Runtime {
    /// Writes some of the bytes.
    fn poll_write(writer: Pin<&mut S>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    /// Sees out what was written.
    fn poll_flush(writer: Pin<&mut S>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<R: Runtime> Client<R> {
    /// Sends what a reader gives, each read as a binary message of 16 KiB at most, until its end; returns how many bytes that were. It reads no
    /// further while there is no room in the queue.
    ///
    /// Dropped before it is ready, it may have read a piece that it has not sent: to wait for something else as well, poll it by reference.
    ///
    /// # Errors
    /// What the reader says; of the kind `BrokenPipe`, around a [`Rejected`](sansocket::client::Rejected), when the client is closing or over.
    pub async fn pipe_from<S: Unpin>(&self, mut reader: S) -> io::Result<u64>
    where
        R: ReadFrom<S>,
    {
        let mut buf = vec![0; PIECE_LEN_MAX];
        let mut total = 0;
        loop {
            let n = poll_fn(|cx| R::poll_read(Pin::new(&mut reader), cx, &mut buf)).await?;
            let piece = Bytes::copy_from_slice(buf.get(..n).unwrap_or_default());
            if piece.is_empty() {
                return Ok(total);
            }
            total += n as u64;
            self.send(piece).await.map_err(|rejected| io::Error::new(io::ErrorKind::BrokenPipe, rejected))?;
        }
    }
}

impl<R: Runtime> Inbox<R> {
    /// Writes the payloads of all messages to a writer, until the client ends; returns how many bytes that were. While the writer takes nothing,
    /// messages wait.
    ///
    /// Dropped before it is ready, it may have written a part of a message: to wait for something else as well, poll it by reference.
    ///
    /// # Errors
    /// What the writer says; of the kind `ConnectionAborted`, around an [`Ended`](sansocket_common::client::Ended), when the client stopped or gave up.
    pub async fn pipe_to<S: Unpin>(&mut self, mut writer: S) -> io::Result<u64>
    where
        R: WriteTo<S>,
    {
        let mut total = 0;
        while let Some(message) =
            self.recv().await.map_err(|ended| io::Error::new(io::ErrorKind::ConnectionAborted, ended))?
        {
            let mut rest = message.as_bytes();
            total += rest.len() as u64;
            while !rest.is_empty() {
                let n = poll_fn(|cx| R::poll_write(Pin::new(&mut writer), cx, rest)).await?;
                rest = rest.get(n..).filter(|_| n > 0).ok_or(io::ErrorKind::WriteZero)?;
            }
            poll_fn(|cx| R::poll_flush(Pin::new(&mut writer), cx)).await?;
        }
        Ok(total)
    }
}

/// So much of a reader becomes one message.
const PIECE_LEN_MAX: usize = 16 * 1024;
