//! Drives the Autobahn test suite's server through all its cases: `tokio_autobahn_client [--cafile FILE] URL AGENT`.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use sansocket_tokio::deflate::DeflateConfig;
use sansocket_tokio::rustls::crypto::ring;
use sansocket_tokio::rustls::pki_types::CertificateDer;
use sansocket_tokio::rustls::pki_types::pem::PemObject as _;
use sansocket_tokio::rustls::{ClientConfig, RootCertStore};
use sansocket_tokio::{ClientWebSocket, Config, Connector, Message, Tls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (tls, url, agent) = match &arguments[..] {
        [url, agent] => (Tls::default(), url, agent),
        [option, file, url, agent] if option == "--cafile" => (trusting(file.as_ref())?, url, agent),
        _ => return Err("usage: tokio_autobahn_client [--cafile FILE] URL AGENT".into()),
    };
    let url = url.trim_end_matches('/');
    let count = connect(&format!("{url}/getCaseCount"), &tls).await?.recv().await?;
    let count: u32 = count.as_ref().and_then(Message::as_text).ok_or("no case count")?.parse()?;
    for case in 1..=count {
        // How a case ends is for the suite to judge.
        if let Ok(mut socket) = connect(&format!("{url}/runCase?case={case}&agent={agent}"), &tls).await {
            while let Ok(Some(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        }
    }
    let _ = connect(&format!("{url}/updateReports?agent={agent}"), &tls).await?.recv().await;
    Ok(())
}

async fn connect(url: &str, tls: &Tls) -> Result<ClientWebSocket, Box<dyn Error>> {
    let mut config = Config::default();
    config.deflate = Some(DeflateConfig::default());
    Ok(Connector::new(url)?.config(config).tls(tls.clone()).connect().await?)
}

/// TLS with whoever has a certificate from this file, and nobody else.
fn trusting(file: &Path) -> Result<Tls, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth().into())
}
