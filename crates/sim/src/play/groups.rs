//! What people do in groups, on their own devices: make them, change them, show links and join by them, write.
//! Mostly several people act before any of them hears of the others.
//!
//! Owns: the links that were shown, and who was removed since the last moment. What is allowed the engines decide; who may not is told so.
//! Must not know: what the chains say.

use super::{Play, one_of};
use crate::{chance::Chance, device::Seat, plan};
use client::{Fault, GroupCommand, GroupInfo};
use std::collections::BTreeSet;
use testkit::event::Person;
use types::{AccountId, GroupId};

/// People that act at one moment, at most.
const AT_ONCE_MAX: u64 = 3;
/// In so many moments of a thousand everybody wants to change the group: one of them is first.
const CONTESTS_PER_MILLE: u32 = 250;
/// Texts that one writes without waiting, at most.
const TEXTS_MAX: u64 = 3;
/// Groups of one run, at most: many groups would be many small ones.
const GROUPS_MAX: usize = 2;
/// Links that people remember; the oldest is forgotten first.
const LINKS_MAX: usize = 4;

/// What is known of groups outside of devices.
pub(super) struct Gatherings {
    chance: Chance,
    founded: usize,
    links: Vec<String>,
    /// Who was removed from which group lately: until they learn of it they write there as before.
    parting: Vec<(AccountId, GroupId)>,
}

/// What somebody does in a group.
#[derive(Clone, Copy)]
enum Act {
    Write,
    Read,
    Add,
    Remove,
    Promote,
    Demote,
    Leave,
    Rename,
    ShowLink,
    ResetLink,
    Join,
}

/// What leaves a group as it is, by how many in a hundred.
const CALM: [(u64, Act); 2] = [(42, Act::Write), (8, Act::Read)];
/// What changes it, in the same measure.
const CHANGES: [(u64, Act); 9] = [
    (12, Act::Add),
    (11, Act::Remove),
    (6, Act::Promote),
    (3, Act::Demote),
    (3, Act::Leave),
    (4, Act::Rename),
    (5, Act::ShowLink),
    (2, Act::ResetLink),
    (4, Act::Join),
];

impl Gatherings {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed, plan::GATHERINGS),
            founded: 0,
            links: Vec::new(),
            parting: Vec::new(),
        }
    }

    fn act(&mut self, contest: bool) -> Act {
        let possible = CALM.iter().filter(|_| !contest).chain(&CHANGES);
        let mut at = self.chance.below(possible.clone().map(|(weight, _)| weight).sum());
        for (weight, act) in possible {
            if at < *weight {
                return *act;
            }
            at -= weight;
        }
        Act::Write
    }

    fn one_of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| self.chance.one_of(items))
    }

    fn remember(&mut self, link: String) {
        if !self.links.contains(&link) {
            self.links.push(link);
            let forgotten = self.links.len().saturating_sub(LINKS_MAX);
            self.links.drain(..forgotten);
        }
    }
}

impl Play {
    /// Somebody does something in a group, and perhaps others at the same moment.
    pub(super) fn gather(&mut self, first: Person) -> Result<(), Fault> {
        self.let_parting_write()?;
        let contest = self.gatherings.chance.per_mille(CONTESTS_PER_MILLE);
        self.act_in_group(first, contest)?;
        let people: Vec<_> = self.world.plan.people().collect();
        let others = if contest { AT_ONCE_MAX } else { self.gatherings.chance.below(AT_ONCE_MAX) };
        for _ in 0..others {
            let who = self.gatherings.chance.one_of(&people);
            self.act_in_group(who, contest)?;
        }
        Ok(())
    }

    /// Who was removed since the last moment writes once more, on every device that has not heard of it.
    fn let_parting_write(&mut self) -> Result<(), Fault> {
        for (account, group) in std::mem::take(&mut self.gatherings.parting) {
            let people = self.world.plan.people();
            let seats: Vec<_> = people.flat_map(|person| self.world.devices_of(person)).collect();
            for seat in seats {
                let device = self.world.device(seat);
                let is_theirs = device.mailbox().is_some_and(|mailbox| mailbox.account == account);
                if is_theirs && device.groups()?.iter().any(|known| known.group == group) {
                    self.write_to_group(seat, group)?;
                }
            }
        }
        Ok(())
    }

    /// Everybody writes to every group of theirs.
    pub(super) fn last_words_in_groups(&mut self) -> Result<(), Fault> {
        for who in self.world.plan.people() {
            let seat = one_of(&mut self.world, who);
            for group in self.world.device(seat).groups()? {
                self.write_to_group(seat, group.group)?;
            }
        }
        Ok(())
    }

