//! Changes of groups: made once, whatever is lost; refused with a word before anything is sent.

use crate::world::World;
use client::{EventView, GroupCommand, GroupError};
use types::{AccountId, GroupId, Millis};
use wire::{Code, Refusal};

fn add(world: &World, whom: &[usize]) -> GroupCommand {
    GroupCommand::Add(world.accounts(whom))
}

#[test]
fn members_come_and_go_and_rise() {
    let (mut world, group) = World::with_group(3);
    let fourth = world.register();
    world.settle();
    world.promote(0, group, 1).unwrap();
    world.settle();
    world.add(1, group, fourth).unwrap();
    world.settle();
    world.remove(1, group, 2).unwrap();
    world.change(0, group, GroupCommand::Demote(world.accounts(&[1]))).unwrap();
    world.settle();
    world.change(fourth, group, GroupCommand::Leave).unwrap();
    world.settle();
    let info = world.info(0, group);
    assert_eq!(info.epoch, 5);
    assert_eq!(info.members.len(), 2);
    assert!(!world.info(2, group).i_am_member);
    let (creator, admin, left) = (world.account(0), world.account(1), world.account(fourth));
    let seen = world.print_changes(2);
    assert_eq!(
        seen,
        [(0, "create", creator), (1, "promote", creator), (2, "add", admin), (3, "remove", admin)],
        "and nothing after the removal"
    );
    assert_eq!(world.print_changes(0), [(2, "add", admin), (3, "remove", admin), (5, "leave", left)]);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let (mut world, group) = World::with_group(3);
    let stranger = world.register();
    world.settle();
    let (alice, bob, carol, dave) =
        (world.account(0), world.account(1), world.account(2), world.account(stranger));
    let before = world.chain(group).operations.len();
    type Case = (usize, GroupCommand, GroupError);
    let cases: Vec<Case> = vec![
        (1, GroupCommand::Add(vec![dave]), GroupError::NotAdmin),
        (1, GroupCommand::Rename("mine".to_owned()), GroupError::NotAdmin),
        (1, GroupCommand::MakeLink, GroupError::NotAdmin),
        (0, GroupCommand::Add(vec![bob, dave]), GroupError::AlreadyMember(vec![bob])),
        (0, GroupCommand::Remove(vec![dave]), GroupError::NotMembers(vec![dave])),
        (0, GroupCommand::Remove(vec![alice]), GroupError::Oneself),
        (0, GroupCommand::Promote(vec![dave]), GroupError::NotMembers(vec![dave])),
        (0, GroupCommand::Promote(vec![alice]), GroupError::AlreadyAdmin(vec![alice])),
        (0, GroupCommand::Demote(vec![carol]), GroupError::NotAdmins(vec![carol])),
        (0, GroupCommand::Demote(vec![alice]), GroupError::LastAdmin),
        (0, GroupCommand::Leave, GroupError::LastAdmin),
        (0, GroupCommand::Rename(String::new()), GroupError::BadName),
        (0, GroupCommand::Add(Vec::new()), GroupError::Nobody),
        (stranger, GroupCommand::Leave, GroupError::NoSuchGroup),
    ];
    for (who, command, error) in cases {
        assert_eq!(world.begin_change(who, group, command), Err(error));
    }
    let many: Vec<AccountId> = (0..1_022_u16)
        .map(|number| {
            AccountId::from_bytes([&number.to_be_bytes()[..], &[7; 14]].concat().try_into().unwrap())
        })
        .collect();
    let error = world.begin_change(0, group, GroupCommand::Add(many));
    assert_eq!(error, Err(GroupError::TooManyMembers { members: 1_025 }));
    assert_eq!(world.begin_create(0, "", &[1]), Err(GroupError::BadName));
    assert_eq!(world.begin_create(0, "Me", &[0]), Err(GroupError::AlreadyMember(vec![alice])));
    world.run();
    assert_eq!(world.chain(group).operations.len(), before, "nothing was sent");
}

