//! What every adapter offers of the crates below it.

/// The names that are the same in every adapter, for the root of one. It has to say `pub use sansocket;` itself.
#[macro_export]
macro_rules! reexports {
    () => {
        #[cfg(feature = "deflate")]
        pub use $crate::sansocket::deflate;
        #[cfg(feature = "json")]
        pub use $crate::sansocket::json;
        pub use $crate::sansocket::{
            Acceptance, Accepts, ByteString, Bytes, ClientRequest, CloseCause, CloseCode, Closed, Config, Connection,
            Message, MessageKind, OriginPolicy, ReadyState, RecvBuf, Refusal, Rejection, Role, SendError, Side,
            handshake::{self, OwnedRequestHead},
            proxy,
        };
        pub use $crate::{AcceptError, ConnectError, Error, Tls, TlsError, proxy_rules_from_env};
    };
}
