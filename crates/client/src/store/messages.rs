//! What history shows, and how far our own messages got.

use super::{Columns, Stored, chats::Unmarked, millis, number};
use rusqlite::{Connection, OptionalExtension, Row, params};
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, MessageId, Stamp, Timestamp};

/// A message's row number: names it within this database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageSeq(pub(crate) i64);

/// A message to be written.
pub(crate) struct NewMessage<'a> {
    pub(crate) id: MessageId,
    pub(crate) chat: ChatId,
    pub(crate) sender: DeviceAddress,
    pub(crate) counter: u64,
    pub(crate) sent_at: Timestamp,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) text: &'a str,
    pub(crate) envelope: Option<EnvelopeId>,
}

/// What sending needs to know of a message of our own account.
pub(crate) struct OwnMessage {
    pub(crate) seq: MessageSeq,
    pub(crate) id: MessageId,
    pub(crate) chat: ChatId,
    /// This device or another one of ours.
    pub(crate) sender: DeviceAddress,
    pub(crate) counter: u64,
    pub(crate) sent_at: Timestamp,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) text: String,
    pub(crate) failure: Option<String>,
    pub(crate) resends: u32,
}

impl OwnMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: MessageSeq(row.get(0)?),
            id: row.message_id(1)?,
            chat: row.chat(2)?,
            sender: DeviceAddress::new(row.account(4)?, row.device(5)?),
            counter: row.number(6)?,
            sent_at: row.time(7)?,
            stamp: row.stamp(8)?,
            text: row.get(9)?,
            failure: row.get(10)?,
            resends: row.get(11)?,
        })
    }
}

const OWN: &str = "SELECT seq, id, chat, (SELECT kind FROM chat WHERE chat.id = message.chat), sender, device, \
     counter, sent_at, stamp, text, failure, resends FROM message WHERE";

pub(crate) fn insert(db: &Connection, message: &NewMessage<'_>) -> Stored<MessageSeq> {
    let mut statement = db.prepare_cached(
        "INSERT INTO message (id, chat, sender, device, counter, sent_at, stamp, text, envelope_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let seq = statement.insert(params![
        message.id.as_bytes(),
        message.chat.as_bytes(),
        message.sender.account.as_bytes(),
        message.sender.device.get(),
        number(message.counter),
        millis(message.sent_at),
        message.stamp.map(Stamp::to_bytes),
        message.text,
        message.envelope.as_ref().map(EnvelopeId::as_bytes),
    ])?;
    Ok(MessageSeq(seq))
}

/// Writes a message, unless there is one of this sender with this id.
pub(crate) fn insert_new(db: &Connection, message: &NewMessage<'_>) -> Stored<Option<MessageSeq>> {
    let mut statement = db.prepare_cached("SELECT 1 FROM message WHERE sender = ?1 AND id = ?2")?;
    let known = statement.exists(params![message.sender.account.as_bytes(), message.id.as_bytes()])?;
    if known { Ok(None) } else { insert(db, message).map(Some) }
}

pub(crate) fn own(db: &Connection, me: AccountId, id: MessageId) -> Stored<Option<OwnMessage>> {
    let mut statement = db.prepare_cached(&format!("{OWN} sender = ?1 AND id = ?2"))?;
    Ok(statement.query_row(params![me.as_bytes(), id.as_bytes()], OwnMessage::read).optional()?)
}

pub(crate) fn own_by_seq(db: &Connection, seq: MessageSeq) -> Stored<OwnMessage> {
    let mut statement = db.prepare_cached(&format!("{OWN} seq = ?1"))?;
    Ok(statement.query_row([seq.0], OwnMessage::read)?)
}

