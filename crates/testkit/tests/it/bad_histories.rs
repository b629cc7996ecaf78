//! One bad history, or several, for each invariant.

use crate::scene::*;
use testkit::{
    check::{Invariant, Invariant::*, Terms, check},
    fixture::{account, device, envelope_id, mailbox, message, stamp},
    history::{Deletion, Fact, KeyKind},
};
use types::Millis;

fn is_composed(text: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Composed { message: id, .. } if *id == message(text))
}

fn is_accepted(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Accepted { envelope: Some(id), .. } if *id == envelope_id(number))
}

fn is_row(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Row { envelope, .. } if *envelope == envelope_id(number))
}

fn is_stored(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Stored { envelope, .. } if *envelope == envelope_id(number))
}

fn is_sealed(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Sealed { envelope, .. } if *envelope == envelope_id(number))
}

fn is_shown(text: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Shown { message: id, .. } if *id == message(text))
}

fn is_acked(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Acked { position: at, .. } if *at == position(number))
}

fn is_deleted(number: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Deleted { position: at, .. } if *at == position(number))
}

fn is_view_of(at: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::View { device: id, .. } if *id == device(at))
}

fn is_inventory_of(at: u8) -> impl Fn(&Fact) -> bool {
    move |fact| matches!(fact, Fact::Inventory { mailbox: id, .. } if *id == mailbox(at))
}

fn is_faults_ended(fact: &Fact) -> bool {
    matches!(fact, Fact::FaultsEnded)
}

/// What follows the row of envelope `number` at the recipient, and its way back to the sender.
fn comes_of(number: u8) -> impl Fn(&Fact) -> bool {
    let receipt = number + RECEIPT_OF;
    move |fact| {
        let of_envelope = |id: u8| is_stored(id)(fact) || is_acked(id)(fact) || is_deleted(id)(fact);
        let delivered =
            |id: u8| matches!(fact, Fact::Delivered { envelope, .. } if *envelope == envelope_id(id));
        of_envelope(number)
            || delivered(number)
            || is_shown(number)(fact)
            || of_envelope(receipt)
            || delivered(receipt)
            || is_sealed(receipt)(fact)
            || is_row(receipt)(fact)
            || is_accepted(receipt)(fact)
            || matches!(fact, Fact::Receipt { message: id, .. } if *id == message(number))
    }
}

#[test]
fn a_good_history_is_clean_and_judged_by_every_invariant() {
    let scene = Scene::good();
    let report = check(&scene.history(), scene.terms);
    report.assert_clean();
    let of_groups: &[Invariant] = &[RemovedGetsNothing, Linearizable, FanOutWhole];
    let all: Vec<_> =
        Invariant::ALL.iter().copied().filter(|invariant| !of_groups.contains(invariant)).collect();
    report.assert_judged(&all);
}

#[test]
fn an_empty_history_judges_nothing() {
    let report = check(&Default::default(), Terms::default());
    assert!(Invariant::ALL.iter().all(|invariant| report.judged(*invariant) == 0));
}

// ---- 1

#[test]
fn an_accepted_envelope_without_a_row_is_lost() {
    Scene::good()
        .without(|fact| is_row(11)(fact) || is_stored(11)(fact) || is_acked(11)(fact) || is_deleted(11)(fact))
        .violates(&[AcceptedArrives, Accounting, Settles]);
}

#[test]
fn a_row_that_waits_for_a_device_put_away_is_not_lost() {
    Scene::good()
        .without(comes_of(2))
        .without(is_view_of(1))
        .with(is_inventory_of(1), |fact| {
            if let Fact::Inventory { positions, .. } = fact {
                positions.push(position(2));
            }
        })
        .and(Fact::Offline { device: device(1) })
        .violates(&[]);
}

#[test]
fn a_message_without_a_known_envelope_must_be_shown() {
    let scene = Scene::good().without(is_shown(2)).with(is_view_of(1), |fact| {
        if let Fact::View { lines, .. } = fact {
            lines.pop();
        }
    });
    scene
        .with(is_accepted(2), |fact| {
            if let Fact::Accepted { envelope, to, .. } = fact {
                (*envelope, *to) = (None, Vec::new());
            }
        })
        .violates(&[AcceptedArrives]);
}

#[test]
fn what_was_accepted_for_a_device_that_is_gone_is_not_missed() {
    Scene::good()
        .without(comes_of(2))
        .with(is_view_of(1), |fact| {
            if let Fact::View { lines, .. } = fact {
                lines.pop();
            }
        })
        .without(is_row(2))
        .after(is_accepted(2), Fact::Closed { mailbox: mailbox(1) })
        .violates(&[]);
}

