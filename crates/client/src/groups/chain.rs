//! Chains: what extends them is taken in, what contradicts them is shown and refused.

use super::secrets::open_name;
use crate::{
    Effect, EventView,
    receive::Intake,
    store::{Stored, chats, events, groups, groups::Removal, inbox},
    turn::Turn,
};
use rusqlite::Connection;
use seal::GroupView;
use signed::{DeviceList, GroupChange, GroupState, SignedOperation};
use std::sync::Arc;
use types::{AccountId, GroupId, Stamp};
use wire::Envelope;

/// How far operations were taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of them are on the known chain now.
    Whole,
    /// Something before them is missing.
    Missing,
    /// One of them cannot stand on this chain: a fork.
    Broken,
}

/// Who gives operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A row of the mailbox, for which the server answers to nobody.
    Row,
    /// The chain as the server gives it when it is asked.
    Fetch,
}

/// What somebody's view of a group is, compared with the known chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadClaim {
    /// An operation of the known chain.
    OnChain,
    /// Later than what is known.
    Ahead,
    /// Another operation than the known one.
    Fork,
}

impl Turn<'_> {
    /// The state of a group as far as its chain is known here.
    pub(crate) fn group(&mut self, group: GroupId) -> Stored<Option<Arc<GroupState>>> {
        let epoch = groups::epoch(self.db, group)?;
        if let Some(state) = self.live.groups.state(group).filter(|state| Some(state.epoch()) == epoch) {
            return Ok(Some(state));
        }
        let state = groups::state(self.db, group)?.map(Arc::new);
        if let Some(state) = &state {
            self.live.groups.keep_state(state.clone());
        }
        Ok(state)
    }

    /// A row of the mailbox with an operation.
    pub(crate) fn operation_delivered(&mut self, envelope: &Envelope) -> Stored<Intake> {
        // Whoever signed it is inside; who brought it does not matter.
        let Ok(operation) = SignedOperation::verify(&envelope.ciphertext) else { return Ok(Intake::Done) };
        let group = operation.group();
        let epoch = operation.epoch();
        let is_first = self.group(group)?.is_none() && epoch == 0;
        if is_first && !names(&operation, self.me.account()) {
            return Ok(Intake::Done);
        }
        if self.extend(group, vec![operation], Some(envelope.stamp), Source::Row)? == Extent::Missing {
            self.want_group(group, Some(envelope.stamp))?;
        }
        groups::set_stamp(self.db, group, epoch, envelope.stamp)?;
        events::set_group_stamp(self.db, group, epoch, envelope.stamp)?;
        self.retry_held_for_chain(group)?;
        Ok(Intake::Done)
    }

    /// Takes in operations of one group, in their order, as far as they extend its chain. `stamp` is their place
    /// among messages, as far as it is known.
    pub(super) fn extend(
        &mut self,
        group: GroupId,
        operations: Vec<SignedOperation>,
        stamp: Option<Stamp>,
        source: Source,
    ) -> Stored<Extent> {
        let before = self.group(group)?;
        let mut state = before.clone();
        let mut taken = Vec::new();
        let mut extent = Extent::Whole;
        for operation in operations {
            if let Some(known) = state.as_ref().filter(|state| operation.epoch() <= state.epoch()) {
                // What was taken in a moment ago is not on disk yet, and nothing of one page comes twice.
                let same = known.head() == operation.hash() || self.is_on_chain(&operation)?;
                if same {
                    continue;
                }
                self.report_fork(group, operation.actor(), operation.epoch())?;
                extent = Extent::Broken;
                break;
            }
            match self.successor(state.as_deref(), &operation, source)? {
                Ok(next) => {
                    let next = Arc::new(next);
                    taken.push((operation, next.clone()));
                    state = Some(next);
                }
                Err(stopped) => {
                    if stopped == Extent::Broken {
                        self.report_fork(group, operation.actor(), operation.epoch())?;
                    }
                    extent = stopped;
                    break;
                }
            }
        }
        self.take_operations(before.as_deref(), &taken, stamp)?;
        Ok(extent)
    }

    /// The state after an operation, if it may stand there.
    fn successor(
        &self,
        state: Option<&GroupState>,
        operation: &SignedOperation,
        source: Source,
    ) -> Stored<Result<GroupState, Extent>> {
        let (actor, device_key) = (operation.actor(), operation.certificate().device_key());
        match (groups::removal(self.db, operation.group(), actor, device_key)?, source) {
            (Removal::None, _) => {}
            (Removal::Settled, _) => return Ok(Err(Extent::Broken)),
            // Only the chain itself says what it signed while it was listed. Until then nothing leaves for the group.
            (Removal::Unsettled, Source::Row) => return Ok(Err(Extent::Missing)),
            (Removal::Unsettled, Source::Fetch) => {}
        }
        let next = match state {
            None if operation.epoch() > 0 => return Ok(Err(Extent::Missing)),
            None => GroupState::found(operation),
            Some(state) => {
                state.apply(operation).or_else(|refused| self.obey(state, operation).ok_or(refused))
            }
        };
        Ok(next.map_err(|error| match error {
            signed::ChainError::Ahead => Extent::Missing,
            _ => Extent::Broken,
        }))
    }

    fn is_on_chain(&self, operation: &SignedOperation) -> Stored<bool> {
        let known = groups::hash_at(self.db, operation.group(), operation.epoch())?;
        Ok(known == Some(operation.hash()))
    }

    /// Writes operations that extend the chain, and does what follows from each.
    fn take_operations(
        &mut self,
        before: Option<&GroupState>,
        taken: &[(SignedOperation, Arc<GroupState>)],
        stamp: Option<Stamp>,
    ) -> Stored<()> {
        let Some((_, newest)) = taken.last() else { return Ok(()) };
        let group = newest.id();
        let mut previous = before;
        for (operation, after) in taken {
            groups::append(self.db, operation, after)?;
            note_members(self.db, previous, after)?;
            self.note_return(previous, after)?;
            previous = Some(after);
        }
        groups::put_state(self.db, newest, self.me.account())?;
        chats::ensure(self.db, self.me.account(), group.into())?;
        self.live.groups.keep_state(newest.clone());
        self.live.groups.audiences.remove(&group);
        open_name(self.db, newest)?;
        let mut previous = before;
        for (operation, after) in taken {
            self.tell(previous, after, operation, stamp)?;
            self.notice_own_operation(operation)?;
            previous = Some(after);
        }
        self.wake_group(group);
        self.settle_removed_devices(group, stamp)
    }

    /// Whoever comes back begins anew: what was written while they were away is not missing.
    fn note_return(&self, before: Option<&GroupState>, after: &GroupState) -> Stored<()> {
        let me = self.me.account();
        let came = after.members().contains_key(&me);
        let was = before.is_some_and(|before| before.members().contains_key(&me));
        if came && !was { inbox::forget_heard(self.db, after.id().into()) } else { Ok(()) }
    }

    /// Logs what others changed while this account was a member.
    fn tell(
        &mut self,
        before: Option<&GroupState>,
        after: &GroupState,
        operation: &SignedOperation,
        stamp: Option<Stamp>,
    ) -> Stored<()> {
        let me = self.me.account();
        let concerns_us =
            [before, Some(after)].into_iter().flatten().any(|state| state.members().contains_key(&me));
        if !concerns_us || self.is_ours(operation) {
            return Ok(());
        }
        let event = EventView::GroupChanged {
            group: after.id(),
            epoch: after.epoch(),
            change: change_word(operation.change()),
            by: operation.actor(),
        };
        events::log(self.db, self.live.batch, stamp, &event)?;
        self.effect(Effect::EventsLogged);
        Ok(())
    }

    /// Whether this very device made an operation.
    pub(super) fn is_ours(&self, operation: &SignedOperation) -> bool {
        operation.actor() == self.me.account()
            && *operation.certificate().device_key() == self.me.device_secret.public()
    }

    /// Compares what somebody says of a chain's head with what is known.
    pub(super) fn compare_head(&mut self, group: GroupId, view: GroupView) -> Stored<HeadClaim> {
        if self.live.planted.bugs.trust_any_head {
            return Ok(HeadClaim::OnChain);
        }
        let known = self.group(group)?.map(|state| state.epoch());
        if known.is_none_or(|epoch| epoch < view.epoch) {
            return Ok(HeadClaim::Ahead);
        }
        let same = groups::hash_at(self.db, group, view.epoch)? == Some(view.head);
        Ok(if same { HeadClaim::OnChain } else { HeadClaim::Fork })
    }

    /// Logs once that there is another chain of this group, or that a part of it is kept from us.
    pub(super) fn report_fork(&mut self, group: GroupId, account: AccountId, epoch: u64) -> Stored<()> {
        if groups::contradict(self.db, group, epoch)? {
            chats::ensure(self.db, self.me.account(), group.into())?;
            let event = EventView::SplitView { chat: group.into(), account };
            events::log(self.db, self.live.batch, None, &event)?;
            self.effect(Effect::EventsLogged);
        }
        Ok(())
    }

    /// Remembers devices that a newer list does not have any more: what they sign from now on does not count. What
    /// they signed before may be unknown here, and nothing in an operation tells one from the other: whatever is on a
    /// chain when it is fetched next counts as signed before, for everybody who fetches an honest chain in the same way.
    pub(crate) fn note_removed_devices(
        &mut self,
        known: Option<&DeviceList>,
        newer: &DeviceList,
    ) -> Stored<()> {
        let Some(known) = known else { return Ok(()) };
        if !groups::note_gone(self.db, known, newer)? {
            return Ok(());
        }
        // Those that the account is added to later are settled then.
        for group in groups::joined_with(self.db, newer.account())? {
            self.want_group(group, None)?;
        }
        Ok(())
    }

    /// An archive has told of groups, and of devices that are gone.
    pub(crate) fn fetch_unsettled_groups(&mut self) -> Stored<()> {
        for group in groups::joined_with(self.db, self.me.account())? {
            self.settle_removed_devices(group, None)?;
        }
        Ok(())
    }

    /// A group that has come, or that somebody has come into, may have members with devices that are known to be gone:
    /// what those did in it is fetched, so that nothing of theirs counts afterwards.
    fn settle_removed_devices(&mut self, group: GroupId, stamp: Option<Stamp>) -> Stored<()> {
        let fetched = self.removed_before_fetch(group);
        let unsettled = groups::last_unsettled(self.db, group)?;
        if unsettled > fetched { self.want_group(group, stamp) } else { Ok(()) }
    }
}

