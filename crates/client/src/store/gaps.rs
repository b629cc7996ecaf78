//! What is missing: runs of counters that were skipped, and envelopes that could not be opened.

use super::{Columns, Stored, millis, number};
use rusqlite::{Connection, OptionalExtension, Row, params};
use types::{ChatId, DeviceAddress, EnvelopeId, Stamp, Timestamp};

/// One gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) id: i64,
    /// Where it would be shown; for an envelope, the chat that such a sender mostly writes in.
    pub(crate) chat: ChatId,
    pub(crate) sender: DeviceAddress,
    /// 0 for an envelope.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) envelope: Option<EnvelopeId>,
    /// Of the envelope that showed it.
    pub(crate) stamp: Stamp,
    pub(crate) reason: String,
    /// Nothing that history shows: no event is logged.
    pub(crate) silent: bool,
    /// An event was logged for it.
    pub(crate) shown: bool,
    pub(crate) asked: u32,
    pub(crate) ask_at: Timestamp,
    pub(crate) noticed_at: Timestamp,
    pub(crate) permanent: bool,
}

impl Gap {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            chat: row.chat(1)?,
            sender: DeviceAddress::new(row.account(3)?, row.device(4)?),
            first: row.number(5)?,
            last: row.number(6)?,
            envelope: row.get::<_, Option<[u8; 16]>>(7)?.map(EnvelopeId::from_bytes),
            stamp: row.stamp(8)?.unwrap_or(Stamp::ZERO),
            reason: row.get(9)?,
            silent: row.get(10)?,
            shown: row.get(11)?,
            asked: row.get(12)?,
            ask_at: row.time(13)?,
            noticed_at: row.time(14)?,
            permanent: row.get(15)?,
        })
    }
}

const GAP: &str = "SELECT id, chat, (SELECT kind FROM chat WHERE chat.id = gap.chat), account, device, first, \
     last, envelope_id, stamp, reason, silent, shown, asked, ask_at, noticed_at, permanent FROM gap WHERE";

/// Writes a gap; for an envelope that is known to be missing, nothing changes. Its `id` is not looked at.
pub(crate) fn insert(db: &Connection, gap: &Gap) -> Stored<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO gap
           (chat, account, device, first, last, envelope_id, stamp, reason, silent, shown, asked, ask_at,
            noticed_at, permanent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .execute(params![
        gap.chat.as_bytes(),
        gap.sender.account.as_bytes(),
        gap.sender.device.get(),
        number(gap.first),
        number(gap.last),
        gap.envelope.as_ref().map(EnvelopeId::as_bytes),
        gap.stamp.to_bytes(),
        gap.reason,
        gap.silent,
        gap.shown,
        gap.asked,
        millis(gap.ask_at),
        millis(gap.noticed_at),
        gap.permanent,
    ])?;
    Ok(())
}

/// Writes back what may change of a gap.
pub(crate) fn update(db: &Connection, gap: &Gap) -> Stored<()> {
    db.execute(
        "UPDATE gap SET reason = ?2, shown = ?3, asked = ?4, ask_at = ?5, permanent = ?6 WHERE id = ?1",
        params![gap.id, gap.reason, gap.shown, gap.asked, millis(gap.ask_at), gap.permanent],
    )?;
    Ok(())
}

pub(crate) fn remove(db: &Connection, id: i64) -> Stored<()> {
    db.execute("DELETE FROM gap WHERE id = ?1", [id])?;
    Ok(())
}

/// The gap that a counter falls into.
pub(crate) fn containing(
    db: &Connection,
    chat: ChatId,
    sender: DeviceAddress,
    counter: u64,
) -> Stored<Option<Gap>> {
    let mut statement = db.prepare_cached(&format!(
        "{GAP} gap.chat = ?1 AND account = ?2 AND device = ?3 AND first <= ?4 AND last >= ?4 AND first > 0 LIMIT 1"
    ))?;
    let key = params![chat.as_bytes(), sender.account.as_bytes(), sender.device.get(), number(counter)];
    Ok(statement.query_row(key, Gap::read).optional()?)
}

