//! Invariants 2, 3 and 12: what arrives was sent, is visible once, and is one message however often it
//! was sent.

use super::{
    Invariant::{NoDuplicate, NothingUnsent, ResendIsOne},
    Report,
    ledger::{GroupSealed, Ledger},
};
use crate::history::Line;
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, ChatId, EnvelopeId, MessageId};

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
    let of_groups: BTreeMap<_, _> =
        ledger.group_sealed.iter().rev().map(|one| ((one.envelope, one.ciphertext), one)).collect();
    for delivered in &ledger.delivered {
        let sent = sealed.get(&(delivered.mailbox, delivered.envelope, delivered.ciphertext)).copied();
        let sent = sent.or_else(|| {
            let one = of_groups.get(&(delivered.envelope, delivered.ciphertext))?;
            is_for(ledger, one, delivered.mailbox.account).then_some(one.when)
        });
        report.judge(
            NothingUnsent,
            delivered.when.at,
            sent.is_some_and(|sent| sent < delivered.when),
            || format!("{:?} was given envelope {} as nobody sent it", delivered.mailbox, delivered.envelope),
        );
    }
}

/// A message is for the members that its sender saw, an operation for those before and after it.
fn is_for(ledger: &Ledger, sealed: &GroupSealed, account: AccountId) -> bool {
    let before = if sealed.message.is_none() { sealed.epoch.checked_sub(1) } else { None };
    let epochs = std::iter::once(sealed.epoch).chain(before);
    let mut known = epochs.filter_map(|epoch| ledger.members_at(sealed.group, epoch)).peekable();
    known.peek().is_none() || known.any(|members| members.contains(&account))
}

fn shown_was_composed(ledger: &Ledger, report: &mut Report) {
    for shown in &ledger.shown {
        let holds = ledger.composed.get(&shown.message).is_some_and(|composed| {
            let me = shown.device.account;
            let for_me = composed.sender.account == me
                || match composed.to {
                    ChatId::Direct(account) => account == me,
                    ChatId::Group(group) => ledger.is_meant_for(shown.message, group, me),
                };
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

/// One life of a process shows a message once; one that was killed in between may show it again, and so may
/// the next device that has its number.
fn shown_once(ledger: &Ledger, report: &mut Report) {
    let mut last_shown = BTreeMap::new();
    for shown in &ledger.shown {
        let life = ledger.life(shown.device, shown.when);
        let before = last_shown.insert((shown.device, life, shown.message), shown.when);
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
            let composed = ledger.composed.get(message);
            report.judge(NothingUnsent, view.when.at, composed.is_some(), || {
                format!("{} lists message {message}, which nobody wrote", view.device)
            });
            let Some(composed) = composed else { continue };
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
    let pairwise = ledger.sealed.iter().map(|sealed| (sealed.envelope, sealed.message, sealed.when));
    let of_groups = ledger.group_sealed.iter().map(|sealed| (sealed.envelope, sealed.message, sealed.when));
    let tries: Vec<_> = pairwise.chain(of_groups).collect();
    let messages: BTreeMap<_, _> =
        tries.iter().filter_map(|(envelope, message, _)| Some((*envelope, (*message)?))).collect();
    let last_tries: BTreeMap<_, _> = tries.iter().map(|(envelope, _, when)| (*envelope, when.at)).collect();
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
