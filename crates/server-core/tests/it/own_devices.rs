//! What a sender's own other devices get: transcripts, and what is theirs alone.

use crate::world::{Person, World, send_to, stale};
use wire::{Send, Urgency};

fn pair() -> (World, Person, Person) {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    (world, alice, bob)
}

#[test]
fn the_senders_own_other_devices_count() {
    let (world, alice, bob) = pair();
    world.link(&bob, 2, &[1, 2]);
    assert_eq!(stale(world.send(&bob, bob.message(&alice, 1))).missing, [bob.linked(2)]);
    let with_transcript = send_to(alice.id(), 2, &[alice.mailbox(), bob.linked(2)]);
    world.send(&bob, with_transcript).unwrap();
    assert_eq!(world.mailbox(bob.linked(2)).len(), 1);
    let to_itself = send_to(alice.id(), 3, &[alice.mailbox(), bob.linked(2), bob.mailbox()]);
    assert_eq!(stale(world.send(&bob, to_itself)).extra, [bob.mailbox()]);
    let note = send_to(bob.id(), 4, &[bob.linked(2)]);
    world.send(&bob, note).unwrap();
    assert_eq!(world.mailbox(bob.linked(2)).len(), 2);
    // Alice is alone: a note to self has no rows, and is a send all the same.
    let alone = send_to(alice.id(), 5, &[]);
    let stamp = world.send(&alice, alone.clone()).unwrap();
    assert_eq!(world.send(&alice, alone).unwrap(), stamp);
}

#[test]
fn what_is_silent_may_leave_out_ones_own_devices_all_or_none() {
    let (world, alice, bob) = pair();
    world.link(&bob, 2, &[1, 2]);
    world.link(&bob, 3, &[1, 2, 3]);
    let receipt = |id: u8, devices: &[types::MailboxId]| Send {
        urgency: Urgency::Silent,
        ..send_to(alice.id(), id, devices)
    };
    world.send(&bob, receipt(1, &[alice.mailbox()])).unwrap();
    assert!(world.mailbox(bob.linked(2)).is_empty());
    let some = stale(world.send(&bob, receipt(2, &[alice.mailbox(), bob.linked(2)])));
    assert_eq!((some.missing, some.extra), (vec![bob.linked(3)], vec![]));
    world.send(&bob, receipt(3, &[alice.mailbox(), bob.linked(2), bob.linked(3)])).unwrap();
    assert_eq!(
        stale(world.send(&bob, receipt(4, &[]))).missing,
        [alice.mailbox()],
        "hers are never left out"
    );
    let loud = send_to(alice.id(), 5, &[alice.mailbox()]);
    assert_eq!(stale(world.send(&bob, loud)).missing, [bob.linked(2), bob.linked(3)]);
    // To one's own account everything is for one's own devices.
    let to_itself = Send { urgency: Urgency::Silent, ..send_to(bob.id(), 6, &[]) };
    assert_eq!(stale(world.send(&bob, to_itself)).missing, [bob.linked(2), bob.linked(3)]);
}
