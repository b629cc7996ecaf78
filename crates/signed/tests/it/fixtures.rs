//! People with fixed keys, and a forger who signs what an honest device never would.

use ed25519_dalek::{Signer, SigningKey};
use prost::Message;
use signed::{
    AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, IdentityKey, ListedDevice,
    account_id, proto,
};
use types::{AccountId, DeviceNumber, RegistrationId, Timestamp};

/// One person whose keys all derive from a small number.
pub struct Person {
    pub account: AccountSecret,
    pub device: DeviceSecret,
}

pub fn person(seed: u16) -> Person {
    let [high, low] = seed.to_be_bytes();
    let mut bytes = [0x11; 32];
    (bytes[0], bytes[1]) = (high, low);
    let account = AccountSecret::from_bytes(&bytes);
    bytes[2] = 0x22;
    Person { account, device: DeviceSecret::from_bytes(&bytes) }
}

impl Person {
    pub fn id(&self) -> AccountId {
        account_id(&self.account.public())
    }

    pub fn certificate(&self) -> DeviceCertificate {
        DeviceCertificate::sign(&self.account, DeviceNumber::PRIMARY, self.device.public())
    }

    /// Device `number` of this person, with keys of its own.
    pub fn listed(&self, number: u32) -> ListedDevice {
        let (device, registration) =
            (DeviceNumber::new(number).unwrap(), RegistrationId::new(1_000 + number));
        let secret = DeviceSecret::from_bytes(&[number as u8; 32]);
        ListedDevice::sign(self.id(), device, registration.unwrap(), identity(number as u8), &secret)
    }

    pub fn list(&self, version: u64, numbers: &[u32]) -> DeviceList {
        let devices = numbers.iter().map(|number| self.listed(*number)).collect();
        self.draft(version, devices).sign(&self.account).unwrap()
    }

    pub fn draft(&self, version: u64, devices: Vec<ListedDevice>) -> DeviceListDraft {
        let issued_at = Timestamp::from_millis(1_795_000_000_000);
        DeviceListDraft { version, issued_at, devices, sealed_names: b"sealed".to_vec() }
    }
}

/// A Signal identity key made from a small number.
pub fn identity(seed: u8) -> IdentityKey {
    let point = x25519_dalek::x25519([seed; 32], x25519_dalek::X25519_BASEPOINT_BYTES);
    IdentityKey::from_slice(&[&[IdentityKey::TYPE][..], &point].concat()).unwrap()
}

/// Signs `bytes` under `label` with a raw seed: the format written down a second time, apart from the crate's.
pub fn raw_signature(seed: &[u8; 32], label: &str, bytes: &[u8]) -> Vec<u8> {
    let message = [label.as_bytes(), &[0], bytes].concat();
    SigningKey::from_bytes(seed).sign(&message).to_bytes().to_vec()
}

/// Wraps and signs a raw device list as its owner.
pub fn forge_list(person: &Person, list: &proto::DeviceList) -> Vec<u8> {
    sign_list_bytes(person, list.encode_to_vec())
}

pub fn sign_list_bytes(person: &Person, list: Vec<u8>) -> Vec<u8> {
    let signature = raw_signature(&person.account.to_bytes(), "waxwing device list v1", &list);
    proto::SignedDeviceList { list, signature }.encode_to_vec()
}

/// A field that no version of this contract knows: number 1,000, four bytes.
pub const UNKNOWN_FIELD: [u8; 7] = [0xc2, 0x3e, 0x04, 0xde, 0xad, 0xbe, 0xef];
