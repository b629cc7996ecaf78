//! Invariant 9: from the moment in which its removal was answered, nothing goes to a revoked device or a
//! removed member, a revoked device's sockets end within seconds, and nothing that they send after it is accepted for the group; whoever was told of a list that
//! does not have a device seals nothing to it any more; and nothing of a former member that stands after the removal
//! is shown to anybody.

use super::{
    Invariant::RemovedGetsNothing,
    Report,
    ledger::{Ledger, Moment, Shown, Told},
};
use crate::history::SignedLog;
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, ChatId, DeviceAddress, EnvelopeId, GroupId, MailboxId, MessageId, Millis, Stamp};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for told in &ledger.answered {
        match told.log {
            SignedLog::DeviceList(account) => devices(ledger, report, account, told),
            SignedLog::GroupChain(group) => members(ledger, report, group, told),
        }
    }
    nothing_sealed_to_the_revoked(ledger, report);
    for shown in &ledger.shown {
        if let Some(ChatId::Group(group)) = ledger.composed.get(&shown.message).map(|composed| composed.to) {
            shown_before_the_end(ledger, report, group, shown);
        }
    }
}

/// A message may stand so far behind the removal of its sender: nodes' clocks differ, and sends that were admitted
/// before it end after it.
const ADMITTED_LATE_MAX_MS: u64 = 30 * 1_000;

/// Where a message is shown, its sender was a member by the order of stamps, or shortly before.
fn shown_before_the_end(ledger: &Ledger, report: &mut Report, group: GroupId, shown: &Shown) {
    let Some(chain) = ledger.chains.get(&group) else { return };
    let stamp = |epoch| {
        let envelope = ledger.envelope_of_operation(group, epoch)?;
        ledger.rows.iter().find(|row| row.envelope == envelope).map(|row| row.stamp)
    };
    let stands = |stamp: Stamp| stamp.time().as_millis();
    let mut members = chain.iter().enumerate().filter(|(at, written)| {
        let next = chain.get(at + 1).and_then(|next| stamp(next.version));
        let begins = stamp(written.version).is_none_or(|begin| begin < shown.stamp);
        begins && next.is_none_or(|end| stands(shown.stamp) <= stands(end) + ADMITTED_LATE_MAX_MS)
    });
    let holds = members.any(|(_, written)| written.holds.contains(&shown.sender.account));
    report.judge(RemovedGetsNothing, shown.when.at, holds, || {
        let (device, message, sender) = (shown.device, shown.message, shown.sender);
        format!("{device} showed message {message} of {sender} at {}, who was no member then", shown.stamp)
    });
}

fn nothing_sealed_to_the_revoked(ledger: &Ledger, report: &mut Report) {
    let mut told: BTreeMap<(DeviceAddress, AccountId), Vec<(Moment, u64)>> = BTreeMap::new();
    for one in ledger.reads.iter().chain(&ledger.answered) {
        if let SignedLog::DeviceList(account) = one.log {
            told.entry((one.by, account)).or_default().push((one.when, one.version));
        }
    }
    let mut last_left: BTreeMap<MessageId, (EnvelopeId, Moment)> = BTreeMap::new();
    let mut sealed_after: BTreeMap<EnvelopeId, Moment> = BTreeMap::new();
    for sealed in &ledger.sealed {
        let Some((message, composed)) =
            sealed.message.and_then(|message| Some((message, ledger.composed.get(&message)?)))
        else {
            continue;
        };
        // When it was sealed nobody sees. It was after it had been written, and after it had left under the
        // envelope id before.
        let (last, left) = *last_left.entry(message).or_insert((sealed.envelope, sealed.when));
        let before = if last == sealed.envelope { composed.when } else { left };
        let sealed_after = *sealed_after.entry(sealed.envelope).or_insert(before);
        if last != sealed.envelope {
            last_left.insert(message, (sealed.envelope, sealed.when));
        }
        let (Some(told), Some(lists)) =
            (told.get(&(sealed.sender, sealed.to.account)), ledger.lists.get(&sealed.to.account))
        else {
            continue;
        };
        let life = ledger.life(sealed.sender, sealed_after);
        let before =
            told.iter().filter(|(when, _)| *when < sealed_after && ledger.life(sealed.sender, *when) == life);
        let Some(known) = before.map(|(_, version)| *version).max() else { continue };
        let is_listed = lists.iter().any(|list| list.version >= known && list.holds.contains(&sealed.to));
        report.judge(RemovedGetsNothing, sealed.when.at, is_listed, || {
            let (envelope, sender, to) = (sealed.envelope, sealed.sender, sealed.to);
            format!("{sender} sealed envelope {envelope} to {to:?}, which list {known} does not have")
        });
    }
}

