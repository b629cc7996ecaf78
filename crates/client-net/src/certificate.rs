//! Which server certificates are trusted: those of the system's authorities, or exactly one.
//!
//! Invariant: a pin replaces the chain and name checks and nothing else. The handshake signature is
//! verified in both modes, so that a copied certificate without its key opens nothing.

use crate::ServerUrl;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr, sync::Arc};
use types::Invalid;

/// The SHA-256 of the one certificate (DER) that a server must present.
///
/// Text form: 64 lower-case hexadecimal digits; colons between bytes and upper case are read too,
/// as other tools print them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificatePin([u8; 32]);

impl CertificatePin {
    /// A pin that was read elsewhere.
    pub const fn from_bytes(pin: [u8; 32]) -> Self {
        Self(pin)
    }

    /// The thirty-two bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The pin of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificatePin({self})")
    }
}

impl FromStr for CertificatePin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text.replace(':', ""), &mut pin)
            .map_err(|_| Invalid { what: "SHA-256 fingerprint of a certificate (64 hexadecimal digits)" })?;
        Ok(Self(pin))
    }
}

/// The server presented another certificate than the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate has the fingerprint {seen}, not the pinned {pinned}")]
pub struct PinMismatch {
    /// What is trusted.
    pub pinned: CertificatePin,
    /// What was presented.
    pub seen: CertificatePin,
}

/// The TLS settings for a server; none for plain HTTP.
pub(crate) fn client_config(
    url: &ServerUrl,
    pin: Option<CertificatePin>,
) -> Result<Option<Arc<ClientConfig>>, Error> {
    if !url.is_tls() {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match pin {
        None => builder.with_root_certificates(system_roots()).with_no_client_auth(),
        Some(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedCertificate { pin, provider }))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// The system's authorities. One that cannot be read is left out: a connection that needs it then
/// fails with an unknown issuer, which is the error that a person can act on.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Trusts exactly one certificate, whoever signed it and whatever name it carries.
#[derive(Debug)]
struct PinnedCertificate {
    pin: CertificatePin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = CertificatePin::of(end_entity);
        if seen == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = PinMismatch { pinned: self.pin, seen };
        Err(Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(mismatch)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