#[test]
fn a_gap_that_stays_is_a_loss() {
    Scene::good()
        .with(is_view_of(2), |fact| {
            if let Fact::View { gaps, .. } = fact {
                *gaps = 1;
            }
        })
        .violates(&[AcceptedArrives]);
}

#[test]
fn a_send_that_leaves_out_a_device_of_either_side_is_found_unless_it_was_linked_later() {
    let second = device(2).account;
    let second = types::DeviceAddress::new(second, types::DeviceNumber::new(2).unwrap());
    let opened = Fact::Opened { mailbox: second.mailbox(types::RegistrationId::new(9).unwrap()) };
    let opens_before = Scene::good().after(|fact| matches!(fact, Fact::Opened { .. }), opened.clone());
    opens_before.violates(&[AcceptedArrives]);
    Scene::good().after(is_sealed(1), opened.clone()).violates(&[AcceptedArrives]);
    Scene::good().after(is_sealed(2), opened).violates(&[]);
}

// ---- 2

#[test]
fn an_envelope_that_nobody_sent_is_found() {
    Scene::good().without(is_sealed(12)).violates(&[NothingUnsent]);
}

#[test]
fn an_envelope_with_other_bytes_is_found() {
    Scene::good()
        .with(
            |fact| matches!(fact, Fact::Delivered { envelope, .. } if *envelope == envelope_id(1)),
            |fact| {
                if let Fact::Delivered { ciphertext, .. } = fact {
                    *ciphertext += 1;
                }
            },
        )
        .violates(&[NothingUnsent]);
}

#[test]
fn a_message_with_another_text_or_sender_or_recipient_is_found() {
    let spoil = |change: fn(&mut Fact)| Scene::good().with(is_shown(1), change).violates(&[NothingUnsent]);
    spoil(|fact| {
        if let Fact::Shown { body, .. } = fact {
            *body += 1;
        }
    });
    spoil(|fact| {
        if let Fact::Shown { sender, .. } = fact {
            *sender = device(3);
        }
    });
    Scene::good().and(shown(1, 1, 3)).violates(&[NothingUnsent]);
}

#[test]
fn what_was_not_accepted_for_an_old_account_goes_to_the_new_one() {
    let moves = |fact: Fact| {
        let readdressed = Fact::Readdressed { device: device(1), from: account(2), to: account(3) };
        let composed = |number| Fact::Composed {
            message: message(number),
            sender: device(1),
            to: account(2).into(),
            body: body(number),
        };
        Scene::good().and(composed(8)).and(readdressed).and(fact).and(Fact::Refused { message: message(8) })
    };
    let shown_at = |at| shown(8, 1, at);
    moves(shown_at(3)).violates(&[]);
    moves(shown_at(2)).violates(&[NothingUnsent]);
    moves(shown(1, 1, 3)).violates(&[NothingUnsent]);
}

// ---- 3

#[test]
fn a_message_shown_twice_is_found_unless_the_process_died() {
    Scene::good().after(is_shown(1), shown(1, 1, 2)).violates(&[NoDuplicate]);
    Scene::good()
        .after(is_shown(1), shown(1, 1, 2))
        .after(is_shown(1), Fact::Crashed { device: device(2) })
        .violates(&[]);
    Scene::good()
        .after(is_shown(1), shown(1, 1, 2))
        .after(is_shown(1), Fact::Crashed { device: device(1) })
        .violates(&[NoDuplicate]);
}

#[test]
fn a_message_listed_twice_is_found() {
    Scene::good().with(is_view_of(2), |fact| *fact = view(2, 1, &[1, 1, 2])).violates(&[
        NoDuplicate,
        Order,
        ResendIsOne,
    ]);
}

// ---- 4

#[test]
fn order_by_arrival_is_found() {
    Scene::good().with(is_view_of(2), |fact| *fact = view(2, 1, &[2, 1])).violates(&[Order]);
}

#[test]
fn one_sender_overtaking_itself_is_found() {
    // Message 3 was written before message 1 and has a higher stamp.
    let early =
        Fact::Composed { message: message(3), sender: device(1), to: account(2).into(), body: body(3) };
    let mut scene = Scene::good();
    let index = scene.facts.iter().position(|(_, fact)| is_composed(1)(fact)).unwrap();
    scene.facts.insert(index, (scene.facts[index].0, early));
    scene
        .and(Fact::Refused { message: message(3) })
        .with(is_view_of(1), |fact| *fact = view(1, 2, &[1, 2, 3]))
        .violates(&[Order]);
}

