//! Members with several devices: all of them read and write, and one that is gone does neither.

use crate::{
    groups_world::{encrypted_to, secrets},
    world::World,
};
use client::{Effect, Event, GroupCommand};
use seal::{ArchiveId, ArchiveKey, DeviceSecrets, archive::PartSealer};
use signed::{
    AccountSecret, DeviceCertificate, DeviceListDraft, DeviceSecret, GroupChange, GroupState, ListedDevice,
    SignedOperation,
    group::{OperationDraft, OperationId},
};
use types::{AccountId, DeviceAddress, DeviceNumber, GroupId, Millis, RegistrationId};
use wire::{Code, Refusal};

#[test]
fn every_device_of_a_member_reads_and_writes() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "before");
    world.settle();
    let linked = world.link_device(0);
    world.settle();
    for (who, text) in [(1, "one"), (0, "two")] {
        world.send_group(who, group, text);
        world.settle();
    }
    assert_eq!(world.group_texts(linked, group), ["one", "two"], "a new device has the keys from now on");
    world.send_group(linked, group, "three");
    world.settle();
    for who in 0..3 {
        assert_eq!(world.group_texts(who, group), ["before", "one", "two", "three"]);
    }
    world.unlink_device(0, DeviceNumber::new(2).unwrap());
    world.settle();
    for who in [0, 1] {
        world.send_group(who, group, "without it");
        world.pass(Millis::from_secs(10));
    }
    assert_eq!(world.group_texts(2, group).len(), 6);
    assert_eq!(world.group_texts(linked, group).len(), 3, "nothing came after it was gone");
}

#[test]
fn a_message_that_waits_for_the_groups_secret_leaves_once_an_archive_brings_it() {
    let (mut world, group) = World::with_group(3);
    let linked = world.link_device(0);
    world.settle();
    world.send_group(1, group, "one");
    world.settle();
    let (archive, key) = ([7; 16], [8; 32]);
    let mut part = Vec::new();
    world.with_database(linked, |database| {
        let sql = "SELECT secret FROM group_chain";
        let secret: [u8; 32] = database.query_row(sql, [], |row| row.get(0)).unwrap();
        part = sealed_part(archive, key, group, &secret);
        database.execute("UPDATE group_chain SET secret = NULL, name = NULL", []).unwrap();
        let sql = "INSERT INTO history_import (archive, key) VALUES (?1, ?2)";
        database.execute(sql, rusqlite::params![archive, key]).unwrap();
        let sql =
            "INSERT INTO history_import_part (archive, part, blob, size, digest) VALUES (?1, 0, ?2, ?3, ?4)";
        let digest = seal::archive::digest(&part);
        database.execute(sql, rusqlite::params![archive, [9_u8; 16], part.len() as i64, digest]).unwrap();
    });
    world.connect(linked);
    world.run();
    let sent = world.server.groups.sent.len();
    world.send_group(linked, group, "two");
    world.run();
    assert_eq!(world.server.groups.sent.len(), sent, "nobody could be given what opens the group's name");
    let download = world.people[linked].effects.iter().rev().find_map(|effect| match effect {
        Effect::Download { transfer, .. } => Some(*transfer),
        _ => None,
    });
    let downloaded = Event::Downloaded { transfer: download.unwrap(), result: Some(part.into()) };
    world.handle(linked, downloaded);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.group_texts(1, group), ["one", "two"]);
}

/// The only part of an archive, with nothing in it but a group's secret.
fn sealed_part(archive: [u8; 16], key: [u8; 32], group: GroupId, secret: &[u8; 32]) -> Vec<u8> {
    // `ArchiveRecord.group`, with the group's id and its secret, after its length.
    let record = [&[54, 0x32, 52, 0x0a, 16], group.as_bytes().as_slice(), &[0x12, 32], secret].concat();
    let (archive, key) = (ArchiveId::from_slice(&archive).unwrap(), ArchiveKey::from_slice(&key).unwrap());
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(78);
    PartSealer::new(key, archive).seal(&record, true, &mut rng).unwrap()
}

