//! What only a group's members have, its secret, and what only its admins have, the seed of its invite link.

use super::Stored;
use rusqlite::{Connection, OptionalExtension, params};
use seal::{GroupSecret, LinkSeed};
use types::GroupId;
use zeroize::Zeroizing;

/// Secrets that are kept for one group until one of them opens its name: what a stranger can make us store.
const OFFERS_MAX: i64 = 8;

/// The secret that has opened the group's name.
pub(crate) fn get(db: &Connection, group: GroupId) -> Stored<Option<GroupSecret>> {
    let mut statement = db.prepare_cached("SELECT secret FROM group_chain WHERE group_id = ?1")?;
    let bytes: Option<Option<Vec<u8>>> =
        statement.query_row([group.as_bytes()], |row| row.get(0)).optional()?;
    let secret = bytes.flatten().map(Zeroizing::new).map(|bytes| GroupSecret::from_slice(&bytes));
    secret.transpose().map_err(|_| crate::Fault::Damaged)
}

/// Keeps the secret that has opened the group's name, and forgets all others.
pub(crate) fn set(db: &Connection, group: GroupId, secret: &GroupSecret) -> Stored<()> {
    db.prepare_cached("UPDATE group_chain SET secret = ?2 WHERE group_id = ?1")?
        .execute(params![group.as_bytes(), secret.as_bytes()])?;
    db.prepare_cached("DELETE FROM group_secret WHERE group_id = ?1")?.execute([group.as_bytes()])?;
    Ok(())
}

/// Keeps a secret that somebody gave until it can be tried. The newest is always kept: whoever gave many before has
/// not kept the right one out.
pub(crate) fn offer(db: &Connection, group: GroupId, secret: &GroupSecret) -> Stored<()> {
    db.prepare_cached(
        "DELETE FROM group_secret WHERE group_id = ?1 AND secret IN
           (SELECT secret FROM group_secret WHERE group_id = ?1 AND secret <> ?2 LIMIT -1 OFFSET ?3)",
    )?
    .execute(params![group.as_bytes(), secret.as_bytes(), OFFERS_MAX - 1])?;
    db.prepare_cached("INSERT OR IGNORE INTO group_secret (group_id, secret) VALUES (?1, ?2)")?
        .execute(params![group.as_bytes(), secret.as_bytes()])?;
    Ok(())
}

/// What was offered for a group.
pub(crate) fn offers(db: &Connection, group: GroupId) -> Stored<Vec<GroupSecret>> {
    let mut statement = db.prepare_cached("SELECT secret FROM group_secret WHERE group_id = ?1")?;
    let rows = statement.query_map([group.as_bytes()], |row| row.get::<_, Vec<u8>>(0))?;
    let mut offers = Vec::new();
    for bytes in rows {
        offers.extend(GroupSecret::from_slice(&Zeroizing::new(bytes?)));
    }
    Ok(offers)
}

/// What may be the seeds of the group's invite link.
pub(crate) fn link_seeds(db: &Connection, group: GroupId) -> Stored<Vec<LinkSeed>> {
    let mut statement = db.prepare_cached("SELECT seed FROM group_link_seed WHERE group_id = ?1")?;
    let rows = statement.query_map([group.as_bytes()], |row| row.get::<_, Vec<u8>>(0))?;
    let mut seeds = Vec::new();
    for bytes in rows {
        seeds.extend(LinkSeed::from_slice(&Zeroizing::new(bytes?)));
    }
    Ok(seeds)
}

pub(crate) fn add_link_seed(db: &Connection, group: GroupId, seed: &LinkSeed) -> Stored<()> {
    db.prepare_cached("INSERT OR IGNORE INTO group_link_seed (group_id, seed) VALUES (?1, ?2)")?
        .execute(params![group.as_bytes(), seed.as_bytes()])?;
    Ok(())
}

pub(crate) fn remove_link_seed(db: &Connection, group: GroupId, seed: &LinkSeed) -> Stored<()> {
    db.prepare_cached("DELETE FROM group_link_seed WHERE group_id = ?1 AND seed = ?2")?
        .execute(params![group.as_bytes(), seed.as_bytes()])?;
    Ok(())
}