#[test]
fn different_stamps_at_two_members_are_found() {
    Scene::good()
        .with(is_view_of(2), |fact| {
            if let Fact::View { lines, .. } = fact {
                lines[1].stamp = Some(stamp(9));
            }
        })
        .violates(&[Order]);
}

#[test]
fn an_answer_that_sorts_before_its_question_is_found() {
    Scene::good()
        .with(is_accepted(2), |fact| {
            if let Fact::Accepted { stamp: given, .. } = fact {
                *given = stamp(0);
            }
        })
        .violates(&[Order]);
}

#[test]
fn a_message_without_a_stamp_in_the_middle_is_found() {
    Scene::good()
        .with(is_view_of(1), |fact| {
            if let Fact::View { lines, .. } = fact {
                lines[0].stamp = None;
            }
        })
        .violates(&[Order]);
}

// ---- 5

#[test]
fn an_ack_before_the_commit_is_found() {
    let late = Scene::good().without(is_stored(1));
    late.after(is_acked(1), stored(1, 2)).violates(&[DeletedAfterCommit]);
    let later = Scene::good().without(is_stored(1));
    later.after(is_deleted(1), stored(1, 2)).violates(&[DeletedAfterCommit]);
}

#[test]
fn a_row_that_its_device_did_not_acknowledge_but_that_is_deleted_is_found() {
    Scene::good()
        .with(is_deleted(1), |fact| {
            if let Fact::Deleted { cause, .. } = fact {
                *cause = Deletion::Closed;
            }
        })
        .violates(&[DeletedAfterCommit, Accounting]);
}

// ---- 6

#[test]
fn an_early_expiry_is_found() {
    Scene::good()
        .with(is_deleted(1), |fact| {
            if let Fact::Deleted { cause, .. } = fact {
                *cause = Deletion::Expired;
            }
        })
        .violates(&[Expiry]);
}

#[test]
fn a_row_with_a_short_life_is_found() {
    Scene::good()
        .with(is_row(1), |fact| {
            if let Fact::Row { expires_at_ms, .. } = fact {
                *expires_at_ms = MONTH_MS - 120_000;
            }
        })
        .violates(&[Expiry]);
}

#[test]
fn an_immortal_row_is_found() {
    let month = |number| move |fact: &Fact| is_row(number)(fact);
    Scene::good()
        .without(comes_of(2))
        .without(is_view_of(1))
        .with(month(2), |fact| {
            if let Fact::Row { expires_at_ms, .. } = fact {
                *expires_at_ms = 0;
            }
        })
        .with(is_inventory_of(1), |fact| {
            if let Fact::Inventory { positions, .. } = fact {
                positions.push(position(2));
            }
        })
        .and(Fact::Offline { device: device(1) })
        .later(3 * 24 * 60 * 60 * 1_000)
        .violates(&[Expiry]);
}

// ---- 7 and 8

#[test]
fn a_one_time_key_for_two_devices_is_found() {
    Scene::good().and(served(KeyKind::OneTime, 3)).violates(&[OneTimeKeyOnce]);
    Scene::good().and(served(KeyKind::OneTime, 1)).violates(&[]);
    Scene::good().and(served(KeyKind::Signed, 3)).violates(&[]);
}

#[test]
fn a_key_that_was_not_uploaded_is_found() {
    let other = Fact::KeyServed {
        owner: mailbox(2),
        requester: mailbox(3),
        kind: KeyKind::Signed,
        id: 7,
        key: 0xbad,
    };
    Scene::good().and(other).violates(&[BundleUploaded]);
}

// ---- 12

#[test]
fn a_second_row_for_one_envelope_is_found_unless_it_is_a_race() {
    let again = |at_ms: u64, race_within: Millis| {
        let mut scene = Scene::good();
        scene.terms.race_within = race_within;
        let index = scene.facts.iter().position(|(_, fact)| is_row(1)(fact)).unwrap();
        let at = scene.facts[index].0 + at_ms;
        let place = scene.facts.iter().position(|(when, _)| *when > at).unwrap();
        let second = Fact::Row {
            envelope: envelope_id(1),
            mailbox: mailbox(2),
            position: position(99),
            stamp: stamp(99),
            expires_at_ms: MONTH_MS,
        };
        scene.facts.insert(place, (at, second));
        scene
    };
    again(2_000, Millis(0)).violates(&[ResendIsOne]);
    again(2_000, Millis(10_000)).violates(&[]);
    again(12_000, Millis(10_000)).violates(&[ResendIsOne]);
}

