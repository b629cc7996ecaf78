//! What waits for more of a group's chain, or for its sender's key.

use super::{Columns, Stored, millis};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use seal::Opened;
use types::{AccountId, DeviceAddress, EnvelopeId, GroupId, Millis, Timestamp};
use wire::Envelope;
use zeroize::Zeroizing;

/// The time at which something is asked for that was asked for: beyond every clock.
const ASKED: i64 = i64::MAX;

/// What an envelope waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// More of the chain.
    Chain = 0,
    /// The key that opens it.
    Key = 1,
}

/// An envelope that waits.
pub(crate) struct HeldForGroup {
    pub(crate) envelope: Bytes,
    /// What came out of it, if it could be opened.
    pub(crate) opened: Option<Opened>,
}

impl HeldForGroup {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let opened: Option<Vec<u8>> = row.get(1)?;
        Ok(Self {
            envelope: row.get::<_, Vec<u8>>(0)?.into(),
            opened: opened.map(Zeroizing::new).and_then(|bytes| Opened::from_slice(&bytes).ok()),
        })
    }
}

/// Holds an envelope; once, however often it is delivered.
pub(crate) fn hold(
    db: &Connection,
    group: GroupId,
    envelope: &Envelope,
    opened: Option<&Opened>,
    wait: Wait,
    now: Timestamp,
) -> Stored<()> {
    let opened: Option<Zeroizing<Vec<u8>>> = opened.map(Opened::to_bytes);
    db.prepare_cached(
        "INSERT INTO group_held (group_id, account, device, envelope_id, envelope, opened, waits, since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (account, device, envelope_id) DO UPDATE
         SET opened = coalesce(opened, excluded.opened), waits = excluded.waits",
    )?
    .execute(params![
        group.as_bytes(),
        envelope.from.account.as_bytes(),
        envelope.from.device.get(),
        envelope.envelope_id.as_bytes(),
        envelope.encode().as_ref(),
        opened.as_ref().map(|opened| opened.as_slice()),
        wait as i64,
        millis(now)
    ])?;
    Ok(())
}

/// The bytes of an envelope that is held.
pub(crate) fn held(db: &Connection, from: DeviceAddress, envelope: EnvelopeId) -> Stored<Option<Bytes>> {
    let mut statement = db.prepare_cached(
        "SELECT envelope FROM group_held WHERE account = ?1 AND device = ?2 AND envelope_id = ?3",
    )?;
    let key = params![from.account.as_bytes(), from.device.get(), envelope.as_bytes()];
    Ok(statement.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?.map(Bytes::from))
}

/// Keeps an envelope that is held under another stamp.
pub(crate) fn restamp(db: &Connection, envelope: &Envelope) -> Stored<()> {
    let sql = "UPDATE group_held SET envelope = ?4 WHERE account = ?1 AND device = ?2 AND envelope_id = ?3";
    db.prepare_cached(sql)?.execute(params![
        envelope.from.account.as_bytes(),
        envelope.from.device.get(),
        envelope.envelope_id.as_bytes(),
        envelope.encode().as_ref()
    ])?;
    Ok(())
}

/// How many envelopes are held that were opened, of one account and of all.
pub(crate) fn opened_counts(db: &Connection, account: AccountId) -> Stored<(u64, u64)> {
    let mut statement = db.prepare_cached(
        "SELECT count(*) FILTER (WHERE account = ?1), count(*) FROM group_held WHERE opened IS NOT NULL",
    )?;
    Ok(statement.query_row([account.as_bytes()], |row| Ok((row.number(0)?, row.number(1)?)))?)
}

/// Takes what waits for this group's chain, in the order in which it came.
pub(crate) fn take_for_chain(db: &Connection, group: GroupId) -> Stored<Vec<HeldForGroup>> {
    let mut statement = db.prepare_cached(
        "SELECT envelope, opened FROM group_held WHERE group_id = ?1 AND waits = 0 ORDER BY id",
    )?;
    let held = statement.query_map([group.as_bytes()], HeldForGroup::read)?.collect::<Result<_, _>>()?;
    db.prepare_cached("DELETE FROM group_held WHERE group_id = ?1 AND waits = 0")?
        .execute([group.as_bytes()])?;
    Ok(held)
}

/// Takes what waits for this device's key, in the order in which it came.
pub(crate) fn take_for_key(
    db: &Connection,
    group: GroupId,
    from: DeviceAddress,
) -> Stored<Vec<HeldForGroup>> {
    let key = params![group.as_bytes(), from.account.as_bytes(), from.device.get()];
    let mut statement = db.prepare_cached(
        "SELECT envelope, opened FROM group_held
         WHERE group_id = ?1 AND waits = 1 AND account = ?2 AND device = ?3 ORDER BY id",
    )?;
    let held = statement.query_map(key, HeldForGroup::read)?.collect::<Result<_, _>>()?;
    db.prepare_cached(
        "DELETE FROM group_held WHERE group_id = ?1 AND waits = 1 AND account = ?2 AND device = ?3",
    )?
    .execute(key)?;
    Ok(held)
}

/// What has waited for its key since before a time is asked for at once; the rest after a while.
pub(crate) fn set_ask_at(
    db: &Connection,
    now: Timestamp,
    after: Millis,
    long_since: Timestamp,
) -> Stored<()> {
    db.prepare_cached(
        "UPDATE group_held SET ask_at = CASE WHEN since < ?3 THEN ?1 ELSE ?2 END
         WHERE waits = 1 AND ask_at IS NULL",
    )?
    .execute(params![millis(now), millis(now + after), millis(long_since)])?;
    Ok(())
}

/// When the next envelope is to be asked for.
pub(crate) fn next_ask_at(db: &Connection) -> Stored<Option<Timestamp>> {
    let mut statement = db.prepare_cached("SELECT min(ask_at) FROM group_held WHERE ask_at < ?1")?;
    let at: Option<i64> = statement.query_row([ASKED], |row| row.get(0))?;
    Ok(at.map(|at| Timestamp::from_millis(u64::try_from(at).unwrap_or(0))))
}

/// What is to be asked for now; each is given once.
pub(crate) fn take_asks(db: &Connection, now: Timestamp) -> Stored<Vec<Bytes>> {
    let mut statement = db.prepare_cached(
        "UPDATE group_held SET ask_at = ?2 WHERE ask_at <= ?1 AND waits = 1 RETURNING envelope",
    )?;
    let rows = statement.query_map(params![millis(now), ASKED], |row| row.get::<_, Vec<u8>>(0))?;
    Ok(rows.map(|row| row.map(Bytes::from)).collect::<Result<_, _>>()?)
}

pub(crate) fn remove(db: &Connection, envelope: &Envelope) -> Stored<()> {
    db.execute(
        "DELETE FROM group_held WHERE account = ?1 AND device = ?2 AND envelope_id = ?3",
        params![
            envelope.from.account.as_bytes(),
            envelope.from.device.get(),
            envelope.envelope_id.as_bytes()
        ],
    )?;
    Ok(())
}

/// Forgets what has waited since before a time.
pub(crate) fn prune(db: &Connection, before: Timestamp) -> Stored<()> {
    db.execute("DELETE FROM group_held WHERE since < ?1", [millis(before)])?;
    Ok(())
}
