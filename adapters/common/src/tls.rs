//! How a client speaks TLS, and why it does not.

use std::fmt;
use std::io;
#[cfg(feature = "rustls")]
use std::sync::{Arc, OnceLock};

#[cfg(feature = "rustls")]
use rustls::ClientConfig;
#[cfg(feature = "rustls")]
use rustls::pki_types::ServerName;

/// How a client speaks TLS: with a `rustls::ClientConfig` of the caller's ([`From`]), which is used as it is, or with the default.
///
/// The default has to be made of two choices, each a feature: the cryptography (`ring` or `aws-lc-rs`; with both, aws-lc-rs) and whom to trust
/// (`platform-verifier`, what the operating system trusts, or `webpki-roots`, Mozilla's list; with both, the operating system).
/// It offers `http/1.1` by ALPN, and it has nothing to do with the default provider of the process, which is never looked at.
/// It is made once for a connector and all its clones, when it is first needed.
#[derive(Clone, Default)]
pub struct Tls {
    #[cfg(feature = "rustls")]
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// TLS is not built in.
    #[error(
        "TLS is not built in: turn on the features `ring` (or `aws-lc-rs`) and `webpki-roots` (or `platform-verifier`) of the adapter, or give \
         Connector::handshake() a TLS stream of your own"
    )]
    NotBuilt,
    /// No cryptography is built in for the default configuration.
    #[error(
        "no cryptography for TLS is built in: turn on the feature `ring` or `aws-lc-rs`, or give Connector::tls() a ClientConfig"
    )]
    ProviderMissing,
    /// The default configuration would trust nobody.
    #[error(
        "no roots of trust for TLS are built in: turn on the feature `platform-verifier` or `webpki-roots`, or give Connector::tls() a ClientConfig"
    )]
    RootsMissing,
    /// The default configuration could not be made: the system's certificates cannot be read, above all.
    #[error("cannot set up TLS: {0}")]
    Setup(Box<dyn std::error::Error + Send + Sync>),
    /// The host is neither a DNS name nor an address, so no certificate can be for it.
    #[error("no certificate can be for {host:?}, which is neither a DNS name nor an address")]
    Name {
        /// The host of the URL.
        host: String,
    },
    /// TLS was not agreed on, or the server's certificate is not acceptable: an [`io::Error`] around a `rustls::Error`, unless the stream failed.
    #[error("TLS failed: {0}")]
    Handshake(io::Error),
    /// The server chose another protocol than HTTP/1.1 by ALPN, which a `ClientConfig` of the caller's must have offered.
    #[error("the server chose {protocol:?} by ALPN, not http/1.1")]
    Alpn {
        /// The protocol.
        protocol: String,
    },
}

impl TlsError {
    /// For a server that has said something before TLS, in which the client begins.
    pub fn spoke_first() -> Self {
        Self::Handshake(io::Error::new(io::ErrorKind::InvalidData, "the server spoke before the client did"))
    }
}

#[cfg(feature = "rustls")]
impl Tls {
    /// The configuration.
    ///
    /// # Errors
    /// [`TlsError::ProviderMissing`], [`TlsError::RootsMissing`] or [`TlsError::Setup`] when there is no default.
    pub fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(default_config()?);
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    /// The name that the server's certificate has to be for.
    ///
    /// # Errors
    /// [`TlsError::Name`].
    pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
        ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name { host: host.to_owned() })
    }

    /// Whether a server that chose this protocol by ALPN, if any, speaks HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError::Alpn`].
    pub fn check_alpn(protocol: Option<&[u8]>) -> Result<(), TlsError> {
        match protocol {
            None | Some(HTTP_1_1) => Ok(()),
            Some(protocol) => Err(TlsError::Alpn { protocol: String::from_utf8_lossy(protocol).into_owned() }),
        }
    }
}

#[cfg(feature = "rustls")]
impl From<Arc<ClientConfig>> for Tls {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self { config: Arc::new(OnceLock::from(config)) }
    }
}

#[cfg(feature = "rustls")]
impl From<ClientConfig> for Tls {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(feature = "rustls")]
fn default_config() -> Result<ClientConfig, TlsError> {
    let provider = provider().ok_or(TlsError::ProviderMissing)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.into()))?;
    let mut config = roots::trusting(builder)?;
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(config)
}

#[cfg(feature = "rustls")]
fn provider() -> Option<rustls::crypto::CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Some(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Some(rustls::crypto::ring::default_provider());
    #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
    None
}

#[cfg(feature = "platform-verifier")]
mod roots {
    use super::{ClientConfig, TlsError};
    use rustls::{ConfigBuilder, WantsVerifier};
    use rustls_platform_verifier::BuilderVerifierExt as _;

    pub(super) fn trusting(builder: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<ClientConfig, TlsError> {
        let builder = builder.with_platform_verifier().map_err(|error| TlsError::Setup(error.into()))?;
        Ok(builder.with_no_client_auth())
    }
}

#[cfg(all(feature = "webpki-roots", not(feature = "platform-verifier")))]
mod roots {
    use super::{ClientConfig, TlsError};
    use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};

    pub(super) fn trusting(builder: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<ClientConfig, TlsError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

#[cfg(all(feature = "rustls", not(any(feature = "webpki-roots", feature = "platform-verifier"))))]
mod roots {
    use super::{ClientConfig, TlsError};
    use rustls::{ConfigBuilder, WantsVerifier};

    pub(super) fn trusting(_: ConfigBuilder<ClientConfig, WantsVerifier>) -> Result<ClientConfig, TlsError> {
        Err(TlsError::RootsMissing)
    }
}

#[cfg(all(test, feature = "rustls"))]
mod tests {
    use super::*;

    /// Holds in whichever build it runs: `.ci/run` makes all three.
    #[test]
    fn what_is_missing_from_the_default_is_said() {
        let provider = cfg!(any(feature = "ring", feature = "aws-lc-rs"));
        let roots = cfg!(any(feature = "webpki-roots", feature = "platform-verifier"));
        match Tls::default().config() {
            Err(TlsError::ProviderMissing) => assert!(!provider),
            Err(TlsError::RootsMissing) => assert!(provider && !roots),
            Ok(config) => {
                assert!(provider && roots);
                assert_eq!(config.alpn_protocols, [b"http/1.1"]);
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn names_and_addresses_can_have_certificates() {
        for host in ["localhost", "example.com", "127.0.0.1", "::1"] {
            assert!(Tls::server_name(host).is_ok(), "{host}");
        }
        assert!(matches!(Tls::server_name("no_such name"), Err(TlsError::Name { host }) if host == "no_such name"));
    }
}

#[cfg(feature = "rustls")]
const HTTP_1_1: &[u8] = b"http/1.1";
