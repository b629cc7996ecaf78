//! Group chains: ordered, held to the rules, delivered to everybody before and after.

use crate::{
    chain::{Chain, apply, apply_request, create, fetched, ids, operation, rows, send},
    world::{Person, World, refused},
};
use futures_util::future::join_all;
use server_ports::{Caller, GroupLog, Signal, fake::FaultPlan};
use signed::{GroupChange, group::join_signature, keys::LinkSecret};
use std::collections::BTreeSet;
use types::{AccountId, EnvelopeId, GroupId, Millis};
use wire::{Code, EnvelopeKind, Request, Response, Send, Urgency};

const OPERATION: EnvelopeKind = EnvelopeKind::GroupOperation;

/// Alice has a group with Bob and Carol; Dave is nobody in it.
fn group() -> (World, [Person; 4], Chain) {
    let world = World::new();
    let people = [world.register(1), world.register(2), world.register(3), world.register(4)];
    let chain = Chain::found(&world, &people[0], &[&people[1], &people[2]]);
    (world, people, chain)
}

#[test]
fn every_device_of_every_member_gets_the_operation() {
    let world = World::new();
    let [alice, bob, carol] = [world.register(1), world.register(2), world.register(3)];
    world.link(&alice, 2, &[1, 2]);
    world.link(&bob, 2, &[1, 3]);
    let inbox = world.listen();
    world.connect(&carol, 1);
    let operation = operation(&alice, None, 1, create(ids(&[&bob, &carol])));
    let stamp = apply(&world, &alice, &operation).unwrap();
    for mailbox in [alice.mailbox(), alice.linked(2), bob.mailbox(), bob.linked(3), carol.mailbox()] {
        let [row] = &rows(&world, mailbox, OPERATION)[..] else { panic!("{mailbox:?}") };
        assert_eq!((&row.ciphertext[..], row.stamp, row.to), (operation.as_bytes(), stamp, mailbox));
        assert_eq!((row.from, row.group), (alice.mailbox().address(), Some(operation.group())));
        assert_eq!(
            (row.urgency, &row.envelope_id.as_bytes()[..]),
            (Urgency::Normal, &operation.hash()[..16])
        );
    }
    let hinted: Vec<_> = inbox.take().into_iter().map(|(device, _, signal)| (device, signal)).collect();
    let [(device, Signal::Hint { envelope, .. })] = &hinted[..] else { panic!("{hinted:?}") };
    assert_eq!(*device, carol.mailbox());
    let hint = wire::Envelope::decode(envelope.clone()).unwrap();
    assert_eq!(hint.ciphertext, operation.as_bytes());
}

#[test]
fn who_is_removed_or_leaves_is_told_and_then_gets_nothing() {
    let (world, [alice, bob, carol, _], mut chain) = group();
    chain.change(&world, &alice, GroupChange::Remove(ids(&[&bob]))).unwrap();
    chain.change(&world, &carol, GroupChange::Leave).unwrap();
    chain.change(&world, &alice, GroupChange::SetTimer(60)).unwrap();
    let got = |person: &Person| rows(&world, person.mailbox(), OPERATION).len();
    assert_eq!((got(&alice), got(&bob), got(&carol)), (4, 2, 3));
    send(&world, &alice, chain.message(1, &[])).unwrap();
    assert!(rows(&world, bob.mailbox(), EnvelopeKind::SenderKey).is_empty());
    assert_eq!(refused(send(&world, &bob, chain.message(2, &[]))), Code::Forbidden);
}

#[test]
fn stamps_follow_the_chain_and_what_the_actor_saw() {
    let (world, [alice, bob, ..], mut chain) = group();
    let seen = types::Stamp::new((world.now().as_millis() + 3_000) << 16, types::NodeId(2));
    let draft = chain.draft(&bob, GroupChange::Leave);
    let request =
        Request::ApplyGroup { operation: draft.as_bytes().to_vec().into(), highest_stamp: Some(seen) };
    world.ask(&bob.caller(), request).unwrap();
    chain.state = chain.state.apply(&draft).unwrap();
    chain.change(&world, &alice, GroupChange::SetTimer(60)).unwrap();
    let message = send(&world, &alice, chain.message(1, &[])).unwrap();
    let stamps: Vec<_> = rows(&world, alice.mailbox(), OPERATION).iter().map(|row| row.stamp).collect();
    assert!(stamps.is_sorted() && stamps[1] > seen && message > stamps[2], "{stamps:?} {message:?}");
    let far = types::Stamp::new(u64::MAX, types::NodeId(2));
    let ahead = Request::ApplyGroup {
        operation: chain.draft(&alice, GroupChange::SetTimer(1)).as_bytes().to_vec().into(),
        highest_stamp: Some(far),
    };
    assert_eq!(refused(world.ask(&alice.caller(), ahead)), Code::BadStamp);
}

