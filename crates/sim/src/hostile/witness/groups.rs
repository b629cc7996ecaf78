//! What is judged in a group: what its members hold for its chain, for whom they encrypt, and what they show.

use super::{Property, Witness};
use crate::hostile::{device::Device, forger, office::Office};
use seal::{Arrival, SealKind};
use signed::{GroupState, SignedOperation};
use std::collections::{BTreeMap, BTreeSet};
use types::{GroupId, MailboxId, MessageId, Millis, Stamp};
use wire::{GroupSend, Send};

/// A message that was admitted before its writer left may stand so far behind the end: see "Groups" in the protocol.
const ADMITTED_LATE_MAX: Millis = Millis::from_secs(30);

type Hash = [u8; 32];

/// What is known of the one group of a schedule.
#[derive(Default)]
pub(super) struct GroupFacts {
    group: Option<GroupId>,
    /// What engines signed, and what the chain is after it where somebody took it in.
    made: BTreeMap<Hash, SignedOperation>,
    states: BTreeMap<Hash, GroupState>,
    chains: BTreeMap<MailboxId, Vec<Hash>>,
    /// On which heads each message was encrypted: several if it was refused and encrypted again.
    sent: BTreeMap<MessageId, BTreeSet<(u64, Hash)>>,
    pub(super) splits: BTreeSet<MailboxId>,
    /// A removed device has changed the group, with the server's help.
    is_torn: bool,
    /// How long the chain of each device was when it was looked at before.
    known: BTreeMap<MailboxId, usize>,
}

impl Witness {
    /// The group, once there is one.
    pub const fn group(&self) -> Option<GroupId> {
        self.groups.group
    }

    /// What the chain of a device comes to.
    pub fn state(&self, of: MailboxId) -> Option<&GroupState> {
        self.groups.states.get(self.groups.chains.get(&of)?.last()?)
    }

    /// An operation left a device.
    pub(super) fn changes(&mut self, by: MailboxId, operation: &[u8]) {
        // Who knows of the removal will never take it in, so the group is in two parts from here on.
        self.groups.is_torn |= self.is_former(by);
        let operation = SignedOperation::verify(operation).expect("an engine signs good operations");
        self.groups.group.get_or_insert(operation.group());
        self.groups.made.insert(operation.hash(), operation);
    }

    /// Remembers how much of the chain a device knew before what it shows now.
    pub(super) fn remember_known(&mut self, device: &Device) {
        let known = self.groups.chains.get(&device.mailbox).map_or(0, Vec::len);
        self.groups.known.insert(device.mailbox, known);
    }

    /// Looks at the chain that a device has now.
    pub(super) fn follow(&mut self, device: &Device) {
        let Some(group) = self.groups.group else { return };
        let chain = device.disk.chain(group);
        let before = self.groups.chains.get(&device.mailbox).map_or(0, Vec::len);
        let grew = self.groups.chains.get(&device.mailbox).is_none_or(|known| chain.starts_with(known));
        self.judge(Property::ChainTrue, grew, || {
            format!("{:?} has another chain than before", device.mailbox)
        });
        for at in before.min(chain.len())..chain.len() {
            let is_true = self.take_in(chain[..at].last(), &chain[at]);
            self.judge(Property::ChainTrue, is_true, || {
                format!("{:?} took in a forged operation at epoch {at}", device.mailbox)
            });
        }
        self.groups.chains.insert(device.mailbox, chain);
    }

    /// Whether somebody who may has signed what stands there.
    fn take_in(&mut self, previous: Option<&Hash>, hash: &Hash) -> bool {
        if self.groups.states.contains_key(hash) {
            return true;
        }
        let Some(operation) = self.groups.made.get(hash) else { return false };
        let state = match previous {
            None => GroupState::found(operation),
            Some(previous) => match self.groups.states.get(previous) {
                Some(state) => state.apply(operation),
                None => return false,
            },
        };
        let is_good = state.is_ok();
        self.groups.states.extend(state.ok().map(|state| (*hash, state)));
        is_good
    }

