//! Accepting sends.

use crate::world::{Person, World, accepted, refused, send_to, stale};
use futures_util::future::join_all;
use proptest::prelude::*;
use server_ports::{Signal, fake::FaultPlan};
use std::collections::BTreeSet;
use types::{EnvelopeId, Millis, Stamp, limits};
use wire::{Code, EnvelopeKind, Request, Response, Send, Urgency};

fn pair() -> (World, Person, Person) {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    (world, alice, bob)
}

/// Bob has a linked device 2.
fn pair_with_linked() -> (World, Person, Person) {
    let (world, alice, bob) = pair();
    world.link(&bob, 2, &[1, 2]);
    (world, alice, bob)
}

#[test]
fn an_accepted_send_is_in_the_mailbox_as_it_was_sealed() {
    let (world, alice, bob) = pair();
    let stamp = world.send(&alice, alice.message(&bob, 1)).unwrap();
    let rows = world.mailbox(bob.mailbox());
    let [(_, envelope)] = &rows[..] else { panic!("one row, not {rows:?}") };
    assert_eq!((envelope.from, envelope.to), (alice.caller().address(), bob.mailbox()));
    assert_eq!(
        (envelope.stamp, envelope.urgency, envelope.kind),
        (stamp, Urgency::Normal, EnvelopeKind::Ratchet)
    );
    assert_eq!(
        (envelope.envelope_id, &envelope.ciphertext[..]),
        (EnvelopeId::from_bytes([0x81; 16]), &[1; 40][..])
    );
    assert!(world.mailbox(alice.mailbox()).is_empty());
}

#[test]
fn a_retry_is_the_same_send_whatever_changed_since() {
    let (world, alice, bob) = pair();
    let send = alice.message(&bob, 1);
    let stamp = world.send(&alice, send.clone()).unwrap();
    // Bob links a device, and the presented stamp is another: a new send would be refused for both.
    world.link(&bob, 2, &[1, 2]);
    let far = Stamp::new(u64::MAX, stamp.node());
    let retry = Send { highest_stamp: Some(far), ..send };
    assert_eq!(world.send(&alice, retry).unwrap(), stamp);
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1);
    assert_eq!(world.mailbox(bob.linked(2)).len(), 0, "the recorded recipients, not the present ones");
}

#[test]
fn a_retry_at_another_node_and_after_a_restart_is_the_same_send() {
    let (world, alice, bob) = pair();
    let send = alice.message(&bob, 1);
    let stamp = world.send(&alice, send.clone()).unwrap();
    world.mailboxes.power_cut();
    let other = world.node(2, 40_000);
    let retried = accepted(world.run(other.handle(&alice.caller(), Request::Send(send))));
    assert_eq!(retried.unwrap(), stamp);
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1);
}

#[test]
fn an_envelope_id_with_other_bytes_recipients_or_urgency_is_refused() {
    let (world, alice, bob) = pair();
    let carol = world.register(3);
    let send = alice.message(&bob, 1);
    world.send(&alice, send.clone()).unwrap();
    let mut bytes = send.clone();
    bytes.sealed[0].ciphertext = vec![2; 40].into();
    let mut kind = send.clone();
    kind.sealed[0].kind = EnvelopeKind::Prekey;
    let recipient = Send { envelope_id: send.envelope_id, ..alice.message(&carol, 1) };
    let urgency = Send { urgency: Urgency::Urgent, ..send.clone() };
    let ttl = Send { ttl: Some(Millis::from_secs(60)), ..send.clone() };
    for other in [bytes, kind, recipient, urgency, ttl] {
        assert_eq!(refused(world.send(&alice, other)), Code::EnvelopeConflict);
    }
    // Another sender's ids are its own.
    assert!(world.send(&carol, Send { envelope_id: send.envelope_id, ..carol.message(&bob, 1) }).is_ok());
}