#[test]
fn a_repeat_is_the_same_operation_whatever_came_after() {
    let (world, [alice, bob, ..], mut chain) = group();
    let leave = chain.draft(&bob, GroupChange::Leave);
    let stamp = apply(&world, &bob, &leave).unwrap();
    let before = chain.state.clone();
    chain.state = chain.state.apply(&leave).unwrap();
    chain.change(&world, &alice, GroupChange::SetTimer(60)).unwrap();
    assert_eq!(apply(&world, &bob, &leave), Ok(stamp), "also by one who is no member any more");
    // The client's retry after a lost answer is signed anew, and has the same id.
    let mut other = chain.draft(&alice, GroupChange::SetTimer(90));
    let first = apply(&world, &alice, &other).unwrap();
    chain.state = chain.state.apply(&other).unwrap();
    other = operation(&alice, Some(&chain.state), other.id().0[0], GroupChange::SetTimer(90));
    assert_eq!(apply(&world, &alice, &other), Ok(first));
    assert_eq!(rows(&world, alice.mailbox(), OPERATION).len(), 4, "nothing was appended twice");
    // Somebody else's operation with that id is no repeat.
    let taken = operation(&bob, Some(&before), leave.id().0[0], GroupChange::Leave);
    assert!(apply(&world, &bob, &taken).is_ok());
}

#[test]
fn of_two_at_once_one_is_appended_and_the_other_told_where_the_chain_is() {
    for seed in 0..10 {
        let world = World::slow(seed, Millis(40));
        let [alice, bob] = [world.register(1), world.register(2)];
        let mut chain = Chain::found(&world, &alice, &[&bob]);
        let other = world.node(2, 0);
        let (first, second) =
            (chain.draft(&alice, GroupChange::SetTimer(1)), chain.draft(&bob, GroupChange::Leave));
        let (one, two) = (alice.caller(), bob.caller());
        let (one, two) = world.run(futures_util::future::join(
            world.core.handle(&one, apply_request(&first)),
            other.handle(&two, apply_request(&second)),
        ));
        assert_eq!([&one, &two].iter().filter(|answer| answer.is_ok()).count(), 1, "{one:?} {two:?}");
        let (winner, loser) = if one.is_ok() { (first, two) } else { (second, one) };
        let refusal = loser.unwrap_err();
        assert_eq!(refusal.code, Code::GroupHeadMoved);
        let head = refusal.group.unwrap().head.unwrap();
        assert_eq!((head.epoch, head.head), (1, winner.hash()));
    }
}

#[test]
fn the_rules_of_the_chain_hold() {
    let (world, [alice, bob, carol, dave], mut chain) = group();
    let mut check = |by: &Person, change: GroupChange, code: Code| {
        assert_eq!(refused(chain.change(&world, by, change.clone())), code, "{change:?}");
    };
    check(&bob, GroupChange::Remove(ids(&[&carol])), Code::Forbidden);
    check(&bob, GroupChange::SetInfo(vec![1]), Code::Forbidden);
    check(&alice, GroupChange::Add(ids(&[&bob])), Code::BadGroupOperation);
    check(&alice, GroupChange::Leave, Code::BadGroupOperation);
    check(&alice, GroupChange::Add(ids(&[&Person::new(99)])), Code::BadGroupOperation);
    check(&dave, GroupChange::Leave, Code::NoSuchGroup);
    assert_eq!(rows(&world, alice.mailbox(), OPERATION).len(), 1);
    assert!(rows(&world, dave.mailbox(), OPERATION).is_empty());
}

