//! A number that moved, and that the person has not accepted yet, in what one device gives another and in backups.

use crate::{
    backup::{back_up, restore},
    link_world::World,
};
use client::{DeliveryState, EventView, HeldReason, Resolved};
use types::AccountId;

const NUMBER: &str = "+15550000001";

/// The number of the second one has moved, a message to it waits for the first one's word; who has the number now.
fn held() -> (World, usize) {
    let mut world = World::new(2);
    world.settle();
    world.look_up(0, NUMBER);
    world.send(0, 1, "hello");
    world.settle();
    let new = world.register_as(NUMBER);
    world.look_up(0, NUMBER);
    world.send(0, 1, "who is there?");
    world.settle();
    world.print(0);
    assert_eq!(pending(&mut world, 0), Some((world.account(new), world.account(1))));
    (world, new)
}

/// The account that the number leads to, and the one that it led to, as long as that waits for the person.
fn pending(world: &mut World, who: usize) -> Option<(AccountId, AccountId)> {
    let old = world.account(1);
    let held = world.machines[who].engine().view().held_reason(old.into()).unwrap();
    held.map(|HeldReason::KeyChanged { account, old_account, .. }| (account, old_account))
}

fn states(world: &mut World, who: usize) -> Vec<(String, DeliveryState)> {
    let old = world.account(1);
    world.history(who, old).into_iter().map(|message| (message.text, message.state)).collect()
}

fn resolved(world: &mut World, who: usize) -> Resolved {
    world.machines[who].engine().view().resolve(&NUMBER.parse().unwrap()).unwrap()
}

#[test]
fn a_linked_device_waits_for_the_person_too_and_can_accept() {
    let (mut world, new) = held();
    let laptop = world.machine();
    world.link(0, laptop, true);
    world.settle();
    let both = Some((world.account(new), world.account(1)));
    assert_eq!(pending(&mut world, laptop), both);
    assert_eq!(resolved(&mut world, laptop), Resolved::Known(world.account(1).into()));
    assert!(!world.print(laptop).iter().any(|event| matches!(event, EventView::KeyChanged { .. })));
    world.send(laptop, 1, "from the laptop");
    world.settle();
    assert!(world.texts(new, 0).is_empty(), "nobody has accepted");

    assert_eq!(world.accept(laptop, NUMBER), 1, "what was written here; the rest is the primary's");
    world.settle();
    let mut texts = world.texts(new, 0);
    texts.sort_unstable();
    assert_eq!(texts, ["from the laptop", "who is there?"]);
    for who in [0, laptop] {
        assert_eq!(pending(&mut world, who), None);
        assert_eq!(resolved(&mut world, who), Resolved::Known(world.account(new).into()));
        assert_eq!(world.texts(who, new).len(), 2);
        assert_eq!(world.texts(who, 1), ["hello"]);
    }
}

#[test]
fn what_was_held_is_held_after_a_restore() {
    let (mut world, new) = held();
    world.send(0, 1, "hello?");
    let backup = back_up(&mut world, 0);
    let restored = world.machine();
    restore(&mut world, restored, &backup);
    world.settle();
    assert_eq!(pending(&mut world, restored), Some((world.account(new), world.account(1))));
    let here = states(&mut world, restored);
    let waits = ["who is there?", "hello?"].map(|text| (text.to_owned(), DeliveryState::Queued));
    assert_eq!(here[1..], waits, "in the order of writing");
    assert!(world.texts(new, 0).is_empty());

    assert_eq!(world.accept(restored, NUMBER), 2);
    world.settle();
    assert_eq!(world.texts(new, 0), ["who is there?", "hello?"]);
    assert_eq!(world.texts(restored, 1), ["hello"]);
    assert!(!world.print(new).iter().any(|event| matches!(event, EventView::Gap { .. })));
}

#[test]
fn what_was_set_free_after_the_backup_comes_once() {
    let (mut world, new) = held();
    let backup = back_up(&mut world, 0);
    assert_eq!(world.accept(0, NUMBER), 1);
    world.settle();
    assert_eq!(world.texts(new, 0), ["who is there?"]);

    let restored = world.machine();
    restore(&mut world, restored, &backup);
    world.settle();
    assert_eq!(world.accept(restored, NUMBER), 1, "the backup does not know better");
    world.settle();
    assert_eq!(world.texts(new, 0), ["who is there?"]);
    assert_eq!(world.texts(restored, new), ["who is there?"]);
}
