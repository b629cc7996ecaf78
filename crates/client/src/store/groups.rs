//! Verified chains: their operations, the state that they come to, and who was a member when.

use super::{Columns, Stored, number};
use crate::Fault;
use rusqlite::{Connection, OptionalExtension, params};
use signed::{
    DeviceKey, DeviceList, GroupState, ListedDevice, SignedOperation,
    group::{OperationId, Role},
};
use types::{AccountId, GroupId, Stamp};

// ---- state

/// The state of a chain as it was verified last.
pub(crate) fn state(db: &Connection, group: GroupId) -> Stored<Option<GroupState>> {
    let mut statement = db.prepare_cached("SELECT state FROM group_chain WHERE group_id = ?1")?;
    let bytes: Option<Vec<u8>> = statement.query_row([group.as_bytes()], |row| row.get(0)).optional()?;
    bytes.map(|bytes| GroupState::from_snapshot(&bytes).map_err(|_| Fault::Damaged)).transpose()
}

/// The epoch of the newest known operation.
pub(crate) fn epoch(db: &Connection, group: GroupId) -> Stored<Option<u64>> {
    let mut statement = db.prepare_cached("SELECT epoch FROM group_chain WHERE group_id = ?1")?;
    Ok(statement.query_row([group.as_bytes()], |row| row.number(0)).optional()?)
}

/// Writes where a chain stands now, after its operations and members.
pub(crate) fn put_state(db: &Connection, state: &GroupState, me: AccountId) -> Stored<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO group_chain (group_id, epoch, head, state, joined) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (group_id) DO UPDATE
         SET epoch = excluded.epoch, head = excluded.head, state = excluded.state,
             joined = max(joined, excluded.joined)",
    )?;
    statement.execute(params![
        state.id().as_bytes(),
        number(state.epoch()),
        state.head(),
        state.to_snapshot(),
        state.members().contains_key(&me)
    ])?;
    Ok(())
}

/// The groups that this account is or was a member of, by id.
pub(crate) fn joined(db: &Connection) -> Stored<Vec<GroupId>> {
    let mut statement =
        db.prepare_cached("SELECT group_id FROM group_chain WHERE joined ORDER BY group_id")?;
    let rows = statement.query_map([], |row| row.get(0).map(GroupId::from_bytes))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Of those, the ones that another account is a member of now.
pub(crate) fn joined_with(db: &Connection, account: AccountId) -> Stored<Vec<GroupId>> {
    let mut statement = db.prepare_cached(
        "SELECT group_id FROM group_chain AS chain WHERE joined
           AND EXISTS (SELECT 1 FROM group_member AS member
                       WHERE member.group_id = chain.group_id AND member.account = ?1 AND member.until IS NULL)
         ORDER BY group_id",
    )?;
    let rows = statement.query_map([account.as_bytes()], |row| row.get(0).map(GroupId::from_bytes))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The groups of this name that this account is or was a member of.
pub(crate) fn with_name(db: &Connection, name: &str) -> Stored<Vec<GroupId>> {
    let mut statement =
        db.prepare_cached("SELECT group_id FROM group_chain WHERE joined AND name = ?1 ORDER BY group_id")?;
    let rows = statement.query_map([name], |row| row.get(0).map(GroupId::from_bytes))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn name(db: &Connection, group: GroupId) -> Stored<Option<String>> {
    let mut statement = db.prepare_cached("SELECT name FROM group_chain WHERE group_id = ?1")?;
    Ok(statement.query_row([group.as_bytes()], |row| row.get(0)).optional()?.flatten())
}

pub(crate) fn set_name(db: &Connection, group: GroupId, name: &str) -> Stored<()> {
    db.prepare_cached("UPDATE group_chain SET name = ?2 WHERE group_id = ?1")?
        .execute(params![group.as_bytes(), name])?;
    Ok(())
}

// ---- operations

/// Adds an operation that was found to extend the chain to `after`.
pub(crate) fn append(db: &Connection, operation: &SignedOperation, after: &GroupState) -> Stored<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO group_operation (group_id, epoch, hash, operation_id, operation, admins_send)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        after.id().as_bytes(),
        number(operation.epoch()),
        operation.hash(),
        operation.id().0,
        operation.as_bytes(),
        after.permissions().admins_send
    ])?;
    Ok(())
}

