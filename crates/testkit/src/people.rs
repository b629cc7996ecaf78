//! People whose keys are ready: the same ones in every test, made once in a process and on every core.
//!
//! Owns: accounts and their devices with every secret, and what is signed with them: lists, certificates, prekeys. A
//! person is named by a number, from which all keys derive.
//!
//! Invariants: a device has a signed prekey and a last-resort post-quantum one, and no one-time prekeys, which are nine
//! tenths of what a registration costs: 2,500 devices take a second of CPU. A server then gives the same bundle to all who ask, as it does for any device
//! whose pool has run dry.
//!
//! Must not know: who registers these people, and where.

use crate::fixture::EPOCH;
use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use seal::{DeviceSecrets, LocalDevice, NewPrekey, memory::MemoryStore};
use signed::{AccountSecret, DeviceCertificate, DeviceList, DeviceListDraft, DeviceSecret, ListedDevice};
use std::{sync::OnceLock, thread};
use types::{
    AccountId, DeviceAddress, DeviceNumber, MailboxId, Timestamp,
    limits::{DEVICES_MAX, GROUP_MEMBERS_MAX},
};
use wire::{KemPrekey, KeyUpload, SignedPrekey};

/// As many people as there are: they overfill the largest group.
pub const PEOPLE_MAX: usize = GROUP_MEMBERS_MAX + 76;

/// The ids of the prekeys of every device.
const PREKEY_ID: u32 = 1;

/// A person with up to five devices.
pub struct Person {
    number: usize,
    account: AccountSecret,
    devices: [OnceLock<Device>; DEVICES_MAX],
}

/// A device of a person.
pub struct Device {
    address: DeviceAddress,
    secrets: DeviceSecrets,
    key: DeviceSecret,
    listed: ListedDevice,
    signed_prekey: NewPrekey<seal::SignedPrekey>,
    last_resort: NewPrekey<seal::KemPrekey>,
}

/// The person of a number below [`PEOPLE_MAX`]. Its devices are made when they are asked for.
pub fn person(number: usize) -> &'static Person {
    static PEOPLE: [OnceLock<Person>; PEOPLE_MAX] = [const { OnceLock::new() }; PEOPLE_MAX];
    PEOPLE[number].get_or_init(|| Person::new(number))
}

/// The first so many people, and how many devices each of them has when they have `devices` together, spread as evenly
/// as can be. All keys are made, on every core.
///
/// # Panics
/// If somebody would have no device, or more than five.
pub fn crowd(people: usize, devices: usize) -> Vec<(&'static Person, usize)> {
    let (each, more) = (devices / people, devices % people);
    let crowd: Vec<_> =
        (0..people).map(|number| (person(number), each + usize::from(number < more))).collect();
    let share = people.div_ceil(thread::available_parallelism().map_or(1, usize::from));
    thread::scope(|scope| {
        for part in crowd.chunks(share) {
            scope.spawn(move || part.iter().for_each(|(person, devices)| drop(person.devices(*devices))));
        }
    });
    crowd
}

impl Person {
    fn new(number: usize) -> Self {
        let account = AccountSecret::random(&mut rng(number, 0));
        Self { number, account, devices: [const { OnceLock::new() }; DEVICES_MAX] }
    }

    /// The account.
    pub fn id(&self) -> AccountId {
        signed::account_id(&self.account.public())
    }

    /// The account key.
    pub const fn account(&self) -> &AccountSecret {
        &self.account
    }

    /// The primary device.
    pub fn primary(&self) -> &Device {
        self.device(DeviceNumber::PRIMARY)
    }

    /// The device of a number from 1 to 5.
    pub fn device(&self, number: DeviceNumber) -> &Device {
        let index = usize::from(number.get()) - 1;
        self.devices[index].get_or_init(|| Device::new(self, number))
    }

