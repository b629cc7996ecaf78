//! What the two sides tell each other under the seal, and the one check that both make of the result.

use super::LinkError;
use super::digits::Nonce;
use crate::SyncKey;
use crate::names::DeviceName;
use crate::proto::link as proto;
use prost::Message;
use signed::{AccountKey, DeviceCertificate, DeviceList, LinkOffer, Signature, account_id};
use types::{AccountId, DeviceNumber, PhoneNumber};
use zeroize::{Zeroize, Zeroizing};

/// Whose device the new one is asked to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The key of the inviting account.
    pub account_key: AccountKey,
    /// The number that the new device gets; never the primary's.
    pub device: DeviceNumber,
    /// The account's phone number.
    pub phone: PhoneNumber,
}

impl Invitation {
    /// The inviting account.
    pub fn account(&self) -> AccountId {
        account_id(&self.account_key)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        proto::InvitationBody {
            account_key: self.account_key.as_bytes().to_vec(),
            device: self.device.get().into(),
            phone: self.phone.e164().to_owned(),
            too_many_devices: false,
        }
        .encode_to_vec()
    }

    /// What stands in the place of an invitation where the account has no place left.
    pub(super) fn turned_away() -> Vec<u8> {
        proto::InvitationBody { too_many_devices: true, ..Default::default() }.encode_to_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let raw = proto::InvitationBody::decode(bytes).map_err(|_| LinkError::Malformed)?;
        if raw.too_many_devices {
            return Err(LinkError::TooManyDevices);
        }
        let device = DeviceNumber::new(raw.device).map_err(|_| LinkError::Malformed)?;
        if device == DeviceNumber::PRIMARY {
            return Err(LinkError::Malformed);
        }
        Ok(Self {
            account_key: AccountKey::from_slice(&raw.account_key).map_err(|_| LinkError::Malformed)?,
            device,
            phone: raw.phone.parse().map_err(|_| LinkError::Malformed)?,
        })
    }

    /// The list and the certificate are this account's, and name the device that made the offer.
    pub(super) fn check_listed(
        &self,
        offer: &LinkOffer,
        list: &DeviceList,
        certificate: &DeviceCertificate,
    ) -> Result<(), LinkError> {
        let listed = list.device(self.device).is_some_and(|listed| {
            listed.identity_key() == offer.identity_key()
                && listed.device_key() == offer.device_key()
                && listed.registration() == offer.registration()
        });
        let certified = certificate.account() == self.account()
            && certificate.number() == self.device
            && certificate.device_key() == offer.device_key();
        let same_account = *list.account_key() == self.account_key;
        if listed && certified && same_account { Ok(()) } else { Err(LinkError::NotListed) }
    }
}

/// The new device's consent to its place, its name, and its share in the digits.
pub(super) struct Answer {
    pub(super) signature: Signature,
    pub(super) name: DeviceName,
    pub(super) nonce: Nonce,
}

impl Answer {
    pub(super) fn encode(&self) -> Vec<u8> {
        proto::AnswerBody {
            device_signature: self.signature.as_bytes().to_vec(),
            name: self.name.as_str().to_owned(),
            nonce: self.nonce.as_bytes().to_vec(),
        }
        .encode_to_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LinkError> {
        let raw = proto::AnswerBody::decode(bytes).map_err(|_| LinkError::Malformed)?;
        Ok(Self {
            signature: Signature::from_slice(&raw.device_signature).map_err(|_| LinkError::Malformed)?,
            name: raw.name.parse().map_err(|_| LinkError::Malformed)?,
            nonce: Nonce::from_slice(&raw.nonce).ok_or(LinkError::Malformed)?,
        })
    }
}

/// What makes the new device a device of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The account's device list, with the new device.
    pub list: DeviceList,
    /// The account key's word for the new device, for operations on groups.
    pub certificate: DeviceCertificate,
    /// Shared by the devices of the account.
    pub sync_key: SyncKey,
}

impl Completion {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut raw = proto::CompletionBody {
            device_list: self.list.as_bytes().to_vec(),
            certificate: self.certificate.as_bytes().to_vec(),
            sync_key: self.sync_key.as_bytes().to_vec(),
        };
        let bytes = Zeroizing::new(raw.encode_to_vec());
        raw.sync_key.zeroize();
        bytes
    }

    pub(super) fn decode(bytes: &[u8], account_key: &AccountKey) -> Result<Self, LinkError> {
        let raw = proto::CompletionBody::decode(bytes).map_err(|_| LinkError::Malformed)?;
        let sync_key = Zeroizing::new(raw.sync_key);
        let certificate = DeviceCertificate::verify(&raw.certificate, account_key);
        Ok(Self {
            list: DeviceList::verify(&raw.device_list).map_err(|_| LinkError::NotListed)?,
            certificate: certificate.map_err(|_| LinkError::NotListed)?,
            sync_key: SyncKey::from_slice(&sync_key).map_err(|_| LinkError::Malformed)?,
        })
    }
}
