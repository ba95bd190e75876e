//! An echo server on smol: `smol_echo_server [--listen ADDR]`. The first line it prints is `listening on ADDR`.

use sansocket_async_std::{Acceptor, Smol};
use smol::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    smol::block_on(async {
        let listener = TcpListener::bind(address).await?;
        #[allow(clippy::print_stdout)]
        {
            println!("listening on {}", listener.local_addr()?);
        }
        let acceptor = Acceptor::<Smol>::new();
        loop {
            // An error is of one connection, or will pass.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let acceptor = acceptor.clone();
            smol::spawn(async move {
                // How it ended is not of interest here.
                let _ = serve(stream, acceptor).await;
            })
            .detach();
        }
    })
}

async fn serve(stream: TcpStream, acceptor: Acceptor<Smol>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut socket = acceptor.accept(stream).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
