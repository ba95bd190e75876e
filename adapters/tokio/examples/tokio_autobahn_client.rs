//! Drives the Autobahn test suite's server through all its cases: `tokio_autobahn_client URL AGENT`.

use sansocket_tokio::{ClientWebSocket, Connector, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(agent)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tokio_autobahn_client URL AGENT".into());
    };
    let url = url.trim_end_matches('/');
    let count = connect(&format!("{url}/getCaseCount")).await?.recv().await?;
    let count: u32 = count.as_ref().and_then(Message::as_text).ok_or("no case count")?.parse()?;
    for case in 1..=count {
        // How a case ends is for the suite to judge.
        if let Ok(mut socket) = connect(&format!("{url}/runCase?case={case}&agent={agent}")).await {
            while let Ok(Some(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        }
    }
    let _ = connect(&format!("{url}/updateReports?agent={agent}")).await?.recv().await;
    Ok(())
}

async fn connect(url: &str) -> Result<ClientWebSocket, Box<dyn std::error::Error>> {
    Ok(Connector::new(url)?.connect().await?)
}
