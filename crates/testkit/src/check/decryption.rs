//! Invariant 19: no message is undecryptable; a broken session heals within two round trips.

use super::{
    Invariant::Decryptable,
    Report,
    ledger::{Failure, Ledger, Moment},
};
use std::collections::BTreeMap;
use types::{DeviceAddress, EnvelopeId, MailboxId, MessageId};

/// Round trips within which a broken session is whole again.
const ROUND_TRIPS_MAX: usize = 2;

/// Chains of the other side that a session remembers (libsignal, `MAX_RECEIVER_CHAINS`): what comes when
/// there were more since is sent again.
const CHAINS_REMEMBERED: usize = 5;

pub fn check(ledger: &Ledger, report: &mut Report) {
    let first_sealed = ledger.first_sealed();
    for failure in &ledger.failures {
        had_a_cause(ledger, report, failure, &first_sealed);
        healed(ledger, report, failure, &first_sealed);
    }
    for (when, device, envelope) in &ledger.quarantined {
        report.judge(Decryptable, when.at, false, || format!("{device} put envelope {envelope} aside"));
    }
    failed_messages_arrive(ledger, report, &first_sealed);
    // Every envelope that was committed without a failure was judged, too.
    for ((_, _), stored) in &ledger.stored {
        report.judge(Decryptable, stored.at, true, String::new);
    }
}

/// Nothing fails between devices whose sessions nobody broke, unless it came so late that the session has
/// forgotten its chain, or that its sender was taken off the list and every session with it.
fn had_a_cause(
    ledger: &Ledger,
    report: &mut Report,
    failure: &Failure,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
) {
    let broken = |device| {
        ledger.sessions_lost.get(&device).is_some_and(|lost| lost.iter().any(|when| *when < failure.when))
    };
    let to = ledger.life(failure.device, failure.when);
    let holds = broken(failure.device)
        || broken(failure.sender)
        || came_from_a_removed_device(ledger, failure, first_sealed)
        || to.is_some_and(|to| ledger.came_after_removal(failure.sender, failure.envelope, to))
        || chains_since(ledger, failure, first_sealed) >= CHAINS_REMEMBERED;
    report.judge(Decryptable, failure.when.at, holds, || {
        let Failure { device, sender, envelope, failure, .. } = failure;
        format!(
            "{device} could not open envelope {envelope} of {sender} ({failure}), whole sessions between them"
        )
    });
}

fn came_from_a_removed_device(
    ledger: &Ledger,
    failure: &Failure,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
) -> bool {
    let left = first_sealed.get(&(failure.sender, failure.envelope));
    let sender = left.and_then(|left| ledger.life(failure.sender, *left));
    let removed = sender.and_then(|sender| ledger.closed.get(&sender));
    removed.is_some_and(|removed| *removed < failure.when)
}

/// How many newer chains of the sender had reached the device when an envelope failed. A sender begins a chain
/// when it writes after it heard from the other side.
fn chains_since(
    ledger: &Ledger,
    failure: &Failure,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
) -> usize {
    let (device, sender) = (failure.device, failure.sender);
    let Some(left) = first_sealed.get(&(sender, failure.envelope)) else { return 0 };
    let reached = |mailbox: MailboxId, envelope| {
        ledger.stored.get(&(mailbox, envelope)).is_some_and(|stored| *stored < failure.when)
    };
    let wrote = ledger.sealed.iter().filter(|sealed| {
        (sealed.sender, sealed.to.address()) == (sender, device) && reached(sealed.to, sealed.envelope)
    });
    let heard = ledger.stored.iter().filter(|((mailbox, envelope), _)| {
        mailbox.address() == sender && first_sealed.contains_key(&(device, *envelope))
    });
    let mut turns: Vec<(Moment, bool)> = wrote.map(|sealed| (sealed.when, true)).collect();
    turns.extend(heard.map(|(_, when)| (*when, false)));
    turns.retain(|(when, _)| when > left);
    turns.sort_unstable();
    turns.windows(2).filter(|pair| matches!(pair, [(_, false), (_, true)])).count()
}

/// The failing envelope left its sender before two round trips that began with an earlier failure ended.
fn healed(
    ledger: &Ledger,
    report: &mut Report,
    failure: &Failure,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
) {
    let Some(sealed) = first_sealed.get(&(failure.sender, failure.envelope)) else { return };
    let broken_at = ledger
        .failures
        .iter()
        .find(|first| (first.device, first.sender) == (failure.device, failure.sender))
        .map_or(failure.when, |first| first.when);
    let mut from = broken_at;
    for _ in 0..ROUND_TRIPS_MAX {
        let Some(there) = arrival_after(ledger, first_sealed, failure.device, failure.sender, from) else {
            return;
        };
        let Some(back) = arrival_after(ledger, first_sealed, failure.sender, failure.device, there) else {
            return;
        };
        from = back;
    }
    report.judge(Decryptable, failure.when.at, *sealed < from, || {
        let Failure { device, sender, envelope, .. } = failure;
        format!(
            "{device} could not open envelope {envelope} of {sender}, two round trips after the session broke"
        )
    });
}

/// When the first envelope that left `from` after `after` was committed at `to`.
fn arrival_after(
    ledger: &Ledger,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
    from: DeviceAddress,
    to: DeviceAddress,
    after: Moment,
) -> Option<Moment> {
    let arrivals = ledger.stored.iter().filter(|((mailbox, envelope), _)| {
        mailbox.address() == to && first_sealed.get(&(from, *envelope)).is_some_and(|sealed| *sealed > after)
    });
    arrivals.map(|(_, stored)| *stored).min()
}

/// A message whose envelope failed is shown in the end.
fn failed_messages_arrive(
    ledger: &Ledger,
    report: &mut Report,
    first_sealed: &BTreeMap<(DeviceAddress, EnvelopeId), Moment>,
) {
    let messages: BTreeMap<EnvelopeId, MessageId> =
        ledger.accepted.iter().filter_map(|accepted| accepted.envelope.zip(accepted.message)).collect();
    for failure in &ledger.failures {
        let Some(message) = messages.get(&failure.envelope) else { continue };
        let is_due = ledger.due(failure.when, &[failure.device, failure.sender]).is_some();
        if !is_due || came_from_a_removed_device(ledger, failure, first_sealed) {
            continue;
        }
        let shown =
            ledger.shown.iter().any(|shown| (shown.device, shown.message) == (failure.device, *message));
        let to = ledger.life(failure.device, failure.when);
        let holds = shown || to.is_some_and(|to| ledger.is_message_out_of_reach(*message, to));
        report.judge(Decryptable, failure.when.at, holds, || {
            format!("message {message} could not be opened at {} and was never shown there", failure.device)
        });
    }
}
