//! Messages to groups: one ciphertext, a row for every device of every member, all or none.

use crate::{
    chain::{Chain, ids, rows, send},
    world::{Person, World, refused},
};
use futures_util::future::join_all;
use server_ports::{Caller, fake::FaultPlan};
use signed::{GroupChange, group::Permissions};
use std::collections::BTreeSet;
use types::{MailboxId, Millis, limits};
use wire::{Code, EnvelopeKind, GroupSend, ListVersion, Request, Response, Urgency};

const MESSAGE: EnvelopeKind = EnvelopeKind::SenderKey;

/// Alice has a linked device 2 and a group with Bob, who has one too, and Carol.
fn group() -> (World, [Person; 3], Chain) {
    group_in(World::new())
}

fn group_in(world: World) -> (World, [Person; 3], Chain) {
    let people = [world.register(1), world.register(2), world.register(3)];
    world.link(&people[0], 2, &[1, 2]);
    world.link(&people[1], 2, &[1, 2]);
    let chain = Chain::found(&world, &people[0], &[&people[1], &people[2]]);
    (world, people, chain)
}

fn receivers(world: &World) -> Vec<MailboxId> {
    let of_message = |mailbox: &MailboxId| !rows(world, *mailbox, MESSAGE).is_empty();
    world.mailboxes.open_mailboxes().into_iter().filter(of_message).collect()
}

#[test]
fn every_device_but_the_sending_one_gets_the_same_ciphertext() {
    let (world, [alice, bob, carol], chain) = group();
    let message = chain.message(1, &[(&alice, 2), (&bob, 2)]);
    let stamp = send(&world, &alice, message.clone()).unwrap();
    let mut expected = vec![alice.linked(2), bob.linked(1), bob.linked(2), carol.mailbox()];
    expected.sort();
    let mut got = receivers(&world);
    got.sort();
    assert_eq!(got, expected);
    for mailbox in expected {
        let [row] = &rows(&world, mailbox, MESSAGE)[..] else { panic!("{mailbox:?}") };
        assert_eq!((row.stamp, row.to, row.from), (stamp, mailbox, alice.mailbox().address()));
        assert_eq!((&row.ciphertext, row.group), (&message.ciphertext, Some(chain.state.id())));
        assert_eq!((row.envelope_id, row.urgency), (message.envelope_id, Urgency::Normal));
    }
}

#[test]
fn a_retry_is_the_same_message_whatever_changed_since() {
    let (world, [alice, bob, carol], mut chain) = group();
    let message = chain.message(1, &[(&alice, 2), (&bob, 2)]);
    let stamp = send(&world, &carol, message.clone()).unwrap();
    chain.change(&world, &alice, GroupChange::SetTimer(60)).unwrap();
    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    assert_eq!(send(&world, &carol, message.clone()), Ok(stamp));
    chain.change(&world, &alice, GroupChange::Remove(ids(&[&carol]))).unwrap();
    assert_eq!(send(&world, &carol, message.clone()), Ok(stamp), "also of one who was removed since");
    let other = GroupSend { ciphertext: vec![9; 10].into(), ..message };
    assert_eq!(refused(send(&world, &carol, other)), Code::EnvelopeConflict);
    assert_eq!(rows(&world, bob.mailbox(), MESSAGE).len(), 1);
}

#[test]
fn another_head_is_refused_with_where_the_chain_is() {
    let (world, [alice, bob, _], mut chain) = group();
    let stale = chain.message(1, &[(&alice, 2), (&bob, 2)]);
    chain.change(&world, &alice, GroupChange::SetTimer(60)).unwrap();
    let refusal = send(&world, &bob, stale).unwrap_err();
    let head = refusal.group.unwrap().head.unwrap();
    assert_eq!((refusal.code, head.epoch, head.head), (Code::GroupHeadMoved, 1, chain.state.head()));
    let mut forked = chain.message(2, &[(&alice, 2), (&bob, 2)]);
    forked.head = [1; 32];
    assert_eq!(refused(send(&world, &bob, forked)), Code::GroupHeadMoved);
    assert!(receivers(&world).is_empty());
}

