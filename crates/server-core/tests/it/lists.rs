//! Device lists and what their change does to mailboxes, keys and sessions.

use crate::world::{Person, World, keys, refused, send_to, stale};
use futures_util::FutureExt;
use server_ports::{Caller, Signal, fake::FaultPlan};
use signed::DeviceListDraft;
use std::pin::pin;
use types::{Millis, Timestamp};
use wire::{AccountList, Code, Request, Response};

fn lists_of(world: &World, caller: &Person, accounts: &[&Person]) -> Vec<AccountList> {
    let ids = accounts.iter().map(|person| person.id()).collect();
    match world.ask(&caller.caller(), Request::GetDeviceLists(ids)).unwrap() {
        Response::DeviceLists(lists) => lists,
        other => panic!("{other:?}"),
    }
}

fn put(world: &World, person: &Person, list: &signed::DeviceList) -> Result<Response, wire::Refusal> {
    world.ask(&person.caller(), Request::PutDeviceList(list.as_bytes().to_vec().into()))
}

#[test]
fn lists_are_given_as_they_were_signed() {
    let world = World::new();
    let (alice, bob, nobody, gone) =
        (world.register(1), world.register(2), Person::new(9), world.register(3));
    world.link(&bob, 7, &[1, 3]);
    world.ask(&gone.caller(), Request::CloseAccount).unwrap();
    let lists = lists_of(&world, &alice, &[&bob, &nobody, &gone, &alice]);
    let seen: Vec<_> = lists.iter().map(|list| (list.account, &list.device_list[..], list.closed)).collect();
    let (bobs, alices) = (bob.list(7, &[1, 3]), alice.list(1, &[1]));
    assert_eq!(
        seen,
        [
            (bob.id(), bobs.as_bytes(), false),
            (nobody.id(), &[][..], false),
            (gone.id(), &[], true),
            (alice.id(), alices.as_bytes(), false),
        ]
    );
}

#[test]
fn a_list_goes_only_forward() {
    let world = World::new();
    let bob = world.register(2);
    let (second, rival) = (bob.list(2, &[1, 2]), bob.list(2, &[1]));
    world.link(&bob, 2, &[1, 2]);
    assert_eq!(put(&world, &bob, &second), Ok(Response::Done), "a repeat");
    assert_eq!(refused(put(&world, &bob, &rival)), Code::VersionConflict, "a fork");
    assert_eq!(refused(put(&world, &bob, &bob.list(1, &[1]))), Code::VersionConflict, "a rollback");
    put(&world, &bob, &bob.list(90, &[1])).unwrap();
    assert_eq!(lists_of(&world, &bob, &[&bob])[0].device_list[..], bob.list(90, &[1]).as_bytes()[..]);
}

#[test]
fn of_two_lists_at_once_one_is_stored() {
    for seed in 0..20 {
        let world = World::slow(seed, Millis(50));
        let bob = world.register(2);
        world.link(&bob, 2, &[1, 2]);
        world.link(&bob, 3, &[1, 2, 3]);
        let other = world.node(2, 0);
        let caller = bob.caller();
        let one = world.core.handle(&caller, bob.put_list(4, &[1, 2]));
        let two = other.handle(&caller, bob.put_list(4, &[1, 3]));
        let (one, two) = world.run(futures_util::future::join(one, two));
        let winners = [&one, &two].iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(winners, 1, "{one:?} {two:?}");
        let loser = if one.is_ok() { two } else { one };
        assert_eq!(refused(loser), Code::VersionConflict);
    }
}

#[test]
fn only_a_verified_list_of_ones_own_account_is_taken() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    assert_eq!(refused(put(&world, &alice, &bob.list(2, &[1, 2]))), Code::Forbidden);
    let mut forged = bob.list(2, &[1, 2]).as_bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert_eq!(refused(world.ask(&bob.caller(), Request::PutDeviceList(forged.into()))), Code::BadDeviceList);
    assert_eq!(
        refused(world.ask(&bob.caller(), Request::PutDeviceList(vec![0; 40].into()))),
        Code::BadDeviceList
    );
    // Another key under the same registration id would break sessions silently.
    let swapped = Person { device: alice.device.clone(), ..Person::new(2) };
    let list = DeviceListDraft {
        version: 2,
        issued_at: Timestamp::default(),
        devices: vec![swapped.listed(bob.mailbox())],
        sealed_names: vec![],
    };
    assert_eq!(refused(put(&world, &bob, &list.sign(&bob.account).unwrap())), Code::BadDeviceList);
    assert_eq!(lists_of(&world, &bob, &[&bob])[0].device_list[..], bob.list(1, &[1]).as_bytes()[..]);
}