/// The hash of the operation at an epoch, if the chain is known that far.
pub(crate) fn hash_at(db: &Connection, group: GroupId, epoch: u64) -> Stored<Option<[u8; 32]>> {
    let mut statement =
        db.prepare_cached("SELECT hash FROM group_operation WHERE group_id = ?1 AND epoch = ?2")?;
    Ok(statement.query_row(params![group.as_bytes(), number(epoch)], |row| row.get(0)).optional()?)
}

/// Whether an operation of this id is on the chain.
pub(crate) fn has_operation(db: &Connection, group: GroupId, id: OperationId) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM group_operation WHERE group_id = ?1 AND operation_id = ?2")?;
    Ok(statement.exists(params![group.as_bytes(), id.0])?)
}

/// Remembers an operation's place in the order of the group; the lowest stamp wins.
pub(crate) fn set_stamp(db: &Connection, group: GroupId, epoch: u64, stamp: Stamp) -> Stored<()> {
    db.prepare_cached(
        "UPDATE group_operation SET stamp = ?3
         WHERE group_id = ?1 AND epoch = ?2 AND (stamp IS NULL OR stamp > ?3)",
    )?
    .execute(params![group.as_bytes(), number(epoch), stamp.to_bytes()])?;
    Ok(())
}

/// An operation's place in the order of the group, once its row was delivered.
pub(crate) fn stamp_at(db: &Connection, group: GroupId, epoch: u64) -> Stored<Option<Stamp>> {
    let mut statement =
        db.prepare_cached("SELECT stamp FROM group_operation WHERE group_id = ?1 AND epoch = ?2")?;
    let key = params![group.as_bytes(), number(epoch)];
    Ok(statement.query_row(key, |row| row.stamp(0)).optional()?.flatten())
}

/// The operation at an epoch, as it was signed.
pub(crate) fn operation_at(db: &Connection, group: GroupId, epoch: u64) -> Stored<Option<Vec<u8>>> {
    let mut statement =
        db.prepare_cached("SELECT operation FROM group_operation WHERE group_id = ?1 AND epoch = ?2")?;
    Ok(statement.query_row(params![group.as_bytes(), number(epoch)], |row| row.get(0)).optional()?)
}

// ---- members

/// Ends a role of a member with this epoch.
pub(crate) fn end_member(db: &Connection, group: GroupId, account: AccountId, epoch: u64) -> Stored<()> {
    db.prepare_cached(
        "UPDATE group_member SET until = ?3 WHERE group_id = ?1 AND account = ?2 AND until IS NULL",
    )?
    .execute(params![group.as_bytes(), account.as_bytes(), number(epoch)])?;
    Ok(())
}

/// Begins a role of a member with this epoch.
pub(crate) fn begin_member(
    db: &Connection,
    group: GroupId,
    account: AccountId,
    role: Role,
    epoch: u64,
) -> Stored<()> {
    db.prepare_cached("INSERT INTO group_member (group_id, account, since, role) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![group.as_bytes(), account.as_bytes(), number(epoch), role_number(role)])?;
    Ok(())
}

/// What an account was in a group at an epoch.
pub(crate) struct Standing {
    /// Whether it might send then.
    pub(crate) may_send: bool,
    /// The stamp of the operation that ended this role, if it ended and its row was delivered.
    pub(crate) ended: Option<Stamp>,
}

/// What an account was at an epoch of the known chain; none if it was no member.
pub(crate) fn standing_at(
    db: &Connection,
    group: GroupId,
    account: AccountId,
    epoch: u64,
) -> Stored<Option<Standing>> {
    let mut statement = db.prepare_cached(
        "SELECT role,
                (SELECT admins_send FROM group_operation WHERE group_id = ?1 AND epoch = ?3),
                (SELECT stamp FROM group_operation WHERE group_id = ?1 AND epoch = until)
         FROM group_member
         WHERE group_id = ?1 AND account = ?2 AND since <= ?3 AND (until IS NULL OR until > ?3)",
    )?;
    let standing = statement.query_row(params![group.as_bytes(), account.as_bytes(), number(epoch)], |row| {
        let role = read_role(row.get(0)?);
        let admins_send: Option<bool> = row.get(1)?;
        let may_send = admins_send.is_some_and(|admins| !admins || role >= Role::Admin);
        Ok(Standing { may_send, ended: row.stamp(2)? })
    });
    Ok(standing.optional()?)
}

/// Whether an account is a member now, as far as the chain is known.
pub(crate) fn is_member(db: &Connection, group: GroupId, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM group_member WHERE group_id = ?1 AND account = ?2 AND until IS NULL",
    )?;
    Ok(statement.exists(params![group.as_bytes(), account.as_bytes()])?)
}