#[test]
fn a_message_accepted_under_two_envelope_ids_is_found_unless_it_was_asked_for() {
    let again = |resend| Fact::Accepted {
        envelope: Some(envelope_id(50)),
        message: Some(message(1)),
        resend,
        sender: device(1),
        to: Vec::new(),
        stamp: stamp(50),
    };
    Scene::good().and(again(false)).violates(&[ResendIsOne]);
    Scene::good().and(again(true)).violates(&[]);
}

#[test]
fn a_message_stored_in_two_envelopes_is_found_though_one_answer_was_lost() {
    let envelopes_of_message_1 = |fact: &mut Fact| {
        if let Fact::Sealed { message: named, .. } = fact {
            *named = Some(message(1));
        }
    };
    Scene::good().with(is_sealed(1), envelopes_of_message_1).violates(&[]);
    Scene::good()
        .with(|fact| is_sealed(1)(fact) || is_sealed(12)(fact), envelopes_of_message_1)
        .violates(&[ResendIsOne]);
}

#[test]
fn a_message_stored_in_two_envelopes_is_a_race_if_the_last_try_under_the_first_was_early() {
    let tried_again = |at_ms: u64| {
        let named = |fact: &Fact| is_sealed(1)(fact) || is_sealed(12)(fact);
        let mut scene = Scene::good().with(named, |fact| {
            if let Fact::Sealed { message: named, .. } = fact {
                *named = Some(message(1));
            }
        });
        scene.terms.race_within = Millis(10_000);
        let (written, again) = {
            let find = |matches: &dyn Fn(&Fact) -> bool| scene.facts.iter().find(|(_, fact)| matches(fact));
            (find(&is_row(1)).unwrap().0, find(&is_sealed(1)).unwrap().1.clone())
        };
        let place = scene.facts.iter().position(|(at, _)| *at > written + at_ms).unwrap();
        scene.facts.insert(place, (written + at_ms, again));
        scene
    };
    tried_again(9_000).violates(&[]);
    tried_again(11_000).violates(&[ResendIsOne]);
}

#[test]
fn one_text_under_two_ids_is_found() {
    let twin =
        Fact::Composed { message: message(3), sender: device(1), to: account(2).into(), body: body(1) };
    let refused = Fact::Refused { message: message(3) };
    Scene::good()
        .and(twin)
        .and(refused)
        .with(is_view_of(2), |fact| *fact = view(2, 1, &[1, 2, 3]))
        .violates(&[ResendIsOne]);
}

// ---- 17

#[test]
fn an_accepted_envelope_in_none_of_the_sums_is_found() {
    Scene::good().without(is_deleted(11)).violates(&[Accounting]);
}

#[test]
fn a_row_from_nowhere_is_found() {
    Scene::good()
        .with(is_inventory_of(1), |fact| {
            if let Fact::Inventory { positions, .. } = fact {
                positions.push(position(77));
            }
        })
        .violates(&[Accounting]);
}

// ---- 18

#[test]
fn a_canary_is_found() {
    Scene::good()
        .and(Fact::CanaryFound { canary: "text 1".to_owned(), place: "a row".to_owned() })
        .violates(&[NoCanary]);
}

// ---- 19

fn failed(number: u8, sender: u8, at: u8) -> Fact {
    Fact::DecryptFailed {
        device: device(at),
        sender: device(sender),
        envelope: envelope_id(number),
        failure: "bad_mac".to_owned(),
    }
}

#[test]
fn a_failure_between_whole_sessions_is_found() {
    Scene::good().after(is_stored(1), failed(1, 1, 2)).violates(&[Decryptable]);
}

#[test]
fn a_failure_after_a_lost_session_is_expected() {
    Scene::good()
        .after(is_stored(1), failed(1, 1, 2))
        .after(is_stored(1), Fact::SessionsLost { device: device(2) })
        .violates(&[]);
}

