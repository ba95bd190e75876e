#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod accept;
mod connect;
mod error;
mod locked;
mod sender;
mod shared;
mod transport;
mod websocket;

use std::io;

pub use accept::{Acceptor, accept};
pub use connect::{Connector, connect};
pub use error::{AcceptError, ConnectError, Error};
pub use locked::Locked;
pub use sender::Sender;
pub use transport::Transport;
pub use websocket::{Messages, Parts, WebSocket};

pub use sansocket;
pub use sansocket::{
    Acceptance, ByteString, Bytes, ClientRequest, CloseCause, CloseCode, Closed, Config, Connection, Message,
    MessageKind, ReadyState, RecvBuf, Refusal, Rejection, SendError, Side,
};

/// What a connection draws its masking keys from.
fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}
