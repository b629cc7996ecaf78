//! The signed device list: which devices an account has, by the account key's own word.
//!
//! Peers encrypt only to devices on a verified list and show only what came from one, so a server can
//! add no device. Versions rise strictly; a lower one is a rollback, and the same version with other
//! bytes is a fork: both are refused.

use crate::{
    AccountKey, AccountSecret, DeviceKey, DeviceSecret, IdentityKey, Signature, account_id, label::Label,
    proto, wrapper::Wrapper,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use types::{AccountId, DeviceNumber, MailboxId, RegistrationId, Timestamp, limits};

/// The sealed device names of one list, in bytes: five names of some 64 characters, sealed and padded.
pub const SEALED_NAMES_BYTES_MAX: usize = 2_048;

/// A device list whose every signature and rule was verified, with the bytes as they were carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    account: AccountId,
    account_key: AccountKey,
    version: u64,
    issued_at: Timestamp,
    devices: Vec<ListedDevice>,
    sealed_names: Vec<u8>,
    carried: Vec<u8>,
    hash: [u8; 32],
}

/// One device of a list, with the device's own consent to be on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    number: DeviceNumber,
    registration: RegistrationId,
    identity_key: IdentityKey,
    device_key: DeviceKey,
    signature: Signature,
}

/// What the primary device puts into a list before it signs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceListDraft {
    /// Greater than every version before. The caller has written it to disk as used *before* it asks
    /// for the signature: after a crash the number may be wasted but can never be signed twice.
    pub version: u64,
    /// When it is signed, by the primary's clock.
    pub issued_at: Timestamp,
    /// One to five devices by ascending number; number 1 is there.
    pub devices: Vec<ListedDevice>,
    /// The devices' names, sealed for the account's own devices; at most [`SEALED_NAMES_BYTES_MAX`].
    pub sealed_names: Vec<u8>,
}

/// Why a device list was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Larger than [`limits::DEVICE_LIST_BYTES_MAX`].
    #[error("the device list is too large")]
    TooLarge,
    /// Not the encoding of a list, or a field has the wrong length or range.
    #[error("the device list is malformed")]
    Malformed,
    /// The account id is not the hash of the account key.
    #[error("the account id is not the hash of the account key")]
    WrongAccount,
    /// The signature is not the account key's.
    #[error("the signature of the device list is wrong")]
    BadSignature,
    /// Versions begin with 1.
    #[error("the device list has version 0")]
    VersionZero,
    /// None, or more than [`limits::DEVICES_MAX`].
    #[error("the device list has no devices or too many")]
    DeviceCount,
    /// Devices are listed once each, by ascending number.
    #[error("the devices are not in ascending order")]
    DeviceOrder,
    /// Device 1 is always listed.
    #[error("the primary device is missing")]
    PrimaryMissing,
    /// Not a Curve25519 key of the Signal protocol in canonical form, or of low order.
    #[error("the identity key of a device is refused")]
    BadIdentityKey,
    /// Not an Ed25519 key, or of low order.
    #[error("the device key of a device is refused")]
    BadDeviceKey,
    /// A device did not sign its own entry.
    #[error("a device's own signature is wrong")]
    BadDeviceSignature,
    /// Two devices share an identity key or a device key.
    #[error("two devices share a key")]
    SharedKey,
    /// The sealed names are longer than [`SEALED_NAMES_BYTES_MAX`].
    #[error("the sealed names are too long")]
    NamesTooLong,
}

/// How a verified list stands to the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// The same list again.
    Same,
    /// A newer one, which takes its place.
    Newer,
}

/// Why a verified list may not take the place of the one that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// It is another account's.
    #[error("the device list is another account's")]
    OtherAccount,
    /// Its version is lower than the known one.
    #[error("the device list is older than the known one")]
    Rollback,
    /// The same version with other bytes: the account signed two lists, or its key is in two hands.
    #[error("two device lists have the same version")]
    Fork,
}

impl ListedDevice {
    /// Signs the device's entry, once, when it registers or is linked.
    pub fn sign(
        account: AccountId,
        number: DeviceNumber,
        registration: RegistrationId,
        identity_key: IdentityKey,
        secret: &DeviceSecret,
    ) -> Self {
        let device_key = secret.public();
        let binding = binding_bytes(account, number, registration, &identity_key, &device_key);
        let signature = secret.sign(Label::DeviceBinding, &binding);
        Self { number, registration, identity_key, device_key, signature }
    }

