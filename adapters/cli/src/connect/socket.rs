//! A connection as this command needs it, for threads that wait, whatever it runs on.

use std::net::TcpStream;

use futures_lite::future::block_on;
use sansocket::{ClientOptions, CloseCode, Closed, Message};
use sansocket_async_std::{Dial, Transport};
use sansocket_std::{ConnectError, Error, MaybeTls, Tls, WebSocket};

/// A connection.
pub(super) trait Socket {
    /// The next message; `None` when it was closed cleanly.
    fn recv(&mut self) -> Result<Option<Message>, Error>;
    /// How it ended, once it has.
    fn closed(&self) -> Option<Closed>;
    /// The subprotocol that was agreed on.
    fn subprotocol(&self) -> Option<String>;
    /// A handle to send by.
    fn outlet(&self) -> Box<dyn Outlet>;
}

/// Where messages go out, for another thread.
pub(super) trait Outlet: Send {
    /// Sends a text; whether it was taken. If not, it is over: the next receive tells why.
    fn send(&self, text: String) -> bool;
    /// Begins to close with 1000. If it is over already, the next receive tells.
    fn close(&self);
}

/// Connects by sansocket-std.
pub(super) fn blocking(options: ClientOptions, tls: Tls) -> Result<Box<dyn Socket>, ConnectError> {
    Ok(Box::new(sansocket_std::Connector::from(options).tls(tls).connect()?))
}

/// Connects by an asynchronous adapter.
pub(super) fn asynchronous<R: Dial>(options: ClientOptions, tls: Tls) -> Result<Box<dyn Socket>, ConnectError> {
    let socket = block_on(sansocket_async_std::Connector::<R>::from(options).tls(tls).connect())?;
    let subprotocol = socket.subprotocol();
    let (sender, receiver) = socket.split();
    Ok(Box::new(Halves { sender, receiver, subprotocol }))
}

impl Socket for WebSocket<MaybeTls<TcpStream>> {
    fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.recv()
    }

    fn closed(&self) -> Option<Closed> {
        self.closed().cloned()
    }

    fn subprotocol(&self) -> Option<String> {
        self.subprotocol().map(str::to_owned)
    }

    fn outlet(&self) -> Box<dyn Outlet> {
        Box::new(self.sender())
    }
}

impl Outlet for sansocket_std::Sender<MaybeTls<TcpStream>> {
    fn send(&self, text: String) -> bool {
        self.send(text).is_ok()
    }

    fn close(&self) {
        let _ = self.close(CloseCode::NORMAL, "");
    }
}

/// The halves of an asynchronous socket.
struct Halves<T: Transport, R: Dial> {
    sender: sansocket_async_std::Sender<T, R>,
    receiver: sansocket_async_std::Receiver<T, R>,
    subprotocol: Option<String>,
}

impl<T: Transport, R: Dial> Socket for Halves<T, R> {
    fn recv(&mut self) -> Result<Option<Message>, Error> {
        block_on(self.receiver.recv())
    }

    fn closed(&self) -> Option<Closed> {
        self.receiver.closed()
    }

    fn subprotocol(&self) -> Option<String> {
        self.subprotocol.clone()
    }

    fn outlet(&self) -> Box<dyn Outlet> {
        Box::new(self.sender.clone())
    }
}

impl<T: Transport, R: Dial> Outlet for sansocket_async_std::Sender<T, R> {
    fn send(&self, text: String) -> bool {
        block_on(self.send(text)).is_ok()
    }

    fn close(&self) {
        let _ = self.start_close(CloseCode::NORMAL, "");
    }
}
