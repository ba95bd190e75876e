//! TLS as the command line wants it.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sansocket_std::Tls;
use sansocket_std::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use sansocket_std::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use sansocket_std::rustls::pki_types::pem::{self, PemObject as _};
use sansocket_std::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sansocket_std::rustls::{
    ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::Failure;
use crate::terminal::note;

/// Whom a client trusts.
#[derive(Debug, Args)]
pub(crate) struct ClientTlsArgs {
    /// Trusts the certificate authorities in this file (PEM), and no
    /// others; unless given, those of the system
    #[arg(verbatim_doc_comment, long, value_name = "FILE")]
    cafile: Option<PathBuf>,

    /// Trusts whoever answers: anybody on the way can read and change
    /// everything. For trying things out
    #[arg(verbatim_doc_comment, long, conflicts_with = "cafile")]
    insecure: bool,
}

/// With what a server speaks TLS.
#[derive(Debug, Args)]
pub(crate) struct ServerTlsArgs {
    /// Speaks TLS with this chain of certificates (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the first of them (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Speaks TLS with a certificate made on the spot, for trying things
    /// out; with a FILE, it is written there for `connect --cafile`
    #[arg(
        verbatim_doc_comment,
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with = "tls_cert"
    )]
    tls_self_signed: Option<Option<PathBuf>>,
}

impl ClientTlsArgs {
    /// What the connector is to be given.
    pub(crate) fn tls(&self) -> Result<Tls, Failure> {
        let verifier_or_roots = match &self.cafile {
            None if !self.insecure => return Ok(Tls::default()),
            None => None,
            Some(file) => Some(roots(file)?),
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Failure::message)?;
        let mut config = match verifier_or_roots {
            Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
            None => {
                note(
                    "WARNING: --insecure: the server's certificate is NOT checked. Anybody on the way can read and change everything.",
                );
                let anybody = Arc::new(Anybody(provider));
                builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls::from(config))
    }
}

impl ServerTlsArgs {
    /// What clients are spoken to with; `None` for no TLS.
    pub(crate) fn config(&self, listens_at: IpAddr) -> Result<Option<Arc<ServerConfig>>, Failure> {
        let (chain, key) = match (&self.tls_cert, &self.tls_key, &self.tls_self_signed) {
            (Some(chain), Some(key), _) => (certificates(chain)?, private_key(key)?),
            (_, _, Some(file)) => self_signed(listens_at, file.as_deref())?,
            _ => return Ok(None),
        };
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        let mut config = config.map_err(|error| Failure::Message(cannot_speak_tls(&error)))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Arc::new(config)))
    }
}

fn roots(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(file, error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| unusable(file, error))?.collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(unusable(file, "no certificate in it; it has to be PEM")),
        certificates => certificates.map_err(|error| unusable(file, error)),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(file, "no private key in it; it has to be PEM"),
        error => unusable(file, error),
    })
}

fn cannot_speak_tls(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the key of --tls-key is not that of the first certificate of --tls-cert, where the server's own has to be"
                .to_owned()
        }
        error => format!("cannot speak TLS with that: {error}"),
    }
}

fn unusable(file: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("cannot use {}: {why}", file.display()))
}

/// A certificate for this machine, and its key.
fn self_signed(
    listens_at: IpAddr,
    file: Option<&Path>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listens_at.is_unspecified() && !names.contains(&listens_at.to_string()) {
        names.push(listens_at.to_string());
    }
    let mut told = format!("a self-signed certificate for {}; clients: ", names.join(", "));
    let made = rcgen::generate_simple_self_signed(names).map_err(Failure::message)?;
    if let Some(file) = file {
        fs::write(file, made.cert.pem()).map_err(|error| unusable(file, error))?;
        let _ = write!(told, "`connect --cafile {}`, or ", file.display());
    }
    note(format_args!("{told}`connect --insecure`"));
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    Ok((vec![made.cert.der().clone()], key))
}

/// Trusts anybody, but checks that he has the key of the certificate that he shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
