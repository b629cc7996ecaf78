//! What is to be sent: in lanes that are first in, first out, with one unanswered row each.

use super::{Columns, Stored, messages::MessageSeq};
use rusqlite::{Connection, OptionalExtension, Row, params};
use seal::Content;
use types::{ChatId, DeviceNumber, EnvelopeId};
use wire::{EnvelopeKind, SealedFor};

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutboxId(pub(crate) i64);

/// Rows of one lane leave one after the other, each after the answer to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) chat: ChatId,
    pub(crate) class: LaneClass,
}

/// What shares a lane. Receipts and requests never wait for messages, nor messages for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LaneClass {
    /// What history shows.
    Messages = 0,
    /// Receipts, requests, resends, voids.
    Silent = 1,
}

impl LaneClass {
    fn from_number(number: i64) -> Self {
        if number == 0 { Self::Messages } else { Self::Silent }
    }
}

/// Which devices of the recipient a content is for. A send names them all: the others get one that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every device that is listed when it is sealed.
    All,
    /// One device: it asked, or is asked.
    Device(DeviceNumber),
    /// Those that what was sealed in this envelope was for, as long as they are listed under the same identity.
    ReadersOf(EnvelopeId),
}

/// One row.
pub(crate) struct OutboxRow {
    pub(crate) id: OutboxId,
    pub(crate) lane: Lane,
    pub(crate) message: Option<MessageSeq>,
    pub(crate) content: Vec<u8>,
    /// Present once it is sealed.
    pub(crate) envelope_id: Option<EnvelopeId>,
    pub(crate) tries: u32,
    pub(crate) audience: Audience,
    /// It goes to this account or nowhere: the person named it, and not its number.
    pub(crate) to_account: bool,
}

impl OutboxRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: OutboxId(row.get(0)?),
            lane: Lane { chat: row.chat(1)?, class: LaneClass::from_number(row.get(3)?) },
            message: row.get::<_, Option<i64>>(4)?.map(MessageSeq),
            content: row.get(5)?,
            envelope_id: row.get::<_, Option<[u8; 16]>>(6)?.map(EnvelopeId::from_bytes),
            tries: row.get(7)?,
            audience: match (row.get::<_, Option<u32>>(8)?, row.get::<_, Option<[u8; 16]>>(9)?) {
                (Some(_), _) => Audience::Device(row.device(8)?),
                (None, Some(envelope)) => Audience::ReadersOf(EnvelopeId::from_bytes(envelope)),
                (None, None) => Audience::All,
            },
            to_account: row.get(10)?,
        })
    }
}

const ROW: &str = "SELECT id, chat, (SELECT kind FROM chat WHERE chat.id = outbox.chat), lane, message, content, \
     envelope_id, tries, only_device, readers_of, to_account FROM outbox WHERE";

/// Adds a content at the end of its lane.
pub(crate) fn push(
    db: &Connection,
    lane: Lane,
    message: Option<MessageSeq>,
    content: &[u8],
) -> Stored<OutboxId> {
    push_for(db, lane, message, content, Audience::All)
}

/// Adds a content that is not for every device.
pub(crate) fn push_for(
    db: &Connection,
    lane: Lane,
    message: Option<MessageSeq>,
    content: &[u8],
    audience: Audience,
) -> Stored<OutboxId> {
    let (device, readers_of) = match audience {
        Audience::All => (None, None),
        Audience::Device(device) => (Some(device.get()), None),
        Audience::ReadersOf(envelope) => (None, Some(*envelope.as_bytes())),
    };
    let mut statement = db.prepare_cached(
        "INSERT INTO outbox (chat, lane, message, content, only_device, readers_of)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let id = statement.insert(params![
        lane.chat.as_bytes(),
        lane.class as i64,
        message.map(|message| message.0),
        content,
        device,
        readers_of
    ])?;
    Ok(OutboxId(id))
}

/// From now on a row goes to its account or nowhere.
pub(crate) fn set_to_account(db: &Connection, row: OutboxId) -> Stored<()> {
    db.execute("UPDATE outbox SET to_account = 1 WHERE id = ?1", [row.0])?;
    Ok(())
}

/// The first row of a lane that goes to its account or nowhere.
pub(crate) fn head_to_account(db: &Connection, lane: Lane) -> Stored<Option<OutboxRow>> {
    let mut statement = db.prepare_cached(&format!(
        "{ROW} outbox.chat = ?1 AND lane = ?2 AND to_account ORDER BY id LIMIT 1"
    ))?;
    let key = params![lane.chat.as_bytes(), lane.class as i64];
    Ok(statement.query_row(key, OutboxRow::read).optional()?)
}

/// The row that leaves next in a lane.
pub(crate) fn head(db: &Connection, lane: Lane) -> Stored<Option<OutboxRow>> {
    let mut statement =
        db.prepare_cached(&format!("{ROW} outbox.chat = ?1 AND lane = ?2 ORDER BY id LIMIT 1"))?;
    let key = params![lane.chat.as_bytes(), lane.class as i64];
    Ok(statement.query_row(key, OutboxRow::read).optional()?)
}

