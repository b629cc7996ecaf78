//! Trust: the pin is the certificate's, and the certificate is the server's.

use crate::listen;
use client_net::{CertificatePin, Dialer, Socket, Unreachable};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign,
};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::ServerBuilder;

/// Presents one certificate and signs with one key, whether or not they belong together.
#[derive(Debug)]
struct Presents(Arc<sign::CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn self_signed() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
    (cert.der().clone(), PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()))
}

/// Opens a socket to a server that presents `certificate` and signs with `key`.
async fn open(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pin: Option<CertificatePin>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Result<(), Unreachable> {
    let (listener, url) = listen("https").await;
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Presents(Arc::new(sign::CertifiedKey::new(vec![certificate], key)))));
    let serving = tokio::spawn(serve(listener, config));
    let opened = Socket::open(&Dialer::new(url, pin).unwrap()).await;
    let opened = match opened {
        Ok(socket) => {
            socket.close().await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    serving.abort();
    opened
}

async fn serve(listener: TcpListener, config: ServerConfig) {
    let (stream, _) = listener.accept().await.unwrap();
    let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
    let _ = ServerBuilder::new().accept(stream).await;
}

#[tokio::test]
async fn the_pinned_certificate_is_trusted_whatever_its_name() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (certificate, key) = self_signed();
        let pin = CertificatePin::of(&certificate);
        open(certificate, key, Some(pin), version).await.unwrap();
    }
}

#[tokio::test]
async fn another_certificate_is_refused_and_named() {
    let (certificate, key) = self_signed();
    let pin = CertificatePin::of(&self_signed().0);
    let seen = CertificatePin::of(&certificate);
    match open(certificate, key, Some(pin), &rustls::version::TLS13).await.unwrap_err() {
        Unreachable::Pin(mismatch) => assert_eq!((mismatch.pinned, mismatch.seen), (pin, seen)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (certificate, _) = self_signed();
        let (_, another_key) = self_signed();
        let pin = CertificatePin::of(&certificate);
        let refused = open(certificate, another_key, Some(pin), version).await.unwrap_err();
        assert!(matches!(refused, Unreachable::Tls(_)), "{refused}");
    }
}

#[tokio::test]
async fn without_a_pin_a_self_signed_certificate_is_refused() {
    let (certificate, key) = self_signed();
    let refused = open(certificate, key, None, &rustls::version::TLS13).await.unwrap_err();
    assert!(matches!(refused, Unreachable::Tls(_)), "{refused}");
}
