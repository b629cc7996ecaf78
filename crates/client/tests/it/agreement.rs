//! What the devices of one account agree on, whichever of them learned it first: whom the person trusts and whom not to
//! hear, which number leads where, how far messages got.

use crate::world::World;
use client::{ChatName, DeliveryState, EventView, ReceiptKind, Resolved};
use types::{DeviceNumber, GroupId, Millis};

/// Two people who know each other, and the second device of the first one.
fn linked() -> (World, usize) {
    let mut world = World::new(2);
    world.send(0, 1, "before");
    world.settle();
    let laptop = world.link_device(0);
    world.settle();
    world.send(1, 0, "to both");
    world.settle();
    (world, laptop)
}

fn is_verified(world: &mut World, who: usize, whom: usize) -> bool {
    let account = world.account(whom);
    world.people[who].engine().view().safety(account).unwrap().unwrap().verified
}

fn is_blocked(world: &mut World, who: usize, whom: usize) -> bool {
    let account = world.account(whom);
    world.people[who].engine().view().is_blocked(account).unwrap()
}

fn resolved(world: &mut World, who: usize, phone: &str) -> Resolved {
    let name = ChatName::Phone(phone.parse().unwrap());
    world.people[who].engine().view().resolve(&name).unwrap()
}

/// Loses what waits for a device.
fn lose_at(world: &mut World, who: usize, device: u32) {
    let account = world.account(who);
    let devices = &mut world.server.accounts.get_mut(&account).unwrap().devices;
    devices.get_mut(&DeviceNumber::new(device).unwrap()).unwrap().mailbox.clear();
}

#[test]
fn a_safety_number_that_was_compared_on_one_device_is_compared_on_all() {
    let (mut world, laptop) = linked();
    let account = world.account(1);
    assert!(world.mark_verified(laptop, account));
    world.settle();
    assert!(is_verified(&mut world, 0, 1));
}

#[test]
fn the_latest_decision_to_block_holds_on_all_devices() {
    let (mut world, laptop) = linked();
    world.set_blocked(0, 1, true);
    world.settle();
    assert!(is_blocked(&mut world, laptop, 1));
    world.send(1, 0, "unheard");
    world.settle();
    assert_eq!(world.texts(laptop, 1), ["to both"]);
    world.set_blocked(0, 1, false);
    world.settle();

    // Both decide without hearing of each other; what is told last was not decided last.
    for who in [0, laptop] {
        world.disconnect(who);
    }
    world.set_blocked(laptop, 1, true);
    world.tick(Millis::from_secs(1));
    world.set_blocked(0, 1, true);
    world.tick(Millis::from_secs(1));
    world.set_blocked(laptop, 1, false);
    world.connect(laptop);
    world.pass(Millis::from_secs(5));
    world.settle();
    assert_eq!((is_blocked(&mut world, 0, 1), is_blocked(&mut world, laptop, 1)), (false, false));
}

#[test]
fn a_number_that_was_looked_up_on_one_device_is_known_on_all() {
    let (mut world, laptop) = linked();
    let third = world.register_phone("+15551234567");
    world.look_up(0, "+15551234567");
    world.settle();
    let account = world.account(third);
    assert_eq!(resolved(&mut world, laptop, "+15551234567"), Resolved::Known(account.into()));
}

#[test]
fn a_lookup_on_one_device_moves_no_number_on_another_unasked() {
    let (mut world, laptop) = linked();
    let number = "+15551234567";
    let old = world.register_phone(number);
    world.look_up(laptop, number);
    world.settle();
    world.register_phone(number);
    // The phone has forgotten where the number led, so to it nothing has changed.
    world.with_database(0, |database| {
        database.execute("DELETE FROM number WHERE phone = ?1", [number]).unwrap();
    });
    world.connect(0);
    world.look_up(0, number);
    world.settle();
    let account = world.account(old);
    assert_eq!(resolved(&mut world, laptop, number), Resolved::Known(account.into()));
    let told = world.print(laptop).iter().any(|event| matches!(event, EventView::KeyChanged { .. }));
    assert!(told, "it is for the person to accept");
    world.accept(laptop, number).unwrap();
    world.settle();
    assert_eq!(resolved(&mut world, 0, number), resolved(&mut world, laptop, number));
}

#[test]
fn a_receipt_that_is_here_before_its_message_counts() {
    let (mut world, laptop) = linked();
    world.disconnect(0);
    let message = world.send(laptop, 1, "told late");
    world.run();
    lose_at(&mut world, 0, 1);
    world.settle();
    assert_eq!(world.state(laptop, message), DeliveryState::Delivered);
    // The phone hears of the message only after its receipt.
    world.send(laptop, 1, "shows what is missing");
    world.settle();
    assert_eq!(world.texts(0, 1).len(), 4);
    assert_eq!(world.state(0, message), DeliveryState::Delivered);
}

#[test]
fn a_receipt_in_a_group_that_is_here_before_its_message_counts() {
    let (mut world, group): (World, GroupId) = World::with_group(3);
    let laptop = world.link_device(0);
    world.settle();
    for who in [0, laptop] {
        world.send_group(who, group, "before");
        world.settle();
    }
    world.disconnect(0);
    let message = world.send_group(laptop, group, "told late");
    world.run();
    lose_at(&mut world, 0, 1);
    world.settle();
    for who in [1, 2] {
        world.read_group(who, group);
    }
    world.settle();
    world.send_group(laptop, group, "shows what is missing");
    world.settle();
    assert_eq!(world.group_texts(0, group).len(), 4);
    assert_eq!(world.group_status(0, message), world.group_status(laptop, message));
    assert_eq!(world.group_status(0, message).0, DeliveryState::Read);
}

#[test]
fn a_receipt_for_very_many_messages_is_taken_in_by_and_by() {
    let mut world = World::new(2);
    world.settle();
    let messages: Vec<_> = (0..2_500).map(|number| world.send(0, 1, &number.to_string())).collect();
    world.settle();
    world.print(0);
    world.mark_read(1, 0);
    world.settle();
    let read = |event: &EventView| match event {
        EventView::Receipt { kind: ReceiptKind::Read, message_ids, .. } => Some(message_ids.len()),
        _ => None,
    };
    let batches: Vec<usize> = world.print(0).iter().filter_map(read).collect();
    assert_eq!(batches, [1_000, 1_000, 500], "a turn is short");
    for message in [messages[0], messages[2_499]] {
        assert_eq!(world.state(0, message), DeliveryState::Read);
    }
    // What is read later begins where this ended, also after a crash in the middle.
    world.crash(0);
    let last = world.send(0, 1, "one more");
    world.settle();
    world.mark_read(1, 0);
    world.settle();
    assert_eq!(world.state(0, last), DeliveryState::Read);
}
