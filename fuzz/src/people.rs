//! People whose keys all derive from a small number, and who sign whatever they are given.

use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, ListedDevice,
    account_id, proto,
};
use types::{AccountId, DeviceNumber, RegistrationId, Timestamp};

/// The time of everything here.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Randomness that is the same every time.
pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// An account with its primary device.
pub(crate) struct Person {
    pub(crate) account: AccountSecret,
    pub(crate) device: DeviceSecret,
}

/// The person of a number.
pub(crate) fn person(seed: u8) -> Person {
    let mut rng = rng(seed.into());
    Person { account: AccountSecret::random(&mut rng), device: DeviceSecret::random(&mut rng) }
}

impl Person {
    pub(crate) fn id(&self) -> AccountId {
        account_id(&self.account.public())
    }

    pub(crate) fn certificate(&self) -> DeviceCertificate {
        DeviceCertificate::sign(&self.account, DeviceNumber::PRIMARY, self.device.public())
    }

    /// A list of as many devices as asked, the first with the given identity key.
    pub(crate) fn list(
        &self,
        devices: u32,
        registration: RegistrationId,
        identity: IdentityKey,
    ) -> DeviceList {
        let devices = (1..=devices).map(|number| {
            let number = DeviceNumber::new(number).expect("a device number is at most 127");
            if number == DeviceNumber::PRIMARY {
                return ListedDevice::sign(self.id(), number, registration, identity, &self.device);
            }
            let mut rng = rng(1_000 + u64::from(number.get()));
            let identity = seal::IdentityKeyPair::generate(&mut rng);
            let device = DeviceSecret::random(&mut rng);
            ListedDevice::sign(self.id(), number, registration, *identity.public(), &device)
        });
        let draft = DeviceListDraft {
            version: 1,
            issued_at: NOW,
            devices: devices.collect(),
            sealed_names: b"sealed".to_vec(),
        };
        draft.sign(&self.account).expect("the list keeps the rules of a list")
    }

    /// Signs a device list's bytes, whatever they are.
    pub(crate) fn sign_list_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        wrap(bytes, &self.account.to_bytes(), "waxwing device list v1")
    }

    /// Signs a certificate's bytes, whatever they are.
    pub(crate) fn sign_certificate_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        wrap(bytes, &self.account.to_bytes(), "waxwing device certificate v1")
    }

    /// Signs a group operation's bytes, whatever they are.
    pub(crate) fn sign_operation_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        wrap(bytes, &self.device.to_bytes(), "waxwing group operation v1")
    }
}

/// The bytes inside a signed wrapper of ours.
pub(crate) fn unwrap_signed(carried: &[u8]) -> Vec<u8> {
    proto::SignedDeviceList::decode(carried).expect("a wrapper of ours is well formed").list
}

/// All three wrappers have one shape (`signed` has a test that says so).
fn wrap(bytes: &[u8], seed: &[u8; 32], label: &str) -> Vec<u8> {
    let message = [label.as_bytes(), &[0], bytes].concat();
    let signature = SigningKey::from_bytes(seed).sign(&message).to_bytes().to_vec();
    proto::SignedDeviceList { list: bytes.to_vec(), signature }.encode_to_vec()
}