/// Writes who became, ceased to be, or has another role from this epoch on.
pub(super) fn note_members(db: &Connection, before: Option<&GroupState>, after: &GroupState) -> Stored<()> {
    let (group, epoch) = (after.id(), after.epoch());
    for (account, _) in before.into_iter().flat_map(GroupState::members) {
        let stays = after.members().get(account) == before.and_then(|before| before.members().get(account));
        if !stays {
            groups::end_member(db, group, *account, epoch)?;
        }
    }
    for (account, role) in after.members() {
        let stays = before.and_then(|before| before.members().get(account)) == Some(role);
        if !stays {
            groups::begin_member(db, group, *account, *role, epoch)?;
        }
    }
    Ok(())
}

/// Whether a `create` makes this account a member.
fn names(operation: &SignedOperation, me: AccountId) -> bool {
    match operation.change() {
        GroupChange::Create { members, .. } => operation.actor() == me || members.contains(&me),
        _ => true,
    }
}

/// The word of a change in every interface.
const fn change_word(change: &GroupChange) -> &'static str {
    match change {
        GroupChange::Create { .. } => "create",
        GroupChange::Add(_) => "add",
        GroupChange::Remove(_) => "remove",
        GroupChange::Leave => "leave",
        GroupChange::Promote(_) => "promote",
        GroupChange::Demote(_) => "demote",
        GroupChange::SetInfo(_) => "rename",
        GroupChange::SetPermissions(_) => "permissions",
        GroupChange::SetInviteLink(_) => "link",
        GroupChange::Join(_) => "join",
        GroupChange::SetTimer(_) => "timer",
    }
}

/// Reads back what [`change_word`] gave.
pub(crate) fn read_change_word(word: &str) -> &'static str {
    const WORDS: [&str; 11] = [
        "create",
        "add",
        "remove",
        "leave",
        "promote",
        "demote",
        "rename",
        "permissions",
        "link",
        "join",
        "timer",
    ];
    WORDS.into_iter().find(|known| *known == word).unwrap_or("unknown")
}
