//! Invariants 4, 10 and 21, of group chains as members have them: every copy is a beginning of the one chain, its
//! operations have one place among messages for all, and whoever is a member comes to know all of it and the secret.

use super::{
    Invariant::{Linearizable, Order, Settles},
    Report,
    ledger::{ChainHeld, Ledger},
};
use std::collections::BTreeMap;
use types::{DeviceAddress, EnvelopeId, GroupId, Stamp};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for ((device, group), held) in &ledger.chains_held {
        is_the_chain(ledger, report, (*device, *group), held);
        in_the_order_of_stamps(report, (*device, *group), held);
    }
    one_place_for_all(ledger, report);
    messages_follow_their_operations(ledger, report);
    members_know_all(ledger, report);
}

/// No copy has an operation that the log has not, or another one in its place.
fn is_the_chain(
    ledger: &Ledger,
    report: &mut Report,
    (device, group): (DeviceAddress, GroupId),
    held: &ChainHeld,
) {
    let Some(chain) = ledger.chains.get(&group) else { return };
    for (epoch, operation) in (0..).zip(&held.operations) {
        let written = chain.iter().find(|written| written.version == epoch);
        let holds = written.is_some_and(|written| written.digest == operation.digest);
        report.judge(Linearizable, held.when.at, holds, || {
            format!("{device} has another epoch {epoch} of group {group} than the log")
        });
    }
}

fn in_the_order_of_stamps(report: &mut Report, (device, group): (DeviceAddress, GroupId), held: &ChainHeld) {
    let stamps: Vec<Stamp> = held.operations.iter().filter_map(|operation| operation.stamp).collect();
    for pair in stamps.windows(2) {
        let [before, after] = pair else { continue };
        report.judge(Order, held.when.at, before < after, || {
            format!("{device} has the operations of group {group} against the order of stamps")
        });
    }
}

fn one_place_for_all(ledger: &Ledger, report: &mut Report) {
    let mut known: BTreeMap<(GroupId, u64), (Stamp, DeviceAddress)> = BTreeMap::new();
    for ((device, group), held) in &ledger.chains_held {
        for (epoch, operation) in (0..).zip(&held.operations) {
            let Some(stamp) = operation.stamp else { continue };
            let (other, at) = *known.entry((*group, epoch)).or_insert((stamp, *device));
            report.judge(Order, held.when.at, other == stamp, || {
                format!("epoch {epoch} of group {group} has stamp {stamp} at {device} and {other} at {at}")
            });
        }
    }
}

/// What was written on an operation stands after it.
fn messages_follow_their_operations(ledger: &Ledger, report: &mut Report) {
    let mut stamps: BTreeMap<EnvelopeId, Stamp> = BTreeMap::new();
    for row in &ledger.rows {
        stamps.entry(row.envelope).or_insert(row.stamp);
    }
    for sealed in ledger.group_sealed.iter().filter(|sealed| sealed.message.is_some()) {
        let operation = ledger.envelope_of_operation(sealed.group, sealed.epoch);
        let Some(operation) = operation.and_then(|operation| stamps.get(&operation)) else { continue };
        let Some(message) = stamps.get(&sealed.envelope) else { continue };
        report.judge(Order, sealed.when.at, operation < message, || {
            let (envelope, epoch) = (sealed.envelope, sealed.epoch);
            format!(
                "envelope {envelope} at {message} was written on epoch {epoch}, which stands at {operation}"
            )
        });
    }
}

/// Every running device of every present member has the whole chain, unless something of the group ended in its
/// mailbox. Judged only where the observer sees the devices' copies.
fn members_know_all(ledger: &Ledger, report: &mut Report) {
    if ledger.chains_held.is_empty() {
        return;
    }
    for (group, chain) in &ledger.chains {
        let Some(newest) = chain.last() else { continue };
        for mailbox in newest.holds.iter().flat_map(|account| ledger.devices_of(*account)) {
            let device = mailbox.address();
            let Some(due) = ledger.due(newest.when, &[device]) else { continue };
            if ledger.expired((*group).into(), device) > 0 {
                continue;
            }
            let held = ledger.chains_held.get(&(device, *group));
            let known = held.map_or(0, |held| held.operations.len());
            report.judge(Settles, due, known >= chain.len(), || {
                format!("{device} knows {known} of the {} operations of group {group}", chain.len())
            });
            if ledger.all_are_there(*group) {
                report.judge(Settles, due, held.is_some_and(|held| held.secret), || {
                    format!("{device} was never given the secret of group {group}")
                });
            }
        }
    }
}
