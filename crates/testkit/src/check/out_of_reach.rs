//! What reached a device and may not be shown there, by rules that nobody can soften: nothing is shown of a device that
//! its account has taken off its list, and nothing of a group is given to who was removed from it.

use super::ledger::{Ledger, Moment};
use crate::history::SignedLog;
use std::collections::BTreeSet;
use types::{ChatId, DeviceAddress, EnvelopeId, MailboxId, MessageId};

impl Ledger {
    /// Whether what was in an envelope was out of a device's reach when it came.
    pub fn is_out_of_reach(&self, sender: DeviceAddress, envelope: EnvelopeId, to: MailboxId) -> bool {
        self.came_after_removal(sender, envelope, to) || self.left_without_key(sender, envelope, to)
    }

    /// The same for a message, in any envelope in which it was accepted.
    pub fn is_message_out_of_reach(&self, message: MessageId, to: MailboxId) -> bool {
        let accepted = self.accepted.iter().filter(|accepted| accepted.message == Some(message));
        accepted
            .filter_map(|accepted| Some((accepted.sender, accepted.envelope?)))
            .any(|(sender, envelope)| self.is_out_of_reach(sender, envelope, to))
    }

    /// How many gaps the messages of a chat leave that were out of a device's reach.
    pub fn count_out_of_reach(&self, chat: ChatId, to: MailboxId) -> usize {
        let of_chat = self.composed.iter().filter(|(_, composed)| match composed.to {
            ChatId::Direct(account) => {
                let sender = composed.sender.account;
                account == to.account && chat == ChatId::Direct(sender)
                    || sender == to.account && chat == composed.to
            }
            group @ ChatId::Group(_) => group == chat,
        });
        let lost =
            of_chat.map(|(message, _)| *message).filter(|message| self.is_message_out_of_reach(*message, to));
        lost.map(|message| 1 + self.failures_of(message, to.address())).sum()
    }

    /// Where an envelope did not open, its place and the envelope are missed.
    fn failures_of(&self, message: MessageId, device: DeviceAddress) -> usize {
        let accepted = self.accepted.iter().filter(|accepted| accepted.message == Some(message));
        let envelopes: BTreeSet<EnvelopeId> = accepted.filter_map(|accepted| accepted.envelope).collect();
        let failures = self.failures.iter().filter(|failure| failure.device == device);
        failures.filter(|failure| envelopes.contains(&failure.envelope)).count()
    }

    /// The sender's device was removed, and the recipient heard of it before the envelope came; or it came first, from a
    /// device of which the recipient had not heard, and the list that it asked for has it no more.
    pub fn came_after_removal(&self, sender: DeviceAddress, envelope: EnvelopeId, to: MailboxId) -> bool {
        let row = self.rows.iter().find(|row| (row.envelope, row.mailbox) == (envelope, to));
        let (Some(row), Some(lists)) = (row, self.lists.get(&sender.account)) else { return false };
        let Some(life) = self.life(sender, row.when) else { return false };
        let listed: BTreeSet<u64> =
            lists.iter().filter(|list| list.holds.contains(&life)).map(|list| list.version).collect();
        let Some(last) = listed.last() else { return false };
        let heard_of = |is_meant: &dyn Fn(u64) -> bool| -> Option<Moment> {
            let log = SignedLog::DeviceList(sender.account);
            let told = self.reads.iter().chain(&self.answered);
            let told = told.filter(|told| (told.by, told.log) == (to.address(), log));
            told.filter(|told| is_meant(told.version)).map(|told| told.when).min()
        };
        let Some(removal) = heard_of(&|version| version > *last) else { return false };
        let came_later = self.stored.get(&(to, envelope)).is_some_and(|stored| removal < *stored);
        came_later || heard_of(&|version| listed.contains(&version)).is_none_or(|known| removal < known)
    }

    /// Sender or recipient was removed from the group before the key could be given, or given again after it was lost:
    /// a member and who is none do not send each other anything of the group.
    pub fn left_without_key(&self, sender: DeviceAddress, envelope: EnvelopeId, to: MailboxId) -> bool {
        let Some(sealed) = self.group_sealed.iter().find(|sealed| sealed.envelope == envelope) else {
            return false;
        };
        let Some(key) = sealed.key else { return false };
        let was_given = self
            .keys_given
            .iter()
            .any(|given| (given.group, given.key, given.by, given.to) == (sealed.group, key, sender, to));
        let is_kept =
            self.kept_back.iter().any(|(_, device, _, kept)| (*device, *kept) == (to.address(), envelope));
        let later = self.chains.get(&sealed.group).into_iter().flatten();
        let mut later = later.filter(|written| written.version > sealed.epoch);
        let both = [to.account, sender.account];
        (!was_given || is_kept)
            && later.any(|written| !both.iter().all(|account| written.holds.contains(account)))
    }
}
