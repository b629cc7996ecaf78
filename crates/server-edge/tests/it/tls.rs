//! TLS without sockets: every suite, key updates, tickets, alerts, half messages.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _,
    aead::{Aead as _, Payload},
};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ServerConfig,
    crypto::aws_lc_rs::{cipher_suite, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use server_edge::tls::{Security, Tls, TlsError, server_config, server_config_from_pem};
use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

/// A client and a server that exchange bytes in memory.
struct Pair {
    client: ClientConnection,
    server: Box<dyn Tls>,
    /// What the server left unconsumed.
    pending: Vec<u8>,
    plain: Vec<u8>,
    peer_closed: bool,
}

fn configs(suites: Option<Vec<rustls::SupportedCipherSuite>>) -> (Arc<ServerConfig>, ClientConfig) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = CertificateDer::from(issued.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut provider = default_provider();
    if let Some(suites) = suites {
        provider.cipher_suites = suites;
    }
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (server_config(vec![certificate], key).unwrap(), client)
}

impl Pair {
    fn new(server: Arc<ServerConfig>, client: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            server: Security::Tls(server).accept().unwrap(),
            pending: Vec::new(),
            plain: Vec::new(),
            peer_closed: false,
        }
    }

    fn connected(suites: Option<Vec<rustls::SupportedCipherSuite>>) -> Self {
        let (server, client) = configs(suites);
        let mut pair = Self::new(server, client);
        pair.exchange();
        assert!(pair.server.established() && !pair.client.is_handshaking());
        pair
    }

    /// Carries bytes until both sides are silent, one at a time towards the server.
    fn exchange(&mut self) {
        loop {
            let mut sent = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut sent).unwrap();
            }
            let mut out = Vec::new();
            for byte in &sent {
                self.feed(&[*byte], &mut out).unwrap();
            }
            if sent.is_empty() && out.is_empty() {
                return;
            }
            self.deliver(&out);
        }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.pending.extend_from_slice(bytes);
        let opened = self.server.open(&mut self.pending, &mut self.plain, out)?;
        self.pending.drain(..opened.consumed);
        self.peer_closed |= opened.peer_closed;
        Ok(())
    }

    fn deliver(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }

    fn server_says(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        self.server.seal(text, &mut self.pending, &mut out).unwrap();
        let mut received = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets().unwrap();
            let mut buffer = [0; 70_000];
            while let Ok(count @ 1..) = self.client.reader().read(&mut buffer) {
                received.extend_from_slice(&buffer[..count]);
            }
        }
        assert!(received == text);
    }

    fn client_says(&mut self, text: &[u8]) {
        self.client.writer().write_all(text).unwrap();
        self.exchange();
        assert!(std::mem::take(&mut self.plain) == text);
    }
}

#[test]
fn every_suite_carries_records_of_every_size_both_ways() {
    for suite in [
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
    ] {
        let mut pair = Pair::connected(Some(vec![suite]));
        for length in [1, 100, 16_384, 16_385, 60_000] {
            pair.client_says(&vec![5; length]);
            pair.server_says(&vec![6; length]);
        }
        pair.server_says(&vec![7; 1_000_000]);
    }
}

#[test]
fn suites_with_lean_ciphers_are_preferred_to_the_clients_order() {
    use cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384};
    let pair = Pair::connected(Some(vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]));
    let negotiated = pair.client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(negotiated, CipherSuite::TLS13_AES_256_GCM_SHA384);
}

#[test]
fn keys_can_be_updated_under_way() {
    let mut pair = Pair::connected(None);
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client_says(b"under new keys");
        pair.server_says(b"and an answer");
    }
}

#[test]
fn a_session_resumes_twice_from_one_handshake() {
    let (server, client) = configs(None);
    let kind = || {
        let mut pair = Pair::new(server.clone(), client.clone());
        pair.exchange();
        pair.client.handshake_kind().unwrap()
    };
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!([kind(), kind(), kind()], [Full, Resumed, Resumed]);
}