#[test]
fn concurrent_retries_on_two_nodes_are_one_message() {
    let (world, alice, bob) = pair();
    let other = world.node(2, 3_000);
    world.mailboxes.faults().set(FaultPlan { store_delay_max: Millis(500), ..FaultPlan::default() });
    let send = Request::Send(alice.message(&bob, 1));
    let caller = alice.caller();
    let sends = (0..8).map(|turn| {
        let core = if turn % 2 == 0 { &world.core } else { &other };
        core.handle(&caller, send.clone())
    });
    let stamps: BTreeSet<_> =
        world.run(join_all(sends)).into_iter().map(|answer| accepted(answer).unwrap()).collect();
    assert_eq!(stamps.len(), 1);
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1);
}

#[test]
fn an_unknown_outcome_says_so_and_the_retry_settles_it() {
    let (world, alice, bob) = pair();
    let send = alice.message(&bob, 1);
    world.mailboxes.faults().set(FaultPlan { store_fails_after: 1_000, ..FaultPlan::default() });
    assert_eq!(refused(world.send(&alice, send.clone())), Code::Unavailable);
    world.mailboxes.faults().heal();
    let stamp = world.send(&alice, send).unwrap();
    let rows = world.mailbox(bob.mailbox());
    assert_eq!(rows.len(), 1, "what was written before the error is not written again");
    assert_eq!(rows[0].1.stamp, stamp);
}

#[test]
fn devices_that_are_missing_extra_or_stale_are_named_and_nothing_is_stored() {
    let (world, alice, bob) = pair_with_linked();
    let send = send_to(bob.id(), 1, &[bob.linked_as(1, 77), bob.linked(5)]);
    let answer = stale(world.send(&alice, send));
    assert_eq!(answer.missing, [bob.linked(2)]);
    assert_eq!(answer.extra, [bob.linked(5)]);
    assert_eq!(answer.stale, [bob.linked(1)]);
    assert!(world.mailboxes.rows().is_empty());
    let right = send_to(bob.id(), 2, &[bob.linked(1), bob.linked(2)]);
    assert!(world.send(&alice, right).is_ok());
    assert_eq!((world.mailbox(bob.linked(1)).len(), world.mailbox(bob.linked(2)).len()), (1, 1));
}

#[test]
fn a_dormant_device_gets_nothing_until_it_returns() {
    let (world, alice, bob) = pair_with_linked();
    world.clock.advance(limits::DEVICE_DORMANT_AFTER);
    world.connect(&bob, 1);
    world.clock.advance(Millis(1));
    let both = [bob.linked(1), bob.linked(2)];
    world.send(&alice, send_to(bob.id(), 1, &both)).unwrap();
    assert_eq!(world.mailbox(bob.linked(1)).len(), 1);
    assert_eq!(world.mailbox(bob.linked(2)).len(), 0, "45 days and no connection");
    assert!(
        stale(world.send(&alice, alice.message(&bob, 2))).missing.contains(&bob.linked(2)),
        "still listed"
    );
}

#[test]
fn a_device_that_stayed_connected_is_not_dormant() {
    let (world, alice, bob) = pair();
    world.listen();
    world.connect(&bob, 1);
    world.clock.advance(Millis::from_days(46));
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1);
}

#[test]
fn who_may_not_send_or_receive() {
    let (world, alice, bob) = pair();
    let stranger = Person::new(9);
    assert_eq!(refused(world.send(&alice, alice.message(&stranger, 1))), Code::NoSuchAccount);
    assert_eq!(refused(world.send(&stranger, stranger.message(&bob, 2))), Code::Revoked);
    world.ask(&bob.caller(), Request::CloseAccount).unwrap();
    assert_eq!(refused(world.send(&alice, alice.message(&bob, 3))), Code::AccountClosed);
    assert_eq!(refused(world.send(&bob, bob.message(&alice, 4))), Code::Revoked);
    let old_life = server_ports::Caller { mailbox: alice.linked_as(1, 5), connection: 1 };
    let carol = world.register(3);
    let answer = world.ask(&old_life, Request::Send(alice.message(&carol, 5)));
    assert_eq!(refused(answer), Code::Revoked);
    assert!(world.mailboxes.rows().is_empty());
}

