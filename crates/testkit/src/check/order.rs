//! Invariant 4: order per conversation and sender, one order for all members, and no answer before
//! what it answers.

use super::{
    Invariant::Order,
    Report,
    ledger::{Ledger, Shown, View},
};
use crate::history::Line;
use std::collections::BTreeMap;
use types::{ChatId, DeviceAddress, DeviceNumber, MessageId, Stamp};

pub fn check(ledger: &Ledger, report: &mut Report) {
    for view in ledger.views.values() {
        by_stamp(view, report);
        by_sender(ledger, view, report);
    }
    one_order_for_all(ledger, report);
    answers_follow(ledger, report);
}

/// Lines are sorted by stamp; what has none yet comes last.
fn by_stamp(view: &View, report: &mut Report) {
    for pair in view.lines.windows(2) {
        let [Line { stamp: earlier, .. }, Line { stamp: later, message }] = pair else { continue };
        let holds = match (earlier, later) {
            (Some(earlier), Some(later)) => earlier < later,
            (Some(_) | None, None) => true,
            (None, Some(_)) => false,
        };
        report.judge(Order, view.when.at, holds, || {
            format!("{} lists message {message} against the order of stamps", view.device)
        });
    }
}

/// What one device wrote stands in the order in which it was written; what was refused has no place.
fn by_sender(ledger: &Ledger, view: &View, report: &mut Report) {
    let mut last: BTreeMap<_, (usize, MessageId)> = BTreeMap::new();
    let has_place = |line: &&Line| line.stamp.is_some() || !ledger.refused.contains(&line.message);
    for Line { message, .. } in view.lines.iter().filter(has_place) {
        let Some(composed) = ledger.composed.get(message) else { continue };
        let place = (composed.when.index, *message);
        let life = ledger.life(composed.sender, composed.when);
        let before = last.insert((composed.sender, life), place);
        let holds = before.is_none_or(|before| before < place);
        report.judge(Order, view.when.at, holds, || {
            let (_, before) = before.unwrap_or(place);
            format!("{} lists {before} before {message}, which {} wrote first", view.device, composed.sender)
        });
    }
}

/// What two people, or the members of a group, have in common.
type Conversation = (ChatId, ChatId);

fn conversation(view: &View) -> Conversation {
    let other_end = match view.chat {
        ChatId::Direct(_) => ChatId::Direct(view.device.account),
        group @ ChatId::Group(_) => group,
    };
    (view.chat.min(other_end), view.chat.max(other_end))
}

/// Two devices that both show two messages show them in one order and with the same stamps.
fn one_order_for_all(ledger: &Ledger, report: &mut Report) {
    let mut known: BTreeMap<Conversation, BTreeMap<MessageId, (Stamp, DeviceAddress)>> = BTreeMap::new();
    for view in ledger.views.values() {
        let stamps = known.entry(conversation(view)).or_default();
        for line in &view.lines {
            let Some(stamp) = line.stamp else { continue };
            if is_from_backup(ledger, view, line.message) {
                continue;
            }
            // Of two stamps the lowest wins, and a receipt tells the sender; it may have ended on its way.
            let is_mine = ledger
                .composed
                .get(&line.message)
                .is_some_and(|composed| composed.sender.account == view.device.account);
            let untold = ledger.expired(view.chat, view.device) > 0 || somebody_left(ledger, line.message);
            if is_mine && untold {
                continue;
            }
            let (other, device) = *stamps.entry(line.message).or_insert((stamp, view.device));
            report.judge(Order, view.when.at, other == stamp, || {
                let message = line.message;
                format!("message {message} has stamp {stamp} at {} and {other} at {device}", view.device)
            });
        }
    }
}

/// What a restored primary shows from before its time is what the backup knew.
fn is_from_backup(ledger: &Ledger, view: &View, message: MessageId) -> bool {
    let written = ledger.composed.get(&message).map(|composed| composed.when);
    let opened = ledger.life(view.device, view.when).and_then(|life| ledger.opened.get(&life));
    view.device.device == DeviceNumber::PRIMARY && opened.is_some_and(|opened| written < Some(*opened))
}

/// Whether somebody for whom a message to a group was has left since: receipts of former members do not count.
fn somebody_left(ledger: &Ledger, message: MessageId) -> bool {
    let sealings = ledger.group_sealed.iter().filter(|sealed| sealed.message == Some(message));
    let Some(sealed) = sealings.min_by_key(|sealed| sealed.epoch) else { return false };
    let Some(members) = ledger.members_at(sealed.group, sealed.epoch) else { return false };
    let chain = ledger.chains.get(&sealed.group).into_iter().flatten();
    chain.filter(|written| written.version > sealed.epoch).any(|written| !written.holds.is_superset(members))
}

/// A message sorts after everything that its device had shown in that chat when it was written.
fn answers_follow(ledger: &Ledger, report: &mut Report) {
    let stamps = ledger.stamps();
    let mut shown = ledger.shown.iter().peekable();
    let mut highest: BTreeMap<_, (Stamp, MessageId)> = BTreeMap::new();
    let mut composed: Vec<_> = ledger.composed.iter().collect();
    composed.sort_by_key(|(_, composed)| composed.when);
    for (message, composed) in composed {
        while let Some(shown) = shown.next_if(|shown| shown.when < composed.when) {
            let chat = chat_of(ledger, shown);
            let life = ledger.life(shown.device, shown.when);
            let of_chat = highest.entry((shown.device, life, chat)).or_insert((Stamp::ZERO, shown.message));
            *of_chat = (*of_chat).max((shown.stamp, shown.message));
        }
        let Some(stamp) = stamps.get(message) else { continue };
        let life = ledger.life(composed.sender, composed.when);
        let Some((seen, answered)) = highest.get(&(composed.sender, life, composed.to)) else { continue };
        report.judge(Order, composed.when.at, stamp > seen, || {
            format!("message {message} at {stamp} answers message {answered} at {seen}")
        });
    }
}

/// The chat in which a device showed a message: what another device of its account wrote to somebody stands
/// in the chat with them.
fn chat_of(ledger: &Ledger, shown: &Shown) -> ChatId {
    match ledger.composed.get(&shown.message).map(|composed| composed.to) {
        Some(group @ ChatId::Group(_)) => group,
        Some(other) if shown.sender.account == shown.device.account => other,
        _ => ChatId::Direct(shown.sender.account),
    }
}
