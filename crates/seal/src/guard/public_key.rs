//! Weak X25519 keys: an agreement with one of low order gives zero, whatever the other key, so that
//! everybody knows the result. The library accepts them.

use signed::IdentityKey;

/// Why a public key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// Not 33 bytes with the type byte 5.
    #[error("the public key is malformed")]
    Malformed,
    /// Of low order, or not the canonical encoding of its point.
    #[error("the public key is a weak point")]
    Weak,
}

/// Checks a public key of 33 bytes, type byte first: an identity, a prekey, a base key or a ratchet key. Any
/// bytes may be given.
pub fn check_public_key(key: &[u8]) -> Result<(), KeyRefused> {
    if key.len() != 33 || key.first() != Some(&IdentityKey::TYPE) {
        return Err(KeyRefused::Malformed);
    }
    IdentityKey::from_slice(key).map(drop).map_err(|_| KeyRefused::Weak)
}
