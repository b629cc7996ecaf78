//! People write to groups: one message for all, one order for all, and every member's receipts.

use crate::world::World;
use client::{DeliveryState, EventView, GroupCommand, GroupRole, SendError};
use std::collections::BTreeSet;
use types::{AccountId, Millis, Stamp};

#[test]
fn everybody_sees_the_same_messages_in_the_same_order() {
    let (mut world, group) = World::with_group(4);
    for (who, text) in [(0, "one"), (1, "two"), (2, "three"), (0, "four")] {
        world.send_group(who, group, text);
        world.settle();
    }
    let order: Vec<(String, Option<Stamp>)> =
        world.group_history(0, group).into_iter().map(|message| (message.text, message.stamp)).collect();
    assert_eq!(order.len(), 4);
    for who in 1..4 {
        let seen: Vec<_> = world
            .group_history(who, group)
            .into_iter()
            .map(|message| (message.text, message.stamp))
            .collect();
        assert_eq!(seen, order, "as person {who} sees it");
    }
    assert!(world.server.accounts.values().all(|account| account.mailbox.is_empty()), "all is acknowledged");
    assert!((0..4).all(|who| world.people[who].engine().is_settled()));
}

#[test]
fn a_group_has_its_name_and_roles_everywhere() {
    let (mut world, group) = World::with_group(3);
    let creator = world.account(0);
    for who in 0..3 {
        let info = world.info(who, group);
        assert_eq!((info.name.as_deref(), info.epoch, info.i_am_member), (Some("Friends"), 0, true));
        assert_eq!(info.members.len(), 3);
        for member in info.members {
            let role = if member.account == creator { GroupRole::Creator } else { GroupRole::Member };
            assert_eq!((member.role, member.closed), (role, false));
        }
        let resolved = world.people[who].engine().view().resolve(&"Friends".parse().unwrap()).unwrap();
        assert_eq!(resolved, client::Resolved::Known(group.into()));
    }
    assert!(world.print_changes(0).is_empty(), "one's own change is no event");
    assert_eq!(world.print_changes(1), [(0, "create", creator)]);
}

#[test]
fn one_message_is_encrypted_once() {
    let (mut world, group) = World::with_group(40);
    world.send_group(0, group, "first");
    world.settle();
    let (tries, pairwise) = (world.server.groups.tries, world.server.record.len());
    let message = world.send_group(0, group, "second");
    world.settle();
    assert_eq!(world.server.groups.tries, tries + 1);
    let receipts = world.server.record.len() - pairwise;
    assert_eq!(receipts, 39, "each member sends its receipt, and the sender nothing one-to-one");
    for who in 1..40 {
        assert_eq!(world.group_texts(who, group), ["first", "second"]);
    }
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
}

#[test]
fn every_other_member_has_a_state() {
    let (mut world, group) = World::with_group(4);
    world.disconnect(3);
    let message = world.send_group(0, group, "hello");
    assert_eq!(world.group_status(0, message).0, DeliveryState::Queued);
    world.pass(Millis::from_secs(5));
    let others: BTreeSet<AccountId> = world.accounts(&[1, 2, 3]).into_iter().collect();
    let (state, recipients) = world.group_status(0, message);
    assert_eq!(state, DeliveryState::Accepted, "the worst of all");
    assert_eq!(recipients.iter().map(|(account, _)| *account).collect::<BTreeSet<_>>(), others);
    for (account, state) in recipients {
        let offline = account == world.account(3);
        assert_eq!(state == DeliveryState::Accepted, offline);
    }
    world.settle();
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
    assert_eq!(world.group_history(0, group)[0].state, DeliveryState::Delivered);
    for who in [1, 2] {
        world.read_group(who, group);
    }
    world.settle();
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
    world.read_group(3, group);
    world.settle();
    assert_eq!(world.group_status(0, message).0, DeliveryState::Read);
    assert_eq!(world.group_history(0, group)[0].state, DeliveryState::Read);
    assert_eq!(world.group_history(1, group)[0].state, DeliveryState::Read, "marked by the reader");
}

