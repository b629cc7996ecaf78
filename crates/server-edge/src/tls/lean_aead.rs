//! A cryptography provider whose TLS 1.3 connections keep only key and nonce base while they wait.
//!
//! A record cipher of aws-lc-rs holds an expanded key schedule for each direction, about 1 KB
//! together, for a connection that may not send a record in the next minute. Here the cipher is
//! built again for each record, about 100 ns, from the 44 bytes that determine it.
//!
//! Owns: the wrapping of cipher suites. All arithmetic stays the provider's own.
//! Limits: rustls lets others build keys of 32 bytes only, so AES-128-GCM stays as it is; a server
//! prefers the other suites (see [`super::server_config`]).

use rustls::{
    ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls13CipherSuite,
    crypto::{
        CipherSuiteCommon, CryptoProvider,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
            NONCE_LEN, OutboundOpaqueMessage, OutboundPlainMessage, Tls13AeadAlgorithm,
            UnsupportedOperationError,
        },
    },
};
use std::sync::LazyLock;
use zeroize::Zeroize;

/// The only key length that can be rebuilt from outside rustls.
const KEY_LEN: usize = 32;
/// What TLS 1.3 adds to a payload: the content type and a tag of 16 bytes (RFC 8446, section 5.2).
const PAYLOAD_OVERHEAD: usize = 1 + 16;

/// The aws-lc-rs provider with lean TLS 1.3 suites, those with 32-byte keys first.
pub fn lean_provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: SUITES.clone(), ..rustls::crypto::aws_lc_rs::default_provider() }
}

/// rustls wants suites that live as long as the process, so they are made once.
static SUITES: LazyLock<Vec<SupportedCipherSuite>> = LazyLock::new(|| {
    let mut suites: Vec<_> = rustls::crypto::aws_lc_rs::default_provider()
        .cipher_suites
        .into_iter()
        .filter_map(|suite| suite.tls13())
        .collect();
    suites.sort_by_key(|suite| suite.aead_alg.key_len() != KEY_LEN);
    suites.into_iter().map(lean).collect()
});

fn lean(suite: &'static Tls13CipherSuite) -> SupportedCipherSuite {
    if suite.aead_alg.key_len() != KEY_LEN {
        return SupportedCipherSuite::Tls13(suite);
    }
    let algorithm: Algorithm = Box::leak(Box::new(suite.aead_alg));
    let aead: &'static LeanAead = Box::leak(Box::new(LeanAead(algorithm)));
    SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: suite.common.suite,
            hash_provider: suite.common.hash_provider,
            confidentiality_limit: suite.common.confidentiality_limit,
        },
        hkdf_provider: suite.hkdf_provider,
        aead_alg: aead,
        quic: None,
    })))
}

/// The provider's own algorithm, behind a pointer of one word: there are two for each connection.
type Algorithm = &'static &'static dyn Tls13AeadAlgorithm;

/// Makes ciphers that remember their key instead of its schedule.
struct LeanAead(Algorithm);

impl Tls13AeadAlgorithm for LeanAead {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        match LeanCipher::new(self.0, &key, &iv) {
            Some(cipher) => Box::new(cipher),
            None => self.0.encrypter(key, iv),
        }
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        match LeanCipher::new(self.0, &key, &iv) {
            Some(cipher) => Box::new(cipher),
            None => self.0.decrypter(key, iv),
        }
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// One direction of one connection between two records.
struct LeanCipher {
    algorithm: Algorithm,
    key: [u8; KEY_LEN],
    iv: [u8; NONCE_LEN],
}

impl LeanCipher {
    fn new(algorithm: Algorithm, key: &AeadKey, iv: &Iv) -> Option<Self> {
        Some(Self { algorithm, key: key.as_ref().try_into().ok()?, iv: iv.as_ref().try_into().ok()? })
    }
}

impl Drop for LeanCipher {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl MessageEncrypter for LeanCipher {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        self.algorithm.encrypter(self.key.into(), self.iv.into()).encrypt(message, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + PAYLOAD_OVERHEAD
    }
}

impl MessageDecrypter for LeanCipher {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        self.algorithm.decrypter(self.key.into(), self.iv.into()).decrypt(message, seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lean_suites_come_first_and_claim_the_length_the_provider_produces() {
        let suites: Vec<_> = SUITES.iter().filter_map(|suite| suite.tls13()).collect();
        let key_lens: Vec<_> = suites.iter().map(|suite| suite.aead_alg.key_len()).collect();
        assert_eq!(key_lens, [32, 32, 16]);
        for suite in suites.into_iter().filter(|suite| suite.aead_alg.key_len() == KEY_LEN) {
            let lean = suite.aead_alg.encrypter([7; KEY_LEN].into(), [9; NONCE_LEN].into());
            let own = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
            let own =
                own.iter().filter_map(|own| own.tls13()).find(|own| own.common.suite == suite.common.suite);
            let own = own
                .expect("the provider's suite")
                .aead_alg
                .encrypter([7; KEY_LEN].into(), [9; NONCE_LEN].into());
            assert_eq!(lean.encrypted_payload_len(100), own.encrypted_payload_len(100));
        }
    }
}
