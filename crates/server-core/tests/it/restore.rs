//! Restoring: the account key is the account, and the old primary is nobody.

use crate::world::{HOME, Person, World, keys, refused, send_to};
use server_core::{Restoration, RestoreError};
use server_ports::{Caller, Signal, fake::FaultPlan};
use types::{MailboxId, Redact};
use wire::{Code, KeyUpload, Request, Response};

/// Bob has a linked device 2 and loses device 1.
fn lost() -> (World, Person, MailboxId) {
    let world = World::new();
    let bob = world.register(2);
    world.link(&bob, 2, &[1, 2]);
    let new = bob.linked_as(1, 4_242);
    (world, bob, new)
}

fn stored(world: &World, bob: &Person) -> bytes::Bytes {
    match world.ask(&bob.caller(), Request::GetDeviceLists(vec![bob.id()])).unwrap() {
        Response::DeviceLists(lists) => lists[0].device_list.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_primary_takes_the_place_of_the_old_one() {
    let (world, bob, new) = lost();
    let alice = world.register(1);
    let (inbox, linked) = (world.listen(), Caller { mailbox: bob.linked(2), connection: 1 });
    world.connect(&bob, 9);
    world.run(world.core.opened(&linked)).unwrap();
    world.send(&alice, send_to(bob.id(), 1, &[bob.linked(1), bob.linked(2)])).unwrap();
    inbox.take();

    let list = bob.list_of(3, &[new, bob.linked(2)]);
    assert_eq!(world.restore(&bob, &list), Ok(new));
    let told = Signal::DeviceListChanged { account: bob.id(), version: 3 };
    assert_eq!(inbox.take(), [(bob.mailbox(), 9, Signal::Ended(Code::Revoked)), (bob.linked(2), 1, told)]);
    assert_eq!(world.mailbox(bob.linked(1)), []);
    assert_eq!(world.mailbox(bob.linked(2)).len(), 1, "the linked device keeps its rows");
    assert_eq!(refused(world.ask(&bob.caller(), Request::KeyCount)), Code::Revoked);
    let counts = world.ask(&Caller { mailbox: new, connection: 1 }, Request::KeyCount).unwrap();
    assert_eq!(counts, Response::KeyCounts(wire::KeyCounts { one_time: 5, one_time_kem: 5 }));
    world.run(world.core.authenticate(&bob.proof_of(new, 1, [7; 32]), [7; 32])).unwrap();
    world.run(world.core.authenticate(&bob.proof_of(bob.linked(2), 2, [7; 32]), [7; 32])).unwrap();
    world.send(&alice, send_to(bob.id(), 2, &[new, bob.linked(2)])).unwrap();
    assert_eq!(world.mailbox(new).len(), 1);
}

#[test]
fn a_list_from_an_old_backup_gets_the_stored_one_to_sign_above_it() {
    let (world, bob, new) = lost();
    let stored = stored(&world, &bob);
    for old in [bob.list_of(2, &[new]), bob.list_of(9, &[new]), bob.list_of(9, &[new, bob.linked_as(2, 7)])] {
        assert_eq!(world.restore(&bob, &old), Err(RestoreError::Conflict { device_list: stored.clone() }));
    }
    assert_eq!(world.restore(&bob, &bob.list_of(9, &[new, bob.linked(2)])), Ok(new));
}

#[test]
fn the_request_can_be_repeated_by_the_same_device_only() {
    let (world, bob, new) = lost();
    let list = bob.list_of(3, &[new, bob.linked(2)]);
    assert_eq!(world.restore(&bob, &list), Ok(new));
    world.run(world.core.authenticate(&bob.proof_of(new, 1, [7; 32]), [7; 32])).unwrap();
    assert_eq!(world.restore(&bob, &list), Ok(new));
    let thief = Person { token: Redact::new([1; 32]), ..Person::new(2) };
    assert!(matches!(world.restore(&thief, &list), Err(RestoreError::Conflict { .. })));
    world.run(world.core.authenticate(&bob.proof_of(new, 2, [7; 32]), [7; 32])).unwrap();
}

#[test]
fn an_unknown_outcome_is_settled_by_asking_again() {
    for fails_after in [0, 1_000] {
        let (world, bob, new) = lost();
        let list = bob.list_of(3, &[new, bob.linked(2)]);
        let plan = FaultPlan { store_fails: 300, store_fails_after: fails_after, ..FaultPlan::default() };
        world.directory.faults().set(plan);
        for _ in 0..8 {
            let answer = world.restore(&bob, &list);
            assert!(matches!(answer, Ok(_) | Err(RestoreError::Unavailable)), "{answer:?}");
        }
        world.directory.faults().heal();
        assert_eq!(world.restore(&bob, &list), Ok(new));
        assert!(!world.mailboxes.open_mailboxes().contains(&bob.mailbox()), "the old mailbox is gone");
    }
}

#[test]
fn what_is_no_restoration_is_refused() {
    let (world, bob, new) = lost();
    assert_eq!(
        world.restore(&bob, &bob.list(3, &[1, 2])),
        Err(RestoreError::NotNew),
        "the device that is there already"
    );
    let nobody = Person::new(77);
    assert_eq!(world.restore(&nobody, &nobody.list(1, &[1])), Err(RestoreError::NoAccount));
    let keyless = Restoration {
        device_list: bob.list_of(3, &[new, bob.linked(2)]).as_bytes().to_vec().into(),
        token: bob.token.clone(),
        keys: KeyUpload { signed_prekey: None, ..keys(1..=1) },
    };
    assert_eq!(world.run(world.core.restore(keyless.clone(), HOME)), Err(RestoreError::KeysMissing));
    let mut forged = keyless.device_list.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let forged = Restoration { device_list: forged.into(), keys: keys(1..=1), ..keyless };
    assert!(matches!(world.run(world.core.restore(forged, HOME)), Err(RestoreError::BadDeviceList(_))));
    world.ask(&bob.caller(), Request::CloseAccount).unwrap();
    assert_eq!(world.restore(&bob, &bob.list_of(3, &[new, bob.linked(2)])), Err(RestoreError::Closed));
}

#[test]
fn restorations_have_a_quota_by_address() {
    let world = World::with(|config| config.quotas.restorations_per_address.limit = 1);
    let bob = world.register(2);
    let new = bob.linked_as(1, 4_242);
    world.restore(&bob, &bob.list_of(2, &[new])).unwrap();
    let second = world.restore(&bob, &bob.list_of(3, &[bob.linked_as(1, 5)]));
    assert!(matches!(second, Err(RestoreError::RetryAfter(_))), "{second:?}");
}
