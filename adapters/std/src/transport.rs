//! What a connection runs over.

use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A blocking byte stream of which both directions can be used at once from two threads.
///
/// At most one thread reads and at most one writes at any time. A stream in non-blocking mode would be asked again and
/// again without a pause; so it must block. For a stream that can only do one thing at a time there is
/// [`Locked`](crate::Locked).
pub trait Transport: Send + Sync {
    /// Reads what is there, or waits for it up to the read timeout; `Ok(0)` at the end of the peer's direction.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) or [`TimedOut`](io::ErrorKind::TimedOut) when nothing came in time; any
    /// other kind but [`Interrupted`](io::ErrorKind::Interrupted) means that the stream has failed.
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes as many of the bytes as there is room for, waiting for some up to the write timeout.
    ///
    /// # Errors
    /// As [`read`](Self::read): with `WouldBlock` or `TimedOut` nothing counts as written, and the next call begins with the same
    /// bytes.
    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// How long a later [`read`](Self::read) waits; `None` for ever. Never zero.
    ///
    /// # Errors
    /// When the stream is gone.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// How long a later [`write_vectored`](Self::write_vectored) waits; `None` for ever. Never zero.
    ///
    /// # Errors
    /// When the stream is gone.
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends one direction or both; a read that waits returns then.
    ///
    /// # Errors
    /// When the stream is gone.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// Whether the last [`read`](Self::read), which was offered room for `offered` bytes and brought `read` of them, left none behind. Asked
    /// by the thread that reads.
    ///
    /// What has arrived when a deadline passes counts, so the deadline is judged once a later read has left nothing. A socket gives all that it
    /// has room for; a layer in between may give less, as TLS does with its records. Unless it is known, a read has to find nothing.
    fn left_nothing(&self, offered: usize, read: usize) -> bool {
        let _ = (offered, read);
        false
    }

    /// Sets the stream up before the first byte. TCP turns Nagle's algorithm off, which would hold small messages back.
    ///
    /// # Errors
    /// When the stream is gone.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for TcpStream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &*self, buf)
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        io::Write::write_vectored(&mut &*self, bufs)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn left_nothing(&self, offered: usize, read: usize) -> bool {
        read < offered
    }

    fn prepare(&self) -> io::Result<()> {
        // Some systems hand the mode of a listener down to what it accepts.
        self.set_nonblocking(false)?;
        self.set_nodelay(true)
    }
}

#[cfg(unix)]
impl Transport for UnixStream {
    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &*self, buf)
    }

    fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        io::Write::write_vectored(&mut &*self, bufs)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn left_nothing(&self, offered: usize, read: usize) -> bool {
        read < offered
    }

    fn prepare(&self) -> io::Result<()> {
        self.set_nonblocking(false)
    }
}

macro_rules! forward {
    ($pointer:ty) => {
        impl<T: Transport + ?Sized> Transport for $pointer {
            fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
                (**self).read(buf)
            }

            fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (**self).write_vectored(bufs)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                (**self).set_read_timeout(timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                (**self).set_write_timeout(timeout)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                (**self).shutdown(how)
            }

            fn left_nothing(&self, offered: usize, read: usize) -> bool {
                (**self).left_nothing(offered, read)
            }

            fn prepare(&self) -> io::Result<()> {
                (**self).prepare()
            }
        }
    };
}

forward!(&T);
forward!(Arc<T>);
forward!(Box<T>);