#[test]
fn a_creator_stays_whatever_other_admins_want() {
    let (mut world, group) = World::with_group(2);
    world.promote(0, group, 1).unwrap();
    world.settle();
    assert_eq!(world.remove(1, group, 0), Err(GroupError::Creator));
    let creator = world.accounts(&[0]);
    assert_eq!(world.change(1, group, GroupCommand::Demote(creator)), Err(GroupError::Creator));
    world.change(0, group, GroupCommand::Leave).unwrap();
}

#[test]
fn a_lost_race_is_checked_again_and_run_again() {
    let (mut world, group) = World::with_group(3);
    let (fourth, fifth) = (world.register(), world.register());
    world.settle();
    world.promote(0, group, 1).unwrap();
    world.settle();
    // Both act on the same head; one of them is first.
    let one = world.begin_change(0, group, add(&world, &[fourth])).unwrap();
    let other = world.begin_change(1, group, add(&world, &[fifth])).unwrap();
    world.settle();
    assert_eq!(world.outcome(0, one), Some(Ok(group)));
    assert_eq!(world.outcome(1, other), Some(Ok(group)));
    assert_eq!(world.info(2, group).members.len(), 5);
    // And where the winner has done it already, the loser hears of it.
    let sixth = world.register();
    world.settle();
    let one = world.begin_change(0, group, add(&world, &[sixth])).unwrap();
    let other = world.begin_change(1, group, add(&world, &[sixth])).unwrap();
    world.settle();
    let outcomes = [world.outcome(0, one).unwrap(), world.outcome(1, other).unwrap()];
    let late = Err(GroupError::AlreadyMember(world.accounts(&[sixth])));
    assert!(outcomes.contains(&Ok(group)) && outcomes.contains(&late), "{outcomes:?}");
}

#[test]
fn a_change_whose_answer_was_lost_is_made_once() {
    let (mut world, group) = World::with_group(2);
    let third = world.register();
    world.settle();
    let change = world.begin_change(0, group, add(&world, &[third])).unwrap();
    while world.chain(group).operations.len() == 1 {
        assert!(world.step_up(0), "the operation reaches the server");
    }
    // The answer is lost, and the process lives on.
    world.disconnect(0);
    assert_eq!(world.outcome(0, change), None, "nobody knows");
    world.settle();
    assert_eq!(world.outcome(0, change), Some(Ok(group)));
    assert_eq!(world.chain(group).operations.len(), 2);
    world.send_group(third, group, "thank you");
    world.settle();
    assert_eq!(world.group_texts(0, group), ["thank you"]);
    assert_eq!(
        world.info(third, group).name.as_deref(),
        Some("Friends"),
        "the secret was given once it was known"
    );
}

#[test]
fn asking_again_after_a_crash_is_the_same_change() {
    for learned_first in [false, true] {
        let (mut world, group) = World::with_group(2);
        let third = world.register();
        world.settle();
        world.begin_change(0, group, add(&world, &[third])).unwrap();
        while world.chain(group).operations.len() == 1 {
            assert!(world.step_up(0));
        }
        world.crash(0);
        if learned_first {
            world.settle();
            assert_eq!(world.info(0, group).members.len(), 3, "learned from the chain");
        }
        let again = world.begin_change(0, group, add(&world, &[third])).unwrap();
        world.settle();
        assert_eq!(world.outcome(0, again), Some(Ok(group)));
        world.told(0, again);
        assert_eq!(world.chain(group).operations.len(), 2, "one operation");
        assert!(world.print_changes(0).is_empty(), "one's own change is no event, whenever it is learned");
        assert_eq!(world.add(0, group, third), Err(GroupError::AlreadyMember(world.accounts(&[third]))));
    }
}

