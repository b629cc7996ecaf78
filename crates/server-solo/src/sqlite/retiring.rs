//! Devices that lost their record and may still have a mailbox.

use super::columns;
use rusqlite::{Connection, Row, params};
use types::{AccountId, DeviceAddress, MailboxId};

/// The devices of one account, or of all.
pub(super) fn read(
    connection: &Connection,
    of: Option<AccountId>,
    limit: usize,
) -> rusqlite::Result<Vec<MailboxId>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let select = "SELECT account, device, registration FROM retiring";
    match of {
        Some(account) => connection
            .prepare_cached(&format!("{select} WHERE account = ? LIMIT ?"))?
            .query_map(params![account.as_bytes(), limit], mailbox)?
            .collect(),
        None => {
            connection.prepare_cached(&format!("{select} LIMIT ?"))?.query_map([limit], mailbox)?.collect()
        }
    }
}

/// In the transaction that deletes the device's record.
pub(super) fn begin(connection: &Connection, mailbox: MailboxId) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR IGNORE INTO retiring VALUES (?, ?, ?)")?;
    insert.execute(key(&mailbox))?;
    Ok(())
}

/// What the device had is gone, or it has a record again.
pub(super) fn end(connection: &Connection, mailbox: MailboxId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM retiring WHERE account = ? AND device = ? AND registration = ?";
    connection.prepare_cached(sql)?.execute(key(&mailbox))?;
    Ok(())
}

fn key(mailbox: &MailboxId) -> (&[u8; 16], u8, u32) {
    (mailbox.account.as_bytes(), mailbox.device.get(), mailbox.registration.get())
}

fn mailbox(row: &Row<'_>) -> rusqlite::Result<MailboxId> {
    let address = DeviceAddress::new(columns::account(row, 0)?, columns::device(row, 1)?);
    Ok(address.mailbox(columns::registration(row, 2)?))
}
