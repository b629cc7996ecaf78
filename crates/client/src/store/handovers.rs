//! What devices that were linked are still to be given, and how far that has come.

use super::{Columns, Stored, millis, number, outbox::OutboxId};
use crate::archive::export::Before;
use rusqlite::{Connection, OptionalExtension, Row, params};
use seal::{ArchiveId, ArchiveKey, ArchivePart};
use types::{BlobId, DeviceNumber, LinkId, RegistrationId, Timestamp};

/// One device's hand-over.
pub(crate) struct Handover {
    pub(crate) device: DeviceNumber,
    pub(crate) with_messages: bool,
    /// Set when the archive is cut.
    pub(crate) archive: Option<(ArchiveId, ArchiveKey)>,
    /// Messages that are not in a part yet.
    pub(crate) messages_before: Option<Before>,
    /// The outbox row that names the parts to the device.
    pub(crate) announced: Option<OutboxId>,
}

/// A part that was sealed and is not uploaded.
pub(crate) struct SealedPart {
    pub(crate) part: u32,
    pub(crate) sealed: Vec<u8>,
    pub(crate) digest: [u8; 32],
}

/// What was sealed to lists before `version` and accepted before `until` is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) version: u64,
    pub(crate) accepted_at: Timestamp,
}

impl Handover {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let archive =
            row.read(2, |id: Option<Vec<u8>>| id.map(|id| ArchiveId::from_slice(&id)).transpose())?;
        let key =
            row.read(3, |key: Option<Vec<u8>>| key.map(|key| ArchiveKey::from_slice(&key)).transpose())?;
        Ok(Self {
            device: row.device(0)?,
            with_messages: row.get(1)?,
            archive: archive.zip(key),
            messages_before: row.get::<_, Option<i64>>(4)?.map(Before),
            announced: row.get::<_, Option<i64>>(5)?.map(OutboxId),
        })
    }
}

/// A device that was linked.
pub(crate) struct Newcomer {
    pub(crate) device: DeviceNumber,
    pub(crate) registration: RegistrationId,
    /// The first list with it.
    pub(crate) list_version: u64,
    /// By which link it came.
    pub(crate) link: LinkId,
}

/// A device was linked: its list is the server's now. An earlier life of its number is owed nothing.
pub(crate) fn begin(
    db: &Connection,
    newcomer: &Newcomer,
    accepted_at: Timestamp,
    with_messages: bool,
) -> Stored<()> {
    remove(db, newcomer.device)?;
    db.execute(
        "INSERT INTO handover (device, registration, list_version, accepted_at, with_messages, link)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            newcomer.device.get(),
            newcomer.registration.get(),
            number(newcomer.list_version),
            millis(accepted_at),
            with_messages,
            newcomer.link.as_bytes()
        ],
    )?;
    Ok(())
}

/// The device that came by a link, and whether it has all that it is to be given.
pub(crate) fn of_link(db: &Connection, link: LinkId) -> Stored<Option<(DeviceNumber, bool)>> {
    let mut statement = db.prepare_cached("SELECT device, finished FROM handover WHERE link = ?1")?;
    Ok(statement.query_row([link.as_bytes()], |row| Ok((row.device(0)?, row.get(1)?))).optional()?)
}

/// The hand-over that goes on next.
pub(crate) fn unfinished(db: &Connection) -> Stored<Option<Handover>> {
    let mut statement = db.prepare_cached(
        "SELECT device, with_messages, archive, key, messages_before, announced FROM handover
         WHERE NOT finished ORDER BY list_version LIMIT 1",
    )?;
    Ok(statement.query_row([], Handover::read).optional()?)
}

pub(crate) fn set_cut(
    db: &Connection,
    device: DeviceNumber,
    (archive, key): &(ArchiveId, ArchiveKey),
    messages_before: Option<Before>,
    total: u64,
) -> Stored<()> {
    db.execute(
        "UPDATE handover SET archive = ?2, key = ?3, messages_before = ?4, total = ?5 WHERE device = ?1",
        params![
            device.get(),
            archive.as_bytes(),
            key.as_bytes(),
            messages_before.map(|before| before.0),
            number(total)
        ],
    )?;
    Ok(())
}

pub(crate) fn set_messages_before(
    db: &Connection,
    device: DeviceNumber,
    before: Option<Before>,
) -> Stored<()> {
    db.execute(
        "UPDATE handover SET messages_before = ?2 WHERE device = ?1",
        params![device.get(), before.map(|before| before.0)],
    )?;
    Ok(())
}

