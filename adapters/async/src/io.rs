//! Messages in pieces as byte streams: the traits of tokio and of `futures-io` (features of these names, set by the adapters).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::{Error, MessageReader, MessageWriter, Runtime, Transport};

#[cfg(feature = "tokio")]
mod tokio_io {
    use super::*;
    use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

    impl<T: Transport, R: Runtime> AsyncRead for MessageReader<'_, T, R> {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            let piece = ready!(this.poll_fill(cx)).map_err(Error::into_read_error)?;
            let part = piece.get(..buf.remaining()).unwrap_or(piece);
            buf.put_slice(part);
            let len = part.len();
            this.consume(len);
            Poll::Ready(Ok(()))
        }
    }

    impl<T: Transport, R: Runtime> AsyncBufRead for MessageReader<'_, T, R> {
        fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(cx).map_err(Error::into_read_error)
        }

        fn consume(self: Pin<&mut Self>, len: usize) {
            MessageReader::consume(self.get_mut(), len);
        }
    }

    impl<T: Transport, R: Runtime> AsyncWrite for MessageWriter<'_, T, R> {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_flushed(cx).map_err(Error::into_write_error)
        }

        /// Finishes the message.
        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(cx)
        }
    }
}

#[cfg(feature = "futures-io")]
mod futures_io_io {
    use super::*;
    use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

    impl<T: Transport, R: Runtime> AsyncRead for MessageReader<'_, T, R> {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let piece = ready!(this.poll_fill(cx)).map_err(Error::into_read_error)?;
            let len = piece.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..len), piece.get(..len)) {
                to.copy_from_slice(from);
            }
            this.consume(len);
            Poll::Ready(Ok(len))
        }
    }

    impl<T: Transport, R: Runtime> AsyncBufRead for MessageReader<'_, T, R> {
        fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
            self.get_mut().poll_fill(cx).map_err(Error::into_read_error)
        }

        fn consume(self: Pin<&mut Self>, len: usize) {
            MessageReader::consume(self.get_mut(), len);
        }
    }

    impl<T: Transport, R: Runtime> AsyncWrite for MessageWriter<'_, T, R> {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_flushed(cx).map_err(Error::into_write_error)
        }

        /// Finishes the message.
        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.get_mut().poll_end(cx)
        }
    }
}

impl<T: Transport, R: Runtime> MessageWriter<'_, T, R> {
    fn poll_write(&mut self, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let part = buf.get(..FRAGMENT_LEN_MAX).unwrap_or(buf);
        ready!(self.poll_send_piece(cx, part)).map_err(Error::into_write_error)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_finish(cx)).map_err(Error::into_write_error)?;
        self.poll_flushed(cx).map_err(Error::into_write_error)
    }
}

/// So much of one write becomes a fragment, in bytes.
///
/// 64 KiB: as much as may wait to be written by default; more would only wait here instead of at the caller.
const FRAGMENT_LEN_MAX: usize = 64 * 1024;