    /// The first so many devices.
    ///
    /// # Panics
    /// If it is not 1 to 5.
    pub fn devices(&self, count: usize) -> Vec<&Device> {
        assert!((1..=DEVICES_MAX).contains(&count), "an account has one to five devices");
        (1..).take(count).map(|number| self.device(DeviceNumber::new(number).expect("1 to 5"))).collect()
    }

    /// A list of the first so many devices, signed by the account.
    ///
    /// # Panics
    /// If `devices` is not 1 to 5, or `version` is 0.
    pub fn list(&self, version: u64, devices: usize, issued_at: Timestamp) -> DeviceList {
        let devices = self.devices(devices).iter().map(|device| device.listed.clone()).collect();
        let draft = DeviceListDraft { version, issued_at, devices, sealed_names: Vec::new() };
        draft.sign(&self.account).expect("devices in the order of their numbers keep every rule of a list")
    }
}

impl Device {
    fn new(person: &Person, number: DeviceNumber) -> Self {
        let mut rng = rng(person.number, number.get());
        let secrets = DeviceSecrets::generate(&mut rng);
        let key = DeviceSecret::from_bytes(secrets.device_key_seed.expose());
        let (identity, address) = (&secrets.identity, DeviceAddress::new(person.id(), number));
        let listed =
            ListedDevice::sign(address.account, number, secrets.registration, *identity.public(), &key);
        let signed_prekey = seal::generate_signed(identity, PREKEY_ID, EPOCH, &mut rng);
        let last_resort = seal::generate_last_resort(identity, PREKEY_ID, EPOCH, &mut rng);
        Self { address, secrets, key, listed, signed_prekey, last_resort }
    }

    /// Where it is.
    pub const fn address(&self) -> DeviceAddress {
        self.address
    }

    /// Its mailbox.
    pub fn mailbox(&self) -> MailboxId {
        self.address.mailbox(self.secrets.registration)
    }

    /// Identity, registration id and device key.
    pub const fn secrets(&self) -> &DeviceSecrets {
        &self.secrets
    }

    /// The key that signs at connect, and operations of groups.
    pub const fn key(&self) -> &DeviceSecret {
        &self.key
    }

    /// Its entry on the lists of its account.
    pub const fn listed(&self) -> &ListedDevice {
        &self.listed
    }

    /// The account's word for it.
    pub fn certificate(&self, person: &Person) -> DeviceCertificate {
        DeviceCertificate::sign(&person.account, self.address.device, self.key.public())
    }

    /// What it uploads.
    pub fn upload(&self) -> KeyUpload {
        let (signed, kem) = (&self.signed_prekey.public, &self.last_resort.public);
        KeyUpload {
            signed_prekey: Some(SignedPrekey {
                id: signed.id,
                public_key: Bytes::copy_from_slice(&signed.public_key),
                signature: Bytes::copy_from_slice(&signed.signature),
            }),
            last_resort: Some(KemPrekey {
                id: kem.id,
                public_key: Bytes::copy_from_slice(&kem.public_key),
                signature: Bytes::copy_from_slice(&kem.signature),
                last_resort: true,
            }),
            one_time: Vec::new(),
            one_time_kem: Vec::new(),
        }
    }

    /// What it can open sealed messages with: no session yet, and the private halves of what it uploads.
    pub fn store(&self) -> MemoryStore {
        let mut store = MemoryStore::new(LocalDevice {
            address: self.address,
            registration: self.secrets.registration,
            identity: self.secrets.identity.clone(),
        });
        store.insert_signed(&self.signed_prekey);
        store.insert_kem(&self.last_resort);
        store
    }
}

/// Randomness of one device; of the account itself for number 0. No test that draws people of its own from small seeds
/// gets these.
fn rng(person: usize, device: u8) -> ChaCha20Rng {
    let mut seed = *b"one of the ready-made people 000";
    seed[29..31].copy_from_slice(&(person as u16).to_be_bytes());
    seed[31] = device;
    ChaCha20Rng::from_seed(seed)
}