    /// On the device that is at hand.
    fn act_in_group(&mut self, who: Person, contest: bool) -> Result<(), Fault> {
        let seat = one_of(&mut self.world, who);
        let groups = self.world.device(seat).groups()?;
        let at = self.gatherings.chance.below(groups.len() as u64) as usize;
        match groups.get(at) {
            Some(group) => self.act_as_member(seat, group, contest),
            None => self.come_together(seat),
        }
    }

    /// Who is in no group makes one, or joins one by a link.
    fn come_together(&mut self, seat: Seat) -> Result<(), Fault> {
        let joins = self.gatherings.founded >= GROUPS_MAX || self.gatherings.chance.per_mille(500);
        if joins && !self.gatherings.links.is_empty() {
            return self.join(seat);
        }
        if self.gatherings.founded >= GROUPS_MAX {
            return Ok(());
        }
        self.gatherings.founded += 1;
        let mut members = self.others(seat);
        let stays_out = self.gatherings.chance.below(members.len() as u64 + 1) as usize;
        if stays_out < members.len() && members.len() > 1 {
            members.remove(stays_out);
        }
        let name = format!("Group {}", self.gatherings.founded);
        self.world.with_device(seat, |device, outside| device.found(&name, &members, outside))
    }

    fn act_as_member(&mut self, seat: Seat, known: &GroupInfo, contest: bool) -> Result<(), Fault> {
        let group = known.group;
        let act = self.gatherings.act(contest);
        match act {
            Act::Write => {
                let texts = 1 + self.gatherings.chance.below(TEXTS_MAX);
                return (0..texts).try_for_each(|_| self.write_to_group(seat, group));
            }
            Act::Read => return self.world.with_device(seat, |device, outside| device.read(outside)),
            Act::Join => return self.join(seat),
            _ => {}
        }
        let Some(command) = self.command(act, seat, known) else { return Ok(()) };
        if let GroupCommand::Remove(removed) = &command {
            self.gatherings.parting.extend(removed.iter().map(|account| (*account, group)));
        }
        self.world.with_device(seat, |device, outside| device.change(group, command, outside))?;
        if let Some(link) = self.world.device(seat).group_link(group)? {
            self.gatherings.remember(link);
        }
        Ok(())
    }

    fn command(&mut self, act: Act, seat: Seat, known: &GroupInfo) -> Option<GroupCommand> {
        let members: BTreeSet<AccountId> = known.members.iter().map(|member| member.account).collect();
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.others(seat).into_iter().partition(|other| members.contains(other));
        // Accounts that were closed since stay members until somebody removes them.
        let former: Vec<_> =
            known.members.iter().filter(|member| member.closed).map(|member| member.account).collect();
        let chance = &mut self.gatherings;
        Some(match act {
            Act::Add => GroupCommand::Add(vec![chance.one_of(&outside)?]),
            Act::Remove => match chance.one_of(&former) {
                Some(former) => GroupCommand::Remove(vec![former]),
                None => GroupCommand::Remove(vec![chance.one_of(&inside)?]),
            },
            Act::Promote => GroupCommand::Promote(vec![chance.one_of(&inside)?]),
            Act::Demote => GroupCommand::Demote(vec![chance.one_of(&inside)?]),
            Act::Leave => GroupCommand::Leave,
            Act::Rename => {
                GroupCommand::Rename(format!("Group, for the {}. time", chance.chance.below(1_000)))
            }
            Act::ShowLink => GroupCommand::MakeLink,
            Act::ResetLink => GroupCommand::ResetLink,
            Act::Write | Act::Read | Act::Join => return None,
        })
    }

    fn join(&mut self, seat: Seat) -> Result<(), Fault> {
        if self.gatherings.links.is_empty() {
            return Ok(());
        }
        let at = self.gatherings.chance.below(self.gatherings.links.len() as u64) as usize;
        let link = self.gatherings.links[at].clone();
        self.world.with_device(seat, |device, outside| device.join(&link, outside))
    }

    fn write_to_group(&mut self, seat: Seat, group: GroupId) -> Result<(), Fault> {
        let text = self.text(self.world.device(seat).person());
        self.world.with_device(seat, |device, outside| device.write_to_group(group, text, outside))
    }

    /// The accounts of everybody else, as their numbers lead to them now.
    fn others(&self, seat: Seat) -> Vec<AccountId> {
        let me = self.world.device(seat).person();
        let others = self.world.plan.people().filter(|other| *other != me);
        let mailboxes = others.filter_map(|other| self.world.device(Seat::primary(other)).mailbox());
        mailboxes.map(|mailbox| mailbox.account).collect()
    }
}
