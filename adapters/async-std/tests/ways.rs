//! The ways to a server, see `adapters/common/testing`.

#[path = "../../common/testing/mod.rs"]
mod testing;

use sansocket::ClientOptions;
use sansocket_async_std::{AsyncStd, CloseCode, ConnectError, Connector, Dial, Message, Smol, Tls};

#[test]
fn on_smol_every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    testing::check_all(&|options, tls, message| smol::block_on(connect::<Smol>(options, tls, message)));
}

#[test]
fn on_async_std_every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    testing::check_all(&|options, tls, message| async_std::task::block_on(connect::<AsyncStd>(options, tls, message)));
}

async fn connect<R: Dial>(options: ClientOptions, tls: Tls, message: Message) -> Result<Message, ConnectError> {
    let mut socket = Connector::<R>::from(options).tls(tls).connect().await?;
    socket.send(message).await.unwrap();
    let received = socket.recv().await.unwrap().unwrap();
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    Ok(received)
}
