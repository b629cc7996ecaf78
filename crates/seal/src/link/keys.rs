//! The keys of one link: what both ends derive from their ephemeral keys and the secret in the code.
//!
//! Everything that a server could exchange goes in: the offer as salt, both ephemeral keys as info, the
//! secret beside the agreement. Who differs in one of them has other keys.

use super::LinkError;
use crate::aead;
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::Sha256;
use signed::LinkOffer;
use types::LinkId;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

const LABEL: &[u8] = b"waxwing link v1";
/// One key for each sealed message, and one for the digits.
const BYTES: usize = 4 * 32;

/// Which of the three messages is sealed.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Invitation,
    Answer,
    Completion,
}

/// Derived bytes: the keys of [`Purpose`] in their order, then that of the digits.
#[derive(Clone)]
pub(super) struct LinkKeys(Zeroizing<[u8; BYTES]>);

impl LinkKeys {
    /// `own` and `theirs` are the ephemeral keys of this side and the other one.
    pub(super) fn derive(
        own: &StaticSecret,
        theirs: &[u8; 32],
        offer: &LinkOffer,
        invitation_key: &[u8; 32],
        secret: &[u8; 16],
    ) -> Result<Self, LinkError> {
        let agreement = own.diffie_hellman(&PublicKey::from(*theirs));
        if !agreement.was_contributory() {
            return Err(LinkError::WeakKey);
        }
        let input = Zeroizing::new([agreement.as_bytes().as_slice(), secret].concat());
        let mut bytes = Zeroizing::new([0; BYTES]);
        Hkdf::<Sha256>::new(Some(&offer.hash()), &input)
            .expand_multi_info(&[LABEL, offer.ephemeral_key(), invitation_key], bytes.as_mut())
            .expect("128 bytes are less than HKDF can give");
        Ok(Self(bytes))
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// What [`Digits`](super::Digits) are derived from, beside what was said.
    pub(super) fn of_digits(&self) -> &[u8; 32] {
        let (_, key) = self.0.split_last_chunk().expect("there are 128 bytes");
        key
    }

    pub(super) fn seal(
        &self,
        purpose: Purpose,
        link: LinkId,
        body: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        aead::seal(self.key(purpose), link.as_bytes(), body, rng)
    }

    pub(super) fn open(
        &self,
        purpose: Purpose,
        link: LinkId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        aead::open(self.key(purpose), link.as_bytes(), sealed).ok_or(LinkError::NotAuthentic)
    }

    fn key(&self, purpose: Purpose) -> &[u8; 32] {
        let (keys, _) = self.0.as_chunks::<32>();
        &keys[purpose as usize]
    }
}

/// Draws an ephemeral key.
pub(super) fn draw(rng: &mut (impl CryptoRng + ?Sized)) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    StaticSecret::from(*bytes)
}
