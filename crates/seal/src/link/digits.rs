//! The six digits that people compare, and what keeps everybody from choosing them.
//!
//! Somebody who has seen the code of the new device and has handed the primary another one stands in two links, one
//! with each side, and wins if both show the same digits. A million tries find a pair, so nobody may have a second
//! try. Each side therefore gives something random, and is bound before it sees the other's:
//!
//! 1. The offer, and with it the code, has the hash of a nonce of the new device: the *commitment*.
//! 2. The primary reads code and offer, and only then draws its ephemeral key: the invitation.
//! 3. The new device takes one invitation, and only its answer, which cannot be taken back, has the nonce.
//!
//! The digits are derived from all of that and from nothing that comes later. Whoever plays a primary has to fix the
//! whole invitation while the nonce is unknown; whoever plays a new device has fixed its nonce before the primary's key
//! was drawn. Two links that are not the same one agree with a chance of one in a million, and there is one try for
//! each time that people begin a link. It is the scheme of Bluetooth's numeric comparison (Core Specification 5.4,
//! volume 3, part H, 2.3.5.6.2) and of ZRTP's hash commitment (RFC 6189, 4.4.1.1).

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

const LABEL: &[u8] = b"waxwing link digits v1";
const COMMITMENT_LABEL: &[u8] = b"waxwing link nonce v1";
const COUNT: u64 = 1_000_000;

/// What both sides show, for people to compare: six decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits(u32);

impl Digits {
    /// `key` is what only the two sides of a link agree on, the offer with its commitment included; `invitation` is
    /// the whole encoded message.
    pub(super) fn derive(key: &[u8; 32], invitation: &[u8], nonce: &Nonce) -> Self {
        // So many bytes that the remainder is even to 44 bits.
        let mut bytes = [0; 8];
        Hkdf::<Sha256>::new(Some(nonce.as_bytes()), key)
            .expand_multi_info(&[LABEL, &Sha256::digest(invitation)], &mut bytes)
            .expect("eight bytes are less than HKDF can give");
        let digits = u64::from_be_bytes(bytes) % COUNT;
        Self(u32::try_from(digits).expect("a remainder by a million fits"))
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        (u64::from(number) < COUNT).then_some(Self(number))
    }

    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// The new device's share in the digits: nobody else knows it before an invitation was accepted.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Nonce(Zeroizing<[u8; 32]>);

impl Nonce {
    pub(super) fn draw(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self(bytes)
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the offer says of it: no other nonce has this hash, and the hash tells nothing of 32 random bytes.
    pub(super) fn commitment(&self) -> [u8; 32] {
        Sha256::new().chain_update(COMMITMENT_LABEL).chain_update(self.as_bytes()).finalize().into()
    }
}
