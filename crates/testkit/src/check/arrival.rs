//! Invariant 1: what was accepted is committed on each target device, or expired, or the device is gone.

use super::{
    Invariant::AcceptedArrives,
    Report,
    ledger::{Accepted, Composed, Ledger, View},
    unlisted,
};
use std::collections::{BTreeMap, BTreeSet};
use types::{ChatId, DeviceAddress, EnvelopeId, MailboxId, MessageId, Millis, limits::ENVELOPE_LIFE};

pub fn check(ledger: &Ledger, report: &mut Report) {
    envelopes(ledger, report);
    messages(ledger, report);
    every_device(ledger, report);
    gaps(ledger, report);
}

/// Every accepted envelope is committed, or still stands in the mailbox, or its time is over.
fn envelopes(ledger: &Ledger, report: &mut Report) {
    let fates = Fates::new(ledger);
    for accepted in &ledger.accepted {
        let Some(envelope) = accepted.envelope else { continue };
        for to in &accepted.to {
            let holds = ledger.closed.contains_key(to)
                || ledger.stored.contains_key(&(*to, envelope))
                || fates.pending.contains(&(*to, envelope))
                || fates.expired(ledger, accepted, *to, envelope);
            report.judge(AcceptedArrives, accepted.when.at, holds, || {
                format!("envelope {envelope} from {} was accepted for {to:?} and is nowhere", accepted.sender)
            });
        }
    }
}

/// Every accepted message is on the screen of each running device of its recipients, and of its sender's
/// other devices.
fn messages(ledger: &Ledger, report: &mut Report) {
    let seen = seen(ledger);
    let fates = Fates::new(ledger);
    let first_sealed = ledger.first_sealed();
    for accepted in &ledger.accepted {
        let Some(message) = accepted.message else { continue };
        let Some(composed) = ledger.composed.get(&message) else { continue };
        let left = accepted.envelope.and_then(|envelope| first_sealed.get(&(accepted.sender, envelope)));
        let left = left.copied().unwrap_or(accepted.when);
        for mailbox in ledger
            .audience(composed, accepted.envelope)
            .into_iter()
            .flat_map(|account| ledger.devices_of(account))
        {
            let device = mailbox.address();
            let linked_later = ledger.opened.get(&mailbox).is_some_and(|opened| *opened > left);
            let has_it = device == composed.sender || linked_later;
            if has_it || accepted.resend || ledger.due(accepted.when, &[device]).is_none() {
                continue;
            }
            let outlived = match accepted.envelope {
                Some(envelope) => fates.expired(ledger, accepted, mailbox, envelope),
                None => lived_out(ledger, accepted),
            };
            let holds = outlived
                || ledger.has_no_account(accepted.sender)
                || seen.contains(&(device, message))
                || unlisted::left_unlisted(ledger, composed, accepted, mailbox)
                || ledger.is_message_out_of_reach(message, mailbox);
            report.judge(AcceptedArrives, accepted.when.at, holds, || {
                format!("message {message} from {} was accepted and never shown at {device}", accepted.sender)
            });
        }
    }
}

/// A send names every device that its recipient had, and every other one that its sender had, when it first
/// left. (Of a group's sends [`super::fan_out`] speaks.)
fn every_device(ledger: &Ledger, report: &mut Report) {
    let first_sealed = ledger.first_sealed();
    for accepted in ledger.accepted.iter().filter(|accepted| !accepted.resend) {
        let (Some(message), Some(envelope)) = (accepted.message, accepted.envelope) else { continue };
        let Some(left) = first_sealed.get(&(accepted.sender, envelope)) else { continue };
        let Some(Composed { to: ChatId::Direct(other), sender, .. }) = ledger.composed.get(&message) else {
            continue;
        };
        let is_meant = |mailbox: MailboxId| {
            mailbox.account == *other || mailbox.account == sender.account && mailbox.address() != *sender
        };
        for mailbox in ledger.devices_between(*left, accepted.when, is_meant) {
            report.judge(AcceptedArrives, accepted.when.at, accepted.to.contains(&mailbox), || {
                format!("message {message} was accepted without a row for {mailbox:?}")
            });
        }
    }
}

/// A running device whose servers are honest has no gap that stays, but for what ended in its mailbox, for what its
/// writer was refused, for what nobody can verify any more, and for what was lost with a primary before the device had
/// its place.
fn gaps(ledger: &Ledger, report: &mut Report) {
    for view in ledger.views.values() {
        if ledger.due(view.when, &[view.device]).is_none() && ledger.faults_ended.is_none() {
            continue;
        }
        let excused = ledger.expired(view.chat, view.device)
            + ledger.expired_before(view.chat, view.device)
            + refused_to(ledger, view)
            + lost_with_their_writers(ledger, view)
            + lost_with_the_primary(ledger, view)
            + out_of_reach(ledger, view);
        report.judge(AcceptedArrives, view.when.at, view.gaps as usize <= excused, || {
            format!("{} misses {} messages of {}", view.device, view.gaps, view.chat)
        });
    }
}

