//! The tables, and what their values mean.
//!
//! ```text
//! mailboxes.redb
//! ├── format       "version"            -> u32, the format of this file
//! ├── counters     name                 -> u64: the next body, where closed mailboxes ended
//! ├── stamps       node                 -> u64, the highest stamp clock promised
//! ├── mailboxes    mailbox              -> State; there is an entry exactly while the mailbox is open
//! ├── rows         mailbox | number     -> expires_at u64 | body u64 | size u32 | head (or the whole)
//! ├── bodies       body                 -> bytes that several rows of one send have in common
//! ├── body_users   body                 -> u32, how many rows still have it
//! ├── days         day | mailbox        -> (); some row of the mailbox may expire on that day
//! ├── sends        sender | envelope    -> number u64 | stamp 10 | digest 32 | exceptions
//! └── senders      sender               -> Sender, which of its sends are recorded
//!
//! mailbox, sender = account 16 | device 1 | registration 2      numbers in keys are big-endian
//! ```
//!
//! A row's number is its position. `days` stands in for an index of every row by its time: one entry
//! for each mailbox and day, written when the first row that expires on that day is.
//!
//! A recorded send that is older than the last [`SENDS_RECORDED_MAX`] of its sender counts as forgotten
//! from that moment on. It leaves the file some sends later, together with others: envelope ids are
//! random, so that deleting one costs a page, and deleting many costs hardly more.

use super::keys;
use redb::TableDefinition;
use types::{Millis, Position, Stamp, Timestamp, limits::SENDS_RECORDED_MAX};

/// The format that this version writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
pub(super) const FORMAT_KEY: &str = "version";
/// Counter: the number of the body written last.
pub(super) const LAST_BODY: &str = "last_body";
/// Counter: the highest number that any closed mailbox gave. Mailboxes opened later start there, so
/// that one that is opened again uses no position twice.
pub(super) const CLOSED_AT: &str = "closed_at";

pub(super) const FORMATS: TableDefinition<'_, &str, u32> = TableDefinition::new("format");
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
pub(super) const STAMPS: TableDefinition<'_, u16, u64> = TableDefinition::new("stamps");
pub(super) const MAILBOXES: TableDefinition<'_, &[u8; keys::MAILBOX], StateTuple> =
    TableDefinition::new("mailboxes");
pub(super) const ROWS: TableDefinition<'_, &[u8; keys::NUMBERED], &[u8]> = TableDefinition::new("rows");
pub(super) const BODIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("bodies");
pub(super) const BODY_USERS: TableDefinition<'_, u64, u32> = TableDefinition::new("body_users");
pub(super) const DAYS: TableDefinition<'_, &[u8; keys::DAY], ()> = TableDefinition::new("days");
pub(super) const SENDS: TableDefinition<'_, &[u8; keys::SEND], &[u8]> = TableDefinition::new("sends");
pub(super) const SENDERS: TableDefinition<'_, &[u8; keys::MAILBOX], (u64, u64)> =
    TableDefinition::new("senders");

/// [`State`] as it is stored.
pub(super) type StateTuple = (u64, u64, u64, u64, u32);

/// What is known of an open mailbox without looking at its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The number before that of its first row.
    pub(super) start: u64,
    /// The number given last.
    pub(super) last: u64,
    /// Rows in it.
    pub(super) rows: u64,
    /// Bytes of envelopes in it.
    pub(super) bytes: u64,
    /// The last day that certainly has an entry in `days`; 0 for none.
    pub(super) marked_day: u32,
}

impl State {
    /// A mailbox opened now.
    pub(super) const fn starting_at(start: u64) -> Self {
        Self { start, last: start, rows: 0, bytes: 0, marked_day: 0 }
    }

    pub(super) const fn from_tuple((start, last, rows, bytes, marked_day): StateTuple) -> Self {
        Self { start, last, rows, bytes, marked_day }
    }

    pub(super) const fn to_tuple(self) -> StateTuple {
        (self.start, self.last, self.rows, self.bytes, self.marked_day)
    }

