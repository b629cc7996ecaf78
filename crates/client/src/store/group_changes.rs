//! Changes of groups that this device asked for: kept from the moment they leave until their outcome is known
//! and told, so that asking again is the same change.

use super::{Stored, millis};
use crate::groups::ChangeId;
use rusqlite::{Connection, OptionalExtension, Row, params};
use signed::group::OperationId;
use types::{GroupId, Timestamp};
use zeroize::Zeroizing;

/// How far a change got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It never left: with the process that asked for it, it is gone.
    Unsent = 0,
    /// It left, and may be on the chain or not.
    Unknown = 1,
    /// It is on the chain, and nobody was told.
    Applied = 2,
}

/// One change.
pub(crate) struct ChangeRow {
    pub(crate) id: ChangeId,
    pub(crate) group: GroupId,
    pub(crate) operation_id: OperationId,
    /// As it was signed last.
    pub(crate) operation: Option<Vec<u8>>,
    /// The secret of a group that is made or joined.
    pub(crate) secret: Option<Zeroizing<Vec<u8>>>,
    /// The seed of a link that is made.
    pub(crate) link_seed: Option<Zeroizing<[u8; 32]>>,
    pub(crate) outcome: Outcome,
}

impl ChangeRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: ChangeId(row.get(0)?),
            group: GroupId::from_bytes(row.get(1)?),
            operation_id: OperationId(row.get(2)?),
            operation: row.get(3)?,
            secret: row.get::<_, Option<Vec<u8>>>(4)?.map(Zeroizing::new),
            link_seed: row.get::<_, Option<[u8; 32]>>(5)?.map(Zeroizing::new),
            outcome: match row.get(6)? {
                0 => Outcome::Unsent,
                1 => Outcome::Unknown,
                _ => Outcome::Applied,
            },
        })
    }
}

const ROW: &str =
    "SELECT id, group_id, operation_id, operation, secret, link_seed, state FROM group_change WHERE";

/// A change that is asked for.
pub(crate) struct NewChange<'a> {
    pub(crate) group: GroupId,
    pub(crate) operation_id: OperationId,
    pub(crate) command: [u8; 32],
    pub(crate) operation: Option<&'a [u8]>,
    pub(crate) secret: Option<&'a [u8; 32]>,
    pub(crate) link_seed: Option<&'a [u8; 32]>,
}

pub(crate) fn insert(db: &Connection, change: &NewChange<'_>, now: Timestamp) -> Stored<ChangeId> {
    let mut statement = db.prepare_cached(
        "INSERT INTO group_change (group_id, operation_id, command, operation, secret, link_seed, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let id = statement.insert(params![
        change.group.as_bytes(),
        change.operation_id.0,
        change.command,
        change.operation,
        change.secret,
        change.link_seed,
        millis(now)
    ])?;
    Ok(ChangeId(id))
}

pub(crate) fn get(db: &Connection, id: ChangeId) -> Stored<Option<ChangeRow>> {
    let mut statement = db.prepare_cached(&format!("{ROW} id = ?1"))?;
    Ok(statement.query_row([id.0], ChangeRow::read).optional()?)
}

/// The latest change that was asked for in these very words.
pub(crate) fn with_command(db: &Connection, command: [u8; 32]) -> Stored<Option<ChangeRow>> {
    let mut statement = db.prepare_cached(&format!("{ROW} command = ?1 ORDER BY id DESC LIMIT 1"))?;
    Ok(statement.query_row([command], ChangeRow::read).optional()?)
}

/// The change that made this operation.
pub(crate) fn with_operation(db: &Connection, id: OperationId) -> Stored<Option<ChangeRow>> {
    let mut statement = db.prepare_cached(&format!("{ROW} operation_id = ?1"))?;
    Ok(statement.query_row([id.0], ChangeRow::read).optional()?)
}

/// Writes what is about to leave; from now on the outcome is unknown.
pub(crate) fn set_sent(db: &Connection, id: ChangeId, operation: &[u8]) -> Stored<()> {
    db.prepare_cached("UPDATE group_change SET operation = ?2, state = 1 WHERE id = ?1")?
        .execute(params![id.0, operation])?;
    Ok(())
}

pub(crate) fn set_applied(db: &Connection, id: ChangeId) -> Stored<()> {
    db.prepare_cached("UPDATE group_change SET state = 2 WHERE id = ?1")?.execute([id.0])?;
    Ok(())
}

/// The link that was asked for last, as long as nobody knows whether the chain has it.
pub(crate) fn unsettled_link(db: &Connection, group: GroupId) -> Stored<Option<ChangeRow>> {
    let mut statement = db.prepare_cached(&format!(
        "{ROW} group_id = ?1 AND link_seed IS NOT NULL AND secret IS NULL AND state = 1 ORDER BY id DESC LIMIT 1"
    ))?;
    Ok(statement.query_row([group.as_bytes()], ChangeRow::read).optional()?)
}

/// Somebody was told that it is on the chain.
pub(crate) fn remove_applied(db: &Connection, id: ChangeId) -> Stored<()> {
    db.prepare_cached("DELETE FROM group_change WHERE id = ?1 AND state = 2")?.execute([id.0])?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, id: ChangeId) -> Stored<()> {
    db.prepare_cached("DELETE FROM group_change WHERE id = ?1")?.execute([id.0])?;
    Ok(())
}

/// Forgets what never left.
pub(crate) fn remove_unsent(db: &Connection) -> Stored<()> {
    db.execute("DELETE FROM group_change WHERE state = 0", [])?;
    Ok(())
}

/// Changes whose outcome has been known since before a time, and those that were asked for before another one,
/// whatever came of them.
pub(crate) fn old(db: &Connection, settled: Timestamp, all: Timestamp) -> Stored<Vec<ChangeId>> {
    let mut statement =
        db.prepare_cached("SELECT id FROM group_change WHERE at < ?2 OR (state <> 1 AND at < ?1)")?;
    let rows = statement.query_map([millis(settled), millis(all)], |row| row.get(0).map(ChangeId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
