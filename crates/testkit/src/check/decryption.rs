//! Invariant 19: no message is undecryptable; a broken session heals within two round trips.

use super::{
    Invariant::Decryptable,
    Report,
    ledger::{Failure, Ledger, Moment},
};
use std::collections::BTreeMap;
use types::{DeviceAddress, EnvelopeId, MessageId};

/// Round trips within which a broken session is whole again.
const ROUND_TRIPS_MAX: usize = 2;

pub fn check(ledger: &Ledger, report: &mut Report) {
    let first_sealed = ledger.first_sealed();
    for failure in &ledger.failures {
        had_a_cause(ledger, report, failure);
        healed(ledger, report, failure, &first_sealed);
    }
    for (when, device, envelope) in &ledger.quarantined {
        report.judge(Decryptable, when.at, false, || format!("{device} put envelope {envelope} aside"));
    }
    failed_messages_arrive(ledger, report);
    // Every envelope that was committed without a failure was judged, too.
    for ((_, _), stored) in &ledger.stored {
        report.judge(Decryptable, stored.at, true, String::new);
    }
}

/// Nothing fails between devices whose sessions nobody broke.
fn had_a_cause(ledger: &Ledger, report: &mut Report, failure: &Failure) {
    let broken = |device| {
        ledger.sessions_lost.get(&device).is_some_and(|lost| lost.iter().any(|when| *when < failure.when))
    };
    let holds = broken(failure.device) || broken(failure.sender);
    report.judge(Decryptable, failure.when.at, holds, || {
        let Failure { device, sender, envelope, failure, .. } = failure;
        format!(
            "{device} could not open envelope {envelope} of {sender} ({failure}), whole sessions between them"
        )
    });
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
fn failed_messages_arrive(ledger: &Ledger, report: &mut Report) {
    let messages: BTreeMap<EnvelopeId, MessageId> =
        ledger.accepted.iter().filter_map(|accepted| accepted.envelope.zip(accepted.message)).collect();
    for failure in &ledger.failures {
        let Some(message) = messages.get(&failure.envelope) else { continue };
        if ledger.due(failure.when, &[failure.device, failure.sender]).is_none() {
            continue;
        }
        let shown =
            ledger.shown.iter().any(|shown| (shown.device, shown.message) == (failure.device, *message));
        report.judge(Decryptable, failure.when.at, shown, || {
            format!("message {message} could not be opened at {} and was never shown there", failure.device)
        });
    }
}
