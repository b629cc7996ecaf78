//! Several devices of one person: what is sent from one shows on all, and what concerns one concerns no other.

use crate::world::World;
use client::{Closed, DeliveryState, EventView, ReceiptKind};
use std::collections::BTreeSet;
use types::{DeviceNumber, MessageId, Millis};
use wire::Urgency;

/// Two people who know each other; the second device of the first one is person 2.
fn linked() -> (World, usize) {
    let mut world = World::new(2);
    world.send(0, 1, "before");
    world.settle();
    let laptop = world.link_device(0);
    world.settle();
    for who in 0..world.people.len() {
        world.print(who);
    }
    (world, laptop)
}

fn number(device: u32) -> DeviceNumber {
    DeviceNumber::new(device).unwrap()
}

fn messages(events: &[EventView]) -> BTreeSet<(MessageId, u8)> {
    let message = |event: &EventView| match event {
        EventView::Message(message) => Some((message.message_id, message.sender.device.get())),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

fn gaps(world: &mut World, who: usize) -> usize {
    world.print(who).iter().filter(|event| matches!(event, EventView::Gap { .. })).count()
}

/// Loses what the next send brings to one device, and only that.
fn lose_at(world: &mut World, who: usize, device: u32) {
    let account = world.account(who);
    let devices = &mut world.server.accounts.get_mut(&account).unwrap().devices;
    devices.get_mut(&number(device)).unwrap().mailbox.clear();
}

#[test]
fn what_one_device_sends_shows_on_all_in_one_order() {
    let (mut world, laptop) = linked();
    let one = world.send(0, 1, "from the phone");
    let two = world.send(laptop, 1, "from the laptop");
    let three = world.send(1, 0, "to both");
    world.settle();
    let phone = world.texts(0, 1);
    assert_eq!(phone.len(), 4);
    assert_eq!(world.texts(laptop, 1), phone[1..], "all of it since it was linked");
    assert_eq!(world.texts(1, 0), phone);
    let stamps = |world: &mut World, who, with| -> Vec<_> {
        world.history(who, with).iter().map(|message| (message.message_id, message.stamp)).collect()
    };
    assert_eq!(stamps(&mut world, laptop, 1), stamps(&mut world, 0, 1)[1..]);
    let printed = world.print(laptop);
    assert_eq!(messages(&printed), BTreeSet::from([(one, 1), (three, 1)]), "its own is no event");
    let own = printed.iter().find_map(|event| match event {
        EventView::Message(message) if message.message_id == one => Some(message),
        _ => None,
    });
    let own = own.unwrap();
    assert_eq!((own.sender.account, own.chat.account()), (world.account(0), Some(world.account(1))));
    let printed = world.print(0);
    assert_eq!(messages(&printed), BTreeSet::from([(two, 2), (three, 1)]));
}

#[test]
fn one_send_carries_all_devices() {
    let (mut world, laptop) = linked();
    world.send(laptop, 1, "hello");
    world.send(1, 0, "hello");
    world.settle();
    let normal = || world.server.record.iter().filter(|(_, sent)| sent.send.urgency == Urgency::Normal);
    let of = |account, device| {
        let last = normal().filter(|((from, _), _)| from.account == account && from.device == number(device));
        let (_, last) = last.max_by_key(|(_, sent)| sent.stamp).unwrap();
        let mut to: Vec<_> =
            last.send.sealed.iter().map(|sealed| (sealed.to.account, sealed.to.device.get())).collect();
        to.sort_unstable();
        to
    };
    let (one, other) = (world.account(0), world.account(1));
    let mut both = vec![(one, 1), (other, 1)];
    both.sort_unstable();
    assert_eq!(of(one, 2), both, "the laptop writes to the other side and to the phone");
    assert_eq!(of(other, 1), [(one, 1), (one, 2)]);
}

#[test]
fn both_lists_are_repaired_in_one_round_trip() {
    let (mut world, _) = linked();
    // Each side has one device more, and neither of the two that write knows of the other's.
    world.link_device(0);
    world.link_device(1);
    world.connect(0);
    world.connect(1);
    world.run();
    let sends = world.server.sends;
    let message = world.send(0, 1, "to all of you and to all of me");
    world.run();
    assert_eq!(world.state(0, message), DeliveryState::Accepted);
    assert_eq!(world.server.sends, sends + 2, "refused once, then accepted");
}

#[test]
fn status_agrees_on_all_devices() {
    let (mut world, laptop) = linked();
    let message = world.send(laptop, 1, "seen?");
    world.settle();
    for who in [0, laptop] {
        assert_eq!(world.state(who, message), DeliveryState::Delivered, "{who}");
    }
    world.mark_read(1, 0);
    world.settle();
    for who in [0, laptop] {
        assert_eq!(world.state(who, message), DeliveryState::Read, "{who}");
    }
}

#[test]
fn two_devices_of_the_recipient_are_one_receipt() {
    let (mut world, laptop) = linked();
    let message = world.send(1, 0, "for both");
    world.settle();
    let receipts = |events: Vec<EventView>, wanted| {
        let of_message = |event: &EventView| {
            matches!(event, EventView::Receipt { kind, message_ids, .. }
                if *kind == wanted && message_ids.contains(&message))
        };
        events.iter().filter(|event| of_message(event)).count()
    };
    assert_eq!(receipts(world.print(1), ReceiptKind::Delivered), 1);
    world.mark_read(laptop, 1);
    world.settle();
    world.mark_read(0, 1);
    world.settle();
    assert_eq!(receipts(world.print(1), ReceiptKind::Read), 1);
    assert_eq!(world.state(1, message), DeliveryState::Read);
}

#[test]
fn what_was_read_on_one_device_is_read_on_all() {
    let (mut world, laptop) = linked();
    world.send(1, 0, "unread");
    world.settle();
    let unread = |world: &mut World, who: usize| world.people[who].engine().view().chats().unwrap()[0].unread;
    assert_eq!((unread(&mut world, 0), unread(&mut world, laptop)), (1, 1));
    world.mark_read(laptop, 1);
    world.settle();
    assert_eq!((unread(&mut world, 0), unread(&mut world, laptop)), (0, 0));
    let silent = world.server.record.len();
    world.mark_read(0, 1);
    world.settle();
    assert_eq!(world.server.record.len(), silent, "there is nothing new to say");
}

#[test]
fn a_lost_transcript_shows_and_is_asked_of_the_device_that_sent() {
    let (mut world, laptop) = linked();
    world.send(0, 1, "one");
    world.settle();
    world.disconnect(laptop);
    world.send(0, 1, "two");
    world.run();
    lose_at(&mut world, 0, 2);
    world.send(0, 1, "three");
    world.settle();
    assert_eq!(world.texts(laptop, 1), ["one", "two", "three"]);
    assert_eq!(gaps(&mut world, laptop), 1, "it was shown as missing");
    assert_eq!(world.texts(1, 0), world.texts(0, 1), "the other side got nothing twice");
    world.send(0, 1, "four");
    world.settle();
    assert_eq!(gaps(&mut world, laptop), 0);
}

#[test]
fn a_gap_is_asked_of_one_device_and_answered_by_it_alone() {
    let (mut world, laptop) = linked();
    world.send(0, 1, "phone one");
    world.send(laptop, 1, "laptop one");
    world.settle();
    world.disconnect(1);
    world.send(laptop, 1, "laptop two");
    world.run();
    lose_at(&mut world, 1, 1);
    world.send(laptop, 1, "laptop three");
    world.settle();
    let texts = world.texts(1, 0);
    assert_eq!(texts[1..], ["phone one", "laptop one", "laptop two", "laptop three"]);
    let void = world.print(1).iter().any(|event| matches!(event, EventView::Gap { permanent: true, .. }));
    assert!(!void, "the phone has no such message, and is not asked");
}

#[test]
fn a_device_linked_since_is_no_reason_to_refuse_a_resend() {
    let (mut world, laptop) = linked();
    world.send(1, 0, "one");
    world.settle();
    world.disconnect(0);
    world.disconnect(laptop);
    let lost = world.send(1, 0, "lost on its way to the phone");
    world.run();
    lose_at(&mut world, 0, 1);
    let tablet = world.link_device(0);
    world.send(1, 0, "three");
    world.settle();
    assert!(world.texts(0, 1).contains(&"lost on its way to the phone".to_owned()));
    assert!(world.history(laptop, 1).iter().any(|message| message.message_id == lost));
    assert_eq!(world.texts(tablet, 1), ["three"], "it was not for this one");
}

#[test]
fn a_device_linked_later_misses_nothing_from_before() {
    let (mut world, laptop) = linked();
    for text in ["one", "two"] {
        world.send(1, 0, text);
        world.settle();
    }
    assert_eq!(gaps(&mut world, laptop), 0);
    let tablet = world.link_device(0);
    world.send(1, 0, "three");
    world.send(0, 1, "four");
    world.settle();
    assert_eq!(world.texts(tablet, 1), ["three", "four"]);
    assert_eq!(gaps(&mut world, tablet), 0);
    world.disconnect(tablet);
    world.send(1, 0, "five");
    world.run();
    lose_at(&mut world, 0, 3);
    world.send(1, 0, "six");
    world.settle();
    assert_eq!(gaps(&mut world, tablet), 1, "what comes later is counted");
}

#[test]
fn new_and_lost_devices_are_told() {
    let mut world = World::new(2);
    world.send(0, 1, "hello");
    world.settle();
    let (one, other) = (world.account(0), world.account(1));
    world.print(1);
    let laptop = world.link_device(0);
    world.settle();
    world.send(1, 0, "hello");
    world.settle();
    let changed = |account, added: &[u32], removed: &[u32]| EventView::DeviceChanged {
        account,
        added: added.iter().map(|device| number(*device)).collect(),
        removed: removed.iter().map(|device| number(*device)).collect(),
    };
    let told = |events: Vec<EventView>| -> Vec<EventView> {
        events.into_iter().filter(|event| matches!(event, EventView::DeviceChanged { .. })).collect()
    };
    assert_eq!(told(world.print(1)), [changed(one, &[2], &[])]);
    world.link_device(1);
    world.send(laptop, 1, "to your new one, too");
    world.settle();
    assert_eq!(told(world.print(laptop)), [changed(other, &[2], &[])]);
    world.link_device(0);
    world.unlink_device(0, number(2));
    world.settle();
    world.send(1, 0, "bye");
    world.settle();
    assert_eq!(told(world.print(1)), [changed(one, &[3], &[2])]);
}

#[test]
fn a_number_that_lives_another_life_is_another_device() {
    let (mut world, laptop) = linked();
    world.send(1, 0, "to the laptop");
    world.settle();
    world.unlink_device(0, number(2));
    let another = world.link_device(0);
    world.disconnect(laptop);
    world.send(1, 0, "to its successor");
    world.connect(0);
    world.connect(1);
    world.connect(another);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.texts(another, 1), ["to its successor"]);
    let told = world.print(1).into_iter().any(|event| {
        matches!(event, EventView::DeviceChanged { added, removed, .. }
            if added == [number(2)] && removed == [number(2)])
    });
    assert!(told);
}

#[test]
fn an_unlinked_device_gets_nothing_more_and_keeps_what_it_has() {
    let (mut world, laptop) = linked();
    world.send(1, 0, "while it was linked");
    world.settle();
    world.unlink_device(0, number(2));
    world.connect(laptop);
    world.run();
    assert_eq!(world.people[laptop].closed, Some(Closed::Revoked));
    let before = world.texts(laptop, 1);
    assert!(before.contains(&"while it was linked".to_owned()));
    world.connect(0);
    let sealed = |world: &World| {
        let account = world.account(0);
        let sent = world.server.record.values().flat_map(|sent| &sent.send.sealed);
        sent.filter(|one| one.to.account == account && one.to.device == number(2)).count()
    };
    let before_it_was_removed = sealed(&world);
    world.send(1, 0, "after");
    world.send(0, 1, "after, too");
    world.pass(Millis::from_secs(10));
    assert_eq!(sealed(&world), before_it_was_removed, "nothing was stored for it");
    assert_eq!(world.texts(laptop, 1), before);
    assert_eq!(world.texts(1, 0), world.texts(0, 1));
    assert!(world.texts(1, 0).contains(&"after, too".to_owned()));
}

#[test]
fn what_a_removed_device_had_not_sent_fails() {
    let (mut world, laptop) = linked();
    world.disconnect(laptop);
    let queued = world.send(laptop, 1, "never");
    world.unlink_device(0, number(2));
    assert_eq!(world.state(laptop, queued), DeliveryState::Queued, "it does not know yet");
    world.connect(laptop);
    world.run();
    assert_eq!(world.people[laptop].closed, Some(Closed::Revoked));
    assert_eq!(world.state(laptop, queued), DeliveryState::Failed);
    assert!(world.people[laptop].effects.contains(&client::Effect::StateChanged(queued)));
    assert!(world.people[laptop].engine().view().is_outbox_empty().unwrap());
    assert_eq!(world.texts(laptop, 1).last().map(String::as_str), Some("never"), "it stays readable");
}

#[test]
fn a_linked_device_that_finds_itself_off_the_list_stops() {
    let (mut world, laptop) = linked();
    world.disconnect(0);
    let account = world.account(0);
    let devices = world.server.accounts[&account].devices.clone();
    world.unlink_device(0, number(2));
    // The server goes on to serve it.
    world.server.accounts.get_mut(&account).unwrap().devices = devices;
    let list = world.server.accounts[&account].list.clone();
    world.handle(
        laptop,
        client::Event::Received(
            wire::ServerFrame::Push(wire::Push::DeviceListChanged { account, version: list.version() })
                .encode(),
        ),
    );
    world.run();
    assert_eq!(world.people[laptop].closed, Some(Closed::Revoked));
}
