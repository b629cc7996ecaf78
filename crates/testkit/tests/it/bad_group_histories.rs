//! Bad histories of a group and of an account with two devices.

use crate::{
    group_scene::*,
    scene::{Scene, body, ciphertext},
};
use testkit::{
    check::{Invariant::*, check},
    fixture::{account, device, envelope_id, mailbox, message, stamp},
    history::{Fact, History},
};
use types::{DeviceAddress, MailboxId};

fn is_row_of(number: u8, to: MailboxId) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Row { envelope, mailbox, .. } if (*envelope, *mailbox) == (envelope_id(number), to))
}

/// Everything of one envelope at one mailbox.
fn is_at(number: u8, at: MailboxId) -> impl Fn(&Fact) -> bool {
    move |fact| match fact {
        Fact::Row { envelope, mailbox, .. }
        | Fact::Delivered { envelope, mailbox, .. }
        | Fact::Stored { envelope, mailbox } => (*envelope, *mailbox) == (envelope_id(number), at),
        Fact::Acked { mailbox, position } | Fact::Deleted { mailbox, position, .. } => {
            (*mailbox, *position) == (at, crate::scene::position(number))
        }
        Fact::Shown { device, message: id, .. } => (*device, *id) == (at.address(), message(number)),
        _ => false,
    }
}

fn is_shown(text: u8, at: DeviceAddress) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Shown { device, message: id, .. } if (*device, *id) == (at, message(text)))
}

fn is_accepted(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Accepted { envelope: Some(id), .. } if *id == envelope_id(number))
}

fn is_sealed(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::SealedForGroup { envelope, .. } if *envelope == envelope_id(number))
}

fn is_view_of(at: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::View { device: id, .. } if *id == device(at))
}

fn is_faults_ended(fact: &Fact) -> bool {
    matches!(fact, Fact::FaultsEnded)
}

fn is_chain(epoch: u64) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::ChainWritten { epoch: at, .. } if *at == epoch)
}

fn is_answered(of: SignedFact) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::LogAnswered { digest, .. } if *digest == of.digest)
}

#[test]
fn a_good_history_is_clean_and_judged_and_survives_its_text_form() {
    let scene = good();
    let report = check(&scene.history(), scene.terms);
    report.assert_clean();
    report.assert_judged(&[RemovedGetsNothing, Linearizable, FanOutWhole, AcceptedArrives, Order, Settles]);
    let mut lines = Vec::new();
    scene.history().write_lines(&mut lines).unwrap();
    assert_eq!(History::read_lines(&lines[..]).unwrap(), scene.history());
}

// ---- 1, 2, 4 and 20, where a group or a second device is concerned

#[test]
fn a_group_message_that_a_member_never_sees_is_lost() {
    good()
        .without(is_shown(5, device(2)))
        .with(is_view_of(2), |fact| *fact = view_of_group(2, &[6]))
        .violates(&[AcceptedArrives]);
}

#[test]
fn a_group_message_that_the_senders_other_device_never_sees_is_lost_while_it_is_linked() {
    good().without(is_shown(5, second_device())).violates(&[]);
    let stays = |fact: &Fact| matches!(fact, Fact::Closed { .. });
    good()
        .without(stays)
        .with(is_answered(list(3)), |fact| *fact = list(2).answered(1, 60_000))
        .with(
            |fact| matches!(fact, Fact::ListWritten { version: 3, .. }),
            |fact| *fact = list_written(3, &[mailbox(1), second_mailbox()]),
        )
        .without(|fact| matches!(fact, Fact::LogRead { digest, .. } if *digest == list(3).digest))
        .without(is_answered(list(2)))
        .without(is_shown(5, second_device()))
        .violates(&[AcceptedArrives]);
}

#[test]
fn a_direct_send_that_leaves_out_the_senders_other_device_is_found() {
    let direct = |to: Vec<MailboxId>| {
        let mut facts = vec![Fact::Composed {
            message: message(8),
            sender: device(1),
            to: account(2).into(),
            body: body(8),
        }];
        facts.extend(to.iter().map(|to| Fact::Sealed {
            envelope: envelope_id(8),
            message: Some(message(8)),
            sender: device(1),
            to: *to,
            step: None,
            ciphertext: ciphertext(8),
        }));
        facts.extend(to.iter().map(|to| row_for(8, *to)));
        facts.push(Fact::Accepted {
            envelope: Some(envelope_id(8)),
            message: Some(message(8)),
            resend: false,
            sender: device(1),
            to: to.clone(),
            stamp: stamp(8),
        });
        facts.extend(to.iter().map(|to| Fact::Stored { mailbox: *to, envelope: envelope_id(8) }));
        facts.extend(to.iter().map(|to| shown_at(8, 1, to.address())));
        facts.push(Fact::Receipt {
            device: device(1),
            message: message(8),
            from: account(2),
            kind: testkit::history::ReceiptKind::Delivered,
        });
        let scene = facts.into_iter().rev().fold(good(), |scene, fact| scene.after(is_chain(0), fact));
        scene.after(is_faults_ended, Fact::Offline { device: second_device() })
    };
    direct(vec![mailbox(2), second_mailbox()]).violates(&[]);
    direct(vec![mailbox(2)]).violates(&[AcceptedArrives]);
}

