//! Invariants 5 and 6: a row is deleted once its device has committed it, or once its time is over,
//! and for no other reason.

use super::{
    Invariant::{DeletedAfterCommit, Expiry},
    Report,
    ledger::{Ledger, Moment, Row},
};
use crate::history::Deletion;
use std::collections::BTreeMap;
use types::{EnvelopeId, MailboxId, Position, limits::ENVELOPE_LIFE};

/// A row may outlive its end by this much: expiry works by the day.
const EXPIRY_WITHIN_MS: u64 = 2 * 24 * 60 * 60 * 1_000;

/// A row is seen this much after the send was accepted for it: slow stores.
const WRITTEN_WITHIN_MS: u64 = 60 * 1_000;

pub fn check(ledger: &Ledger, report: &mut Report) {
    let rows: BTreeMap<_, _> = ledger.rows.iter().map(|row| ((row.mailbox, row.position), row)).collect();
    acked_after_commit(ledger, report);
    for (when, mailbox, position, cause) in &ledger.deleted {
        let Some(row) = rows.get(&(*mailbox, *position)) else { continue };
        match cause {
            Deletion::Acked => after_commit(ledger, report, *when, row),
            Deletion::Expired => after_its_time(ledger, report, *when, row),
            Deletion::Closed => after_close(ledger, report, *when, row),
        }
    }
    full_life(ledger, report);
    no_immortal_row(ledger, report);
}

fn after_commit(ledger: &Ledger, report: &mut Report, when: Moment, row: &Row) {
    let holds = is_stored(ledger, row.mailbox, row.envelope, when);
    report.judge(DeletedAfterCommit, when.at, holds, || {
        format!(
            "the row of envelope {} in {:?} was deleted before its device committed it",
            row.envelope, row.mailbox
        )
    });
}

fn after_its_time(ledger: &Ledger, report: &mut Report, when: Moment, row: &Row) {
    let holds = when.at.0 + ledger.terms.clock_skew.0 >= row.expires_at.0;
    report.judge(Expiry, when.at, holds, || {
        format!(
            "the row of envelope {} in {:?} expired before {} ms",
            row.envelope, row.mailbox, row.expires_at.0
        )
    });
}

fn after_close(ledger: &Ledger, report: &mut Report, when: Moment, row: &Row) {
    let holds = ledger.closed.contains_key(&row.mailbox);
    report.judge(DeletedAfterCommit, when.at, holds, || {
        format!("the open mailbox {:?} lost the row of envelope {}", row.mailbox, row.envelope)
    });
}

fn acked_after_commit(ledger: &Ledger, report: &mut Report) {
    let envelopes: BTreeMap<(MailboxId, Position), EnvelopeId> =
        ledger.delivered.iter().map(|one| ((one.mailbox, one.position), one.envelope)).collect();
    for (when, mailbox, position) in &ledger.acked {
        let Some(envelope) = envelopes.get(&(*mailbox, *position)) else { continue };
        let holds = is_stored(ledger, *mailbox, *envelope, *when);
        report.judge(DeletedAfterCommit, when.at, holds, || {
            format!("{mailbox:?} acknowledged envelope {envelope} before it committed it")
        });
    }
}

fn is_stored(ledger: &Ledger, mailbox: MailboxId, envelope: EnvelopeId, before: Moment) -> bool {
    ledger.stored.get(&(mailbox, envelope)).is_some_and(|stored| *stored < before)
}

/// A row is written with its full life before it. (No content of today asks for a shorter one.)
fn full_life(ledger: &Ledger, report: &mut Report) {
    for row in &ledger.rows {
        let least = row.when.at.0 + ENVELOPE_LIFE.0;
        let allowance = WRITTEN_WITHIN_MS + ledger.terms.clock_skew.0;
        report.judge(Expiry, row.when.at, row.expires_at.0 + allowance >= least, || {
            format!(
                "the row of envelope {} in {:?} ends at {} ms",
                row.envelope, row.mailbox, row.expires_at.0
            )
        });
    }
}

fn no_immortal_row(ledger: &Ledger, report: &mut Report) {
    for row in &ledger.rows {
        let Some((when, positions)) = ledger.inventory.get(&row.mailbox) else { continue };
        let overdue = when.at.0 > row.expires_at.0 + EXPIRY_WITHIN_MS + ledger.terms.clock_skew.0;
        report.judge(Expiry, when.at, !(overdue && positions.contains(&row.position)), || {
            format!("the row of envelope {} in {:?} outlives its end", row.envelope, row.mailbox)
        });
    }
}
