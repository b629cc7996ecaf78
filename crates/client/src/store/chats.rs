//! Chats: their conversation ids, our counters in them, how far they were read.

use super::{Columns, Stored, millis};
use rusqlite::{Connection, OptionalExtension, params};
use types::{AccountId, ChatId, ConversationId, DeviceAddress, Stamp, Timestamp};

/// The conversation of a chat, as sealed content names it.
pub(crate) fn conversation(me: AccountId, chat: ChatId) -> ConversationId {
    match chat {
        ChatId::Direct(account) => signed::direct_conversation(me, account),
        ChatId::Group(group) => ConversationId::from_bytes(*group.as_bytes()),
    }
}

/// Makes sure that there is a chat.
pub(crate) fn ensure(db: &Connection, me: AccountId, chat: ChatId) -> Stored<()> {
    if let ChatId::Direct(account) = chat {
        super::contacts::ensure(db, account)?;
    }
    db.prepare_cached("INSERT OR IGNORE INTO chat (id, kind, conversation) VALUES (?1, ?2, ?3)")?.execute(
        params![chat.as_bytes(), i64::from(chat.group().is_some()), conversation(me, chat).as_bytes()],
    )?;
    Ok(())
}

/// The chat with these sixteen bytes, if there is one.
pub(crate) fn with_id(db: &Connection, id: [u8; 16]) -> Stored<Option<ChatId>> {
    let mut statement = db.prepare_cached("SELECT id, kind FROM chat WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| row.chat(0)).optional()?)
}

/// The chat that a conversation belongs to, if there is one.
pub(crate) fn of_conversation(db: &Connection, conversation: ConversationId) -> Stored<Option<ChatId>> {
    let mut statement = db.prepare_cached("SELECT id, kind FROM chat WHERE conversation = ?1")?;
    Ok(statement.query_row([conversation.as_bytes()], |row| row.chat(0)).optional()?)
}

/// The next counter of this device in a chat. Each is given once.
pub(crate) fn next_counter(db: &Connection, chat: ChatId) -> Stored<u64> {
    let mut statement =
        db.prepare_cached("UPDATE chat SET counter = counter + 1 WHERE id = ?1 RETURNING counter")?;
    Ok(statement.query_row([chat.as_bytes()], |row| row.number(0))?)
}

pub(crate) fn read_up_to(db: &Connection, chat: ChatId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT read_up_to FROM chat WHERE id = ?1")?;
    Ok(statement.query_row([chat.as_bytes()], |row| row.stamp(0)).optional()?.flatten())
}

/// Keeps the higher of two marks; true if this one is.
pub(crate) fn raise_read_up_to(db: &Connection, chat: ChatId, stamp: Stamp) -> Stored<bool> {
    let raised = db.execute(
        "UPDATE chat SET read_up_to = ?2 WHERE id = ?1 AND (read_up_to IS NULL OR read_up_to < ?2)",
        params![chat.as_bytes(), stamp.to_bytes()],
    )?;
    Ok(raised > 0)
}

/// The newest stamp in a chat, whoever wrote.
pub(crate) fn newest_stamp(db: &Connection, chat: ChatId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT max(stamp) FROM message WHERE chat = ?1")?;
    Ok(statement.query_row([chat.as_bytes()], |row| row.stamp(0))?)
}

/// The newest stamp of a message that somebody else wrote.
pub(crate) fn newest_stamp_of_others(db: &Connection, me: AccountId, chat: ChatId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached(
        "SELECT stamp FROM message WHERE chat = ?1 AND sender <> ?2 ORDER BY stamp DESC LIMIT 1",
    )?;
    let key = params![chat.as_bytes(), me.as_bytes()];
    Ok(statement.query_row(key, |row| row.stamp(0)).optional()?.flatten())
}

/// How far the devices of others have read.
pub(crate) fn peer_reads(db: &Connection, chat: ChatId) -> Stored<Vec<(DeviceAddress, Stamp, Timestamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT account, device, up_to, at FROM peer_read WHERE chat = ?1 ORDER BY account, device",
    )?;
    let rows = statement.query_map([chat.as_bytes()], |row| {
        let device = DeviceAddress::new(row.account(0)?, row.device(1)?);
        Ok((device, row.stamp(2)?.unwrap_or(Stamp::ZERO), row.time(3)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps the higher of two marks.
pub(crate) fn raise_peer_read(
    db: &Connection,
    chat: ChatId,
    device: DeviceAddress,
    up_to: Stamp,
    at: Timestamp,
) -> Stored<()> {
    db.execute(
        "INSERT INTO peer_read (chat, account, device, up_to, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (chat, account, device) DO UPDATE SET up_to = excluded.up_to, at = excluded.at
         WHERE up_to < excluded.up_to",
        params![
            chat.as_bytes(),
            device.account.as_bytes(),
            device.device.get(),
            up_to.to_bytes(),
            millis(at)
        ],
    )?;
    Ok(())
}

/// How far a device has read, and how far our messages were marked so.
pub(crate) struct Unmarked {
    pub(crate) chat: ChatId,
    pub(crate) by: DeviceAddress,
    pub(crate) marked: Option<Stamp>,
    pub(crate) up_to: Stamp,
    pub(crate) at: Timestamp,
}

/// A device that has read further than our messages were marked.
pub(crate) fn first_unmarked(db: &Connection) -> Stored<Option<Unmarked>> {
    let mut statement = db.prepare_cached(
        "SELECT chat, (SELECT kind FROM chat WHERE chat.id = peer_read.chat), account, device, marked, up_to, at
         FROM peer_read WHERE marked IS NULL OR marked < up_to LIMIT 1",
    )?;
    let unmarked = statement.query_row([], |row| {
        Ok(Unmarked {
            chat: row.chat(0)?,
            by: DeviceAddress::new(row.account(2)?, row.device(3)?),
            marked: row.stamp(4)?,
            up_to: row.stamp(5)?.unwrap_or(Stamp::ZERO),
            at: row.time(6)?,
        })
    });
    Ok(unmarked.optional()?)
}

pub(crate) fn set_marked(db: &Connection, chat: ChatId, by: DeviceAddress, marked: Stamp) -> Stored<()> {
    db.prepare_cached("UPDATE peer_read SET marked = ?4 WHERE chat = ?1 AND account = ?2 AND device = ?3")?
        .execute(params![chat.as_bytes(), by.account.as_bytes(), by.device.get(), marked.to_bytes()])?;
    Ok(())
}
