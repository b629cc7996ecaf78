//! Invariant 24: memory, descriptors and tasks stay bounded.

use super::{Invariant::Bounded, Report, ledger::Ledger};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for (when, resource, value, bound) in &ledger.resources {
        report.judge(Bounded, when.at, value <= bound, || format!("{resource}: {value}, at most {bound}"));
    }
}
