//! What this device's row says of its account as a whole: versions that were signed, and the key that its devices share.

use super::{Columns, Stored, number};
use rusqlite::{Connection, OptionalExtension};
use seal::SyncKey;

/// The key of the account's own devices, once it was needed.
pub(crate) fn sync_key(db: &Connection) -> Stored<Option<SyncKey>> {
    let mut statement = db.prepare_cached("SELECT sync_key FROM profile")?;
    let key = statement.query_row([], |row| {
        row.read(0, |key: Option<Vec<u8>>| key.map(|key| SyncKey::from_slice(&key)).transpose())
    });
    Ok(key.optional()?.flatten())
}

pub(crate) fn set_sync_key(db: &Connection, key: &SyncKey) -> Stored<()> {
    db.execute("UPDATE profile SET sync_key = ?1", [key.as_bytes()])?;
    Ok(())
}

/// The highest version of our list that a signature was ever asked for.
pub(crate) fn list_version(db: &Connection) -> Stored<u64> {
    Ok(db.query_row("SELECT list_version FROM profile", [], |row| row.number(0))?)
}

/// Writes that versions up to this one are used, by whatever device signed them.
pub(crate) fn raise_list_version(db: &Connection, version: u64) -> Stored<()> {
    db.execute("UPDATE profile SET list_version = max(list_version, ?1)", [number(version)])?;
    Ok(())
}

/// Takes the newest version back as if it had not been used, for a planted fault.
pub(crate) fn forget_list_version(db: &Connection) -> Stored<()> {
    db.execute("UPDATE profile SET list_version = list_version - 1", [])?;
    Ok(())
}

/// Gives up a registration or restore that was begun here and not finished.
pub(crate) fn forget_unfinished(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM profile WHERE NOT registered", [])?;
    Ok(())
}
