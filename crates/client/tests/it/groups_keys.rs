//! Sender keys: given before a message leaves, to nobody else, and replaced when somebody is gone.

use crate::{groups_world::secrets, world::World};
use client::{DeliveryState, EventView, testing::Bugs};
use signed::{DeviceList, DeviceListDraft};
use std::collections::BTreeSet;
use types::{AccountId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, Millis};
use wire::{Code, Envelope, Refusal, Urgency};

fn sends_of(world: &World, who: usize) -> BTreeSet<EnvelopeId> {
    let account = world.account(who);
    world
        .server
        .record
        .keys()
        .filter(|(from, _)| from.account == account)
        .map(|(_, envelope)| *envelope)
        .collect()
}

fn given_keys(world: &World, who: usize, known: &BTreeSet<EnvelopeId>) -> usize {
    sends_of(world, who).difference(known).count()
}

fn recipient_of(world: &World, who: usize, envelope: EnvelopeId) -> AccountId {
    let from = DeviceAddress::new(world.account(who), DeviceNumber::PRIMARY);
    world.server.record[&(from, envelope)].send.recipient
}

/// Whether somebody who was removed opens what is sent after that, if the server gives it to them.
fn opens_after_removal(bugs: Bugs) -> bool {
    let (mut world, group) = World::with_group(3);
    world.people[0].plant(bugs);
    world.send_group(0, group, "before");
    world.settle();
    assert_eq!(world.group_texts(2, group), ["before"]);
    world.remove(0, group, 2).unwrap();
    world.settle();
    world.send_group(0, group, "after");
    world.settle();
    assert_eq!(world.group_texts(1, group), ["before", "after"]);
    let (sender, removed) = (world.account(0), world.account(2));
    let sent: Vec<_> = world.server.groups.sent.values().cloned().collect();
    for (send, stamp) in sent {
        world.server.inject_message(sender, removed, &send, stamp);
    }
    world.settle();
    world.pass(Millis::from_mins(2));
    world.group_texts(2, group) != ["before"]
}

#[test]
fn who_was_removed_opens_nothing_that_is_sent_after() {
    assert!(!opens_after_removal(Bugs::default()));
    let kept = Bugs { keep_sender_key: true, ..Bugs::default() };
    assert!(opens_after_removal(kept), "a key that serves on would be found");
}

/// A key that the server has not confirmed is on its way when its reader is removed: it is not sent once more.
#[test]
fn a_key_that_was_sealed_before_a_removal_does_not_leave_after_it() {
    let (mut world, group) = World::with_group(3);
    world.server.refusals.extend(std::iter::repeat_n(("send", Refusal::new(Code::Unavailable)), 2));
    world.send_group(0, group, "for those who stay");
    world.run();
    assert!(world.server.refusals.is_empty(), "both keys were sealed, and refused for now");
    let known = sends_of(&world, 0);
    world.remove(0, group, 2).unwrap();
    world.settle();
    world.pass(Millis::from_mins(5));
    let removed = world.account(2);
    assert!(
        sends_of(&world, 0).difference(&known).all(|envelope| recipient_of(&world, 0, *envelope) != removed)
    );
    assert_eq!(world.group_texts(1, group), ["for those who stay"]);
}