    /// A key, or a group's secret, is sealed for somebody.
    pub(super) fn gives_key(&mut self, device: &Device, send: &Send) {
        if self.groups.group.is_none() {
            return;
        }
        let Some(member) = device.disk.parcel_for(send.envelope_id) else { return };
        self.follow(device);
        let state = self.state(device.mailbox);
        let is_member = |account| state.is_some_and(|state| state.members().contains_key(&account));
        // Our own other devices are named in what history shows, and get nothing of it.
        let own = device.mailbox.account;
        let holds = is_member(member)
            && send.sealed.iter().all(|sealed| sealed.to.account == member || sealed.to.account == own);
        self.judge(Property::NothingForOutsiders, holds, || {
            format!("{:?} gives a key of the group to {member}, who is not in it", device.mailbox)
        });
    }

    /// A message to the group leaves: nobody else opens it, with all the keys that they ever got.
    pub(super) fn sends(&mut self, devices: &[Device], at: usize, send: &GroupSend) {
        let device = &devices[at];
        self.follow(device);
        if let Some(message) = device.disk.posted(send.envelope_id).and_then(|posted| posted.message) {
            self.groups.sent.entry(message).or_default().insert((send.epoch, send.head));
        }
        let state = self.groups.states.get(&send.head).filter(|state| state.epoch() == send.epoch).cloned();
        self.judge(Property::ChainTrue, state.is_some(), || {
            format!("{:?} wrote on head {} that nobody has", device.mailbox, send.epoch)
        });
        let Some(state) = state else { return };
        for other in devices.iter().filter(|one| !state.members().contains_key(&one.mailbox.account)) {
            let key = other.disk.sender_key(send.group, device.mailbox.address());
            let row = Arrival {
                from: device.mailbox.address(),
                to: other.mailbox.address(),
                kind: SealKind::SenderKey,
                ciphertext: &send.ciphertext,
                listed: None,
                group: Some(send.group),
            };
            let opens = key.is_some_and(|key| forger::opens_with(&key, &row));
            self.judge(Property::NothingForOutsiders, !opens, || {
                format!("{:?} opens what {:?} wrote on epoch {}", other.mailbox, device.mailbox, send.epoch)
            });
        }
    }

    /// A message of the group is shown: it was written on the very chain that its reader has.
    pub(super) fn shown_in_group(&mut self, device: &Device, message: MessageId, sender: MailboxId) {
        self.follow(device);
        let Some(heads) = self.groups.sent.get(&message).cloned() else { return };
        let chain = self.groups.chains.get(&device.mailbox).cloned().unwrap_or_default();
        let on_chain: Vec<_> =
            heads.iter().filter(|(epoch, head)| chain.get(*epoch as usize) == Some(head)).collect();
        self.judge(Property::ForksFound, !on_chain.is_empty(), || {
            format!("{:?} showed message {message}, written on a chain that it has not", device.mailbox)
        });
        let was_member = |(_, head): &&(u64, Hash)| {
            self.groups.states.get(head).is_some_and(|state| state.members().contains_key(&sender.account))
        };
        let by_member = on_chain.is_empty() || on_chain.iter().any(was_member);
        self.judge(Property::NothingForged, by_member, || {
            format!("{:?} showed message {message} of {sender:?}, who was not in the group", device.mailbox)
        });
    }

    /// Whether an account was in the group from the first epoch on, as far as this device knows.
    pub(super) fn was_always_in(&self, reader: MailboxId) -> bool {
        let chain = self.groups.chains.get(&reader).filter(|chain| !chain.is_empty());
        chain.is_some_and(|chain| {
            let mut states = chain.iter().filter_map(|head| self.groups.states.get(head));
            states.all(|state| state.members().contains_key(&reader.account))
        })
    }

    /// Whether a message was encrypted on the chain that this device has.
    pub(super) fn was_meant_in_group(&self, reader: MailboxId, message: MessageId) -> bool {
        let heads = self.groups.sent.get(&message).into_iter().flatten();
        let Some(chain) = self.groups.chains.get(&reader) else { return false };
        heads.into_iter().any(|(epoch, head)| chain.get(*epoch as usize) == Some(head))
    }

