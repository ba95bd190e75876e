//! The server on an asynchronous runtime: a task for each connection.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use sansocket_async_std::{AcceptError, Acceptor, Error, Runtime, Transport, WebSocket, Wrap};
use tokio::sync::Semaphore;

use super::{ACCEPT_PAUSE, Echo, Echoed, cannot_accept, is_of_one_connection};
use crate::Failure;
use crate::ending::{how_it_ended, why_not_accepted};
use crate::runtime::{Host, within};
use crate::terminal::note;

pub(super) async fn serve<R: Host + Wrap<R::Secured>>(listener: TcpListener, echo: &Arc<Echo>) -> Result<(), Failure> {
    let listener = R::listen(listener).map_err(Failure::message)?;
    let slots = Arc::new(Semaphore::new(echo.connections_max as usize));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await;
        match R::accept(&listener).await {
            Ok((stream, peer)) => {
                let echo = Arc::clone(echo);
                R::spawn(async move {
                    serve_one::<R>(&echo, stream, peer).await;
                    drop(slot);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                note(cannot_accept(&error));
                R::sleep_until(R::now() + ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection from its first byte to its last, and logs it.
async fn serve_one<R: Host + Wrap<R::Secured>>(echo: &Echo, stream: R::Tcp, peer: SocketAddr) {
    let served = match &echo.tls {
        None => serve_stream::<R, _>(echo, stream, peer).await,
        Some(tls) => match within::<R, _>(echo.config.handshake_timeout, R::secured(stream, Arc::clone(tls))).await {
            Ok(stream) => serve_stream::<R, _>(echo, stream, peer).await,
            Err(error) => return echo.log(format_args!("{peer}: TLS failed: {error}")),
        },
    };
    if let Err(error) = served {
        echo.log(format_args!("{peer}: {}", why_not_accepted(&error)));
    }
}

async fn serve_stream<R: Wrap<S>, S>(echo: &Echo, stream: S, peer: SocketAddr) -> Result<(), AcceptError> {
    let incoming = Acceptor::<R>::new().config(Arc::clone(&echo.config)).receive(stream).await?;
    let path = incoming.request().path().to_owned();
    let acceptance = echo.decide(&incoming.request().headers);
    let mut socket = incoming.accept(&acceptance).await?;
    let mut echoed = Echoed::default();
    let error = echo_all(&mut socket, &mut echoed).await.err();
    let end = how_it_ended(socket.closed().as_ref(), error.as_ref());
    echo.log_end(peer, &path, socket.subprotocol().as_deref(), &echoed, &end);
    Ok(())
}

/// Sends back each message.
async fn echo_all<T: Transport, R: Runtime>(socket: &mut WebSocket<T, R>, echoed: &mut Echoed) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        echoed.count(&message);
        // Why an echo cannot leave is told by a receive, after the messages that came before.
        let _ = socket.send(message).await;
    }
    Ok(())
}
