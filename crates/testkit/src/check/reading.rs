//! Invariant 21 of what was read: what a person has read on one device is read on all of them.

use super::{
    Invariant::Settles,
    Report,
    ledger::{Ledger, MarkedRead},
};
use types::{MailboxId, Stamp};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for mark in &ledger.marked_read {
        let Some(reader) = ledger.life(mark.device, mark.when) else { continue };
        // What a device that is gone had to tell may be lost with it.
        if ledger.closed.contains_key(&reader) {
            continue;
        }
        for other in ledger.devices_of(reader.account).filter(|other| *other != reader) {
            reaches(ledger, report, mark, reader, other);
        }
    }
}

fn reaches(ledger: &Ledger, report: &mut Report, mark: &MarkedRead, reader: MailboxId, other: MailboxId) {
    let device = other.address();
    let was_there = ledger.opened.get(&other).is_some_and(|opened| *opened < mark.when);
    // A device that is linked later is told by the one that links it.
    let is_told =
        was_there || ledger.linked.iter().any(|linked| (linked.device, linked.by) == (other, reader));
    let Some(due) = ledger.due(mark.when, &[mark.device, device]) else { return };
    if !is_told || ledger.expired(mark.chat, device) > 0 {
        return;
    }
    let Some(newest) = newest_of_others(ledger, mark, other) else { return };
    let read = ledger.read_up_to.get(&(device, mark.chat));
    report.judge(Settles, due, read.is_some_and(|read| *read >= newest), || {
        format!("{} was read up to {} on {}, and {device} says otherwise", mark.chat, mark.up_to, mark.device)
    });
}

/// The newest message that is covered by the mark, was written by somebody else, and is shown by the device.
fn newest_of_others(ledger: &Ledger, mark: &MarkedRead, device: MailboxId) -> Option<Stamp> {
    let view = ledger.views.get(&(device.address(), mark.chat))?;
    let by_others = view.lines.iter().filter(|line| {
        ledger.composed.get(&line.message).is_some_and(|composed| composed.sender.account != device.account)
    });
    by_others.filter_map(|line| line.stamp).filter(|stamp| *stamp <= mark.up_to).max()
}
