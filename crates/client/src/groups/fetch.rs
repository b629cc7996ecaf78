//! What is missing of a chain is fetched, a page at a time, from the first epoch that is not known.

use super::{
    Asking, HeadClaim,
    chain::{Extent, Source},
    live::Fetching,
};
use crate::{
    keys::FETCH_AGAIN_AFTER,
    live::Asked,
    store::{Stored, groups},
    turn::Turn,
};
use bytes::Bytes;
use signed::{SignedOperation, group::join_signature};
use types::{GroupId, Stamp};
use wire::{Code, GroupHead, Refusal, Request};

impl Turn<'_> {
    /// Remembers that more of a chain exists; it is fetched as soon as there is a connection.
    pub(crate) fn want_group(&mut self, group: GroupId, stamp: Option<Stamp>) -> Stored<()> {
        groups::want(self.db, group, stamp)?;
        self.fetch_soon(group);
        Ok(())
    }

    /// A fetch that begins after now. One that goes on may have been answered before what it is wanted for happened,
    /// so it does not count: another one follows it.
    pub(super) fn fetch_soon(&mut self, group: GroupId) {
        match self.live.groups.fetching.get_mut(&group) {
            Some(fetching) => fetching.again = true,
            None => {
                self.live.groups.wanted.insert(group);
            }
        }
    }

    pub(super) fn is_fetching(&self, group: GroupId) -> bool {
        self.live.groups.fetching.contains_key(&group)
    }

    /// The last device that was known to be gone when the fetch began that goes on now; 0 if there is none.
    pub(super) fn removed_before_fetch(&self, group: GroupId) -> u64 {
        self.live.groups.fetching.get(&group).map_or(0, |fetching| fetching.removed)
    }

    /// Everything about groups that can be done now.
    pub(crate) fn advance_groups(&mut self) -> Stored<()> {
        self.advance_changes()?;
        let now = self.now;
        self.live.groups.retry_at.retain(|_, at| *at > now);
        let later: Vec<GroupId> = self.live.groups.retry_at.keys().copied().collect();
        for group in std::mem::take(&mut self.live.groups.wanted) {
            if later.contains(&group) {
                self.live.groups.wanted.insert(group);
            } else {
                self.fetch(group)?;
            }
        }
        self.advance_key_waits()?;
        self.advance_waiting()
    }

    fn fetch(&mut self, group: GroupId) -> Stored<()> {
        let state = self.group(group)?;
        let from_epoch = state.as_ref().map_or(0, |state| state.epoch().saturating_add(1));
        let is_member = state.is_some_and(|state| state.members().contains_key(&self.me.account()));
        let link = if is_member { None } else { self.joining(group) };
        let signature = link.map(|link| join_signature(&link, group, self.me.account()));
        let request = Request::GetGroup {
            group,
            from_epoch,
            link_signature: signature.map(|signature| *signature.as_bytes()),
        };
        let removed = groups::last_removed(self.db)?;
        self.live.groups.fetching.insert(group, Fetching { from_epoch, again: false, removed });
        self.request(request, Asked::Group(Asking::Chain(group)));
        Ok(())
    }

    /// A page of a chain.
    pub(crate) fn chain_came(&mut self, group: GroupId, page: &[Bytes], more: bool) -> Stored<()> {
        let operations: Result<Vec<_>, _> = page.iter().map(|bytes| SignedOperation::verify(bytes)).collect();
        let own = |operations: &Vec<SignedOperation>| operations.iter().all(|one| one.group() == group);
        let Some(operations) = operations.ok().filter(own) else {
            // Whoever gives what nobody signed gives no chain at all.
            return self.chain_fetched(group, Ok(()));
        };
        let stamp = groups::wanted_since(self.db, group)?;
        let extent = self.extend(group, operations, stamp, Source::Fetch)?;
        // Rows that came meanwhile count as well. A server that says there is more and gives nothing new is not asked
        // without end.
        let fetching = self.live.groups.fetching.get(&group).copied();
        let from_epoch = fetching.map_or(0, |fetching| fetching.from_epoch);
        let grew = self.group(group)?.is_some_and(|state| state.epoch() >= from_epoch);
        if more && grew && extent != Extent::Broken {
            return self.fetch(group);
        }
        if !more && extent == Extent::Whole {
            self.settle(group)?;
        }
        self.chain_fetched(group, Ok(()))
    }

    /// Devices that were known to be gone when the last page was asked for sign nothing any more that is not on the
    /// chain now. Who is no member is given no more than its end for them: what was signed after that, by devices
    /// that were still listed, counts when they come back.
    fn settle(&mut self, group: GroupId) -> Stored<()> {
        let removed = self.removed_before_fetch(group);
        if removed > 0 && groups::is_member(self.db, group, self.me.account())? {
            groups::settle(self.db, group, removed)?;
        }
        Ok(())
    }

    pub(crate) fn chain_refused(&mut self, group: GroupId, refusal: &Refusal) -> Stored<()> {
        match refusal.code {
            Code::NoSuchGroup | Code::Forbidden | Code::Unsupported | Code::Malformed => {
                self.chain_fetched(group, Err(refusal.code))
            }
            _ => {
                let after = refusal.retry_after.unwrap_or(FETCH_AGAIN_AFTER);
                self.live.groups.fetching.remove(&group);
                self.live.groups.retry_at.insert(group, self.now + after);
                self.live.groups.wanted.insert(group);
                Ok(())
            }
        }
    }

    /// The server has given all that it gives of a chain.
    fn chain_fetched(&mut self, group: GroupId, result: Result<(), Code>) -> Stored<()> {
        if self.live.groups.fetching.get(&group).is_some_and(|fetching| fetching.again) {
            // Nothing is concluded about what came after the server had read the chain.
            return self.fetch(group);
        }
        // Whatever the answer was: a server that gives no chain, or never the end of it, keeps no former device alive.
        self.settle(group)?;
        self.live.groups.fetching.remove(&group);
        groups::unwant(self.db, group)?;
        self.live.groups.wanted.remove(&group);
        self.look_again_after_fetch(group)?;
        self.changes_after_fetch(group, result)?;
        self.wake_group(group);
        Ok(())
    }

    /// The server says that the chain has another head than ours: later, or it contradicts itself.
    pub(super) fn head_moved(&mut self, group: GroupId, head: Option<GroupHead>) -> Stored<()> {
        if let Some(head) = head {
            let view = seal::GroupView { epoch: head.epoch, head: head.head };
            let known = self.group(group)?.map(|state| state.epoch());
            let rolled_back = known.is_some_and(|known| known > head.epoch);
            if rolled_back || self.compare_head(group, view)? == HeadClaim::Fork {
                self.report_fork(group, self.me.account(), head.epoch)?;
            }
        }
        self.want_group(group, None)
    }
}
