//! What an operation changes, and its form in bytes.

use crate::{
    Signature,
    group::operation::{OperationError, SEALED_INFO_BYTES_MAX},
    keys::{LinkKey, LinkSecret},
    label::Label,
    proto::{self, group_operation::Change as Raw},
};
use std::collections::BTreeSet;
use types::{AccountId, GroupId};

/// One change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// Begins the chain; the actor becomes the creator.
    Create {
        /// The first members beside the creator.
        members: BTreeSet<AccountId>,
        /// Name, description and picture, sealed; at most [`SEALED_INFO_BYTES_MAX`].
        sealed_info: Vec<u8>,
        /// What plain members may do.
        permissions: Permissions,
    },
    /// Adds accounts as plain members.
    Add(BTreeSet<AccountId>),
    /// Removes members. The creator cannot be removed, and nobody removes themselves: they leave.
    Remove(BTreeSet<AccountId>),
    /// The actor leaves.
    Leave,
    /// Makes plain members admins.
    Promote(BTreeSet<AccountId>),
    /// Makes admins plain members. Only the creator demotes the creator.
    Demote(BTreeSet<AccountId>),
    /// Replaces name, description and picture, sealed; at most [`SEALED_INFO_BYTES_MAX`].
    SetInfo(Vec<u8>),
    /// Replaces the permissions.
    SetPermissions(Permissions),
    /// Makes, replaces or (`None`) revokes the invite link.
    SetInviteLink(Option<LinkKey>),
    /// The actor joins by the invite link, and shows by this signature that it was given to them
    /// ([`join_signature`]).
    Join(Signature),
    /// Messages disappear after so many seconds; 0: they stay.
    SetTimer(u32),
}

/// What plain members may do, and who may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Members, not only admins, may add members.
    pub members_add: bool,
    /// Members, not only admins, may set the info and the timer.
    pub members_set_info: bool,
    /// Only admins may send.
    pub admins_send: bool,
}

/// The link secret's signature over (group, account), which [`GroupChange::Join`] carries.
pub fn join_signature(link: &LinkSecret, group: GroupId, account: AccountId) -> Signature {
    link.sign(Label::Join, &join_bytes(group, account))
}

/// Whether `signature` lets `account` into `group` by the link that `key` belongs to.
pub(super) fn joins(key: &LinkKey, group: GroupId, account: AccountId, signature: &Signature) -> bool {
    key.verify(Label::Join, &join_bytes(group, account), signature)
}

fn join_bytes(group: GroupId, account: AccountId) -> Vec<u8> {
    [*group.as_bytes(), *account.as_bytes()].concat()
}

impl GroupChange {
    pub(super) fn read(raw: Raw) -> Result<Self, OperationError> {
        Ok(match raw {
            Raw::Create(create) => Self::Create {
                members: read_members(&create.members)?,
                sealed_info: read_info(create.sealed_info)?,
                permissions: Permissions::read(create.permissions.unwrap_or_default()),
            },
            Raw::Add(add) => Self::Add(read_some_members(&add.members)?),
            Raw::Remove(remove) => Self::Remove(read_some_members(&remove.members)?),
            Raw::Leave(proto::Leave {}) => Self::Leave,
            Raw::Promote(promote) => Self::Promote(read_some_members(&promote.members)?),
            Raw::Demote(demote) => Self::Demote(read_some_members(&demote.members)?),
            Raw::SetInfo(set) => Self::SetInfo(read_info(set.sealed_info)?),
            Raw::SetPermissions(set) => {
                Self::SetPermissions(Permissions::read(set.permissions.ok_or(OperationError::Malformed)?))
            }
            Raw::SetInviteLink(set) => Self::SetInviteLink(read_link_key(&set.public_key)?),
            Raw::Join(join) => Self::Join(
                Signature::from_slice(&join.link_signature).map_err(|_| OperationError::Malformed)?,
            ),
            Raw::SetTimer(set) => Self::SetTimer(set.seconds),
        })
    }

    pub(super) fn write(&self) -> Raw {
        match self {
            Self::Create { members, sealed_info, permissions } => Raw::Create(proto::Create {
                members: write_members(members),
                sealed_info: sealed_info.clone(),
                permissions: Some(permissions.write()),
            }),
            Self::Add(members) => Raw::Add(proto::Add { members: write_members(members) }),
            Self::Remove(members) => Raw::Remove(proto::Remove { members: write_members(members) }),
            Self::Leave => Raw::Leave(proto::Leave {}),
            Self::Promote(members) => Raw::Promote(proto::Promote { members: write_members(members) }),
            Self::Demote(members) => Raw::Demote(proto::Demote { members: write_members(members) }),
            Self::SetInfo(sealed) => Raw::SetInfo(proto::SetInfo { sealed_info: sealed.clone() }),
            Self::SetPermissions(permissions) => {
                Raw::SetPermissions(proto::SetPermissions { permissions: Some(permissions.write()) })
            }
            Self::SetInviteLink(key) => Raw::SetInviteLink(proto::SetInviteLink {
                public_key: key.as_ref().map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            }),
            Self::Join(signature) => Raw::Join(proto::Join { link_signature: signature.as_bytes().to_vec() }),
            Self::SetTimer(seconds) => Raw::SetTimer(proto::SetTimer { seconds: *seconds }),
        }
    }
}

impl Permissions {
    fn read(raw: proto::Permissions) -> Self {
        let proto::Permissions { members_add, members_set_info, admins_send } = raw;
        Self { members_add, members_set_info, admins_send }
    }

    fn write(self) -> proto::Permissions {
        let Self { members_add, members_set_info, admins_send } = self;
        proto::Permissions { members_add, members_set_info, admins_send }
    }
}

/// A repeated member is malformed: an honest device never writes one.
fn read_members(raw: &[Vec<u8>]) -> Result<BTreeSet<AccountId>, OperationError> {
    let mut members = BTreeSet::new();
    for bytes in raw {
        let account = AccountId::from_slice(bytes).map_err(|_| OperationError::Malformed)?;
        if !members.insert(account) {
            return Err(OperationError::Malformed);
        }
    }
    Ok(members)
}

fn read_some_members(raw: &[Vec<u8>]) -> Result<BTreeSet<AccountId>, OperationError> {
    if raw.is_empty() {
        return Err(OperationError::Malformed);
    }
    read_members(raw)
}

fn write_members(members: &BTreeSet<AccountId>) -> Vec<Vec<u8>> {
    members.iter().map(|account| account.as_bytes().to_vec()).collect()
}

fn read_info(sealed: Vec<u8>) -> Result<Vec<u8>, OperationError> {
    if sealed.len() > SEALED_INFO_BYTES_MAX { Err(OperationError::InfoTooLong) } else { Ok(sealed) }
}

fn read_link_key(bytes: &[u8]) -> Result<Option<LinkKey>, OperationError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    LinkKey::from_slice(bytes).map(Some).map_err(|_| OperationError::Malformed)
}