#[test]
fn other_lists_are_refused_with_every_version() {
    let (world, [alice, bob, carol], chain) = group();
    let refusal = send(&world, &carol, chain.message(1, &[(&alice, 2)])).unwrap_err();
    assert_eq!(refusal.code, Code::StaleDevices);
    let mut expected = vec![
        ListVersion { account: alice.id(), version: 2 },
        ListVersion { account: bob.id(), version: 2 },
        ListVersion { account: carol.id(), version: 1 },
    ];
    expected.sort();
    assert_eq!(refusal.group.unwrap().lists, expected);
    assert!(receivers(&world).is_empty());
    // The sender's own list counts as well.
    world.link(&carol, 2, &[1, 4]);
    let own = chain.message(2, &[(&alice, 2), (&bob, 2)]);
    assert_eq!(refused(send(&world, &carol, own)), Code::StaleDevices);
    send(&world, &carol, chain.message(3, &[(&alice, 2), (&bob, 2), (&carol, 2)])).unwrap();
}

#[test]
fn a_closed_account_stays_a_member_and_counts_as_version_0() {
    let (world, [alice, bob, carol], chain) = group();
    world.ask(&bob.caller(), Request::CloseAccount).unwrap();
    assert_eq!(
        refused(send(&world, &alice, chain.message(1, &[(&alice, 2), (&bob, 2)]))),
        Code::StaleDevices
    );
    send(&world, &alice, chain.message(2, &[(&alice, 2), (&bob, 0)])).unwrap();
    let mut got = receivers(&world);
    got.sort();
    let mut expected = vec![alice.linked(2), carol.mailbox()];
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!(refused(send(&world, &bob, chain.message(3, &[(&alice, 2), (&bob, 0)]))), Code::Revoked);
}

#[test]
fn a_full_mailbox_is_skipped_and_named() {
    let (world, [alice, bob, carol], chain) = group_in(World::with(|config| config.quotas.enabled = false));
    let big = limits::CIPHERTEXT_BYTES_MAX;
    let alone = Chain::found(&world, &carol, &[]);
    assert_ne!(alone.state.id(), chain.state.id());
    let filler = |id: u8| GroupSend {
        ciphertext: vec![id; big].into(),
        ..chain.message(id, &[(&alice, 2), (&bob, 2)])
    };
    // Bob's second device never acknowledges; the others do.
    let mut full = None;
    for turn in 0..2_200_u32 {
        let mut message = filler(1);
        let mut id = [0xfe; 16];
        id[..4].copy_from_slice(&(turn | 0x8000_0000).to_be_bytes());
        message.envelope_id = types::EnvelopeId::from_bytes(id);
        world.clock.advance(Millis::from_secs(1));
        let answer = world.ask(&alice.caller(), Request::SendGroup(message)).unwrap();
        let Response::Accepted { skipped, .. } = answer else { panic!() };
        if !skipped.is_empty() {
            full = Some(skipped);
            break;
        }
        for mailbox in [alice.linked(2), bob.linked(1), carol.mailbox()] {
            let positions = world.mailbox(mailbox).into_iter().map(|(position, _)| position).collect();
            world.ask(&Caller { mailbox, connection: 1 }, Request::Ack(positions)).unwrap();
        }
    }
    assert_eq!(full, Some(vec![bob.linked(2)]));
    assert_eq!(rows(&world, carol.mailbox(), MESSAGE).len(), 1, "the others have it");
}

#[test]
fn only_those_who_may_send_send() {
    let (world, [alice, bob, _], mut chain) = group();
    let admins = Permissions { admins_send: true, ..Permissions::default() };
    chain.change(&world, &alice, GroupChange::SetPermissions(admins)).unwrap();
    assert_eq!(refused(send(&world, &bob, chain.message(1, &[(&alice, 2), (&bob, 2)]))), Code::Forbidden);
    send(&world, &alice, chain.message(2, &[(&alice, 2), (&bob, 2)])).unwrap();
    let nowhere = GroupSend { group: types::GroupId::from_bytes([7; 16]), ..chain.message(3, &[]) };
    assert_eq!(refused(send(&world, &alice, nowhere)), Code::NoSuchGroup);
}

#[test]
fn a_removed_device_of_a_member_sends_nothing() {
    let (world, [alice, bob, _], chain) = group();
    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    let removed = Caller { mailbox: bob.linked(2), connection: 1 };
    let message = Request::SendGroup(chain.message(1, &[(&alice, 2), (&bob, 3)]));
    assert_eq!(refused(world.ask(&removed, message)), Code::Revoked);
}

