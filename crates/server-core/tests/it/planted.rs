//! Each planted fault breaks the promise it names: a switch that does nothing would prove nothing.

use crate::{
    chain::{self, Chain},
    world::{Person, World, send_to},
};
use futures_util::FutureExt;
use server_core::testing::Bugs;
use server_ports::{Caller, Signal, fake::FaultPlan};
use signed::GroupChange;
use std::pin::pin;
use types::{EnvelopeId, Millis, Stamp};
use wire::{EnvelopeKind, FetchKeys, Request, Response, Send};

/// A promise, as a question to a world with Alice and Bob in it: is it kept?
type Promise = fn(&World, &Person, &Person) -> bool;

fn retry_is_one_message(world: &World, alice: &Person, bob: &Person) -> bool {
    let first = world.send(alice, alice.message(bob, 1)).unwrap();
    world.send(alice, alice.message(bob, 1)).unwrap() == first && world.mailbox(bob.mailbox()).len() == 1
}

fn every_listed_device_is_reached(world: &World, alice: &Person, bob: &Person) -> bool {
    world.link(bob, 2, &[1, 2]);
    world.send(alice, alice.message(bob, 1)).is_err()
}

fn own_devices_are_reached(world: &World, alice: &Person, bob: &Person) -> bool {
    world.link(alice, 2, &[1, 2]);
    world.send(alice, alice.message(bob, 1)).is_err()
}

fn accepted_is_stored(world: &World, alice: &Person, bob: &Person) -> bool {
    let send = Send { envelope_id: EnvelopeId::from_bytes([1; 16]), ..alice.message(bob, 1) };
    world.send(alice, send).is_err() || world.mailbox(bob.mailbox()).len() == 1
}

fn all_or_none(world: &World, alice: &Person, bob: &Person) -> bool {
    world.link(bob, 2, &[1, 2]);
    world.send(alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)])).unwrap();
    world.mailbox(bob.linked(1)).len() == world.mailbox(bob.linked(2)).len()
}

fn hints_arrive(world: &World, alice: &Person, bob: &Person) -> bool {
    let inbox = world.listen();
    world.connect(bob, 1);
    world.send(alice, alice.message(bob, 1)).unwrap();
    inbox.take().iter().any(|(_, _, signal)| matches!(signal, Signal::Hint { .. }))
}

fn a_reply_sorts_after(world: &World, alice: &Person, bob: &Person) -> bool {
    let seen = Stamp::new((world.now().as_millis() + 3_000) << 16, types::NodeId(2));
    let reply = Send { highest_stamp: Some(seen), ..alice.message(bob, 1) };
    world.send(alice, reply).unwrap() > seen
}

fn stamps_differ(world: &World, alice: &Person, bob: &Person) -> bool {
    let first = world.send(alice, alice.message(bob, 1)).unwrap();
    world.send(alice, alice.message(bob, 2)).unwrap() > first
}

fn an_ack_deletes_its_row_only(world: &World, alice: &Person, bob: &Person) -> bool {
    world.send(alice, alice.message(bob, 1)).unwrap();
    world.send(alice, alice.message(bob, 2)).unwrap();
    let newest = world.mailbox(bob.mailbox())[1].0;
    world.ask(&bob.caller(), Request::Ack(vec![newest])).unwrap();
    world.mailbox(bob.mailbox()).len() == 1
}

fn rows_wait_for_days(world: &World, alice: &Person, bob: &Person) -> bool {
    world.send(alice, alice.message(bob, 1)).unwrap();
    world.clock.advance(Millis::from_days(29));
    world.mailbox(bob.mailbox()).len() == 1
}

fn a_one_time_key_goes_to_one(world: &World, alice: &Person, bob: &Person) -> bool {
    let take = |caller: &Caller| {
        let fetch = FetchKeys { accounts: vec![bob.id()], reset: false, device: None };
        match world.ask(caller, Request::FetchKeys(fetch)).unwrap() {
            Response::Keys(keys) => keys[0].bundles[0].one_time_prekey.clone().unwrap().id,
            other => panic!("{other:?}"),
        }
    };
    take(&alice.caller()) != take(&Person::new(77).caller())
}

fn a_clone_is_noticed(world: &World, _: &Person, bob: &Person) -> bool {
    world.connect(bob, 5);
    world.run(world.core.authenticate(&bob.proof(5, [7; 32]), [7; 32])).is_err()
}

fn a_removed_device_gets_nothing(world: &World, alice: &Person, bob: &Person) -> bool {
    world.link(bob, 2, &[1, 2]);
    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    let _ = world.send(alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)]));
    world.mailbox(bob.linked(2)).is_empty()
}

fn lists_go_forward(world: &World, _: &Person, bob: &Person) -> bool {
    world.link(bob, 5, &[1, 2]);
    world.ask(&bob.caller(), bob.put_list(4, &[1])).is_err()
}

/// Plants the fault that breaks a promise.
type Plant = fn(&mut Bugs);

/// The store is slow: a send is under way when the list changes.
fn a_change_waits_for_sends(world: &World, alice: &Person, bob: &Person) -> bool {
    let slow = FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() };
    let (sender, receiver) = (alice.caller(), bob.caller());
    let mut send = pin!(world.core.handle(&sender, Request::Send(alice.message(bob, 1))));
    let change = world.core.handle(&receiver, bob.put_list(2, &[1]));
    world.mailboxes.faults().set(slow);
    assert!(send.as_mut().now_or_never().is_none());
    world.clock.advance_to(world.clock.next_timer().unwrap());
    assert!(send.as_mut().now_or_never().is_none());
    world.mailboxes.faults().heal();
    change.now_or_never().is_none()
}

