//! The ways to a server, see `adapters/common/testing`.

#[path = "../../common/testing/mod.rs"]
mod testing;

use std::time::Duration;

use sansocket::ClientOptions;
use sansocket_tokio::client::{ClientConfig, End};
use sansocket_tokio::{CloseCode, ConnectError, Connector, Message, Tls};

#[test]
fn every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    testing::check_all(&move |options, tls, message| runtime.block_on(connect(options, tls, message)));
}

#[test]
fn so_does_every_way_for_a_client_that_outlives_its_connections() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    testing::check_client(&move |options, config, tls, message| {
        runtime.block_on(outlive(options, config, tls, message))
    });
}

async fn connect(options: ClientOptions, tls: Tls, message: Message) -> Result<Message, ConnectError> {
    let mut socket = Connector::from(options).tls(tls).connect().await?;
    socket.send(message).await.unwrap();
    let received = socket.recv().await.unwrap().unwrap();
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    Ok(received)
}

async fn outlive(options: ClientOptions, config: ClientConfig, tls: Tls, message: Message) -> Result<Message, End> {
    let (client, mut inbox) = Connector::from(options).tls(tls).client(config).unwrap();
    let _ = client.send(message).await; // It may have ended already: receiving tells.
    match inbox.recv().await {
        Ok(Some(received)) => {
            let end = client.close(CloseCode::NORMAL, "", Duration::from_secs(5)).await.unwrap();
            assert!(matches!(end, End::Closed(Some(closed)) if closed.clean));
            Ok(received)
        }
        _ => Err(client.ended().await),
    }
}
