//! The ways to a server, see `adapters/common/testing`.

#[path = "../../common/testing/mod.rs"]
mod testing;

use sansocket::ClientOptions;
use sansocket_tokio::{CloseCode, ConnectError, Connector, Message, Tls};

#[test]
fn every_way_leads_to_the_server_or_to_an_error_that_tells_why() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    testing::check_all(&move |options, tls, message| runtime.block_on(connect(options, tls, message)));
}

async fn connect(options: ClientOptions, tls: Tls, message: Message) -> Result<Message, ConnectError> {
    let mut socket = Connector::from(options).tls(tls).connect().await?;
    socket.send(message).await.unwrap();
    let received = socket.recv().await.unwrap().unwrap();
    assert!(socket.close(CloseCode::NORMAL, "").await.unwrap().clean);
    Ok(received)
}
