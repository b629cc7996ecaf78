//! What came in and is not, or must not be, a message yet: ids that were seen, counters that were heard, what
//! is held for a list, what is in quarantine, receipts that are due.

use super::{Columns, Stored, millis, number};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use seal::Opened;
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, MessageId, Stamp, Timestamp};
use zeroize::Zeroizing;

// ---- ids

/// Remembers an id; true if it is new.
pub(crate) fn see(db: &Connection, sender: AccountId, id: MessageId, now: Timestamp) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("INSERT OR IGNORE INTO seen (sender, id, at) VALUES (?1, ?2, ?3)")?;
    Ok(statement.execute(params![sender.as_bytes(), id.as_bytes(), millis(now)])? > 0)
}

/// Forgets ids that were seen before a time.
pub(crate) fn prune_seen(db: &Connection, before: Timestamp) -> Stored<()> {
    db.execute("DELETE FROM seen WHERE at < ?1", [millis(before)])?;
    Ok(())
}

// ---- counters

/// What was heard from a device in a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Nothing is known of the counters before this one.
    pub(crate) first: u64,
    /// The highest counter.
    pub(crate) highest: u64,
}

/// What was heard from a device in a chat; none if nothing was.
pub(crate) fn heard(db: &Connection, chat: ChatId, device: DeviceAddress) -> Stored<Option<Heard>> {
    let mut statement = db.prepare_cached(
        "SELECT first, counter FROM heard WHERE chat = ?1 AND account = ?2 AND device = ?3",
    )?;
    let key = params![chat.as_bytes(), device.account.as_bytes(), device.device.get()];
    let heard = statement.query_row(key, |row| Ok(Heard { first: row.number(0)?, highest: row.number(1)? }));
    Ok(heard.optional()?)
}

pub(crate) fn set_heard(db: &Connection, chat: ChatId, device: DeviceAddress, heard: Heard) -> Stored<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO heard (chat, account, device, first, counter) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        chat.as_bytes(),
        device.account.as_bytes(),
        device.device.get(),
        number(heard.first),
        number(heard.highest)
    ])?;
    Ok(())
}

/// Forgets what was heard in a chat: its counters begin anew.
pub(crate) fn forget_heard(db: &Connection, chat: ChatId) -> Stored<()> {
    db.prepare_cached("DELETE FROM heard WHERE chat = ?1")?.execute([chat.as_bytes()])?;
    db.prepare_cached("DELETE FROM gap WHERE chat = ?1 AND first > 0")?.execute([chat.as_bytes()])?;
    Ok(())
}

/// Forgets what was heard from a device, in every chat.
pub(crate) fn forget_heard_of(db: &Connection, device: DeviceAddress) -> Stored<()> {
    let key = params![device.account.as_bytes(), device.device.get()];
    db.execute("DELETE FROM heard WHERE account = ?1 AND device = ?2", key)?;
    Ok(())
}

// ---- held

/// An envelope that waits for its sender's device list.
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) envelope: Bytes,
    /// What came out of it, if the session could open it.
    pub(crate) opened: Option<Opened>,
}

/// Holds an envelope; once, however often it is delivered.
pub(crate) fn hold(
    db: &Connection,
    envelope: &wire::Envelope,
    opened: Option<&Opened>,
    now: Timestamp,
) -> Stored<()> {
    let opened: Option<Zeroizing<Vec<u8>>> = opened.map(Opened::to_bytes);
    db.prepare_cached(
        "INSERT INTO held (account, device, envelope_id, envelope, opened, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, device, envelope_id) DO UPDATE SET opened = coalesce(opened, excluded.opened)",
    )?
    .execute(params![
        envelope.from.account.as_bytes(),
        envelope.from.device.get(),
        envelope.envelope_id.as_bytes(),
        envelope.encode().as_ref(),
        opened.as_ref().map(|opened| opened.as_slice()),
        millis(now)
    ])?;
    Ok(())
}

/// The bytes of an envelope that is held.
pub(crate) fn held_envelope(
    db: &Connection,
    from: DeviceAddress,
    envelope: EnvelopeId,
) -> Stored<Option<Bytes>> {
    let mut statement = db.prepare_cached(
        "SELECT envelope FROM held WHERE account = ?1 AND device = ?2 AND envelope_id = ?3",
    )?;
    let key = params![from.account.as_bytes(), from.device.get(), envelope.as_bytes()];
    Ok(statement.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?.map(Bytes::from))
}

/// Keeps an envelope that is held under another stamp.
pub(crate) fn restamp_held(db: &Connection, envelope: &wire::Envelope) -> Stored<()> {
    let sql = "UPDATE held SET envelope = ?4 WHERE account = ?1 AND device = ?2 AND envelope_id = ?3";
    db.prepare_cached(sql)?.execute(params![
        envelope.from.account.as_bytes(),
        envelope.from.device.get(),
        envelope.envelope_id.as_bytes(),
        envelope.encode().as_ref()
    ])?;
    Ok(())
}

