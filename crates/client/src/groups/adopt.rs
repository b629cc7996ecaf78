//! Groups that another device of this account knew, or this one before its disk was lost: their secrets, and their
//! chains, which are verified like those that a server gives. Nothing of it is told: it is the past.

use super::{
    chain::note_members,
    secrets::{learn_link, open_name},
};
use crate::store::{Stored, chats, group_secrets, groups};
use rusqlite::Connection;
use seal::{GroupSecret, LinkSeed};
use signed::{GroupState, SignedOperation};
use types::{AccountId, GroupId};

/// Takes in what opens a group; the secret counts once it has opened the group's name.
pub(crate) fn adopt_secrets(
    db: &Connection,
    group: GroupId,
    secret: &GroupSecret,
    link: Option<&LinkSeed>,
) -> Stored<()> {
    if group_secrets::get(db, group)?.is_none() {
        group_secrets::offer(db, group, secret)?;
    }
    let state = groups::state(db, group)?;
    if let Some(link) = link {
        learn_link(db, group, link)?;
    }
    match &state {
        Some(state) => open_name(db, state),
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