/// Takes one counter out of the gap that it falls into; what is left on both sides stays as it is.
pub(crate) fn split(db: &Connection, gap: &Gap, counter: u64) -> Stored<()> {
    remove(db, gap.id)?;
    if gap.first < counter {
        insert(db, &Gap { last: counter - 1, ..gap.clone() })?;
    }
    if counter < gap.last {
        insert(db, &Gap { first: counter + 1, ..gap.clone() })?;
    }
    Ok(())
}

/// Forgets what is missing of a device up to a counter.
pub(crate) fn forget_up_to(db: &Connection, chat: ChatId, sender: DeviceAddress, counter: u64) -> Stored<()> {
    let key = params![chat.as_bytes(), sender.account.as_bytes(), sender.device.get(), number(counter)];
    let those = "chat = ?1 AND account = ?2 AND device = ?3 AND first > 0";
    db.prepare_cached(&format!("DELETE FROM gap WHERE {those} AND last <= ?4"))?.execute(key)?;
    db.prepare_cached(&format!("UPDATE gap SET first = ?4 + 1 WHERE {those} AND first <= ?4"))?
        .execute(key)?;
    Ok(())
}

pub(crate) fn of_envelope(
    db: &Connection,
    sender: DeviceAddress,
    envelope: EnvelopeId,
) -> Stored<Option<Gap>> {
    let mut statement =
        db.prepare_cached(&format!("{GAP} account = ?1 AND device = ?2 AND envelope_id = ?3"))?;
    let key = params![sender.account.as_bytes(), sender.device.get(), envelope.as_bytes()];
    Ok(statement.query_row(key, Gap::read).optional()?)
}

/// Closes the gap of an envelope that was accepted under this stamp: its content came in another one.
pub(crate) fn remove_envelope_with_stamp(db: &Connection, sender: DeviceAddress, stamp: Stamp) -> Stored<()> {
    db.prepare_cached(
        "DELETE FROM gap WHERE account = ?1 AND device = ?2 AND envelope_id IS NOT NULL AND stamp = ?3",
    )?
    .execute(params![sender.account.as_bytes(), sender.device.get(), stamp.to_bytes()])?;
    Ok(())
}

/// Gaps that are not permanent, and of which something is due: by sender, in order.
pub(crate) fn due(db: &Connection, now: Timestamp, noticed_before: Timestamp) -> Stored<Vec<Gap>> {
    let mut statement = db.prepare_cached(&format!(
        "{GAP} NOT permanent AND (ask_at <= ?1 OR noticed_at < ?2) ORDER BY account, device, chat, first, id"
    ))?;
    let rows = statement.query_map(params![millis(now), millis(noticed_before)], Gap::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The gaps of a device that may still close.
pub(crate) fn open_of(db: &Connection, sender: DeviceAddress) -> Stored<Vec<Gap>> {
    let mut statement = db.prepare_cached(&format!(
        "{GAP} account = ?1 AND device = ?2 AND NOT permanent ORDER BY first, id"
    ))?;
    let key = params![sender.account.as_bytes(), sender.device.get()];
    let rows = statement.query_map(key, Gap::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// When the next gap is to be asked for.
pub(crate) fn next_ask_at(db: &Connection) -> Stored<Option<Timestamp>> {
    let mut statement = db.prepare_cached("SELECT min(ask_at) FROM gap WHERE NOT permanent")?;
    let at: Option<i64> = statement.query_row([], |row| row.get(0))?;
    Ok(at.map(|at| Timestamp::from_millis(u64::try_from(at).unwrap_or(0))))
}

/// How many gaps a device has opened, so that there is a bound.
pub(crate) fn count(db: &Connection, sender: DeviceAddress) -> Stored<u64> {
    let mut statement = db.prepare_cached("SELECT count(*) FROM gap WHERE account = ?1 AND device = ?2")?;
    Ok(statement.query_row(params![sender.account.as_bytes(), sender.device.get()], |row| row.number(0))?)
}
