//! Invariants 1, 9 and 10 for accounts whose primary was lost: the device in its place shows all that the backup had,
//! the lost one is shut out, and nothing else of the list changes.

use super::{
    Invariant::{AcceptedArrives, Linearizable, RemovedGetsNothing},
    Report,
    ledger::{Ledger, Restored},
};
use std::collections::BTreeSet;
use types::{DeviceNumber, MailboxId, MessageId};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for restored in &ledger.restored {
        shows_the_backup(ledger, report, restored);
        replaces_the_primary_alone(ledger, report, restored);
    }
    for (when, mailbox, is_shut_out) in &ledger.found {
        report.judge(RemovedGetsNothing, when.at, *is_shut_out, || {
            format!("{mailbox:?} was replaced, and goes on to connect")
        });
    }
}

fn shows_the_backup(ledger: &Ledger, report: &mut Report, restored: &Restored) {
    let device = restored.device.address();
    if ledger.closed.contains_key(&restored.device) || ledger.due(restored.when, &[device]).is_none() {
        return;
    }
    let views = ledger.views.values().filter(|view| view.device == device);
    let shown: BTreeSet<MessageId> =
        views.flat_map(|view| view.lines.iter().map(|line| line.message)).collect();
    for message in &restored.messages {
        report.judge(AcceptedArrives, restored.when.at, shown.contains(message), || {
            format!("message {message} was in the backup from which {device} was restored, and is not shown")
        });
    }
}

/// The list that has the new device first has every linked device of the one before it, and not the lost primary.
fn replaces_the_primary_alone(ledger: &Ledger, report: &mut Report, restored: &Restored) {
    let lists = ledger.lists.get(&restored.device.account).map_or(&[][..], Vec::as_slice);
    let Some(at) = lists.iter().position(|list| list.holds.contains(&restored.device)) else { return };
    let Some(before) = at.checked_sub(1).and_then(|before| lists.get(before)) else { return };
    let linked = |holds: &BTreeSet<MailboxId>| -> BTreeSet<MailboxId> {
        holds.iter().filter(|mailbox| mailbox.device != DeviceNumber::PRIMARY).copied().collect()
    };
    let after = &lists[at].holds;
    let holds = linked(&before.holds) == linked(after) && !after.contains(&restored.former);
    report.judge(Linearizable, restored.when.at, holds, || {
        format!(
            "{:?} was restored to a list with {after:?} after one with {:?}",
            restored.device, before.holds
        )
    });
}