/// Whether an account is an admin now, as far as the chain is known.
pub(crate) fn is_admin(db: &Connection, group: GroupId, account: AccountId) -> Stored<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM group_member WHERE group_id = ?1 AND account = ?2 AND until IS NULL AND role >= ?3",
    )?;
    Ok(statement.exists(params![group.as_bytes(), account.as_bytes(), role_number(Role::Admin)])?)
}

/// The epoch in which the present membership of an account began; none if it is no member. A change of its role
/// ends no membership.
pub(crate) fn member_since(db: &Connection, group: GroupId, account: AccountId) -> Stored<Option<u64>> {
    if !is_member(db, group, account)? {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(
        "SELECT max(since) FROM group_member AS role WHERE group_id = ?1 AND account = ?2
           AND NOT EXISTS (SELECT 1 FROM group_member AS before
                           WHERE before.group_id = ?1 AND before.account = ?2 AND before.until = role.since)",
    )?;
    let key = params![group.as_bytes(), account.as_bytes()];
    Ok(Some(statement.query_row(key, |row| row.number(0))?))
}

/// The epoch in which the last membership of an account ended that was over before an epoch.
pub(crate) fn left_before(
    db: &Connection,
    group: GroupId,
    account: AccountId,
    epoch: u64,
) -> Stored<Option<u64>> {
    let mut statement = db.prepare_cached(
        "SELECT max(until) FROM group_member WHERE group_id = ?1 AND account = ?2 AND until < ?3",
    )?;
    let key = params![group.as_bytes(), account.as_bytes(), number(epoch)];
    let until: Option<i64> = statement.query_row(key, |row| row.get(0))?;
    Ok(until.map(i64::unsigned_abs))
}

/// Whether an account was a member at any epoch.
pub(crate) fn was_member(db: &Connection, group: GroupId, account: AccountId) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM group_member WHERE group_id = ?1 AND account = ?2")?;
    Ok(statement.exists(params![group.as_bytes(), account.as_bytes()])?)
}

/// The members at an epoch, by account.
pub(crate) fn members_at(db: &Connection, group: GroupId, epoch: u64) -> Stored<Vec<AccountId>> {
    let mut statement = db.prepare_cached(
        "SELECT account FROM group_member
         WHERE group_id = ?1 AND since <= ?2 AND (until IS NULL OR until > ?2) ORDER BY account",
    )?;
    let rows = statement.query_map(params![group.as_bytes(), number(epoch)], |row| row.account(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) const fn role_number(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Creator => 2,
    }
}

pub(crate) const fn read_role(number: i64) -> Role {
    match number {
        2 => Role::Creator,
        1 => Role::Admin,
        _ => Role::Member,
    }
}

// ---- what is missing, and what contradicts

/// Remembers that more of a chain exists than is known here.
pub(crate) fn want(db: &Connection, group: GroupId, stamp: Option<Stamp>) -> Stored<()> {
    db.prepare_cached("INSERT OR IGNORE INTO group_wanted (group_id, stamp) VALUES (?1, ?2)")?
        .execute(params![group.as_bytes(), stamp.map(Stamp::to_bytes)])?;
    Ok(())
}

/// The stamp of the envelope that showed that something of a chain is missing.
pub(crate) fn wanted_since(db: &Connection, group: GroupId) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT stamp FROM group_wanted WHERE group_id = ?1")?;
    Ok(statement.query_row([group.as_bytes()], |row| row.stamp(0)).optional()?.flatten())
}

/// Whether more of a chain is to be fetched.
pub(crate) fn is_wanted(db: &Connection, group: GroupId) -> Stored<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM group_wanted WHERE group_id = ?1")?;
    Ok(statement.exists([group.as_bytes()])?)
}

pub(crate) fn unwant(db: &Connection, group: GroupId) -> Stored<()> {
    db.prepare_cached("DELETE FROM group_wanted WHERE group_id = ?1")?.execute([group.as_bytes()])?;
    Ok(())
}

