//! What people do in a group: found it, write to it, change it, several of them at the same moment.

use super::World;
use client::{Fault, GroupCommand, GroupError, SendError, SendText};
use types::{AccountId, GroupId, MessageId};

impl World {
    /// The first of them founds a group; one may stay out of it for now.
    pub(super) fn found(&mut self) -> Result<(), Fault> {
        let others: Vec<AccountId> = self.devices[1..].iter().map(|one| one.mailbox.account).collect();
        let stays_out = others.len() > 2 && self.chance.per_mille(500);
        let members = if stays_out { &others[1..] } else { &others[..] };
        let (now, founder) = (self.now, &mut self.devices[0]);
        checked(founder.engine.create_group("regatta", members, now, &mut founder.rng).map(|_| ()))?;
        founder.poll();
        self.carry()
    }

    /// Somebody writes, or some change the group before anybody hears of it.
    pub(super) fn gather(&mut self) -> Result<(), Fault> {
        let Some(group) = self.witness.group() else { return Ok(()) };
        if self.chance.per_mille(600) {
            let who = self.somebody();
            return self.write_to_group(who, group).map(|_| ());
        }
        for _ in 0..=self.chance.below(2) {
            let who = self.somebody();
            self.change(who, group)?;
        }
        Ok(())
    }

    /// Devices that were not removed.
    fn present(&self) -> Vec<usize> {
        (0..self.devices.len()).filter(|at| !self.witness.is_former(self.devices[*at].mailbox)).collect()
    }

    fn somebody(&mut self) -> usize {
        self.chance.below(self.devices.len() as u64) as usize
    }

    /// Writes, if the group is one's own as far as one knows.
    fn write_to_group(&mut self, who: usize, group: GroupId) -> Result<Option<MessageId>, Fault> {
        let now = self.now;
        let device = &mut self.devices[who];
        if device.engine.view().is_revoked()?
            || device.engine.view().group(group)?.is_none_or(|known| !known.i_am_member)
        {
            return Ok(None);
        }
        self.texts += 1;
        let text = format!("text {} of {who} to all", self.texts);
        let message_id = MessageId::new(now, &mut device.rng);
        self.witness.wrote(message_id, device.mailbox, group.into(), text.clone());
        let sent =
            device.engine.send_text(SendText { chat: group.into(), message_id, text }, now, &mut device.rng);
        match sent {
            Ok(_) => {}
            Err(SendError::Fault(fault)) => return Err(fault),
            Err(error) => panic!("a member can write to the group: {error}"),
        }
        device.poll();
        Ok(Some(message_id))
    }

    /// Somebody tries to change the group. Who may not is told so.
    fn change(&mut self, who: usize, group: GroupId) -> Result<(), Fault> {
        let target = self.somebody();
        let account = self.devices[target].mailbox.account;
        let is_last = target + 1 == self.people;
        let now = self.now;
        let kind = self.chance.below(10);
        let device = &mut self.devices[who];
        if device.engine.view().is_revoked()? {
            return Ok(());
        }
        let is_member = device
            .engine
            .view()
            .group(group)?
            .is_some_and(|known| known.members.iter().any(|member| member.account == account));
        let command = match kind {
            // The last of them, who may be in league with the server, stays a plain member.
            0..=2 if is_member && !is_last => GroupCommand::Promote(vec![account]),
            3 => GroupCommand::Rename(format!("regatta {}", self.texts)),
            _ if is_member => GroupCommand::Remove(vec![account]),
            _ => GroupCommand::Add(vec![account]),
        };
        checked(device.engine.change_group(group, command, now, &mut device.rng).map(|_| ()))?;
        device.poll();
        Ok(())
    }

    /// Everybody who is in the group writes to it once more.
    pub(super) fn last_words_in_group(&mut self) -> Result<Vec<(MessageId, usize)>, Fault> {
        let Some(group) = self.witness.group() else { return Ok(Vec::new()) };
        let mut words = Vec::new();
        for who in self.present() {
            words.extend(self.write_to_group(who, group)?.map(|message| (message, who)));
        }
        Ok(words)
    }
}

/// What the rules forbid is no fault.
fn checked(result: Result<(), GroupError>) -> Result<(), Fault> {
    match result {
        Err(GroupError::Fault(fault)) => {
            panic!("an engine failed at a group: {fault}")
        }
        _ => Ok(()),
    }
}
