//! Mistakes that a store could make, as switches: a checker that does not find them proves nothing.

use std::collections::BTreeSet;

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A mailbox that was emptied starts again at its first position.
    PositionReused,
    /// Only the first row of a send is written; the answer says that all were.
    AllOrNoneBroken,
    /// The record of a send is not kept, so that a retry is a second send.
    RecordForgotten,
    /// A fleet's read answers the highest visible position as its cursor; rows that appear later
    /// below it are never read.
    CursorSkipsLateRow,
    /// Rows are gone after half of their life.
    EarlyExpiry,
    /// Rows never expire.
    ImmortalRow,
    /// An ack deletes every row up to the highest position named.
    AckDeletesBelow,
    /// An append is answered before it is on disk: a power cut takes the newest one away.
    AppendNotSynced,
    /// A one-time key stays in the pool after it was given away.
    OneTimeKeyTwice,
    /// A bundle carries another device's uploaded signed prekey.
    BundleMixedUp,
    /// Any connection number is taken.
    ConnectionNumberNotCompared,
    /// Wrong codes are not counted.
    TriesNotCounted,
    /// A signal reaches whichever session of the node comes first, not the one that was named.
    SignalMisrouted,
    /// An operation is appended to whatever head the chain has.
    HeadNotCompared,
    /// An operation that the chain has is appended again.
    OperationTwice,
    /// A restart forgets which operations are not delivered.
    DutyToDeliverForgotten,
    /// A restart forgets which devices lost their record and still have a mailbox.
    RetiringForgotten,
    /// Whoever left a group is still counted as a member.
    RemovedMemberStays,
    /// A second inviter takes a link from the first.
    LinkTakenTwice,
    /// A link can be taken after its time.
    ImmortalLink,
    /// A list is stored though the link of its device could not be completed.
    LinkCompletedInPart,
    /// Whoever knows the newest list can restore with it again.
    RestoredByAnybody,
    /// A blob is stored whatever its bytes are.
    BlobNotChecked,
    /// Blobs never expire.
    ImmortalBlob,
    /// A power cut leaves half of each blob.
    BlobTorn,
    /// A signed address is good for ever.
    AddressNeverEnds,
}

/// The mistakes to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bugs(BTreeSet<Bug>);

impl Bugs {
    /// Exactly these.
    pub fn of(bugs: impl IntoIterator<Item = Bug>) -> Self {
        Self(bugs.into_iter().collect())
    }

    /// Whether to make this one.
    pub fn has(&self, bug: Bug) -> bool {
        self.0.contains(&bug)
    }
}
