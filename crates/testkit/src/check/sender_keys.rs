//! Invariant 9, of sender keys: nothing is sealed for a group with a key that somebody outside of it was given.

use super::{
    Invariant::RemovedGetsNothing,
    Report,
    ledger::{GroupSealed, KeyGiven, Ledger},
};
use types::{AccountId, EnvelopeId};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for given in &ledger.keys_given {
        to_members_only(ledger, report, given);
    }
    let first_sealed = ledger.first_sealed();
    for sealed in ledger.group_sealed.iter().filter(|sealed| sealed.message.is_some()) {
        // A retry is the same bytes, whoever was given the key since.
        let is_first = first_sealed.get(&(sealed.sender, sealed.envelope)) == Some(&sealed.when);
        for given in ledger.keys_given.iter().filter(|given| is_first && is_of(given, sealed)) {
            opened_by_members_only(ledger, report, sealed, given);
            opened_by_listed_devices_only(ledger, report, sealed, given);
        }
    }
}

/// Whether a key that was given away opens an envelope that left later.
fn is_of(given: &KeyGiven, sealed: &GroupSealed) -> bool {
    (given.group, given.by, Some(given.key)) == (sealed.group, sealed.sender, sealed.key)
        && given.when < sealed.when
}

/// Whoever gets a key is a member as far as its giver knows the chain when the key leaves.
fn to_members_only(ledger: &Ledger, report: &mut Report, given: &KeyGiven) {
    let KeyGiven { group, by, to, epoch, .. } = given;
    let Some(members) = ledger.members_at(*group, *epoch) else { return };
    report.judge(RemovedGetsNothing, given.when.at, members.contains(&to.account), || {
        format!("{by} gave its key of group {group} to {to:?}, which is no member of it at epoch {epoch}")
    });
}

/// By the sender's own view of the group.
fn opened_by_members_only(ledger: &Ledger, report: &mut Report, sealed: &GroupSealed, given: &KeyGiven) {
    let Some(members) = ledger.members_at(sealed.group, sealed.epoch) else { return };
    report.judge(RemovedGetsNothing, sealed.when.at, members.contains(&given.to.account), || {
        let (to, epoch): (AccountId, _) = (given.to.account, sealed.epoch);
        format!(
            "{to}, no member at epoch {epoch}, has the key of envelope {} of {}",
            sealed.envelope, sealed.sender
        )
    });
}

/// By the newest lists: a message that was accepted was sealed by them.
fn opened_by_listed_devices_only(
    ledger: &Ledger,
    report: &mut Report,
    sealed: &GroupSealed,
    given: &KeyGiven,
) {
    let is_accepted =
        |envelope: EnvelopeId| ledger.accepted.iter().any(|accepted| accepted.envelope == Some(envelope));
    if !is_accepted(sealed.envelope) {
        return;
    }
    let closed = ledger.closed.get(&given.to).is_some_and(|closed| *closed < sealed.when);
    report.judge(RemovedGetsNothing, sealed.when.at, !closed, || {
        format!(
            "{:?}, which is gone, has the key of envelope {} of {}",
            given.to, sealed.envelope, sealed.sender
        )
    });
}
