//! Mailboxes: undelivered envelopes for each device, and the record of recent sends.

use crate::StoreError;
use bytes::Bytes;
use types::{EnvelopeId, MailboxId, NodeId, Position, Stamp, Timestamp};

/// The store of undelivered envelopes.
///
/// # Contract
/// - **Durable.** `append`, `open`, `close` and `reserve_stamps` return `Ok` only once the change
///   survives a power cut. `ack` may return once queued; it rides with the next commit, and a lost ack
///   is only a redelivery.
/// - **All or none.** The rows of one [`Append`] and its record become durable and visible together.
/// - **Idempotent.** `(sender, envelope_id)` is recorded with the rows, for the last
///   [`types::limits::SENDS_RECORDED_MAX`] sends of each sender mailbox. A repeat with the same digest
///   answers the recorded stamp and writes nothing that is already there; with another digest it is
///   [`AppendError::Conflict`].
/// - **Positions** within a mailbox increase in the order in which rows become visible, and are never
///   used twice, also after every row was acknowledged and the store reopened. An adapter that cannot
///   promise the order (a fleet's) keeps [`Page::cursor`] behind every row that may still appear.
/// - **Bounds.** A mailbox over [`types::limits::MAILBOX_ROWS_MAX`] rows or
///   [`types::limits::MAILBOX_BYTES_MAX`] bytes takes no row more.
/// - **Closed** mailboxes (never opened, or closed) take no rows: appends to them are dropped and said
///   so. `close` deletes every row. Opening a closed mailbox gives an empty one.
/// - **Expiry.** A row is gone from `read` from `expires_at` on, and is never gone earlier.
/// - **Poisoned** after the first I/O error: every later call fails (see [`StoreError::Poisoned`]).
#[async_trait::async_trait]
pub trait Mailboxes: Send + Sync + 'static {
    /// Makes the rows of one send durable.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// What is recorded of a recent send.
    async fn recorded(
        &self,
        sender: MailboxId,
        envelope_id: EnvelopeId,
    ) -> Result<Option<RecordedSend>, StoreError>;

    /// Rows after a position, in the order of positions.
    async fn read(&self, mailbox: MailboxId, after: Position, limit: PageLimit) -> Result<Page, StoreError>;

    /// Deletes exactly these rows; unknown positions are ignored.
    async fn ack(&self, mailbox: MailboxId, positions: &[Position]) -> Result<(), StoreError>;

    /// Opens a mailbox; an open one is left as it is. Positions of an earlier life of the same mailbox
    /// are not used again.
    async fn open(&self, mailbox: MailboxId) -> Result<(), StoreError>;

    /// Closes a mailbox and deletes its rows and its record of sends; a closed one is left as it is.
    async fn close(&self, mailbox: MailboxId) -> Result<(), StoreError>;

    /// Deletes rows that expired before `now`, a bounded number of them; answers how many. Rows that
    /// expired within the last day may be left to a later call, so that an index by day is enough.
    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Promises durably that this node gives no stamp clock above `clock` before it reserves again.
    /// Never lowers an earlier promise.
    async fn reserve_stamps(&self, node: NodeId, clock: u64) -> Result<(), StoreError>;

    /// The highest promise of this node, 0 for none. A starting node gives only stamps above it.
    async fn reserved_stamps(&self, node: NodeId) -> Result<u64, StoreError>;

    /// `Err` once poisoned. Never blocks.
    fn health(&self) -> Result<(), StoreError>;
}

/// One send, to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The sending device; its record remembers the send.
    pub sender: MailboxId,
    /// The send.
    pub envelope_id: EnvelopeId,
    /// SHA-256 over recipients and ciphertexts: tells a retry from a conflict.
    pub digest: [u8; 32],
    /// The stamp, should the send be new.
    pub stamp: Stamp,
    /// One for each receiving device. May be empty (every device is dormant): the send is still recorded.
    pub rows: Vec<NewRow>,
    /// What a full mailbox does to the send.
    pub when_full: WhenFull,
    /// The time, for expiry.
    pub now: Timestamp,
}

/// A row to be written. It is delivered as `head` followed by `body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Whose mailbox.
    pub to: MailboxId,
    /// The part of the encoded envelope that is this row's own.
    pub head: Bytes,
    /// The part that may be the same in many rows of one append (clones of one `Bytes`), so that an
    /// adapter can store it once. May be empty.
    pub body: Bytes,
    /// When the row is gone.
    pub expires_at: Timestamp,
}

/// What a full mailbox does to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The whole send is refused, nothing is stored (direct messages).
    Refuse,
    /// That device is skipped (groups).
    Skip,
}

/// The send is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The recorded stamp: the given one, or that of the first try.
    pub stamp: Stamp,
    /// The send had been recorded before.
    pub repeat: bool,
    /// What became of each row, in the order given.
    pub placed: Vec<Placed>,
}

/// What became of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Written now.
    At {
        /// The row's position.
        position: Position,
        /// The highest position that was given in this mailbox before, whether acknowledged or not;
        /// [`Position::ZERO`] for none; `None` where the store cannot know.
        previous: Option<Position>,
    },
    /// Written by an earlier try.
    Before,
    /// The mailbox is closed: dropped.
    Closed,
    /// The mailbox is full: skipped.
    Full,
}

/// Why an append wrote nothing, or may have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The envelope id is recorded with another digest.
    #[error("the envelope id was used for another send")]
    Conflict,
    /// With [`WhenFull::Refuse`]: these mailboxes are full. Nothing was written.
    #[error("mailboxes are full")]
    Full(Vec<MailboxId>),
    /// Outcome unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is recorded of a recent send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedSend {
    /// The stamp that was answered.
    pub stamp: Stamp,
    /// What was sent.
    pub digest: [u8; 32],
}

/// The most that one read answers. At least one row comes, whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of envelopes.
    pub bytes: usize,
    /// The time, for expiry.
    pub now: Timestamp,
}

/// Rows of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of positions.
    pub rows: Vec<Row>,
    /// Where the next pass over the mailbox starts: no row that becomes visible later has a position at
    /// or below it. Within a pass, as long as pages are not `complete`, the next read goes on after the
    /// last of `rows`, and the next pass starts at the first page's cursor: a fleet's cursor stays behind
    /// the newest rows, so that a pass may bring rows again that an earlier one brought.
    /// When `complete`, an adapter whose positions follow commit order answers the highest position
    /// given in this mailbox so far, acknowledged or not, so that a hint can be matched against it.
    pub cursor: Position,
    /// Nothing follows these rows for now.
    pub complete: bool,
}

/// One undelivered row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// To be acknowledged.
    pub position: Position,
    /// An encoded envelope, as it was written.
    pub envelope: Bytes,
}