/// How many messages of a chat came too late for the device that shows it.
fn out_of_reach(ledger: &Ledger, view: &View) -> usize {
    let mailbox = ledger.life(view.device, view.when);
    mailbox.map_or(0, |mailbox| ledger.count_out_of_reach(view.chat, mailbox))
}

/// How many messages of a chat others wrote that were refused: each has a number, and nobody gets it.
fn refused_to(ledger: &Ledger, view: &View) -> usize {
    let refused = ledger.refused.iter().filter_map(|message| ledger.composed.get(message));
    let is_one_of_theirs = |composed: &&Composed| {
        composed.sender != view.device
            && match view.chat {
                ChatId::Direct(other) => composed.sender.account == other,
                group @ ChatId::Group(_) => composed.to == group,
            }
    };
    refused.filter(is_one_of_theirs).count()
}

/// How many messages to a group were accepted whose writers are gone.
fn lost_with_their_writers(ledger: &Ledger, view: &View) -> usize {
    let of_chat = |message: &MessageId| {
        ledger
            .composed
            .get(message)
            .is_some_and(|composed| composed.to == view.chat && view.chat.group().is_some())
    };
    let accepted = ledger.accepted.iter().filter(|accepted| ledger.has_no_account(accepted.sender));
    accepted.filter_map(|accepted| accepted.message).filter(of_chat).collect::<BTreeSet<_>>().len()
}

/// How many messages of a chat left for a primary that was lost, before the device of the view was there to get them
/// itself: nobody sends it what was sealed to another one. And what left a device that was taken off its list before it
/// was known.
fn lost_with_the_primary(ledger: &Ledger, view: &View) -> usize {
    let Some((mailbox, opened)) = ledger.last_life(view.device) else { return 0 };
    let lines: BTreeSet<MessageId> = view.lines.iter().map(|line| line.message).collect();
    let was_replaced = |to: &MailboxId| to.account == mailbox.account && ledger.closed.contains_key(to);
    let is_lost = |accepted: &&Accepted| {
        let Some(composed) = accepted.message.and_then(|message| ledger.composed.get(&message)) else {
            return false;
        };
        let is_of_chat = match view.chat {
            ChatId::Direct(other) => {
                composed.to == view.chat && composed.sender.account == mailbox.account
                    || composed.to == ChatId::Direct(mailbox.account) && composed.sender.account == other
            }
            group @ ChatId::Group(_) => composed.to == group,
        };
        let went_to_the_lost = composed.when < opened && accepted.to.iter().any(was_replaced);
        is_of_chat && (went_to_the_lost || unlisted::left_unlisted(ledger, composed, accepted, mailbox))
    };
    let lost: BTreeSet<MessageId> =
        ledger.accepted.iter().filter(is_lost).filter_map(|accepted| accepted.message).collect();
    lost.difference(&lines).count()
}

fn seen(ledger: &Ledger) -> BTreeSet<(DeviceAddress, MessageId)> {
    let shown = ledger.shown.iter().map(|shown| (shown.device, shown.message));
    let lines =
        ledger.views.values().flat_map(|view| view.lines.iter().map(|line| (view.device, line.message)));
    shown.chain(lines).collect()
}

fn lived_out(ledger: &Ledger, accepted: &Accepted) -> bool {
    let life = Millis(ENVELOPE_LIFE.0.saturating_sub(ledger.terms.clock_skew.0));
    ledger.end.0.saturating_sub(accepted.when.at.0) >= life.0
}

/// What the store says of each (mailbox, envelope).
struct Fates {
    /// Has a row that was not deleted and, where the mailbox was counted, is still there.
    pending: BTreeSet<(MailboxId, EnvelopeId)>,
    /// When its rows end.
    expires: BTreeMap<(MailboxId, EnvelopeId), Millis>,
}

impl Fates {
    fn new(ledger: &Ledger) -> Self {
        let deleted: BTreeSet<_> =
            ledger.deleted.iter().map(|(_, mailbox, position, _)| (*mailbox, *position)).collect();
        let mut fates = Self { pending: BTreeSet::new(), expires: BTreeMap::new() };
        for row in &ledger.rows {
            let name = (row.mailbox, row.envelope);
            fates.expires.insert(name, row.expires_at);
            let counted = ledger.inventory.get(&row.mailbox);
            let missing = counted.is_some_and(|(_, positions)| !positions.contains(&row.position));
            if !missing && !deleted.contains(&(row.mailbox, row.position)) {
                fates.pending.insert(name);
            }
        }
        fates
    }

    fn expired(&self, ledger: &Ledger, accepted: &Accepted, to: MailboxId, envelope: EnvelopeId) -> bool {
        match self.expires.get(&(to, envelope)) {
            Some(expires_at) => expires_at.0 <= ledger.end.0 + ledger.terms.clock_skew.0,
            None => lived_out(ledger, accepted),
        }
    }
}