fn a_device_is_added_by_its_link(world: &World, _: &Person, bob: &Person) -> bool {
    world.ask(&bob.caller(), bob.put_list(2, &[1, 2])).is_err()
}

fn a_message_from_an_old_head_waits(world: &World, alice: &Person, bob: &Person) -> bool {
    let mut chain = Chain::found(world, alice, &[bob]);
    let stale = chain.message(1, &[]);
    chain.change(world, alice, GroupChange::SetTimer(1)).unwrap();
    chain::send(world, bob, stale).is_err()
}

fn a_group_message_sees_every_device(world: &World, alice: &Person, bob: &Person) -> bool {
    let chain = Chain::found(world, alice, &[bob]);
    world.link(bob, 2, &[1, 2]);
    chain::send(world, alice, chain.message(1, &[])).is_err()
}

fn a_group_message_is_all_or_none(world: &World, alice: &Person, bob: &Person) -> bool {
    let carol = world.register(3);
    let chain = Chain::found(world, alice, &[bob, &carol]);
    chain::send(world, alice, chain.message(1, &[])).unwrap();
    let has = |person: &Person| chain::rows(world, person.mailbox(), EnvelopeKind::SenderKey).len();
    has(bob) == has(&carol)
}

fn an_operation_arrives_whatever_fails(world: &World, alice: &Person, bob: &Person) -> bool {
    let mut chain = Chain::found(world, alice, &[bob]);
    world.mailboxes.faults().set(FaultPlan { store_fails: 1_000, ..FaultPlan::default() });
    assert!(chain.change(world, alice, GroupChange::SetTimer(1)).is_err());
    world.mailboxes.faults().heal();
    world.clock.advance(Millis::from_mins(1));
    world.run(world.core.tick());
    chain::rows(world, bob.mailbox(), EnvelopeKind::GroupOperation).len() == 2
}

/// The store is slow: a message to the group is under way when somebody is removed.
fn a_removal_waits_for_messages(world: &World, alice: &Person, bob: &Person) -> bool {
    let carol = world.register(3);
    let mut chain = Chain::found(world, alice, &[bob, &carol]);
    let (sender, admin) = (bob.caller(), alice.caller());
    let mut message = pin!(world.core.handle(&sender, Request::SendGroup(chain.message(1, &[]))));
    let removal = chain.draft(alice, GroupChange::Remove(chain::ids(&[&carol])));
    let slow = FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() };
    world.mailboxes.faults().set(slow);
    assert!(message.as_mut().now_or_never().is_none());
    world.mailboxes.faults().heal();
    world.core.handle(&admin, chain::apply_request(&removal)).now_or_never().is_none()
}

const PROMISES: &[(&str, Promise, Plant)] = &[
    ("retry", retry_is_one_message, |bugs| bugs.forget_sends = true),
    ("staleness", every_listed_device_is_reached, |bugs| bugs.skip_staleness = true),
    ("own devices", own_devices_are_reached, |bugs| bugs.skip_own_devices = true),
    ("durability", accepted_is_stored, |bugs| bugs.accept_without_append = true),
    ("all or none", all_or_none, |bugs| bugs.append_only_first = true),
    ("hints", hints_arrive, |bugs| bugs.drop_hints = true),
    ("presented stamps", a_reply_sorts_after, |bugs| bugs.ignore_presented_stamp = true),
    ("stamps", stamps_differ, |bugs| bugs.repeat_stamps = true),
    ("acks", an_ack_deletes_its_row_only, |bugs| bugs.acknowledge_everything_before = true),
    ("expiry", rows_wait_for_days, |bugs| bugs.expire_early = true),
    ("one-time keys", a_one_time_key_goes_to_one, |bugs| bugs.hand_out_keys_twice = true),
    ("clones", a_clone_is_noticed, |bugs| bugs.skip_connection_number = true),
    ("revocation", a_removed_device_gets_nothing, |bugs| bugs.keep_revoked = true),
    ("succession", lists_go_forward, |bugs| bugs.skip_succession = true),
    ("settling", a_change_waits_for_sends, |bugs| bugs.skip_settling = true),
    ("links", a_device_is_added_by_its_link, |bugs| bugs.add_without_link = true),
    ("group heads", a_message_from_an_old_head_waits, |bugs| bugs.skip_group_head = true),
    ("group lists", a_group_message_sees_every_device, |bugs| bugs.skip_staleness = true),
    ("group fan-out", a_group_message_is_all_or_none, |bugs| bugs.append_only_first = true),
    ("late operations", an_operation_arrives_whatever_fails, |bugs| bugs.lose_late_operations = true),
    ("group settling", a_removal_waits_for_messages, |bugs| bugs.skip_settling = true),
];

fn is_kept(promise: Promise, bugs: Bugs) -> bool {
    let world = World::with(|config| *config = config.clone().with_bugs(bugs));
    let (alice, bob) = (world.register(1), world.register(2));
    promise(&world, &alice, &bob)
}

#[test]
fn every_promise_is_kept_and_its_planted_fault_breaks_it() {
    for (name, promise, plant) in PROMISES {
        assert!(is_kept(*promise, Bugs::default()), "{name} without a fault");
        let mut bugs = Bugs::default();
        plant(&mut bugs);
        assert!(!is_kept(*promise, bugs), "{name} with its fault planted");
    }
}
