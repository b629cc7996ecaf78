//! Devices that lost their record: those that may still have a mailbox, and those that may still have a socket.

use super::columns;
use rusqlite::{Connection, Row, params};
use server_ports::directory::DEPARTED_REMEMBERED;
use types::{AccountId, DeviceAddress, MailboxId, Timestamp};

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
            .prepare_cached(&format!("{select} WHERE retired_at IS NULL AND account = ? LIMIT ?"))?
            .query_map(params![account.as_bytes(), limit], mailbox)?
            .collect(),
        None => connection
            .prepare_cached(&format!("{select} WHERE retired_at IS NULL LIMIT ?"))?
            .query_map([limit], mailbox)?
            .collect(),
    }
}

/// In the transaction that deletes the device's record.
pub(super) fn begin(connection: &Connection, mailbox: MailboxId) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO retiring (account, device, registration) VALUES (?, ?, ?)";
    connection.prepare_cached(sql)?.execute(key(&mailbox))?;
    Ok(())
}

/// What these devices had is gone; those of long ago are forgotten.
pub(super) fn retired(
    connection: &Connection,
    devices: &[MailboxId],
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "UPDATE retiring SET retired_at = ?
               WHERE account = ? AND device = ? AND registration = ? AND retired_at IS NULL";
    let mut update = connection.prepare_cached(sql)?;
    for device in devices {
        let (account, number, registration) = key(device);
        update.execute(params![columns::millis(now), account, number, registration])?;
    }
    let forgotten = columns::millis(now - DEPARTED_REMEMBERED);
    connection.prepare_cached("DELETE FROM retiring WHERE retired_at < ?")?.execute([forgotten])?;
    Ok(())
}

/// Devices that are retiring, or were retired at that time or later.
pub(super) fn departed(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<MailboxId>> {
    let sql = "SELECT account, device, registration FROM retiring WHERE retired_at IS NULL
               UNION ALL SELECT account, device, registration FROM retiring WHERE retired_at >= ?";
    connection.prepare_cached(sql)?.query_map([columns::millis(since)], mailbox)?.collect()
}

/// The device has a record again.
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