#[test]
fn a_change_that_was_undone_since_is_not_said_to_be_so() {
    let (mut world, group) = World::with_group(3);
    let named = vec![world.account(1)];
    world.begin_change(0, group, GroupCommand::Promote(named.clone())).unwrap();
    while world.chain(group).operations.len() == 1 {
        assert!(world.step_up(0));
    }
    world.crash(0);
    world.settle();
    assert_eq!(world.remove(0, group, 1), Ok(group));
    for _ in 0..2 {
        let again = world.begin_change(0, group, GroupCommand::Promote(named.clone()));
        assert_eq!(again, Err(GroupError::NotMembers(named.clone())));
    }
    world.add(0, group, 1).unwrap();
    assert_eq!(world.promote(0, group, 1), Ok(group), "it is made again");
}

#[test]
fn a_group_whose_creation_was_not_answered_is_one_group() {
    let mut world = World::new(2);
    world.settle();
    world.begin_create(0, "Friends", &[1]).unwrap();
    while world.server.groups.chains.is_empty() {
        assert!(world.step_up(0));
    }
    world.crash(0);
    world.settle();
    let again = world.begin_create(0, "Friends", &[1]).unwrap();
    world.settle();
    assert!(world.outcome(0, again).unwrap().is_ok());
    assert_eq!(world.server.groups.chains.len(), 1);
    assert_eq!(world.people[0].engine().view().groups().unwrap().len(), 1);
    assert_eq!(world.people[1].engine().view().groups().unwrap()[0].name.as_deref(), Some("Friends"));
}

#[test]
fn what_never_left_is_gone_with_its_process() {
    let (mut world, group) = World::with_group(2);
    world.disconnect(0);
    world.begin_change(0, group, GroupCommand::Rename("Too late".to_owned())).unwrap();
    world.crash(0);
    world.settle();
    assert_eq!(world.info(0, group).name.as_deref(), Some("Friends"));
    assert_eq!(world.chain(group).operations.len(), 1);
}

#[test]
fn an_answer_that_says_nothing_leads_to_the_same_operation_again() {
    let (mut world, group) = World::with_group(2);
    world.server.lies.push_back(("apply_group", Refusal::new(Code::Unavailable)));
    let change = world.begin_change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    world.settle();
    assert_eq!(world.outcome(0, change), Some(Ok(group)));
    assert_eq!(world.chain(group).operations.len(), 2);
}

#[test]
fn a_quota_ends_a_change_and_says_when() {
    let mut world = World::new(2);
    world.settle();
    let after = Millis::from_mins(10);
    world.server.refusals.push_back(("apply_group", Refusal::retry_after(after)));
    assert_eq!(world.create(0, "Friends", &[1]), Err(GroupError::RetryAfter(Some(after))));
    assert!(world.server.groups.chains.is_empty());
    world.create(0, "Friends", &[1]).unwrap();
}

#[test]
fn an_admin_who_was_demoted_meanwhile_is_told_why() {
    let (mut world, group) = World::with_group(3);
    world.promote(0, group, 1).unwrap();
    world.settle();
    world.server.groups.no_rows.insert(world.account(1));
    world.change(0, group, GroupCommand::Demote(world.accounts(&[1]))).unwrap();
    assert_eq!(world.remove(1, group, 2), Err(GroupError::NotAdmin));
    world.settle();
    assert_eq!(world.info(0, group).members.len(), 3);
}

#[test]
fn a_link_lets_people_in_until_it_is_reset() {
    let (mut world, group) = World::with_group(2);
    let (third, fourth) = (world.register(), world.register());
    world.settle();
    let url = world.link(0, group, GroupCommand::MakeLink);
    assert_eq!(world.link(0, group, GroupCommand::MakeLink), url, "one link, however often it is asked for");
    world.settle();
    assert_eq!(world.join(third, &url), Ok(group));
    assert_eq!(world.info(third, group).name.as_deref(), Some("Friends"), "the secret came with the link");
    assert_eq!(world.join(third, &url), Ok(group), "joining again changes nothing");
    world.send_group(third, group, "hello");
    world.settle();
    assert_eq!(world.group_texts(1, group), ["hello"]);
    let joined = world.account(third);
    assert!(world.print_changes(1).contains(&(2, "join", joined)));
    let new = world.link(0, group, GroupCommand::ResetLink);
    assert_ne!(new, url);
    assert_eq!(world.join(fourth, &url), Err(GroupError::DeadLink));
    assert_eq!(world.join(fourth, &new), Ok(group));
    world.settle();
    assert_eq!(world.info(1, group).members.len(), 4);
}

