//! Bad histories of a group whose devices can be seen: their sender keys, their copies of the chain, what they show.

use crate::{
    group_scene::*,
    scene::{Scene, body},
};
use testkit::{
    check::Invariant::*,
    fixture::{account, device, envelope_id, group, mailbox, message, stamp},
    history::{Fact, HeldOperation},
};
use types::{MailboxId, Stamp};

/// Where an operation stands: the founding before message 5, the removal between it and message 6.
fn place(epoch: u64) -> Stamp {
    let before = stamp([4, 5][epoch as usize]);
    Stamp::new(before.clock() + 1, before.node())
}

/// So many seconds after the removal.
fn place_after(seconds: u64) -> Stamp {
    let removal = place(1);
    Stamp::new(removal.clock() + ((seconds * 1_000) << 16), removal.node())
}

fn is_key_to(to: MailboxId) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::SenderKeyGiven { to: id, .. } if *id == to)
}

fn is_chain_at(at: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::ChainHeld { device: id, .. } if *id == device(at))
}

fn is_message(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::SealedForGroup { message: Some(id), .. } if *id == message(number))
}

fn given(by: u8, to: MailboxId, key: u64, epoch: u64) -> Fact {
    Fact::SenderKeyGiven { group: group(1), key, by: device(by), to, epoch }
}

fn held(epoch: u64) -> HeldOperation {
    HeldOperation { digest: chain(epoch).digest, stamp: Some(place(epoch)) }
}

fn chain_held(at: u8, epochs: &[u64]) -> Fact {
    let operations = epochs.iter().map(|epoch| held(*epoch)).collect();
    Fact::ChainHeld { device: device(at), group: group(1), operations, secret: true }
}

/// The good history, seen closer: account 1 seals message 5 with its key 1, account 2 message 6 with its own.
fn seen() -> Scene {
    let mut scene = good();
    for (_, fact) in &mut scene.facts {
        match fact {
            Fact::SealedForGroup { message: None, epoch, ciphertext, .. } => {
                *ciphertext = chain(*epoch).digest
            }
            Fact::SealedForGroup { key, .. } => *key = Some(1),
            Fact::Delivered { envelope, ciphertext, .. } if *envelope == envelope_id(FOUNDING) => {
                *ciphertext = chain(0).digest;
            }
            Fact::Delivered { envelope, ciphertext, .. } if *envelope == envelope_id(REMOVAL) => {
                *ciphertext = chain(1).digest;
            }
            Fact::Row { envelope, stamp, .. } if *envelope == envelope_id(FOUNDING) => *stamp = place(0),
            Fact::Row { envelope, stamp, .. } if *envelope == envelope_id(REMOVAL) => *stamp = place(1),
            _ => {}
        }
    }
    let scene = [mailbox(2), mailbox(3), second_mailbox()]
        .into_iter()
        .fold(scene, |scene, to| scene.after(is_chain(0), given(1, to, 1, 0)));
    let scene = scene.after(is_chain(1), given(2, mailbox(1), 1, 1));
    scene.and(chain_held(1, &[0, 1])).and(chain_held(2, &[0, 1])).and(chain_held(3, &[0, 1]))
}

fn is_faults_ended(fact: &Fact) -> bool {
    matches!(fact, Fact::FaultsEnded)
}

fn is_chain(epoch: u64) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::ChainWritten { epoch: at, .. } if *at == epoch)
}

#[test]
fn a_good_history_seen_closely_is_clean() {
    seen().violates(&[]);
}

// ---- 9

#[test]
fn a_key_that_a_stranger_is_given_is_found() {
    seen()
        .with(is_key_to(mailbox(2)), |fact| *fact = given(1, mailbox(4), 1, 0))
        .violates(&[RemovedGetsNothing]);
}

#[test]
fn a_message_under_a_key_that_a_removed_member_has_is_found() {
    let keeps = |key| seen().after(is_chain(0), given(2, mailbox(3), key, 0));
    keeps(1).violates(&[RemovedGetsNothing]);
    // That one was replaced.
    keeps(0).violates(&[]);
}

#[test]
fn a_message_under_a_key_that_an_unlinked_device_has_is_found() {
    let gone = Fact::Closed { mailbox: second_mailbox() };
    let scene = seen().without(|fact| matches!(fact, Fact::Closed { .. }));
    let early =
        scene.clone().after(is_chain(1), gone.clone()).after(is_chain(0), given(2, second_mailbox(), 1, 0));
    early.violates(&[RemovedGetsNothing]);
    let late = scene.and(gone).after(is_chain(0), given(2, second_mailbox(), 1, 0));
    late.violates(&[]);
}

