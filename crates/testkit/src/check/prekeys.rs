//! Invariants 7 and 8: a one-time prekey goes to one requesting device, and is what its owner uploaded.

use super::{
    Invariant::{BundleUploaded, OneTimeKeyOnce},
    Report,
    ledger::Ledger,
};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(ledger: &Ledger, report: &mut Report) {
    let uploaded: BTreeSet<_> =
        ledger.uploaded.iter().map(|key| (key.owner, key.kind, key.id, key.key)).collect();
    let mut first_requester = BTreeMap::new();
    for served in &ledger.served {
        let is_uploaded = uploaded.contains(&(served.owner, served.kind, served.id, served.key));
        report.judge(BundleUploaded, served.when.at, is_uploaded, || {
            format!(
                "{:?} never uploaded the {:?} prekey {} that was served",
                served.owner, served.kind, served.id
            )
        });
        if !served.kind.is_one_time() {
            continue;
        }
        // The bytes are the key, whatever number it is served under.
        let first =
            *first_requester.entry((served.owner, served.kind, served.key)).or_insert(served.requester);
        report.judge(OneTimeKeyOnce, served.when.at, first == served.requester, || {
            let (kind, id) = (served.kind, served.id);
            format!("{kind:?} prekey {id} of {:?} went to {first:?} and {:?}", served.owner, served.requester)
        });
    }
}