/// The links that people see, and how many seeds of links each of them holds.
fn links(world: &mut World, group: GroupId, who: &[usize]) -> Vec<(Option<String>, i64)> {
    let mut seen = Vec::new();
    for who in who {
        let url = world.people[*who].engine().view().group_link(group).unwrap();
        let mut seeds = 0;
        world.with_database(*who, |database| {
            let sql = "SELECT count(*) FROM group_link_seed";
            seeds = database.query_row(sql, [], |row| row.get(0)).unwrap();
        });
        seen.push((url, seeds));
    }
    seen
}

#[test]
fn every_admin_has_the_same_link_and_nobody_else_has_it() {
    let (mut world, group) = World::with_group(4);
    let laptop = world.link_device(0);
    world.settle();
    world.send_group(0, group, "the laptop hears of the group");
    world.settle();
    world.promote(0, group, 1).unwrap();
    let url = world.link(0, group, GroupCommand::MakeLink);
    world.settle();
    world.promote(1, group, 2).unwrap();
    world.settle();
    let known = (Some(url.clone()), 1);
    assert_eq!(
        links(&mut world, group, &[0, laptop, 1, 2, 3]),
        [known.clone(), known.clone(), known.clone(), known, (None, 0)]
    );
    world.settle();
    assert_eq!(world.link(2, group, GroupCommand::MakeLink), url, "asking for it is no change");

    let new = world.link(1, group, GroupCommand::ResetLink);
    world.settle();
    assert_ne!(new, url);
    let links = links(&mut world, group, &[0, laptop, 1, 2, 3]);
    assert!(links[..4].iter().all(|(seen, _)| seen.as_ref() == Some(&new)), "{links:?}");
    assert_eq!(links[4], (None, 0));
    let late = world.register();
    world.settle();
    assert_eq!(world.join(late, &url), Err(GroupError::DeadLink));
    assert_eq!(world.join(late, &new), Ok(group));
}

#[test]
fn who_is_no_admin_any_more_is_not_given_the_link() {
    let (mut world, group) = World::with_group(3);
    world.promote(0, group, 1).unwrap();
    world.settle();
    let account = world.account(1);
    // Nothing one-to-one leaves until the other one is no admin any more.
    let later = Refusal { retry_after: Some(Millis::from_secs(60)), ..Refusal::new(Code::RetryAfter) };
    world.send(1, 0, "to be receipted");
    world.run();
    world.server.refusals.push_back(("send", later));
    world.pass(Millis::from_secs(2));
    assert!(world.server.refusals.is_empty());
    world.link(0, group, GroupCommand::MakeLink);
    world.change(0, group, GroupCommand::Demote(vec![account])).unwrap();
    world.pass(Millis::from_mins(2));
    world.settle();
    assert_eq!(links(&mut world, group, &[1]), [(None, 0)]);
}

#[test]
fn a_link_that_nobody_gave_is_found_elsewhere() {
    let (mut world, group) = World::with_group(2);
    world.promote(0, group, 1).unwrap();
    world.link(0, group, GroupCommand::MakeLink);
    world.settle();
    world.with_database(1, |database| {
        database.execute("DELETE FROM group_link_seed", []).unwrap();
    });
    world.settle();
    assert_eq!(world.begin_change(1, group, GroupCommand::MakeLink), Err(GroupError::LinkElsewhere));
}