/// Gives a person's first device another life: the old device key is on no list any more.
fn replace_device(world: &mut World, who: usize) {
    let (account, _) = secrets(world, who);
    let id = world.account(who);
    let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::seed_from_u64(77);
    let new = DeviceSecrets::generate(&mut rng);
    let registration = RegistrationId::new(9_999).unwrap();
    let secret = DeviceSecret::from_bytes(new.device_key_seed.expose());
    let device = ListedDevice::sign(id, DeviceNumber::PRIMARY, registration, *new.identity.public(), &secret);
    let version = world.server.accounts[&id].list.version() + 1;
    let draft =
        DeviceListDraft { version, issued_at: world.now, devices: vec![device], sealed_names: Vec::new() };
    world.server.accounts.get_mut(&id).unwrap().list = draft.sign(&account).unwrap();
}

fn signed_by(
    secrets: &(AccountSecret, DeviceSecret),
    state: &GroupState,
    change: GroupChange,
    world: &World,
) -> SignedOperation {
    signed_by_device(DeviceNumber::PRIMARY, secrets, state, change, world)
}

fn signed_by_device(
    number: DeviceNumber,
    secrets: &(AccountSecret, DeviceSecret),
    state: &GroupState,
    change: GroupChange,
    world: &World,
) -> SignedOperation {
    let draft = OperationDraft {
        follows: Some(state.follows()),
        id: OperationId([99; 16]),
        actor_key: secrets.0.public(),
        certificate: DeviceCertificate::sign(&secrets.0, number, secrets.1.public()),
        at: world.now,
        change,
    };
    draft.sign(&secrets.1).unwrap()
}

#[test]
fn what_a_removed_device_signs_is_refused_by_those_who_know() {
    let (mut world, group): (World, GroupId) = World::with_group(3);
    let ghost = world.register();
    world.settle();
    let old = secrets(&mut world, 0);
    replace_device(&mut world, 0);
    world.connect(1);
    world.connect(2);
    world.run();
    // Person 1 learns of it by sending; person 2 has heard nothing.
    world.send_group(1, group, "who is there?");
    world.pass(Millis::from_secs(5));
    let state = world.chain(group).state().clone();
    let ghost = world.account(ghost);
    let operation = signed_by(&old, &state, GroupChange::Add([ghost].into()), &world);
    let stamp = world.server.next_stamp(None);
    for who in [1, 2] {
        let account = world.account(who);
        world.server.inject_operation(account, &operation, stamp);
    }
    world.pass(Millis::from_secs(5));
    assert_eq!((world.info(1, group).members.len(), world.forks(1, group)), (3, 1));
    assert_eq!((world.info(2, group).members.len(), world.forks(2, group)), (4, 0));
    world.pass(Millis::from_mins(5));
    assert!(!encrypted_to(&world, 1).contains(&ghost));
}

#[test]
fn what_a_device_signed_before_it_was_removed_counts_for_who_hears_of_it_later() {
    let (mut world, group): (World, GroupId) = World::with_group(3);
    world.send(1, 0, "hello");
    world.settle();
    // The row never comes: it was skipped, or has expired.
    let behind = world.account(1);
    world.server.groups.no_rows.insert(behind);
    world.change(0, group, GroupCommand::Rename("While it was listed".to_owned())).unwrap();
    let old = secrets(&mut world, 0);
    replace_device(&mut world, 0);
    world.connect(1);
    world.connect(2);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.info(1, group).epoch, 0);
    // Person 1 learns of the new list long after the drain, and by a chat that is not the group's.
    world.send(1, 0, "who is there?");
    world.pass(Millis::from_secs(5));
    world.send_group(1, group, "still here");
    world.pass(Millis::from_secs(5));
    assert_eq!((world.info(1, group).epoch, world.forks(1, group)), (1, 0));
    // From then on it is another's word.
    let state = world.chain(group).state().clone();
    let operation = signed_by(&old, &state, GroupChange::SetInfo(b"after".to_vec()), &world);
    let stamp = world.server.next_stamp(None);
    world.server.inject_operation(behind, &operation, stamp);
    world.pass(Millis::from_secs(5));
    assert_eq!((world.info(1, group).epoch, world.forks(1, group)), (1, 1));
}

