//! The facts of a history, indexed once for every check.

use super::Terms;
use crate::history::{Deletion, Entry, Fact, HeldOperation, History, KeyKind, Line, ReceiptKind, SignedLog};
use std::collections::{BTreeMap, BTreeSet};
use types::{
    AccountId, ChatId, DeviceAddress, EnvelopeId, GroupId, MailboxId, MessageId, Millis, Position, Stamp,
};

/// When a fact became true: its place in the history, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub index: usize,
    pub at: Millis,
}

pub struct Composed {
    pub when: Moment,
    pub sender: DeviceAddress,
    pub to: ChatId,
    pub body: u128,
}

pub struct Accepted {
    pub when: Moment,
    pub envelope: Option<EnvelopeId>,
    pub message: Option<MessageId>,
    pub resend: bool,
    pub sender: DeviceAddress,
    pub to: Vec<MailboxId>,
    pub stamp: Stamp,
}

pub struct Row {
    pub when: Moment,
    pub envelope: EnvelopeId,
    pub mailbox: MailboxId,
    pub position: Position,
    pub stamp: Stamp,
    pub expires_at: Millis,
}

pub struct Sealed {
    pub when: Moment,
    pub message: Option<MessageId>,
    pub envelope: EnvelopeId,
    pub sender: DeviceAddress,
    pub to: MailboxId,
    pub step: Option<u128>,
    pub ciphertext: u128,
}

/// A session at a server.
pub struct Session {
    pub device: MailboxId,
    pub opened: Moment,
    pub ended: Option<Moment>,
}

/// What left a device for all members of a group.
pub struct GroupSealed {
    pub when: Moment,
    /// None for an operation.
    pub message: Option<MessageId>,
    pub envelope: EnvelopeId,
    pub group: GroupId,
    pub epoch: u64,
    pub sender: DeviceAddress,
    /// None for an operation.
    pub key: Option<u64>,
    pub step: Option<u128>,
    pub ciphertext: u128,
}

/// A sender key on its way to a device.
pub struct KeyGiven {
    pub when: Moment,
    pub group: GroupId,
    pub key: u64,
    pub by: DeviceAddress,
    pub to: MailboxId,
    pub epoch: u64,
}

/// What a device knows of a chain.
pub struct ChainHeld {
    pub when: Moment,
    pub operations: Vec<HeldOperation>,
    pub secret: bool,
}

/// A version of a device list, or an operation of a chain, as the store has it.
pub struct Written<T> {
    pub when: Moment,
    pub version: u64,
    pub digest: u128,
    /// The devices on the list, or the members after the operation.
    pub holds: BTreeSet<T>,
}

/// A device that was linked, by whom, and whether with the messages from before.
pub struct Linked {
    pub when: Moment,
    pub device: MailboxId,
    pub by: MailboxId,
    pub with_history: bool,
}

/// A device in the place of a lost primary, and what the backup showed.
pub struct Restored {
    pub when: Moment,
    pub device: MailboxId,
    pub former: MailboxId,
    pub messages: Vec<MessageId>,
}

/// A chat that was read on a device.
pub struct MarkedRead {
    pub when: Moment,
    pub device: DeviceAddress,
    pub chat: ChatId,
    pub up_to: Stamp,
}

/// A version that a device signed.
pub struct Signed {
    pub when: Moment,
    pub by: MailboxId,
    pub log: SignedLog,
    pub version: u64,
    pub digest: u128,
}

/// What a device was told of a device list or a chain.
pub struct Told {
    pub when: Moment,
    pub asked_at: Millis,
    pub by: DeviceAddress,
    pub log: SignedLog,
    pub version: u64,
    pub digest: u128,
}

pub struct Delivered {
    pub when: Moment,
    pub mailbox: MailboxId,
    pub envelope: EnvelopeId,
    pub position: Position,
    pub ciphertext: u128,
}

pub struct Failure {
    pub when: Moment,
    pub device: DeviceAddress,
    pub sender: DeviceAddress,
    pub envelope: EnvelopeId,
    pub failure: String,
}