#[test]
fn what_a_group_sends_and_nobody_sealed_is_found() {
    good().without(is_sealed(6)).violates(&[NothingUnsent]);
}

#[test]
fn a_message_that_reaches_one_who_was_no_member_is_found() {
    let outsider = [Fact::Opened { mailbox: mailbox(4) }, Fact::Online { device: device(4) }];
    let scene = outsider.into_iter().fold(good(), |scene, fact| scene.after(is_chain(1), fact));
    scene.clone().violates(&[]);
    scene
        .and(Fact::Delivered {
            mailbox: mailbox(4),
            envelope: envelope_id(6),
            position: crate::scene::position(1),
            ciphertext: ciphertext(6),
        })
        .and(shown_at(6, 2, device(4)))
        .violates(&[NothingUnsent]);
}

#[test]
fn members_with_different_orders_are_found() {
    good().with(is_view_of(2), |fact| *fact = view_of_group(2, &[6, 5])).violates(&[Order]);
    good()
        .with(is_view_of(3), |fact| {
            if let Fact::View { lines, .. } = fact {
                lines[0].stamp = Some(stamp(99));
            }
        })
        .violates(&[Order]);
}

#[test]
fn a_step_of_a_sender_key_used_twice_is_found() {
    good()
        .with(
            |fact| is_sealed(6)(fact) || is_sealed(5)(fact),
            |fact| {
                if let Fact::SealedForGroup { step, sender, .. } = fact {
                    (*step, *sender) = (Some(1), device(1));
                }
            },
        )
        .with(is_accepted(6), |fact| *fact = accepted_by_group(6, Some(6), 1))
        .with(
            |fact| matches!(fact, Fact::Composed { message: id, .. } | Fact::Shown { message: id, .. } if *id == message(6)),
            |fact| match fact {
                Fact::Composed { sender, .. } | Fact::Shown { sender, .. } => *sender = device(1),
                _ => {}
            },
        )
        .without(is_at(6, mailbox(1)))
        .after(is_sealed(6), row_for(6, mailbox(2)))
        .after(is_accepted(6), Fact::Stored { mailbox: mailbox(2), envelope: envelope_id(6) })
        .after(is_accepted(6), shown_at(6, 1, device(2)))
        .and(Fact::Receipt {
            device: device(1),
            message: message(6),
            from: account(2),
            kind: testkit::history::ReceiptKind::Delivered,
        })
        .violates(&[NoRatchetReuse, Settles]);
}

// ---- 9

#[test]
fn a_row_for_a_removed_member_is_found() {
    good()
        .after(is_sealed(6), row_for(6, mailbox(3)))
        .after(is_accepted(6), Fact::Stored { mailbox: mailbox(3), envelope: envelope_id(6) })
        .violates(&[RemovedGetsNothing]);
}

#[test]
fn a_row_for_a_removed_member_that_was_admitted_before_is_fine() {
    let early = |fact: &Fact| is_answered(chain(1))(fact);
    let facts = [
        sealed_for_group(7, Some(7), 2, 0),
        row_for(7, mailbox(1)),
        row_for(7, second_mailbox()),
        row_for(7, mailbox(3)),
        accepted_by_group(7, Some(7), 2),
    ];
    // Everything before the answer to the removal; then the same after it.
    let scene = |at: &dyn Fn(&Fact) -> bool| {
        let stored = [mailbox(1), second_mailbox(), mailbox(3)]
            .map(|mailbox| Fact::Stored { mailbox, envelope: envelope_id(7) });
        facts.clone().into_iter().chain(stored).rev().fold(good(), |scene, fact| scene.after(at, fact))
    };
    scene(&is_chain(1)).violates(&[]);
    scene(&early).violates(&[RemovedGetsNothing]);
}

#[test]
fn a_send_of_a_removed_member_that_is_accepted_is_found() {
    let facts = [
        sealed_for_group(7, Some(7), 3, 1),
        row_for(7, mailbox(1)),
        row_for(7, second_mailbox()),
        row_for(7, mailbox(2)),
        accepted_by_group(7, Some(7), 3),
    ];
    let stored = [mailbox(1), second_mailbox(), mailbox(2)]
        .map(|mailbox| Fact::Stored { mailbox, envelope: envelope_id(7) });
    let after = |scene: Scene, fact| scene.after(is_answered(chain(1)), fact);
    facts.into_iter().chain(stored).rev().fold(good(), after).violates(&[RemovedGetsNothing]);
}