#[test]
fn what_is_never_stored_is_refused() {
    let (world, [alice, bob, _], chain) = group();
    let good = chain.message(1, &[(&alice, 2), (&bob, 2)]);
    let online = GroupSend { urgency: Urgency::OnlineOnly, ..good.clone() };
    let empty = GroupSend { ciphertext: Default::default(), ..good };
    for message in [online, empty] {
        assert_eq!(refused(send(&world, &alice, message)), Code::Malformed);
    }
}

#[test]
fn an_unknown_outcome_says_so_and_the_retry_settles_it() {
    for fails_after in [0, 1_000] {
        let (world, [alice, bob, carol], chain) = group();
        let message = chain.message(1, &[(&alice, 2), (&bob, 2)]);
        let fails = if fails_after == 0 { 1_000 } else { 0 };
        world.mailboxes.faults().set(FaultPlan {
            store_fails: fails,
            store_fails_after: fails_after,
            ..FaultPlan::default()
        });
        assert_eq!(refused(send(&world, &carol, message.clone())), Code::Unavailable);
        world.mailboxes.faults().heal();
        let stamp = send(&world, &carol, message).unwrap();
        let [row] = &rows(&world, bob.linked(2), MESSAGE)[..] else { panic!() };
        assert_eq!(row.stamp, stamp);
    }
}

#[test]
fn concurrent_retries_on_two_nodes_are_one_message() {
    let (world, [alice, bob, carol], chain) = group();
    let other = world.node(2, 3_000);
    world.mailboxes.faults().set(FaultPlan { store_delay_max: Millis(500), ..FaultPlan::default() });
    let message = Request::SendGroup(chain.message(1, &[(&alice, 2), (&bob, 2)]));
    let caller = carol.caller();
    let sends = (0..8).map(|turn| {
        let core = if turn % 2 == 0 { &world.core } else { &other };
        core.handle(&caller, message.clone())
    });
    let stamps: BTreeSet<_> = world
        .run(join_all(sends))
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Response::Accepted { stamp, .. } => stamp,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(stamps.len(), 1);
    assert_eq!(rows(&world, bob.linked(2), MESSAGE).len(), 1);
}

#[test]
fn members_without_a_socket_are_woken_and_the_senders_own_devices_are_not() {
    let (world, [alice, bob, carol], chain) = group();
    world.connect(&carol, 1);
    let before = world.pusher.wakes().len();
    send(&world, &alice, chain.message(1, &[(&alice, 2), (&bob, 2)])).unwrap();
    let mut wakes = world.pusher.wakes().split_off(before);
    wakes.sort();
    assert_eq!(wakes, [bob.linked(1), bob.linked(2)]);
    let silent = GroupSend { urgency: Urgency::Silent, ..chain.message(2, &[(&alice, 2), (&bob, 2)]) };
    send(&world, &alice, silent).unwrap();
    assert_eq!(world.pusher.wakes().len(), before + 2);
}

#[test]
fn a_device_that_was_long_away_gets_no_rows() {
    let (world, [alice, bob, carol], chain) = group();
    world.clock.advance(limits::DEVICE_DORMANT_AFTER);
    world.clock.advance(Millis(1));
    world.connect(&carol, 1);
    send(&world, &alice, chain.message(1, &[(&alice, 2), (&bob, 2)])).unwrap();
    assert_eq!(receivers(&world), [carol.mailbox()]);
}

#[test]
fn the_largest_group_takes_one_append_and_no_member_more() {
    let world = World::with(|config| config.quotas.enabled = false);
    let people: Vec<_> = (1..=1_025).map(|number| world.register(number)).collect();
    let (members, [last]) = people.split_at(1_024) else { panic!() };
    let others: Vec<_> = members[1..].iter().collect();
    let mut chain = Chain::found(&world, &members[0], &others);
    let one_more = GroupChange::Add(ids(&[last]));
    assert_eq!(refused(chain.change(&world, &members[0], one_more)), Code::BadGroupOperation);
    send(&world, &members[7], chain.message(1, &[])).unwrap();
    assert_eq!(world.mailboxes.rows().len(), 1_024 + 1_023);
    let missed: Vec<_> =
        members.iter().filter(|member| rows(&world, member.mailbox(), MESSAGE).len() != 1).collect();
    assert_eq!(missed.iter().map(|member| member.id()).collect::<Vec<_>>(), [members[7].id()]);
}
