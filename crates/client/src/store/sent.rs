//! What was sealed to whom within the last 30 days, and which resends were answered.

use super::{Columns, Stored, messages::MessageSeq, millis};
use rusqlite::{Connection, OptionalExtension, params};
use seal::Peer;
use types::{ChatId, DeviceAddress, EnvelopeId, Stamp, Timestamp};

/// One send.
pub(crate) struct SentRow {
    pub(crate) chat: ChatId,
    pub(crate) message: Option<MessageSeq>,
    /// What was sealed, if history does not show it.
    pub(crate) content: Option<Vec<u8>>,
    /// Known once it was accepted, unless history shows it: then the message has it.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) at: Timestamp,
    pub(crate) resends: u32,
}

/// Remembers a send in the transaction that seals it.
pub(crate) fn insert(db: &Connection, envelope: EnvelopeId, row: &SentRow, readers: &[&Peer]) -> Stored<()> {
    db.prepare_cached(
        "INSERT INTO sent (envelope_id, chat, message, content, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        envelope.as_bytes(),
        row.chat.as_bytes(),
        row.message.map(|message| message.0),
        row.content,
        millis(row.at)
    ])?;
    let mut statement = db.prepare_cached(
        "INSERT INTO sent_device (envelope_id, account, device, identity) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for peer in readers {
        let address = peer.address();
        statement.execute(params![
            envelope.as_bytes(),
            address.account.as_bytes(),
            address.device.get(),
            peer.identity().as_bytes()
        ])?;
    }
    Ok(())
}

pub(crate) fn get(db: &Connection, envelope: EnvelopeId) -> Stored<Option<SentRow>> {
    let mut statement = db.prepare_cached(
        "SELECT chat, (SELECT kind FROM chat WHERE chat.id = sent.chat), message, content, stamp, at, resends
         FROM sent WHERE envelope_id = ?1",
    )?;
    let row = statement.query_row([envelope.as_bytes()], |row| {
        Ok(SentRow {
            chat: row.chat(0)?,
            message: row.get::<_, Option<i64>>(2)?.map(MessageSeq),
            content: row.get(3)?,
            stamp: row.stamp(4)?,
            at: row.time(5)?,
            resends: row.get(6)?,
        })
    });
    Ok(row.optional()?)
}

/// The envelopes that a message was ever sealed in.
pub(crate) fn envelopes_of(db: &Connection, message: MessageSeq) -> Stored<Vec<EnvelopeId>> {
    let mut statement = db.prepare_cached("SELECT envelope_id FROM sent WHERE message = ?1 ORDER BY at")?;
    let rows = statement.query_map([message.0], |row| row.envelope_id(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The envelopes with the same content as this one.
pub(crate) fn envelopes_like(db: &Connection, envelope: EnvelopeId) -> Stored<Vec<EnvelopeId>> {
    match get(db, envelope)? {
        Some(SentRow { message: Some(message), .. }) => envelopes_of(db, message),
        Some(_) => Ok(vec![envelope]),
        None => Ok(Vec::new()),
    }
}

/// Whether a device, in this life and under this identity, was among those that an envelope was sealed to.
pub(crate) fn was_sealed_to(db: &Connection, envelope: EnvelopeId, peer: &Peer) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM sent_device WHERE envelope_id = ?1 AND account = ?2 AND device = ?3 AND identity = ?4",
    )?;
    let address = peer.address();
    Ok(statement.exists(params![
        envelope.as_bytes(),
        address.account.as_bytes(),
        address.device.get(),
        peer.identity().as_bytes()
    ])?)
}

pub(crate) fn set_stamp(db: &Connection, envelope: EnvelopeId, stamp: Stamp) -> Stored<()> {
    db.prepare_cached("UPDATE sent SET stamp = ?2 WHERE envelope_id = ?1")?
        .execute(params![envelope.as_bytes(), stamp.to_bytes()])?;
    Ok(())
}

/// Forgets a send of which the server stored nothing.
pub(crate) fn remove(db: &Connection, envelope: EnvelopeId) -> Stored<()> {
    db.execute("DELETE FROM sent WHERE envelope_id = ?1", [envelope.as_bytes()])?;
    Ok(())
}

pub(crate) fn count_resend(db: &Connection, envelope: EnvelopeId) -> Stored<()> {
    db.execute("UPDATE sent SET resends = resends + 1 WHERE envelope_id = ?1", [envelope.as_bytes()])?;
    Ok(())
}

/// Which side of a resend is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// We asked for it.
    Asked,
    /// We answered a request.
    Answered,
}

impl Resend {
    const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Answered => "answered",
        }
    }
}

/// How many there were with a device since a time.
pub(crate) fn resends_since(
    db: &Connection,
    what: Resend,
    device: DeviceAddress,
    since: Timestamp,
) -> Stored<u64> {
    let mut statement = db.prepare_cached(
        "SELECT count(*) FROM resend_count WHERE account = ?1 AND device = ?2 AND what = ?3 AND at > ?4",
    )?;
    let key = params![device.account.as_bytes(), device.device.get(), what.word(), millis(since)];
    Ok(statement.query_row(key, |row| row.number(0))?)
}

pub(crate) fn count(db: &Connection, what: Resend, device: DeviceAddress, now: Timestamp) -> Stored<()> {
    db.prepare_cached("INSERT INTO resend_count (account, device, what, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![device.account.as_bytes(), device.device.get(), what.word(), millis(now)])?;
    Ok(())
}

/// Remembers a request for what is not known to be accepted yet.
pub(crate) fn want(db: &Connection, envelope: EnvelopeId, by: DeviceAddress) -> Stored<()> {
    db.execute(
        "INSERT OR IGNORE INTO resend_wanted (envelope_id, account, device) VALUES (?1, ?2, ?3)",
        params![envelope.as_bytes(), by.account.as_bytes(), by.device.get()],
    )?;
    Ok(())
}

/// Takes the requests that waited for this acceptance.
pub(crate) fn take_wanted(db: &Connection, envelope: EnvelopeId) -> Stored<Vec<DeviceAddress>> {
    let mut statement =
        db.prepare_cached("DELETE FROM resend_wanted WHERE envelope_id = ?1 RETURNING account, device")?;
    let rows = statement
        .query_map([envelope.as_bytes()], |row| Ok(DeviceAddress::new(row.account(0)?, row.device(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets sends before one time, and counts before another.
pub(crate) fn prune(db: &Connection, sent_before: Timestamp, counted_before: Timestamp) -> Stored<()> {
    db.execute("DELETE FROM sent WHERE at < ?1", [millis(sent_before)])?;
    db.execute("DELETE FROM resend_count WHERE at < ?1", [millis(counted_before)])?;
    db.execute("DELETE FROM resend_wanted WHERE NOT EXISTS (SELECT 1 FROM sent WHERE sent.envelope_id = resend_wanted.envelope_id)", [])?;
    Ok(())
}