#[test]
fn a_group_has_at_most_1024_members() {
    let world = World::new();
    let alice = world.register(1);
    let nobodies: BTreeSet<_> = (0..1_023_u32)
        .map(|number| {
            let mut id = [9; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            AccountId::from_bytes(id)
        })
        .collect();
    // They do not exist: only one too many is refused before anybody looks for them.
    let mut one_more = nobodies.clone();
    one_more.insert(AccountId::from_bytes([8; 16]));
    for members in [nobodies, one_more] {
        let full = operation(&alice, None, 1, create(members));
        assert_eq!(refused(apply(&world, &alice, &full)), Code::BadGroupOperation);
    }
    assert!(world.groups.groups().is_empty());
}

#[test]
fn only_the_callers_own_listed_device_acts() {
    let (world, [alice, bob, ..], mut chain) = group();
    let draft = chain.draft(&alice, GroupChange::SetTimer(5));
    assert_eq!(refused(apply(&world, &bob, &draft)), Code::Forbidden);
    let mut forged = draft.as_bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = Request::ApplyGroup { operation: forged.into(), highest_stamp: None };
    assert_eq!(refused(world.ask(&alice.caller(), forged)), Code::BadGroupOperation);
    // Alice's device was replaced: its certificate verifies for ever, and it may do nothing more.
    world.restore(&alice, &alice.list_of(2, &[alice.linked_as(1, 7)])).unwrap();
    assert_eq!(refused(apply(&world, &alice, &draft)), Code::Revoked);
}

#[test]
fn who_is_no_member_learns_nothing() {
    let (world, [alice, bob, _, dave], mut chain) = group();
    assert_eq!(refused(fetched(&world, &dave.caller(), &chain, 0, None)), Code::NoSuchGroup);
    assert_eq!(refused(send(&world, &dave, chain.message(1, &[]))), Code::NoSuchGroup);
    // Not even by a head that is wrong.
    chain.change(&world, &alice, GroupChange::SetTimer(5)).unwrap();
    let mut stale = chain.message(2, &[]);
    stale.head = [0; 32];
    assert_eq!(refused(send(&world, &dave, stale)), Code::NoSuchGroup);
    let guessed = join_signature(&LinkSecret::from_bytes(&[1; 32]), chain.state.id(), dave.id());
    let guess = Some(*guessed.as_bytes());
    assert_eq!(refused(fetched(&world, &dave.caller(), &chain, 0, guess)), Code::NoSuchGroup);
    let join = chain.change(&world, &dave, GroupChange::Join(guessed));
    assert_eq!(refused(join), Code::BadGroupOperation);

    // A former member reads up to the operation that removed it.
    chain.change(&world, &alice, GroupChange::Remove(ids(&[&bob]))).unwrap();
    chain.change(&world, &alice, GroupChange::SetTimer(9)).unwrap();
    assert_eq!(fetched(&world, &bob.caller(), &chain, 0, None), Ok((vec![0, 1, 2], false)));
    assert_eq!(fetched(&world, &bob.caller(), &chain, 3, None), Ok((vec![], false)));
    assert_eq!(fetched(&world, &alice.caller(), &chain, 1, None), Ok((vec![1, 2, 3], false)));
    let nowhere =
        Request::GetGroup { group: GroupId::from_bytes([1; 16]), from_epoch: 0, link_signature: None };
    assert_eq!(refused(world.ask(&alice.caller(), nowhere)), Code::NoSuchGroup);
}

#[test]
fn the_invite_link_lets_in_until_it_is_reset() {
    let (world, [alice, _, _, dave], mut chain) = group();
    let link = LinkSecret::from_bytes(&[5; 32]);
    chain.change(&world, &alice, GroupChange::SetInviteLink(Some(link.public()))).unwrap();
    let signature = join_signature(&link, chain.state.id(), dave.id());
    let shown = Some(*signature.as_bytes());
    assert_eq!(fetched(&world, &dave.caller(), &chain, 0, shown), Ok((vec![0, 1], false)));
    let eve = world.register(6);
    assert_eq!(refused(fetched(&world, &eve.caller(), &chain, 0, shown)), Code::NoSuchGroup, "not hers");
    chain.change(&world, &dave, GroupChange::Join(signature)).unwrap();
    assert_eq!(rows(&world, dave.mailbox(), OPERATION).len(), 1);
    chain.change(&world, &alice, GroupChange::SetInviteLink(None)).unwrap();
    let late = join_signature(&link, chain.state.id(), eve.id());
    assert_eq!(refused(chain.change(&world, &eve, GroupChange::Join(late))), Code::BadGroupOperation);
}

#[test]
fn a_long_chain_comes_in_pieces_and_another_node_reads_it_all() {
    let world = World::with(|config| config.quotas.enabled = false);
    let [alice, bob] = [world.register(1), world.register(2)];
    let mut chain = Chain::found(&world, &alice, &[&bob]);
    for round in 0..130_u32 {
        let change = GroupChange::SetInfo(vec![round as u8; 4_000]);
        let draft = {
            let mut id = [7; 16];
            id[..4].copy_from_slice(&round.to_be_bytes());
            let mut draft = operation(&alice, Some(&chain.state), 0, change.clone());
            if round > 0 {
                draft = with_id(&alice, &chain, id, change);
            }
            draft
        };
        apply(&world, &alice, &draft).unwrap();
        chain.state = chain.state.apply(&draft).unwrap();
    }
    let (first, more) = fetched(&world, &bob.caller(), &chain, 0, None).unwrap();
    assert!(more && first.len() > 100 && first.len() < 131, "{}", first.len());
    let (rest, more) = fetched(&world, &bob.caller(), &chain, first.len() as u64, None).unwrap();
    assert!(!more);
    assert_eq!([first, rest].concat(), (0..=130).collect::<Vec<_>>());
    let other = world.node(2, 0);
    let message = Request::SendGroup(chain.message(1, &[]));
    assert!(world.run(other.handle(&bob.caller(), message)).is_ok(), "it came to the same head");
}

#[test]
fn who_may_read_little_of_a_chain_makes_the_server_read_little() {
    let (world, [alice, bob, ..], mut chain) = group();
    chain.change(&world, &alice, GroupChange::Remove(ids(&[&bob]))).unwrap();
    for seconds in 1..=40 {
        chain.change(&world, &alice, GroupChange::SetTimer(seconds)).unwrap();
    }
    let before = world.groups.operations_read();
    assert_eq!(fetched(&world, &bob.caller(), &chain, 0, None), Ok((vec![0, 1], false)));
    assert_eq!(world.groups.operations_read() - before, 2);
    let (all, more) = fetched(&world, &alice.caller(), &chain, 0, None).unwrap();
    assert_eq!((all, more), ((0..=41).collect(), false));
    assert_eq!(fetched(&world, &alice.caller(), &chain, 42, None), Ok((vec![], false)));
}

fn with_id(by: &Person, chain: &Chain, id: [u8; 16], change: GroupChange) -> signed::SignedOperation {
    let draft = signed::group::OperationDraft {
        follows: Some(chain.state.follows()),
        id: signed::group::OperationId(id),
        actor_key: by.account.public(),
        certificate: signed::DeviceCertificate::sign(&by.account, by.mailbox().device, by.device.public()),
        at: Default::default(),
        change,
    };
    draft.sign(&by.device).unwrap()
}

#[test]
fn each_touch_alone_delivers_what_was_left_behind() {
    for turn in 0..4 {
        let (world, [alice, bob, ..], mut chain) = group();
        world.mailboxes.faults().set(FaultPlan { store_fails: 1_000, ..FaultPlan::default() });
        let draft = chain.draft(&alice, GroupChange::SetTimer(5));
        assert_eq!(refused(apply(&world, &alice, &draft)), Code::Unavailable);
        world.mailboxes.faults().heal();
        chain.state = chain.state.apply(&draft).unwrap();
        match turn {
            0 => drop(world.node(2, 0)),
            1 => assert!(apply(&world, &alice, &draft).is_ok()),
            2 => assert!(send(&world, &bob, chain.message(1, &[])).is_ok()),
            _ => {
                world.clock.advance(Millis::from_secs(11));
                world.run(world.core.tick());
            }
        }
        assert_eq!(rows(&world, bob.mailbox(), OPERATION).len(), 2, "turn {turn}");
        send(&world, &alice, chain.message(2, &[])).unwrap();
        world.run(world.core.tick());
        assert!(world.run(world.groups.undelivered(10)).unwrap().is_empty());
        let all = world.mailbox(bob.mailbox());
        assert_eq!(rows(&world, bob.mailbox(), OPERATION).len(), 2, "once, in turn {turn}");
        assert!(all.is_sorted_by_key(|(_, envelope)| envelope.stamp), "what was sent after it is after it");
    }
}

#[test]
fn an_actor_who_used_the_envelope_id_before_stops_nothing() {
    let (world, [alice, bob, ..], mut chain) = group();
    let draft = chain.draft(&alice, GroupChange::SetTimer(5));
    let mut id = [0; 16];
    id.copy_from_slice(&draft.hash()[..16]);
    let taken = Send { envelope_id: EnvelopeId::from_bytes(id), ..alice.message(&bob, 1) };
    world.send(&alice, taken).unwrap();
    apply(&world, &alice, &draft).unwrap();
    assert_eq!(rows(&world, bob.mailbox(), OPERATION).len(), 2);
    assert!(world.run(world.groups.undelivered(10)).unwrap().is_empty());
}

#[test]
fn many_senders_and_an_admin_keep_one_order() {
    for seed in 0..6 {
        let world = World::slow(seed, Millis(60));
        let people: Vec<_> = (1..=4).map(|number| world.register(number)).collect();
        let members: Vec<_> = people[1..].iter().collect();
        let mut chain = Chain::found(&world, &people[0], &members);
        let draft = chain.draft(&people[0], GroupChange::SetTimer(7));
        let callers: Vec<_> = people.iter().map(Person::caller).collect();
        let messages = (0..12_usize).map(|turn| {
            let request = Request::SendGroup(chain.message(turn as u8, &[]));
            world.core.handle(&callers[turn % 4], request)
        });
        let operation = world.core.handle(&callers[0], apply_request(&draft));
        let (answers, applied) = world.run(futures_util::future::join(join_all(messages), operation));
        applied.unwrap();
        // Each lacks its own messages; whoever has one has it under the same stamp.
        let seen = people.iter().flat_map(|person| world.mailbox(person.mailbox()));
        let seen: BTreeSet<_> = seen.map(|(_, row)| (row.stamp, row.envelope_id)).collect();
        let stamps: BTreeSet<_> = seen.iter().map(|(stamp, _)| *stamp).collect();
        let sent = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!((seen.len(), stamps.len()), (sent + 2, sent + 2), "one stamp for each, and each its own");
        let moved = answers.iter().filter_map(|answer| answer.as_ref().err()).all(|refusal| {
            refusal.code == Code::GroupHeadMoved && refusal.group.as_ref().unwrap().head.unwrap().epoch == 1
        });
        assert!(moved, "{answers:?}");
    }
}

#[test]
fn on_a_fleet_an_operation_waits_for_the_messages_of_other_nodes() {
    let world = World::with(|config| config.settle = Millis::from_secs(10));
    let alice = world.register(1);
    let before = world.now();
    Chain::found(&world, &alice, &[]);
    assert_eq!(world.now().since(before), Millis::from_secs(10));
}

#[test]
fn fellow_members_are_no_strangers_and_their_keys_are_there_for_all() {
    let world = World::with(|config| {
        config.quotas.first_messages.limit = 1;
        config.quotas.one_time_keys.limit = 1;
    });
    let people: Vec<_> = (1..=5).map(|number| world.register(number)).collect();
    let fetch = |by: &Person, of: &Person| {
        let fetch = wire::FetchKeys { accounts: vec![of.id()], reset: false, device: None };
        world.ask(&by.caller(), Request::FetchKeys(fetch)).map(|answer| match answer {
            Response::Keys(keys) => keys[0].bundles[0].one_time_prekey.is_some(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(fetch(&people[0], &people[1]), Ok(true));
    assert_eq!(refused(fetch(&people[0], &people[2])), Code::RetryAfter, "a stranger too many");
    assert_eq!(fetch(&people[3], &people[1]), Ok(false), "the brake on the pool");
    Chain::found(&world, &people[0], &[&people[1], &people[2], &people[4]]);
    assert_eq!(fetch(&people[0], &people[2]), Ok(true));
    assert_eq!(fetch(&people[4], &people[1]), Ok(true));
    assert_eq!(fetch(&people[4], &people[2]), Ok(true));
    let linked = Caller { mailbox: people[3].mailbox(), connection: 1 };
    let fetch = wire::FetchKeys { accounts: vec![people[2].id()], reset: false, device: None };
    assert_eq!(refused(world.ask(&linked, Request::FetchKeys(fetch))), Code::RetryAfter, "still a stranger");
}
