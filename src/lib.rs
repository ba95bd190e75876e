//! WebSocket (RFC 6455) as a pure, runtime-free state machine.

pub mod buffer;
pub mod connection;
#[cfg(test)]
mod corpus;
pub mod frame;
pub mod handshake;
mod message;

pub use buffer::RecvBuf;
pub use connection::{
    Accepts, CloseCause, Closed, Config, Connection, Deadline, Event, FragmentPosition, ProtocolError, ReadyState,
    Role, SendError, Side, StreamOrder,
};
pub use frame::CloseCode;
pub use handshake::{Acceptance, ClientRequest, OriginPolicy, Refusal, Rejection};
pub use message::{Message, MessageKind};

pub use bytes::Bytes;
pub use bytestring::ByteString;
