//! Direct chats: their conversation ids, our counters in them, how far they were read.

use super::{Columns, Stored, millis};
use rusqlite::{Connection, OptionalExtension, params};
use types::{AccountId, DeviceNumber, Stamp, Timestamp};

/// Makes sure that there is a chat with an account.
pub(crate) fn ensure(db: &Connection, me: AccountId, account: AccountId) -> Stored<()> {
    super::contacts::ensure(db, account)?;
    let conversation = signed::direct_conversation(me, account);
    db.prepare_cached("INSERT OR IGNORE INTO chat (account, conversation) VALUES (?1, ?2)")?
        .execute(params![account.as_bytes(), conversation.as_bytes()])?;
    Ok(())
}

/// The next counter of this device in a chat. Each is given once.
pub(crate) fn next_counter(db: &Connection, account: AccountId) -> Stored<u64> {
    let mut statement =
        db.prepare_cached("UPDATE chat SET counter = counter + 1 WHERE account = ?1 RETURNING counter")?;
    Ok(statement.query_row([account.as_bytes()], |row| row.number(0))?)
}

pub(crate) fn read_up_to(db: &Connection, account: AccountId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT read_up_to FROM chat WHERE account = ?1")?;
    Ok(statement.query_row([account.as_bytes()], |row| row.stamp(0)).optional()?.flatten())
}

pub(crate) fn set_read_up_to(db: &Connection, account: AccountId, stamp: Stamp) -> Stored<()> {
    db.execute(
        "UPDATE chat SET read_up_to = ?2 WHERE account = ?1",
        params![account.as_bytes(), stamp.to_bytes()],
    )?;
    Ok(())
}

/// The newest stamp in a chat, whoever wrote.
pub(crate) fn newest_stamp(db: &Connection, account: AccountId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT max(stamp) FROM message WHERE chat = ?1")?;
    Ok(statement.query_row([account.as_bytes()], |row| row.stamp(0))?)
}

/// The newest stamp of a message that the other side wrote.
pub(crate) fn newest_stamp_of_other(db: &Connection, account: AccountId) -> Stored<Option<Stamp>> {
    let mut statement =
        db.prepare_cached("SELECT max(stamp) FROM message WHERE chat = ?1 AND sender = ?1")?;
    Ok(statement.query_row([account.as_bytes()], |row| row.stamp(0))?)
}

/// How far a device of the other side has read.
pub(crate) fn peer_reads(
    db: &Connection,
    account: AccountId,
) -> Stored<Vec<(DeviceNumber, Stamp, Timestamp)>> {
    let mut statement =
        db.prepare_cached("SELECT device, up_to, at FROM peer_read WHERE chat = ?1 ORDER BY device")?;
    let rows = statement.query_map([account.as_bytes()], |row| {
        Ok((row.device(0)?, row.stamp(1)?.unwrap_or(Stamp::ZERO), row.time(2)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps the higher of two marks.
pub(crate) fn raise_peer_read(
    db: &Connection,
    account: AccountId,
    device: DeviceNumber,
    up_to: Stamp,
    at: Timestamp,
) -> Stored<()> {
    db.execute(
        "INSERT INTO peer_read (chat, device, up_to, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (chat, device) DO UPDATE SET up_to = excluded.up_to, at = excluded.at
         WHERE up_to < excluded.up_to",
        params![account.as_bytes(), device.get(), up_to.to_bytes(), millis(at)],
    )?;
    Ok(())
}