/// Takes everything that is held of an account, in the order in which it came.
pub(crate) fn take_held(db: &Connection, account: AccountId) -> Stored<Vec<Held>> {
    let mut statement =
        db.prepare_cached("SELECT id, envelope, opened FROM held WHERE account = ?1 ORDER BY id")?;
    let rows = statement.query_map([account.as_bytes()], |row| {
        let opened: Option<Vec<u8>> = row.get(2)?;
        Ok(Held {
            id: row.get(0)?,
            envelope: row.get::<_, Vec<u8>>(1)?.into(),
            opened: opened.and_then(|bytes| Opened::from_slice(&bytes).ok()),
        })
    })?;
    let held: Vec<Held> = rows.collect::<Result<_, _>>()?;
    for one in &held {
        db.prepare_cached("DELETE FROM held WHERE id = ?1")?.execute([one.id])?;
    }
    Ok(held)
}

// ---- quarantine

/// Something that an earlier version of this program put aside.
pub(crate) struct Quarantined {
    pub(crate) envelope: Bytes,
    pub(crate) opened: Option<Opened>,
}

/// Keeps an envelope for a later version of this program.
pub(crate) fn quarantine(
    db: &Connection,
    envelope: &wire::Envelope,
    opened: Option<&Opened>,
    reason: &str,
    now: Timestamp,
) -> Stored<()> {
    let opened: Option<Zeroizing<Vec<u8>>> = opened.map(Opened::to_bytes);
    db.execute(
        "INSERT OR IGNORE INTO quarantine
           (account, device, envelope_id, envelope, opened, reason, by_version, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            envelope.from.account.as_bytes(),
            envelope.from.device.get(),
            envelope.envelope_id.as_bytes(),
            envelope.encode().as_ref(),
            opened.as_ref().map(|opened| opened.as_slice()),
            reason,
            env!("CARGO_PKG_VERSION"),
            millis(now)
        ],
    )?;
    Ok(())
}

/// How many envelopes are kept, of one account and of all.
pub(crate) fn quarantined_counts(db: &Connection, account: AccountId) -> Stored<(u64, u64)> {
    let mut statement =
        db.prepare_cached("SELECT count(*) FILTER (WHERE account = ?1), count(*) FROM quarantine")?;
    Ok(statement.query_row([account.as_bytes()], |row| Ok((row.number(0)?, row.number(1)?)))?)
}

/// Takes what an earlier version of this program put aside.
pub(crate) fn take_quarantined_by_others(db: &Connection) -> Stored<Vec<Quarantined>> {
    let mut statement =
        db.prepare("DELETE FROM quarantine WHERE by_version <> ?1 RETURNING envelope, opened")?;
    let rows = statement.query_map([env!("CARGO_PKG_VERSION")], |row| {
        let opened: Option<Vec<u8>> = row.get(1)?;
        Ok(Quarantined {
            envelope: row.get::<_, Vec<u8>>(0)?.into(),
            opened: opened.and_then(|bytes| Opened::from_slice(&bytes).ok()),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

// ---- receipts

/// A delivered receipt that is owed to the account that wrote the message.
pub(crate) struct ReceiptDue {
    pub(crate) chat: ChatId,
    pub(crate) writer: AccountId,
    pub(crate) message_id: MessageId,
    /// The lowest that is known.
    pub(crate) stamp: Stamp,
}

/// Owes a receipt, or corrects the stamp of one that is owed.
pub(crate) fn receipt_due(db: &Connection, due: &ReceiptDue) -> Stored<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO receipt_due (chat, account, message_id, stamp) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        due.chat.as_bytes(),
        due.writer.as_bytes(),
        due.message_id.as_bytes(),
        due.stamp.to_bytes()
    ])?;
    Ok(())
}

pub(crate) fn has_receipts_due(db: &Connection) -> Stored<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM receipt_due LIMIT 1")?.exists([])?)
}

/// Takes all receipts that are due, by chat, writer and stamp.
pub(crate) fn take_receipts_due(db: &Connection) -> Stored<Vec<ReceiptDue>> {
    let mut statement = db.prepare_cached(
        "SELECT chat, (SELECT kind FROM chat WHERE chat.id = receipt_due.chat), account, message_id, stamp
         FROM receipt_due ORDER BY receipt_due.chat, account, stamp, message_id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(ReceiptDue {
            chat: row.chat(0)?,
            writer: row.account(2)?,
            message_id: row.message_id(3)?,
            stamp: row.stamp(4)?.unwrap_or(Stamp::ZERO),
        })
    })?;
    let due = rows.collect::<Result<_, _>>()?;
    db.execute("DELETE FROM receipt_due", [])?;
    Ok(due)
}
