//! The TLS configuration of a listener: TLS 1.3, stateless tickets, lean ciphers.

use super::lean_provider;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};
use std::sync::Arc;

/// Tickets of one handshake: clients open two connections at once at most, and a ticket is used once.
const TICKETS: usize = 2;

/// Why no listener can be made from these certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The PEM text holds no certificate, or something that is not one.
    #[error("no usable certificate: {0}")]
    Certificate(rustls::pki_types::pem::Error),
    /// The PEM text holds no private key, or something that is not one.
    #[error("no usable private key: {0}")]
    Key(rustls::pki_types::pem::Error),
    /// Certificate and key do not fit together, or are of a kind that TLS 1.3 does not use.
    #[error("certificate and key cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

/// Reads certificates and key from PEM text; see [`server_config`].
pub fn server_config_from_pem(certificates: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(TlsConfigError::Certificate)?;
    if certificates.is_empty() {
        return Err(TlsConfigError::Certificate(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsConfigError::Key)?;
    server_config(certificates, key)
}

/// A server configuration with this certificate chain.
///
/// TLS 1.3 only: every client of this protocol speaks it, and its ciphers are the lean ones. The
/// suites with lean ciphers are preferred to the client's order. Sessions resume by stateless
/// tickets: a session cache is bounded, and a restart or another node could not use it.
pub fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsConfigError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(lean_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = TICKETS;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