/// The account secret of a primary with the device secret of another device of its account.
fn secrets_of_linked(world: &mut World, primary: usize, linked: usize) -> (AccountSecret, DeviceSecret) {
    let (account, _) = secrets(world, primary);
    let mut seed = None;
    world.with_database(linked, |database| {
        seed = Some(database.query_row("SELECT device_secret FROM profile", [], |row| row.get(0)).unwrap());
    });
    (account, DeviceSecret::from_bytes(&seed.unwrap()))
}

/// The number of the first device that is linked.
fn second() -> DeviceNumber {
    DeviceNumber::new(2).unwrap()
}

#[test]
fn what_a_removed_device_does_counts_on_the_primary_no_more() {
    let (mut world, group) = World::with_group(3);
    let linked = world.link_device(0);
    world.settle();
    for who in [0, linked, 0] {
        world.send_group(who, group, "listed");
        world.settle();
    }
    // What it still sends is kept back until it is removed.
    world.server.groups.swallow = 1;
    world.send_group(linked, group, "kept back");
    world.run();
    let old = secrets_of_linked(&mut world, 0, linked);
    world.connect(0);
    world.run();
    let key = own_key(&mut world, 0);
    world.connect(0);
    world.remove_device(0, second());
    world.pass(Millis::from_secs(5));
    world.send_group(0, group, "without it");
    world.pass(Millis::from_secs(5));
    assert_eq!(own_key(&mut world, 0), key + 1, "it has the key from before");

    world.connect(0);
    let me = world.account(0);
    let sent: Vec<_> = world.server.groups.sent.values().cloned().collect();
    for (send, _) in sent {
        let stamp = world.server.next_stamp(None);
        world.server.inject_from(DeviceAddress::new(me, second()), me, &send, stamp);
    }
    let state = world.chain(group).state().clone();
    let ghost = world.register();
    let ghost = world.account(ghost);
    let operation = signed_by_device(second(), &old, &state, GroupChange::Add([ghost].into()), &world);
    let stamp = world.server.next_stamp(None);
    world.server.inject_operation(me, &operation, stamp);
    world.pass(Millis::from_mins(2));
    assert_eq!(world.group_texts(0, group), ["listed", "listed", "listed", "without it"]);
    assert_eq!((world.info(0, group).members.len(), world.forks(0, group)), (3, 1));
}

/// The number of a person's present sender key.
fn own_key(world: &mut World, who: usize) -> i64 {
    let mut number = None;
    world.with_database(who, |database| {
        number = Some(database.query_row("SELECT number FROM own_sender_key", [], |row| row.get(0)).unwrap());
    });
    number.unwrap()
}

/// A group of three, and a fourth person, a device of whom was removed before they are in any group. The second person
/// knows of it.
fn with_former_device() -> (World, GroupId, usize, (AccountSecret, DeviceSecret)) {
    let (mut world, group) = World::with_group(3);
    let late = world.register();
    let laptop = world.link_device(late);
    world.settle();
    world.send(1, late, "to both");
    world.settle();
    let old = secrets_of_linked(&mut world, late, laptop);
    world.unlink_device(late, second());
    world.people[laptop].account = world.account(late);
    for who in 0..=late {
        world.connect(who);
    }
    world.send(1, late, "to the one that is left");
    world.pass(Millis::from_secs(5));
    (world, group, late, old)
}

/// The former device lets its account leave a group, and the server brings it to these people: the members that they
/// see then.
fn members_after_former_device_leaves(
    world: &mut World,
    group: GroupId,
    old: &(AccountSecret, DeviceSecret),
    who: &[usize],
) -> Vec<usize> {
    let state = world.chain(group).state().clone();
    let operation = signed_by_device(second(), old, &state, GroupChange::Leave, world);
    let stamp = world.server.next_stamp(None);
    for who in who {
        let account = world.account(*who);
        world.server.inject_operation(account, &operation, stamp);
    }
    world.pass(Millis::from_secs(5));
    who.iter().map(|who| world.info(*who, group).members.len()).collect()
}

#[test]
fn a_device_that_was_removed_before_its_account_was_added_signs_nothing() {
    let (mut world, group, late, old) = with_former_device();
    world.add(0, group, late).unwrap();
    world.pass(Millis::from_secs(5));
    assert_eq!(world.info(1, group).members.len(), 4);
    // The third person has never heard of the device, and nothing tells it that there is less than what is signed.
    let seen = members_after_former_device_leaves(&mut world, group, &old, &[1, 2]);
    assert_eq!(seen, [4, 3]);
    assert_eq!(world.forks(1, group), 1);
}

