//! Invariants 2, 3 and 12: what arrives was sent, is visible once, and is one message however often it
//! was sent.

use super::{
    Invariant::{NoDuplicate, NothingUnsent, ResendIsOne},
    Report,
    ledger::Ledger,
};
use crate::history::Line;
use std::collections::{BTreeMap, BTreeSet};
use types::{EnvelopeId, MessageId};

pub fn check(ledger: &Ledger, report: &mut Report) {
    delivered_was_sealed(ledger, report);
    shown_was_composed(ledger, report);
    shown_once(ledger, report);
    listed_once(ledger, report);
    one_envelope_for_a_message(ledger, report);
    one_stored_envelope_for_a_message(ledger, report);
    one_row_for_an_envelope(ledger, report);
}

fn delivered_was_sealed(ledger: &Ledger, report: &mut Report) {
    let mut sealed = BTreeMap::new();
    for one in &ledger.sealed {
        sealed.entry((one.to, one.envelope, one.ciphertext)).or_insert(one.when);
    }
    for delivered in &ledger.delivered {
        let sent = sealed.get(&(delivered.mailbox, delivered.envelope, delivered.ciphertext));
        report.judge(
            NothingUnsent,
            delivered.when.at,
            sent.is_some_and(|sent| *sent < delivered.when),
            || format!("{:?} was given envelope {} as nobody sent it", delivered.mailbox, delivered.envelope),
        );
    }
}

fn shown_was_composed(ledger: &Ledger, report: &mut Report) {
    for shown in &ledger.shown {
        let holds = ledger.composed.get(&shown.message).is_some_and(|composed| {
            let for_me =
                composed.to == shown.device.account || composed.sender.account == shown.device.account;
            composed.when < shown.when
                && composed.sender == shown.sender
                && composed.body == shown.body
                && for_me
        });
        report.judge(NothingUnsent, shown.when.at, holds, || {
            format!("{} showed message {} as {} never wrote it", shown.device, shown.message, shown.sender)
        });
    }
}

/// One life of a process shows a message once; one that was killed in between may show it again.
fn shown_once(ledger: &Ledger, report: &mut Report) {
    let mut last_shown = BTreeMap::new();
    for shown in &ledger.shown {
        let before = last_shown.insert((shown.device, shown.message), shown.when);
        let crashes = ledger.crashes.get(&shown.device);
        let holds = before.is_none_or(|before| {
            crashes.is_some_and(|crashes| crashes.iter().any(|crash| before < *crash && *crash < shown.when))
        });
        report.judge(NoDuplicate, shown.when.at, holds, || {
            format!("{} showed message {} twice", shown.device, shown.message)
        });
    }
}

fn listed_once(ledger: &Ledger, report: &mut Report) {
    for view in ledger.views.values() {
        let mut messages = BTreeSet::new();
        let mut texts = BTreeSet::new();
        for Line { message, .. } in &view.lines {
            report.judge(NoDuplicate, view.when.at, messages.insert(*message), || {
                format!("{} lists message {message} twice in its chat with {}", view.device, view.chat)
            });
            let Some(composed) = ledger.composed.get(message) else { continue };
            let again = !texts.insert((composed.sender, composed.body));
            report.judge(ResendIsOne, view.when.at, !again, || {
                format!("{} lists the text of message {message} under two ids", view.device)
            });
        }
    }
}

/// An answer to a request for a resend aside, a message is accepted under one envelope id.
fn one_envelope_for_a_message(ledger: &Ledger, report: &mut Report) {
    let mut envelopes: BTreeMap<MessageId, BTreeSet<EnvelopeId>> = BTreeMap::new();
    for accepted in ledger.accepted.iter().filter(|accepted| !accepted.resend) {
        let (Some(message), Some(envelope)) = (accepted.message, accepted.envelope) else { continue };
        let known = envelopes.entry(message).or_default();
        known.insert(envelope);
        report.judge(ResendIsOne, accepted.when.at, known.len() == 1, || {
            format!("message {message} was accepted under the envelope ids {known:?}")
        });
    }
}

/// A message is sealed under another envelope id only if nothing was stored under the one before, an
/// honest race aside: the last try under that one was refused where the first was not visible yet.
fn one_stored_envelope_for_a_message(ledger: &Ledger, report: &mut Report) {
    let messages: BTreeMap<_, _> =
        ledger.sealed.iter().filter_map(|sealed| Some((sealed.envelope, sealed.message?))).collect();
    let last_tries: BTreeMap<_, _> =
        ledger.sealed.iter().map(|sealed| (sealed.envelope, sealed.when.at)).collect();
    let mut stored = BTreeMap::new();
    for row in &ledger.rows {
        let Some(message) = messages.get(&row.envelope) else { continue };
        let (first, when) = *stored.entry(*message).or_insert((row.envelope, row.when.at));
        let last_try = last_tries.get(&first).map_or(0, |at| at.0);
        let race = ledger.terms.race_within.0 > 0 && last_try <= when.0 + ledger.terms.race_within.0;
        report.judge(ResendIsOne, row.when.at, first == row.envelope || race, || {
            format!("message {message} is stored in envelopes {first} and {}", row.envelope)
        });
    }
}

/// A repeat finds what the first try wrote, an honest race between two nodes aside.
fn one_row_for_an_envelope(ledger: &Ledger, report: &mut Report) {
    let mut first = BTreeMap::new();
    for row in &ledger.rows {
        let first = *first.entry((row.mailbox, row.envelope)).or_insert(row.when.at);
        let is_first = first == row.when.at && ledger.terms.race_within.0 == 0;
        let race = row.when.at.0 - first.0 <= ledger.terms.race_within.0;
        report.judge(ResendIsOne, row.when.at, is_first || race, || {
            format!("envelope {} was written to {:?} again at {:?}", row.envelope, row.mailbox, row.position)
        });
    }
}
