//! Invariant 20: neither a step of a ratchet nor an envelope id seals two different ciphertexts.

use super::{Invariant::NoRatchetReuse, Report, ledger::Ledger};
use std::collections::BTreeMap;

pub fn check(ledger: &Ledger, report: &mut Report) {
    pairwise(ledger, report);
    sender_keys(ledger, report);
}

fn pairwise(ledger: &Ledger, report: &mut Report) {
    let mut by_step = BTreeMap::new();
    let mut by_envelope = BTreeMap::new();
    for sealed in &ledger.sealed {
        let ciphertext = (sealed.ciphertext, sealed.envelope);
        if let Some(step) = sealed.step {
            let first = *by_step.entry((sealed.sender, step)).or_insert(ciphertext);
            report.judge(NoRatchetReuse, sealed.when.at, first == ciphertext, || {
                format!(
                    "{} used one step of a ratchet for envelopes {} and {}",
                    sealed.sender, first.1, sealed.envelope
                )
            });
        }
        let first =
            *by_envelope.entry((sealed.sender, sealed.envelope, sealed.to)).or_insert(sealed.ciphertext);
        report.judge(NoRatchetReuse, sealed.when.at, first == sealed.ciphertext, || {
            format!("{} sealed envelope {} again for {:?}", sealed.sender, sealed.envelope, sealed.to)
        });
    }
}

/// The same of sender keys: one ciphertext goes to all.
fn sender_keys(ledger: &Ledger, report: &mut Report) {
    let mut by_step = BTreeMap::new();
    let mut by_envelope = BTreeMap::new();
    for sealed in &ledger.group_sealed {
        let ciphertext = (sealed.ciphertext, sealed.envelope);
        if let Some(step) = sealed.step {
            let first = *by_step.entry((sealed.sender, step)).or_insert(ciphertext);
            report.judge(NoRatchetReuse, sealed.when.at, first == ciphertext, || {
                let (one, other) = (first.1, sealed.envelope);
                format!("{} used one step of a sender key for envelopes {one} and {other}", sealed.sender)
            });
        }
        let first = *by_envelope.entry((sealed.sender, sealed.envelope)).or_insert(sealed.ciphertext);
        report.judge(NoRatchetReuse, sealed.when.at, first == sealed.ciphertext, || {
            format!("{} sealed envelope {} again for group {}", sealed.sender, sealed.envelope, sealed.group)
        });
    }
}
