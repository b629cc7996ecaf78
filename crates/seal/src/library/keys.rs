//! Key pairs, prekey records and signatures.

use crate::{IdentityKeyPair, KemPrekey, NewPrekey, OneTimePrekey, SignedPrekey};
use libsignal_protocol_syft::{
    GenericSignedPreKey, KeyPair, KyberPreKeyRecord, PreKeyRecord, PrivateKey, PublicKey, SignedPreKeyRecord,
    Timestamp, kem,
};
use rand_core::CryptoRng;
use signed::IdentityKey;
use zeroize::Zeroizing;

const OWN_KEY: &str = "a key that was just made or checked is well-formed";

pub(crate) fn generate_identity(mut rng: &mut dyn CryptoRng) -> IdentityKeyPair {
    let pair = KeyPair::generate(&mut rng);
    let public = IdentityKey::from_slice(&public_bytes(&pair.public_key)).expect(OWN_KEY);
    IdentityKeyPair::from_parts(public, private_bytes(&pair.private_key))
}

pub(crate) fn generate_one_time(id: u32, mut rng: &mut dyn CryptoRng) -> NewPrekey<OneTimePrekey> {
    let pair = KeyPair::generate(&mut rng);
    let record = PreKeyRecord::new(id.into(), &pair).serialize().expect(OWN_KEY);
    NewPrekey {
        public: OneTimePrekey { id, public_key: public_bytes(&pair.public_key) },
        record: Zeroizing::new(record),
    }
}

pub(crate) fn generate_signed(
    identity: &IdentityKeyPair,
    id: u32,
    now: types::Timestamp,
    mut rng: &mut dyn CryptoRng,
) -> NewPrekey<SignedPrekey> {
    let pair = KeyPair::generate(&mut rng);
    let public_key = public_bytes(&pair.public_key);
    let signature = sign(identity, &public_key, rng);
    let record = SignedPreKeyRecord::new(id.into(), timestamp(now), &pair, &signature);
    NewPrekey {
        public: SignedPrekey { id, public_key, signature },
        record: Zeroizing::new(record.serialize().expect(OWN_KEY)),
    }
}

/// `KyberPreKeyRecord::generate` would read a clock, so the record is put together here.
pub(crate) fn generate_kem(
    identity: &IdentityKeyPair,
    id: u32,
    last_resort: bool,
    now: types::Timestamp,
    mut rng: &mut dyn CryptoRng,
) -> NewPrekey<KemPrekey> {
    let pair = kem::KeyPair::generate(kem::KeyType::Kyber1024, &mut rng);
    let public_key = pair.public_key.serialize().into_vec();
    let signature = sign(identity, &public_key, rng);
    let record = KyberPreKeyRecord::new(id.into(), timestamp(now), &pair, &signature);
    NewPrekey {
        public: KemPrekey { id, public_key, signature, last_resort },
        record: Zeroizing::new(record.serialize().expect(OWN_KEY)),
    }
}

pub(crate) fn is_kem_public_key(bytes: &[u8]) -> bool {
    kem::PublicKey::deserialize(bytes).is_ok_and(|key| key.key_type() == kem::KeyType::Kyber1024)
}

pub(crate) fn verify_signature(identity: &IdentityKey, message: &[u8], signature: &[u8; 64]) -> bool {
    public_key(identity.as_bytes()).verify_signature(message, signature)
}

/// The library's form of a key that was checked to have 33 bytes and the right type.
pub(super) fn public_key(bytes: &[u8; 33]) -> PublicKey {
    PublicKey::deserialize(bytes).expect(OWN_KEY)
}

pub(super) fn identity_pair(identity: &IdentityKeyPair) -> libsignal_protocol_syft::IdentityKeyPair {
    let private = PrivateKey::deserialize(identity.private()).expect(OWN_KEY);
    libsignal_protocol_syft::IdentityKeyPair::new(public_key(identity.public().as_bytes()).into(), private)
}

fn sign(identity: &IdentityKeyPair, message: &[u8], mut rng: &mut dyn CryptoRng) -> [u8; 64] {
    let private = PrivateKey::deserialize(identity.private()).expect(OWN_KEY);
    let signature = private.calculate_signature(message, &mut rng).expect(OWN_KEY);
    signature.as_ref().try_into().expect("an XEdDSA signature has 64 bytes")
}

fn public_bytes(key: &PublicKey) -> [u8; 33] {
    key.serialize().as_ref().try_into().expect("a public key has 33 bytes")
}

fn private_bytes(key: &PrivateKey) -> [u8; 32] {
    key.serialize().try_into().expect("a private key has 32 bytes")
}

fn timestamp(now: types::Timestamp) -> Timestamp {
    Timestamp::from_epoch_millis(now.as_millis())
}
