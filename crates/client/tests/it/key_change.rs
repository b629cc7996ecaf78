//! Numbers that move to a new account: nothing that was meant for one person reaches another one by itself.

use crate::world::World;
use client::{DeliveryState, EventView, GroupError, HeldReason, Resolved};
use types::{AccountId, Millis, PhoneNumber};

const NUMBER: &str = "+15550000001";

fn number() -> PhoneNumber {
    NUMBER.parse().unwrap()
}

/// Two people who talk by number.
fn known() -> World {
    let mut world = World::new(2);
    world.connect(0);
    world.connect(1);
    world.look_up(0, NUMBER);
    world.run();
    world.send(0, 1, "hello");
    world.settle();
    world.print(0);
    world
}

fn changes(world: &mut World, who: usize) -> Vec<(AccountId, AccountId)> {
    let change = |event: EventView| match event {
        EventView::KeyChanged { phone, account, old_account } => {
            assert_eq!(phone, number());
            Some((account, old_account))
        }
        _ => None,
    };
    world.print(who).into_iter().filter_map(change).collect()
}

fn resolved(world: &mut World, who: usize) -> Resolved {
    world.people[who].engine().view().resolve(&NUMBER.parse().unwrap()).unwrap()
}

#[test]
fn messages_to_a_number_that_moved_wait_for_the_person() {
    let mut world = known();
    let old = world.account(1);
    // One message is on the server and nobody has it when the number moves.
    world.disconnect(1);
    let lost = world.send(0, 1, "accepted, and never fetched");
    world.run();
    assert_eq!(world.state(0, lost), DeliveryState::Accepted);
    let again = world.register_phone(NUMBER);
    let new = world.account(again);
    let held = [world.send(0, 1, "are you there?"), world.send(0, 1, "hello?")];
    world.connect(again);
    world.pass(Millis::from_secs(10));
    assert_eq!(changes(&mut world, 0), [(new, old)]);
    for message in held {
        assert_eq!(world.state(0, message), DeliveryState::Queued);
    }
    assert_eq!(world.state(0, lost), DeliveryState::Failed);
    let reason = world.people[0].engine().view().held_reason(old.into()).unwrap();
    assert_eq!(reason, Some(HeldReason::KeyChanged { phone: number(), account: new, old_account: old }));
    assert_eq!(resolved(&mut world, 0), Resolved::Known(old.into()), "the number has not moved for us");
    assert!(world.texts(again, 0).is_empty());

    let accepted = world.accept(0, NUMBER).unwrap();
    assert_eq!((accepted.account, accepted.old_account, accepted.released), (new, old, 2));
    world.pass(Millis::from_secs(10));
    assert_eq!(world.texts(again, 0), ["are you there?", "hello?"]);
    assert_eq!(world.texts(0, again), ["are you there?", "hello?"], "a new chat");
    assert_eq!(world.texts(0, 1), ["hello", "accepted, and never fetched"], "the old one stays");
    for message in held {
        assert_eq!(world.state(0, message), DeliveryState::Delivered);
    }
    assert_eq!(world.state(0, lost), DeliveryState::Failed, "it is not sent again");
    assert_eq!(resolved(&mut world, 0), Resolved::Known(new.into()));
    assert_eq!(world.people[0].engine().view().held_reason(old.into()).unwrap(), None);
    assert!(world.accept(0, NUMBER).is_none(), "there is nothing more to accept");
    assert!(!world.print(again).iter().any(|event| matches!(event, EventView::Gap { .. })));
}

#[test]
fn a_lookup_tells_of_it_too_and_moves_nothing() {
    let mut world = known();
    let old = world.account(1);
    let again = world.register_phone(NUMBER);
    let new = world.account(again);
    world.look_up(0, NUMBER);
    world.run();
    assert_eq!(changes(&mut world, 0), [(new, old)]);
    let answers = world.people[0].effects.iter().rev().find_map(|effect| match effect {
        client::Effect::LookedUp { result, .. } => Some(*result),
        _ => None,
    });
    assert_eq!(answers, Some(Ok(Some(old))), "who sends to the answer sends to what was accepted");
    let held = world.send(0, 1, "still you?");
    world.settle();
    assert_eq!(world.state(0, held), DeliveryState::Queued);
    world.look_up(0, NUMBER);
    world.run();
    assert!(changes(&mut world, 0).is_empty(), "told once");
}

