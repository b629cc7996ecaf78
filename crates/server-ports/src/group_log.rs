//! The group log: the signed chain of each group, and the membership that it implies.

use crate::StoreError;
use bytes::Bytes;
use types::{AccountId, GroupId, MailboxId, Stamp};

/// What makes a repeat of an operation harmless: 16 random bytes that its actor drew.
pub type OperationId = [u8; 16];

/// The store of group chains.
///
/// It orders operations and understands none of them: whoever appends has verified the operation against
/// the state that `expected` stands for, and says who joins and who leaves by it.
///
/// # Contract
/// - **Compare and append.** Of all appends that name the same head at most one is appended. Epochs of a
///   chain are 0, 1, 2, … without a gap, in the order of appends.
/// - **Durable** when a write returns `Ok`, **atomic** (an operation, the head, the membership and the
///   duty to deliver come together or not at all), and **linearizable** for each group: who asks after
///   an append was answered sees it.
/// - **Idempotent.** An operation whose id the chain has is not appended again, whatever head is named and
///   whatever its other bytes are; the answer says where it stands.
/// - **Stamps** increase along a chain: one that is not above the head's is not appended.
/// - **Nothing is undelivered for good.** An operation is undelivered from its append until
///   [`GroupLog::delivered`] says otherwise, over any crash in between.
/// - **Nothing is ever removed**: a chain that lost its last member still reads.
/// - **Poisoned** after the first I/O error (see [`StoreError::Poisoned`]).
#[async_trait::async_trait]
pub trait GroupLog: Send + Sync + 'static {
    /// Appends an operation to a chain, or begins one.
    async fn append(&self, operation: AppendOperation) -> Result<AppendOutcome, StoreError>;

    /// The newest operation of a chain, without its bytes; `None` for a group that does not exist.
    async fn head(&self, group: GroupId) -> Result<Option<GroupHead>, StoreError>;

    /// Operations from an epoch on, by ascending epoch, at most so many; none for an unknown group.
    async fn operations(
        &self,
        group: GroupId,
        from_epoch: u64,
        limit: usize,
    ) -> Result<Vec<StoredOperation>, StoreError>;

    /// The operation of this id in this chain.
    async fn find_operation(
        &self,
        group: GroupId,
        operation_id: OperationId,
    ) -> Result<Option<StoredOperation>, StoreError>;

    /// Whether and when an account is or was a member; `None` if it never was.
    async fn membership(&self, group: GroupId, account: AccountId) -> Result<Option<Membership>, StoreError>;

    /// The groups that an account is a member of, in ascending order.
    async fn groups_of(&self, account: AccountId) -> Result<Vec<GroupId>, StoreError>;

    /// Whether some group has both accounts as members.
    async fn in_one_group(&self, one: AccountId, other: AccountId) -> Result<bool, StoreError>;

    /// Operations whose rows may not be in the mailboxes yet, at most so many: those of one group by
    /// ascending epoch, none before an undelivered one of the same group.
    async fn undelivered(&self, limit: usize) -> Result<Vec<(GroupId, StoredOperation)>, StoreError>;

    /// The rows of this operation are in the mailboxes. An unknown or delivered one is left as it is.
    async fn delivered(&self, group: GroupId, epoch: u64) -> Result<(), StoreError>;

    /// `Err` once poisoned. Never blocks.
    fn health(&self) -> Result<(), StoreError>;
}

/// An operation to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendOperation {
    /// The chain.
    pub group: GroupId,
    /// The head that the operation follows; `None` begins the chain.
    pub expected: Option<[u8; 32]>,
    /// The hash of the operation: the head after it.
    pub hash: [u8; 32],
    /// What the actor calls it.
    pub operation_id: OperationId,
    /// The device that signed it, in the life of its number in which it asked.
    pub actor: MailboxId,
    /// The signed operation as it was carried.
    pub bytes: Bytes,
    /// The stamp of its rows.
    pub stamp: Stamp,
    /// Who becomes a member by it.
    pub joined: Vec<AccountId>,
    /// Who is no member any more.
    pub left: Vec<AccountId>,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// Appended at this epoch.
    Appended {
        /// 0 for the first.
        epoch: u64,
    },
    /// The chain had it.
    Repeat {
        /// Where.
        epoch: u64,
        /// The stamp of its rows.
        stamp: Stamp,
    },
    /// The chain has another head than the expected one, or the stamp is not above its stamp. Nothing
    /// was appended.
    Moved(GroupHead),
    /// There is no such chain, and a head was expected.
    NoGroup,
}

/// Where a chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHead {
    /// The epoch of its newest operation.
    pub epoch: u64,
    /// The hash of it.
    pub head: [u8; 32],
    /// The stamp of its rows.
    pub stamp: Stamp,
    /// Whether its rows are known to be in the mailboxes. An operation that follows an undelivered one is
    /// delivered after it, or the members see them in the wrong order.
    pub delivered: bool,
}

/// An operation of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOperation {
    /// Where it stands.
    pub epoch: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// What its actor calls it.
    pub operation_id: OperationId,
    /// The device that signed it.
    pub actor: MailboxId,
    /// The stamp of its rows.
    pub stamp: Stamp,
    /// The signed operation as it was carried.
    pub bytes: Bytes,
}

/// An account's latest time in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The epoch of the operation that it joined by.
    pub since: u64,
    /// The epoch of the operation that it left by; `None` while it is a member.
    pub until: Option<u64>,
}

impl Membership {
    /// Whether the account is a member now.
    pub const fn is_current(self) -> bool {
        self.until.is_none()
    }
}