    /// The highest position given in this mailbox.
    pub(super) const fn highest(self) -> Position {
        if self.last > self.start { position(self.last) } else { Position::ZERO }
    }
}

/// What is known of a sender's recorded sends without looking at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    /// The number of its last send; sends are counted from 1.
    pub(super) last: u64,
    /// Sends up to this number are not in the file any more.
    pub(super) deleted: u64,
}

impl Sender {
    pub(super) const fn from_tuple((last, deleted): (u64, u64)) -> Self {
        Self { last, deleted }
    }

    pub(super) const fn to_tuple(self) -> (u64, u64) {
        (self.last, self.deleted)
    }

    /// The newest send that is forgotten; 0 when none is.
    pub(super) const fn forgotten(self) -> u64 {
        self.last.saturating_sub(SENDS_RECORDED_MAX as u64)
    }
}

pub(super) const fn position(number: u64) -> Position {
    Position::from_u128(number as u128)
}

/// The number of a position; `None` for one that this store never gives.
pub(super) fn number(position: Position) -> Option<u64> {
    u64::try_from(position.as_u128()).ok()
}

/// The day that a row expires on. Times beyond the calendar fall on its last day.
pub(super) fn day_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_millis() / Millis::from_days(1).0).unwrap_or(u32::MAX)
}

/// A row as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredRow<'a> {
    pub(super) expires_at: Timestamp,
    /// Where the rest of the envelope is; 0 when `head` is all of it.
    pub(super) body: u64,
    /// Bytes of the whole envelope.
    pub(super) size: u32,
    pub(super) head: &'a [u8],
}

impl<'a> StoredRow<'a> {
    pub(super) fn encode(&self, rest: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + self.head.len() + rest.len());
        bytes.extend_from_slice(&self.expires_at.as_millis().to_le_bytes());
        bytes.extend_from_slice(&self.body.to_le_bytes());
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(self.head);
        bytes.extend_from_slice(rest);
        bytes
    }

    /// `None` for bytes that are no row, which only damage can bring.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (expires_at, bytes) = bytes.split_first_chunk()?;
        let (body, bytes) = bytes.split_first_chunk()?;
        let (size, head) = bytes.split_first_chunk()?;
        Some(Self {
            expires_at: Timestamp::from_millis(u64::from_le_bytes(*expires_at)),
            body: u64::from_le_bytes(*body),
            size: u32::from_le_bytes(*size),
            head,
        })
    }
}

/// A recorded send as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredSend {
    pub(super) number: u64,
    pub(super) stamp: Stamp,
    pub(super) digest: [u8; 32],
    /// Rows that were not written, by their place in the send.
    pub(super) exceptions: Vec<(u32, Exception)>,
}

/// Why a row was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exception {
    Closed = 1,
    Full = 2,
}

impl StoredSend {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(50 + self.exceptions.len() * 5);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.stamp.to_bytes());
        bytes.extend_from_slice(&self.digest);
        for (place, exception) in &self.exceptions {
            bytes.extend_from_slice(&place.to_le_bytes());
            bytes.push(*exception as u8);
        }
        bytes
    }

    /// Only the number of an encoded send.
    pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().map(|number| u64::from_le_bytes(*number))
    }

    /// `None` for bytes that are no send, which only damage can bring.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, bytes) = bytes.split_first_chunk()?;
        let (stamp, bytes) = bytes.split_first_chunk::<10>()?;
        let (digest, exceptions) = bytes.split_first_chunk()?;
        let exception = |bytes: &[u8]| {
            let (place, kind) = bytes.split_first_chunk()?;
            let kind = match kind {
                [1] => Exception::Closed,
                [2] => Exception::Full,
                _ => return None,
            };
            Some((u32::from_le_bytes(*place), kind))
        };
        Some(Self {
            number: u64::from_le_bytes(*number),
            stamp: Stamp::from_slice(stamp).ok()?,
            digest: *digest,
            exceptions: exceptions.chunks(5).map(exception).collect::<Option<_>>()?,
        })
    }
}