    /// The entry of a device whose own signature came from elsewhere; refused if it is not over exactly this
    /// account, number, registration and these keys ([`ListError::BadDeviceSignature`]).
    pub fn verify(
        account: AccountId,
        number: DeviceNumber,
        registration: RegistrationId,
        identity_key: IdentityKey,
        device_key: DeviceKey,
        signature: Signature,
    ) -> Result<Self, ListError> {
        let device = Self { number, registration, identity_key, device_key, signature };
        if device.consents(account) { Ok(device) } else { Err(ListError::BadDeviceSignature) }
    }

    /// The device's number.
    pub const fn number(&self) -> DeviceNumber {
        self.number
    }

    /// Which life of that number.
    pub const fn registration(&self) -> RegistrationId {
        self.registration
    }

    /// The device's Signal identity.
    pub const fn identity_key(&self) -> &IdentityKey {
        &self.identity_key
    }

    /// The key that opens the device's sessions.
    pub const fn device_key(&self) -> &DeviceKey {
        &self.device_key
    }

    /// The device's own signature over its entry.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    fn consents(&self, account: AccountId) -> bool {
        let Self { number, registration, identity_key, device_key, signature } = self;
        let binding = binding_bytes(account, *number, *registration, identity_key, device_key);
        device_key.verify(Label::DeviceBinding, &binding, signature)
    }

    fn read(raw: proto::ListedDevice) -> Result<Self, ListError> {
        Ok(Self {
            number: DeviceNumber::new(raw.number).map_err(|_| ListError::Malformed)?,
            registration: RegistrationId::new(raw.registration).map_err(|_| ListError::Malformed)?,
            identity_key: IdentityKey::from_slice(&raw.identity_key)
                .map_err(|_| ListError::BadIdentityKey)?,
            device_key: DeviceKey::from_slice(&raw.device_key).map_err(|_| ListError::BadDeviceKey)?,
            signature: Signature::from_slice(&raw.device_signature)
                .map_err(|_| ListError::BadDeviceSignature)?,
        })
    }

    fn write(&self) -> proto::ListedDevice {
        proto::ListedDevice {
            number: self.number.get().into(),
            registration: self.registration.get(),
            identity_key: self.identity_key.as_bytes().to_vec(),
            device_key: self.device_key.as_bytes().to_vec(),
            device_signature: self.signature.as_bytes().to_vec(),
        }
    }
}

impl DeviceListDraft {
    /// Signs the list and verifies the result, so that a primary never publishes what others refuse.
    pub fn sign(self, secret: &AccountSecret) -> Result<DeviceList, ListError> {
        let account_key = secret.public();
        let bytes = proto::DeviceList {
            account: account_id(&account_key).as_bytes().to_vec(),
            account_key: account_key.as_bytes().to_vec(),
            version: self.version,
            issued_at_ms: self.issued_at.as_millis(),
            devices: self.devices.iter().map(ListedDevice::write).collect(),
            sealed_names: self.sealed_names,
        }
        .encode_to_vec();
        let signature = secret.sign(Label::DeviceList, &bytes);
        DeviceList::verify(&Wrapper::encode(bytes, &signature))
    }
}

impl DeviceList {
    /// Verifies a `SignedDeviceList`: its size, form, account, signatures and every rule of a list.
    pub fn verify(carried: &[u8]) -> Result<Self, ListError> {
        if carried.len() > limits::DEVICE_LIST_BYTES_MAX {
            return Err(ListError::TooLarge);
        }
        let wrapper = Wrapper::decode(carried).ok_or(ListError::Malformed)?;
        let raw = proto::DeviceList::decode(&wrapper.bytes[..]).map_err(|_| ListError::Malformed)?;
        let account = AccountId::from_slice(&raw.account).map_err(|_| ListError::Malformed)?;
        let account_key = AccountKey::from_slice(&raw.account_key).map_err(|_| ListError::Malformed)?;
        if account != account_id(&account_key) {
            return Err(ListError::WrongAccount);
        }
        if !account_key.verify(Label::DeviceList, &wrapper.bytes, &wrapper.signature) {
            return Err(ListError::BadSignature);
        }
        if raw.version == 0 {
            return Err(ListError::VersionZero);
        }
        if raw.sealed_names.len() > SEALED_NAMES_BYTES_MAX {
            return Err(ListError::NamesTooLong);
        }
        Ok(Self {
            account,
            account_key,
            version: raw.version,
            issued_at: Timestamp::from_millis(raw.issued_at_ms),
            devices: read_devices(account, raw.devices)?,
            sealed_names: raw.sealed_names,
            carried: carried.to_vec(),
            hash: Sha256::digest(carried).into(),
        })
    }

