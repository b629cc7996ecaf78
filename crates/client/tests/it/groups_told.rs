//! Changes that were made, and of which nobody was told because the process died; and what people are told of groups.

use crate::world::World;
use client::{ChatName, EventView, GroupCommand, GroupError, Resolved};
use types::GroupId;

#[test]
fn a_group_is_made_once_until_somebody_was_told_of_it() {
    let mut world = World::new(2);
    world.settle();
    let first = world.begin_create(0, "Friends", &[1]).unwrap();
    world.settle();
    let group = world.outcome(0, first).unwrap().unwrap();
    // The process dies before a line is written.
    world.crash(0);
    world.settle();
    let again = world.begin_create(0, "Friends", &[1]).unwrap();
    world.settle();
    assert_eq!(world.outcome(0, again), Some(Ok(group)));
    assert_eq!(world.server.groups.chains.len(), 1);
    world.told(0, again);
    let second = world.create(0, "Friends", &[1]).unwrap();
    assert_ne!(second, group, "who was told, and asks again, wants another one");
    assert_eq!(world.server.groups.chains.len(), 2);
}

#[test]
fn an_addition_that_nobody_was_told_of_is_no_mistake_when_it_is_repeated() {
    let (mut world, group) = World::with_group(2);
    let third = world.register();
    world.settle();
    let add = |world: &World| GroupCommand::Add(vec![world.account(third)]);
    world.begin_change(0, group, add(&world)).unwrap();
    world.settle();
    world.crash(0);
    world.settle();
    let operations = world.chain(group).operations.len();
    assert_eq!(world.add(0, group, third), Ok(group));
    assert_eq!(world.chain(group).operations.len(), operations, "it was made before");
    let known = world.account(third);
    assert_eq!(world.add(0, group, third), Err(GroupError::AlreadyMember(vec![known])));
}

#[test]
fn a_link_that_was_asked_for_and_not_heard_of_is_the_one_to_show() {
    let (mut world, group) = World::with_group(2);
    let old = world.link(0, group, GroupCommand::MakeLink);
    let operations = world.chain(group).operations.len();
    world.begin_change(0, group, GroupCommand::ResetLink).unwrap();
    while world.chain(group).operations.len() == operations {
        assert!(world.step_up(0));
    }
    world.crash(0);
    let link = |world: &mut World| world.people[0].engine().view().group_link(group).unwrap();
    assert_eq!(link(&mut world), None, "the old one may be void, and is");
    let asked = world.begin_change(0, group, GroupCommand::MakeLink).unwrap();
    world.settle();
    assert_eq!(world.outcome(0, asked), Some(Ok(group)));
    let new = link(&mut world).unwrap();
    assert_ne!(new, old);
    assert_eq!(world.chain(group).operations.len(), operations + 1, "it is reset once");
    let third = world.register();
    world.settle();
    assert_eq!(world.join(third, &new), Ok(group));
}

#[test]
fn a_group_that_was_left_makes_no_name_ambiguous() {
    let (mut world, left) = World::with_group(2);
    world.change(1, left, GroupCommand::Leave).unwrap();
    world.settle();
    let name: ChatName = "Friends".parse().unwrap();
    let resolved = |world: &mut World, who: usize| world.people[who].engine().view().resolve(&name).unwrap();
    assert_eq!(resolved(&mut world, 1), Resolved::Known(left.into()), "what was said there stays readable");
    let group = world.create(0, "Friends", &[1]).unwrap();
    world.settle();
    assert_eq!(resolved(&mut world, 1), Resolved::Known(group.into()));
    assert_eq!(resolved(&mut world, 0), Resolved::Ambiguous, "a member of both has to say which");
}

/// Epochs of which somebody hears, and whether they were about that account.
fn heard(world: &mut World, who: usize, group: GroupId) -> Vec<(&'static str, bool)> {
    let events = world.print(who);
    let mut heard = Vec::new();
    for event in events {
        if let EventView::GroupChanged { epoch, change, .. } = event {
            let view = world.people[who].engine();
            heard.push((change, view.view().group_change_names_me(group, epoch).unwrap()));
        }
    }
    heard
}

#[test]
fn whom_a_change_was_done_to_is_known() {
    let (mut world, group) = World::with_group(3);
    (0..3).for_each(|who| drop(world.print(who)));
    world.promote(0, group, 1).unwrap();
    world.remove(0, group, 2).unwrap();
    world.settle();
    assert_eq!(heard(&mut world, 1, group), [("promote", true), ("remove", false)]);
    assert_eq!(heard(&mut world, 2, group), [("promote", false), ("remove", true)]);
}
