//! Delivered receipts for messages of ours that are not here yet: another device of ours wrote them, and what it tells us
//! of them has not come, or does not open yet.

use super::{Columns, Stored, millis};
use rusqlite::{Connection, params};
use types::{ChatId, DeviceAddress, MessageId, Stamp, Timestamp};

/// Kept of one account, and of all: what somebody can make us store by naming what there never was.
const OF_ACCOUNT_MAX: i64 = 1_000;
const ALL_MAX: i64 = 10_000;

/// What a device says of one message.
pub(crate) struct EarlyReceipt {
    pub(crate) chat: [u8; 16],
    pub(crate) by: DeviceAddress,
    /// Under which it has the message.
    pub(crate) stamp: Stamp,
    /// When it said so.
    pub(crate) at: Timestamp,
}

/// Keeps a receipt as long as there is room.
pub(crate) fn keep(
    db: &Connection,
    message: MessageId,
    chat: ChatId,
    by: DeviceAddress,
    (stamp, at): (Stamp, Timestamp),
) -> Stored<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO early_receipt (message_id, account, device, chat, stamp, at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6
         WHERE (SELECT count(*) FROM early_receipt WHERE account = ?2) < ?7
           AND (SELECT count(*) FROM early_receipt) < ?8",
    )?
    .execute(params![
        message.as_bytes(),
        by.account.as_bytes(),
        by.device.get(),
        chat.as_bytes(),
        stamp.to_bytes(),
        millis(at),
        OF_ACCOUNT_MAX,
        ALL_MAX
    ])?;
    Ok(())
}

/// Takes what was said of a message that is here now.
pub(crate) fn take(db: &Connection, message: MessageId) -> Stored<Vec<EarlyReceipt>> {
    let mut statement = db.prepare_cached(
        "DELETE FROM early_receipt WHERE message_id = ?1 RETURNING chat, account, device, stamp, at",
    )?;
    let rows = statement.query_map([message.as_bytes()], |row| {
        Ok(EarlyReceipt {
            chat: row.get(0)?,
            by: DeviceAddress::new(row.account(1)?, row.device(2)?),
            stamp: row.stamp(3)?.unwrap_or(Stamp::ZERO),
            at: row.time(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets what was said before a time: the message will not come any more.
pub(crate) fn prune(db: &Connection, before: Timestamp) -> Stored<()> {
    db.execute("DELETE FROM early_receipt WHERE at < ?1", [millis(before)])?;
    Ok(())
}