#[test]
fn what_is_not_a_session_message_or_never_stored_is_refused() {
    let (world, alice, bob) = pair();
    for kind in [
        EnvelopeKind::Unknown,
        EnvelopeKind::SenderKey,
        EnvelopeKind::GroupOperation,
        EnvelopeKind::DeviceList,
    ] {
        let mut send = alice.message(&bob, 1);
        send.sealed[0].kind = kind;
        assert_eq!(refused(world.send(&alice, send)), Code::Malformed, "{kind:?}");
    }
    let typing = Send { urgency: Urgency::OnlineOnly, ..alice.message(&bob, 1) };
    assert_eq!(refused(world.send(&alice, typing)), Code::Malformed);
    let twice = send_to(bob.id(), 1, &[bob.mailbox(), bob.mailbox()]);
    assert_eq!(refused(world.send(&alice, twice)), Code::Malformed);
    assert!(world.mailboxes.rows().is_empty());
}

#[test]
fn a_stamp_is_above_the_presented_one_on_every_node() {
    let (world, alice, bob) = pair();
    let ahead = world.node(2, 4_000);
    let first =
        accepted(world.run(ahead.handle(&alice.caller(), Request::Send(alice.message(&bob, 1))))).unwrap();
    let reply = Send { highest_stamp: Some(first), ..bob.message(&alice, 2) };
    assert!(world.send(&bob, reply).unwrap() > first);
    let far = Stamp::new(first.clock() + (60_000 << 16), first.node());
    let refusal = world.send(&bob, Send { highest_stamp: Some(far), ..bob.message(&alice, 3) }).unwrap_err();
    assert_eq!(refusal.code, Code::BadStamp);
    let wait = refusal.retry_after.unwrap();
    assert!(wait > Millis::from_secs(50) && wait <= Millis::from_secs(60));
    world.clock.advance(wait);
    assert!(world.send(&bob, Send { highest_stamp: Some(far), ..bob.message(&alice, 3) }).unwrap() > far);
}

#[test]
fn restarts_in_a_row_carry_stamps_no_further_ahead_than_one() {
    let (world, alice, bob) = pair();
    for id in 1..=30 {
        let node = world.node(1, 0);
        accepted(world.run(node.handle(&alice.caller(), Request::Send(alice.message(&bob, id))))).unwrap();
        let ahead = node.health().stamps_ahead;
        assert!(ahead <= Millis::from_secs(14), "{ahead:?} after {id} restarts");
    }
}

#[test]
fn stamps_rise_across_a_restart_with_a_clock_set_back() {
    let (world, alice, bob) = pair();
    let first = world.send(&alice, alice.message(&bob, 1)).unwrap();
    let restarted = world.node(1, -3_600_000);
    let second =
        accepted(world.run(restarted.handle(&alice.caller(), Request::Send(alice.message(&bob, 2)))));
    assert!(second.unwrap() > first);
    let ahead = restarted.health().stamps_ahead;
    assert!(ahead >= Millis::from_hours(1), "{ahead:?}");
    assert_eq!(world.node(3, 0).health().stamps_ahead, Millis(0));
}

#[test]
fn rows_live_thirty_days_or_as_long_as_the_sender_says_and_no_longer() {
    let (world, alice, bob) = pair();
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    let short = Send { ttl: Some(Millis::from_hours(1)), ..alice.message(&bob, 2) };
    let long = Send { ttl: Some(Millis::from_days(90)), ..alice.message(&bob, 3) };
    world.send(&alice, short).unwrap();
    world.send(&alice, long).unwrap();
    let lives: Vec<_> =
        world.mailboxes.rows().iter().map(|(_, _, row)| row.expires_at.since(world.now())).collect();
    assert_eq!(lives, [limits::ENVELOPE_LIFE, Millis::from_hours(1), limits::ENVELOPE_LIFE]);
}

#[test]
fn a_full_mailbox_refuses_the_whole_send_and_names_itself() {
    let (world, alice, bob) = pair_with_linked();
    let world = world;
    fill(&world, &alice, &bob);
    let both = [bob.linked(1), bob.linked(2)];
    let refusal = world.send(&alice, send_to(bob.id(), 9, &both)).unwrap_err();
    assert_eq!((refusal.code, &refusal.full[..]), (Code::MailboxFull, &[bob.linked(2)][..]));
    assert!(!world.mailbox(bob.linked(1)).iter().any(|(_, envelope)| envelope.ciphertext[0] == 9));
}

