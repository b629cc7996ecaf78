//! Keys and signatures, one type for each purpose, so that none can sign or verify in another's place.
//!
//! Secrets are wiped on drop and no key shows its bytes in `Debug`.

use crate::label::Label;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use std::fmt;
use types::Invalid;
use zeroize::Zeroizing;

/// An Ed25519 signature (RFC 8032): 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Reads exactly 64 bytes; whether it is valid shows when it is verified.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        bytes.try_into().map(Self).map_err(|_| Invalid { what: "signature" })
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

macro_rules! key_pair {
    ($(#[$secret_doc:meta])* $secret:ident, $(#[$key_doc:meta])* $key:ident, $what:literal) => {
        $(#[$secret_doc])*
        #[derive(Clone)]
        pub struct $secret(SigningKey);

        impl $secret {
            /// Draws a new key.
            pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
                let mut seed = Zeroizing::new([0; 32]);
                rng.fill_bytes(seed.as_mut());
                Self::from_bytes(&seed)
            }

            /// From the 32 bytes of the Ed25519 seed.
            pub fn from_bytes(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            /// The 32 bytes of the seed, for the one place that stores it.
            pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public half.
            pub fn public(&self) -> $key {
                $key(self.0.verifying_key())
            }

            pub(crate) fn sign(&self, label: Label, bytes: &[u8]) -> Signature {
                Signature(self.0.sign(&label.message(bytes)).to_bytes())
            }
        }

        $(#[$key_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $key(VerifyingKey);

        impl $key {
            /// Reads exactly 32 bytes; refuses what is not a point on the curve, and points of low
            /// order, under which one signature would be valid for many messages.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
                let invalid = Invalid { what: $what };
                let bytes: &[u8; 32] = bytes.try_into().map_err(|_| invalid.clone())?;
                let key = VerifyingKey::from_bytes(bytes).map_err(|_| invalid.clone())?;
                if key.is_weak() { Err(invalid) } else { Ok(Self(key)) }
            }

            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }

            /// Strict verification: no low-order points, no second form of a signature.
            pub(crate) fn verify(&self, label: Label, bytes: &[u8], signature: &Signature) -> bool {
                let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
                self.0.verify_strict(&label.message(bytes), &signature).is_ok()
            }
        }
    };
}

key_pair! {
    /// The account's secret, born on the primary device at the first registration. Signs device lists
    /// and device certificates.
    AccountSecret,
    /// The account's public key; the account id is its hash ([`crate::account_id`]).
    AccountKey, "account key"
}

key_pair! {
    /// A device's own secret: proves possession at connect and signs group operations.
    DeviceSecret,
    /// A device's public key, listed in its account's device list.
    DeviceKey, "device key"
}

key_pair! {
    /// What a group's invite link carries in its fragment: it alone can sign a `join`.
    LinkSecret,
    /// What the group chain commits to: the public half of a [`LinkSecret`].
    LinkKey, "link key"
}

/// A device's Signal identity: the type byte 0x05 and a Curve25519 point in its one canonical form,
/// never of low order. Opaque here; only `seal` uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey([u8; 33]);

impl IdentityKey {
    /// The type byte of Curve25519 keys in the Signal protocol.
    pub const TYPE: u8 = 0x05;

    /// Reads exactly 33 bytes and refuses low-order points and second forms of a point (which
    /// would let one key stand in a list twice).
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Invalid> {
        let invalid = Invalid { what: "identity key" };
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| invalid.clone())?;
        let point = point_of(&bytes);
        let valid = bytes[0] == Self::TYPE && is_canonical(&point) && !is_low_order(&point);
        if valid { Ok(Self(bytes)) } else { Err(invalid) }
    }

    /// The 33 bytes, type byte first.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }
}

/// Whether a Curve25519 public key (RFC 7748, u-coordinate) is of low order, so that every agreement
/// with it is the same whatever the other secret: all zero.
///
/// Found by agreeing with a throwaway scalar, which catches every encoding of every such point.
pub fn is_low_order(point: &[u8; 32]) -> bool {
    // Clamping makes the scalar a multiple of the cofactor 8, so any fixed value serves.
    const THROWAWAY: [u8; 32] = [0x5a; 32];
    x25519_dalek::x25519(THROWAWAY, *point) == [0; 32]
}

/// Whether the u-coordinate is below 2^255 - 19, the form in which every key is made.
fn is_canonical(point: &[u8; 32]) -> bool {
    const PRIME: [u8; 32] = {
        let mut prime = [0xff; 32];
        prime[0] = 0xed;
        prime[31] = 0x7f;
        prime
    };
    point.iter().rev().lt(PRIME.iter().rev())
}

fn point_of(key: &[u8; 33]) -> [u8; 32] {
    let mut point = [0; 32];
    point.copy_from_slice(&key[1..]);
    point
}

macro_rules! redacted_debug {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    )+};
}

redacted_debug!(
    AccountSecret,
    AccountKey,
    DeviceSecret,
    DeviceKey,
    LinkSecret,
    LinkKey,
    IdentityKey,
    Signature
);
