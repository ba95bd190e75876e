//! Web pages and WebSockets on one port, with axum: `tokio_axum_server [--listen ADDR]`. The first line it prints is `listening on ADDR`.
//!
//! `/chat` echoes messages to clients that offer the subprotocol `echo`; `/` says hello.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use hyper_util::rt::TokioIo;
use sansocket_tokio::handshake::choose_subprotocol;
use sansocket_tokio::{Acceptance, Acceptor};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().skip_while(|arg| arg != "--listen").nth(1).unwrap_or("127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    #[allow(clippy::print_stdout)]
    {
        println!("listening on {}", listener.local_addr()?);
    }
    serve(listener).await?;
    Ok(())
}

pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let app =
        Router::new().route("/", get(|| async { "hello\n" })).route("/chat", any(chat)).with_state(Acceptor::new());
    axum::serve(listener, app).await
}

async fn chat(State(acceptor): State<Acceptor>, mut request: Request) -> Response {
    let Ok(Some(subprotocol)) = choose_subprotocol(request.headers(), &["echo"]) else {
        return Response::builder().status(400).body("offer the subprotocol echo\n".into()).unwrap_or_default();
    };
    let accepted = Acceptance::new().subprotocol(subprotocol).map_err(Into::into);
    match accepted.and_then(|acceptance| acceptor.upgrade(&request, &acceptance)) {
        Ok((response, upgrade)) => {
            // Ready once axum has written the answer.
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut socket = upgrade.open(TokioIo::new(upgraded.await?));
                while let Some(message) = socket.recv().await? {
                    socket.send(message).await?;
                }
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            });
            response.map(Body::from)
        }
        Err(error) => error.to_response().map(Body::from),
    }
}