#[test]
fn one_who_was_added_again_gets_messages_again() {
    let back = |scene: Scene| {
        scene
            .after(is_sealed(6), row_for(6, mailbox(3)))
            .after(is_accepted(6), shown_at(6, 2, device(3)))
            .after(is_accepted(6), Fact::Stored { mailbox: mailbox(3), envelope: envelope_id(6) })
            .with(is_view_of(3), |fact| *fact = view_of_group(3, &[5, 6]))
            .with(is_sealed(6), |fact| *fact = sealed_for_group(6, Some(6), 2, 2))
            .and(Fact::Receipt {
                device: device(2),
                message: message(6),
                from: account(3),
                kind: testkit::history::ReceiptKind::Delivered,
            })
    };
    let added = |scene: Scene| scene.after(is_answered(chain(1)), chain_written(2, &[1, 2, 3]));
    let report = check(&back(added(good())).history(), Default::default());
    assert!(!report.violates(RemovedGetsNothing) && !report.violates(NothingUnsent), "{report}");
    let report = check(&back(good()).history(), Default::default());
    assert!(report.violates(RemovedGetsNothing));
}

#[test]
fn a_row_for_a_revoked_device_is_found() {
    good().after(is_answered(list(3)), row_for(66, second_mailbox())).violates(&[RemovedGetsNothing]);
    good().after(is_chain(0), row_for(66, second_mailbox())).violates(&[]);
}

// ---- 10

#[test]
fn a_read_of_an_older_version_is_found_unless_it_was_asked_before() {
    let end = good().facts.last().unwrap().0;
    let read = |asked_at: u64| good().and(list(2).read(3, asked_at));
    read(end).violates(&[Linearizable]);
    read(10_000).violates(&[]);
    let read = |asked_at: u64| good().and(chain(0).read(3, asked_at));
    read(end).violates(&[Linearizable]);
    read(10_000).violates(&[]);
}

#[test]
fn two_contents_of_one_version_are_found() {
    let forged = SignedFact { digest: 0xbad, ..chain(1) };
    good().and(forged.read(3, 0)).violates(&[Linearizable]);
    let forged = SignedFact { digest: 0xbad, ..list(3) };
    good().and(forged.read(2, 0)).violates(&[Linearizable]);
}

#[test]
fn a_version_that_nobody_stored_is_found() {
    good().and(chain(2).read(3, 0)).violates(&[Linearizable]);
    good().without(is_chain(1)).without(is_at(6, mailbox(1))).violates(&[Linearizable]);
}

#[test]
fn versions_that_go_back_and_chains_with_holes_are_found() {
    good().and(list_written(2, &[mailbox(1)])).violates(&[Linearizable]);
    good().and(chain_written(3, &[1, 2])).violates(&[Linearizable]);
    good().and(chain_written(1, &[1, 2])).violates(&[Linearizable]);
}

// ---- 13

#[test]
fn a_member_without_a_row_is_found() {
    good().without(is_at(6, second_mailbox())).violates(&[FanOutWhole]);
    let late = good().without(is_row_of(6, mailbox(1)));
    late.after(is_accepted(6), row_for(6, mailbox(1))).violates(&[FanOutWhole]);
}

#[test]
fn a_removed_member_that_did_not_get_its_removal_is_found() {
    good().without(is_at(REMOVAL, mailbox(3))).violates(&[FanOutWhole]);
}

#[test]
fn half_of_a_send_that_was_never_accepted_is_found() {
    let refused = || good().without(is_accepted(6)).and(Fact::Refused { message: message(6) });
    refused().violates(&[]);
    refused().without(is_at(6, second_mailbox())).violates(&[]);
    let stays = refused().without(|fact| matches!(fact, Fact::Closed { .. }));
    stays
        .with(
            |fact| matches!(fact, Fact::ListWritten { version: 3, .. }),
            |fact| *fact = list_written(3, &[mailbox(1), second_mailbox()]),
        )
        .without(is_at(6, second_mailbox()))
        .violates(&[FanOutWhole]);
}

#[test]
fn a_skipped_mailbox_must_be_full() {
    let skipped = |rows_max: u64| {
        let mut scene = good().without(is_at(6, second_mailbox())).after(
            is_accepted(6),
            Fact::Skipped { envelope: envelope_id(6), mailboxes: vec![second_mailbox()] },
        );
        scene.terms.mailbox_rows_max = rows_max;
        scene
    };
    skipped(0).violates(&[]);
    skipped(1).violates(&[FanOutWhole]);
    let named_and_written = good()
        .after(is_accepted(6), Fact::Skipped { envelope: envelope_id(6), mailboxes: vec![second_mailbox()] });
    named_and_written.violates(&[FanOutWhole]);
}