#[test]
fn a_device_that_was_removed_before_a_group_was_made_signs_nothing() {
    let (mut world, _, late, old) = with_former_device();
    let group = world.create(0, "Later", &[1, 2, late]).unwrap();
    world.pass(Millis::from_secs(5));
    let seen = members_after_former_device_leaves(&mut world, group, &old, &[1, 2]);
    assert_eq!(seen, [4, 3]);
}

/// A group whose first member's laptop was removed while the second one was away, and the laptop's `Add` of a ghost,
/// signed after that.
fn with_forged_add() -> (World, GroupId, AccountId, SignedOperation) {
    let (mut world, group) = World::with_group(3);
    let ghost = world.register();
    let laptop = world.link_device(0);
    world.settle();
    world.send_group(1, group, "to all of them");
    world.settle();
    let old = secrets_of_linked(&mut world, 0, laptop);
    world.disconnect(1);
    world.connect(0);
    world.run();
    world.remove_device(0, second());
    assert_eq!(world.server.accounts[&world.account(0)].list.devices().len(), 1);
    let (state, ghost) = (world.chain(group).state().clone(), world.account(ghost));
    let add = signed_by_device(second(), &old, &state, GroupChange::Add([ghost].into()), &world);
    (world, group, ghost, add)
}

/// The second person hears of the list without the laptop, and then the server brings the operation as a row.
fn hear_and_bring(world: &mut World, add: &SignedOperation) {
    let (one, list) = (world.account(1), world.server.accounts[&world.account(0)].list.clone());
    let stamp = world.server.next_stamp(None);
    let row = wire::Envelope {
        envelope_id: types::EnvelopeId::from_bytes([55; 16]),
        from: DeviceAddress::new(list.account(), DeviceNumber::PRIMARY),
        to: world.server.mailbox_of(one),
        kind: wire::EnvelopeKind::DeviceList,
        urgency: wire::Urgency::Silent,
        stamp,
        ciphertext: list.as_bytes().to_vec().into(),
        group: None,
    };
    world.server.inject(one, &row);
    let stamp = world.server.next_stamp(None);
    world.server.inject_operation(one, add, stamp);
    world.connect(1);
    world.pass(Millis::from_secs(5));
}

#[test]
fn a_former_device_counts_in_no_row_even_before_the_chain_was_fetched() {
    let (mut world, group, ghost, add) = with_forged_add();
    // An answer that never comes in time: the group waits, and nothing is believed meanwhile.
    let later = || Refusal::retry_after(Millis::from_mins(2));
    world.server.refusals.extend(std::iter::repeat_with(|| ("get_group", later())).take(3));
    hear_and_bring(&mut world, &add);
    assert_eq!(world.info(1, group).members.len(), 3);
    world.send_group(1, group, "not before it is known who reads it");
    world.pass(Millis::from_secs(30));
    assert!(world.group_texts(0, group).iter().all(|text| text != "not before it is known who reads it"));
    world.pass(Millis::from_mins(10));
    assert!(world.group_texts(0, group).contains(&"not before it is known who reads it".to_owned()));
    assert!(!encrypted_to(&world, 1).contains(&ghost));
    assert_eq!((world.info(1, group).members.len(), world.forks(1, group)), (3, 0));
}