pub struct Shown {
    pub when: Moment,
    pub device: DeviceAddress,
    pub message: MessageId,
    pub sender: DeviceAddress,
    pub stamp: Stamp,
    pub body: u128,
}

pub struct View {
    pub when: Moment,
    pub device: DeviceAddress,
    pub chat: ChatId,
    pub lines: Vec<Line>,
    pub gaps: u32,
}

pub struct Key {
    pub when: Moment,
    pub owner: MailboxId,
    pub requester: Option<MailboxId>,
    pub kind: KeyKind,
    pub id: u32,
    pub key: u128,
}

/// Everything that happened, by what the checks ask for.
#[derive(Default)]
pub struct Ledger {
    pub terms: Terms,
    pub end: Millis,
    pub faults_ended: Option<Moment>,
    pub opened: BTreeMap<MailboxId, Moment>,
    pub closed: BTreeMap<MailboxId, Moment>,
    /// Devices that were linked.
    pub linked: Vec<Linked>,
    /// Devices that took the places of lost primaries.
    pub restored: Vec<Restored>,
    /// Replaced devices with which somebody went on, and whether they were shut out.
    pub found: Vec<(Moment, MailboxId, bool)>,
    /// What was read, and where.
    pub marked_read: Vec<MarkedRead>,
    /// How far each device shows each chat as read in the end.
    pub read_up_to: BTreeMap<(DeviceAddress, ChatId), Stamp>,
    /// Whether the device was meant to run, from each moment on.
    presence: BTreeMap<DeviceAddress, Vec<(Moment, bool)>>,
    pub crashes: BTreeMap<DeviceAddress, Vec<Moment>>,
    pub sessions_lost: BTreeMap<DeviceAddress, Vec<Moment>>,
    /// Sessions at servers, by number.
    pub sessions: BTreeMap<u64, Session>,
    /// When servers could not ask which devices were removed.
    pub looks_failed: Vec<Moment>,
    pub composed: BTreeMap<MessageId, Composed>,
    pub refused: BTreeSet<MessageId>,
    pub sealed: Vec<Sealed>,
    pub group_sealed: Vec<GroupSealed>,
    pub keys_given: Vec<KeyGiven>,
    pub accepted: Vec<Accepted>,
    pub skipped: Vec<(Moment, EnvelopeId, Vec<MailboxId>)>,
    pub lists: BTreeMap<AccountId, Vec<Written<MailboxId>>>,
    pub chains: BTreeMap<GroupId, Vec<Written<AccountId>>>,
    /// What was signed, whatever came of it.
    pub signed: Vec<Signed>,
    /// Answers to what was signed.
    pub answered: Vec<Told>,
    /// Answers to questions.
    pub reads: Vec<Told>,
    pub rows: Vec<Row>,
    pub deleted: Vec<(Moment, MailboxId, Position, Deletion)>,
    pub inventory: BTreeMap<MailboxId, (Moment, BTreeSet<Position>)>,
    pub delivered: Vec<Delivered>,
    /// The first time that a device committed what an envelope brought.
    pub stored: BTreeMap<(MailboxId, EnvelopeId), Moment>,
    pub acked: Vec<(Moment, MailboxId, Position)>,
    pub failures: Vec<Failure>,
    pub quarantined: Vec<(Moment, DeviceAddress, EnvelopeId)>,
    pub shown: Vec<Shown>,
    /// The last view of each device of each chat.
    pub views: BTreeMap<(DeviceAddress, ChatId), View>,
    /// The last look at each device's copy of each chain.
    pub chains_held: BTreeMap<(DeviceAddress, GroupId), ChainHeld>,
    /// What devices keep back, with its senders.
    pub kept_back: Vec<(Moment, DeviceAddress, DeviceAddress, EnvelopeId)>,
    pub receipts: BTreeMap<(DeviceAddress, MessageId, AccountId, ReceiptKind), Moment>,
    pub uploaded: Vec<Key>,
    pub served: Vec<Key>,
    pub canaries_sought: u64,
    pub canaries_found: Vec<(Moment, String, String)>,
    pub resources: Vec<(Moment, String, u64, u64)>,
}

