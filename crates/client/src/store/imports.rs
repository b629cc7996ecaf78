//! Archives that this device was given, and how far they were read.

use super::{Columns, Stored, number};
use rusqlite::{Connection, OptionalExtension, params};
use seal::{ArchiveId, ArchiveKey, ArchivePart, HistoryArchive};
use types::{BlobId, ChatId, DeviceAddress};

/// The archive that is being read.
pub(crate) struct HistoryImport {
    pub(crate) archive: ArchiveId,
    pub(crate) key: ArchiveKey,
    /// Parts before this one were read.
    pub(crate) next_part: u32,
    pub(crate) parts: u32,
}

/// Remembers an archive; once, however often it is named.
pub(crate) fn insert(db: &Connection, history: &HistoryArchive) -> Stored<()> {
    let archive = history.archive.as_bytes();
    let new = db.execute(
        "INSERT OR IGNORE INTO history_import (archive, key) VALUES (?1, ?2)",
        params![archive, history.key.as_bytes()],
    )?;
    if new == 0 {
        return Ok(());
    }
    let mut statement = db.prepare(
        "INSERT INTO history_import_part (archive, part, blob, size, digest) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (index, part) in (0_u32..).zip(&history.parts) {
        statement.execute(params![archive, index, part.blob.as_bytes(), number(part.size), part.digest])?;
    }
    Ok(())
}

/// The archive that is read now.
pub(crate) fn current(db: &Connection) -> Stored<Option<HistoryImport>> {
    let mut statement = db.prepare_cached(
        "SELECT archive, key, next_part,
                (SELECT count(*) FROM history_import_part WHERE archive = history_import.archive)
         FROM history_import ORDER BY rowid LIMIT 1",
    )?;
    let import = statement.query_row([], |row| {
        Ok(HistoryImport {
            archive: row.read(0, |id: Vec<u8>| ArchiveId::from_slice(&id))?,
            key: row.read(1, |key: Vec<u8>| ArchiveKey::from_slice(&key))?,
            next_part: row.get(2)?,
            parts: row.get(3)?,
        })
    });
    Ok(import.optional()?)
}

pub(crate) fn part(db: &Connection, archive: ArchiveId, part: u32) -> Stored<Option<ArchivePart>> {
    let mut statement = db.prepare_cached(
        "SELECT blob, size, digest FROM history_import_part WHERE archive = ?1 AND part = ?2",
    )?;
    let part = statement.query_row(params![archive.as_bytes(), part], |row| {
        Ok(ArchivePart { blob: BlobId::from_bytes(row.get(0)?), size: row.number(1)?, digest: row.get(2)? })
    });
    Ok(part.optional()?)
}

/// A part was read: the next one follows.
pub(crate) fn set_next(db: &Connection, archive: ArchiveId, next: u32) -> Stored<()> {
    db.execute(
        "UPDATE history_import SET next_part = ?2 WHERE archive = ?1",
        params![archive.as_bytes(), next],
    )?;
    Ok(())
}

/// Writes that an archive says where a device's counters stood in a chat.
pub(crate) fn name(db: &Connection, chat: ChatId, sender: DeviceAddress) -> Stored<()> {
    db.prepare_cached("INSERT OR IGNORE INTO history_named (chat, account, device) VALUES (?1, ?2, ?3)")?
        .execute(params![chat.as_bytes(), sender.account.as_bytes(), sender.device.get()])?;
    Ok(())
}

/// What was heard here and in no archive, and forgets what was.
pub(crate) fn take_unnamed(db: &Connection) -> Stored<Vec<(ChatId, DeviceAddress)>> {
    let mut statement = db.prepare(
        "SELECT chat.id, kind, account, device FROM heard JOIN chat ON chat.id = heard.chat
         WHERE NOT EXISTS (SELECT 1 FROM history_named AS named WHERE named.chat = heard.chat
                             AND named.account = heard.account AND named.device = heard.device)
         ORDER BY chat.id, account, device",
    )?;
    let rows = statement
        .query_map([], |row| Ok((row.chat(0)?, DeviceAddress::new(row.account(2)?, row.device(3)?))))?;
    let unnamed = rows.collect::<Result<_, _>>()?;
    db.execute("DELETE FROM history_named", [])?;
    Ok(unnamed)
}

/// Forgets an archive: it was read, or never will be.
pub(crate) fn remove(db: &Connection, archive: ArchiveId) -> Stored<()> {
    db.execute("DELETE FROM history_import WHERE archive = ?1", [archive.as_bytes()])?;
    Ok(())
}