/// The row that leaves last in a lane, for a planted fault.
pub(crate) fn tail(db: &Connection, lane: Lane) -> Stored<Option<OutboxRow>> {
    let mut statement =
        db.prepare_cached(&format!("{ROW} outbox.chat = ?1 AND lane = ?2 ORDER BY id DESC LIMIT 1"))?;
    let key = params![lane.chat.as_bytes(), lane.class as i64];
    Ok(statement.query_row(key, OutboxRow::read).optional()?)
}

pub(crate) fn get(db: &Connection, id: OutboxId) -> Stored<Option<OutboxRow>> {
    let mut statement = db.prepare_cached(&format!("{ROW} id = ?1"))?;
    Ok(statement.query_row([id.0], OutboxRow::read).optional()?)
}

/// Every lane that has a row.
pub(crate) fn lanes(db: &Connection) -> Stored<Vec<Lane>> {
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT outbox.chat, kind, lane FROM outbox LEFT JOIN chat ON chat.id = outbox.chat
         ORDER BY outbox.chat, lane",
    )?;
    let rows = statement
        .query_map([], |row| Ok(Lane { chat: row.chat(0)?, class: LaneClass::from_number(row.get(2)?) }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn is_empty(db: &Connection) -> Stored<bool> {
    Ok(!db.prepare_cached("SELECT 1 FROM outbox LIMIT 1")?.exists([])?)
}

/// Writes the ciphertexts of a row. They are what is sent from now on.
pub(crate) fn set_sealed(
    db: &Connection,
    id: OutboxId,
    envelope_id: EnvelopeId,
    sealed: &[SealedFor],
) -> Stored<()> {
    db.prepare_cached("UPDATE outbox SET envelope_id = ?2 WHERE id = ?1")?
        .execute(params![id.0, envelope_id.as_bytes()])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO outbox_sealed (outbox, account, device, registration, kind, ciphertext)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for one in sealed {
        statement.execute(params![
            id.0,
            one.to.account.as_bytes(),
            one.to.device.get(),
            one.to.registration.get(),
            one.kind as i64,
            one.ciphertext.as_ref()
        ])?;
    }
    Ok(())
}

/// The ciphertexts of a row, as they were sealed.
pub(crate) fn sealed(db: &Connection, id: OutboxId) -> Stored<Vec<SealedFor>> {
    let mut statement = db.prepare_cached(
        "SELECT account, device, registration, kind, ciphertext FROM outbox_sealed
         WHERE outbox = ?1 ORDER BY account, device",
    )?;
    let rows = statement.query_map([id.0], |row| {
        let address = types::DeviceAddress::new(row.account(0)?, row.device(1)?);
        Ok(SealedFor {
            to: address.mailbox(row.registration(2)?),
            kind: EnvelopeKind::from_number(row.get(3)?),
            ciphertext: row.get::<_, Vec<u8>>(4)?.into(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets the ciphertexts of a row of which the server stored nothing, so that it is sealed again under
/// another envelope id.
pub(crate) fn unseal(db: &Connection, id: OutboxId) -> Stored<()> {
    db.execute("DELETE FROM outbox_sealed WHERE outbox = ?1", [id.0])?;
    db.execute("DELETE FROM outbox_group WHERE outbox = ?1", [id.0])?;
    db.execute("UPDATE outbox SET envelope_id = NULL WHERE id = ?1", [id.0])?;
    Ok(())
}

/// Counts a try that did not succeed.
pub(crate) fn count_try(db: &Connection, id: OutboxId) -> Stored<()> {
    db.execute("UPDATE outbox SET tries = tries + 1 WHERE id = ?1", [id.0])?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, id: OutboxId) -> Stored<()> {
    db.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([id.0])?;
    Ok(())
}

/// Whether an unanswered content of this chat reads as `matches` says.
pub(crate) fn any(db: &Connection, lane: Lane, matches: impl Fn(&Content) -> bool) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT content FROM outbox WHERE chat = ?1 AND lane = ?2")?;
    let mut rows = statement.query(params![lane.chat.as_bytes(), lane.class as i64])?;
    while let Some(row) = rows.next()? {
        let content: Vec<u8> = row.get(0)?;
        if Content::decode(&content).is_ok_and(|content| matches(&content)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everything in a lane that was not sealed, in order.
pub(crate) fn unsealed(db: &Connection, lane: Lane) -> Stored<Vec<OutboxRow>> {
    let mut statement = db.prepare_cached(&format!(
        "{ROW} outbox.chat = ?1 AND lane = ?2 AND envelope_id IS NULL ORDER BY id"
    ))?;
    let rows = statement.query_map(params![lane.chat.as_bytes(), lane.class as i64], OutboxRow::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a message is in a lane.
pub(crate) fn any_of_message(db: &Connection, lane: Lane, message: MessageSeq) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM outbox WHERE chat = ?1 AND lane = ?2 AND message = ?3")?;
    Ok(statement.exists(params![lane.chat.as_bytes(), lane.class as i64, message.0])?)
}
