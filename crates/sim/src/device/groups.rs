//! What the owner of a device does in groups of people, and what the device has asked for there.

use super::{Device, Outside};
use crate::chronicle::digest_of;
use bytes::Bytes;
use client::{ChangeId, Fault, GroupCommand, GroupError, GroupInfo, InviteLink, SendText};
use server_ports::Clock as _;
use signed::group::OperationId;
use std::collections::{BTreeMap, BTreeSet};
use testkit::history::{Fact, HeldOperation};
use types::{AccountId, GroupId, MessageId, Millis};

/// What a device has asked for of groups.
#[derive(Default)]
pub(super) struct Asked {
    /// Changes whose outcome the process waits for.
    changes: BTreeSet<ChangeId>,
    /// Questions without an answer on this connection, by request.
    pub(super) questions: BTreeMap<u64, Question>,
    /// The operations that left, as they were signed, and when first: one that met another head is signed anew.
    pub(super) signed: BTreeMap<OperationId, BTreeMap<[u8; 32], Millis>>,
}

/// A question about a chain.
pub(super) enum Question {
    /// Whether an operation was applied.
    Apply { operation: Bytes },
    /// What the chain is from an epoch on.
    Read { group: GroupId, from_epoch: u64, at: Millis },
}

impl Asked {
    pub(super) fn connection_ended(&mut self) {
        self.questions.clear();
    }

    pub(super) fn process_died(&mut self) {
        self.changes.clear();
    }

    pub(super) fn change_is_done(&mut self, change: ChangeId) {
        self.changes.remove(&change);
    }
}

impl Device {
    /// The groups that the owner is a member of, as far as the device knows.
    pub fn groups(&self) -> Result<Vec<GroupInfo>, Fault> {
        let Some(engine) = self.engine.as_ref().filter(|_| self.mailbox.is_some()) else {
            return Ok(Vec::new());
        };
        Ok(engine.view().groups()?.into_iter().filter(|group| group.i_am_member).collect())
    }

    /// The invite link of a group, if the device can show it.
    pub fn group_link(&self, group: GroupId) -> Result<Option<String>, Fault> {
        match &self.engine {
            Some(engine) => engine.view().group_link(group),
            None => Ok(None),
        }
    }

    /// Makes a group.
    pub fn found(
        &mut self,
        name: &str,
        members: &[AccountId],
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let asked = engine.create_group(name, members, self.clock.now(), &mut self.rng);
        self.asked_for(asked, outside)
    }

    /// Changes a group.
    pub fn change(
        &mut self,
        group: GroupId,
        command: GroupCommand,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let asked = engine.change_group(group, command, self.clock.now(), &mut self.rng);
        self.asked_for(asked, outside)
    }

    /// Joins a group by a link that somebody showed.
    pub fn join(&mut self, link: &str, outside: &mut Outside<'_>) -> Result<(), Fault> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let link: InviteLink = link.parse().expect("a link that an engine showed");
        let asked = engine.join_group(&link, self.clock.now(), &mut self.rng);
        self.asked_for(asked, outside)
    }

    /// Writes a text to a group.
    pub fn write_to_group(
        &mut self,
        group: GroupId,
        text: String,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        let message_id = MessageId::new(self.clock.now(), &mut self.rng);
        self.send(SendText { chat: group.into(), message_id, text }, outside)
    }

    /// Writes down what the device knows of every chain, what it keeps back, and what it still waits for.
    pub fn show_groups(&self) -> Result<(), Fault> {
        let (Some(engine), Some(mailbox)) = (&self.engine, self.mailbox) else { return Ok(()) };
        for known in engine.view().groups()? {
            let operations = self.disk.operations(known.group).into_iter();
            let held = |(bytes, stamp)| HeldOperation {
                digest: digest_of(&Bytes::from_owner::<Vec<u8>>(bytes)),
                stamp,
            };
            self.chronicle.record(Fact::ChainHeld {
                device: mailbox.address(),
                group: known.group,
                operations: operations.map(held).collect(),
                secret: self.disk.has_secret(known.group),
            });
        }
        for (sender, envelope) in self.disk.held() {
            self.chronicle.record(Fact::KeptBack { device: mailbox.address(), sender, envelope });
        }
        self.chronicle.record(Fact::Resource {
            owner: format!("device {}", mailbox.address()),
            name: "group changes without an outcome".to_owned(),
            value: self.groups.changes.len() as u64,
            bound: 0,
        });
        Ok(())
    }

    /// What the rules forbid is no fault.
    fn asked_for(
        &mut self,
        asked: Result<ChangeId, GroupError>,
        outside: &mut Outside<'_>,
    ) -> Result<(), Fault> {
        match asked {
            Ok(change) => self.groups.changes.insert(change),
            Err(GroupError::Fault(fault)) => panic!("an engine failed at a group: {fault}"),
            Err(_) => return Ok(()),
        };
        self.turn_done(outside)
    }
}
