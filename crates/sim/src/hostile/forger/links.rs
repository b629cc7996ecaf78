//! Both sides of a link, played by a server; and the hunt for six digits by whoever plays one side of two links.
//!
//! The key schedule of the digits is written down here once more, from `proto/link.proto`: a forger tries faster than an
//! honest side can.

use super::keys;
use bytes::Bytes;
use hkdf::Hkdf;
use prost::Message as _;
use rand_chacha::ChaCha20Rng;
use seal::link;
use sha2::{Digest as _, Sha256};
use signed::{DeviceCertificate, DeviceListDraft, DeviceSecret, LinkOffer, ListedDevice};
use types::{DeviceNumber, LinkId};

/// The head of a field that no message has, with eight bytes in it.
const UNKNOWN_FIELD: [u8; 3] = [0x9a, 0x06, 8];

/// What is read of a side of a link as it is kept.
#[derive(Clone, PartialEq, prost::Message)]
struct Kept {
    #[prost(bytes = "vec", tag = "6")]
    keys: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    nonce: Vec<u8>,
}

/// The nonce in what a new device keeps of its link; nobody else has it before the device was invited.
///
/// # Panics
/// If it is not that.
pub fn nonce_of(offering: &[u8]) -> Vec<u8> {
    Kept::decode(offering).expect("a state of ours is well formed").nonce
}

fn digits_of(key: &[u8], invitation: &[u8], nonce: &[u8]) -> String {
    let mut bytes = [0; 8];
    Hkdf::<Sha256>::new(Some(nonce), key)
        .expand_multi_info(&[b"waxwing link digits v1", &Sha256::digest(invitation)], &mut bytes)
        .expect("eight bytes are less than HKDF can give");
    format!("{:06}", u64::from_be_bytes(bytes) % 1_000_000)
}

/// The code of a link as far as a server knows it: all but its secret.
pub fn guessed_code(link: LinkId, offer: &[u8]) -> Option<String> {
    let hash = LinkOffer::decode(offer).ok()?.hash();
    let bytes = [link.as_bytes().as_slice(), &hash, &[0; 16]].concat();
    Some(format!("wxl1-{}", hex::encode(bytes)))
}

/// A link whose new device is the server's own.
pub struct GhostLink(link::NewDevice);

impl GhostLink {
    /// Draws a link.
    pub fn begin(rng: &mut ChaCha20Rng) -> Self {
        Self(link::NewDevice::begin(&keys().device, rng))
    }

    /// Its id.
    pub fn id(&self) -> LinkId {
        self.0.link()
    }

    /// What it offers.
    pub fn offer(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.offer().as_bytes())
    }

    /// What it would show.
    pub fn code(&self) -> String {
        self.0.code().to_string()
    }

    /// Answers an invitation, as a true device does. Gives the answer, and the digits that the primary will show.
    pub fn accept(&self, invitation: &[u8], rng: &mut ChaCha20Rng) -> Option<(Bytes, String)> {
        let name = "laptop".parse().ok()?;
        let invited = self.0.accept(invitation, &keys().device, &name, rng).ok()?;
        Some((Bytes::copy_from_slice(invited.answer()), invited.digits().to_string()))
    }
}

/// The server as the primary of an account of its own.
pub struct GhostPrimary {
    primary: link::Primary,
    message: Bytes,
}

impl GhostPrimary {
    /// Invites the device that showed a code.
    pub fn invite(code: &str, offer: &[u8], rng: &mut ChaCha20Rng) -> Option<Self> {
        let invitation = link::Invitation {
            account_key: keys().account.public(),
            device: DeviceNumber::new(2).ok()?,
            phone: testkit::fixture::phone(799),
        };
        let primary = link::Primary::invite(&code.parse().ok()?, offer, invitation, rng).ok()?;
        let message = Bytes::copy_from_slice(primary.message());
        Some(Self { primary, message })
    }

    /// The invitation.
    pub fn message(&self) -> Bytes {
        self.message.clone()
    }

    /// Tries other invitations into the same link until one leads to these digits, if the new device's nonce is this
    /// one. Everything that a reader skips makes another invitation, and costs no key.
    pub fn grind(&mut self, digits: &str, nonce: &[u8], tries: u64) {
        let kept = Kept::decode(self.primary.to_bytes().as_slice()).expect("a state of ours is well formed");
        let other = |count: u64| [self.primary.message(), &UNKNOWN_FIELD, &count.to_le_bytes()].concat();
        let found = (0..tries).map(other).find(|other| digits_of(&kept.keys[96..], other, nonce) == digits);
        if let Some(found) = found {
            self.message = found.into();
        }
    }

    /// Lists the device, if this is its answer.
    pub fn complete(&self, answer: &[u8], rng: &mut ChaCha20Rng) -> Option<Bytes> {
        let keys = keys();
        let candidate = self.primary.open_answer(answer).ok()?;
        let device = DeviceSecret::from_bytes(keys.device.device_key_seed.expose());
        let primary = ListedDevice::sign(
            signed::account_id(&keys.account.public()),
            DeviceNumber::PRIMARY,
            keys.device.registration,
            *keys.device.identity.public(),
            &device,
        );
        let certificate =
            DeviceCertificate::sign(&keys.account, candidate.listed.number(), *candidate.listed.device_key());
        let draft = DeviceListDraft {
            version: 2,
            issued_at: testkit::fixture::EPOCH,
            devices: vec![primary, candidate.listed],
            sealed_names: Vec::new(),
        };
        let list = draft.sign(&keys.account).ok()?;
        let completion = link::Completion { list, certificate, sync_key: seal::SyncKey::random(rng) };
        self.primary.complete(&completion, rng).ok().map(Bytes::from)
    }
}