#[test]
fn a_second_change_before_the_first_was_accepted() {
    let mut world = known();
    let old = world.account(1);
    let second = world.register_phone(NUMBER);
    let held = world.send(0, 1, "who is there?");
    world.run();
    let third = world.register_phone(NUMBER);
    world.look_up(0, NUMBER);
    world.connect(second);
    world.connect(third);
    world.run();
    let (two, three) = (world.account(second), world.account(third));
    assert_eq!(changes(&mut world, 0), [(two, old), (three, old)]);
    assert_eq!(world.accept(0, NUMBER).unwrap().account, three);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.state(0, held), DeliveryState::Delivered);
    assert_eq!(world.texts(third, 0), ["who is there?"]);
    assert!(world.texts(second, 0).is_empty());
}

#[test]
fn a_number_that_moved_twice_is_told_with_the_next_message_to_it() {
    let mut world = known();
    let old = world.account(1);
    let second = world.register_phone(NUMBER);
    let first = world.send(0, 1, "who is there?");
    world.run();
    let two = world.account(second);
    assert_eq!(changes(&mut world, 0), [(two, old)]);
    world.server.accounts.get_mut(&two).unwrap().closed = true;
    let third = world.register_phone(NUMBER);
    let three = world.account(third);
    // Nobody looks anything up; a message alone says it, and one that is written without a connection, later.
    world.disconnect(0);
    let second_held = world.send(0, 1, "and now?");
    world.connect(0);
    world.connect(third);
    world.run();
    assert_eq!(changes(&mut world, 0), [(three, old)]);
    let accepted = world.accept(0, NUMBER).unwrap();
    assert_eq!((accepted.account, accepted.released), (three, 2));
    world.settle();
    assert_eq!(world.texts(third, 0), ["who is there?", "and now?"]);
    for message in [first, second_held] {
        assert_eq!(world.state(0, message), DeliveryState::Delivered);
    }
}

#[test]
fn what_is_written_to_an_account_by_its_id_reaches_no_other() {
    for noticed_before in [false, true] {
        let mut world = known();
        let old = world.account(1);
        world.server.accounts.get_mut(&old).unwrap().closed = true;
        let again = world.register_phone(NUMBER);
        world.connect(again);
        let mut to_number = Vec::new();
        if noticed_before {
            to_number.push(world.send(0, 1, "to the number"));
            world.run();
            assert_eq!(changes(&mut world, 0).len(), 1);
        }
        let to_account = world.send_to_account(0, 1, "to this very account");
        world.run();
        to_number.push(world.send(0, 1, "to the number again"));
        world.settle();
        assert_eq!(
            world.state(0, to_account),
            DeliveryState::Failed,
            "it is closed, whatever the number does"
        );
        world.accept(0, NUMBER).unwrap();
        world.settle();
        for message in to_number {
            assert_eq!(world.state(0, message), DeliveryState::Delivered);
        }
        assert!(!world.texts(again, 0).contains(&"to this very account".to_owned()));
        assert!(world.texts(0, 1).contains(&"to this very account".to_owned()), "it stays in its chat");
    }
}

#[test]
fn a_message_to_an_account_that_waited_for_a_connection_is_not_released_with_the_number() {
    let mut world = known();
    let old = world.account(1);
    world.disconnect(0);
    let first = world.send_to_account(0, 1, "to this very account");
    world.send(0, 1, "to the number");
    world.server.accounts.get_mut(&old).unwrap().closed = true;
    let again = world.register_phone(NUMBER);
    world.connect(again);
    world.settle();
    world.accept(0, NUMBER).unwrap();
    world.settle();
    assert_eq!(world.state(0, first), DeliveryState::Failed);
    assert_eq!(world.texts(again, 0), ["to the number"]);
}

