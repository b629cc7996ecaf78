//! What became of a change: accepted, refused, or unknown until the chain shows it.

use super::{
    ChangeId, GroupError,
    chain::{Extent, Source},
    change::{Running, Step, What},
    secrets::learn_link,
};
use crate::{
    Effect,
    store::{Stored, group_changes, groups, profile},
    transmit::STAMP_CATCH_UP_MAX,
    turn::Turn,
};
use seal::{GroupSecret, LinkSeed};
use signed::{GroupChange, SignedOperation, keys::LinkSecret};
use types::{AccountId, GroupId, Millis, Stamp, limits::ENVELOPE_LIFE};
use wire::{Code, Refusal};

/// Lost races and passing refusals that one change survives: with 1,024 admins at work, one of them is through by then.
const TRIES_MAX: u32 = 50;
/// The pause after an answer that leaves the outcome unknown.
const PAUSE: Millis = Millis::from_secs(1);
/// What came of a change is remembered this long for somebody who asks for it again.
const KEEP_OUTCOME: Millis = Millis::from_hours(24);
/// A change whose outcome is unknown may be the only place of a group's secret: it is kept until no row can tell any
/// more that it was made.
const KEEP_UNKNOWN: Millis = Millis(2 * ENVELOPE_LIFE.0);

impl Turn<'_> {
    /// The server has appended it to the chain, now or before.
    pub(crate) fn change_accepted(&mut self, id: ChangeId, stamp: Stamp) -> Stored<()> {
        profile::raise_highest_stamp(self.db, stamp)?;
        let (Some(row), Some(running)) =
            (group_changes::get(self.db, id)?, self.live.groups.changes.get(&id))
        else {
            return Ok(());
        };
        // Only bytes that were sent once are surely those that the chain has.
        let only_try = !running.unsure;
        let operation = row.operation.as_deref().and_then(|bytes| SignedOperation::verify(bytes).ok());
        if let Some(operation) = operation.filter(|_| only_try) {
            let epoch = operation.epoch();
            if self.fits_head(&operation)?
                && self.extend(row.group, vec![operation], Some(stamp), Source::Row)? == Extent::Whole
            {
                return groups::set_stamp(self.db, row.group, epoch, stamp);
            }
        }
        self.fetch_first(id)
    }

    fn fits_head(&mut self, operation: &SignedOperation) -> Stored<bool> {
        let state = self.group(operation.group())?;
        Ok(match state {
            None => operation.epoch() == 0,
            Some(state) => state.epoch().checked_add(1) == Some(operation.epoch()),
        })
    }

    pub(crate) fn change_refused(&mut self, id: ChangeId, refusal: &Refusal) -> Stored<()> {
        let Some(running) = self.live.groups.changes.get_mut(&id) else { return Ok(()) };
        running.tries += 1;
        let (group, tries) = (running.group, running.tries);
        let explained = running.refused.is_some();
        if tries > TRIES_MAX {
            return self.finish(id, group, Err(GroupError::Refused(refusal.code)));
        }
        match refusal.code {
            Code::GroupHeadMoved => {
                self.head_moved(group, refusal.group.as_ref().and_then(|group| group.head))?;
                self.fetch_first(id)
            }
            Code::RetryAfter => self.finish(id, group, Err(GroupError::RetryAfter(refusal.retry_after))),
            Code::BadStamp => {
                if refusal.retry_after.is_none_or(|after| after > STAMP_CATCH_UP_MAX) {
                    profile::forget_highest_stamp(self.db)?;
                }
                self.pause(id, refusal)
            }
            Code::KeysRequired => {
                self.upload_everything_again()?;
                self.pause(id, refusal)
            }
            // It was not looked at: it is tried again once answers have come.
            Code::TooManyInFlight => self.pause(id, refusal),
            Code::Unavailable | Code::Unspecified => {
                if let Some(running) = self.live.groups.changes.get_mut(&id) {
                    running.unsure = true;
                }
                self.pause(id, refusal)
            }
            code if explained || self.group(group)?.is_none() => self.finish(id, group, Err(refused(code))),
            // The chain may say why.
            code => {
                if let Some(running) = self.live.groups.changes.get_mut(&id) {
                    running.refused = Some(code);
                }
                self.fetch_first(id)
            }
        }
    }

    fn pause(&mut self, id: ChangeId, refusal: &Refusal) -> Stored<()> {
        let at = self.now + refusal.retry_after.unwrap_or(PAUSE);
        self.step(id, Step::Pause(at));
        Ok(())
    }

    pub(super) fn fetch_first(&mut self, id: ChangeId) -> Stored<()> {
        let Some(running) = self.live.groups.changes.get_mut(&id) else { return Ok(()) };
        running.step = Step::Fetch;
        let group = running.group;
        self.fetch_soon(group);
        Ok(())
    }

    /// The chain is known as far as the server gives it: changes of this group go on.
    pub(super) fn changes_after_fetch(&mut self, group: GroupId, result: Result<(), Code>) -> Stored<()> {
        let fetching = |running: &Running| running.group == group && matches!(running.step, Step::Fetch);
        let changes = &self.live.groups.changes;
        let waiting: Vec<ChangeId> =
            changes.iter().filter(|(_, running)| fetching(running)).map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(running) = self.live.groups.changes.get_mut(&id) else { continue };
            running.step = Step::Send;
            let is_join = matches!(running.what, What::Join(_));
            let refused_before = running.refused;
            let error = match (result, refused_before) {
                (Err(_), _) if is_join => Some(GroupError::DeadLink),
                (Err(code), _) => Some(refused(code)),
                // A command that the rules allow, and that the server refuses all the same, is over.
                (Ok(()), Some(code)) => self.still_refused(id, code)?,
                (Ok(()), None) => None,
            };
            if let Some(error) = error {
                self.finish(id, group, Err(error))?;
            }
        }
        Ok(())
    }

    /// Why a change that the server refused cannot be made, unless the chain has moved on since.
    fn still_refused(&mut self, id: ChangeId, code: Code) -> Stored<Option<GroupError>> {
        let Some(row) = group_changes::get(self.db, id)? else { return Ok(None) };
        let sent = row.operation.clone();
        Ok(match self.operation_for(&row)? {
            Err(error) => Some(error),
            Ok(again) if again == sent => Some(refused(code)),
            Ok(_) => None,
        })
    }

    /// An operation is on the chain: if this device made it, what belongs to it is done, once.
    pub(super) fn notice_own_operation(&mut self, operation: &SignedOperation) -> Stored<()> {
        if !self.is_ours(operation) {
            return Ok(());
        }
        let group = operation.group();
        if let Some(row) = group_changes::with_operation(self.db, operation.id())? {
            if let Some(secret) = row.secret.as_deref().and_then(|bytes| GroupSecret::from_slice(bytes).ok())
            {
                self.secret_came(group, &secret)?;
            }
            if let Some(seed) = row.link_seed.as_deref().and_then(|bytes| LinkSeed::from_slice(bytes).ok()) {
                learn_link(self.db, group, &seed)?;
            }
            group_changes::set_applied(self.db, row.id)?;
            if self.live.groups.changes.contains_key(&row.id) {
                self.finish(row.id, group, Ok(()))?;
            }
        }
        match operation.change() {
            GroupChange::Create { members, .. } => {
                let members: Vec<AccountId> = members.iter().copied().collect();
                self.give_secret(group, &members)?;
                self.give_secret_to_own_devices(group)
            }
            GroupChange::Add(members) => {
                let members: Vec<AccountId> = members.iter().copied().collect();
                self.give_secret(group, &members)
            }
            GroupChange::Join(_) => self.give_secret_to_own_devices(group),
            GroupChange::SetInviteLink(Some(_)) => {
                let admins = self.admins(group)?;
                self.give_link(group, &admins)
            }
            GroupChange::Promote(risen) => {
                let risen: Vec<AccountId> = risen.iter().copied().collect();
                self.give_link(group, &risen)
            }
            _ => Ok(()),
        }
    }

    /// Tells the outcome of a change to whoever waits for it.
    pub(super) fn finish(
        &mut self,
        id: ChangeId,
        group: GroupId,
        result: Result<(), GroupError>,
    ) -> Stored<()> {
        let running = self.live.groups.changes.remove(&id);
        match &result {
            // Kept until somebody was told: who asks again, because they were not, asks for the same change.
            Ok(()) => group_changes::set_applied(self.db, id)?,
            // A try whose answer was never heard may still turn up on the chain; its id stays known.
            Err(_) if running.is_some_and(|running| running.unsure) => {}
            Err(_) => group_changes::remove(self.db, id)?,
        }
        self.effect(Effect::GroupChangeDone { change: id, result: result.map(|()| group) });
        Ok(())
    }

    pub(super) fn step(&mut self, id: ChangeId, step: Step) {
        if let Some(running) = self.live.groups.changes.get_mut(&id) {
            running.step = step;
        }
    }

    /// The link by which somebody here is joining a group.
    pub(super) fn joining(&self, group: GroupId) -> Option<LinkSecret> {
        let mut running = self.live.groups.changes.values().filter(|running| running.group == group);
        running.find_map(|running| match &running.what {
            What::Join(link) => Some(link.clone()),
            What::Create | What::Command(_) => None,
        })
    }

    /// Forgets what came of old changes, but for those that somebody still waits for.
    pub(crate) fn prune_changes(&self) -> Stored<()> {
        let now = self.server_now();
        for id in group_changes::old(self.db, now - KEEP_OUTCOME, now - KEEP_UNKNOWN)? {
            if !self.live.groups.changes.contains_key(&id) {
                group_changes::remove(self.db, id)?;
            }
        }
        Ok(())
    }
}

const fn refused(code: Code) -> GroupError {
    match code {
        Code::NoSuchGroup => GroupError::NoSuchGroup,
        Code::Forbidden => GroupError::NotAdmin,
        code => GroupError::Refused(code),
    }
}