    /// A message of a member who left is shown: it was stamped before they did or shortly after, as far as its reader
    /// knew.
    pub(super) fn stamped_in_time(
        &mut self,
        device: &Device,
        group: GroupId,
        message: MessageId,
        stamp: Stamp,
    ) {
        let Some(writer) = self.written.get(&message).map(|one| one.sender.account) else { return };
        let known = self.groups.known.get(&device.mailbox).copied().unwrap_or(0);
        let Some(chain) = self.groups.chains.get(&device.mailbox) else { return };
        let is_in = |at: usize| {
            let state = chain.get(at).and_then(|head| self.groups.states.get(head));
            state.is_some_and(|state| state.members().contains_key(&writer))
        };
        // The end of the membership in which it was written.
        let heads = self.groups.sent.get(&message).into_iter().flatten();
        let written_at =
            heads.filter(|(epoch, head)| chain.get(*epoch as usize) == Some(head)).map(|(epoch, _)| *epoch);
        let Some(written_at) = written_at.max() else { return };
        let Some(ended) = (written_at as usize + 1..known.min(chain.len())).find(|at| !is_in(*at)) else {
            return;
        };
        let Some(end) = device.disk.operation_stamp(group, ended as u64) else { return };
        let in_time = stamp.time() <= end.time() + ADMITTED_LATE_MAX;
        self.judge(Property::NothingFromRemoved, in_time, || {
            format!("{:?} shows message {message} of {writer}, stamped after its removal", device.mailbox)
        });
    }

    /// Judges the last words in the group: they arrive on one chain, and show that there are two.
    pub fn conclude_group(&mut self, devices: &[Device], words: &[(MessageId, usize)], office: &Office) {
        for device in devices {
            self.follow(device);
        }
        for (message, from) in words {
            let writer = devices[*from].mailbox;
            let is_served = self.is_served(writer, office);
            for reader in devices.iter().map(|reader| reader.mailbox) {
                if reader != writer && !self.is_former(reader) {
                    self.conclude_word(*message, (writer, is_served), reader);
                }
            }
        }
    }

    /// Whether the server has for a device's account the very chain that the device has. Who came by an operation of the
    /// other side of a fork, by a row that was given to the wrong device, is refused for as long as the fork lasts, also
    /// by a server that has turned honest: the fork was shown to it, and nothing else can be done.
    fn is_served(&self, device: MailboxId, office: &Office) -> bool {
        let Some(group) = self.groups.group.and_then(|group| office.groups.get(&group)) else { return false };
        let served: Vec<Hash> = group.chain(device.account).heads().map(|head| head.head).collect();
        self.groups.chains.get(&device).is_some_and(|chain| *chain == served)
    }

    fn conclude_word(
        &mut self,
        message: MessageId,
        (writer, is_served): (MailboxId, bool),
        reader: MailboxId,
    ) {
        let facts = &self.groups;
        let (Some(theirs), Some(own)) = (facts.chains.get(&writer), facts.chains.get(&reader)) else {
            return;
        };
        let Some(state) = self.state(reader) else { return };
        let both_are_in =
            state.members().contains_key(&reader.account) && state.members().contains_key(&writer.account);
        if !both_are_in {
            return;
        }
        if theirs == own && !facts.is_torn {
            if !is_served {
                return;
            }
            let came = self.shown.contains(&(reader, message));
            return self.judge(Property::Heals, came, || {
                format!("{reader:?} never saw message {message} of {writer:?} in the group")
            });
        }
        let crossed = facts.sent.get(&message).into_iter().flatten().any(|(epoch, head)| {
            let state = facts.states.get(head);
            own.get(*epoch as usize) != Some(head)
                && state.is_some_and(|state| state.members().contains_key(&reader.account))
        });
        if crossed {
            let found = facts.splits.contains(&reader);
            self.judge(Property::ForksFound, found, || {
                format!("{reader:?} got message {message} of {writer:?} from another chain, and is silent")
            });
        }
    }
}
