//! An echo server on smol: `smol_echo_server [--listen ADDR]`. The first line it prints is `listening on ADDR`; Ctrl-C shuts it down
//! gracefully.

use std::time::Duration;

use async_signal::{Signal, Signals};
use futures_lite::future::or;
use futures_util::StreamExt as _;
use sansocket_async_std::{Acceptor, CloseCode, Smol};
use smol::channel::{Receiver, bounded};
use smol::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    smol::block_on(async {
        let mut signals = Signals::new([Signal::Int])?;
        let listener = TcpListener::bind(address).await?;
        #[allow(clippy::print_stdout)]
        {
            println!("listening on {}", listener.local_addr()?);
        }
        let acceptor = Acceptor::<Smol>::new();
        // Nothing is ever sent: dropping `stop` tells the tasks, and each of them drops its `over`.
        let (stop, stopped) = bounded::<()>(1);
        let (over, are_over) = bounded::<()>(1);
        let interrupted = async { signals.next().await.map(|_| None) };
        let mut interrupted = std::pin::pin!(interrupted);
        while let Some(accepted) =
            or(interrupted.as_mut(), async { Some(Some(listener.accept().await)) }).await.flatten()
        {
            let Ok((stream, _)) = accepted else {
                // It is of one connection, or will pass, as when there are too many open files.
                smol::Timer::after(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, stopped, over) = (acceptor.clone(), stopped.clone(), over.clone());
            smol::spawn(async move {
                // How it ended is not of interest here.
                let _ = serve(stream, acceptor, stopped).await;
                drop(over);
            })
            .detach();
        }
        // No more are accepted; those that are open say goodbye.
        drop((listener, stop, over));
        let patience = async {
            smol::Timer::after(Duration::from_secs(10)).await;
            Ok(())
        };
        // Either way it is time to go.
        let _ = or(are_over.recv(), patience).await;
        Ok(())
    })
}

async fn serve(stream: TcpStream, acceptor: Acceptor<Smol>, stopped: Receiver<()>) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut socket = acceptor.accept(stream).await?;
    loop {
        // Cancel-safe: nothing is lost when the other one wins.
        let received = or(async { Some(socket.recv().await) }, async { stopped.recv().await.ok().map(|()| Ok(None)) });
        match received.await {
            Some(Ok(Some(message))) => socket.send(message).await?,
            Some(ended) => return Ok(ended.map(drop)?),
            None => {
                socket.close(CloseCode::GOING_AWAY, "the server shuts down").await?;
                return Ok(());
            }
        }
    }
}
