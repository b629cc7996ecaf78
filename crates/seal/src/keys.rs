//! A device's own keys: its identity, and the prekeys that it gives to others.
//!
//! Prekeys are made in batches: 100 one-time keys take 2 ms, 100 post-quantum ones with their signatures 20 ms
//! (one core of a common server), so a whole pool is made in one go.

use crate::{KemPrekey, OneTimePrekey, SignedPrekey, library};
use rand_core::CryptoRng;
use signed::IdentityKey;
use std::fmt;
use types::{Invalid, RegistrationId, Timestamp};
use zeroize::{Zeroize, Zeroizing};

/// A device's Signal identity with its private half, which is wiped from memory after use.
#[derive(Clone)]
pub struct IdentityKeyPair {
    public: IdentityKey,
    private: Zeroizing<[u8; 32]>,
}

impl IdentityKeyPair {
    /// Draws a new identity.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        library::generate_identity(rng)
    }

    pub(crate) fn from_parts(public: IdentityKey, private: [u8; 32]) -> Self {
        Self { public, private: Zeroizing::new(private) }
    }

    /// Reads what [`IdentityKeyPair::to_bytes`] gave.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        let invalid = Invalid { what: "identity key pair" };
        let (public, private) = bytes.split_at_checked(33).ok_or(invalid.clone())?;
        let mut private: [u8; 32] = private.try_into().map_err(|_| invalid)?;
        let pair = Self::from_parts(IdentityKey::from_slice(public)?, private);
        private.zeroize();
        Ok(pair)
    }

    /// 65 bytes for the store: the public key, then the private one. Secret.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.public.as_bytes().as_slice(), self.private.as_slice()].concat())
    }

    /// The public half.
    pub const fn public(&self) -> &IdentityKey {
        &self.public
    }

    pub(crate) fn private(&self) -> &[u8; 32] {
        &self.private
    }
}

impl fmt::Debug for IdentityKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKeyPair(redacted)")
    }
}

/// What a device draws once, when it registers or is linked.
#[derive(Clone, Debug)]
pub struct DeviceSecrets {
    /// Its Signal identity.
    pub identity: IdentityKeyPair,
    /// Which life of its device number this is.
    pub registration: RegistrationId,
    /// The seed of its Ed25519 device key, which signs at connect (`signed` makes the key from it).
    pub device_key_seed: types::Redact<[u8; 32]>,
}

impl DeviceSecrets {
    /// Draws all of them.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let identity = IdentityKeyPair::generate(rng);
        let registration = RegistrationId::random(rng);
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self { identity, registration, device_key_seed: types::Redact::new(seed) }
    }
}

/// A prekey that was just made: what to upload, and the private half to store. Store before uploading.
#[derive(Clone)]
pub struct NewPrekey<Public> {
    /// What the server gets.
    pub public: Public,
    /// What [`crate::Store`] returns for its id: opaque and secret.
    pub record: Zeroizing<Vec<u8>>,
}

/// Makes `count` one-time prekeys with consecutive ids from `start_id` on; ids wrap at the end of their
/// range to 1.
pub fn generate_one_time(
    start_id: u32,
    count: u32,
    rng: &mut dyn CryptoRng,
) -> Vec<NewPrekey<OneTimePrekey>> {
    ids(start_id, count).map(|id| library::generate_one_time(id, rng)).collect()
}

/// Makes `count` one-time post-quantum prekeys, signed by the identity key; ids as in [`generate_one_time`].
pub fn generate_kem_one_time(
    identity: &IdentityKeyPair,
    start_id: u32,
    count: u32,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Vec<NewPrekey<KemPrekey>> {
    ids(start_id, count).map(|id| library::generate_kem(identity, id, false, now, rng)).collect()
}

/// Makes a signed prekey.
pub fn generate_signed(
    identity: &IdentityKeyPair,
    id: u32,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> NewPrekey<SignedPrekey> {
    library::generate_signed(identity, id, now, rng)
}

/// Makes a last-resort post-quantum prekey. Its id comes from the same space as those of the one-time ones.
pub fn generate_last_resort(
    identity: &IdentityKeyPair,
    id: u32,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> NewPrekey<KemPrekey> {
    library::generate_kem(identity, id, true, now, rng)
}

/// Prekey ids are positive and fit 24 bits, as in every implementation of the Signal protocol.
const PREKEY_ID_MAX: u32 = 0xff_ffff;

fn ids(start: u32, count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(move |step| (start.wrapping_sub(1).wrapping_add(step)) % PREKEY_ID_MAX + 1)
}