#[test]
fn a_server_that_gives_no_chain_keeps_no_former_device_alive() {
    for lie in [Lie::NoSuchGroup, Lie::AlwaysMore] {
        let (mut world, group, ghost, add) = with_forged_add();
        match lie {
            Lie::NoSuchGroup => {
                world.server.refusals.push_back(("get_group", Refusal::new(Code::NoSuchGroup)));
            }
            Lie::AlwaysMore => world.server.groups.always_more = true,
        }
        hear_and_bring(&mut world, &add);
        // Now the server gives the very operation wherever it is asked.
        let (state, stamp) = (world.chain(group).state().clone(), world.server.next_stamp(None));
        world.server.append_operation(add.clone(), Some(&state), state.apply(&add).unwrap(), stamp);
        world.pass(Millis::from_secs(5));
        world.send_group(1, group, "to whom?");
        world.pass(Millis::from_mins(2));
        assert_eq!(world.info(1, group).members.len(), 3, "{lie:?}");
        assert!(!encrypted_to(&world, 1).contains(&ghost), "{lie:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Lie {
    NoSuchGroup,
    AlwaysMore,
}

#[test]
fn who_comes_back_believes_what_was_signed_while_they_were_away() {
    let (mut world, group) = World::with_group(4);
    let laptop = world.link_device(0);
    world.settle();
    world.send_group(1, group, "to all of them");
    world.send(3, 0, "hello");
    world.settle();
    world.remove(0, group, 3).unwrap();
    world.settle();
    // While the fourth is away the laptop changes something, and then it is removed.
    let old = secrets_of_linked(&mut world, 0, laptop);
    let state = world.chain(group).state().clone();
    let promote = GroupChange::Promote([world.account(1)].into());
    let promote = signed_by_device(second(), &old, &state, promote, &world);
    let (after, stamp) = (state.apply(&promote).unwrap(), world.server.next_stamp(None));
    world.server.append_operation(promote.clone(), Some(&state), after, stamp);
    world.connect(0);
    world.pass(Millis::from_secs(5));
    world.remove_device(0, second());
    world.pass(Millis::from_secs(5));
    world.send(3, 0, "so I know of the list");
    world.pass(Millis::from_secs(5));
    // A row that is none of theirs lets them ask for the chain, of which they are given their end.
    let (away, stamp) = (world.account(3), world.server.next_stamp(None));
    world.server.inject_operation(away, &promote, stamp);
    world.pass(Millis::from_secs(5));
    world.add(0, group, 3).unwrap();
    world.pass(Millis::from_secs(5));
    world.send_group(3, group, "here again");
    world.pass(Millis::from_secs(10));
    assert_eq!((world.info(3, group).epoch, world.forks(3, group)), (3, 0));
    assert!(world.group_texts(1, group).contains(&"here again".to_owned()));
}

/// Links a device whose archive was cut at once.
fn link_after_cut(world: &mut World) -> usize {
    let linked = world.link_device(0);
    let (version, now) = (world.server.accounts[&world.account(0)].list.version(), world.now);
    world.with_database(0, |database| {
        let sql =
            "INSERT INTO handover (device, registration, list_version, accepted_at, with_messages, finished)
                   VALUES (2, 1, ?1, ?2, 0, 1)";
        let (version, now) = (version as i64, now.as_millis() as i64);
        database.execute(sql, [version, now]).unwrap();
    });
    linked
}

#[test]
fn what_was_accepted_before_the_list_and_came_after_the_cut_is_forwarded() {
    let (mut world, group) = World::with_group(3);
    world.disconnect(0);
    world.send_group(1, group, "just before");
    world.run();
    assert_eq!(world.server.groups.sent.len(), 1);
    let linked = link_after_cut(&mut world);
    world.settle();
    assert_eq!(world.group_texts(0, group), ["just before"]);
    assert_eq!(world.group_texts(linked, group), ["just before"]);
}

#[test]
fn what_was_held_at_the_cut_is_forwarded_once_it_opens() {
    let (mut world, group) = World::with_group(3);
    world.server.refusals.push_back(("send", Refusal::new(Code::MailboxFull)));
    world.server.refusals.push_back(("send", Refusal::new(Code::MailboxFull)));
    world.send_group(1, group, "no key yet");
    world.run();
    assert!(world.group_texts(0, group).is_empty());
    let linked = link_after_cut(&mut world);
    world.settle();
    assert_eq!(world.group_texts(0, group), ["no key yet"]);
    assert_eq!(world.group_texts(linked, group), ["no key yet"]);
}

#[test]
fn an_own_message_whose_answer_came_after_the_cut_is_handed_over() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "with an answer");
    world.settle();
    world.pass(Millis::from_secs(60));
    world.server.lies.push_back(("send_group", Refusal::new(Code::Unavailable)));
    world.send_group(0, group, "accepted, and nobody says so");
    world.run();
    assert!(world.server.lies.is_empty());
    let linked = link_after_cut(&mut world);
    world.settle();
    assert_eq!(world.group_texts(linked, group), ["accepted, and nobody says so"]);
}
