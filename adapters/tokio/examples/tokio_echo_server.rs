//! An echo server: `tokio_echo_server [--listen ADDR]`. The first line it prints is `listening on ADDR`; Ctrl-C shuts it down gracefully.

use std::time::Duration;

use sansocket_tokio::deflate::DeflateConfig;
use sansocket_tokio::{Acceptor, CloseCode, Config};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    #[allow(clippy::print_stdout)]
    {
        println!("listening on {}", listener.local_addr()?);
    }
    let mut config = Config::default();
    config.deflate = Some(DeflateConfig::default()); // For clients that offer it.
    let acceptor = Acceptor::new().config(config);
    let (stop, stopped) = watch::channel(());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // It is of one connection, or will pass, as when there are too many open files.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (acceptor, stopped) = (acceptor.clone(), stopped.clone());
                tokio::spawn(async move {
                    // How it ended is not of interest here.
                    let _ = serve(stream, acceptor, stopped).await;
                });
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // No more are accepted; those that are open say goodbye.
    drop((listener, stopped));
    stop.send_replace(());
    let _ = tokio::time::timeout(Duration::from_secs(10), stop.closed()).await;
    Ok(())
}

async fn serve(
    stream: TcpStream,
    acceptor: Acceptor,
    mut stopped: watch::Receiver<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut socket = acceptor.accept(stream).await?;
    loop {
        tokio::select! {
            // Cancel-safe: nothing is lost when the other branch wins.
            received = socket.recv() => match received? {
                Some(message) => socket.send(message).await?,
                None => return Ok(()),
            },
            _ = stopped.changed() => {
                socket.close(CloseCode::GOING_AWAY, "the server shuts down").await?;
                return Ok(());
            }
        }
    }
}