pub(crate) fn insert_part(
    db: &Connection,
    device: DeviceNumber,
    part: &SealedPart,
    messages: u64,
) -> Stored<()> {
    db.execute(
        "INSERT INTO handover_part (device, part, messages, size, digest, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            device.get(),
            part.part,
            number(messages),
            number(part.sealed.len() as u64),
            part.digest,
            part.sealed
        ],
    )?;
    Ok(())
}

/// How many parts were sealed.
pub(crate) fn parts_sealed(db: &Connection, device: DeviceNumber) -> Stored<u32> {
    Ok(db.query_row("SELECT count(*) FROM handover_part WHERE device = ?1", [device.get()], |row| {
        row.get(0)
    })?)
}

/// The first part that is to be uploaded.
pub(crate) fn to_upload(db: &Connection, device: DeviceNumber) -> Stored<Option<SealedPart>> {
    let mut statement = db.prepare_cached(
        "SELECT part, sealed, digest FROM handover_part WHERE device = ?1 AND sealed IS NOT NULL
         ORDER BY part LIMIT 1",
    )?;
    let part = statement.query_row([device.get()], |row| {
        Ok(SealedPart { part: row.get(0)?, sealed: row.get(1)?, digest: row.get(2)? })
    });
    Ok(part.optional()?)
}

/// Writes where a part lies; its bytes are not needed any more. Gives how many messages were uploaded, of how many.
pub(crate) fn set_uploaded(
    db: &Connection,
    device: DeviceNumber,
    part: u32,
    blob: BlobId,
) -> Stored<Option<(u64, u64)>> {
    let changed = db.execute(
        "UPDATE handover_part SET blob = ?3, sealed = NULL WHERE device = ?1 AND part = ?2 AND sealed IS NOT NULL",
        params![device.get(), part, blob.as_bytes()],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    let progress = db.query_row(
        "UPDATE handover SET done = (SELECT sum(messages) FROM handover_part WHERE device = ?1 AND blob IS NOT NULL)
         WHERE device = ?1 RETURNING done, total",
        [device.get()],
        |row| Ok((row.number(0)?, row.number(1)?)),
    )?;
    Ok(Some(progress))
}

/// All parts, in order, once all were uploaded.
pub(crate) fn parts(db: &Connection, device: DeviceNumber) -> Stored<Vec<ArchivePart>> {
    let mut statement = db.prepare(
        "SELECT blob, size, digest FROM handover_part WHERE device = ?1 AND blob IS NOT NULL ORDER BY part",
    )?;
    let rows = statement.query_map([device.get()], |row| {
        Ok(ArchivePart { blob: BlobId::from_bytes(row.get(0)?), size: row.number(1)?, digest: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn set_announced(db: &Connection, device: DeviceNumber, row: OutboxId) -> Stored<()> {
    db.execute("UPDATE handover SET announced = ?2 WHERE device = ?1", params![device.get(), row.0])?;
    Ok(())
}

/// All of it is with the server. The row stays as long as older lists may still come up.
pub(crate) fn finish(db: &Connection, device: DeviceNumber) -> Stored<()> {
    db.execute("DELETE FROM handover_part WHERE device = ?1", [device.get()])?;
    db.execute("UPDATE handover SET finished = 1, key = NULL WHERE device = ?1", [device.get()])?;
    Ok(())
}

/// The device is gone; true if it had not been given everything.
pub(crate) fn remove(db: &Connection, device: DeviceNumber) -> Stored<bool> {
    let mut statement = db.prepare_cached("DELETE FROM handover WHERE device = ?1 RETURNING finished")?;
    let finished: Option<bool> = statement.query_row([device.get()], |row| row.get(0)).optional()?;
    Ok(finished == Some(false))
}

/// What has to be forwarded: the newest of the lists that brought a device.
pub(crate) fn window(db: &Connection) -> Stored<Option<Window>> {
    let mut statement =
        db.prepare("SELECT list_version, accepted_at FROM handover ORDER BY list_version DESC LIMIT 1")?;
    let window =
        statement.query_row([], |row| Ok(Window { version: row.number(0)?, accepted_at: row.time(1)? }));
    Ok(window.optional()?)
}

/// Forgets hand-overs that are finished and whose lists were accepted before a time, unless something of a group has
/// waited since before it: once it opens, it may have to be forwarded.
pub(crate) fn prune(db: &Connection, accepted_before: Timestamp) -> Stored<()> {
    db.execute(
        "DELETE FROM handover WHERE finished AND accepted_at < ?1
           AND NOT EXISTS (SELECT 1 FROM group_held WHERE since < ?1)",
        [millis(accepted_before)],
    )?;
    Ok(())
}
