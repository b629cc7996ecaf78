//! Links: a new device and the primary of an account meet here before the new device has an account.

use crate::StoreError;
use bytes::Bytes;
use types::{AccountId, LinkId, MailboxId, Timestamp};
use wire::KeyUpload;

/// Attempts to link a device.
///
/// # Contract
/// A link goes forward only: waiting, invited, answered, linked; from each of the first three it can be
/// refused, and ends by itself at its `expires_at`, which is compared with the time given by the caller.
/// Each step is one compare-and-set: of two that try it with different bytes at most one has taken it, and
/// the same one again is told so. A link is completed together with the device list that names its device,
/// by [`Accounts::put_list`](super::Accounts::put_list), in one transaction.
#[async_trait::async_trait]
pub trait Links: Send + Sync + 'static {
    /// Stores what a new device offers.
    async fn create_link(&self, link: NewLink) -> Result<CreateLinkOutcome, StoreError>;

    /// A link as it is stored, whether its time is over or not; `None` for an unknown one.
    async fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError>;

    /// An account takes the link: only while it waits, and the first inviter has it.
    async fn invite(&self, invite: InviteLink) -> Result<LinkOutcome, StoreError>;

    /// The new device answers its invitation.
    async fn answer_link(&self, answer: AnswerLink) -> Result<LinkOutcome, StoreError>;

    /// An account wants nothing of this link: the inviter, or anybody while nobody has invited.
    async fn refuse_link(
        &self,
        id: LinkId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<LinkOutcome, StoreError>;

    /// Deletes links that ended at or before `ended`, linked and refused ones too; answers how many. Who
    /// gives a time that lies back lets devices learn how their link has ended.
    async fn expire_links(&self, ended: Timestamp) -> Result<u64, StoreError>;
}

/// What a new device offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLink {
    /// The id, from the code.
    pub id: LinkId,
    /// SHA-256 of the token that the device asks with, and connects with once it is linked.
    pub token_hash: [u8; 32],
    /// Its public keys, as the code commits to them.
    pub offer: Bytes,
    /// Its prekeys, which are stored with its record once it is linked.
    pub keys: KeyUpload,
    /// When the code is void.
    pub expires_at: Timestamp,
}

/// What came of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateLinkOutcome {
    /// Stored.
    Created,
    /// It was there: same token, same offer, same keys. Its time goes on as it was.
    Repeat {
        /// When it ends.
        expires_at: Timestamp,
    },
    /// Another link has this id.
    Exists,
}

/// A link as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// SHA-256 of the new device's token.
    pub token_hash: [u8; 32],
    /// What the new device offers.
    pub offer: Bytes,
    /// How far it came, its time aside: see [`Link::state`].
    pub phase: LinkState,
    /// Who has it.
    pub inviter: Option<AccountId>,
    /// What the inviter says.
    pub invitation: Option<Bytes>,
    /// What the new device answers.
    pub answer: Option<Bytes>,
    /// What the new device needs once it is linked.
    pub completion: Option<Bytes>,
    /// The device that it became.
    pub device: Option<MailboxId>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Link {
    /// Where the link stands at this time.
    pub fn state(&self, now: Timestamp) -> LinkState {
        match self.phase {
            LinkState::Waiting | LinkState::Invited | LinkState::Answered if now >= self.expires_at => {
                LinkState::Expired
            }
            phase => phase,
        }
    }
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nobody has invited the device.
    Waiting,
    /// An account has.
    Invited,
    /// The device has answered.
    Answered,
    /// It is on the account's list.
    Linked,
    /// The account does not want it.
    Refused,
    /// Its time is over.
    Expired,
}

/// An account takes a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteLink {
    /// Which.
    pub id: LinkId,
    /// Who.
    pub account: AccountId,
    /// What it says to the new device.
    pub invitation: Bytes,
    /// Until when the link lives from now on.
    pub expires_at: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// A new device answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerLink {
    /// Which link.
    pub id: LinkId,
    /// SHA-256 of the token that was presented.
    pub token_hash: [u8; 32],
    /// What it says to the inviter.
    pub answer: Bytes,
    /// The time.
    pub now: Timestamp,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkOutcome {
    /// Taken.
    Done,
    /// It was taken before, by the same one with the same bytes, and the link is still open or went on.
    Repeat,
    /// The link is unknown, not the caller's, over, or not where the step begins. Nothing changed.
    Unavailable,
}

/// A link to be completed with a device list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteLink {
    /// Which; it must be answered, and the list's account must be its inviter.
    pub id: LinkId,
    /// The device that the list adds for it: it gets the link's token and prekeys.
    pub device: MailboxId,
    /// What the new device needs.
    pub completion: Bytes,
    /// Until when the new device may fetch that.
    pub expires_at: Timestamp,
    /// The time.
    pub now: Timestamp,
}
