//! People who are blocked: what they write reaches nobody's eyes, and nothing tells them so.

use crate::world::World;
use client::{DeliveryState, EventView, SendError, SendText};
use types::{MessageId, Millis};

fn shown(world: &mut World, who: usize) -> usize {
    let events = world.print(who);
    events.iter().filter(|event| matches!(event, EventView::Message(_) | EventView::Gap { .. })).count()
}

#[test]
fn what_a_blocked_person_writes_is_neither_shown_nor_receipted() {
    let mut world = World::new(2);
    let before = world.send(1, 0, "before");
    world.settle();
    world.print(0);
    assert!(world.set_blocked(0, 1, true));
    assert!(!world.set_blocked(0, 1, true), "it is so already");
    let unseen = world.send(1, 0, "are you there?");
    // Not even what is missing of them is missed.
    world.server.swallow = 1;
    world.send(1, 0, "lost");
    world.send(1, 0, "hello?");
    world.settle();
    world.mark_read(0, 1);
    world.pass(Millis::from_mins(2));
    assert_eq!(world.texts(0, 1), ["before"]);
    assert_eq!(shown(&mut world, 0), 0);
    assert_eq!(world.state(1, unseen), DeliveryState::Accepted);
    assert_eq!(world.state(1, before), DeliveryState::Delivered, "that it was read is not for them to know");
    let blocked = world.people[0].engine().view().blocked().unwrap();
    assert_eq!(blocked.iter().map(|(account, _)| *account).collect::<Vec<_>>(), [world.account(1)]);

    assert!(world.set_blocked(0, 1, false));
    world.send(1, 0, "after");
    world.settle();
    world.pass(Millis::from_hours(2));
    assert_eq!(world.texts(0, 1), ["before", "after"], "what was passed over does not come back");
    assert_eq!(shown(&mut world, 0), 1);
    assert_eq!(world.state(1, unseen), DeliveryState::Accepted);
}

#[test]
fn nothing_is_written_to_one_who_is_blocked() {
    let mut world = World::new(2);
    world.send(1, 0, "hello");
    world.settle();
    world.set_blocked(0, 1, true);
    let text = SendText {
        chat: world.account(1).into(),
        message_id: MessageId::from_bytes([1; 16]),
        text: "by mistake".to_owned(),
    };
    assert!(matches!(world.try_send(0, text.clone()), Err(SendError::Blocked)));
    world.set_blocked(0, 1, false);
    world.try_send(0, text).unwrap();
    world.settle();
    assert_eq!(world.texts(1, 0), ["hello", "by mistake"]);
}

#[test]
fn in_groups_a_blocked_person_is_a_member_like_all_others() {
    let (mut world, group) = World::with_group(3);
    world.set_blocked(0, 1, true);
    let message = world.send_group(1, group, "to everybody");
    world.settle();
    assert_eq!(world.group_texts(0, group), ["to everybody"]);
    assert_eq!(world.group_status(1, message).0, DeliveryState::Delivered);
}

#[test]
fn who_registers_anew_stays_blocked() {
    let number = "+15550000001";
    let mut world = World::new(2);
    world.connect(0);
    world.look_up(0, number);
    world.settle();
    world.set_blocked(0, 1, true);
    let again = world.register_phone(number);
    world.look_up(0, number);
    world.settle();
    world.send(again, 0, "it is me");
    world.settle();
    assert!(world.texts(0, again).is_empty());
    let account = world.account(again);
    assert!(world.people[0].engine().view().is_blocked(account).unwrap());
}
