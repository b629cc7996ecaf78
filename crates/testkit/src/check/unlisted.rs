//! What nobody shows because its writer's device was taken off the list before: the server's word alone says that it was
//! written earlier.

use super::ledger::{Accepted, Composed, Ledger, Moment};
use crate::history::SignedLog;
use std::collections::BTreeSet;
use types::MailboxId;

/// Whether a message reached a device when its writer's was gone from the list, or before the device had seen a list
/// that has it.
pub fn left_unlisted(ledger: &Ledger, composed: &Composed, accepted: &Accepted, reader: MailboxId) -> bool {
    let Some(writer) = ledger.life(composed.sender, composed.when) else { return false };
    let Some(removed) = ledger.closed.get(&writer) else { return false };
    let stored = accepted.envelope.and_then(|envelope| ledger.stored.get(&(reader, envelope)));
    stored.is_some_and(|stored| stored > removed || !knows(ledger, reader, writer, *stored))
}

/// Whether a device had been told of a list that has another one, or is on one with it since it is there.
fn knows(ledger: &Ledger, reader: MailboxId, of: MailboxId, at: Moment) -> bool {
    let Some(lists) = ledger.lists.get(&of.account) else { return false };
    let with_it: BTreeSet<u64> =
        lists.iter().filter(|list| list.holds.contains(&of)).map(|list| list.version).collect();
    let mut told = ledger.reads.iter().chain(&ledger.answered);
    let was_told = told.any(|told| {
        told.when < at
            && told.log == SignedLog::DeviceList(of.account)
            && with_it.contains(&told.version)
            && ledger.life(told.by, told.when) == Some(reader)
    });
    was_told
        || lists
            .iter()
            .find(|list| list.holds.contains(&reader))
            .is_some_and(|first| first.holds.contains(&of))
}