#[test]
fn a_removed_device_loses_mailbox_keys_and_socket() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.link(&bob, 2, &[1, 2]);
    let linked = Caller { mailbox: bob.linked(2), connection: 1 };
    world.ask(&linked, Request::UploadKeys(keys(1..=3))).unwrap();
    let inbox = world.listen();
    world.run(world.core.opened(&linked)).unwrap();
    world.send(&alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)])).unwrap();
    inbox.take();

    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    assert_eq!(inbox.take(), [(bob.linked(2), 1, Signal::Ended(Code::Revoked))]);
    assert_eq!(world.mailbox(bob.linked(2)), []);
    assert!(!world.mailboxes.open_mailboxes().contains(&bob.linked(2)));
    assert_eq!(refused(world.ask(&linked, Request::KeyCount)), Code::Revoked);
    assert_eq!(refused(world.ask(&linked, Request::UploadKeys(keys(4..=5)))), Code::Revoked);
    assert_eq!(
        refused(world.ask(&linked, Request::Send(send_to(alice.id(), 2, &[alice.mailbox(), bob.mailbox()])))),
        Code::Revoked
    );
    let to_both = world.send(&alice, send_to(bob.id(), 3, &[bob.linked(1), bob.linked(2)]));
    assert_eq!(stale(to_both).extra, [bob.linked(2)]);
    assert_eq!(world.mailbox(bob.linked(1)).len(), 1, "the device that stays keeps its rows");
}

#[test]
fn a_mailbox_that_a_crash_left_behind_is_closed_by_whoever_comes_next() {
    for next in ["a restart", "the repeat", "a tick"] {
        let world = World::new();
        let (alice, bob) = (world.register(1), world.register(2));
        world.link(&bob, 2, &[1, 2]);
        world.send(&alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)])).unwrap();
        world.mailboxes.faults().set(FaultPlan { store_fails: 1_000, ..FaultPlan::default() });
        assert_eq!(refused(world.ask(&bob.caller(), bob.put_list(3, &[1]))), Code::Unavailable);
        world.mailboxes.faults().heal();
        assert!(world.mailboxes.open_mailboxes().contains(&bob.linked(2)), "the list is stored, and no more");
        match next {
            "a restart" => drop(world.node(2, 0)),
            "the repeat" => {
                assert_eq!(world.ask(&bob.caller(), bob.put_list(3, &[1])), Ok(Response::Done));
            }
            _ => {
                world.clock.advance(Millis::from_secs(11));
                world.run(world.core.tick());
            }
        }
        assert!(!world.mailboxes.open_mailboxes().contains(&bob.linked(2)), "{next}");
        assert_eq!(world.mailbox(bob.linked(2)), [], "{next}");
        assert_eq!(world.mailbox(bob.linked(1)).len(), 1, "the device that stays keeps its rows");
    }
}

#[test]
fn only_a_link_adds_a_device() {
    let world = World::new();
    let bob = world.register(2);
    assert_eq!(refused(put(&world, &bob, &bob.list(2, &[1, 2]))), Code::BadDeviceList);
    let new_life = bob.list_of(2, &[bob.linked_as(1, 77)]);
    assert_eq!(refused(put(&world, &bob, &new_life)), Code::BadDeviceList, "not even a new primary");
    assert!(!world.mailboxes.open_mailboxes().contains(&bob.linked(2)));
    world.link(&bob, 2, &[1, 2]);
    put(&world, &bob, &bob.list(3, &[1, 2])).unwrap();
}

#[test]
fn only_the_primary_changes_the_list() {
    let world = World::new();
    let bob = world.register(2);
    world.link(&bob, 2, &[1, 2]);
    let linked = Caller { mailbox: bob.linked(2), connection: 1 };
    assert_eq!(world.ask(&linked, bob.put_list(2, &[1, 2])), Ok(Response::Done), "what is stored already");
    assert_eq!(refused(world.ask(&linked, bob.put_list(3, &[1]))), Code::Forbidden);
}