/// What carried a key may be asked for again, but not by one who has left since.
#[test]
fn a_key_is_not_sealed_again_for_one_who_was_removed() {
    let (mut world, group) = World::with_group(3);
    let known = sends_of(&world, 0);
    world.server.swallow = 2;
    world.send_group(0, group, "before");
    world.run();
    world.remove(0, group, 2).unwrap();
    world.settle();
    // The server damages the key that it had kept back, so that it is asked for.
    let (sender, removed) = (world.account(0), world.account(2));
    let lost: Vec<_> = world
        .server
        .record
        .iter()
        .filter(|((from, envelope), recorded)| {
            from.account == sender && recorded.send.recipient == removed && !known.contains(envelope)
        })
        .map(|((from, envelope), recorded)| (*from, *envelope, recorded.clone()))
        .collect();
    assert_eq!(lost.len(), 1);
    for (from, envelope_id, recorded) in lost {
        let sealed = &recorded.send.sealed[0];
        let mut ciphertext = sealed.ciphertext.to_vec();
        // Within the message: what opens a session stands behind it, and is not looked at again.
        ciphertext[200] ^= 1;
        let damaged = Envelope {
            envelope_id,
            from,
            to: sealed.to,
            kind: sealed.kind,
            urgency: Urgency::Silent,
            stamp: recorded.stamp,
            ciphertext: ciphertext.into(),
            group: None,
        };
        world.server.inject(removed, &damaged);
    }
    world.settle();
    let mut keys = None;
    world.with_database(2, |database| {
        let sql = "SELECT count(*) FROM sender_key WHERE account = ?1";
        keys = database.query_row(sql, [sender.as_bytes()], |row| row.get::<_, u32>(0)).ok();
    });
    assert_eq!(keys, Some(0));
}

#[test]
fn a_key_is_given_once_and_to_new_members_as_it_is() {
    let (mut world, group) = World::with_group(3);
    let fourth = world.register();
    world.settle();
    let before = sends_of(&world, 0);
    world.send_group(0, group, "one");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 2, "to each other member");
    world.settle();
    let before = sends_of(&world, 0);
    world.send_group(0, group, "two");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 0);
    world.add(0, group, fourth).unwrap();
    world.settle();
    let before = sends_of(&world, 0);
    world.send_group(0, group, "three");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 1, "to the new member alone");
    world.settle();
    assert_eq!(world.group_texts(fourth, group), ["three"]);
}

#[test]
fn a_message_waits_until_every_key_is_accepted() {
    let (mut world, group) = World::with_group(3);
    for _ in 0..3 {
        world.server.refusals.push_back(("send", Refusal::new(Code::Unavailable)));
    }
    let message = world.send_group(0, group, "patience");
    world.run();
    assert_eq!(world.server.groups.tries, 0, "one of the keys is not on the server's disk");
    assert_eq!(world.group_status(0, message).0, DeliveryState::Queued);
    world.settle();
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
}

#[test]
fn one_full_mailbox_does_not_stop_a_group() {
    let (mut world, group) = World::with_group(3);
    world.server.refusals.push_back(("send", Refusal::new(Code::MailboxFull)));
    world.send_group(0, group, "for those who have room");
    world.run();
    assert_eq!(world.server.groups.sent.len(), 1);
    // The one who had none gets the key later, and asks for nothing in vain.
    world.pass(Millis::from_hours(2));
    world.settle();
    for who in [1, 2] {
        assert_eq!(world.group_texts(who, group), ["for those who have room"]);
    }
}

/// Only the head of a lane is tried, so what stands behind it hears of no full mailbox by itself.
#[test]
fn no_group_waits_for_a_key_behind_another_groups() {
    let (mut world, group) = World::with_group(3);
    let other = world.create(0, "Others", &[1, 2]).unwrap();
    world.settle();
    world.disconnect(0);
    world.send_group(0, group, "here");
    world.send_group(0, other, "there");
    world.connect(0);
    world.server.refusals.push_back(("send", Refusal::new(Code::MailboxFull)));
    world.run();
    assert_eq!(world.server.groups.sent.len(), 2);
    world.pass(Millis::from_hours(2));
    world.settle();
    for who in [1, 2] {
        assert_eq!(world.group_texts(who, group), ["here"]);
        assert_eq!(world.group_texts(who, other), ["there"]);
    }
}

#[test]
fn no_group_waits_for_a_new_key_behind_a_receipt() {
    let (mut world, group) = World::with_group(4);
    world.send_group(0, group, "before");
    world.settle();
    world.send(2, 0, "to be receipted");
    world.run();
    let full = ("send", Refusal::new(Code::MailboxFull));
    world.server.refusals.extend(std::iter::repeat_n(full, 100));
    world.pass(Millis::from_secs(5));
    assert!(world.server.refusals.len() < 100, "the receipt was refused");
    world.server.refusals.clear();
    world.remove(0, group, 3).unwrap();
    world.send_group(0, group, "after");
    world.run();
    assert_eq!(world.server.groups.sent.len(), 2, "under a new key");
    world.pass(Millis::from_hours(2));
    world.settle();
    for who in [1, 2] {
        assert_eq!(world.group_texts(who, group), ["before", "after"]);
    }
}

