//! Lists that add or remove a device: what was signed and not settled, and what is still to be signed.

use super::{Columns, Stored, number};
use rusqlite::{Connection, OptionalExtension, params};
use types::{DeviceNumber, LinkId, RegistrationId};

/// A list that was signed, until the server's word on it is known.
pub(crate) struct ListChange {
    pub(crate) version: u64,
    pub(crate) list: Vec<u8>,
    pub(crate) device: DeviceNumber,
    pub(crate) registration: RegistrationId,
    pub(crate) kind: ChangeKind,
}

/// What the list does to its device.
pub(crate) enum ChangeKind {
    Add { link: LinkId, completion: Vec<u8>, with_history: bool },
    Remove,
}

pub(crate) fn get(db: &Connection) -> Stored<Option<ListChange>> {
    let mut statement = db.prepare_cached(
        "SELECT version, list, device, registration, link, completion, with_history FROM list_change",
    )?;
    let change = statement.query_row([], |row| {
        let link: Option<[u8; 16]> = row.get(4)?;
        let kind = match link {
            None => ChangeKind::Remove,
            Some(link) => ChangeKind::Add {
                link: LinkId::from_bytes(link),
                completion: row.get(5)?,
                with_history: row.get(6)?,
            },
        };
        Ok(ListChange {
            version: row.number(0)?,
            list: row.get(1)?,
            device: row.device(2)?,
            registration: row.registration(3)?,
            kind,
        })
    });
    Ok(change.optional()?)
}

pub(crate) fn is_pending(db: &Connection) -> Stored<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM list_change")?.exists([])?)
}

/// Writes a change; there is one at a time.
pub(crate) fn insert(db: &Connection, change: &ListChange) -> Stored<()> {
    let (link, completion, with_history) = match &change.kind {
        ChangeKind::Add { link, completion, with_history } => {
            (Some(link.as_bytes()), Some(completion), Some(with_history))
        }
        ChangeKind::Remove => (None, None, None),
    };
    db.execute(
        "INSERT INTO list_change (only, version, list, device, registration, link, completion, with_history)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            number(change.version),
            change.list,
            change.device.get(),
            change.registration.get(),
            link,
            completion,
            with_history
        ],
    )?;
    Ok(())
}

pub(crate) fn remove(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM list_change", [])?;
    Ok(())
}

// ---- removals that were not signed yet

pub(crate) fn want_removal(db: &Connection, device: DeviceNumber) -> Stored<()> {
    db.execute("INSERT OR IGNORE INTO removal (device) VALUES (?1)", [device.get()])?;
    Ok(())
}

pub(crate) fn take_removal(db: &Connection) -> Stored<Option<DeviceNumber>> {
    let mut statement = db.prepare_cached(
        "DELETE FROM removal WHERE device = (SELECT min(device) FROM removal) RETURNING device",
    )?;
    Ok(statement.query_row([], |row| row.device(0)).optional()?)
}

pub(crate) fn has_removals(db: &Connection) -> Stored<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM removal")?.exists([])?)
}
