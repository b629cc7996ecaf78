//! People who link a device, and the key schedule written down a second time.

use crate::protobuf::{Field, encode, get};
use crate::support::{NOW, rng};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use seal::link::{Completion, Invitation, InvitedDevice, LinkError, LinkOffer, NewDevice, Primary};
use seal::names::DeviceName;
use seal::{DeviceSecrets, SyncKey};
use sha2::{Digest, Sha256};
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, ListedDevice, account_id,
};
use types::{DeviceNumber, LinkId};
use x25519_dalek::x25519;

/// An account with its primary device, and the keys that a new device has drawn.
pub(crate) struct Scene {
    pub(crate) account: AccountSecret,
    pub(crate) primary: ListedDevice,
    pub(crate) device: DeviceSecrets,
    pub(crate) name: DeviceName,
    pub(crate) new_device: NewDevice,
}

pub(crate) fn number(number: u32) -> DeviceNumber {
    DeviceNumber::new(number).unwrap()
}

/// Another account and another device for each seed.
pub(crate) fn scene(seed: u64) -> Scene {
    let mut rng = rng(seed);
    let account = AccountSecret::random(&mut rng);
    let id = account_id(&account.public());
    let secrets = DeviceSecrets::generate(&mut rng);
    let secret = DeviceSecret::from_bytes(secrets.device_key_seed.expose());
    let identity = *secrets.identity.public();
    let primary = ListedDevice::sign(id, DeviceNumber::PRIMARY, secrets.registration, identity, &secret);
    let device = DeviceSecrets::generate(&mut rng);
    let new_device = NewDevice::begin(&device, &mut rng);
    Scene { account, primary, device, name: "Laptop".parse().unwrap(), new_device }
}

impl Scene {
    pub(crate) fn invitation(&self) -> Invitation {
        let phone = "+15552000100".parse().unwrap();
        Invitation { account_key: self.account.public(), device: number(2), phone }
    }

    pub(crate) fn invite(&self) -> Primary {
        let (code, offer) = (self.new_device.code(), self.new_device.offer().as_bytes());
        Primary::invite(&code, offer, self.invitation(), &mut rng(100)).unwrap()
    }

    pub(crate) fn accept(&self, invitation: &[u8]) -> Result<InvitedDevice, LinkError> {
        self.new_device.accept(invitation, &self.device, &self.name, &mut rng(101))
    }

    /// The account's list with these devices beside the primary.
    pub(crate) fn list(&self, others: Vec<ListedDevice>) -> DeviceList {
        let devices = [vec![self.primary.clone()], others].concat();
        let draft = DeviceListDraft { version: 2, issued_at: NOW, devices, sealed_names: Vec::new() };
        draft.sign(&self.account).unwrap()
    }

    pub(crate) fn listed(&self, number: DeviceNumber) -> ListedDevice {
        let secret = DeviceSecret::from_bytes(self.device.device_key_seed.expose());
        let (account, identity) = (account_id(&self.account.public()), *self.device.identity.public());
        ListedDevice::sign(account, number, self.device.registration, identity, &secret)
    }

    pub(crate) fn completion(&self) -> Completion {
        let certificate =
            DeviceCertificate::sign(&self.account, number(2), *self.listed(number(2)).device_key());
        let sync_key = SyncKey::from_slice(&[0x5c; 32]).unwrap();
        Completion { list: self.list(vec![self.listed(number(2))]), certificate, sync_key }
    }
}

/// The key schedule, written down a second time from `proto/link.proto`: what somebody knows who has the code, the
/// private half of one ephemeral key, and the messages.
pub(crate) struct Keys(pub(crate) [u8; 128]);

impl Keys {
    pub(crate) fn derive(own: [u8; 32], offer: &LinkOffer, invitation_key: [u8; 32], secret: &[u8]) -> Self {
        let theirs = if x25519(own, x25519_dalek::X25519_BASEPOINT_BYTES) == invitation_key {
            *offer.ephemeral_key()
        } else {
            invitation_key
        };
        let input = [x25519(own, theirs).as_slice(), secret].concat();
        let info = [b"waxwing link v1".as_slice(), offer.ephemeral_key(), &invitation_key].concat();
        let mut bytes = [0; 128];
        let salt = Sha256::digest(offer.as_bytes());
        Hkdf::<Sha256>::new(Some(&salt), &input).expand(&info, &mut bytes).unwrap();
        Self(bytes)
    }

    /// What is shown for this invitation by whoever has this nonce.
    pub(crate) fn digits(&self, invitation: &[u8], nonce: &[u8]) -> String {
        let info = [b"waxwing link digits v1".as_slice(), &Sha256::digest(invitation)].concat();
        let mut bytes = [0; 8];
        Hkdf::<Sha256>::new(Some(nonce), &self.0[96..]).expand(&info, &mut bytes).unwrap();
        format!("{:06}", u64::from_be_bytes(bytes) % 1_000_000)
    }

    /// Seals a body as a message of this link, `which` of the three.
    pub(crate) fn seal(&self, which: usize, link: LinkId, body: &[u8]) -> Vec<u8> {
        let key: &[u8; 32] = self.0[32 * which..][..32].try_into().unwrap();
        let padded = seal::pad(body.to_vec());
        let payload = Payload { msg: &padded, aad: link.as_bytes() };
        let sealed = XChaCha20Poly1305::new(key.into()).encrypt(&[7; 24].into(), payload).unwrap();
        [[7; 24].as_slice(), &sealed].concat()
    }

    pub(crate) fn open(&self, which: usize, link: LinkId, sealed: &[u8]) -> Option<Vec<u8>> {
        let key: &[u8; 32] = self.0[32 * which..][..32].try_into().unwrap();
        let payload = Payload { msg: &sealed[24..], aad: link.as_bytes() };
        let padded = XChaCha20Poly1305::new(key.into()).decrypt(sealed[..24].into(), payload).ok()?;
        Some(seal::unpad(&padded).unwrap().to_vec())
    }
}

/// The private ephemeral key that a state keeps, and the secret of its code.
pub(crate) fn secrets_of(new_device: &NewDevice) -> ([u8; 32], Vec<u8>) {
    let kept = new_device.to_bytes();
    (get(&kept, 5).unwrap().try_into().unwrap(), get(&kept, 4).unwrap())
}

/// The nonce that a new device keeps until it is invited.
pub(crate) fn nonce_of(new_device: &NewDevice) -> Vec<u8> {
    get(&new_device.to_bytes(), 9).unwrap()
}

pub(crate) fn keys_of(scene: &Scene, invitation: &[u8]) -> Keys {
    let (ephemeral, secret) = secrets_of(&scene.new_device);
    let theirs = get(invitation, 1).unwrap().try_into().unwrap();
    Keys::derive(ephemeral, scene.new_device.offer(), theirs, &secret)
}

/// A message with one sealed field.
pub(crate) fn message(sealed: Vec<u8>) -> Vec<u8> {
    encode(&[Field::Bytes(1, sealed)])
}