impl Ledger {
    pub fn new(history: &History, terms: Terms) -> Self {
        let mut ledger = Self { terms, end: history.end(), ..Self::default() };
        for (index, Entry { at_ms, fact }) in history.entries().iter().enumerate() {
            ledger.enter(Moment { index, at: Millis(*at_ms) }, fact);
        }
        ledger.address_group_sends();
        ledger
    }

    #[rustfmt::skip] // One arm for each fact: a table reads better than a page of braces.
    fn enter(&mut self, when: Moment, fact: &Fact) {
        match fact.clone() {
            Fact::Opened { mailbox } => { self.opened.entry(mailbox).or_insert(when); }
            Fact::Closed { mailbox } => { self.closed.entry(mailbox).or_insert(when); }
            Fact::Linked { device, by, with_history } =>
                self.linked.push(Linked { when, device, by, with_history }),
            Fact::Restored { device, former, messages } =>
                self.restored.push(Restored { when, device, former, messages }),
            Fact::Found { mailbox, is_shut_out } => self.found.push((when, mailbox, is_shut_out)),
            Fact::MarkedRead { device, chat, up_to } =>
                self.marked_read.push(MarkedRead { when, device, chat, up_to }),
            Fact::ReadUpTo { device, chat, up_to } => { self.read_up_to.insert((device, chat), up_to); }
            Fact::Online { device } => self.presence.entry(device).or_default().push((when, true)),
            Fact::Offline { device } => self.presence.entry(device).or_default().push((when, false)),
            Fact::Crashed { device } => self.crashes.entry(device).or_default().push(when),
            Fact::SessionsLost { device } => self.sessions_lost.entry(device).or_default().push(when),
            Fact::SessionOpened { session, device } => {
                self.sessions.insert(session, Session { device, opened: when, ended: None });
            }
            Fact::SessionEnded { session } => if let Some(session) = self.sessions.get_mut(&session) {
                session.ended.get_or_insert(when);
            },
            Fact::LookFailed => self.looks_failed.push(when),
            Fact::Composed { message, sender, to, body } => {
                self.composed.entry(message).or_insert(Composed { when, sender, to, body });
            }
            Fact::Readdressed { device, from, to } => self.readdress(device.account, from, to),
            Fact::Refused { message } => { self.refused.insert(message); }
            Fact::Sealed { envelope, message, sender, to, step, ciphertext } =>
                self.sealed.push(Sealed { when, message, envelope, sender, to, step, ciphertext }),
            Fact::Accepted { envelope, message, resend, sender, to, stamp } =>
                self.accepted.push(Accepted { when, envelope, message, resend, sender, to, stamp }),
            Fact::SealedForGroup { envelope, message, group, epoch, sender, key, step, ciphertext } =>
                self.group_sealed.push(
                    GroupSealed { when, message, envelope, group, epoch, sender, key, step, ciphertext }),
            Fact::SenderKeyGiven { group, key, by, to, epoch } =>
                self.keys_given.push(KeyGiven { when, group, key, by, to, epoch }),
            Fact::Skipped { envelope, mailboxes } => self.skipped.push((when, envelope, mailboxes)),
            Fact::ListWritten { account, version, digest, mailboxes } =>
                self.lists.entry(account).or_default()
                    .push(Written { when, version, digest, holds: mailboxes.into_iter().collect() }),
            Fact::ChainWritten { group, epoch, digest, members } =>
                self.chains.entry(group).or_default()
                    .push(Written { when, version: epoch, digest, holds: members.into_iter().collect() }),
            Fact::LogSigned { by, log, version, digest } =>
                self.signed.push(Signed { when, by, log, version, digest }),
            Fact::LogAnswered { by, log, version, digest, asked_at_ms } =>
                self.answered.push(Told { when, asked_at: Millis(asked_at_ms), by, log, version, digest }),
            Fact::LogRead { by, log, version, digest, asked_at_ms } =>
                self.reads.push(Told { when, asked_at: Millis(asked_at_ms), by, log, version, digest }),
            Fact::Row { envelope, mailbox, position, stamp, expires_at_ms } =>
                self.row(Row { when, envelope, mailbox, position, stamp, expires_at: Millis(expires_at_ms) }),
            Fact::Deleted { mailbox, position, cause } => self.deleted.push((when, mailbox, position, cause)),
            Fact::Inventory { mailbox, positions } => {
                self.inventory.insert(mailbox, (when, positions.into_iter().collect()));
            }
            Fact::Delivered { mailbox, envelope, position, ciphertext } =>
                self.delivered.push(Delivered { when, mailbox, envelope, position, ciphertext }),
            Fact::Stored { mailbox, envelope } => { self.stored.entry((mailbox, envelope)).or_insert(when); }
            Fact::Acked { mailbox, position } => self.acked.push((when, mailbox, position)),
            Fact::DecryptFailed { device, sender, envelope, failure } =>
                self.failures.push(Failure { when, device, sender, envelope, failure }),
            Fact::Quarantined { device, envelope } => self.quarantined.push((when, device, envelope)),
            Fact::Shown { device, message, sender, stamp, body } =>
                self.shown.push(Shown { when, device, message, sender, stamp, body }),
            Fact::View { device, chat, lines, gaps } => {
                self.views.insert((device, chat), View { when, device, chat, lines, gaps });
            }
            Fact::ChainHeld { device, group, operations, secret } => {
                self.chains_held.insert((device, group), ChainHeld { when, operations, secret });
            }
            Fact::KeptBack { device, sender, envelope } =>
                self.kept_back.push((when, device, sender, envelope)),
            Fact::Receipt { device, message, from, kind } => {
                self.receipts.entry((device, message, from, kind)).or_insert(when);
            }
            Fact::KeyUploaded { owner, kind, id, key } =>
                self.uploaded.push(Key { when, owner, requester: None, kind, id, key }),
            Fact::KeyServed { owner, requester, kind, id, key } =>
                self.served.push(Key { when, owner, requester: Some(requester), kind, id, key }),
            Fact::Fault { .. } => {}
            Fact::FaultsEnded => { self.faults_ended.get_or_insert(when); }
            Fact::CanariesSought { bytes } => self.canaries_sought += bytes,
            Fact::CanaryFound { canary, place } => self.canaries_found.push((when, canary, place)),
            Fact::Resource { owner, name, value, bound } =>
                self.resources.push((when, format!("{owner}: {name}"), value, bound)),
        }
    }