#[test]
fn no_group_waits_for_keys_that_cannot_be_had() {
    let (mut world, group) = World::with_group(3);
    world.server.refusals.push_back(("fetch_keys", Refusal::new(Code::Unavailable)));
    // The second and the third have never written to each other.
    world.send_group(1, group, "no session yet");
    world.run();
    assert!(world.server.refusals.is_empty());
    assert_eq!(world.server.groups.sent.len(), 1);
    world.settle();
    for who in [0, 2] {
        assert_eq!(world.group_texts(who, group), ["no session yet"]);
    }
}

#[test]
fn keys_are_replaced_after_a_week() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "fresh");
    world.settle();
    world.pass(Millis::from_days(6));
    let before = sends_of(&world, 0);
    world.send_group(0, group, "still good");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 0);
    world.settle();
    world.pass(Millis::from_days(1));
    let before = sends_of(&world, 0);
    world.send_group(0, group, "replaced");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 2);
    world.settle();
    assert_eq!(world.group_texts(1, group), ["fresh", "still good", "replaced"]);
}

#[test]
fn keys_are_replaced_after_a_thousand_messages() {
    let (mut world, group) = World::with_group(2);
    for number in 0..1_000 {
        world.send_group(0, group, &number.to_string());
    }
    world.settle();
    let before = sends_of(&world, 0);
    world.send_group(0, group, "one more");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 1);
    world.settle();
    assert_eq!(world.group_texts(1, group).len(), 1_001);
}

/// The same devices under the next version, as the account's primary would sign them.
fn next_list(world: &mut World, who: usize) -> DeviceList {
    let (account, _) = secrets(world, who);
    let list = &world.server.accounts[&world.account(who)].list;
    let draft = DeviceListDraft {
        version: list.version() + 1,
        issued_at: world.now,
        devices: list.devices().to_vec(),
        sealed_names: Vec::new(),
    };
    draft.sign(&account).unwrap()
}

#[test]
fn lists_that_differ_are_fetched_and_the_message_is_encrypted_again() {
    let (mut world, group) = World::with_group(4);
    world.send_group(0, group, "one");
    world.settle();
    for who in [1, 2] {
        let list = next_list(&mut world, who);
        let account = world.account(who);
        world.server.accounts.get_mut(&account).unwrap().list = list;
    }
    world.connect(0);
    world.run();
    let (tries, sent) = (world.server.groups.tries, world.server.groups.sent.len());
    world.send_group(0, group, "two");
    world.run();
    assert_eq!(world.server.groups.tries, tries + 2, "refused once, then right");
    assert_eq!(world.server.groups.sent.len(), sent + 1);
    assert_eq!(world.group_texts(0, group), ["one", "two"]);
}

#[test]
fn a_message_under_an_unknown_key_is_asked_for_after_a_while() {
    let (mut world, group) = World::with_group(3);
    // Both keys are lost on the way, although the server says that it has them.
    world.server.swallow = 2;
    let message = world.send_group(0, group, "who can read this?");
    world.pass(Millis::from_secs(20));
    assert!(world.group_texts(1, group).is_empty(), "its key may still be on its way");
    let asked = sends_of(&world, 1).len();
    world.pass(Millis::from_secs(20));
    assert!(sends_of(&world, 1).len() > asked);
    world.settle();
    for who in [1, 2] {
        assert_eq!(world.group_texts(who, group), ["who can read this?"]);
    }
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
}

