//! Backups: an archive with the account key, in a file that one recovery key opens.
//!
//! A backup is made on the primary device, which alone has the account key. It is a picture of what this profile knows;
//! ratchet state, prekeys and tokens are not in it, so that a restored device begins every session anew.

use crate::{
    Fault, View,
    archive::{
        ArchiveError, export,
        records::{AccountRecord, Beginning, Record},
    },
    devices,
    store::{Stored, account, device_lists, profile, profile::Me},
};
use rand_core::CryptoRng;
use rusqlite::Connection;
use seal::backup::{BackupReader, BackupWriter, RecoveryKey};
use types::{AccountId, PhoneNumber, Timestamp};
use zeroize::Zeroizing;

/// A backup that was just made.
pub struct Backup {
    /// 64 digits in sixteen groups of four. Shown once and stored nowhere: without it the file is of no use.
    pub recovery_key: Zeroizing<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The account.
    pub account: AccountId,
    /// Its number.
    pub phone: PhoneNumber,
    /// When it was made, by the server's clock.
    pub made_at: Timestamp,
    /// How many other accounts it knows.
    pub contacts: u64,
    /// How many groups.
    pub groups: u64,
    /// How many messages.
    pub messages: u64,
}

/// A backup was not made, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The profile is not the primary device of an account.
    #[error("only the primary device can make a backup")]
    NotPrimary,
    /// It is no backup, or not as it was written.
    #[error("the backup is damaged")]
    Damaged,
    /// It was made with another recovery key, or this is none.
    #[error("the recovery key is wrong")]
    WrongKey,
    /// A later version of this program made it.
    #[error("the backup was made by a later version")]
    Newer,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<seal::backup::BackupError> for BackupError {
    fn from(error: seal::backup::BackupError) -> Self {
        match error {
            seal::backup::BackupError::Damaged => Self::Damaged,
            seal::backup::BackupError::WrongKey => Self::WrongKey,
            seal::backup::BackupError::Newer => Self::Newer,
        }
    }
}

impl From<ArchiveError> for BackupError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Damaged => Self::Damaged,
            ArchiveError::Newer => Self::Newer,
        }
    }
}

/// Makes a backup of a profile, under a new recovery key.
pub fn create(view: &View<'_>, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<Backup, BackupError> {
    let db = view.connection;
    let me = profile::require(db)?;
    if !devices::is_primary(&me) {
        return Err(BackupError::NotPrimary);
    }
    let key = RecoveryKey::random(rng);
    let (mut writer, header) = BackupWriter::begin(&key, rng);
    let mut bytes = header.to_vec();
    let mut write = |part: &[u8], is_last| -> Stored<()> {
        let sealed =
            writer.write(part, is_last, rng).map_err(|_| Fault::Bug("a part of a backup is too large"))?;
        bytes.extend_from_slice(&sealed);
        Ok(())
    };
    let beginning = Beginning { account: me.account(), cut_at: view.server_time(now)?, with_messages: true };
    for part in export::state(db, me.address, beginning, Some(account_record(db, &me)?))? {
        write(&part, false)?;
    }
    let mut before = Some(export::newest(db)?);
    while let Some(place) = before {
        let messages = export::messages(db, me.account(), place)?;
        write(&messages.part, messages.rest.is_none())?;
        before = messages.rest;
    }
    Ok(Backup { recovery_key: key.grouped(), bytes })
}

fn account_record(db: &Connection, me: &Me) -> Stored<AccountRecord> {
    Ok(AccountRecord {
        secret: devices::account_secret(me)?.clone(),
        phone: me.phone.clone(),
        name: me.name.clone(),
        server: me.server.clone(),
        sync_key: account::sync_key(db)?,
        list: device_lists::get(db, me.account())?.ok_or(Fault::Bug("our own list is missing"))?,
        list_version: account::list_version(db)?,
    })
}

/// Reads a whole backup, and says what is in it.
pub fn verify(bytes: &[u8], recovery_key: &str) -> Result<BackupSummary, BackupError> {
    let opened = open(bytes, recovery_key)?;
    let mut summary = BackupSummary {
        account: opened.account.list.account(),
        phone: opened.account.phone.clone(),
        made_at: opened.made_at,
        contacts: 0,
        groups: 0,
        messages: 0,
    };
    for part in &opened.parts {
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            match Record::take(&mut rest)? {
                Record::Contact(_) => summary.contacts += 1,
                Record::Group { .. } => summary.groups += 1,
                Record::Message(_) | Record::Held(_) => summary.messages += 1,
                _ => {}
            }
        }
    }
    Ok(summary)
}

/// A backup that is whole and was opened.
pub(crate) struct Opened {
    pub(crate) account: AccountRecord,
    pub(crate) made_at: Timestamp,
    pub(crate) parts: Vec<Zeroizing<Vec<u8>>>,
}

/// Opens all of a backup, or nothing.
pub(crate) fn open(bytes: &[u8], recovery_key: &str) -> Result<Opened, BackupError> {
    let key: RecoveryKey = recovery_key.parse().map_err(|_| BackupError::WrongKey)?;
    let mut reader = BackupReader::open(&key, bytes)?;
    let mut parts = Vec::new();
    while let Some(part) = reader.next_part()? {
        parts.push(part);
    }
    // All of it is read before anything is done with it: a restore must not find a record that it cannot read after the
    // server has put the new device in the place of the old one.
    for part in &parts {
        let mut rest = part.as_slice();
        while !rest.is_empty() {
            Record::take(&mut rest)?;
        }
    }
    let mut first = parts.first().map(|part| part.as_slice()).unwrap_or_default();
    let Record::Beginning(beginning) = Record::take(&mut first)? else { return Err(BackupError::Damaged) };
    let Record::Account(account) = Record::take(&mut first)? else { return Err(BackupError::Damaged) };
    if account.list.account() != beginning.account {
        return Err(BackupError::Damaged);
    }
    Ok(Opened { account: *account, made_at: beginning.cut_at, parts })
}
