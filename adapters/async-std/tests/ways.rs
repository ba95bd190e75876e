//! The ways to a server, see `adapters/common/testing`.

#[path = "../../common/testing/mod.rs"]
mod testing;

use std::time::Duration;

use sansocket::ClientOptions;
use sansocket_async_std::client::{ClientConfig, End};
use sansocket_async_std::{AsyncStd, CloseCode, ConnectError, Connector, Dial, Message, Smol, Tls};

#[test]
fn on_smol_every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    testing::check_all(&|options, tls, message| smol::block_on(connect::<Smol>(options, tls, message)));
}

#[test]
fn on_async_std_every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    testing::check_all(&|options, tls, message| async_std::task::block_on(connect::<AsyncStd>(options, tls, message)));
}

#[test]
fn on_smol_so_does_every_way_for_a_client_that_outlives_its_connections() {
    testing::check_client(&|options, config, tls, message| {
        smol::block_on(outlive::<Smol>(options, config, tls, message))
    });
}

#[test]
fn on_async_std_so_does_every_way_for_a_client_that_outlives_its_connections() {
    testing::check_client(&|options, config, tls, message| {
        async_std::task::block_on(outlive::<AsyncStd>(options, config, tls, message))
    });
}

async fn connect<R: Dial>(options: ClientOptions, tls: Tls, message: Message) -> Result<Message, ConnectError> {
    let mut socket = Connector::<R>::from(options).tls(tls).connect().await?;
    socket.send(message).await.unwrap();
    let received = socket.recv().await.unwrap().unwrap();
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    Ok(received)
}

async fn outlive<R: Dial>(
    options: ClientOptions,
    config: ClientConfig,
    tls: Tls,
    message: Message,
) -> Result<Message, End> {
    let (client, mut inbox) = Connector::<R>::from(options).tls(tls).client(config).unwrap();
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
