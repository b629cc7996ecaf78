//! Invariant 13: the fan-out of a group send reaches every device of every member before the send is
//! answered, or none ever; full mailboxes get nothing, and are named.

use super::{
    Invariant::FanOutWhole,
    Report,
    ledger::{Accepted, GroupSealed, Ledger, Moment},
};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, EnvelopeId, MailboxId};

pub fn check(ledger: &Ledger, report: &mut Report) {
    let mut first: BTreeMap<EnvelopeId, &GroupSealed> = BTreeMap::new();
    for sealed in &ledger.group_sealed {
        first.entry(sealed.envelope).or_insert(sealed);
    }
    let accepted: BTreeMap<EnvelopeId, &Accepted> =
        ledger.accepted.iter().rev().filter_map(|accepted| Some((accepted.envelope?, accepted))).collect();
    for (envelope, sealed) in first {
        let Some(accounts) = accounts(ledger, sealed) else { continue };
        let fan_out = FanOut::new(ledger, envelope, sealed, accounts);
        match accepted.get(&envelope) {
            Some(accepted) => fan_out.is_whole_by(accepted.when, report),
            None => fan_out.is_whole_or_nothing(report),
        }
        fan_out.only_full_ones_are_skipped(report);
    }
}

/// A message goes to the members that its sender saw, an operation to those before and after it.
fn accounts(ledger: &Ledger, sealed: &GroupSealed) -> Option<BTreeSet<AccountId>> {
    let mut accounts = ledger.members_at(sealed.group, sealed.epoch)?.clone();
    if sealed.message.is_none()
        && let Some(before) = sealed.epoch.checked_sub(1)
    {
        accounts.extend(ledger.members_at(sealed.group, before)?);
    }
    Some(accounts)
}

struct FanOut<'a> {
    ledger: &'a Ledger,
    envelope: EnvelopeId,
    sealed: &'a GroupSealed,
    accounts: BTreeSet<AccountId>,
    /// When each mailbox first had its row.
    rows: BTreeMap<MailboxId, Moment>,
    skipped: BTreeMap<MailboxId, Moment>,
}

impl<'a> FanOut<'a> {
    fn new(
        ledger: &'a Ledger,
        envelope: EnvelopeId,
        sealed: &'a GroupSealed,
        accounts: BTreeSet<AccountId>,
    ) -> Self {
        let mut rows = BTreeMap::new();
        for row in ledger.rows.iter().filter(|row| row.envelope == envelope) {
            rows.entry(row.mailbox).or_insert(row.when);
        }
        let skipped = ledger
            .skipped
            .iter()
            .filter(|(_, of, _)| *of == envelope)
            .flat_map(|(when, _, mailboxes)| mailboxes.iter().map(|mailbox| (*mailbox, *when)))
            .collect();
        Self { ledger, envelope, sealed, accounts, rows, skipped }
    }

    /// The devices that were there all the time from its leaving to `until`. The sending device gets its
    /// operations, and not its messages.
    fn targets(&self, until: Moment) -> Vec<MailboxId> {
        let is_meant = |mailbox: MailboxId| {
            let is_sender = mailbox.address() == self.sealed.sender && self.sealed.message.is_some();
            self.accounts.contains(&mailbox.account) && !is_sender
        };
        self.ledger.devices_between(self.sealed.when, until, is_meant).collect()
    }

    fn is_whole_by(&self, answered: Moment, report: &mut Report) {
        for mailbox in self.targets(answered) {
            let has_row = self.rows.get(&mailbox).is_some_and(|written| *written < answered);
            let holds = has_row || self.skipped.contains_key(&mailbox);
            report.judge(FanOutWhole, answered.at, holds, || {
                format!("envelope {} was accepted without a row for {mailbox:?}", self.envelope)
            });
        }
    }

    fn is_whole_or_nothing(&self, report: &mut Report) {
        let end = Moment { index: usize::MAX, at: self.ledger.end };
        let targets = self.targets(end);
        let reached = targets.iter().filter(|mailbox| self.rows.contains_key(*mailbox)).count();
        let full = targets.iter().filter(|mailbox| self.is_full(**mailbox, self.sealed.when)).count();
        let holds = reached == 0 || reached + full >= targets.len();
        report.judge(FanOutWhole, self.sealed.when.at, holds, || {
            let all = targets.len();
            format!("envelope {} was never accepted, and reached {reached} of {all} devices", self.envelope)
        });
    }

    fn only_full_ones_are_skipped(&self, report: &mut Report) {
        for (mailbox, when) in &self.skipped {
            let holds = self.is_full(*mailbox, *when) && !self.rows.contains_key(mailbox);
            report.judge(FanOutWhole, when.at, holds, || {
                format!("envelope {} was said not to fit {mailbox:?}, and that is not so", self.envelope)
            });
        }
    }

    fn is_full(&self, mailbox: MailboxId, when: Moment) -> bool {
        let rows = self.ledger.rows.iter().filter(|row| row.mailbox == mailbox && row.when < when).count();
        let gone = self.ledger.deleted.iter().filter(|(at, of, ..)| *of == mailbox && *at < when).count();
        rows.saturating_sub(gone) as u64 >= self.ledger.terms.mailbox_rows_max
    }
}