/// Fills the mailbox of Bob's device 2 through the store, which counts bytes.
fn fill(world: &World, alice: &Person, bob: &Person) {
    use server_ports::{Mailboxes, mailboxes::*};
    let chunk = bytes::Bytes::from(vec![0; 8 * 1024 * 1024]);
    for turn in 0..=64_u8 {
        let append = Append {
            sender: alice.linked_as(9, 9),
            envelope_id: EnvelopeId::from_bytes([turn; 16]),
            digest: [turn; 32],
            stamp: Stamp::ZERO,
            rows: vec![NewRow {
                to: bob.linked(2),
                head: chunk.clone(),
                body: bytes::Bytes::new(),
                expires_at: world.now() + Millis::from_days(1),
            }],
            when_full: WhenFull::Skip,
            now: world.now(),
        };
        world.run(world.mailboxes.append(append)).unwrap();
    }
}

#[test]
fn a_hint_carries_the_envelope_and_the_position_before_it() {
    let (world, alice, bob) = pair();
    let inbox = world.listen();
    let caller = world.connect(&bob, 4);
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    world.send(&alice, alice.message(&bob, 2)).unwrap();
    let rows = world.mailbox(bob.mailbox());
    let signals = inbox.take();
    assert_eq!(signals.len(), 2);
    let mut before = types::Position::ZERO;
    for ((device, connection, signal), (at, row)) in signals.into_iter().zip(rows) {
        let Signal::Hint { position, previous, envelope } = signal else { panic!("a hint, not {signal:?}") };
        assert_eq!((device, connection), (caller.mailbox, 4));
        assert_eq!((position, previous), (at, Some(before)));
        assert_eq!(wire::Envelope::decode(envelope).unwrap(), row);
        before = position;
    }
    assert!(world.pusher.wakes().is_empty());
}

#[test]
fn only_urgent_and_normal_sends_wake_and_only_the_recipient() {
    let (world, alice, bob) = pair_with_linked();
    let to_both = |id, urgency| Send { urgency, ..send_to(bob.id(), id, &[bob.linked(1), bob.linked(2)]) };
    world.send(&alice, to_both(1, Urgency::Silent)).unwrap();
    assert_eq!(world.pusher.wakes(), []);
    world.send(&alice, to_both(2, Urgency::Normal)).unwrap();
    assert_eq!(world.pusher.wakes(), [bob.linked(1), bob.linked(2)]);
    let own = Send { urgency: Urgency::Urgent, ..send_to(alice.id(), 3, &[alice.mailbox(), bob.linked(2)]) };
    world.send(&bob, own).unwrap();
    assert_eq!(
        world.pusher.wakes()[2..],
        [alice.mailbox()],
        "own devices are not woken by what they should show"
    );
}

#[test]
fn lost_hints_and_a_dead_exchange_lose_no_message() {
    let (world, alice, bob) = pair();
    world.exchange.faults().set(FaultPlan { signal_lost: 1_000, ..FaultPlan::default() });
    world.listen();
    world.connect(&bob, 1);
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    world.exchange.power_cut();
    world.send(&alice, alice.message(&bob, 2)).unwrap();
    assert_eq!(world.mailbox(bob.mailbox()).len(), 2);
}

#[test]
fn an_ack_deletes_exactly_its_rows() {
    let (world, alice, bob) = pair();
    for id in 1..=3 {
        world.send(&alice, alice.message(&bob, id)).unwrap();
    }
    let rows = world.mailbox(bob.mailbox());
    assert_eq!(world.ask(&bob.caller(), Request::Ack(vec![rows[1].0])), Ok(Response::Done));
    let left: Vec<_> = world.mailbox(bob.mailbox()).into_iter().map(|(position, _)| position).collect();
    assert_eq!(left, [rows[0].0, rows[2].0]);
    world.ask(&alice.caller(), Request::Ack(vec![rows[0].0])).unwrap();
    assert_eq!(world.mailbox(bob.mailbox()).len(), 2, "another device's ack touches nothing");
}