    fn readdress(&mut self, writer: AccountId, from: AccountId, to: AccountId) {
        let accepted: BTreeSet<_> = self.accepted.iter().filter_map(|accepted| accepted.message).collect();
        for (message, composed) in &mut self.composed {
            let is_theirs = composed.sender.account == writer && composed.to == ChatId::Direct(from);
            if is_theirs && !accepted.contains(message) && !self.refused.contains(message) {
                composed.to = ChatId::Direct(to);
            }
        }
    }

    /// A row that is at its old place again was deleted by an acknowledgement that a power cut took away.
    fn row(&mut self, row: Row) {
        let before = self.deleted.len();
        self.deleted.retain(|(_, mailbox, position, _)| (*mailbox, *position) != (row.mailbox, row.position));
        if self.deleted.len() == before {
            self.rows.push(row);
        }
    }

    /// A send to a group names no devices: those that got a row are the ones it was accepted for.
    fn address_group_sends(&mut self) {
        let of_group: BTreeSet<_> = self.group_sealed.iter().map(|sealed| sealed.envelope).collect();
        let mut rows: BTreeMap<EnvelopeId, Vec<MailboxId>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| of_group.contains(&row.envelope)) {
            rows.entry(row.envelope).or_default().push(row.mailbox);
        }
        for accepted in &mut self.accepted {
            if let Some(rows) = accepted.envelope.and_then(|envelope| rows.get(&envelope)) {
                accepted.to.clone_from(rows);
            }
        }
    }

    /// The members of a group after the operation at `epoch`; none if nobody saw it.
    pub fn members_at(&self, group: GroupId, epoch: u64) -> Option<&BTreeSet<AccountId>> {
        let chain = self.chains.get(&group)?;
        chain.iter().find(|written| written.version == epoch).map(|written| &written.holds)
    }

    /// Whether an account was a member where one of the envelopes of a message to a group was sealed.
    pub fn is_meant_for(&self, message: MessageId, group: GroupId, account: AccountId) -> bool {
        let mut sealings = self.group_sealed.iter().filter(|sealed| sealed.message == Some(message));
        sealings.any(|sealed| {
            self.members_at(group, sealed.epoch).is_none_or(|members| members.contains(&account))
        })
    }

    /// A closed account leaves nothing, not even the device list by which what is still under way could be verified.
    pub fn has_no_account(&self, sender: DeviceAddress) -> bool {
        self.devices_of(sender.account).next().is_none()
            && self.closed.keys().any(|mailbox| mailbox.address() == sender)
    }

    /// Whether everybody who ever was a member still has a device. A group's secret may be lost with who was to give it.
    pub fn all_are_there(&self, group: GroupId) -> bool {
        let ever = self.chains.get(&group).into_iter().flatten().flat_map(|written| &written.holds);
        ever.collect::<BTreeSet<_>>().into_iter().all(|account| self.devices_of(*account).next().is_some())
    }

    /// The envelope in which the operation at `epoch` is delivered; none if nobody saw it leave.
    pub fn envelope_of_operation(&self, group: GroupId, epoch: u64) -> Option<EnvelopeId> {
        let written = self.chains.get(&group)?.iter().find(|written| written.version == epoch)?;
        let is_it = |sealed: &&GroupSealed| sealed.message.is_none() && sealed.ciphertext == written.digest;
        self.group_sealed.iter().find(is_it).map(|sealed| sealed.envelope)
    }

    /// The devices that existed when something left its sender and still did when it was accepted.
    pub fn devices_between(
        &self,
        left: Moment,
        accepted: Moment,
        is_meant: impl Fn(MailboxId) -> bool,
    ) -> impl Iterator<Item = MailboxId> {
        let was_there = move |mailbox: &MailboxId, opened: &Moment| {
            is_meant(*mailbox)
                && *opened < left
                && self.closed.get(mailbox).is_none_or(|closed| *closed > accepted)
        };
        let all = self.opened.iter();
        all.filter(move |(mailbox, opened)| was_there(mailbox, opened)).map(|(mailbox, _)| *mailbox)
    }

    /// The accounts that a message is for, its sender's own among them, by the sender's view when it left.
    pub fn audience(&self, composed: &Composed, envelope: Option<EnvelopeId>) -> BTreeSet<AccountId> {
        let own = composed.sender.account;
        match composed.to {
            ChatId::Direct(account) => BTreeSet::from([account, own]),
            ChatId::Group(group) => {
                let sealed = self.group_sealed.iter().find(|sealed| Some(sealed.envelope) == envelope);
                let members = sealed.and_then(|sealed| self.members_at(group, sealed.epoch));
                members.cloned().unwrap_or_default()
            }
        }
    }

    /// Since when the device has been running without a pause until the end of the history.
    pub fn online_since(&self, device: DeviceAddress) -> Option<Moment> {
        let mut since = None;
        for (when, online) in self.presence.get(&device).into_iter().flatten() {
            since = if *online { since.or(Some(*when)) } else { None };
        }
        since
    }

    /// Which of the devices that had this address one after the other had it at that moment.
    pub fn life(&self, device: DeviceAddress, when: Moment) -> Option<MailboxId> {
        let lives =
            self.opened.iter().filter(|(mailbox, opened)| mailbox.address() == device && **opened <= when);
        lives.max_by_key(|(_, opened)| **opened).map(|(mailbox, _)| *mailbox)
    }

    /// Whether the device that had this address at that moment is gone at the end of the history.
    pub fn is_gone(&self, device: DeviceAddress, when: Moment) -> bool {
        self.life(device, when).is_some_and(|mailbox| self.closed.contains_key(&mailbox))
    }

    /// The devices of an account that exist at the end of the history.
    pub fn devices_of(&self, account: AccountId) -> impl Iterator<Item = MailboxId> {
        let open = self.opened.keys().filter(|mailbox| !self.closed.contains_key(*mailbox));
        open.copied().filter(move |mailbox| mailbox.account == account)
    }

    /// From when on a fact about these devices must have had its effect: after the faults, with all of
    /// them running, for at least the time that the run may take to settle. `None` if the history ends
    /// before, or a device is put away.
    pub fn due(&self, cause: Moment, devices: &[DeviceAddress]) -> Option<Millis> {
        let mut from = self.faults_ended?.at.max(cause.at);
        for device in devices {
            from = from.max(self.online_since(*device)?.at);
        }
        let due = Millis(from.0 + self.terms.settle_within.0);
        (due <= self.end).then_some(due)
    }

    /// When each envelope first left its sender.
    pub fn first_sealed(&self) -> BTreeMap<(DeviceAddress, EnvelopeId), Moment> {
        let mut first = BTreeMap::new();
        let pairwise = self.sealed.iter().map(|sealed| (sealed.sender, sealed.envelope, sealed.when));
        let of_groups = self.group_sealed.iter().map(|sealed| (sealed.sender, sealed.envelope, sealed.when));
        for (sender, envelope, when) in pairwise.chain(of_groups) {
            let first = first.entry((sender, envelope)).or_insert(when);
            *first = when.min(*first);
        }
        first
    }

    /// How many envelopes of the people of a chat to a device ended in its mailbox, their time over.
    pub fn expired(&self, chat: ChatId, to: DeviceAddress) -> usize {
        self.expired_where(chat, to, |row| row.mailbox.address() == to)
    }

    /// The same for envelopes of a time in which the device was not linked yet: they ended in the mailboxes of the
    /// devices from which it has its history.
    pub fn expired_before(&self, chat: ChatId, to: DeviceAddress) -> usize {
        let Some((mailbox, opened)) = self.last_life(to) else { return 0 };
        self.expired_where(chat, to, |row| {
            row.mailbox.account == to.account && row.mailbox != mailbox && row.when < opened
        })
    }

    fn expired_where(&self, chat: ChatId, to: DeviceAddress, is_meant: impl Fn(&Row) -> bool) -> usize {
        let ended = |row: &&Row| is_meant(row) && self.has_ended(row);
        let is_one_of_them = |account: AccountId| match chat {
            ChatId::Direct(other) => account == other || account == to.account,
            ChatId::Group(_) => true,
        };
        let from_them = |row: &&Row| {
            let pairwise = self.sealed.iter().map(|sealed| (sealed.envelope, sealed.sender));
            let of_groups = self.group_sealed.iter().map(|sealed| (sealed.envelope, sealed.sender));
            pairwise
                .chain(of_groups)
                .any(|(envelope, sender)| envelope == row.envelope && is_one_of_them(sender.account))
        };
        self.rows.iter().filter(ended).filter(from_them).count()
    }

    /// The last device that had this address, and since when.
    pub fn last_life(&self, device: DeviceAddress) -> Option<(MailboxId, Moment)> {
        let mailbox = self.life(device, Moment { index: usize::MAX, at: self.end })?;
        Some((mailbox, *self.opened.get(&mailbox)?))
    }

    /// Whether a row's time was over before its device had committed it.
    pub fn has_ended(&self, row: &Row) -> bool {
        row.expires_at.0 <= self.end.0 + self.terms.clock_skew.0
            && !self.stored.contains_key(&(row.mailbox, row.envelope))
    }

    /// The lowest stamp that the sender was told for a message: the one that counts.
    pub fn stamps(&self) -> BTreeMap<MessageId, Stamp> {
        let mut stamps = BTreeMap::new();
        for accepted in self.accepted.iter().filter(|accepted| !accepted.resend) {
            let Some(message) = accepted.message else { continue };
            let lowest = stamps.entry(message).or_insert(accepted.stamp);
            *lowest = accepted.stamp.min(*lowest);
        }
        stamps
    }
}
