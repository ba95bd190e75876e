//! Web pages and WebSockets on one port, with hyper: `tokio_hyper_server [--listen ADDR]`. The first line it prints is `listening on ADDR`.
//!
//! `/echo` echoes messages; any other path says hello.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sansocket_tokio::{Acceptance, Acceptor, Bytes, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    #[allow(clippy::print_stdout)]
    {
        println!("listening on {}", listener.local_addr()?);
    }
    serve(listener).await;
    Ok(())
}

pub(crate) async fn serve(listener: TcpListener) {
    let acceptor = Acceptor::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // It is of one connection, or will pass, as when there are too many open files.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            let service = service_fn(|request| answer(request, acceptor.clone()));
            let http = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            http.with_upgrades().await?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
}

async fn answer(mut request: Request<Incoming>, acceptor: Acceptor) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/echo" {
        return Ok(Response::new("hello\n".into()));
    }
    let response = match acceptor.upgrade(&request, &Acceptance::new()) {
        Ok((response, upgrade)) => {
            // Ready once hyper has written the answer.
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let socket = upgrade.open(TokioIo::new(upgraded.await?));
                echo(socket).await?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            });
            response
        }
        Err(error) => error.to_response(),
    };
    Ok(response.map(Full::new))
}

async fn echo<S>(mut socket: WebSocket<S>) -> Result<(), sansocket_tokio::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
