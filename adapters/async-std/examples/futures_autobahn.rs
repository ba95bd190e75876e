//! Both roles for the Autobahn test suite, on either runtime:
//! `futures_autobahn smol|async-std server --listen ADDR` and `futures_autobahn smol|async-std client URL AGENT`.

use std::net::{TcpListener, TcpStream};

use sansocket_async::Dial;
use sansocket_async_std::deflate::DeflateConfig;
use sansocket_async_std::{Acceptor, AsyncStd, Config, Connector, Message, Smol};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["smol", "server", "--listen", address] => smol::block_on(serve::<Smol>(address)),
        ["smol", "client", url, agent] => smol::block_on(run_cases::<Smol>(url, agent)),
        ["async-std", "server", "--listen", address] => async_std::task::block_on(serve::<AsyncStd>(address)),
        ["async-std", "client", url, agent] => async_std::task::block_on(run_cases::<AsyncStd>(url, agent)),
        _ => Err("usage: futures_autobahn smol|async-std (server --listen ADDR | client URL AGENT)".into()),
    }
}

/// A runtime that can take over a stream of the standard library.
trait Adopt: Dial {
    fn adopt(stream: TcpStream) -> std::io::Result<Self::Tcp>;
}

impl Adopt for Smol {
    fn adopt(stream: TcpStream) -> std::io::Result<Self::Tcp> {
        stream.try_into()
    }
}

impl Adopt for AsyncStd {
    fn adopt(stream: TcpStream) -> std::io::Result<Self::Tcp> {
        Ok(stream.into())
    }
}

async fn serve<R: Adopt>(address: &str) -> Result<(), Failure> {
    let listener = async_io::Async::new(TcpListener::bind(address)?)?;
    #[allow(clippy::print_stdout)]
    {
        println!("listening on {}", listener.get_ref().local_addr()?);
    }
    let acceptor = Acceptor::<R>::new().config(config());
    loop {
        let acceptor = acceptor.clone();
        let Ok((stream, _)) = listener.accept().await else { continue };
        let stream = R::adopt(stream.into_inner()?)?;
        R::spawn(async move {
            let Ok(mut socket) = acceptor.accept(stream).await else { return };
            while let Ok(Some(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        });
    }
}

/// Compresses where the other side does, too.
fn config() -> Config {
    let mut config = Config::default();
    config.deflate = Some(DeflateConfig::default());
    config
}

async fn run_cases<R: Dial>(url: &str, agent: &str) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    let count = Connector::<R>::new(&format!("{url}/getCaseCount"))?.connect().await?.recv().await?;
    let count: u32 = count.as_ref().and_then(Message::as_text).ok_or("no case count")?.parse()?;
    for case in 1..=count {
        // How a case ends is for the suite to judge.
        let connector = Connector::<R>::new(&format!("{url}/runCase?case={case}&agent={agent}"))?.config(config());
        if let Ok(mut socket) = connector.connect().await {
            while let Ok(Some(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        }
    }
    let _ = Connector::<R>::new(&format!("{url}/updateReports?agent={agent}"))?.connect().await?.recv().await;
    Ok(())
}
