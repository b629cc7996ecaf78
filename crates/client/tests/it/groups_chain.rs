//! Chains under a server that lies: what members did not sign is refused, and what contradicts is shown.

use crate::{
    answers::ORIGIN,
    groups_world::{encrypted_to, sign_as},
    world::World,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use client::{Engine, EventView, GroupCommand, HttpAnswer, HttpRequest, database, testing::Bugs};
use rusqlite::Connection;
use signed::{DeviceList, GroupChange, GroupState, SignedOperation};
use types::{AccountId, GroupId, Millis};

fn rename(text: &[u8]) -> GroupChange {
    GroupChange::SetInfo(text.to_vec())
}

#[test]
fn a_member_whom_no_admin_added_gets_nothing() {
    let (mut world, group) = World::with_group(3);
    let ghost = world.register();
    world.settle();
    let state = world.chain(group).state().clone();
    let account = world.account(ghost);
    // The ghost adds itself; a plain member adds it: neither may.
    for forger in [ghost, 1] {
        let forged = sign_as(&mut world, forger, &state, GroupChange::Add([account].into()));
        world.settle();
        let stamp = world.server.next_stamp(None);
        for member in 0..3 {
            let member = world.account(member);
            world.server.inject_operation(member, &forged, stamp);
        }
        world.settle();
    }
    for who in 0..3 {
        assert_eq!(world.info(who, group).members.len(), 3);
        assert_eq!(world.forks(who, group), 1, "shown once");
    }
    world.send_group(0, group, "among ourselves");
    world.settle();
    assert_eq!(world.group_texts(1, group), ["among ourselves"]);
    for who in 0..3 {
        assert!(!encrypted_to(&world, who).contains(&account));
    }
}

#[test]
fn a_server_that_insists_on_a_ghost_gets_no_message_at_all() {
    let (mut world, group) = World::with_group(3);
    let ghost = world.register();
    world.settle();
    let state = world.chain(group).state().clone();
    let account = world.account(ghost);
    let forged = sign_as(&mut world, ghost, &state, GroupChange::Add([account].into()));
    // Its chain has an operation that breaks the rules; the state is what a server would like it to be.
    let create = world.chain(group).operations[0].clone();
    let wished = with_member(&state, &create, account, &mut world);
    let stamp = world.server.next_stamp(None);
    world.server.append_operation(forged, Some(&state), wished, stamp);
    world.settle();
    let stored = world.server.groups.sent.len();
    world.send_group(0, group, "for members only");
    world.pass(Millis::from_mins(5));
    assert_eq!(world.server.groups.sent.len(), stored);
    assert_eq!(world.forks(0, group), 1);
    assert!(!encrypted_to(&world, 0).contains(&account));
    let tries = world.server.groups.tries;
    assert!(tries < 30, "{tries} tries in five minutes");
}

/// A state with one member more, as no chain of these operations comes to.
fn with_member(
    state: &GroupState,
    _create: &SignedOperation,
    ghost: AccountId,
    world: &mut World,
) -> GroupState {
    let add = sign_as(world, 0, state, GroupChange::Add([ghost].into()));
    world.settle();
    state.apply(&add).unwrap()
}

#[test]
fn a_jump_is_fetched_in_pages_and_told_in_order() {
    let (mut world, group) = World::with_group(3);
    world.print(1);
    world.server.groups.no_rows.insert(world.account(1));
    for number in 0..8 {
        world.change(0, group, GroupCommand::Rename(format!("Name {number}"))).unwrap();
    }
    world.settle();
    assert_eq!(world.info(1, group).epoch, 0, "nothing was heard of it");
    world.server.groups.no_rows.clear();
    world.change(0, group, GroupCommand::Rename("Last".to_owned())).unwrap();
    world.settle();
    assert_eq!((world.info(1, group).epoch, world.info(1, group).name.as_deref()), (9, Some("Last")));
    let epochs: Vec<u64> = world.print_changes(1).into_iter().map(|(epoch, ..)| epoch).collect();
    assert_eq!(epochs, (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_message_ahead_of_our_chain_waits_for_it() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "first");
    world.settle();
    world.server.groups.no_rows.insert(world.account(1));
    world.change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    let fetched = world.server.groups.fetched;
    world.send_group(0, group, "second");
    world.settle();
    assert!(world.server.groups.fetched > fetched);
    assert_eq!(world.group_texts(1, group), ["first", "second"]);
    assert_eq!(world.forks(1, group), 0);
}

#[test]
fn what_comes_while_a_chain_is_fetched_is_judged_by_what_is_fetched_after_it() {
    let (mut world, group) = World::with_group(3);
    let late = world.register();
    world.send_group(0, group, "first");
    world.settle();
    world.server.groups.no_rows.insert(world.account(1));
    world.disconnect(1);
    world.change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    world.send_group(0, group, "second");
    world.run();
    world.connect(1);
    let answer = answer_of_next_fetch(&mut world, 1);
    // The server has read the chain. Its answer is on the way while somebody is added and writes at once.
    world.add(0, group, late).unwrap();
    world.pass(Millis::from_secs(1));
    for who in [late, 0] {
        world.send_group(who, group, "third");
        world.pass(Millis::from_secs(1));
    }
    assert_eq!(world.group_texts(1, group), ["first"]);
    world.arrive(1, answer);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.group_texts(1, group), ["first", "second", "third", "third"], "no key was dropped");
    assert_eq!(world.forks(1, group), 0, "nothing was kept back");
}

#[test]
fn what_is_ahead_of_all_that_the_server_gives_is_held_within_bounds() {
    let (mut world, group) = World::with_group(2);
    world.send_group(0, group, "first");
    world.settle();
    let me = world.account(1);
    world.server.groups.no_rows.insert(me);
    world.server.groups.rolled_back.insert(me, 0);
    world.change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    world.disconnect(1);
    for number in 0..520 {
        world.send_group(0, group, &number.to_string());
    }
    world.run();
    world.connect(1);
    world.pass(Millis::from_secs(5));
    assert_eq!(world.forks(1, group), 1);
    world.with_database(1, |database| {
        let count = |sql| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM group_held"), 500);
        assert_eq!(count("SELECT count(*) FROM quarantine WHERE reason = 'ahead'"), 20);
    });
    // What was held is shown once the server gives what it kept.
    world.server.groups.rolled_back.clear();
    world.settle();
    assert_eq!(world.group_texts(1, group).len(), 501);
}

#[test]
fn a_server_that_says_more_and_gives_nothing_new_is_not_asked_without_end() {
    let (mut world, group) = World::with_group(2);
    world.send_group(0, group, "first");
    world.settle();
    let me = world.account(1);
    world.server.groups.no_rows.insert(me);
    world.server.groups.rolled_back.insert(me, 0);
    world.server.groups.always_more = true;
    world.change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    let fetched = world.server.groups.fetched;
    world.send_group(0, group, "second");
    world.settle();
    assert!(world.server.groups.fetched <= fetched + 2);
    assert_eq!(world.forks(1, group), 1);
}

/// Carries a person's frames until the server has answered a `GetGroup`, and keeps the answer back.
fn answer_of_next_fetch(world: &mut World, who: usize) -> bytes::Bytes {
    let fetched = world.server.groups.fetched;
    loop {
        let mut moved = world.step_up(who);
        if world.server.groups.fetched > fetched {
            return world.delay_last(who);
        }
        moved |= world.step_mailbox(who) | world.step_down(who);
        assert!(moved, "nothing was fetched");
    }
}

#[test]
fn a_part_of_the_chain_that_is_kept_back_shows_at_the_first_message() {
    let (mut world, group) = World::with_group(3);
    world.send_group(0, group, "first");
    world.settle();
    let me = world.account(1);
    world.server.groups.no_rows.insert(me);
    world.server.groups.rolled_back.insert(me, 0);
    world.change(0, group, GroupCommand::Rename("New".to_owned())).unwrap();
    world.send_group(0, group, "second");
    world.settle();
    assert_eq!(world.group_texts(1, group), ["first"]);
    assert_eq!(world.forks(1, group), 1);
    // Once the server gives what it kept, everything goes on.
    world.server.groups.rolled_back.clear();
    world.connect(1);
    world.settle();
    assert_eq!(world.group_texts(1, group), ["first", "second"]);
}

/// Two admins act on one head, and the server takes both. What the third one sees of the second's message.
fn forked(bugs: Bugs) -> (Vec<String>, usize) {
    let (mut world, group) = World::with_group(3);
    world.promote(0, group, 1).unwrap();
    for who in [0, 1] {
        world.send_group(who, group, "together");
        world.settle();
    }
    let state = world.chain(group).state().clone();
    let one = sign_as(&mut world, 0, &state, rename(b"one"));
    let other = sign_as(&mut world, 1, &state, rename(b"other"));
    world.people[2].plant(bugs);
    world.settle();
    world.print(2);
    let stamp = world.server.next_stamp(None);
    for (who, operation) in [(0, &one), (2, &one), (1, &other)] {
        let account = world.account(who);
        world.server.inject_operation(account, operation, stamp);
    }
    world.settle();
    assert!((0..3).all(|who| world.info(who, group).epoch == 2));
    assert_eq!(world.forks(2, group), 0, "nobody has told it yet");
    world.server.groups.anything_goes = true;
    world.send_group(1, group, "from the other side");
    world.settle();
    let texts = world.group_texts(2, group);
    (texts, world.forks(2, group))
}

#[test]
fn a_fork_shows_at_the_first_message_across_it() {
    let (texts, forks) = forked(Bugs::default());
    assert_eq!((texts, forks), (vec!["together".to_owned(), "together".to_owned()], 1));
    let (texts, forks) = forked(Bugs { trust_any_head: true, ..Bugs::default() });
    assert_eq!((texts.len(), forks), (3, 0), "an engine that trusts any head would be found");
}

#[test]
fn another_operation_in_the_place_of_a_known_one_is_refused() {
    let (mut world, group) = World::with_group(3);
    world.promote(0, group, 1).unwrap();
    let state = world.chain(group).state().clone();
    world.change(0, group, GroupCommand::Rename("Known".to_owned())).unwrap();
    world.settle();
    let other = sign_as(&mut world, 1, &state, rename(b"other"));
    world.settle();
    let stamp = world.server.next_stamp(None);
    for _ in 0..2 {
        let account = world.account(2);
        world.server.inject_operation(account, &other, stamp);
    }
    world.settle();
    assert_eq!(world.info(2, group).name.as_deref(), Some("Known"));
    assert_eq!(world.forks(2, group), 1);
}

#[test]
fn a_message_from_before_its_sender_left_is_shown() {
    let (mut world, group) = World::with_group(3);
    world.send_group(2, group, "hello");
    world.settle();
    world.disconnect(1);
    world.send_group(2, group, "goodbye");
    world.run();
    world.remove(0, group, 2).unwrap();
    world.settle();
    assert_eq!(world.group_texts(1, group), ["hello", "goodbye"]);
    // What comes long after the end, under a view from before it, is the server's doing.
    world.pass(Millis::from_mins(1));
    let sender = world.account(2);
    let (send, _) = world.server.groups.sent.values().last().cloned().unwrap();
    let again = wire::GroupSend { envelope_id: types::EnvelopeId::from_bytes([8; 16]), ..send };
    let stamp = world.server.next_stamp(None);
    let receiver = world.account(1);
    world.server.inject_message(sender, receiver, &again, stamp);
    world.settle();
    assert_eq!(world.group_texts(1, group).len(), 2);
}

#[test]
fn the_chain_is_known_after_a_restart_without_being_fetched() {
    let (mut world, group) = World::with_group(3);
    world.change(0, group, GroupCommand::Rename("Kept".to_owned())).unwrap();
    world.settle();
    let before = world.info(1, group);
    world.crash(1);
    assert_eq!(world.info(1, group), before);
    let fetched = world.server.groups.fetched;
    world.settle();
    world.send_group(1, group, "still here");
    world.settle();
    assert_eq!(world.server.groups.fetched, fetched);
    assert_eq!(world.group_texts(2, group), ["still here"]);
}

#[test]
fn messages_of_groups_that_one_is_not_in_leave_nothing() {
    let (mut world, group) = World::with_group(3);
    let stranger = world.register();
    world.send_group(0, group, "among ourselves");
    world.settle();
    let (sender, outsider) = (world.account(0), world.account(stranger));
    let before = world.server.record.len();
    let sent: Vec<_> = world.server.groups.sent.values().cloned().collect();
    for (send, stamp) in sent {
        world.server.inject_message(sender, outsider, &send, stamp);
        // Nor where a listed account is said to write in a group that is theirs, and not ours.
        let nowhere = wire::GroupSend { group: GroupId::from_bytes([4; 16]), ..send };
        let nowhere = wire::GroupSend { envelope_id: types::EnvelopeId::from_bytes([5; 16]), ..nowhere };
        world.server.inject_message(sender, outsider, &nowhere, stamp);
    }
    world.pass(Millis::from_mins(5));
    assert!(world.print(stranger).is_empty());
    assert_eq!(world.server.record.len(), before, "nobody was asked for anything");
    assert!(world.people[stranger].engine().view().groups().unwrap().is_empty());
    assert!(world.server.accounts[&outsider].mailbox.is_empty());
}

#[test]
fn a_split_view_names_the_group() {
    let (mut world, group) = World::with_group(2);
    world.server.groups.rolled_back.insert(world.account(1), 0);
    world.server.groups.no_rows.insert(world.account(1));
    world.change(0, group, GroupCommand::Rename("x".to_owned())).unwrap();
    world.send_group(0, group, "x");
    world.settle();
    let author = world.account(0);
    let split = EventView::SplitView { chat: group.into(), account: author };
    assert!(world.print(1).contains(&split));
}

#[test]
fn a_backup_has_the_chain_and_what_opens_its_name() {
    let (mut world, group) = World::with_group(3);
    world.change(0, group, GroupCommand::Rename("Old friends".to_owned())).unwrap();
    world.promote(0, group, 1).unwrap();
    world.link(0, group, GroupCommand::MakeLink);
    world.settle();
    let gone = world.account(1);
    world.with_database(0, |database| {
        let key = signed::DeviceSecret::from_bytes(&[3; 32]).public();
        let sql = "INSERT INTO device_removed (account, device_key) VALUES (?1, ?2)";
        database.execute(sql, rusqlite::params![gone.as_bytes(), key.as_bytes()]).unwrap();
    });
    let now = world.now;
    let backup =
        world.people[0].with_rng(|engine, rng| client::backup::create(&engine.view(), now, rng)).unwrap();
    let mut other = Engine::open(database::open_in_memory().unwrap()).unwrap();
    let (bytes, key) = (backup.bytes.as_slice(), backup.recovery_key.as_str());
    let asked =
        world.people[0].with_rng(|_, rng| other.begin_restore(bytes, key, ORIGIN, None, now, rng)).unwrap();
    let answer = restored(&asked);
    world.people[0].with_rng(|_, rng| other.restored(&answer, now, rng)).unwrap();
    let there = other.close();
    let account = world.account(0);
    world.with_database(0, |original| {
        for table in ["group_operation", "group_member", "group_chain", "group_link_seed"] {
            assert!(rows(&there, table) == rows(original, table), "{table} is the same");
            assert!(!rows(original, table).is_empty());
        }
        let mut removed = rows(original, "device_removed");
        let key: [u8; 32] =
            original.query_row("SELECT device_secret FROM profile", [], |row| row.get(0)).unwrap();
        let replaced = signed::DeviceSecret::from_bytes(&key).public().as_bytes().to_vec();
        let mut known = rows(&there, "device_removed");
        removed.push(vec![account.as_bytes().to_vec().into(), replaced.into()]);
        for rows in [&mut removed, &mut known] {
            rows.sort_by_key(|row| format!("{row:?}"));
        }
        assert!(known == removed, "and the device that was replaced");
    });
}

/// What a server answers that has taken a restoration.
fn restored(asked: &HttpRequest) -> HttpAnswer {
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let list = URL_SAFE_NO_PAD.decode(body["device_list"].as_str().unwrap()).unwrap();
    let list = DeviceList::verify(&list).unwrap();
    let made = serde_json::json!({
        "account": list.account().to_string(),
        "device": 1,
        "registration": list.devices()[0].registration().get(),
    });
    HttpAnswer { status: 201, body: made.to_string().into_bytes() }
}

/// What a restored device must know as the old one did.
fn rows(database: &Connection, table: &str) -> Vec<Vec<rusqlite::types::Value>> {
    let columns = match table {
        "group_operation" => "group_id, epoch, hash, operation_id, operation, admins_send",
        "group_member" => "group_id, account, since, until, role",
        "group_link_seed" => "group_id, seed",
        "device_removed" => "account, device_key",
        _ => "group_id, epoch, head, state, joined, secret, name",
    };
    let count = columns.split(',').count();
    let mut statement = database.prepare(&format!("SELECT {columns} FROM {table} ORDER BY 1, 2")).unwrap();
    let read = |row: &rusqlite::Row<'_>| (0..count).map(|column| row.get(column)).collect();
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}