#[test]
fn nobody_whose_number_moved_comes_into_a_group() {
    let mut world = known();
    let third = world.register();
    let group = world.create(0, "Before", &[third]).unwrap();
    let old = world.account(1);
    world.register_phone(NUMBER);
    world.look_up(0, NUMBER);
    world.run();
    let refused = |result| matches!(result, Err(GroupError::Unreachable(who)) if who == [old]);
    assert!(refused(world.create(0, "After", &[1, third])));
    assert!(refused(world.add(0, group, 1)));
    assert_eq!(world.info(0, group).epoch, 0);
}

#[test]
fn a_closed_account_without_a_successor_fails_what_waits() {
    let mut world = known();
    let old = world.account(1);
    world.server.accounts.get_mut(&old).unwrap().closed = true;
    world.server.numbers.clear();
    let message = world.send(0, 1, "anybody?");
    world.settle();
    assert_eq!(world.state(0, message), DeliveryState::Failed);
    assert!(changes(&mut world, 0).is_empty());
}

#[test]
fn what_is_held_survives_the_process_and_a_busy_server() {
    let mut world = known();
    let again = world.register_phone(NUMBER);
    let retry = wire::Refusal::retry_after(Millis::from_secs(30));
    world.server.refusals.push_back(("lookup", retry));
    let held = world.send(0, 1, "hello?");
    world.run();
    assert_eq!(world.state(0, held), DeliveryState::Queued, "not known where the number leads");
    assert!(changes(&mut world, 0).is_empty());
    world.pass(Millis::from_secs(40));
    assert_eq!(changes(&mut world, 0).len(), 1);
    world.crash(0);
    world.settle();
    assert_eq!(world.state(0, held), DeliveryState::Queued);
    world.accept(0, NUMBER).unwrap();
    world.settle();
    assert_eq!(world.texts(again, 0), ["hello?"]);
}

#[test]
fn accepting_on_one_device_is_accepting_on_all() {
    let mut world = known();
    let laptop = world.link_device(0);
    world.settle();
    world.look_up(laptop, NUMBER);
    world.send(laptop, 1, "from the laptop");
    world.settle();
    let again = world.register_phone(NUMBER);
    let held = world.send(laptop, 1, "to whom?");
    world.look_up(0, NUMBER);
    world.settle();
    assert_eq!(world.state(laptop, held), DeliveryState::Queued);
    world.accept(0, NUMBER).unwrap();
    world.settle();
    let new = world.account(again);
    assert_eq!(resolved(&mut world, laptop), Resolved::Known(new.into()));
    assert_eq!(world.state(laptop, held), DeliveryState::Delivered);
    assert_eq!(world.texts(again, 0), ["to whom?"]);
    assert_eq!(world.texts(0, again), ["to whom?"]);
}

/// What the person accepted on another device is in the mailbox when this one is asked to send to the number.
#[test]
fn a_number_is_looked_up_once_the_other_devices_were_heard() {
    let mut world = known();
    let laptop = world.link_device(0);
    world.settle();
    world.disconnect(laptop);
    let second = world.register_phone(NUMBER);
    world.look_up(0, NUMBER);
    world.run();
    world.accept(0, NUMBER).unwrap();
    world.pass(Millis::from_secs(5));
    let third = world.register_phone(NUMBER);
    world.people[laptop].effects.clear();
    world.look_up(laptop, NUMBER);
    world.connect(laptop);
    for _ in 0..20 {
        world.step_up(laptop);
        world.step_down(laptop);
    }
    let answer = |world: &World| {
        world.people[laptop].effects.iter().find_map(|effect| match effect {
            client::Effect::LookedUp { result, .. } => Some(*result),
            _ => None,
        })
    };
    assert_eq!(answer(&world), None, "not before the mailbox was read");
    world.run();
    let (two, three) = (world.account(second), world.account(third));
    assert_eq!(answer(&world), Some(Ok(Some(two))));
    assert_eq!(changes(&mut world, laptop), [(three, two)], "the last move is for the person to accept");
}
