//! Admitting sessions.

use crate::world::{ORIGIN, Person, World, refused};
use futures_util::FutureExt;
use server_core::Origins;
use server_ports::{Caller, Signal, fake::FaultPlan};
use std::{collections::BTreeSet, pin::pin};
use types::{Millis, Redact, limits};
use wire::{Authenticate, Code, Request};

const NONCE: [u8; 32] = [7; 32];

fn authenticate(world: &World, proof: &Authenticate) -> Result<server_core::Admitted, wire::Refusal> {
    world.run(world.core.authenticate(proof, NONCE))
}

#[test]
fn a_device_that_proves_itself_is_admitted() {
    let world = World::with(|config| config.origins = Origins::These(BTreeSet::from([ORIGIN.to_owned()])));
    let bob = world.register(2);
    let admitted = authenticate(&world, &bob.proof(1, NONCE)).unwrap();
    assert_eq!(admitted.caller, Caller { mailbox: bob.mailbox(), connection: 1 });
    assert_eq!(admitted.device_list_version, 1);
}

#[test]
fn every_part_of_the_proof_is_checked() {
    let world = World::with(|config| config.origins = Origins::These(BTreeSet::from([ORIGIN.to_owned()])));
    let (bob, carol) = (world.register(2), world.register(3));
    let good = || bob.proof(1, NONCE);
    let mut signature = good();
    signature.signature[9] ^= 1;
    let cases = [
        (Authenticate { token: Redact::new([1; 32]), ..good() }, Code::Unauthenticated, "a wrong token"),
        (Authenticate { token: carol.token.clone(), ..good() }, Code::Unauthenticated, "another's token"),
        (signature, Code::Unauthenticated, "a wrong signature"),
        (bob.proof(1, [8; 32]), Code::Unauthenticated, "a proof for another hello"),
        (
            Authenticate { connection_number: 2, ..good() },
            Code::Unauthenticated,
            "a proof for another number",
        ),
        (
            Authenticate { origin: "https://evil.example".to_owned(), ..good() },
            Code::Unauthenticated,
            "an origin",
        ),
        (Authenticate { version: 0, ..good() }, Code::VersionUnsupported, "an old version"),
        (Authenticate { version: 999, ..good() }, Code::VersionUnsupported, "a future version"),
        (
            Authenticate { address: carol.mailbox().address(), ..good() },
            Code::Revoked,
            "another account, as an earlier device of it",
        ),
        (
            Authenticate { address: bob.linked(2).address(), ..good() },
            Code::Revoked,
            "a device that is not listed",
        ),
        (Person::new(9).proof(1, NONCE), Code::Unauthenticated, "an account that is none"),
    ];
    for (proof, code, what) in cases {
        assert_eq!(refused(authenticate(&world, &proof)), code, "{what}");
    }
    // None of them used up the number.
    assert!(authenticate(&world, &good()).is_ok());
}

#[test]
fn a_stolen_token_opens_nothing_without_the_device_key() {
    let world = World::new();
    let bob = world.register(2);
    let thief = Person { token: bob.token.clone(), ..Person::new(3) };
    let mut proof = thief.proof(1, NONCE);
    proof.address = bob.mailbox().address();
    assert_eq!(refused(authenticate(&world, &proof)), Code::Unauthenticated);
}

#[test]
fn any_greater_number_is_accepted_and_no_other() {
    let world = World::new();
    let bob = world.register(2);
    for number in [1, 2, 90] {
        assert!(authenticate(&world, &bob.proof(number, NONCE)).is_ok());
    }
    for number in [90, 89, 2, 0] {
        assert_eq!(refused(authenticate(&world, &bob.proof(number, NONCE))), Code::Cloned);
    }
    assert!(authenticate(&world, &bob.proof(u64::MAX, NONCE)).is_ok());
}

#[test]
fn a_number_that_was_stored_by_an_attempt_with_an_unknown_outcome_is_used_up() {
    let world = World::new();
    let bob = world.register(2);
    world.directory.faults().set(FaultPlan { store_fails_after: 1_000, ..FaultPlan::default() });
    assert_eq!(refused(authenticate(&world, &bob.proof(5, NONCE))), Code::Unavailable);
    world.directory.faults().heal();
    assert!(authenticate(&world, &bob.proof(6, NONCE)).is_ok(), "the owner goes on with the next");
}