#[test]
fn a_device_number_that_is_used_again_starts_empty() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.link(&bob, 2, &[1, 2]);
    world.send(&alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)])).unwrap();
    let again = bob.list_of(3, &[bob.linked(1), bob.linked_as(2, 55)]);
    world.link_as(&bob, &again, bob.linked_as(2, 55)).unwrap();
    let answer = stale(world.send(&alice, send_to(bob.id(), 2, &[bob.linked(1), bob.linked(2)])));
    assert_eq!(answer.stale, [bob.linked_as(2, 55)]);
    world.send(&alice, send_to(bob.id(), 3, &[bob.linked(1), bob.linked_as(2, 55)])).unwrap();
    assert_eq!(world.mailbox(bob.linked_as(2, 55)).len(), 1);
    assert_eq!(world.mailbox(bob.linked(2)).len(), 0);
}

#[test]
fn a_change_keeps_the_token_and_number_of_a_device_that_stays() {
    let world = World::new();
    let bob = world.register(2);
    world.connect(&bob, 5);
    world.link(&bob, 2, &[1, 2]);
    let replay = world.run(world.core.authenticate(&bob.proof(5, [7; 32]), [7; 32]));
    assert_eq!(refused(replay), Code::Cloned);
    world.connect(&bob, 6);
}

#[test]
fn other_devices_of_the_account_are_told() {
    let world = World::new();
    let bob = world.register(2);
    world.link(&bob, 2, &[1, 2]);
    let inbox = world.listen();
    world.run(world.core.opened(&Caller { mailbox: bob.linked(2), connection: 1 })).unwrap();
    world.link(&bob, 3, &[1, 2, 3]);
    let told = Signal::DeviceListChanged { account: bob.id(), version: 3 };
    assert_eq!(inbox.take(), [(bob.linked(2), 1, told)]);
}

#[test]
fn a_change_is_answered_only_after_the_sends_before_it() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    // The store is slow: the send is admitted with the old list and waits for its append.
    let slow = FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() };
    let (sender, receiver) = (alice.caller(), bob.caller());
    let mut send = pin!(world.core.handle(&sender, Request::Send(alice.message(&bob, 1))));
    let mut change = pin!(world.core.handle(&receiver, bob.put_list(2, &[1])));
    world.mailboxes.faults().set(slow);
    assert!(now(&mut send).is_none(), "asking for the record");
    world.clock.advance_to(world.clock.next_timer().unwrap());
    assert!(now(&mut send).is_none(), "appending");
    world.mailboxes.faults().heal();
    assert!(now(&mut change).is_none(), "answered before the send had ended");
    world.run(&mut send).unwrap();
    assert_eq!(now(&mut change), Some(Ok(Response::Done)));
}

fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    future.now_or_never()
}

#[test]
fn on_a_fleet_a_change_waits_for_the_sends_of_other_nodes() {
    let world = World::with(|config| config.settle = Millis::from_secs(10));
    let bob = world.register(2);
    let before = world.now();
    world.link(&bob, 2, &[1, 2]);
    assert_eq!(world.now().since(before), Millis::from_secs(10));
}

#[test]
fn closing_an_account_leaves_nothing() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    let inbox = world.listen();
    world.connect(&bob, 1);
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    inbox.take();
    assert_eq!(world.ask(&bob.caller(), Request::CloseAccount), Ok(Response::Done));
    assert_eq!(inbox.take(), [(bob.mailbox(), 1, Signal::Ended(Code::Revoked))]);
    assert!(world.mailboxes.rows().is_empty());
    assert!(!world.mailboxes.open_mailboxes().contains(&bob.mailbox()));
    assert_eq!(refused(world.ask(&bob.caller(), Request::KeyCount)), Code::Revoked);
    assert_eq!(refused(world.ask(&bob.caller(), Request::CloseAccount)), Code::Revoked);
    assert_eq!(refused(world.ask(&bob.caller(), bob.put_list(2, &[1, 2]))), Code::Revoked);
    let lookup = Request::Lookup { numbers: vec![bob.phone.clone()], verify_sender: false };
    assert_eq!(world.ask(&alice.caller(), lookup), Ok(Response::LookupResult(vec![None])));
}

#[test]
fn a_removed_device_cannot_close_the_account() {
    let world = World::new();
    let bob = world.register(2);
    world.link(&bob, 2, &[1, 2]);
    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    let removed = Caller { mailbox: bob.linked(2), connection: 1 };
    assert_eq!(refused(world.ask(&removed, Request::CloseAccount)), Code::Revoked);
    assert!(world.run(world.core.authenticate(&bob.proof(1, [7; 32]), [7; 32])).is_ok());
}
