//! The server on sansocket-std: a thread for each connection.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use sansocket_std::{Acceptor, Error, MaybeTls, TlsStream, WebSocket};

use super::slots::{Slot, Slots};
use super::{ACCEPT_PAUSE, Echo, Echoed, cannot_accept, is_of_one_connection};
use crate::Failure;
use crate::ending::{how_it_ended, why_not_accepted};
use crate::terminal::note;

pub(super) fn serve(listener: &TcpListener, echo: &Arc<Echo>) -> Result<(), Failure> {
    let slots = Slots::new(echo.connections_max);
    loop {
        let slot = slots.take();
        match listener.accept() {
            Ok((stream, peer)) => serve_in_thread(Arc::clone(echo), stream, peer, slot),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                note(cannot_accept(&error));
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// A thread of its own, so that nothing one connection does, not even a panic, reaches another.
fn serve_in_thread(echo: Arc<Echo>, stream: TcpStream, peer: SocketAddr, slot: Slot) {
    let spawned = thread::Builder::new().name(format!("echo {peer}")).spawn(move || {
        serve_one(&echo, stream, peer);
        drop(slot);
    });
    if let Err(error) = spawned {
        note(format_args!("{peer}: dropped, no thread to serve it: {error}"));
        thread::sleep(ACCEPT_PAUSE);
    }
}

/// Serves one connection from its first byte to its last, and logs it.
fn serve_one(echo: &Echo, stream: TcpStream, peer: SocketAddr) {
    let stream = match &echo.tls {
        None => MaybeTls::Plain(stream),
        Some(tls) => match TlsStream::server(stream, Arc::clone(tls), echo.config.handshake_timeout) {
            Ok(stream) => MaybeTls::Tls(Box::new(stream)),
            Err(error) => return echo.log(format_args!("{peer}: {error}")),
        },
    };
    let mut path = String::new();
    let accepted = Acceptor::new().config(Arc::clone(&echo.config)).accept_with(stream, |request| {
        path = request.path().to_owned();
        Ok(echo.decide(&request.headers))
    });
    let mut socket = match accepted {
        Ok(socket) => socket,
        Err(error) => return echo.log(format_args!("{peer}: {}", why_not_accepted(&error))),
    };
    let mut echoed = Echoed::default();
    let error = echo_all(&mut socket, &mut echoed).err();
    let end = how_it_ended(socket.closed(), error.as_ref());
    echo.log_end(peer, &path, socket.subprotocol(), &echoed, &end);
}

/// Sends back each message. It is only fed, so that all answers to one read leave in one write.
fn echo_all(socket: &mut WebSocket<MaybeTls<TcpStream>>, echoed: &mut Echoed) -> Result<(), Error> {
    while let Some(message) = socket.recv()? {
        echoed.count(&message);
        // Why an echo cannot leave is told by a receive, after the messages that came before.
        let _ = socket.feed(message);
    }
    Ok(())
}