#[test]
fn what_is_not_offered_is_said_so() {
    let (world, alice, _) = pair();
    assert_eq!(refused(world.ask(&alice.caller(), Request::Unknown)), Code::Unsupported);
    assert_eq!(
        refused(world.ask(&alice.caller(), Request::Authenticate(alice.proof(1, [0; 32])))),
        Code::Malformed
    );
    assert_eq!(world.ask(&alice.caller(), Request::Sync), Ok(Response::Done));
}

#[test]
fn after_a_restore_a_device_uploads_its_list_first_and_its_peers_wait() {
    let (world, alice, bob) = pair();
    // A restore keeps accounts and devices, and voids the lists.
    let record =
        world.run(server_ports::directory::Accounts::device(&*world.directory, bob.caller().address()));
    let devices = vec![record.unwrap().unwrap()];
    let void = server_ports::directory::NewList {
        account: bob.id(),
        expected: 1,
        version: 0,
        list: Default::default(),
        devices,
        link: None,
    };
    world.run(server_ports::directory::Accounts::put_list(&*world.directory, void)).unwrap();
    let admitted = world.run(world.core.authenticate(&bob.proof(1, [7; 32]), [7; 32])).unwrap();
    assert_eq!(admitted.device_list_version, 0, "asks for an upload");
    assert_eq!(refused(world.send(&bob, bob.message(&alice, 1))), Code::KeysRequired);
    assert_eq!(refused(world.send(&alice, alice.message(&bob, 2))), Code::RetryAfter);
    let fetch = wire::FetchKeys { accounts: vec![bob.id()], reset: false, device: None };
    assert_eq!(refused(world.ask(&alice.caller(), Request::FetchKeys(fetch))), Code::RetryAfter);
    world.ask(&bob.caller(), bob.put_list(4, &[1])).unwrap();
    assert!(world.send(&bob, bob.message(&alice, 1)).is_ok());
    assert!(world.send(&alice, alice.message(&bob, 2)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_send_reaches_every_listed_device_or_none(
        alices in proptest::collection::btree_set(2..=7u32, 0..=4),
        bobs in proptest::collection::btree_set(2..=7u32, 0..=4),
        named in proptest::collection::btree_set((any::<bool>(), 1..=7u32), 0..=9),
        guided in any::<bool>(),
    ) {
        let (world, alice, bob) = pair();
        let numbers = |linked: &BTreeSet<u32>| std::iter::once(1).chain(linked.iter().copied()).collect::<Vec<_>>();
        for (person, linked) in [(&alice, numbers(&alices)), (&bob, numbers(&bobs))] {
            (2..=linked.len()).for_each(|count| world.link(person, count as u64, &linked[..count]));
        }
        let of = |own: bool, number: u32| if own { alice.linked(number) } else { bob.linked(number) };
        let mut devices: Vec<_> = named.iter().map(|(own, number)| of(*own, *number)).collect();
        let listed: BTreeSet<_> = numbers(&bobs).into_iter().map(|number| bob.linked(number))
            .chain(alices.iter().map(|number| alice.linked(*number))).collect();

        let first = world.send(&alice, send_to(bob.id(), 1, &devices));
        let right = devices.iter().copied().collect::<BTreeSet<_>>() == listed;
        prop_assert_eq!(first.is_ok(), right);
        if guided && !right {
            let stale = stale(first);
            devices.retain(|device| !stale.extra.contains(device));
            devices.extend(stale.missing);
            prop_assert!(world.send(&alice, send_to(bob.id(), 2, &devices)).is_ok());
        }
        let rows: Vec<_> = world.mailboxes.rows().into_iter().map(|(mailbox, _, _)| mailbox).collect();
        let expected: Vec<_> = if right || guided { listed.into_iter().collect() } else { Vec::new() };
        prop_assert_eq!(rows, expected);
    }
}
