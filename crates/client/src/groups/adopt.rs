//! Groups that another device of this account knew, or this one before its disk was lost: their secrets, and their
//! chains, which are verified like those that a server gives. Nothing of it is told: it is the past.

use super::{chain::note_members, secrets::open_name};
use crate::store::{Stored, chats, group_secrets, groups};
use rusqlite::Connection;
use seal::GroupSecret;
use signed::{GroupState, SignedOperation};
use types::{AccountId, GroupId};

/// The groups that are worth telling another device of, with their secrets where they are known.
pub(crate) fn known(db: &Connection) -> Stored<Vec<(GroupId, Option<GroupSecret>)>> {
    let joined = groups::joined(db)?.into_iter();
    joined.map(|group| Ok((group, group_secrets::get(db, group)?))).collect()
}

/// Takes in a secret; it counts once it has opened the group's name.
pub(crate) fn adopt_secret(db: &Connection, group: GroupId, secret: &GroupSecret) -> Stored<()> {
    if group_secrets::get(db, group)?.is_some() {
        return Ok(());
    }
    group_secrets::offer(db, group, secret)?;
    match groups::state(db, group)? {
        Some(state) => open_name(db, &state),
        None => Ok(()),
    }
}

/// Takes in the next operation of a chain. What is known, or does not extend it, changes nothing.
pub(crate) fn adopt_operation(db: &Connection, me: AccountId, operation: &[u8]) -> Stored<()> {
    let Ok(operation) = SignedOperation::verify(operation) else { return Ok(()) };
    let before = groups::state(db, operation.group())?;
    if before.as_ref().is_some_and(|state| operation.epoch() <= state.epoch()) {
        return Ok(());
    }
    let after = match &before {
        None => GroupState::found(&operation),
        Some(state) => state.apply(&operation),
    };
    let Ok(after) = after else { return Ok(()) };
    groups::append(db, &operation, &after)?;
    note_members(db, before.as_ref(), &after)?;
    groups::put_state(db, &after, me)?;
    chats::ensure(db, me, after.id().into())?;
    open_name(db, &after)
}