/// The counters of a device's messages that are here, from `first` on and below `end`, in order.
pub(crate) fn counters_below(
    db: &Connection,
    chat: ChatId,
    of: DeviceAddress,
    (first, end): (u64, u64),
) -> Stored<Vec<u64>> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT counter FROM message
         WHERE chat = ?1 AND sender = ?2 AND device = ?3 AND counter >= ?4 AND counter < ?5 ORDER BY counter",
    )?;
    let of = params![chat.as_bytes(), of.account.as_bytes(), of.device.get(), number(first), number(end)];
    let rows = statement.query_map(of, |row| row.number(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn own_by_counter(
    db: &Connection,
    me: DeviceAddress,
    chat: ChatId,
    counter: u64,
) -> Stored<Option<OwnMessage>> {
    let mut statement = db.prepare_cached(&format!(
        "{OWN} message.chat = ?1 AND sender = ?2 AND device = ?3 AND counter = ?4"
    ))?;
    let key = params![chat.as_bytes(), me.account.as_bytes(), me.device.get(), number(counter)];
    Ok(statement.query_row(key, OwnMessage::read).optional()?)
}

/// Gives a message a stamp, or a lower one than it has. The lowest stamp wins everywhere.
pub(crate) fn lower_stamp(db: &Connection, seq: MessageSeq, stamp: Stamp) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "UPDATE message SET stamp = ?2, failure = NULL WHERE seq = ?1 AND (stamp IS NULL OR stamp > ?2)",
    )?;
    Ok(statement.execute(params![seq.0, stamp.to_bytes()])? > 0)
}

/// Whether a message that this device sent came in this envelope.
pub(crate) fn came_in(db: &Connection, from: DeviceAddress, envelope: EnvelopeId) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM message WHERE envelope_id = ?1 AND sender = ?2 AND device = ?3")?;
    Ok(statement.exists(params![envelope.as_bytes(), from.account.as_bytes(), from.device.get()])?)
}

/// A redelivery under a lower stamp: gives the received message that came in this envelope that stamp.
pub(crate) fn lower_stamp_of_envelope(
    db: &Connection,
    from: DeviceAddress,
    envelope: EnvelopeId,
    stamp: Stamp,
) -> Stored<Option<MessageId>> {
    let mut statement = db.prepare_cached(
        "UPDATE message SET stamp = ?4
         WHERE envelope_id = ?1 AND sender = ?2 AND device = ?3 AND stamp > ?4 RETURNING id",
    )?;
    let key = params![envelope.as_bytes(), from.account.as_bytes(), from.device.get(), stamp.to_bytes()];
    Ok(statement.query_row(key, |row| row.message_id(0)).optional()?)
}

/// The same for a message whose id is known.
pub(crate) fn lower_stamp_of_received(
    db: &Connection,
    sender: AccountId,
    id: MessageId,
    stamp: Stamp,
) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("UPDATE message SET stamp = ?3 WHERE sender = ?1 AND id = ?2 AND stamp > ?3")?;
    Ok(statement.execute(params![sender.as_bytes(), id.as_bytes(), stamp.to_bytes()])? > 0)
}

/// Ends a message that was refused for good, unless it turned out to be accepted.
pub(crate) fn set_failure(db: &Connection, seq: MessageSeq, word: &str) -> Stored<()> {
    db.execute("UPDATE message SET failure = ?2 WHERE seq = ?1 AND stamp IS NULL", params![seq.0, word])?;
    Ok(())
}

/// Remembers the epoch in which a message of a group was sealed.
pub(crate) fn set_group_epoch(db: &Connection, seq: MessageSeq, epoch: u64) -> Stored<()> {
    db.prepare_cached("UPDATE message SET group_epoch = ?2 WHERE seq = ?1")?
        .execute(params![seq.0, number(epoch)])?;
    Ok(())
}

/// Writes the epoch of a message of which it is not known yet.
pub(crate) fn learn_group_epoch(db: &Connection, seq: MessageSeq, epoch: u64) -> Stored<()> {
    db.prepare_cached("UPDATE message SET group_epoch = ?2 WHERE seq = ?1 AND group_epoch IS NULL")?
        .execute(params![seq.0, number(epoch)])?;
    Ok(())
}

pub(crate) fn group_epoch(db: &Connection, seq: MessageSeq) -> Stored<Option<u64>> {
    let mut statement = db.prepare_cached("SELECT group_epoch FROM message WHERE seq = ?1")?;
    let epoch =
        statement.query_row([seq.0], |row| row.get::<_, Option<i64>>(0)?.map(|_| row.number(0)).transpose());
    Ok(epoch.optional()?.flatten())
}

