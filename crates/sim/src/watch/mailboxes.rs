//! The mailboxes, watched: every row that appears or goes is a fact.
//!
//! What changed is found by comparing the rows before and after, not by believing the answers: an
//! append whose answer is an error may have written, and one that was dropped with its node, too.

use crate::chronicle::Chronicle;
use server_ports::{
    Mailboxes, StoreError,
    fake::FakeMailboxes,
    mailboxes::{Append, AppendError, Appended, Page, PageLimit, RecordedSend},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};
use testkit::history::{Deletion, Fact};
use types::{EnvelopeId, MailboxId, NodeId, Position, Timestamp};
use wire::Envelope;

/// The fake behind a watch. All nodes of a simulation share one.
pub struct WatchedMailboxes {
    store: Arc<FakeMailboxes>,
    chronicle: Chronicle,
    /// Rows that were there at the last look.
    known: Mutex<BTreeSet<(MailboxId, Position)>>,
    /// Rows that were named by an acknowledgement.
    acked: Mutex<BTreeSet<(MailboxId, Position)>>,
}

impl WatchedMailboxes {
    /// Watches a store that is empty.
    pub fn new(store: Arc<FakeMailboxes>, chronicle: Chronicle) -> Self {
        Self { store, chronicle, known: Mutex::default(), acked: Mutex::default() }
    }

    /// Writes down what changed since the last look. A row went because its mailbox was closed, because
    /// somebody had acknowledged it, or else by itself.
    pub fn look(&self) {
        self.look_for(false);
    }

    /// The same directly after an acknowledgement: what went now went with it, whatever it named.
    fn look_after_ack(&self) {
        self.look_for(true);
    }

    fn look_for(&self, after_ack: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let open: BTreeSet<_> = self.store.open_mailboxes().into_iter().collect();
        let mut now = BTreeSet::new();
        for (mailbox, position, row) in self.store.rows() {
            now.insert((mailbox, position));
            if known.contains(&(mailbox, position)) {
                continue;
            }
            self.chronicle.server_has("a row", &row.envelope());
            let Ok(envelope) = Envelope::decode(row.envelope()) else { continue };
            known.insert((mailbox, position));
            self.chronicle.record(Fact::Row {
                envelope: envelope.envelope_id,
                mailbox,
                position,
                stamp: envelope.stamp,
                expires_at_ms: self.chronicle.since_start(row.expires_at).0,
            });
        }
        let gone = known.extract_if(.., |place| !now.contains(place));
        for (mailbox, position) in gone {
            let acked = after_ack
                || self.acked.lock().unwrap_or_else(PoisonError::into_inner).contains(&(mailbox, position));
            let cause = match (open.contains(&mailbox), acked) {
                (false, _) => Deletion::Closed,
                (true, true) => Deletion::Acked,
                (true, false) => Deletion::Expired,
            };
            self.chronicle.record(Fact::Deleted { mailbox, position, cause });
        }
    }

    /// Writes down what every open mailbox holds.
    pub fn take_inventory(&self) {
        self.look();
        let mut positions: BTreeMap<MailboxId, Vec<Position>> =
            self.store.open_mailboxes().into_iter().map(|mailbox| (mailbox, Vec::new())).collect();
        for (mailbox, position, _) in self.store.rows() {
            positions.entry(mailbox).or_default().push(position);
        }
        for (mailbox, positions) in positions {
            self.chronicle.record(Fact::Inventory { mailbox, positions });
        }
    }
}

#[async_trait::async_trait]
impl Mailboxes for WatchedMailboxes {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.look();
        let result = self.store.append(append).await;
        self.look();
        result
    }

    async fn recorded(
        &self,
        sender: MailboxId,
        envelope_id: EnvelopeId,
    ) -> Result<Option<RecordedSend>, StoreError> {
        self.store.recorded(sender, envelope_id).await
    }

    async fn read(&self, mailbox: MailboxId, after: Position, limit: PageLimit) -> Result<Page, StoreError> {
        let page = self.store.read(mailbox, after, limit).await;
        self.look();
        page
    }

    async fn ack(&self, mailbox: MailboxId, positions: &[Position]) -> Result<(), StoreError> {
        self.look();
        let named = positions.iter().map(|position| (mailbox, *position));
        self.acked.lock().unwrap_or_else(PoisonError::into_inner).extend(named);
        let result = self.store.ack(mailbox, positions).await;
        self.look_after_ack();
        result
    }

    async fn open(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.store.open(mailbox).await
    }

    async fn close(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.look();
        let result = self.store.close(mailbox).await;
        self.look();
        result
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.look();
        let result = self.store.expire(now).await;
        self.look();
        result
    }

    async fn reserve_stamps(&self, node: NodeId, clock: u64) -> Result<(), StoreError> {
        self.store.reserve_stamps(node, clock).await
    }

    async fn reserved_stamps(&self, node: NodeId) -> Result<u64, StoreError> {
        self.store.reserved_stamps(node).await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.store.health()
    }
}
