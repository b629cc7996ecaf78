//! One signed operation of a chain: it verifies from its own bytes, by the certificate inside.

use crate::{
    AccountKey, CertificateError, DeviceCertificate, DeviceSecret, account_id, group::change::GroupChange,
    id::first_half, label::Label, proto, wrapper::Wrapper,
};
use prost::Message;
use sha2::{Digest, Sha256};
use std::fmt;
use types::{AccountId, DeviceNumber, GroupId, Timestamp, limits::GROUP_OPERATION_BYTES_MAX};

/// Sealed name, description and picture of a group, in bytes.
pub const SEALED_INFO_BYTES_MAX: usize = 4_096;

/// Drawn by the actor for each operation it means to make: asking twice makes one change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// A verified operation, with the bytes as they were carried. Whether the chain allows it is for
/// [`GroupState`](crate::GroupState) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOperation {
    pub(super) place: Place,
    pub(super) id: OperationId,
    pub(super) certificate: DeviceCertificate,
    pub(super) change: GroupChange,
    at: Timestamp,
    carried: Vec<u8>,
    hash: [u8; 32],
}

/// Where in which chain an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It begins a chain, which is named by its hash.
    Founds,
    /// It follows the operation whose hash is `previous`.
    Follows { group: GroupId, epoch: u64, previous: [u8; 32] },
}

/// What an actor puts into an operation before it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationDraft {
    /// The state that the operation follows; none in a `create`.
    pub follows: Option<(GroupId, u64, [u8; 32])>,
    /// Makes a repeat harmless.
    pub id: OperationId,
    /// The actor's account key.
    pub actor_key: AccountKey,
    /// The account key's word for the device that signs.
    pub certificate: DeviceCertificate,
    /// When, by the actor's clock; shown, never relied on.
    pub at: Timestamp,
    /// What changes.
    pub change: GroupChange,
}

/// Why an operation was refused from its own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// Larger than [`GROUP_OPERATION_BYTES_MAX`].
    #[error("the group operation is too large")]
    TooLarge,
    /// Not the encoding of an operation, or a field has the wrong length or range.
    #[error("the group operation is malformed")]
    Malformed,
    /// The sealed info is longer than [`SEALED_INFO_BYTES_MAX`].
    #[error("the sealed info is too long")]
    InfoTooLong,
    /// The actor is not the account that the key or the certificate belongs to.
    #[error("the actor, its key and its certificate do not belong together")]
    WrongActor,
    /// The device certificate was refused.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signature is not the certified device's.
    #[error("the signature of the group operation is wrong")]
    BadSignature,
}

impl OperationDraft {
    /// Signs the operation with the device that the certificate names, and verifies the result.
    pub fn sign(self, secret: &DeviceSecret) -> Result<SignedOperation, OperationError> {
        let (group, epoch, previous) = match self.follows {
            None => (Vec::new(), 0, Vec::new()),
            Some((group, epoch, head)) => (group.as_bytes().to_vec(), epoch.saturating_add(1), head.to_vec()),
        };
        let bytes = proto::GroupOperation {
            group,
            epoch,
            previous,
            operation_id: self.id.0.to_vec(),
            actor: self.certificate.account().as_bytes().to_vec(),
            actor_device: self.certificate.number().get().into(),
            actor_key: self.actor_key.as_bytes().to_vec(),
            certificate: self.certificate.as_bytes().to_vec(),
            at_ms: self.at.as_millis(),
            change: Some(self.change.write()),
        }
        .encode_to_vec();
        let signature = secret.sign(Label::GroupOperation, &bytes);
        SignedOperation::verify(&Wrapper::encode(bytes, &signature))
    }
}

impl SignedOperation {
    /// Verifies a `SignedGroupOperation`: its size, form, certificate and signature.
    pub fn verify(carried: &[u8]) -> Result<Self, OperationError> {
        use OperationError::*;
        if carried.len() > GROUP_OPERATION_BYTES_MAX {
            return Err(TooLarge);
        }
        let wrapper = Wrapper::decode(carried).ok_or(Malformed)?;
        let raw = proto::GroupOperation::decode(&wrapper.bytes[..]).map_err(|_| Malformed)?;
        let certificate = read_actor(&raw)?;
        if !certificate.device_key().verify(Label::GroupOperation, &wrapper.bytes, &wrapper.signature) {
            return Err(BadSignature);
        }
        let change = GroupChange::read(raw.change.ok_or(Malformed)?)?;
        let place = read_place(&raw.group, raw.epoch, &raw.previous).ok_or(Malformed)?;
        if matches!(place, Place::Founds) != matches!(change, GroupChange::Create { .. }) {
            return Err(Malformed);
        }
        Ok(Self {
            place,
            id: raw.operation_id.try_into().map(OperationId).map_err(|_| Malformed)?,
            certificate,
            change,
            at: Timestamp::from_millis(raw.at_ms),
            carried: carried.to_vec(),
            hash: Sha256::digest(carried).into(),
        })
    }

    /// The group whose chain this belongs to; a `create` names it by its own hash.
    pub fn group(&self) -> GroupId {
        match self.place {
            Place::Founds => GroupId::from_bytes(first_half(self.hash)),
            Place::Follows { group, .. } => group,
        }
    }

    /// 0 for `create`, then one more each.
    pub const fn epoch(&self) -> u64 {
        match self.place {
            Place::Founds => 0,
            Place::Follows { epoch, .. } => epoch,
        }
    }

    /// Makes a repeat harmless.
    pub const fn id(&self) -> OperationId {
        self.id
    }

    /// The account that acts.
    pub const fn actor(&self) -> AccountId {
        self.certificate.account()
    }

    /// The device that signed.
    pub const fn actor_device(&self) -> DeviceNumber {
        self.certificate.number()
    }

    /// The account key's word for that device, with its key: those who hold the actor's device list
    /// check that it is still listed.
    pub const fn certificate(&self) -> &DeviceCertificate {
        &self.certificate
    }

    /// When, by the actor's clock.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// What changes.
    pub const fn change(&self) -> &GroupChange {
        &self.change
    }

    /// The `SignedGroupOperation` as it came or was made.
    pub fn as_bytes(&self) -> &[u8] {
        &self.carried
    }

    /// SHA-256 of [`SignedOperation::as_bytes`]: what the next operation names as its previous one.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

/// The certificate inside, once it is clear that actor, device, key and certificate belong together.
fn read_actor(raw: &proto::GroupOperation) -> Result<DeviceCertificate, OperationError> {
    let actor = AccountId::from_slice(&raw.actor).map_err(|_| OperationError::Malformed)?;
    let device = DeviceNumber::new(raw.actor_device).map_err(|_| OperationError::Malformed)?;
    let key = AccountKey::from_slice(&raw.actor_key).map_err(|_| OperationError::Malformed)?;
    if actor != account_id(&key) {
        return Err(OperationError::WrongActor);
    }
    let certificate = DeviceCertificate::verify(&raw.certificate, &key)?;
    if certificate.number() != device {
        return Err(OperationError::WrongActor);
    }
    Ok(certificate)
}

fn read_place(group: &[u8], epoch: u64, previous: &[u8]) -> Option<Place> {
    if group.is_empty() && epoch == 0 && previous.is_empty() {
        return Some(Place::Founds);
    }
    let group = GroupId::from_slice(group).ok()?;
    let previous = previous.try_into().ok()?;
    (epoch > 0).then_some(Place::Follows { group, epoch, previous })
}