/// The newest stamp of everybody else who wrote in a chat after a stamp.
pub(crate) fn newest_by_writer(
    db: &Connection,
    me: AccountId,
    chat: ChatId,
    after: Option<Stamp>,
) -> Stored<Vec<(AccountId, Stamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT sender, max(stamp) FROM message
         WHERE chat = ?1 AND sender <> ?2 AND stamp > ?3 GROUP BY sender ORDER BY sender",
    )?;
    let after = after.unwrap_or(Stamp::ZERO).to_bytes();
    let rows = statement.query_map(params![chat.as_bytes(), me.as_bytes(), after], |row| {
        Ok((row.account(0)?, row.stamp(1)?.unwrap_or(Stamp::ZERO)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Ends what a closed account had taken in since a stamp and no device of it is known to have got.
pub(crate) fn fail_undelivered(
    db: &Connection,
    me: AccountId,
    chat: ChatId,
    since: Stamp,
    word: &str,
) -> Stored<Vec<MessageId>> {
    let mut statement = db.prepare_cached(
        "UPDATE message SET failure = ?4
         WHERE chat = ?1 AND sender = ?2 AND stamp >= ?3
           AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = seq) RETURNING id",
    )?;
    let key = params![chat.as_bytes(), me.as_bytes(), since.to_bytes(), word];
    let rows = statement.query_map(key, |row| row.message_id(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Puts a message that was not sealed into another chat, at another place.
pub(crate) fn move_to(db: &Connection, seq: MessageSeq, chat: ChatId, counter: u64) -> Stored<()> {
    db.execute(
        "UPDATE message SET chat = ?2, counter = ?3 WHERE seq = ?1",
        params![seq.0, chat.as_bytes(), number(counter)],
    )?;
    Ok(())
}

pub(crate) fn count_resend(db: &Connection, seq: MessageSeq) -> Stored<()> {
    db.execute("UPDATE message SET resends = resends + 1 WHERE seq = ?1", [seq.0])?;
    Ok(())
}

/// Writes that a device has stored a message of ours; true if no device of its account had.
pub(crate) fn set_delivered(
    db: &Connection,
    seq: MessageSeq,
    by: DeviceAddress,
    at: Timestamp,
) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "INSERT INTO delivery (message, account, device, delivered_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (message, account, device) DO UPDATE SET delivered_at = excluded.delivered_at
         WHERE delivered_at IS NULL",
    )?;
    let first = !progressed(db, "delivered_at", seq, by.account)?;
    let new = statement.execute(params![seq.0, by.account.as_bytes(), by.device.get(), millis(at)])? > 0;
    Ok(first && new)
}

/// Writes that a person has seen a message of ours on a device; true if they had on none.
pub(crate) fn set_read(db: &Connection, seq: MessageSeq, by: DeviceAddress, at: Timestamp) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "INSERT INTO delivery (message, account, device, read_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (message, account, device) DO UPDATE SET read_at = excluded.read_at
         WHERE read_at IS NULL",
    )?;
    let first = !progressed(db, "read_at", seq, by.account)?;
    let new = statement.execute(params![seq.0, by.account.as_bytes(), by.device.get(), millis(at)])? > 0;
    Ok(first && new)
}

/// Whether any device of an account has said so of a message.
fn progressed(db: &Connection, column: &str, seq: MessageSeq, account: AccountId) -> Stored<bool> {
    let sql = format!("SELECT 1 FROM delivery WHERE message = ?1 AND account = ?2 AND {column} IS NOT NULL");
    Ok(db.prepare_cached(&sql)?.exists(params![seq.0, account.as_bytes()])?)
}

/// Our first `limit` messages in a chat after a stamp and up to another one that a device was not known to have read.
pub(crate) fn unread_by(
    db: &Connection,
    me: AccountId,
    read: &Unmarked,
    limit: usize,
) -> Stored<Vec<(MessageSeq, MessageId, Stamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, id, stamp FROM message
         WHERE chat = ?1 AND sender = ?2 AND stamp > ?5 AND stamp <= ?6
           AND NOT EXISTS (SELECT 1 FROM delivery
                           WHERE message = seq AND account = ?3 AND device = ?4 AND read_at IS NOT NULL)
         ORDER BY stamp LIMIT ?7",
    )?;
    let key = params![
        read.chat.as_bytes(),
        me.as_bytes(),
        read.by.account.as_bytes(),
        read.by.device.get(),
        read.marked.unwrap_or(Stamp::ZERO).to_bytes(),
        read.up_to.to_bytes(),
        number(limit as u64)
    ];
    let rows = statement.query_map(key, |row| {
        Ok((MessageSeq(row.get(0)?), row.message_id(1)?, row.stamp(2)?.unwrap_or(Stamp::ZERO)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
