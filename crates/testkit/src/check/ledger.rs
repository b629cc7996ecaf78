//! The facts of a history, indexed once for every check.

use super::Terms;
use crate::history::{Deletion, Entry, Fact, History, KeyKind, Line, ReceiptKind};
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, DeviceAddress, EnvelopeId, MailboxId, MessageId, Millis, Position, Stamp};

/// When a fact became true: its place in the history, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub index: usize,
    pub at: Millis,
}

pub struct Composed {
    pub when: Moment,
    pub sender: DeviceAddress,
    pub to: AccountId,
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
    pub chat: AccountId,
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
    /// Whether the device was meant to run, from each moment on.
    presence: BTreeMap<DeviceAddress, Vec<(Moment, bool)>>,
    pub crashes: BTreeMap<DeviceAddress, Vec<Moment>>,
    pub sessions_lost: BTreeMap<DeviceAddress, Vec<Moment>>,
    pub composed: BTreeMap<MessageId, Composed>,
    pub refused: BTreeSet<MessageId>,
    pub sealed: Vec<Sealed>,
    pub accepted: Vec<Accepted>,
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
    pub views: BTreeMap<(DeviceAddress, AccountId), View>,
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
        ledger
    }

    #[rustfmt::skip] // One arm for each fact: a table reads better than a page of braces.
    fn enter(&mut self, when: Moment, fact: &Fact) {
        match fact.clone() {
            Fact::Opened { mailbox } => { self.opened.entry(mailbox).or_insert(when); }
            Fact::Closed { mailbox } => { self.closed.entry(mailbox).or_insert(when); }
            Fact::Online { device } => self.presence.entry(device).or_default().push((when, true)),
            Fact::Offline { device } => self.presence.entry(device).or_default().push((when, false)),
            Fact::Crashed { device } => self.crashes.entry(device).or_default().push(when),
            Fact::SessionsLost { device } => self.sessions_lost.entry(device).or_default().push(when),
            Fact::Composed { message, sender, to, body } => {
                self.composed.entry(message).or_insert(Composed { when, sender, to, body });
            }
            Fact::Refused { message } => { self.refused.insert(message); }
            Fact::Sealed { envelope, message, sender, to, step, ciphertext } =>
                self.sealed.push(Sealed { when, message, envelope, sender, to, step, ciphertext }),
            Fact::Accepted { envelope, message, resend, sender, to, stamp } =>
                self.accepted.push(Accepted { when, envelope, message, resend, sender, to, stamp }),
            Fact::Row { envelope, mailbox, position, stamp: _, expires_at_ms } =>
                self.row(Row { when, envelope, mailbox, position, expires_at: Millis(expires_at_ms) }),
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

    /// A row that is at its old place again was deleted by an acknowledgement that a power cut took away.
    fn row(&mut self, row: Row) {
        let before = self.deleted.len();
        self.deleted.retain(|(_, mailbox, position, _)| (*mailbox, *position) != (row.mailbox, row.position));
        if self.deleted.len() == before {
            self.rows.push(row);
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
        for sealed in &self.sealed {
            first.entry((sealed.sender, sealed.envelope)).or_insert(sealed.when);
        }
        first
    }

    /// How many envelopes from an account to a device ended in its mailbox, their time over.
    pub fn expired(&self, from: AccountId, to: DeviceAddress) -> usize {
        let ended = |row: &&Row| row.mailbox.address() == to && self.has_ended(row);
        let from_them = |row: &&Row| {
            self.sealed.iter().any(|sealed| sealed.envelope == row.envelope && sealed.sender.account == from)
        };
        self.rows.iter().filter(ended).filter(from_them).count()
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