#[test]
fn links_of_other_servers_and_of_no_group_are_refused() {
    let (mut world, group) = World::with_group(2);
    let third = world.register();
    world.settle();
    let url = world.link(0, group, GroupCommand::MakeLink);
    let elsewhere = url.replace("http://127.0.0.1:4000", "https://elsewhere.example");
    assert_eq!(world.begin_join(third, &elsewhere), Err(GroupError::OtherServer));
    let nowhere = url.replace(&group.to_string(), &"0".repeat(32));
    assert_eq!(world.join(third, &nowhere), Err(GroupError::DeadLink));
    let guessed = format!("{}#{}", url.split_once('#').unwrap().0, "A".repeat(86));
    assert_eq!(world.join(third, &guessed), Err(GroupError::DeadLink));
    assert!(world.people[third].engine().view().groups().unwrap().is_empty());
}

#[test]
fn somebody_who_was_removed_comes_back() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "one");
    world.settle();
    world.remove(0, group, 2).unwrap();
    world.settle();
    world.send_group(0, group, "two");
    world.settle();
    world.add(0, group, 2).unwrap();
    world.send_group(0, group, "three");
    world.settle();
    world.settle();
    assert_eq!(world.group_texts(2, group), ["one", "three"]);
    let gap = |event: &EventView| matches!(event, EventView::Gap { .. });
    assert!(!world.print(2).iter().any(gap), "what was written meanwhile is not missing");
}

/// Removed and added again while away, and told so by the chain before the mailbox tells what came before it.
#[test]
fn somebody_who_has_come_back_without_knowing_it_misses_nothing() {
    let (mut world, group) = World::with_group(3);
    world.promote(0, group, 2).unwrap();
    world.settle();
    world.disconnect(2);
    world.send_group(0, group, "one");
    world.run();
    world.remove(0, group, 2).unwrap();
    world.send_group(0, group, "two");
    world.run();
    world.add(0, group, 2).unwrap();
    // Whoever wants to change the group asks for its chain first.
    world.begin_change(2, group, GroupCommand::Rename("Mine".to_owned())).unwrap();
    world.connect(2);
    while world.step_up(2) | world.step_down(2) {}
    world.settle();
    world.send_group(0, group, "three");
    world.settle();
    world.settle();
    assert_eq!(world.group_texts(2, group), ["one", "three"]);
    let gap = |event: &EventView| matches!(event, EventView::Gap { .. });
    assert!(!world.print(2).iter().any(gap), "what was written meanwhile is not missing");
}

#[test]
fn what_the_server_did_not_look_at_is_tried_again() {
    let (mut world, group) = World::with_group(2);
    for _ in 0..3 {
        world.server.refusals.push_back(("apply_group", Refusal::new(Code::TooManyInFlight)));
    }
    let change = world.begin_change(0, group, GroupCommand::Rename("Soon".to_owned())).unwrap();
    world.run();
    assert_eq!(world.outcome(0, change), None);
    world.pass(Millis::from_secs(10));
    assert_eq!(world.outcome(0, change), Some(Ok(group)));
    assert!(world.server.refusals.is_empty());
}

#[test]
fn a_node_that_will_catch_up_is_waited_for_and_no_stamp_is_forgotten() {
    let (mut world, group) = World::with_group(2);
    let wait = Refusal { retry_after: Some(Millis::from_secs(8)), ..Refusal::new(Code::BadStamp) };
    world.server.refusals.push_back(("apply_group", wait));
    let change = world.begin_change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    world.run();
    assert_eq!(world.outcome(0, change), None);
    world.send(0, 1, "meanwhile");
    world.run();
    let sent = world.server.record.values().max_by_key(|recorded| recorded.stamp).unwrap();
    assert!(sent.send.highest_stamp.is_some(), "what is written meanwhile stands after all that was seen");
    world.pass(Millis::from_secs(9));
    assert_eq!(world.outcome(0, change), Some(Ok(group)));
}
