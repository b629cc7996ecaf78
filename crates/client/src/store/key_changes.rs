//! Numbers that lead to another account than the one that the person knows behind them, until that is accepted.

use super::{Columns, Stored, millis};
use rusqlite::{Connection, OptionalExtension, Row, params};
use types::{AccountId, PhoneNumber, Timestamp};

/// A number that moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyChange {
    pub(crate) phone: PhoneNumber,
    pub(crate) old_account: AccountId,
    pub(crate) account: AccountId,
}

impl KeyChange {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            phone: row.read(0, |text: String| text.parse())?,
            old_account: row.account(1)?,
            account: row.account(2)?,
        })
    }
}

/// Writes where a number leads now; true if that was not known.
pub(crate) fn put(db: &Connection, change: &KeyChange, now: Timestamp) -> Stored<bool> {
    let new = db.execute(
        "INSERT INTO key_change (phone, old_account, account, noticed_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (phone) DO UPDATE
         SET old_account = excluded.old_account, account = excluded.account, noticed_at = excluded.noticed_at
         WHERE account <> excluded.account OR old_account <> excluded.old_account",
        params![change.phone.e164(), change.old_account.as_bytes(), change.account.as_bytes(), millis(now)],
    )?;
    Ok(new > 0)
}

pub(crate) fn of_phone(db: &Connection, phone: &PhoneNumber) -> Stored<Option<KeyChange>> {
    let mut statement =
        db.prepare_cached("SELECT phone, old_account, account FROM key_change WHERE phone = ?1")?;
    Ok(statement.query_row([phone.e164()], KeyChange::read).optional()?)
}

/// The change that messages to this account wait for.
pub(crate) fn of_old_account(db: &Connection, account: AccountId) -> Stored<Option<KeyChange>> {
    let mut statement =
        db.prepare_cached("SELECT phone, old_account, account FROM key_change WHERE old_account = ?1")?;
    Ok(statement.query_row([account.as_bytes()], KeyChange::read).optional()?)
}

/// All changes that wait for the person, by number.
pub(crate) fn all(db: &Connection) -> Stored<Vec<KeyChange>> {
    let mut statement =
        db.prepare_cached("SELECT phone, old_account, account FROM key_change ORDER BY phone")?;
    let rows = statement.query_map([], KeyChange::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets a change; true if there was one.
pub(crate) fn remove(db: &Connection, phone: &PhoneNumber) -> Stored<bool> {
    Ok(db.execute("DELETE FROM key_change WHERE phone = ?1", [phone.e164()])? > 0)
}
