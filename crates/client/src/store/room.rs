//! How much is held unopened, and of whom.

use super::{Columns, Stored, number};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use types::AccountId;

/// Where envelopes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For their senders' device lists.
    ForList,
    /// For the key of a group's sender.
    ForKey,
}

impl Waiting {
    const fn table(self) -> &'static str {
        match self {
            Self::ForList => "held",
            Self::ForKey => "group_held",
        }
    }
}

/// How many envelopes are held unopened, of one account and of all.
pub(crate) fn counts(db: &Connection, waiting: Waiting, account: AccountId) -> Stored<(u64, u64)> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT count(*) FILTER (WHERE account = ?1), count(*) FROM {} WHERE opened IS NULL",
        waiting.table()
    ))?;
    Ok(statement.query_row([account.as_bytes()], |row| Ok((row.number(0)?, row.number(1)?)))?)
}

/// The account of which the most envelopes are held unopened, if they are more than `than`.
pub(crate) fn greediest(db: &Connection, waiting: Waiting, than: u64) -> Stored<Option<AccountId>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT account FROM {} WHERE opened IS NULL
         GROUP BY account HAVING count(*) > ?1 ORDER BY count(*) DESC, account LIMIT 1",
        waiting.table()
    ))?;
    Ok(statement.query_row([number(than)], |row| row.account(0)).optional()?)
}

/// Takes the envelope of an account that came last, of those that are held unopened.
pub(crate) fn take_newest(db: &Connection, waiting: Waiting, account: AccountId) -> Stored<Option<Bytes>> {
    let table = waiting.table();
    let mut statement = db.prepare_cached(&format!(
        "DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table} WHERE account = ?1 AND opened IS NULL)
         RETURNING envelope"
    ))?;
    let taken = statement.query_row([account.as_bytes()], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(taken.map(Bytes::from))
}
