//! Prekeys as other devices see them, and the checks before a session is opened with them.

use crate::{Peer, guard, library};
use signed::IdentityKey;
use types::{DeviceAddress, RegistrationId};

/// A one-time prekey: opens at most one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimePrekey {
    /// Names it among its owner's one-time prekeys.
    pub id: u32,
    /// X25519, type byte first.
    pub public_key: [u8; 33],
}

/// A signed prekey: opens any number of sessions until it is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPrekey {
    /// Names it among its owner's signed prekeys.
    pub id: u32,
    /// X25519, type byte first.
    pub public_key: [u8; 33],
    /// XEdDSA over `public_key` by the owner's identity key.
    pub signature: [u8; 64],
}

/// A post-quantum prekey (Kyber-1024), one-time or last-resort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemPrekey {
    /// Names it among its owner's post-quantum prekeys.
    pub id: u32,
    /// 1,569 bytes, type byte first.
    pub public_key: Vec<u8>,
    /// XEdDSA over `public_key` by the owner's identity key.
    pub signature: [u8; 64],
    /// True if it may open many sessions.
    pub last_resort: bool,
}

/// What the server gives to one who wants to open a session. The identity key is not in it: that one comes
/// from the verified device list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The device that the keys belong to.
    pub device: DeviceAddress,
    /// Which life of its device number they belong to.
    pub registration: RegistrationId,
    /// The signed prekey.
    pub signed: SignedPrekey,
    /// The post-quantum prekey.
    pub kem: KemPrekey,
    /// The one-time prekey; absent if the pool was empty, or after a broken session.
    pub one_time: Option<OneTimePrekey>,
}

/// A bundle whose every key was checked against its owner's identity.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    pub(crate) peer: Peer,
    pub(crate) bundle: Bundle,
}

impl VerifiedBundle {
    /// The device that a session with these keys leads to.
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

/// Why a bundle must not be used. None of these happens with an honest server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleRefused {
    /// The keys are those of another device than the one listed, or of another life of it.
    #[error("the prekeys belong to another device")]
    AnotherDevice,
    /// A key has the wrong length or type.
    #[error("a prekey is malformed")]
    Malformed,
    /// A key is of low order or not canonical: an agreement with it would be known to everybody.
    #[error("a prekey is a weak point")]
    WeakKey,
    /// A signature is not by the listed identity key.
    #[error("a prekey's signature is not by the device's identity key")]
    Signature,
}

/// Checks a bundle against what the verified list says about its device.
pub fn verify_bundle(peer: &Peer, bundle: Bundle) -> Result<VerifiedBundle, BundleRefused> {
    if bundle.device != peer.address() || bundle.registration != peer.registration() {
        return Err(BundleRefused::AnotherDevice);
    }
    let one_time = bundle.one_time.as_ref().map(|prekey| &prekey.public_key);
    for point in [&bundle.signed.public_key].into_iter().chain(one_time) {
        check_point(point)?;
    }
    if !library::is_kem_public_key(&bundle.kem.public_key) {
        return Err(BundleRefused::Malformed);
    }
    check_signature(peer.identity(), &bundle.signed.public_key, &bundle.signed.signature)?;
    check_signature(peer.identity(), &bundle.kem.public_key, &bundle.kem.signature)?;
    Ok(VerifiedBundle { peer: *peer, bundle })
}

fn check_point(key: &[u8; 33]) -> Result<(), BundleRefused> {
    match guard::check_public_key(key) {
        Ok(()) => Ok(()),
        Err(guard::KeyRefused::Malformed) => Err(BundleRefused::Malformed),
        Err(guard::KeyRefused::Weak) => Err(BundleRefused::WeakKey),
    }
}

fn check_signature(identity: &IdentityKey, key: &[u8], signature: &[u8; 64]) -> Result<(), BundleRefused> {
    if library::verify_signature(identity, key, signature) { Ok(()) } else { Err(BundleRefused::Signature) }
}