#[test]
fn a_farewell_is_answered() {
    let mut pair = Pair::connected(None);
    pair.client.send_close_notify();
    let mut sent = Vec::new();
    pair.client.write_tls(&mut sent).unwrap();
    let mut out = Vec::new();
    pair.feed(&sent, &mut out).unwrap();
    assert!(pair.peer_closed);
    pair.server.close(&mut pair.pending, &mut out);
    let mut rest = &out[..];
    pair.client.read_tls(&mut rest).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn what_is_not_tls_gets_an_alert_and_an_error() {
    let (server, client) = configs(None);
    let mut pair = Pair::new(server, client);
    let mut out = Vec::new();
    assert!(pair.feed(b"GET / HTTP/1.1\r\n\r\n", &mut out).is_err());
    assert_eq!(out.first(), Some(&21));
}

#[test]
fn a_damaged_record_ends_the_connection() {
    let mut pair = Pair::connected(None);
    pair.client.writer().write_all(b"hello").unwrap();
    let mut sent = Vec::new();
    pair.client.write_tls(&mut sent).unwrap();
    *sent.last_mut().unwrap() ^= 1;
    let mut out = Vec::new();
    assert!(pair.feed(&sent, &mut out).is_err());
    assert_eq!(pair.plain, b"");
    assert!(pair.server.seal(b"late", &mut pair.pending, &mut out).is_err());
}

/// Seals `content` as a record of the client, in place of the client.
fn record(secrets: &ConnectionTrafficSecrets, seq: u64, content: &[u8], content_type: u8) -> Vec<u8> {
    let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else { panic!() };
    let mut nonce = [0; 12];
    nonce.copy_from_slice(iv.as_ref());
    nonce[4..].iter_mut().zip(seq.to_be_bytes()).for_each(|(byte, seq)| *byte ^= seq);
    let inner = [content, &[content_type]].concat();
    let length = (inner.len() as u16 + 16).to_be_bytes();
    let header = [0x17, 3, 3, length[0], length[1]];
    let cipher = ChaCha20Poly1305::new_from_slice(key.as_ref()).unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: &inner, aad: &header }).unwrap();
    [&header[..], &sealed].concat()
}

/// rustls remembers the beginning of a handshake message by its place in our buffer. Sealing must
/// not take that buffer away: with an empty one it would index out of bounds.
#[test]
fn sealing_survives_half_a_handshake_message() {
    const HANDSHAKE: u8 = 22;
    let mut pair = Pair::connected(Some(vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]));
    let name = ServerName::try_from("localhost").unwrap();
    let (_, spare) = configs(None);
    let client = std::mem::replace(&mut pair.client, ClientConnection::new(Arc::new(spare), name).unwrap());
    let (seq, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let mut out = Vec::new();
    // The first half of KeyUpdate: type 24, then a part of its length.
    pair.feed(&record(&secrets, seq, &[24, 0], HANDSHAKE), &mut out).unwrap();
    assert!(!pair.pending.is_empty());
    let before = out.len();
    pair.server.seal(b"an answer", &mut pair.pending, &mut out).unwrap();
    assert!(out.len() > before);
    // The second half completes it, and the new keys are used from here on.
    pair.feed(&record(&secrets, seq + 1, &[0, 1, 0], HANDSHAKE), &mut out).unwrap();
    pair.server.seal(b"another", &mut pair.pending, &mut out).unwrap();
    // Half a message and then something else is a breach, and no panic either.
    let mut pair = Pair::connected(Some(vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]));
    let name = ServerName::try_from("localhost").unwrap();
    let (_, spare) = configs(None);
    let client = std::mem::replace(&mut pair.client, ClientConnection::new(Arc::new(spare), name).unwrap());
    let (seq, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    pair.feed(&record(&secrets, seq, &[24, 0], HANDSHAKE), &mut out).unwrap();
    assert!(pair.feed(&record(&secrets, seq + 1, b"data", 23), &mut out).is_err());
    pair.server.close(&mut pair.pending, &mut out);
}

#[test]
fn pem_is_read_and_nonsense_is_named() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, key) = (issued.cert.pem(), issued.signing_key.serialize_pem());
    assert!(server_config_from_pem(certificate.as_bytes(), key.as_bytes()).is_ok());
    let name = |certificate: &str, key: &str| {
        server_config_from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string()
    };
    assert!(name("", &key).starts_with("no usable certificate"));
    assert!(name(&certificate, "nonsense").starts_with("no usable private key"));
    let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    assert!(name(&certificate, &other.signing_key.serialize_pem()).starts_with("certificate and key"));
}
