//! What facts are made of: causes, kinds, lines.

use super::text;
use serde::{Deserialize, Serialize};
use types::{AccountId, GroupId, MessageId, Stamp};

/// Why a row was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletion {
    /// Its device acknowledged it.
    Acked,
    /// Its time was over.
    Expired,
    /// Its mailbox was closed.
    Closed,
}

/// One message of a [`Fact::View`](super::Fact::View).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The message.
    #[serde(with = "text")]
    pub message: MessageId,
    /// Its place; none while it is not accepted.
    #[serde(with = "text::option", default)]
    pub stamp: Option<Stamp>,
}

/// One operation of a [`Fact::ChainHeld`](super::Fact::ChainHeld).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOperation {
    /// Digest of its bytes.
    #[serde(with = "text")]
    pub digest: u128,
    /// Its place among messages; none while that is not known.
    #[serde(with = "text::option", default)]
    pub stamp: Option<Stamp>,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptKind {
    /// It is stored on a device of the recipient.
    Delivered,
    /// A person has seen it.
    Read,
}

/// The kinds of prekeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Signed, replaced now and then, given to everybody.
    Signed,
    /// Post-quantum, given to everybody when the pool is empty.
    LastResort,
    /// Classical, given to one.
    OneTime,
    /// Post-quantum, given to one.
    OneTimeKem,
}

impl KeyKind {
    /// Whether it may be given to one requesting device only.
    pub const fn is_one_time(self) -> bool {
        matches!(self, Self::OneTime | Self::OneTimeKem)
    }
}

/// Something that people sign version after version, and that a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignedLog {
    /// The device lists of an account.
    DeviceList(AccountId),
    /// The operations of a group; an operation's version is its epoch.
    GroupChain(GroupId),
}
