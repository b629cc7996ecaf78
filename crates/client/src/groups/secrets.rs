//! A group's secret, which its members have and its server has not, and the name that it seals; and the seed of its
//! invite link, which its admins have.

use crate::{
    store::{Stored, group_secrets, groups},
    turn::Turn,
};
use rusqlite::Connection;
use seal::{Body, GroupSecret, LinkSeed, group_info::GroupInfo};
use signed::{GroupState, group::Role, keys::LinkSecret};
use types::{AccountId, GroupId};

impl Turn<'_> {
    /// Somebody gave us a secret. It is kept if it opens the group's name, or may yet.
    pub(super) fn secret_came(&mut self, group: GroupId, secret: &GroupSecret) -> Stored<()> {
        if group_secrets::get(self.db, group)?.is_some() {
            return Ok(());
        }
        let state = self.group(group)?;
        let opens = state.as_ref().is_some_and(|state| opens_name(secret, state));
        match opens {
            true => group_secrets::set(self.db, group, secret)?,
            false => group_secrets::offer(self.db, group, secret)?,
        }
        match state {
            Some(state) => open_name(self.db, &state)?,
            None => return Ok(()),
        }
        // Our first message may have waited for it: a sender key is given together with the secret.
        self.wake_group(group);
        Ok(())
    }

    /// The sealed form of a name.
    pub(super) fn seal_name(&mut self, secret: &GroupSecret, name: &str) -> Stored<Vec<u8>> {
        let info =
            GroupInfo::new(name, "").map_err(|_| crate::Fault::Bug("a group's name breaks a limit"))?;
        Ok(seal::group_info::seal(secret, &info, self.rng))
    }

    /// Gives the secret of a group that this device made or joined to our other ones: they are members, too, and nobody
    /// else may write for a long time.
    pub(super) fn give_secret_to_own_devices(&mut self, group: GroupId) -> Stored<()> {
        let me = self.me.account();
        match self.peers(&[me])?.is_empty() {
            true => Ok(()),
            false => self.give_secret(group, &[me]),
        }
    }

    /// Gives the secret to members that we have brought into the group.
    pub(super) fn give_secret(&mut self, group: GroupId, to: &[AccountId]) -> Stored<()> {
        let Some(secret) = group_secrets::get(self.db, group)? else { return Ok(()) };
        for account in to {
            let body = Body::GroupSecret { group, secret: secret.clone(), link: None };
            self.queue_parcel(group, *account, body, None)?;
        }
        self.prefetch_keys(to)
    }

    /// Gives the seed of the invite link that we have made, or know, to other admins, and to our own other devices.
    pub(super) fn give_link(&mut self, group: GroupId, to: &[AccountId]) -> Stored<()> {
        let Some(state) = self.group(group)? else { return Ok(()) };
        let Some(secret) = group_secrets::get(self.db, group)? else { return Ok(()) };
        let link = known_link(self.db, &state)?;
        if link.is_none() {
            return Ok(());
        }
        for account in to {
            let body = Body::GroupSecret { group, secret: secret.clone(), link: link.clone() };
            self.queue_parcel(group, *account, body, None)?;
        }
        self.prefetch_keys(to)
    }

    /// Every admin of a group, with our own account among them.
    pub(super) fn admins(&mut self, group: GroupId) -> Stored<Vec<AccountId>> {
        let state = self.group(group)?;
        let members = state.iter().flat_map(|state| state.members());
        Ok(members.filter(|(_, role)| **role >= Role::Admin).map(|(account, _)| *account).collect())
    }
}

/// The seed of the link that a chain has now, where this device knows it.
pub(crate) fn known_link(db: &Connection, state: &GroupState) -> Stored<Option<LinkSeed>> {
    let is_its = |seed: &LinkSeed| state.link() == Some(&LinkSecret::from_bytes(seed.as_bytes()).public());
    Ok(group_secrets::link_seeds(db, state.id())?.into_iter().find(is_its))
}

/// Keeps a seed beside that of the present link: its operation may not be here yet.
pub(super) fn learn_link(db: &Connection, group: GroupId, seed: &LinkSeed) -> Stored<()> {
    let known = match groups::state(db, group)? {
        Some(state) => known_link(db, &state)?,
        None => None,
    };
    for old in group_secrets::link_seeds(db, group)? {
        if known.as_ref() != Some(&old) {
            group_secrets::remove_link_seed(db, group, &old)?;
        }
    }
    group_secrets::add_link_seed(db, group, seed)
}

/// Whether this is the secret of a group, as far as its name tells.
pub(super) fn opens_name(secret: &GroupSecret, state: &GroupState) -> bool {
    seal::group_info::open(secret, state.sealed_info()).is_ok()
}

/// Opens the name with the known secret, or else with those that were offered: the first that opens it is right.
pub(super) fn open_name(db: &Connection, state: &GroupState) -> Stored<()> {
    let group = state.id();
    let known = group_secrets::get(db, group)?;
    let is_known = known.is_some();
    let candidates = match known {
        Some(secret) => vec![secret],
        None => group_secrets::offers(db, group)?,
    };
    for secret in candidates {
        let Ok(info) = seal::group_info::open(&secret, state.sealed_info()) else { continue };
        if !is_known {
            group_secrets::set(db, group, &secret)?;
        }
        return groups::set_name(db, group, info.name());
    }
    Ok(())
}
