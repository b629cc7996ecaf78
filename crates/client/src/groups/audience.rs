//! Whom a message to a group goes to: every listed device of every member, as the chain and the verified lists say. It is
//! worked out when one of them has changed, and remembered until the next change.

use super::keys::Distributing;
use crate::{
    store::{Stored, contacts, device_lists, group_keys, group_keys::MemberList},
    turn::Turn,
};
use signed::GroupState;
use std::collections::BTreeMap;
use types::AccountId;
use wire::ListVersion;

/// A view of a group under which a message can be encrypted at once: every list is known, and this device's sender key is
/// held by exactly these devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Audience {
    epoch: u64,
    generation: u64,
    pub(super) lists_digest: [u8; 32],
}

/// Whether there is an audience.
pub(super) enum Assembling {
    Ready(Audience),
    /// Lists are fetched, or keys are on their way; the lane is woken then.
    Waits,
    /// The server does not give a list that it says there is: to be tried again later.
    Blocked,
}

impl Turn<'_> {
    /// Sees to it that everybody whom a message goes to can open it. `before` is the counter of the message before it.
    pub(super) fn assemble(&mut self, state: &GroupState, before: u64) -> Stored<Assembling> {
        let group = state.id();
        let generation = group_keys::generation(self.db)?;
        let known = self.live.groups.audiences.get(&group);
        let same =
            known.filter(|known| known.epoch == state.epoch() && known.generation == generation).copied();
        if let Some(audience) = same
            && !self.is_key_worn(group)?
        {
            return Ok(Assembling::Ready(audience));
        }
        let lists = group_keys::member_lists(self.db, group)?;
        match self.want_lists(&lists) {
            Lists::Here => {}
            Lists::Wanted => return Ok(Assembling::Waits),
            Lists::Kept => return Ok(Assembling::Blocked),
        }
        if self.distribute(group, before)? == Distributing::OnTheWay {
            return Ok(Assembling::Waits);
        }
        let versions: BTreeMap<AccountId, u64> =
            lists.iter().map(|list| (list.account, version_of(list))).collect();
        let lists_digest = signed::lists_digest(&versions);
        let audience = Audience { epoch: state.epoch(), generation, lists_digest };
        self.live.groups.audiences.insert(group, audience);
        Ok(Assembling::Ready(audience))
    }

    /// Asks for the lists that are missing or stale, unless the server was asked on this connection.
    fn want_lists(&mut self, lists: &[MemberList]) -> Lists {
        let lacking = |list: &&MemberList| !list.closed && (list.version.is_none() || list.stale);
        let mut result = Lists::Here;
        for list in lists.iter().filter(lacking) {
            if !self.live.groups.lists_tried.contains(&list.account) {
                self.want_list(list.account);
                result = Lists::Wanted;
            } else if list.version.is_some() && result == Lists::Here {
                // Who has no list has no device either, and is left out.
                result = Lists::Kept;
            }
        }
        if result == Lists::Kept {
            self.live.groups.lists_tried.clear();
        }
        result
    }

    /// The server has other lists than the ones that we know: those are fetched.
    pub(super) fn lists_differ(&mut self, theirs: &[ListVersion], group: types::GroupId) -> Stored<()> {
        let theirs: BTreeMap<AccountId, u64> =
            theirs.iter().map(|list| (list.account, list.version)).collect();
        for ours in group_keys::member_lists(self.db, group)? {
            if theirs.get(&ours.account).is_none_or(|version| *version == version_of(&ours)) {
                continue;
            }
            if ours.closed {
                contacts::reopen(self.db, ours.account)?;
            }
            device_lists::mark_stale(self.db, ours.account)?;
            self.live.groups.lists_tried.remove(&ours.account);
        }
        Ok(())
    }
}

/// Whether the lists of a group's members are here.
#[derive(PartialEq, Eq)]
enum Lists {
    Here,
    Wanted,
    Kept,
}

/// The version that the digest has of a list: 0 for an account that was closed, or that never was.
fn version_of(list: &MemberList) -> u64 {
    if list.closed { 0 } else { list.version.unwrap_or(0) }
}
