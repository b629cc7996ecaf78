//! Which commands are possible in a group, and what is wrong with the others. The server and every member decide by
//! the chain's own rules; these say the same in words for the person who asks.

use super::{FIRST_MEMBERS_MAX, GroupCommand, GroupError};
use seal::group_info::GroupInfo;
use signed::{GroupChange, GroupState, group::Role};
use std::collections::BTreeSet;
use types::{AccountId, limits::GROUP_MEMBERS_MAX};

/// Whether a group may begin like this; gives the members without repetitions.
pub(super) fn check_creation(
    me: AccountId,
    name: &str,
    members: &[AccountId],
) -> Result<BTreeSet<AccountId>, GroupError> {
    check_name(name)?;
    let members: BTreeSet<AccountId> = members.iter().copied().collect();
    if members.contains(&me) {
        return Err(GroupError::AlreadyMember(vec![me]));
    }
    if members.len() > FIRST_MEMBERS_MAX {
        return Err(GroupError::TooManyMembers { members: members.len() + 1 });
    }
    Ok(members)
}

/// Whether `me` may ask this of a group in this state.
pub(super) fn check(state: &GroupState, me: AccountId, command: &GroupCommand) -> Result<(), GroupError> {
    let role = *state.members().get(&me).ok_or(GroupError::NotAMember)?;
    let admin =
        |allowed: bool| if role >= Role::Admin || allowed { Ok(()) } else { Err(GroupError::NotAdmin) };
    match command {
        GroupCommand::Add(accounts) => {
            admin(state.permissions().members_add)?;
            check_addition(state, accounts)
        }
        GroupCommand::Remove(accounts) => {
            admin(false)?;
            check_removal(state, me, accounts)
        }
        GroupCommand::Promote(accounts) => {
            admin(false)?;
            check_promotion(state, accounts)
        }
        GroupCommand::Demote(accounts) => {
            admin(false)?;
            check_demotion(state, me, accounts)
        }
        GroupCommand::Rename(name) => {
            admin(state.permissions().members_set_info)?;
            check_name(name)
        }
        GroupCommand::Leave => {
            let alone = state.members().len() == 1;
            if alone { Ok(()) } else { check_admins_without(state, &BTreeSet::from([me])) }
        }
        GroupCommand::MakeLink | GroupCommand::ResetLink => admin(false),
    }
}

/// Whether what a change of `actor` has made is so in this state, whatever happened after it.
pub(super) fn stands(state: &GroupState, actor: AccountId, change: &GroupChange) -> bool {
    let all = |accounts: &BTreeSet<AccountId>, is_so: fn(Option<Role>) -> bool| {
        accounts.iter().all(|account| is_so(role_of(state, account)))
    };
    match change {
        GroupChange::Add(accounts) => all(accounts, |role| role.is_some()),
        GroupChange::Remove(accounts) => all(accounts, |role| role.is_none()),
        GroupChange::Promote(accounts) => all(accounts, |role| role >= Some(Role::Admin)),
        GroupChange::Demote(accounts) => all(accounts, |role| role == Some(Role::Member)),
        GroupChange::Leave => role_of(state, &actor).is_none(),
        GroupChange::Join(_) => role_of(state, &actor).is_some(),
        GroupChange::Create { .. } => true,
        GroupChange::SetInfo(info) => state.sealed_info() == info,
        GroupChange::SetInviteLink(link) => state.link() == link.as_ref(),
        GroupChange::SetPermissions(permissions) => state.permissions() == *permissions,
        GroupChange::SetTimer(seconds) => state.timer_seconds() == *seconds,
    }
}

fn check_addition(state: &GroupState, accounts: &[AccountId]) -> Result<(), GroupError> {
    let new = named(accounts)?;
    let known = those(&new, |account| state.members().contains_key(account));
    if !known.is_empty() {
        return Err(GroupError::AlreadyMember(known));
    }
    let members = state.members().len() + new.len();
    if members > GROUP_MEMBERS_MAX { Err(GroupError::TooManyMembers { members }) } else { Ok(()) }
}

fn check_removal(state: &GroupState, me: AccountId, accounts: &[AccountId]) -> Result<(), GroupError> {
    let gone = named(accounts)?;
    if gone.contains(&me) {
        return Err(GroupError::Oneself);
    }
    check_members(state, &gone)?;
    if has(state, &gone, Role::Creator) { Err(GroupError::Creator) } else { Ok(()) }
}

fn check_promotion(state: &GroupState, accounts: &[AccountId]) -> Result<(), GroupError> {
    let risen = named(accounts)?;
    check_members(state, &risen)?;
    let admins = those(&risen, |account| role_of(state, account) >= Some(Role::Admin));
    if admins.is_empty() { Ok(()) } else { Err(GroupError::AlreadyAdmin(admins)) }
}

fn check_demotion(state: &GroupState, me: AccountId, accounts: &[AccountId]) -> Result<(), GroupError> {
    let fallen = named(accounts)?;
    check_members(state, &fallen)?;
    let plain = those(&fallen, |account| role_of(state, account) == Some(Role::Member));
    if !plain.is_empty() {
        return Err(GroupError::NotAdmins(plain));
    }
    let others: BTreeSet<AccountId> = fallen.iter().copied().filter(|account| *account != me).collect();
    if has(state, &others, Role::Creator) {
        return Err(GroupError::Creator);
    }
    check_admins_without(state, &fallen)
}

fn check_members(state: &GroupState, accounts: &BTreeSet<AccountId>) -> Result<(), GroupError> {
    let strangers = those(accounts, |account| !state.members().contains_key(account));
    if strangers.is_empty() { Ok(()) } else { Err(GroupError::NotMembers(strangers)) }
}

/// Whether somebody is an admin beside these.
fn check_admins_without(state: &GroupState, gone: &BTreeSet<AccountId>) -> Result<(), GroupError> {
    let stays = |(account, role): (&AccountId, &Role)| *role >= Role::Admin && !gone.contains(account);
    if state.members().iter().any(stays) { Ok(()) } else { Err(GroupError::LastAdmin) }
}

pub(super) fn check_name(name: &str) -> Result<(), GroupError> {
    GroupInfo::new(name, "").map(|_| ()).map_err(|_| GroupError::BadName)
}

fn named(accounts: &[AccountId]) -> Result<BTreeSet<AccountId>, GroupError> {
    let accounts: BTreeSet<AccountId> = accounts.iter().copied().collect();
    if accounts.is_empty() { Err(GroupError::Nobody) } else { Ok(accounts) }
}

fn those(accounts: &BTreeSet<AccountId>, which: impl Fn(&AccountId) -> bool) -> Vec<AccountId> {
    accounts.iter().copied().filter(|account| which(account)).collect()
}

fn has(state: &GroupState, accounts: &BTreeSet<AccountId>, role: Role) -> bool {
    accounts.iter().any(|account| role_of(state, account) == Some(role))
}

fn role_of(state: &GroupState, account: &AccountId) -> Option<Role> {
    state.members().get(account).copied()
}