#[test]
fn operations_and_messages_are_printed_in_one_order() {
    let (mut world, group) = World::with_group(3);
    world.settle();
    world.print(1);
    world.disconnect(1);
    world.send_group(0, group, "before");
    world.run();
    world.change(0, group, GroupCommand::Rename("Good friends".to_owned())).unwrap();
    world.send_group(0, group, "after");
    world.settle();
    let words: Vec<String> = world
        .print(1)
        .into_iter()
        .filter_map(|event| match event {
            EventView::Message(message) => Some(message.text),
            EventView::GroupChanged { change, .. } => Some(change.to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(words, ["before", "rename", "after"]);
    assert_eq!(world.info(1, group).name.as_deref(), Some("Good friends"));
}

#[test]
fn who_is_no_member_cannot_write() {
    let (mut world, group) = World::with_group(3);
    let stranger = world.register();
    let unknown = world.try_send_group(stranger, group, "let me in");
    assert!(matches!(unknown, Err(SendError::NotAMember)));
    world.remove(0, group, 2).unwrap();
    world.settle();
    assert!(matches!(world.try_send_group(2, group, "still here?"), Err(SendError::NotAMember)));
}

#[test]
fn a_message_of_one_who_was_removed_meanwhile_fails_with_a_word() {
    let (mut world, group) = World::with_group(3);
    world.disconnect(2);
    let message = world.send_group(2, group, "I am still here");
    world.remove(0, group, 2).unwrap();
    world.settle();
    let now = world.now;
    let status = world.people[2].engine().view().status(message, now).unwrap().unwrap();
    assert_eq!((status.state, status.failure.as_deref()), (DeliveryState::Failed, Some("not_a_member")));
    assert!(world.group_texts(0, group).is_empty());
}

#[test]
fn a_lost_answer_and_a_crash_send_the_stored_bytes_again() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "warm");
    world.settle();
    let message = world.send_group(0, group, "once");
    let stored = world.server.groups.sent.len();
    while world.step_up(0) && world.server.groups.sent.len() == stored {
        world.step_down(0);
    }
    assert_eq!(world.server.groups.sent.len(), stored + 1);
    world.crash(0);
    world.settle();
    assert_eq!(world.server.groups.sent.len(), stored + 1, "the same envelope id and bytes");
    assert_eq!(world.group_status(0, message).0, DeliveryState::Delivered);
    assert_eq!(world.group_texts(1, group), ["warm", "once"]);
}

#[test]
fn a_dropped_message_shows_and_is_sent_again() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "one");
    world.settle();
    world.server.groups.swallow = 1;
    let dropped = world.send_group(0, group, "two");
    world.settle();
    assert_eq!(world.group_texts(1, group), ["one"]);
    world.send_group(0, group, "three");
    world.settle();
    let gaps = world
        .print(1)
        .iter()
        .filter(|event| matches!(event, EventView::Gap { chat, .. } if *chat == group.into()))
        .count();
    assert_eq!(gaps, 1);
    world.settle();
    for who in [1, 2] {
        assert_eq!(world.group_texts(who, group), ["one", "two", "three"]);
    }
    assert_eq!(world.group_status(0, dropped).0, DeliveryState::Delivered);
}

#[test]
fn what_a_new_member_was_not_there_for_is_no_gap() {
    let (mut world, group) = World::with_group(3);
    let late = world.register();
    world.settle();
    for text in ["one", "two", "three"] {
        world.send_group(0, group, text);
    }
    world.settle();
    world.add(0, group, late).unwrap();
    world.send_group(0, group, "welcome");
    world.settle();
    assert_eq!(world.group_texts(late, group), ["welcome"]);
    assert!(!world.print(late).iter().any(|event| matches!(event, EventView::Gap { .. })));
    assert_eq!(world.info(late, group).name.as_deref(), Some("Friends"));
    // The first message that was for them is missed, although they have heard nothing of that device before.
    let other = world.register();
    world.settle();
    world.add(0, group, other).unwrap();
    world.server.groups.swallow = 1;
    world.send_group(0, group, "lost");
    world.settle();
    world.send_group(0, group, "found");
    world.settle();
    world.settle();
    assert_eq!(world.group_texts(other, group), ["lost", "found"]);
}

#[test]
fn closed_members_do_not_stop_a_group() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "before");
    world.settle();
    // Somebody else registers the number of person 2, whose account is closed by that.
    let heir = world.register_phone("+15550000002");
    let message = world.send_group(0, group, "after");
    world.pass(Millis::from_secs(10));
    assert_eq!(world.group_texts(1, group), ["before", "after"]);
    world.pass(Millis::from_secs(10));
    let (state, recipients) = world.group_status(0, message);
    assert_eq!(state, DeliveryState::Delivered, "of those that are there: {recipients:?}");
    let closed: Vec<bool> = world.info(0, group).members.iter().map(|member| member.closed).collect();
    assert_eq!(closed.iter().filter(|closed| **closed).count(), 1);
    assert_ne!(world.account(heir), world.account(2));
}
