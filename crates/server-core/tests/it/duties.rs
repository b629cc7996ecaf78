//! What a node does again and again, and what it says of itself.

use crate::world::{Person, World, refused};
use server_core::RegistrationError;
use server_ports::{Mailboxes, fake::FaultPlan};
use types::{Millis, NodeId, limits};
use wire::Code;

#[test]
fn expired_rows_are_unreadable_at_once_and_deleted_soon() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.connect(&bob, 1);
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    world.clock.advance(Millis(limits::ENVELOPE_LIFE.0 - 1));
    world.run(world.core.tick());
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1, "not a moment earlier");
    world.clock.advance(Millis(1));
    assert_eq!(world.mailbox(bob.mailbox()).len(), 0);
    assert_eq!(world.mailboxes.rows().len(), 1);
    world.clock.advance(Millis::from_mins(10));
    world.run(world.core.tick());
    assert_eq!(world.mailboxes.rows().len(), 0);
}

#[test]
fn a_duty_that_failed_is_tried_again_at_the_next_tick() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    world.clock.advance(limits::ENVELOPE_LIFE);
    world.mailboxes.faults().set(FaultPlan { store_fails: 1_000, ..FaultPlan::default() });
    world.run(world.core.tick());
    assert_eq!(world.mailboxes.rows().len(), 1);
    world.mailboxes.faults().heal();
    world.run(world.core.tick());
    assert_eq!(world.mailboxes.rows().len(), 0);
}

#[test]
fn old_codes_go() {
    let world = World::new();
    let bob = Person::new(2);
    let begun = world.begin(&bob);
    world.clock.advance(limits::CODE_LIFE);
    assert_eq!(world.finish(&bob, begun.clone(), |_| ()), Err(RegistrationError::CodeExpired));
    world.run(world.core.tick());
    assert_eq!(world.finish(&bob, begun, |_| ()), Err(RegistrationError::NoSession));
}

#[test]
fn stamps_stay_reserved_ahead_of_need() {
    let world = World::new();
    let reserved = || world.run(world.mailboxes.reserved_stamps(NodeId(1))).unwrap() >> 16;
    let ahead = || Millis(reserved().saturating_sub(world.now().as_millis()));
    assert!(ahead() >= Millis::from_secs(10));
    for _ in 0..60 {
        world.clock.advance(Millis::from_secs(1));
        world.run(world.core.tick());
        assert!(ahead() >= Millis::from_secs(5), "no send waits for a reservation");
        assert!(ahead() <= Millis(10_001), "and no more than ten seconds are lost by a restart");
    }
}

#[test]
fn a_poisoned_store_takes_the_node_out_of_service() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    assert!(!world.core.health().poisoned);
    world.mailboxes.faults().set(FaultPlan { store_fails: 1_000, ..FaultPlan::default() });
    assert_eq!(refused(world.send(&alice, alice.message(&bob, 1))), Code::Unavailable);
    world.mailboxes.faults().heal();
    assert!(!world.core.health().poisoned, "a call that failed is not a store that is broken");
    world.mailboxes.poison();
    assert_eq!(refused(world.send(&alice, alice.message(&bob, 1))), Code::Unavailable);
    assert!(world.core.health().poisoned);
    world.mailboxes.power_cut();
    assert!(world.core.health().poisoned, "until the node itself restarts");
    let world = World::new();
    world.directory.poison();
    assert!(world.core.health().poisoned, "also when nobody has asked the store for anything");
}