#[test]
fn a_key_that_was_given_after_the_message_left_is_no_fault_of_the_message() {
    seen().and(given(1, mailbox(3), 1, 0)).violates(&[]);
    seen().and(given(1, mailbox(3), 1, 1)).violates(&[RemovedGetsNothing]);
}

#[test]
fn what_a_former_member_sends_after_the_end_may_not_be_shown() {
    let shown = |at: Stamp| {
        seen()
            .after(
                is_chain(0),
                Fact::Composed { message: message(7), sender: device(3), to: chat(), body: body(7) },
            )
            .after(is_chain(1), sealed_for_group(7, Some(7), 3, 0))
            .and(Fact::Shown {
                device: device(2),
                message: message(7),
                sender: device(3),
                stamp: at,
                body: body(7),
            })
            .and(Fact::Refused { message: message(7) })
    };
    shown(place_after(31)).violates(&[RemovedGetsNothing]);
    // Who was a member by then may be heard late.
    shown(place_after(29)).violates(&[]);
}

// ---- 2

#[test]
fn a_message_shown_to_one_who_was_no_member_when_it_was_written_is_found() {
    seen().and(shown_at(6, 2, device(3))).violates(&[NothingUnsent]);
}

// ---- 4

#[test]
fn operations_at_different_places_are_found() {
    let moved = |epoch: usize, to: Stamp| {
        seen().with(is_chain_at(2), move |fact| {
            if let Fact::ChainHeld { operations, .. } = fact {
                operations[epoch].stamp = Some(to);
            }
        })
    };
    moved(1, stamp(9)).violates(&[Order]);
    moved(0, stamp(9)).violates(&[Order]);
}

#[test]
fn a_message_before_the_operation_that_it_was_written_on_is_found() {
    seen().with(is_message(5), |fact| {
        if let Fact::SealedForGroup { epoch, .. } = fact {
            *epoch = 1;
        }
    })
    .without(|fact| matches!(fact, Fact::Row { envelope, mailbox: at, .. } if (*envelope, *at) == (envelope_id(5), mailbox(3))))
    .violates(&[NothingUnsent, Order, RemovedGetsNothing]);
}

// ---- 10 and 21

#[test]
fn a_copy_with_another_operation_is_found() {
    seen()
        .with(is_chain_at(2), |fact| {
            if let Fact::ChainHeld { operations, .. } = fact {
                operations[1].digest = 0xbad;
            }
        })
        .violates(&[Linearizable]);
    seen().with(is_chain_at(2), |fact| *fact = chain_held(2, &[0, 1, 1])).violates(&[Order, Linearizable]);
}

#[test]
fn a_member_that_never_learns_of_an_operation_is_found() {
    seen().with(is_chain_at(2), |fact| *fact = chain_held(2, &[0])).violates(&[Settles]);
    seen().without(is_chain_at(1)).violates(&[Settles]);
    // Who was removed need not hear how it went on.
    seen().with(is_chain_at(3), |fact| *fact = chain_held(3, &[0])).violates(&[]);
}

// ---- 21

#[test]
fn what_a_device_keeps_back_is_found_while_its_sender_is_there() {
    let kept = |sender| {
        seen().and(Fact::KeptBack { device: device(2), sender: device(sender), envelope: envelope_id(5) })
    };
    kept(1).violates(&[Settles]);
    kept(4).violates(&[]);
}

#[test]
fn a_member_without_the_groups_secret_is_found_unless_somebody_took_it_along() {
    let without = |scene: Scene| {
        scene.with(is_chain_at(2), |fact| {
            if let Fact::ChainHeld { secret, .. } = fact {
                *secret = false;
            }
        })
    };
    without(seen()).violates(&[Settles]);
    let gone = Fact::Closed { mailbox: mailbox(3) };
    without(seen().after(is_faults_ended, gone)).violates(&[]);
}

#[test]
fn receipts_of_present_members_return_and_those_of_former_ones_need_not() {
    let without = |by: u8| {
        seen().without(move |fact| {
            matches!(fact, Fact::Receipt { from, message: id, .. } if (*from, *id) == (account(by), message(5)))
        })
    };
    without(2).violates(&[Settles]);
    without(3).violates(&[]);
}