/// Whoever lost everything that the server was to bring is given key and secret again, and can write then.
#[test]
fn a_lost_key_comes_again_with_the_next_message() {
    let mut world = World::new(3);
    world.settle();
    world.server.swallow = 2;
    let group = world.create(0, "Friends", &[1, 2]).unwrap();
    world.settle();
    world.server.swallow = 2;
    world.send_group(0, group, "who can read this?");
    world.run();
    assert_eq!(world.server.swallow, 0, "secrets and keys are lost");
    world.send_group(1, group, "not before I know its secret");
    world.pass(Millis::from_mins(2));
    let before = sends_of(&world, 0);
    world.send_group(0, group, "and this?");
    world.run();
    assert_eq!(given_keys(&world, 0, &before), 2, "both have asked");
    world.settle();
    for who in [0, 1, 2] {
        let texts = world.group_texts(who, group);
        assert_eq!(texts, ["who can read this?", "and this?", "not before I know its secret"]);
    }
}

/// The first message and the key under which it was are lost; a later key says how many came before it.
#[test]
fn a_drop_that_took_its_key_with_it_shows() {
    let (mut world, group) = World::with_group(2);
    world.server.swallow = 1;
    world.server.groups.swallow = 1;
    world.send_group(0, group, "lost with its key");
    world.settle();
    world.pass(Millis::from_days(8));
    world.send_group(0, group, "under another key");
    world.settle();
    let is_gap = |event: &EventView| matches!(event, EventView::Gap { first: 1, last: 1, .. });
    assert!(world.print(1).iter().any(is_gap));
}

/// A key says how many messages came before it, and nothing of whether they were heard.
#[test]
fn a_key_that_is_given_again_hides_no_drop() {
    let (mut world, group) = World::with_group(2);
    let late = world.register();
    world.settle();
    world.add(0, group, late).unwrap();
    world.settle();
    world.send_group(0, group, "heard");
    world.settle();
    world.server.groups.swallow = 1;
    world.send_group(0, group, "dropped");
    world.settle();
    world.pass(Millis::from_days(8));
    world.send_group(0, group, "under another key");
    world.settle();
    let is_gap = |event: &EventView| matches!(event, EventView::Gap { first: 2, last: 2, .. });
    assert!(world.print(late).iter().any(is_gap));
}

#[test]
fn nothing_is_sent_again_to_one_who_could_not_read_it() {
    let (mut world, group) = World::with_group(3);
    let late = world.register();
    world.settle();
    world.send_group(0, group, "before you came");
    world.settle();
    world.add(0, group, late).unwrap();
    world.settle();
    // The server gives the newcomer what was sent before, so that it is asked for.
    let (sender, newcomer) = (world.account(0), world.account(late));
    let sent: Vec<_> = world.server.groups.sent.values().cloned().collect();
    for (send, stamp) in sent {
        world.server.inject_message(sender, newcomer, &send, stamp);
    }
    world.pass(Millis::from_mins(3));
    world.settle();
    assert!(world.group_texts(late, group).is_empty());
}

#[test]
fn what_is_asked_for_again_goes_to_the_devices_that_could_open_it() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "one");
    world.settle();
    world.server.groups.swallow = 1;
    world.send_group(0, group, "two");
    world.run();
    let laptop = world.link_device(2);
    world.settle();
    world.send_group(0, group, "three");
    world.settle();
    assert_eq!(world.group_texts(2, group), ["one", "two", "three"]);
    assert_eq!(world.group_texts(laptop, group), ["three"], "it has the key only since then");
}

#[test]
fn a_clock_that_is_wrong_by_an_hour_changes_nothing() {
    let (mut world, group): (World, GroupId) = World::with_group(2);
    world.server.now = world.server.now + Millis::from_hours(1);
    world.connect(0);
    world.send_group(0, group, "tick");
    world.run();
    world.settle();
    assert_eq!(world.group_texts(1, group), ["tick"]);
}

#[test]
fn keys_of_many_members_are_fetched_for_many_at_once() {
    let mut world = World::new(40);
    world.settle();
    let fetched = world.server.key_fetches;
    let group = world.create(0, "Many", &crate::groups_world::others(40)).unwrap();
    world.settle();
    world.send_group(0, group, "hello");
    world.settle();
    let by_creator = world.server.key_fetches - fetched;
    // 39 members in batches of 16, and each member once for its receipt.
    assert!(by_creator <= 3 + 39, "{by_creator} fetches");
    assert_eq!(world.group_texts(39, group), ["hello"]);
}
