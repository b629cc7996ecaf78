//! Removals and what is under way: what was admitted before is waited for, what comes after is refused, and whoever
//! knows of the removal reads a chain that has all of the one and will have none of the other.

use crate::{
    chain::{Chain, apply_request, fetched, ids, operation_of, rows, send},
    world::{Person, World, refused},
};
use futures_util::{FutureExt, future::join};
use server_ports::{Caller, fake::FaultPlan};
use signed::{GroupChange, SignedOperation, group::join_signature, keys::LinkSecret};
use std::pin::pin;
use types::Millis;
use wire::{Code, EnvelopeKind, Request, Response};

/// Alice has a group with Bob and Carol, whom she removes in some tests; Dave is nobody in it.
fn group() -> (World, [Person; 4], Chain) {
    let world = World::new();
    let people = [world.register(1), world.register(2), world.register(3), world.register(4)];
    let chain = Chain::found(&world, &people[0], &[&people[1], &people[2]]);
    (world, people, chain)
}

/// A second device of somebody, which is soon lost.
fn lost_device(world: &World, of: &Person) -> Caller {
    world.link(of, 2, &[1, 2]);
    Caller { mailbox: of.linked(2), connection: 1 }
}

/// From now on each look at a chain takes a while, until the faults end.
fn slow_chains(world: &World) {
    world.groups.faults().set(FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() });
}

fn timer(by: &Person, device: &Caller, chain: &Chain, id: u8) -> SignedOperation {
    operation_of(by, device.mailbox, Some(&chain.state), id, GroupChange::SetTimer(id.into()))
}

#[test]
fn an_operation_that_waited_for_another_is_checked_when_its_turn_comes() {
    let (world, [alice, bob, ..], chain) = group();
    let (admin, lost) = (alice.caller(), lost_device(&world, &alice));
    let first = timer(&alice, &admin, &chain, 61);
    let state = chain.state.apply(&first).unwrap();
    let second = operation_of(&alice, lost.mailbox, Some(&state), 62, GroupChange::SetTimer(62));
    slow_chains(&world);
    let mut first = pin!(world.core.handle(&admin, apply_request(&first)));
    let mut second = pin!(world.core.handle(&lost, apply_request(&second)));
    assert!((&mut first).now_or_never().is_none(), "alone with the group");
    assert!((&mut second).now_or_never().is_none(), "waiting for its turn");
    world.groups.faults().heal();
    let mut removal = pin!(world.core.handle(&admin, alice.put_list(3, &[1])));
    assert!((&mut removal).now_or_never().is_none(), "stored, and waiting for what was admitted before");
    world.run(&mut first).unwrap();
    let (late, removed) = world.run(join(&mut second, &mut removal));
    assert_eq!((refused(late), removed), (Code::Revoked, Ok(Response::Done)));
    assert_eq!(fetched(&world, &bob.caller(), &chain, 0, None), Ok((vec![0, 1], false)));
}

#[test]
fn who_knows_of_a_removal_reads_every_operation_that_was_checked_before_it() {
    let (world, [alice, bob, ..], chain) = group();
    let (admin, reader, lost) = (alice.caller(), bob.caller(), lost_device(&world, &alice));
    let operation = timer(&alice, &lost, &chain, 61);
    slow_chains(&world);
    let mut operation = pin!(world.core.handle(&lost, apply_request(&operation)));
    assert!((&mut operation).now_or_never().is_none(), "checked, and not appended yet");
    world.groups.faults().heal();
    let mut removal = pin!(world.core.handle(&admin, alice.put_list(3, &[1])));
    assert!((&mut removal).now_or_never().is_none());
    let Ok(Response::DeviceLists(lists)) = world.ask(&reader, Request::GetDeviceLists(vec![alice.id()]))
    else {
        panic!("the list is given out as soon as it is stored");
    };
    assert_eq!(lists[0].device_list[..], alice.list(3, &[1]).as_bytes()[..]);

    let request = Request::GetGroup { group: chain.state.id(), from_epoch: 0, link_signature: None };
    let mut read = pin!(world.core.handle(&reader, request));
    assert!((&mut read).now_or_never().is_none(), "the chain may be about to grow");
    world.run(&mut operation).unwrap();
    let Ok(Response::GroupState { operations, .. }) = world.run(&mut read) else { panic!("Bob is a member") };
    assert_eq!(operations.len(), 2);
    assert_eq!(world.run(&mut removal), Ok(Response::Done));
}

#[test]
fn a_removal_waits_for_the_device_that_is_joining_a_group() {
    let (world, [alice, _, _, dave], mut chain) = group();
    let link = LinkSecret::from_bytes(&[5; 32]);
    chain.change(&world, &alice, GroupChange::SetInviteLink(Some(link.public()))).unwrap();
    let (owner, lost) = (dave.caller(), lost_device(&world, &dave));
    let join = GroupChange::Join(join_signature(&link, chain.state.id(), dave.id()));
    let join = operation_of(&dave, lost.mailbox, Some(&chain.state), 61, join);
    slow_chains(&world);
    let mut join = pin!(world.core.handle(&lost, apply_request(&join)));
    assert!((&mut join).now_or_never().is_none(), "checked, and not appended yet");
    world.groups.faults().heal();
    let mut removal = pin!(world.core.handle(&owner, dave.put_list(3, &[1])));
    assert!((&mut removal).now_or_never().is_none(), "answered before the operation of the device had ended");
    world.run(&mut join).unwrap();
    assert_eq!(world.run(&mut removal), Ok(Response::Done));
}

#[test]
fn a_removal_waits_for_the_messages_before_it() {
    let (world, [alice, bob, carol, _], mut chain) = group();
    let (sender, admin) = (bob.caller(), alice.caller());
    let mut message = pin!(world.core.handle(&sender, Request::SendGroup(chain.message(1, &[]))));
    let removal = chain.draft(&alice, GroupChange::Remove(ids(&[&carol])));
    let mut removal = pin!(world.core.handle(&admin, apply_request(&removal)));
    world.mailboxes.faults().set(FaultPlan {
        seed: 3,
        store_delay_max: Millis(5_000),
        ..FaultPlan::default()
    });
    assert!(message.as_mut().now_or_never().is_none());
    world.mailboxes.faults().heal();
    assert!(removal.as_mut().now_or_never().is_none(), "answered before the message had ended");
    world.run(&mut message).unwrap();
    assert!(world.run(&mut removal).is_ok());
    assert_eq!(rows(&world, carol.mailbox(), EnvelopeKind::SenderKey).len(), 1, "it was a member then");
}

#[test]
fn a_device_list_change_waits_for_the_messages_to_its_groups() {
    let (world, [alice, bob, carol, _], chain) = group();
    let (sender, owner) = (bob.caller(), carol.caller());
    let mut message = pin!(world.core.handle(&sender, Request::SendGroup(chain.message(1, &[]))));
    world.mailboxes.faults().set(FaultPlan {
        seed: 3,
        store_delay_max: Millis(5_000),
        ..FaultPlan::default()
    });
    assert!(message.as_mut().now_or_never().is_none());
    world.mailboxes.faults().heal();
    let mut change = pin!(world.core.handle(&owner, carol.put_list(2, &[1])));
    assert!(change.as_mut().now_or_never().is_none());
    world.run(&mut message).unwrap();
    assert_eq!(world.run(&mut change), Ok(Response::Done));
    assert_eq!(refused(send(&world, &alice, chain.message(2, &[]))), Code::StaleDevices);
}
