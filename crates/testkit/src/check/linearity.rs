//! Invariant 10: device lists and group chains are linearizable.
//!
//! Both are logs of versions that only grow. Such a log is linearizable if each version has one content,
//! versions become durable in their order, nobody is told of a version before it is durable, and nobody who
//! asked after a version was known is told of an earlier one. No device signs two contents for one version,
//! whatever becomes of them: one of them would contradict the other wherever they were shown.

use super::{
    Invariant::Linearizable,
    Report,
    ledger::{Ledger, Moment, Told, Written},
};
use crate::history::SignedLog;
use std::collections::BTreeMap;
use types::Millis;

pub fn check(ledger: &Ledger, report: &mut Report) {
    let logs = Logs::new(ledger);
    for (account, lists) in &ledger.lists {
        versions_grow(SignedLog::DeviceList(*account), lists, report);
    }
    for (group, chain) in &ledger.chains {
        versions_grow(SignedLog::GroupChain(*group), chain, report);
        without_a_hole(SignedLog::GroupChain(*group), chain, report);
    }
    signed_once(ledger, report);
    for told in ledger.answered.iter().chain(&ledger.reads) {
        one_content(&logs, told, report);
        durable_before_told(&logs, told, report);
        nothing_older(&logs, told, report);
    }
}

/// What is known of every log, by version.
struct Logs<'a> {
    durable: BTreeMap<(SignedLog, u64), Moment>,
    contents: BTreeMap<(SignedLog, u64), u128>,
    /// What devices were told, in the order in which they were told.
    told: BTreeMap<SignedLog, Vec<&'a Told>>,
}

impl<'a> Logs<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        let mut logs = Self { durable: BTreeMap::new(), contents: BTreeMap::new(), told: BTreeMap::new() };
        for (account, lists) in &ledger.lists {
            logs.enter(SignedLog::DeviceList(*account), lists);
        }
        for (group, chain) in &ledger.chains {
            logs.enter(SignedLog::GroupChain(*group), chain);
        }
        for told in ledger.answered.iter().chain(&ledger.reads) {
            logs.contents.entry((told.log, told.version)).or_insert(told.digest);
            logs.told.entry(told.log).or_default().push(told);
        }
        logs.told.values_mut().for_each(|told| told.sort_by_key(|told| told.when));
        logs
    }

    fn enter<T>(&mut self, log: SignedLog, versions: &[Written<T>]) {
        for written in versions {
            self.durable.entry((log, written.version)).or_insert(written.when);
            self.contents.entry((log, written.version)).or_insert(written.digest);
        }
    }
}

fn versions_grow<T>(log: SignedLog, versions: &[Written<T>], report: &mut Report) {
    for pair in versions.windows(2) {
        let [before, after] = pair else { continue };
        report.judge(Linearizable, after.when.at, before.version < after.version, || {
            format!("version {} of {log:?} was stored after version {}", after.version, before.version)
        });
    }
}

/// Every operation of a chain follows the one before it.
fn without_a_hole<T>(log: SignedLog, versions: &[Written<T>], report: &mut Report) {
    for (epoch, written) in (0..).zip(versions) {
        report.judge(Linearizable, written.when.at, written.version == epoch, || {
            format!("epoch {} of {log:?} was stored where {epoch} belongs", written.version)
        });
    }
}

fn signed_once(ledger: &Ledger, report: &mut Report) {
    let mut signed = BTreeMap::new();
    for one in &ledger.signed {
        let first = *signed.entry((one.by, one.log, one.version)).or_insert(one.digest);
        report.judge(Linearizable, one.when.at, first == one.digest, || {
            format!("{:?} signed two contents as version {} of {:?}", one.by, one.version, one.log)
        });
    }
}

fn one_content(logs: &Logs<'_>, told: &Told, report: &mut Report) {
    let first = logs.contents.get(&(told.log, told.version)).copied();
    report.judge(Linearizable, told.when.at, first == Some(told.digest), || {
        format!("{} was told another version {} of {:?} than others", told.by, told.version, told.log)
    });
}

/// Judged only where the observer sees the store.
fn durable_before_told(logs: &Logs<'_>, told: &Told, report: &mut Report) {
    if !logs.durable.keys().any(|(log, _)| *log == told.log) {
        return;
    }
    let durable = logs.durable.get(&(told.log, told.version));
    report.judge(Linearizable, told.when.at, durable.is_some_and(|durable| *durable < told.when), || {
        format!("{} was told version {} of {:?}, which nobody had stored", told.by, told.version, told.log)
    });
}

fn nothing_older(logs: &Logs<'_>, told: &Told, report: &mut Report) {
    let known = |before: Millis| {
        let all = logs.told.get(&told.log).into_iter().flatten();
        all.take_while(move |one| one.when.at < before).map(|one| one.version).max()
    };
    let known = known(told.asked_at);
    report.judge(Linearizable, told.when.at, known.is_none_or(|known| known <= told.version), || {
        let (by, version, log) = (told.by, told.version, told.log);
        format!(
            "{by} asked for {log:?} after version {} was known, and was told {version}",
            known.unwrap_or(0)
        )
    });
}
