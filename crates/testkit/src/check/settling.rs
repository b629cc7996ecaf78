//! Invariant 21: after faults end, everything pending is delivered in time: messages out of their
//! outboxes, envelopes to their devices, receipts back to the senders.

use super::{
    Invariant::Settles,
    Report,
    ledger::{Composed, Ledger, Moment},
    unlisted,
};
use crate::history::ReceiptKind;
use std::collections::BTreeMap;
use types::{AccountId, ChatId, MailboxId, MessageId, Millis};

pub fn check(ledger: &Ledger, report: &mut Report) {
    outboxes_empty(ledger, report);
    mailboxes_empty(ledger, report);
    receipts_return(ledger, report);
    nothing_is_kept_back(ledger, report);
}

fn in_time(done: Option<&Moment>, due: Millis) -> bool {
    done.is_some_and(|done| done.at <= due)
}

fn outboxes_empty(ledger: &Ledger, report: &mut Report) {
    let mut first_accepted: BTreeMap<MessageId, Moment> = BTreeMap::new();
    for accepted in &ledger.accepted {
        if let Some(message) = accepted.message {
            first_accepted.entry(message).or_insert(accepted.when);
        }
    }
    for (message, composed) in &ledger.composed {
        let Some(due) = ledger.due(composed.when, &[composed.sender]) else { continue };
        if ledger.is_gone(composed.sender, composed.when) || lacks_the_secret(ledger, composed) {
            continue;
        }
        let holds = ledger.refused.contains(message) || in_time(first_accepted.get(message), due);
        report.judge(Settles, due, holds, || {
            format!("message {message} of {} was not accepted", composed.sender)
        });
    }
}

/// Nobody writes to a group without its secret, which may be lost with the account that was to give it.
fn lacks_the_secret(ledger: &Ledger, composed: &Composed) -> bool {
    let ChatId::Group(group) = composed.to else { return false };
    let held = ledger.chains_held.get(&(composed.sender, group));
    held.is_some_and(|held| !held.secret) && !ledger.all_are_there(group)
}

fn mailboxes_empty(ledger: &Ledger, report: &mut Report) {
    for accepted in &ledger.accepted {
        let Some(envelope) = accepted.envelope else { continue };
        for to in accepted.to.iter().filter(|to| !ledger.closed.contains_key(*to)) {
            let Some(due) = ledger.due(accepted.when, &[to.address()]) else { continue };
            if expired(ledger, *to, envelope) {
                continue;
            }
            report.judge(Settles, due, in_time(ledger.stored.get(&(*to, envelope)), due), || {
                format!("envelope {envelope}, accepted at {} ms, did not reach {to:?}", accepted.when.at.0)
            });
        }
    }
}

fn expired(ledger: &Ledger, mailbox: types::MailboxId, envelope: types::EnvelopeId) -> bool {
    let mut rows = ledger.rows.iter().filter(|row| (row.mailbox, row.envelope) == (mailbox, envelope));
    rows.any(|row| ledger.has_ended(row))
}

/// Every device of the sender learns that a message arrived at another account.
fn receipts_return(ledger: &Ledger, report: &mut Report) {
    for shown in &ledger.shown {
        let Some(composed) = ledger.composed.get(&shown.message) else { continue };
        let (reader, writer) = (shown.device.account, composed.sender.account);
        // What a device that is gone had shown, another one of its account has told.
        if reader == writer || ledger.is_gone(shown.device, shown.when) {
            continue;
        }
        for mailbox in ledger.devices_of(writer) {
            let device = mailbox.address();
            let linked_later = ledger.opened.get(&mailbox).is_some_and(|opened| *opened > composed.when);
            let Some(due) = ledger.due(shown.when, &[device, shown.device]) else { continue };
            // A receipt may have been among what ended in its mailbox, and only members' receipts count.
            let left = has_left(ledger, shown.message, reader) || has_left(ledger, shown.message, writer);
            if linked_later
                || left
                || never_knew_it(ledger, shown.message, composed, mailbox)
                || ledger.expired(ChatId::Direct(reader), device) > 0
            {
                continue;
            }
            let receipt = |kind| ledger.receipts.get(&(device, shown.message, reader, kind));
            let first = receipt(ReceiptKind::Delivered).into_iter().chain(receipt(ReceiptKind::Read)).min();
            report.judge(Settles, due, in_time(first, due), || {
                format!("{device} was never told that message {} arrived at {reader}", shown.message)
            });
        }
    }
}

/// Whether another device of the writer's account was told of a message only when the one that wrote it was off the list.
fn never_knew_it(ledger: &Ledger, message: MessageId, composed: &Composed, device: MailboxId) -> bool {
    let mut accepted = ledger.accepted.iter().filter(|accepted| accepted.message == Some(message));
    accepted.any(|accepted| unlisted::left_unlisted(ledger, composed, accepted, device))
}

/// Whatever a device needs to show an envelope it gets, as long as there is somebody who has it.
fn nothing_is_kept_back(ledger: &Ledger, report: &mut Report) {
    for (when, device, sender, envelope) in &ledger.kept_back {
        let Some(since) =
            ledger.stored.iter().find(|((mailbox, id), _)| (mailbox.address(), id) == (*device, envelope))
        else {
            continue;
        };
        let Some(due) = ledger.due(*since.1, &[*device, *sender]) else { continue };
        let (mailbox, _) = since.0;
        let holds = ledger.has_no_account(*sender) || ledger.is_out_of_reach(*sender, *envelope, *mailbox);
        report.judge(Settles, due.min(when.at), holds, || {
            format!("{device} keeps envelope {envelope} of {sender} back")
        });
    }
}

/// Whether an account that was a member when a message was written was not one all the time since.
fn has_left(ledger: &Ledger, message: MessageId, account: AccountId) -> bool {
    let sealings = ledger.group_sealed.iter().filter(|sealed| sealed.message == Some(message));
    let Some(sealed) = sealings.min_by_key(|sealed| sealed.epoch) else { return false };
    let since = ledger.chains.get(&sealed.group).into_iter().flatten();
    since.filter(|written| written.version >= sealed.epoch).any(|written| !written.holds.contains(&account))
}
