//! Invariant 1 for devices that were linked with the messages from before: in the end they show whatever the
//! device shows that has linked them, be it from the archive, forwarded, or sealed to them.

use super::{
    Invariant::AcceptedArrives,
    Report,
    ledger::{Ledger, Linked, View},
};
use std::collections::BTreeSet;
use types::{DeviceAddress, MailboxId, MessageId, limits::BLOB_LIFE};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for linked in ledger.linked.iter().filter(|linked| linked.with_history) {
        let is_there = |mailbox| !ledger.closed.contains_key(mailbox);
        let (new, primary) = (linked.device.address(), linked.by.address());
        let is_due = ledger.due(linked.when, &[new, primary]).is_some();
        if is_due && is_there(&linked.device) && is_there(&linked.by) && !is_too_late(ledger, linked) {
            shows_the_same(ledger, report, linked.device, primary);
        }
    }
}

/// An archive lies with the service for so long.
fn is_too_late(ledger: &Ledger, linked: &Linked) -> bool {
    ledger.end.0.saturating_sub(linked.when.at.0) >= BLOB_LIFE.0.saturating_sub(ledger.terms.clock_skew.0)
}

fn shows_the_same(ledger: &Ledger, report: &mut Report, linked: MailboxId, primary: DeviceAddress) {
    let new = linked.address();
    let views_of = |device| ledger.views.values().filter(move |view: &&View| view.device == device);
    let shown: BTreeSet<MessageId> =
        views_of(new).flat_map(|view| view.lines.iter().map(|line| line.message)).collect();
    for view in views_of(primary) {
        // What ended in the new device's mailbox was not handed over.
        if ledger.expired(view.chat, new) > 0 {
            continue;
        }
        for line in view.lines.iter().filter(|line| line.stamp.is_some()) {
            let holds = shown.contains(&line.message) || ledger.is_message_out_of_reach(line.message, linked);
            report.judge(AcceptedArrives, view.when.at, holds, || {
                format!("{primary} shows message {}, and {new}, which it has linked, does not", line.message)
            });
        }
    }
}