    /// Whether this list may stand where `known` stands.
    pub fn successor_of(&self, known: &Self) -> Result<Succession, SuccessionError> {
        if self.account != known.account {
            return Err(SuccessionError::OtherAccount);
        }
        match self.version.cmp(&known.version) {
            std::cmp::Ordering::Greater => Ok(Succession::Newer),
            std::cmp::Ordering::Less => Err(SuccessionError::Rollback),
            std::cmp::Ordering::Equal if self.carried == known.carried => Ok(Succession::Same),
            std::cmp::Ordering::Equal => Err(SuccessionError::Fork),
        }
    }

    /// The account whose devices these are.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The account's key, which the list was signed with.
    pub const fn account_key(&self) -> &AccountKey {
        &self.account_key
    }

    /// From 1, strictly increasing.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// When the primary says that it signed it.
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The devices, by ascending number; the primary is the first.
    pub fn devices(&self) -> &[ListedDevice] {
        &self.devices
    }

    /// The device of that number, if it is listed.
    pub fn device(&self, number: DeviceNumber) -> Option<&ListedDevice> {
        self.devices.iter().find(|device| device.number == number)
    }

    /// The mailboxes of the listed devices, in the list's order.
    pub fn mailboxes(&self) -> impl Iterator<Item = MailboxId> + '_ {
        self.devices.iter().map(|device| MailboxId {
            account: self.account,
            device: device.number,
            registration: device.registration,
        })
    }

    /// The devices' names, sealed for the account's own devices.
    pub fn sealed_names(&self) -> &[u8] {
        &self.sealed_names
    }

    /// The `SignedDeviceList` as it came or was made.
    pub fn as_bytes(&self) -> &[u8] {
        &self.carried
    }

    /// SHA-256 of [`DeviceList::as_bytes`]: what content names, so that a split view shows.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

fn read_devices(account: AccountId, raw: Vec<proto::ListedDevice>) -> Result<Vec<ListedDevice>, ListError> {
    if raw.is_empty() || raw.len() > limits::DEVICES_MAX {
        return Err(ListError::DeviceCount);
    }
    let devices = raw.into_iter().map(ListedDevice::read).collect::<Result<Vec<_>, _>>()?;
    if !devices.is_sorted_by(|before, after| before.number < after.number) {
        return Err(ListError::DeviceOrder);
    }
    if devices.first().map(ListedDevice::number) != Some(DeviceNumber::PRIMARY) {
        return Err(ListError::PrimaryMissing);
    }
    if !devices.iter().all(|device| device.consents(account)) {
        return Err(ListError::BadDeviceSignature);
    }
    let identities: BTreeSet<_> = devices.iter().map(|device| device.identity_key).collect();
    let keys: BTreeSet<_> = devices.iter().map(|device| *device.device_key.as_bytes()).collect();
    if identities.len() < devices.len() || keys.len() < devices.len() {
        return Err(ListError::SharedKey);
    }
    Ok(devices)
}

/// The encoding of `DeviceBinding`: every field present, by ascending field number. It is not carried,
/// so signer and verifiers build the same bytes from the list's fields.
fn binding_bytes(
    account: AccountId,
    number: DeviceNumber,
    registration: RegistrationId,
    identity_key: &IdentityKey,
    device_key: &DeviceKey,
) -> Vec<u8> {
    proto::DeviceBinding {
        account: account.as_bytes().to_vec(),
        number: number.get().into(),
        registration: registration.get(),
        identity_key: identity_key.as_bytes().to_vec(),
        device_key: device_key.as_bytes().to_vec(),
    }
    .encode_to_vec()
}
