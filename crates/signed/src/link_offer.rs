//! What a device that wants to be linked offers: its public keys, one for the talk with the primary, and the commitment
//! to its share in the digits that people compare.
//!
//! The code that the device shows carries the hash of these bytes, so nobody between the two can put other keys
//! in their place. Clients and servers read it; it is carried as it came and never rebuilt.

use crate::{DeviceKey, IdentityKey, keys::is_low_order, proto::link as proto};
use prost::Message;
use sha2::{Digest, Sha256};
use types::{Invalid, RegistrationId, limits};

/// The offer of a new device, with the bytes as they were carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOffer {
    identity_key: IdentityKey,
    device_key: DeviceKey,
    registration: RegistrationId,
    ephemeral_key: [u8; 32],
    nonce_commitment: [u8; 32],
    carried: Vec<u8>,
}

impl LinkOffer {
    /// What a device offers. `ephemeral_key`: the public half of an X25519 key that was drawn for this link;
    /// `nonce_commitment`: a hash of 32 bytes that were.
    pub fn new(
        identity_key: IdentityKey,
        device_key: DeviceKey,
        registration: RegistrationId,
        ephemeral_key: [u8; 32],
        nonce_commitment: [u8; 32],
    ) -> Self {
        let raw = proto::LinkOffer {
            identity_key: identity_key.as_bytes().to_vec(),
            device_key: device_key.as_bytes().to_vec(),
            registration: registration.get(),
            ephemeral_key: ephemeral_key.to_vec(),
            nonce_commitment: nonce_commitment.to_vec(),
        };
        let carried = raw.encode_to_vec();
        Self { identity_key, device_key, registration, ephemeral_key, nonce_commitment, carried }
    }

    /// Reads an offer: its size, form and every key. An ephemeral key of low order, with which the two sides
    /// would agree on nothing, is refused.
    pub fn decode(carried: &[u8]) -> Result<Self, Invalid> {
        let invalid = || Invalid { what: "link offer" };
        if carried.len() > limits::LINK_MESSAGE_BYTES_MAX {
            return Err(invalid());
        }
        let raw = proto::LinkOffer::decode(carried).map_err(|_| invalid())?;
        let ephemeral_key: [u8; 32] = raw.ephemeral_key.try_into().map_err(|_| invalid())?;
        if is_low_order(&ephemeral_key) {
            return Err(invalid());
        }
        Ok(Self {
            identity_key: IdentityKey::from_slice(&raw.identity_key)?,
            device_key: DeviceKey::from_slice(&raw.device_key)?,
            registration: RegistrationId::new(raw.registration)?,
            ephemeral_key,
            nonce_commitment: raw.nonce_commitment.try_into().map_err(|_| invalid())?,
            carried: carried.to_vec(),
        })
    }

    /// The Signal identity that the device will have.
    pub const fn identity_key(&self) -> &IdentityKey {
        &self.identity_key
    }

    /// The key that will open its sessions.
    pub const fn device_key(&self) -> &DeviceKey {
        &self.device_key
    }

    /// Which life of its device number it will be.
    pub const fn registration(&self) -> RegistrationId {
        self.registration
    }

    /// The public X25519 key for this link alone.
    pub const fn ephemeral_key(&self) -> &[u8; 32] {
        &self.ephemeral_key
    }

    /// The hash of the nonce that the device tells once it was invited; see `seal::link`.
    pub const fn nonce_commitment(&self) -> &[u8; 32] {
        &self.nonce_commitment
    }

    /// The `LinkOffer` as it came or was made.
    pub fn as_bytes(&self) -> &[u8] {
        &self.carried
    }

    /// SHA-256 of [`LinkOffer::as_bytes`]: what the code commits to.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.carried).into()
    }
}
