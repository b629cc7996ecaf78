//! The largest group there can be, 1,024 accounts with 2,500 devices: one person has an engine, and all others are
//! ready-made devices that only open what they are sent.

use crate::{
    server::{self, Account, Server},
    world::{START, World},
};
use client::{GroupCommand, GroupError};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use seal::{Arrival, Body, Content, DecryptError, DecryptFailure, Peer, SealKind, memory::MemoryStore};
use std::collections::{BTreeMap, BTreeSet};
use testkit::people::{Device, Person, crowd};
use types::{
    AccountId, DeviceAddress, GroupId, MailboxId, Timestamp,
    limits::{GROUP_MEMBERS_MAX, REQUESTS_UNANSWERED_MAX},
};
use wire::{GroupSend, Send};

const DEVICES: usize = 2_500;

type Crowd = Vec<(&'static Person, usize)>;

/// A world with one engine, and so many others on its server.
fn world_with(people: usize, devices: usize) -> (World, Crowd) {
    let mut world = World::new(1);
    let crowd = crowd(people, devices);
    for (person, devices) in &crowd {
        world.server.admit(person, *devices, START);
    }
    world.settle();
    (world, crowd)
}

fn ids(crowd: &[(&Person, usize)]) -> Vec<AccountId> {
    crowd.iter().map(|(person, _)| person.id()).collect()
}

fn mailboxes(crowd: &[(&Person, usize)]) -> BTreeSet<MailboxId> {
    crowd.iter().flat_map(|(person, devices)| person.devices(*devices)).map(Device::mailbox).collect()
}

impl Server {
    /// Gives a ready-made person an account with so many devices, which never connect.
    pub fn admit(&mut self, person: &Person, devices: usize, now: Timestamp) {
        let list = person.list(1, devices, now);
        let devices = person.devices(devices).into_iter();
        let devices =
            devices.map(|device| (device.address().device, server::Device::new([0; 32], device.upload())));
        let account = Account { list, closed: false, devices: devices.collect() };
        self.accounts.insert(person.id(), account);
    }
}

impl World {
    fn create_with(&mut self, members: &[AccountId]) -> Result<GroupId, GroupError> {
        let now = self.now;
        let change =
            self.people[0].with_rng(|engine, rng| engine.create_group("Everybody", members, now, rng))?;
        self.poll(0);
        self.run();
        self.outcome(0, change).unwrap()
    }

    /// Sends a text to the group; gives what left for it: the distributions, and the one ciphertext.
    fn send_and_watch(&mut self, group: GroupId, text: &str) -> (Vec<Send>, GroupSend) {
        let before: BTreeSet<_> = self.server.record.keys().copied().collect();
        let tries = self.server.groups.tries;
        self.send_group(0, group, text);
        self.run();
        assert_eq!(self.server.groups.tries, tries + 1, "one encryption for all");
        let parcels = self.server.record.iter().filter(|(key, _)| !before.contains(key));
        let parcels = parcels.map(|(_, recorded)| recorded.send.clone()).collect();
        let sent = self.server.groups.sent.values().max_by_key(|(_, stamp)| *stamp).unwrap();
        (parcels, sent.0.clone())
    }
}

/// The devices that distributions went to; none of them twice.
fn recipients(parcels: &[Send]) -> BTreeSet<MailboxId> {
    let all: Vec<MailboxId> = parcels.iter().flat_map(|send| &send.sealed).map(|sealed| sealed.to).collect();
    let different: BTreeSet<MailboxId> = all.iter().copied().collect();
    assert_eq!(all.len(), different.len(), "a device was given the key twice");
    different
}

/// A member's device that opens what comes from the engine.
struct Reader {
    store: MemoryStore,
    address: DeviceAddress,
    sender: Peer,
    group: GroupId,
}

impl Reader {
    fn new(device: &Device, world: &World, group: GroupId) -> Self {
        let list = &world.server.accounts[&world.account(0)].list;
        let sender = Peer::on_list(list, types::DeviceNumber::PRIMARY).unwrap();
        Self { store: device.store(), address: device.address(), sender, group }
    }

    /// Opens the distribution that is for this device, if there is one, and takes the key in.
    fn take_key(&mut self, parcels: &[Send]) {
        let mut sealed = parcels.iter().flat_map(|send| &send.sealed);
        let Some(sealed) = sealed.find(|sealed| sealed.to.address() == self.address) else { return };
        let kind = match sealed.kind {
            wire::EnvelopeKind::Prekey => SealKind::Prekey,
            _ => SealKind::Ratchet,
        };
        let content = self.open(kind, &sealed.ciphertext, None).unwrap();
        let Body::SenderKeyDistribution(given) = content.body else { panic!("a parcel with something else") };
        assert_eq!(given.group, self.group);
        seal::process_distribution(&mut self.store, &self.sender, self.group, &given.distribution).unwrap();
    }

    fn read(&mut self, sent: &GroupSend) -> Result<String, DecryptFailure> {
        let content = self.open(SealKind::SenderKey, &sent.ciphertext, Some(self.group))?;
        let Body::Text(text) = content.body else { panic!("not a text") };
        Ok(text.text)
    }

    fn open(
        &mut self,
        kind: SealKind,
        ciphertext: &[u8],
        group: Option<GroupId>,
    ) -> Result<Content, DecryptFailure> {
        let (from, listed) = (self.sender.address(), Some(self.sender));
        let arrival = Arrival { from, to: self.address, kind, ciphertext, listed, group };
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        match seal::decrypt(&mut self.store, &arrival, &mut rng) {
            Ok(opened) => opened.verify(Some(&self.sender)),
            Err(DecryptError::Refused(failure)) => Err(failure),
            Err(DecryptError::Store(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn a_message_to_1024_people_is_encrypted_once_and_whoever_was_removed_opens_no_other() {
    let (mut world, mut members) = world_with(GROUP_MEMBERS_MAX, DEVICES);
    let late = members.pop().unwrap();
    let group = world.create_with(&ids(&members)).unwrap();
    assert_eq!(world.info(0, group).members.len(), GROUP_MEMBERS_MAX);

    let (parcels, first) = world.send_and_watch(group, "first");
    assert_eq!(recipients(&parcels), mailboxes(&members));
    // Every hundredth device opens it, and the one who leaves.
    let leaver = members[500];
    let devices = members.iter().flat_map(|(person, devices)| person.devices(*devices));
    let mut readers: BTreeMap<_, _> = devices
        .step_by(100)
        .chain([leaver.0.primary()])
        .map(|device| (device.address(), Reader::new(device, &world, group)))
        .collect();
    for reader in readers.values_mut() {
        reader.take_key(&parcels);
        assert_eq!(reader.read(&first).as_deref(), Ok("first"));
    }

    let (parcels, second) = world.send_and_watch(group, "second");
    assert!(parcels.is_empty(), "everybody has the key");
    readers.values_mut().for_each(|reader| assert_eq!(reader.read(&second).as_deref(), Ok("second")));

    world.change(0, group, GroupCommand::Remove(vec![leaver.0.id()])).unwrap();
    members.remove(500);
    let (parcels, third) = world.send_and_watch(group, "third");
    assert_eq!(recipients(&parcels), mailboxes(&members), "a new key, for all who are left");
    for (address, reader) in &mut readers {
        reader.take_key(&parcels);
        let gone = address.account == leaver.0.id();
        assert_eq!(reader.read(&third).is_ok(), !gone, "{address:?}");
    }

    world.change(0, group, GroupCommand::Add(vec![late.0.id()])).unwrap();
    let (parcels, fourth) = world.send_and_watch(group, "fourth");
    assert_eq!(recipients(&parcels), mailboxes(&[late]), "the key stays, and the new one gets it, too");
    let mut newcomer = Reader::new(late.0.primary(), &world, group);
    newcomer.take_key(&parcels);
    assert_eq!(newcomer.read(&fourth).as_deref(), Ok("fourth"));
    assert!(newcomer.read(&third).is_err(), "what was sent before");
}

#[test]
fn no_more_is_asked_at_once_than_a_server_takes() {
    const STRANGERS: usize = 2 * REQUESTS_UNANSWERED_MAX;
    let (mut world, strangers) = world_with(STRANGERS, STRANGERS);
    let now = world.now;
    for account in ids(&strangers) {
        world.people[0].with_rng(|engine, rng| engine.fetch_device_lists(&[account], now, rng)).unwrap();
    }
    world.poll(0);
    // The wires count what is unanswered.
    world.run();
    for account in ids(&strangers) {
        assert!(world.people[0].engine().view().safety(account).unwrap().is_some());
    }
}

#[test]
fn the_1025th_member_is_refused_and_nothing_is_changed() {
    let (mut world, members) = world_with(GROUP_MEMBERS_MAX, GROUP_MEMBERS_MAX);
    assert_eq!(world.create_with(&ids(&members)), Err(GroupError::TooManyMembers { members: 1_025 }));
    let (last, rest) = members.split_last().unwrap();
    let group = world.create_with(&ids(rest)).unwrap();
    let add = GroupCommand::Add(vec![last.0.id()]);
    assert_eq!(world.change(0, group, add), Err(GroupError::TooManyMembers { members: 1_025 }));
    let state = world.chain(group).state();
    assert_eq!((state.epoch(), state.members().len()), (0, GROUP_MEMBERS_MAX));
}
