//! The state that a chain implies, and the rules by which an operation may extend it.
//!
//! Pure: the same operations give the same state on every machine.

use crate::{
    group::{
        change::{GroupChange, Permissions, joins},
        operation::{OperationId, Place, SignedOperation},
    },
    keys::{LinkKey, Signature},
};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, GroupId, limits::GROUP_MEMBERS_MAX};

/// A repeat is recognised among this many latest operations: far more than can be made while one
/// device waits for an answer. Part of the rules, since every member must decide alike.
pub const OPERATIONS_REMEMBERED: usize = 256;

/// What a member may do, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sends, and does what the permissions allow.
    Member,
    /// Changes members, roles, info, permissions and the link.
    Admin,
    /// An admin whom other admins can neither remove nor demote.
    Creator,
}

/// A group after the operations of its chain up to `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    pub(super) id: GroupId,
    pub(super) epoch: u64,
    pub(super) head: [u8; 32],
    pub(super) members: BTreeMap<AccountId, Role>,
    pub(super) permissions: Permissions,
    pub(super) sealed_info: Vec<u8>,
    pub(super) link: Option<LinkKey>,
    pub(super) timer_seconds: u32,
    /// The latest operations by epoch: their ids and hashes.
    pub(super) recent: BTreeMap<u64, (OperationId, [u8; 32])>,
}

/// Why a verified operation does not extend the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It belongs to another group.
    #[error("the operation belongs to another group")]
    OtherGroup,
    /// A chain begins with `create`, and only there.
    #[error("a chain begins with create and has only one")]
    NotTheBeginning,
    /// Operations before it are missing here.
    #[error("operations before this one are missing")]
    Ahead,
    /// Its epoch is taken by another operation, or it follows another head: to the server a lost
    /// race, to a member who reads the chain a fork.
    #[error("the operation is not on this chain")]
    Fork,
    /// Its epoch is so old that it cannot be told whether it is the one that stood there.
    #[error("the operation is older than what is remembered")]
    TooOld,
    /// Another operation with the same id was applied: the change has already happened.
    #[error("an operation with this id was applied already")]
    AlreadyApplied,
    /// The actor is not a member (or, to join, is one already).
    #[error("the actor is not a member")]
    NotAMember,
    /// The actor's role or the permissions do not allow it.
    #[error("the actor may not do this")]
    NotAllowed,
    /// A named account is a member already, is none, or has not the role that the change begins from.
    #[error("the change does not fit the members it names")]
    WrongTarget,
    /// More than [`GROUP_MEMBERS_MAX`] members.
    #[error("the group would have too many members")]
    TooManyMembers,
    /// The group would be left without an admin.
    #[error("the last admin must promote somebody first")]
    LastAdmin,
    /// There is no invite link, or the signature was not made with it.
    #[error("the invite link is wrong or revoked")]
    BadLink,
}

impl GroupState {
    /// The state after a `create`.
    pub fn found(operation: &SignedOperation) -> Result<Self, ChainError> {
        let GroupChange::Create { members, sealed_info, permissions } = &operation.change else {
            return Err(ChainError::NotTheBeginning);
        };
        let creator = operation.actor();
        if members.contains(&creator) {
            return Err(ChainError::WrongTarget);
        }
        let mut roles: BTreeMap<_, _> = members.iter().map(|member| (*member, Role::Member)).collect();
        roles.insert(creator, Role::Creator);
        if roles.len() > GROUP_MEMBERS_MAX {
            return Err(ChainError::TooManyMembers);
        }
        Ok(Self {
            id: operation.group(),
            epoch: 0,
            head: operation.hash(),
            members: roles,
            permissions: *permissions,
            sealed_info: sealed_info.clone(),
            link: None,
            timer_seconds: 0,
            recent: BTreeMap::from([(0, (operation.id, operation.hash()))]),
        })
    }

    /// The state after `operation`. The very operation that already stands at its epoch changes
    /// nothing, so asking twice is harmless.
    pub fn apply(&self, operation: &SignedOperation) -> Result<Self, ChainError> {
        if operation.group() != self.id {
            return Err(ChainError::OtherGroup);
        }
        if operation.epoch() <= self.epoch {
            return self.repeat(operation);
        }
        let Place::Follows { epoch, previous, .. } = operation.place else {
            return Err(ChainError::NotTheBeginning);
        };
        if epoch - 1 > self.epoch {
            return Err(ChainError::Ahead);
        }
        if previous != self.head {
            return Err(ChainError::Fork);
        }
        if self.recent.values().any(|(id, _)| *id == operation.id) {
            return Err(ChainError::AlreadyApplied);
        }
        let mut next = self.clone();
        next.change(operation.actor(), &operation.change)?;
        next.advance(operation);
        Ok(next)
    }

    /// The group's id.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// The epoch of the latest operation.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The hash of the latest operation.
    pub const fn head(&self) -> [u8; 32] {
        self.head
    }

    /// What the next operation follows, for its draft.
    pub const fn follows(&self) -> (GroupId, u64, [u8; 32]) {
        (self.id, self.epoch, self.head)
    }

    /// The members and their roles, by account. Empty once the last one has left.
    pub const fn members(&self) -> &BTreeMap<AccountId, Role> {
        &self.members
    }

    /// What plain members may do.
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Name, description and picture, sealed.
    pub fn sealed_info(&self) -> &[u8] {
        &self.sealed_info
    }

    /// The key of the invite link, if there is one.
    pub const fn link(&self) -> Option<&LinkKey> {
        self.link.as_ref()
    }

