//! Invariant 18: no plaintext or key stands in a byte that a server received or stored.

use super::{Invariant::NoCanary, Report, ledger::Ledger};
use types::Millis;

pub fn check(ledger: &Ledger, report: &mut Report) {
    for (when, canary, place) in &ledger.canaries_found {
        report.judge(NoCanary, when.at, false, || format!("{canary} stands in {place}"));
    }
    if ledger.canaries_sought > 0 {
        report.judge(NoCanary, Millis(0), true, String::new);
    }
}