#[test]
fn a_failure_of_what_comes_after_five_newer_chains_is_expected() {
    let late_after = |turns: u8| {
        let mut scene = Scene::good().and(sealed(90, 1, 2)).and(row(90, 2)).and(accepted(90, None, 1, 2));
        let gone = |number, to| Fact::Deleted {
            mailbox: mailbox(to),
            position: position(number),
            cause: Deletion::Acked,
        };
        for turn in 0..turns {
            for (number, from, to) in [(30 + 2 * turn, 2, 1), (31 + 2 * turn, 1, 2)] {
                let facts = [
                    sealed(number, from, to),
                    row(number, to),
                    accepted(number, None, from, to),
                    stored(number, to),
                    gone(number, to),
                ];
                scene = facts.into_iter().fold(scene, Scene::and);
            }
        }
        scene.and(failed(90, 1, 2)).and(stored(90, 2)).and(gone(90, 2))
    };
    late_after(4).violates(&[Decryptable]);
    late_after(5).violates(&[]);
}

#[test]
fn a_session_that_does_not_heal_is_found() {
    // Envelope 1 fails, envelopes 11 and 2 come back, 12 goes there again: one round trip and a half.
    let scene = Scene::good()
        .after(is_stored(1), failed(1, 1, 2))
        .after(is_stored(1), Fact::SessionsLost { device: device(2) });
    let more = |from: u8, to: u8, number: u8| {
        [sealed(number, from, to), row(number, to), accepted(number, None, from, to), stored(number, to)]
    };
    let mut broken = scene.clone();
    for (from, to, number) in [(2, 1, 30), (1, 2, 31), (2, 1, 32), (1, 2, 33), (1, 2, 34)] {
        let facts = more(from, to, number);
        broken = facts.into_iter().fold(broken, Scene::and);
    }
    let acked = |scene: Scene| {
        [(30, 1), (31, 2), (32, 1), (33, 2), (34, 2)].into_iter().fold(scene, |scene, (number, to)| {
            scene.and(Fact::Deleted {
                mailbox: mailbox(to),
                position: position(number),
                cause: Deletion::Acked,
            })
        })
    };
    acked(broken.clone()).violates(&[]);
    acked(broken.and(failed(34, 1, 2))).violates(&[Decryptable]);
}

#[test]
fn a_failed_message_that_is_never_shown_is_found() {
    Scene::good()
        .after(is_stored(2), failed(2, 2, 1))
        .after(is_stored(2), Fact::SessionsLost { device: device(1) })
        .without(is_shown(2))
        .violates(&[Decryptable]);
}

#[test]
fn a_quarantine_is_found() {
    Scene::good()
        .and(Fact::Quarantined { device: device(1), envelope: envelope_id(2) })
        .violates(&[Decryptable]);
}

// ---- 20

#[test]
fn a_step_used_twice_is_found() {
    Scene::good()
        .with(is_sealed(12), |fact| {
            if let (Fact::Sealed { step, .. }, Fact::Sealed { step: used, .. }) = (fact, sealed(1, 1, 2)) {
                *step = used;
            }
        })
        .violates(&[NoRatchetReuse]);
}

#[test]
fn an_envelope_sealed_again_is_found_and_one_sent_again_is_not() {
    Scene::good().after(is_sealed(1), sealed(1, 1, 2)).violates(&[]);
    let again = Fact::Sealed {
        envelope: envelope_id(1),
        message: None,
        sender: device(1),
        to: mailbox(2),
        step: None,
        ciphertext: ciphertext(99),
    };
    Scene::good().after(is_sealed(1), again).violates(&[NoRatchetReuse]);
}

// ---- 21

#[test]
fn a_message_that_stays_in_its_outbox_is_found_unless_it_was_refused() {
    let composed =
        Fact::Composed { message: message(3), sender: device(1), to: account(2).into(), body: body(3) };
    let scene = Scene::good().after(is_composed(1), composed);
    scene.clone().and(Fact::Refused { message: message(3) }).violates(&[]);
    scene.clone().after(is_faults_ended, Fact::Offline { device: device(1) }).violates(&[]);
    scene.violates(&[Settles]);
}

#[test]
fn an_envelope_that_comes_late_is_found() {
    let late = Scene::good().without(comes_of(2)).and(stored(2, 1)).and(shown(2, 2, 1));
    late.and(Fact::Deleted { mailbox: mailbox(1), position: position(2), cause: Deletion::Acked })
        .violates(&[Settles]);
}

#[test]
fn a_receipt_that_never_comes_is_found() {
    Scene::good()
        .without(|fact| matches!(fact, Fact::Receipt { message: id, .. } if *id == message(1)))
        .violates(&[Settles]);
}

// ---- 24

#[test]
fn a_resource_over_its_bound_is_found() {
    Scene::good()
        .and(Fact::Resource { owner: "node 1".to_owned(), name: "tasks".to_owned(), value: 3, bound: 2 })
        .violates(&[Bounded]);
}
