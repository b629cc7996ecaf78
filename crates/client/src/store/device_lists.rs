//! The newest verified device list of every account, and the hashes of all that were ever verified.

use super::{Columns, Stored, millis, number};
use crate::Fault;
use rusqlite::{Connection, OptionalExtension, params};
use signed::DeviceList;
use types::{AccountId, Timestamp};

pub(crate) fn get(db: &Connection, account: AccountId) -> Stored<Option<DeviceList>> {
    let mut statement = db.prepare_cached("SELECT list FROM device_list WHERE account = ?1")?;
    let bytes: Option<Vec<u8>> = statement.query_row([account.as_bytes()], |row| row.get(0)).optional()?;
    // Only verified lists are written, so one that does not verify any more was changed on disk.
    bytes.map(|bytes| DeviceList::verify(&bytes).map_err(|_| Fault::Damaged)).transpose()
}

pub(crate) fn is_known(db: &Connection, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM device_list WHERE account = ?1")?;
    Ok(statement.exists([account.as_bytes()])?)
}

/// Puts a verified list in the place of the known one, and remembers its hash, and which devices are gone: wherever a
/// list comes from, nobody can forget that.
pub(crate) fn put(db: &Connection, list: &DeviceList, now: Timestamp) -> Stored<()> {
    let account = list.account();
    if let Some(known) = get(db, account)? {
        super::groups::note_gone(db, &known, list)?;
    }
    db.prepare_cached(
        "INSERT INTO device_list (account, version, list, fetched_at, stale) VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (account) DO UPDATE
         SET version = excluded.version, list = excluded.list, fetched_at = excluded.fetched_at, stale = 0",
    )?
    .execute(params![account.as_bytes(), number(list.version()), list.as_bytes(), millis(now)])?;
    db.prepare_cached("INSERT OR IGNORE INTO list_seen (account, version, hash) VALUES (?1, ?2, ?3)")?
        .execute(params![account.as_bytes(), number(list.version()), list.hash()])?;
    super::group_keys::index_list(db, list)
}

/// Writes that the server said there is another list than ours.
pub(crate) fn mark_stale(db: &Connection, account: AccountId) -> Stored<()> {
    db.execute("UPDATE device_list SET stale = 1 WHERE account = ?1", [account.as_bytes()])?;
    Ok(())
}

/// The server gave the list that we know: it is not stale.
pub(crate) fn confirm(db: &Connection, account: AccountId, now: Timestamp) -> Stored<()> {
    db.execute(
        "UPDATE device_list SET stale = 0, fetched_at = ?2 WHERE account = ?1",
        params![account.as_bytes(), millis(now)],
    )?;
    Ok(())
}

pub(crate) fn is_stale(db: &Connection, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM device_list WHERE account = ?1 AND stale")?;
    Ok(statement.exists([account.as_bytes()])?)
}

/// The hash of a version that was verified here.
pub(crate) fn hash_of(db: &Connection, account: AccountId, version: u64) -> Stored<Option<[u8; 32]>> {
    let mut statement =
        db.prepare_cached("SELECT hash FROM list_seen WHERE account = ?1 AND version = ?2")?;
    Ok(statement.query_row(params![account.as_bytes(), number(version)], |row| row.get(0)).optional()?)
}

/// Writes that somebody saw another list of this version; true the first time.
pub(crate) fn contradict(db: &Connection, account: AccountId, version: u64) -> Stored<bool> {
    let new = db.execute(
        "INSERT OR IGNORE INTO list_contradiction (account, version) VALUES (?1, ?2)",
        params![account.as_bytes(), number(version)],
    )?;
    Ok(new > 0)
}

/// Accounts with something held for a list, or with a list that is known to be old.
pub(crate) fn wanted(db: &Connection) -> Stored<Vec<AccountId>> {
    let mut statement = db.prepare_cached(
        "SELECT account FROM held UNION SELECT account FROM device_list WHERE stale ORDER BY account",
    )?;
    let rows = statement.query_map([], |row| row.account(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
