//! What the adapters of [`sansocket`] have in common: the errors, TLS ([`Tls`]), randomness, and what the handles of a client share
//! ([`hub`]).
//!
//! Applications use an adapter, which names these types.

pub mod client;
mod connector;
mod error;
pub mod hub;
mod reexports;
mod tls;

use std::io;

use sansocket::proxy::ProxyRules;

pub use error::{AcceptError, ConnectError, Error, follow};
pub use sansocket;
pub use tls::{Tls, TlsError};

/// 32 bytes of the operating system's randomness, for a connection to draw its masking keys from.
///
/// # Errors
/// When the system has none to give.
pub fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// The rules that the environment variables of this process give, see [`ProxyRules::from_variables`]. A variable that is not UTF-8
/// counts as none.
pub fn proxy_rules_from_env() -> ProxyRules {
    ProxyRules::from_variables(|name| std::env::var(name).ok())
}