/// Chains to be fetched with the next connection: of those something is missing, or a change of ours has an
/// unknown outcome, or an envelope is held for them.
pub(crate) fn all_wanted(db: &Connection) -> Stored<Vec<GroupId>> {
    let mut statement = db.prepare_cached(
        "SELECT group_id FROM group_wanted UNION SELECT group_id FROM group_change WHERE state = 1
         UNION SELECT group_id FROM group_held WHERE waits = 0 ORDER BY group_id",
    )?;
    let rows = statement.query_map([], |row| row.get(0).map(GroupId::from_bytes))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes that there is another operation at this epoch than ours; true the first time.
pub(crate) fn contradict(db: &Connection, group: GroupId, epoch: u64) -> Stored<bool> {
    let mut statement =
        db.prepare_cached("INSERT OR IGNORE INTO group_fork (group_id, epoch) VALUES (?1, ?2)")?;
    Ok(statement.execute(params![group.as_bytes(), number(epoch)])? > 0)
}

// ---- devices that are gone

/// Remembers that a device is gone.
pub(crate) fn note_removed(db: &Connection, account: AccountId, device_key: &DeviceKey) -> Stored<()> {
    db.prepare_cached("INSERT OR IGNORE INTO device_removed (account, device_key) VALUES (?1, ?2)")?
        .execute(params![account.as_bytes(), device_key.as_bytes()])?;
    Ok(())
}

/// Remembers the devices of a list that a newer one of the account does not have; true if there are any.
pub(crate) fn note_gone(db: &Connection, known: &DeviceList, newer: &DeviceList) -> Stored<bool> {
    let stays = |key: &DeviceKey| newer.devices().iter().any(|listed| listed.device_key() == key);
    let mut any = false;
    for key in known.devices().iter().map(ListedDevice::device_key).filter(|key| !stays(key)) {
        note_removed(db, newer.account(), key)?;
        any = true;
    }
    Ok(any)
}

/// All devices that are known to be gone, in the order in which it was learned.
pub(crate) fn removed_devices(db: &Connection) -> Stored<Vec<(AccountId, DeviceKey)>> {
    let mut statement =
        db.prepare_cached("SELECT account, device_key FROM device_removed ORDER BY number")?;
    let rows = statement.query_map([], |row| {
        Ok((row.account(0)?, row.read(1, |bytes: Vec<u8>| DeviceKey::from_slice(&bytes))?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The number of the device that is known last to be gone.
pub(crate) fn last_removed(db: &Connection) -> Stored<u64> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(number), 0) FROM device_removed")?;
    Ok(statement.query_row([], |row| row.number(0))?)
}

/// All that removed devices up to this number ever did in a group is on its known chain.
pub(crate) fn settle(db: &Connection, group: GroupId, removed: u64) -> Stored<()> {
    db.prepare_cached("UPDATE group_chain SET settled = max(settled, ?2) WHERE group_id = ?1")?
        .execute(params![group.as_bytes(), number(removed)])?;
    Ok(())
}

/// The number of the last device of a present member that is gone and may have done in this group what is not known
/// here; 0 if there is none.
pub(crate) fn last_unsettled(db: &Connection, group: GroupId) -> Stored<u64> {
    let mut statement = db.prepare_cached(
        "SELECT coalesce(max(number), 0) FROM device_removed AS gone
         WHERE number > (SELECT settled FROM group_chain WHERE group_id = ?1)
           AND EXISTS (SELECT 1 FROM group_member AS member
                       WHERE member.group_id = ?1 AND member.account = gone.account AND member.until IS NULL)",
    )?;
    Ok(statement.query_row([group.as_bytes()], |row| row.number(0))?)
}

/// What is known of a device's end, as far as a group is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Nothing.
    None,
    /// It is gone, and may have done what is not known here.
    Unsettled,
    /// It is gone, and everything that it did before is known.
    Settled,
}

pub(crate) fn removal(
    db: &Connection,
    group: GroupId,
    account: AccountId,
    device_key: &DeviceKey,
) -> Stored<Removal> {
    let mut statement = db.prepare_cached(
        "SELECT number <= coalesce((SELECT settled FROM group_chain WHERE group_id = ?1), 0)
         FROM device_removed WHERE account = ?2 AND device_key = ?3",
    )?;
    let key = params![group.as_bytes(), account.as_bytes(), device_key.as_bytes()];
    Ok(match statement.query_row(key, |row| row.get(0)).optional()? {
        None => Removal::None,
        Some(false) => Removal::Unsettled,
        Some(true) => Removal::Settled,
    })
}
