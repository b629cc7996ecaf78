//! Invariant 17: accepted = committed + pending + expired + discarded, for every mailbox that was counted.

use super::{Invariant::Accounting, Report, ledger::Ledger};
use crate::history::Deletion;
use std::collections::{BTreeMap, BTreeSet};
use types::{EnvelopeId, MailboxId, Position};

pub fn check(ledger: &Ledger, report: &mut Report) {
    let books = Books::new(ledger);
    let mut targets = BTreeSet::new();
    for accepted in &ledger.accepted {
        let Some(envelope) = accepted.envelope else { continue };
        for to in accepted.to.iter().filter(|to| ledger.inventory.contains_key(*to)) {
            if targets.insert((*to, envelope)) {
                let fates = books.fates(ledger, *to, envelope);
                report.judge(Accounting, accepted.when.at, fates == 1, || {
                    format!("envelope {envelope} accepted for {to:?} is in {fates} of the four sums")
                });
            }
        }
    }
    nothing_made_up(ledger, report, &books);
}

/// A counted mailbox holds only rows that were written and not deleted.
fn nothing_made_up(ledger: &Ledger, report: &mut Report, books: &Books) {
    for (mailbox, (when, positions)) in &ledger.inventory {
        for position in positions {
            let place = (*mailbox, *position);
            let holds = books.written.contains_key(&place) && !books.deleted.contains_key(&place);
            report.judge(Accounting, when.at, holds, || {
                format!("{mailbox:?} holds a row at {position:?} that was never written, or was deleted")
            });
        }
    }
}

/// Rows by their places, and what became of them.
struct Books {
    written: BTreeMap<(MailboxId, Position), EnvelopeId>,
    places: BTreeMap<(MailboxId, EnvelopeId), Vec<Position>>,
    deleted: BTreeMap<(MailboxId, Position), Deletion>,
}

impl Books {
    fn new(ledger: &Ledger) -> Self {
        let mut books = Self { written: BTreeMap::new(), places: BTreeMap::new(), deleted: BTreeMap::new() };
        for row in &ledger.rows {
            books.written.insert((row.mailbox, row.position), row.envelope);
            books.places.entry((row.mailbox, row.envelope)).or_default().push(row.position);
        }
        for (_, mailbox, position, cause) in &ledger.deleted {
            books.deleted.insert((*mailbox, *position), *cause);
        }
        books
    }

    /// In how many of the four sums one accepted envelope counts: exactly one is right. Rows that a race
    /// wrote twice count as the one that lasts longest.
    fn fates(&self, ledger: &Ledger, mailbox: MailboxId, envelope: EnvelopeId) -> usize {
        if ledger.closed.contains_key(&mailbox) {
            return 1;
        }
        let Some(places) = self.places.get(&(mailbox, envelope)) else { return 0 };
        let held = ledger.inventory.get(&mailbox).map(|(_, positions)| positions);
        let cause = |cause| places.iter().any(|at| self.deleted.get(&(mailbox, *at)) == Some(&cause));
        let pending = places.iter().any(|at| held.is_some_and(|held| held.contains(at)));
        let committed = cause(Deletion::Acked);
        let expired = cause(Deletion::Expired);
        if places.len() > 1 {
            return usize::from(pending || committed || expired);
        }
        usize::from(pending) + usize::from(committed) + usize::from(expired)
    }
}