/// No row is written for a device that an earlier list had and this one has not.
fn devices(ledger: &Ledger, report: &mut Report, account: AccountId, told: &Told) {
    let Some(lists) = ledger.lists.get(&account) else { return };
    let holding = |is_meant: &dyn Fn(u64) -> bool| -> BTreeSet<MailboxId> {
        let meant = lists.iter().filter(|list| is_meant(list.version));
        meant.flat_map(|list| list.holds.iter().copied()).collect()
    };
    let before = holding(&|version| version < told.version);
    let since = holding(&|version| version >= told.version);
    for revoked in before.difference(&since) {
        let late = ledger.rows.iter().find(|row| row.mailbox == *revoked && row.when > told.when);
        report.judge(RemovedGetsNothing, told.when.at, late.is_none(), || {
            let envelope = late.map(|row| row.envelope.to_string()).unwrap_or_default();
            format!("envelope {envelope} was written to {revoked:?} after its removal was answered")
        });
        sockets_end(ledger, report, *revoked, told);
    }
}

/// A socket of a device that was removed is closed within this time of the answer, while the stores answer.
const OUT_WITHIN: Millis = Millis::from_secs(5);

fn sockets_end(ledger: &Ledger, report: &mut Report, revoked: MailboxId, told: &Told) {
    let due = Millis(told.when.at.0 + OUT_WITHIN.0);
    let looked = ledger.looks_failed.iter().all(|failed| failed.at < told.when.at || failed.at > due);
    if due > ledger.end || !looked {
        return;
    }
    let outlived = ledger.sessions.iter().find(|(_, session)| {
        session.device == revoked
            && session.opened.at <= due
            && session.ended.is_none_or(|ended| ended.at > due)
    });
    report.judge(RemovedGetsNothing, due, outlived.is_none(), || {
        let session = outlived.map(|(number, _)| *number).unwrap_or_default();
        format!("session {session} of {revoked:?} is open {} ms after its removal was answered", OUT_WITHIN.0)
    });
}

/// What leaves a group's members after a removal was answered does not reach who was removed, and what who
/// was removed sends after it is not accepted.
fn members(ledger: &Ledger, report: &mut Report, group: GroupId, told: &Told) {
    let Some(before) = told.version.checked_sub(1).and_then(|epoch| ledger.members_at(group, epoch)) else {
        return;
    };
    let Some(after) = ledger.members_at(group, told.version) else { return };
    for removed in before.difference(after) {
        let back = back_in(ledger, group, told.version, *removed);
        let is_out = |when: Moment| when > told.when && back.is_none_or(|back| when < back);
        no_row_for(ledger, report, (group, told), *removed, &is_out);
        nothing_accepted_of(ledger, report, group, *removed, &is_out);
    }
}

/// When a removed member was added again.
fn back_in(ledger: &Ledger, group: GroupId, epoch: u64, account: AccountId) -> Option<Moment> {
    let later = ledger.chains.get(&group)?.iter().filter(|written| written.version > epoch);
    later.filter(|written| written.holds.contains(&account)).map(|written| written.when).min()
}

fn no_row_for(
    ledger: &Ledger,
    report: &mut Report,
    (group, told): (GroupId, &Told),
    removed: AccountId,
    is_out: &impl Fn(Moment) -> bool,
) {
    let of_group: BTreeMap<EnvelopeId, u64> = ledger
        .group_sealed
        .iter()
        .filter(|sealed| sealed.group == group)
        .map(|sealed| (sealed.envelope, if sealed.message.is_none() { sealed.epoch } else { u64::MAX }))
        .collect();
    // The removal itself is for the removed member, too.
    let concerns = |envelope| of_group.get(envelope).is_some_and(|epoch| *epoch > told.version);
    let late = ledger
        .rows
        .iter()
        .find(|row| row.mailbox.account == removed && is_out(row.when) && concerns(&row.envelope));
    report.judge(RemovedGetsNothing, told.when.at, late.is_none(), || {
        let envelope = late.map(|row| row.envelope.to_string()).unwrap_or_default();
        format!("envelope {envelope} of group {group} reached {removed} after its removal was answered")
    });
}

fn nothing_accepted_of(
    ledger: &Ledger,
    report: &mut Report,
    group: GroupId,
    removed: AccountId,
    is_out: &impl Fn(Moment) -> bool,
) {
    let first_sealed = ledger.first_sealed();
    for accepted in ledger.accepted.iter().filter(|accepted| accepted.sender.account == removed) {
        let Some(envelope) = accepted.envelope else { continue };
        let to_group = ledger
            .group_sealed
            .iter()
            .any(|sealed| sealed.group == group && sealed.envelope == envelope && sealed.message.is_some());
        let Some(left) = first_sealed.get(&(accepted.sender, envelope)).filter(|_| to_group) else {
            continue;
        };
        report.judge(RemovedGetsNothing, accepted.when.at, !is_out(*left), || {
            format!("envelope {envelope} of {removed} was accepted for group {group} that it is no member of")
        });
    }
}