    /// Messages disappear after so many seconds; 0: they stay.
    pub const fn timer_seconds(&self) -> u32 {
        self.timer_seconds
    }

    /// Whether this account may send messages to the group.
    pub fn may_send(&self, account: AccountId) -> bool {
        self.members.get(&account).is_some_and(|role| !self.permissions.admins_send || *role >= Role::Admin)
    }

    /// Whether this signature of the invite link lets the account join now, and so read the chain
    /// ([`join_signature`](crate::group::join_signature)).
    pub fn admits(&self, account: AccountId, signature: &Signature) -> bool {
        self.link.as_ref().is_some_and(|key| joins(key, self.id, account, signature))
    }

    fn repeat(&self, operation: &SignedOperation) -> Result<Self, ChainError> {
        match self.recent.get(&operation.epoch()) {
            None => Err(ChainError::TooOld),
            Some((_, hash)) if *hash == operation.hash() => Ok(self.clone()),
            Some(_) if self.recent.values().any(|(id, _)| *id == operation.id) => {
                Err(ChainError::AlreadyApplied)
            }
            Some(_) => Err(ChainError::Fork),
        }
    }

    fn advance(&mut self, operation: &SignedOperation) {
        self.epoch = operation.epoch();
        self.head = operation.hash();
        self.recent.insert(self.epoch, (operation.id, self.head));
        if self.recent.len() > OPERATIONS_REMEMBERED {
            self.recent.pop_first();
        }
    }

    fn change(&mut self, actor: AccountId, change: &GroupChange) -> Result<(), ChainError> {
        if let GroupChange::Join(signature) = change {
            return match self.admits(actor, signature) {
                true => self.add(&BTreeSet::from([actor])),
                false => Err(ChainError::BadLink),
            };
        }
        let role = *self.members.get(&actor).ok_or(ChainError::NotAMember)?;
        let admin = role >= Role::Admin;
        match change {
            GroupChange::Create { .. } | GroupChange::Join(_) => Err(ChainError::NotTheBeginning),
            GroupChange::Add(accounts) => {
                allowed(admin || self.permissions.members_add)?;
                self.add(accounts)
            }
            GroupChange::Remove(accounts) => {
                allowed(admin)?;
                self.remove(actor, accounts)
            }
            GroupChange::Leave => self.leave(actor),
            GroupChange::Promote(accounts) => {
                allowed(admin)?;
                self.set_roles(accounts, Role::Member, Role::Admin)
            }
            GroupChange::Demote(accounts) => {
                allowed(admin)?;
                self.demote(actor, accounts)
            }
            GroupChange::SetInfo(sealed) => {
                allowed(admin || self.permissions.members_set_info)?;
                self.sealed_info.clone_from(sealed);
                Ok(())
            }
            GroupChange::SetTimer(seconds) => {
                allowed(admin || self.permissions.members_set_info)?;
                self.timer_seconds = *seconds;
                Ok(())
            }
            GroupChange::SetPermissions(permissions) => {
                allowed(admin)?;
                self.permissions = *permissions;
                Ok(())
            }
            GroupChange::SetInviteLink(key) => {
                allowed(admin)?;
                self.link = *key;
                Ok(())
            }
        }
    }

    fn add(&mut self, accounts: &BTreeSet<AccountId>) -> Result<(), ChainError> {
        for account in accounts {
            if self.members.insert(*account, Role::Member).is_some() {
                return Err(ChainError::WrongTarget);
            }
        }
        if self.members.len() > GROUP_MEMBERS_MAX { Err(ChainError::TooManyMembers) } else { Ok(()) }
    }

    fn remove(&mut self, actor: AccountId, accounts: &BTreeSet<AccountId>) -> Result<(), ChainError> {
        for account in accounts {
            match self.members.get(account) {
                _ if *account == actor => return Err(ChainError::WrongTarget),
                None => return Err(ChainError::WrongTarget),
                Some(Role::Creator) => return Err(ChainError::NotAllowed),
                Some(Role::Admin | Role::Member) => self.members.remove(account),
            };
        }
        Ok(())
    }

    fn leave(&mut self, actor: AccountId) -> Result<(), ChainError> {
        self.members.remove(&actor);
        if self.members.is_empty() {
            // Nobody is left to answer for the link: the group is over.
            self.link = None;
            return Ok(());
        }
        self.keeps_an_admin()
    }

    fn demote(&mut self, actor: AccountId, accounts: &BTreeSet<AccountId>) -> Result<(), ChainError> {
        for account in accounts {
            let role = self.members.get_mut(account).ok_or(ChainError::WrongTarget)?;
            match *role {
                Role::Member => return Err(ChainError::WrongTarget),
                Role::Creator if *account != actor => return Err(ChainError::NotAllowed),
                Role::Creator | Role::Admin => *role = Role::Member,
            }
        }
        self.keeps_an_admin()
    }

    fn set_roles(&mut self, accounts: &BTreeSet<AccountId>, from: Role, to: Role) -> Result<(), ChainError> {
        for account in accounts {
            match self.members.get_mut(account) {
                Some(role) if *role == from => *role = to,
                _ => return Err(ChainError::WrongTarget),
            }
        }
        Ok(())
    }

    fn keeps_an_admin(&self) -> Result<(), ChainError> {
        let has_admin = self.members.values().any(|role| *role >= Role::Admin);
        if has_admin { Ok(()) } else { Err(ChainError::LastAdmin) }
    }
}

fn allowed(may: bool) -> Result<(), ChainError> {
    if may { Ok(()) } else { Err(ChainError::NotAllowed) }
}
