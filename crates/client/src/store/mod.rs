//! The tables of the database, one module for each concept. What they hold and why is the logic's business.
//!
//! ```text
//! profile            this device: keys, token, connection number, clock, highest stamp
//! contact            other accounts            number        phone -> account, once looked up
//! contact_untold     of whom our other devices were not told yet
//! key_change         numbers that lead to another account than before
//! device_list        newest verified lists     list_seen     hashes of every verified version
//! ratchet, sender_key, prekey, last_resort_use   the encryption state (seal::Store)
//! renewal            sessions that broke
//! chat               conversations: with an account, or of a group
//! └── message        what history shows        message_text  its full-text index (FTS5)
//!     └── delivery   how far ours got          peer_read     how far others have read
//! outbox             what is to be sent
//! └── outbox_sealed  its ciphertexts, once sealed
//! sent, sent_device  what was sealed to whom, 30 days; resend_count, resend_wanted
//! receipt_due        delivered receipts that were not queued yet
//! early_receipt      receipts for messages of ours that another device of ours has not told us of yet
//! seen               ids of the last 60 days   heard         highest counters
//! gap                what is missing           held          what waits for a device list
//! quarantine         what a later version may open
//! group_chain        verified chains and where they stand, with secret and name
//! ├── group_operation, group_member   what they consist of, and who was a member when
//! ├── group_wanted, group_fork        what is missing, and what contradicts
//! ├── group_link_seed                 what makes invite links
//! └── group_secret, group_change      secrets to be tried, changes of ours whose outcome is not told yet
//! device_removed     devices whose signatures do not count any more
//! list_device        the devices of all lists  list_generation  counts changes of lists
//! own_sender_key     ours in each group        key_holder     which devices have it
//! group_parcel       outbox rows that only a member may get
//! outbox_group, sent_group, group_resend   messages to groups: sealed, sent, sent again
//! group_held         what waits for a chain or a sender key
//! event              what was not printed yet
//! link_request       this device on its way into an account
//! addition, list_change, removal   devices that the primary adds and removes
//! handover           what a new device is still to be given
//! └── handover_part  its archive, sealed
//! history_import, history_import_part, history_named   an archive that this device was given
//! ```
//!
//! Points in time are milliseconds since 1970, ids and stamps are blobs whose order is theirs.

pub(crate) mod account;
pub(crate) mod chats;
pub(crate) mod contacts;
pub(crate) mod device_lists;
pub(crate) mod early_receipts;
pub(crate) mod encryption;
pub(crate) mod events;
pub(crate) mod gaps;
pub(crate) mod group_changes;
pub(crate) mod group_held;
pub(crate) mod group_keys;
pub(crate) mod group_secrets;
pub(crate) mod groups;
pub(crate) mod handovers;
pub(crate) mod imports;
pub(crate) mod inbox;
pub(crate) mod key_changes;
pub(crate) mod linking;
pub(crate) mod list_changes;
pub(crate) mod messages;
pub(crate) mod outbox;
pub(crate) mod prekeys;
pub(crate) mod profile;
pub(crate) mod room;
pub(crate) mod sent;

use crate::Fault;
use rusqlite::{Row, types::Type};
use types::{
    AccountId, ChatId, DeviceNumber, EnvelopeId, GroupId, Invalid, MessageId, RegistrationId, Stamp,
    Timestamp,
};

/// What a store's function gives.
pub(crate) type Stored<T> = Result<T, Fault>;

/// A time as it is stored.
pub(crate) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A number of the protocol as it is stored: SQLite has no larger one.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads columns as domain types.
pub(crate) trait Columns {
    /// Reads a column through a domain type's own check.
    fn read<T, U: rusqlite::types::FromSql>(
        &self,
        column: usize,
        read: impl FnOnce(U) -> Result<T, Invalid>,
    ) -> rusqlite::Result<T>;

    /// A chat, from its id and the next column, its kind. What is not in the table of chats is with an account.
    fn chat(&self, column: usize) -> rusqlite::Result<ChatId>;
    /// An account id.
    fn account(&self, column: usize) -> rusqlite::Result<AccountId>;
    /// A message id.
    fn message_id(&self, column: usize) -> rusqlite::Result<MessageId>;
    /// An envelope id.
    fn envelope_id(&self, column: usize) -> rusqlite::Result<EnvelopeId>;
    /// A device number.
    fn device(&self, column: usize) -> rusqlite::Result<DeviceNumber>;
    /// A registration id.
    fn registration(&self, column: usize) -> rusqlite::Result<RegistrationId>;
    /// A stamp, where there is one.
    fn stamp(&self, column: usize) -> rusqlite::Result<Option<Stamp>>;
    /// A point in time.
    fn time(&self, column: usize) -> rusqlite::Result<Timestamp>;
    /// A number of the protocol.
    fn number(&self, column: usize) -> rusqlite::Result<u64>;
}

impl Columns for Row<'_> {
    fn read<T, U: rusqlite::types::FromSql>(
        &self,
        column: usize,
        read: impl FnOnce(U) -> Result<T, Invalid>,
    ) -> rusqlite::Result<T> {
        read(self.get(column)?).map_err(|invalid| {
            rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(invalid))
        })
    }

    fn chat(&self, column: usize) -> rusqlite::Result<ChatId> {
        let id: [u8; 16] = self.get(column)?;
        Ok(match self.get::<_, Option<i64>>(column + 1)? {
            None | Some(0) => ChatId::Direct(AccountId::from_bytes(id)),
            Some(_) => ChatId::Group(GroupId::from_bytes(id)),
        })
    }

    fn account(&self, column: usize) -> rusqlite::Result<AccountId> {
        self.get(column).map(AccountId::from_bytes)
    }

    fn message_id(&self, column: usize) -> rusqlite::Result<MessageId> {
        self.get(column).map(MessageId::from_bytes)
    }

    fn envelope_id(&self, column: usize) -> rusqlite::Result<EnvelopeId> {
        self.get(column).map(EnvelopeId::from_bytes)
    }

    fn device(&self, column: usize) -> rusqlite::Result<DeviceNumber> {
        self.read(column, DeviceNumber::new)
    }

    fn registration(&self, column: usize) -> rusqlite::Result<RegistrationId> {
        self.read(column, RegistrationId::new)
    }

    fn stamp(&self, column: usize) -> rusqlite::Result<Option<Stamp>> {
        self.read(column, |bytes: Option<[u8; 10]>| bytes.map(|bytes| Stamp::from_slice(&bytes)).transpose())
    }

    fn time(&self, column: usize) -> rusqlite::Result<Timestamp> {
        self.number(column).map(Timestamp::from_millis)
    }

    fn number(&self, column: usize) -> rusqlite::Result<u64> {
        let value: i64 = self.get(column)?;
        Ok(u64::try_from(value).unwrap_or(0))
    }
}
