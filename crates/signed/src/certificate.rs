//! The account key's word for one device, with which a group operation verifies from its own bytes,
//! also for somebody who joins years later and never saw the device list of that day.

use crate::{AccountKey, AccountSecret, DeviceKey, account_id, label::Label, proto, wrapper::Wrapper};
use prost::Message;
use types::{AccountId, DeviceNumber};

/// A verified certificate: the account says that this key is its device of that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    account: AccountId,
    number: DeviceNumber,
    device_key: DeviceKey,
    carried: Vec<u8>,
}

/// Why a device certificate was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not the encoding of a certificate, or a field has the wrong length or range.
    #[error("the device certificate is malformed")]
    Malformed,
    /// It names another account than the key's.
    #[error("the device certificate is for another account")]
    WrongAccount,
    /// The signature is not the account key's.
    #[error("the signature of the device certificate is wrong")]
    BadSignature,
}

impl DeviceCertificate {
    /// Signs a certificate, on the primary device.
    pub fn sign(secret: &AccountSecret, number: DeviceNumber, device_key: DeviceKey) -> Self {
        let account = account_id(&secret.public());
        let bytes = proto::DeviceCertificate {
            account: account.as_bytes().to_vec(),
            number: number.get().into(),
            device_key: device_key.as_bytes().to_vec(),
        }
        .encode_to_vec();
        let signature = secret.sign(Label::DeviceCertificate, &bytes);
        Self { account, number, device_key, carried: Wrapper::encode(bytes, &signature) }
    }

    /// Verifies a `SignedDeviceCertificate` of the account that owns `key`.
    pub fn verify(carried: &[u8], key: &AccountKey) -> Result<Self, CertificateError> {
        use CertificateError::*;
        let wrapper = Wrapper::decode(carried).ok_or(Malformed)?;
        let certificate = proto::DeviceCertificate::decode(&wrapper.bytes[..]).map_err(|_| Malformed)?;
        let account = AccountId::from_slice(&certificate.account).map_err(|_| Malformed)?;
        let number = DeviceNumber::new(certificate.number).map_err(|_| Malformed)?;
        let device_key = DeviceKey::from_slice(&certificate.device_key).map_err(|_| Malformed)?;
        if account != account_id(key) {
            return Err(WrongAccount);
        }
        if !key.verify(Label::DeviceCertificate, &wrapper.bytes, &wrapper.signature) {
            return Err(BadSignature);
        }
        Ok(Self { account, number, device_key, carried: carried.to_vec() })
    }

    /// The account that the device belongs to.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The device's number.
    pub const fn number(&self) -> DeviceNumber {
        self.number
    }

    /// The device's key.
    pub const fn device_key(&self) -> &DeviceKey {
        &self.device_key
    }

    /// The `SignedDeviceCertificate` as it came or was made.
    pub fn as_bytes(&self) -> &[u8] {
        &self.carried
    }
}