#[test]
fn a_newer_connection_closes_the_older_one() {
    let world = World::new();
    let inbox = world.listen();
    let bob = world.register(2);
    let old = world.connect(&bob, 3);
    let new = world.connect(&bob, 4);
    assert_eq!(inbox.take(), [(bob.mailbox(), 3, Signal::Ended(Code::Replaced))]);
    world.run(world.core.closed(&old));
    assert!(
        world.exchange.route(bob.mailbox()).is_some(),
        "the old connection's end leaves the new one alone"
    );
    world.run(world.core.closed(&new));
    assert!(world.exchange.route(bob.mailbox()).is_none());
}

#[test]
fn a_connection_that_was_overtaken_before_it_opened_is_told_so() {
    let world = World::new();
    let bob = world.register(2);
    let slow = authenticate(&world, &bob.proof(3, NONCE)).unwrap();
    world.connect(&bob, 4);
    assert_eq!(refused(world.run(world.core.opened(&slow.caller))), Code::Replaced);
}

#[test]
fn a_revocation_between_proof_and_opening_is_noticed() {
    let world = World::new();
    let bob = world.register(2);
    let admitted = authenticate(&world, &bob.proof(3, NONCE)).unwrap();
    let new_life = bob.list_of(2, &[bob.linked_as(1, 77)]);
    world.restore(&bob, &new_life).unwrap();
    assert_eq!(refused(world.run(world.core.opened(&admitted.caller))), Code::Revoked);
}

#[test]
fn a_removal_while_a_device_proves_itself_leaves_no_mailbox() {
    let world = World::new();
    let bob = world.register(2);
    world.link(&bob, 2, &[1, 2]);
    let proof = bob.proof_of(bob.linked(2), 3, NONCE);
    let slow = FaultPlan { seed: 3, store_delay_max: Millis(5_000), ..FaultPlan::default() };
    world.mailboxes.faults().set(slow);
    let mut proving = pin!(world.core.authenticate(&proof, NONCE));
    assert!((&mut proving).now_or_never().is_none(), "listed, and opening its mailbox");
    world.mailboxes.faults().heal();
    world.ask(&bob.caller(), bob.put_list(3, &[1])).unwrap();
    assert_eq!(refused(world.run(&mut proving)), Code::Revoked);
    assert!(!world.mailboxes.open_mailboxes().contains(&bob.linked(2)));
}

#[test]
fn a_closed_account_admits_nobody() {
    let world = World::new();
    let bob = world.register(2);
    world.ask(&bob.caller(), Request::CloseAccount).unwrap();
    assert_eq!(refused(authenticate(&world, &bob.proof(1, NONCE))), Code::Revoked);
}

#[test]
fn connecting_ends_dormancy() {
    let world = World::new();
    let (alice, bob) = (world.register(1), world.register(2));
    world.clock.advance(limits::DEVICE_DORMANT_AFTER);
    world.clock.advance(Millis(1));
    world.send(&alice, alice.message(&bob, 1)).unwrap();
    assert_eq!(world.mailbox(bob.mailbox()).len(), 0);
    authenticate(&world, &bob.proof(1, NONCE)).unwrap();
    world.send(&alice, alice.message(&bob, 2)).unwrap();
    assert_eq!(world.mailbox(bob.mailbox()).len(), 1);
}

#[test]
fn a_dead_exchange_keeps_nobody_out() {
    let world = World::new();
    let bob = world.register(2);
    world.exchange.power_cut();
    world.connect(&bob, 1);
}

#[test]
fn an_earlier_device_of_the_same_number_is_told_that_it_is_over() {
    let world = World::new();
    let bob = world.register(2);
    let new = Person { device: Person::new(8).device, token: Person::new(8).token, ..Person::new(2) };
    world.restore(&new, &new.list_of(2, &[new.linked_as(1, 77)])).unwrap();
    assert_eq!(refused(authenticate(&world, &bob.proof(1, NONCE))), Code::Revoked);
    let stolen = Person { token: new.token.clone(), ..Person::new(2) };
    assert_eq!(refused(authenticate(&world, &stolen.proof(1, NONCE))), Code::Unauthenticated);
    authenticate(&world, &new.proof(1, NONCE)).unwrap();
}
