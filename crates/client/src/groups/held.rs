//! What waits for more of a chain, or for its sender's key, and what becomes of it.

use crate::{
    receive::{Chance, Intake},
    room::{HELD_MAX, HELD_OF_ACCOUNT_MAX},
    store::{Stored, chats, group_held, group_held::HeldForGroup, group_held::Wait, room::Waiting},
    turn::Turn,
};
use seal::{DecryptFailure, Opened};
use types::{DeviceAddress, GroupId, Millis, limits::ENVELOPE_LIFE};
use wire::Envelope;

/// A message under an unknown key waits this long after the drain; its key may be on its way.
const KEY_GRACE: Millis = Millis::from_secs(30);
/// What has waited this long is not on its way any more.
const KEY_LONG_GONE: Millis = Millis::from_mins(10);

impl Turn<'_> {
    pub(crate) fn hold_for_group(
        &mut self,
        group: GroupId,
        envelope: &Envelope,
        opened: Option<&Opened>,
        wait: Wait,
    ) -> Stored<Intake> {
        chats::ensure(self.db, self.me.account(), group.into())?;
        // What was opened cannot be opened a second time, so there is always room for it.
        if opened.is_none() && !self.make_room(Waiting::ForKey, envelope.from.account)? {
            return self.pass_over(envelope);
        }
        group_held::hold(self.db, group, envelope, opened, wait, self.server_now())?;
        if wait == Wait::Key && !self.live.is_draining() {
            self.set_key_asks()?;
        }
        Ok(Intake::Done)
    }

    /// Whether more may be held of whoever sent an envelope that was opened.
    pub(super) fn has_room_for_opened(&self, envelope: &Envelope) -> Stored<bool> {
        let (of_account, all) = group_held::opened_counts(self.db, envelope.from.account)?;
        Ok(of_account < HELD_OF_ACCOUNT_MAX && all < HELD_MAX)
    }

    /// The same envelope again while it is held: the lowest stamp wins.
    pub(crate) fn held_for_group_again(&mut self, envelope: &Envelope) -> Stored<bool> {
        let Some(held) = group_held::held(self.db, envelope.from, envelope.envelope_id)? else {
            return Ok(false);
        };
        let held = Envelope::decode(held).map_err(|_| crate::Fault::Damaged)?;
        if envelope.stamp < held.stamp {
            group_held::restamp(self.db, &Envelope { stamp: envelope.stamp, ..held })?;
        }
        Ok(true)
    }

    /// More of a chain is known.
    pub(super) fn retry_held_for_chain(&mut self, group: GroupId) -> Stored<()> {
        let held = group_held::take_for_chain(self.db, group)?;
        self.look_again_at(held)
    }

    /// The server has given all that it gives of a chain: what is still ahead of it shows that something is kept from us.
    pub(super) fn look_again_after_fetch(&mut self, group: GroupId) -> Stored<()> {
        self.live.groups.fetched = Some(group);
        let result = self.retry_held_for_chain(group);
        self.live.groups.fetched = None;
        result
    }

    pub(super) fn retry_held_for_key(&mut self, group: GroupId, from: DeviceAddress) -> Stored<()> {
        let held = group_held::take_for_key(self.db, group, from)?;
        self.look_again_at(held)
    }

    fn look_again_at(&mut self, held: Vec<HeldForGroup>) -> Stored<()> {
        for held in held {
            let Ok(envelope) = Envelope::decode(held.envelope) else { continue };
            let Intake::Done = match held.opened {
                Some(opened) => self.judge(&envelope, &opened, Chance::First)?,
                None => self.open(&envelope, Chance::First)?,
            };
        }
        Ok(())
    }

    /// The drain is over: keys that were in the mailbox are here.
    pub(crate) fn groups_drained(&mut self) -> Stored<()> {
        self.set_key_asks()
    }

    fn set_key_asks(&mut self) -> Stored<()> {
        let now = self.server_now();
        group_held::set_ask_at(self.db, now, KEY_GRACE, now - KEY_LONG_GONE)?;
        self.schedule_key_asks()
    }

    fn schedule_key_asks(&mut self) -> Stored<()> {
        let (local, server) = (self.now, self.server_now());
        self.live.groups.ask_at = group_held::next_ask_at(self.db)?.map(|at| local + at.since(server));
        Ok(())
    }

    /// Asks for what has waited for its key long enough.
    pub(super) fn advance_key_waits(&mut self) -> Stored<()> {
        if self.live.is_draining() || self.live.groups.ask_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        for bytes in group_held::take_asks(self.db, self.server_now())? {
            let Ok(envelope) = Envelope::decode(bytes) else { continue };
            if self.is_from_member(&envelope)? {
                self.miss_envelope(&envelope, DecryptFailure::NoSenderKey, 0)?;
            } else {
                // Nobody who may write to us there has sent it.
                group_held::remove(self.db, &envelope)?;
            }
        }
        self.schedule_key_asks()
    }

    /// Whether an envelope belongs to a group of ours, and its sender was ever a member.
    fn is_from_member(&self, envelope: &Envelope) -> Stored<bool> {
        match envelope.group {
            Some(group) => crate::store::groups::was_member(self.db, group, envelope.from.account),
            None => Ok(false),
        }
    }

    /// Forgets what nobody will open any more.
    pub(crate) fn prune_groups(&self) -> Stored<()> {
        group_held::prune(self.db, self.server_now() - ENVELOPE_LIFE)?;
        crate::store::group_keys::prune_holders(self.db)?;
        self.prune_changes()
    }
}
