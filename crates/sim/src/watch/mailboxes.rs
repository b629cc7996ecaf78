//! The mailboxes, watched: every row that appears or goes is a fact.
//!
//! What changed is found by comparing the rows before and after, not by believing the answers: an
//! append whose answer is an error may have written, and one that was dropped with its node, too.

use crate::{chronicle::Chronicle, plan::NODE_SKEW_MS_MAX};
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
use types::{EnvelopeId, MailboxId, Millis, NodeId, Position, Timestamp};
use wire::Envelope;

/// The fake behind a watch. All nodes of a simulation share one.
pub struct WatchedMailboxes {
    store: Arc<FakeMailboxes>,
    chronicle: Chronicle,
    /// Rows that are there, and when each ends.
    known: Mutex<BTreeMap<(MailboxId, Position), Timestamp>>,
}

impl WatchedMailboxes {
    /// Watches a store that is empty.
    pub fn new(store: Arc<FakeMailboxes>, chronicle: Chronicle) -> Self {
        Self { store, chronicle, known: Mutex::default() }
    }

    /// Writes down what changed since the last look. A row that went before its end, and not in a call
    /// that lets rows expire, was acknowledged, as far as anybody can tell.
    pub fn look(&self, rows_expire: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let open: BTreeSet<_> = self.store.open_mailboxes().into_iter().collect();
        let mut now = BTreeSet::new();
        for (mailbox, position, row) in self.store.rows() {
            now.insert((mailbox, position));
            if known.contains_key(&(mailbox, position)) {
                continue;
            }
            self.chronicle.server_has("a row", &row.envelope());
            let Ok(envelope) = Envelope::decode(row.envelope()) else { continue };
            known.insert((mailbox, position), row.expires_at);
            self.chronicle.record(Fact::Row {
                envelope: envelope.envelope_id,
                mailbox,
                position,
                stamp: envelope.stamp,
                expires_at_ms: self.chronicle.since_start(row.expires_at).0,
            });
        }
        for ((mailbox, position), ends) in known.extract_if(.., |place, _| !now.contains(place)) {
            let is_over = ends <= self.chronicle.now() + Millis(NODE_SKEW_MS_MAX.into());
            let cause = match (open.contains(&mailbox), rows_expire || is_over) {
                (false, _) => Deletion::Closed,
                (true, true) => Deletion::Expired,
                (true, false) => Deletion::Acked,
            };
            self.chronicle.record(Fact::Deleted { mailbox, position, cause });
        }
    }

    /// Writes down what every open mailbox holds.
    pub fn take_inventory(&self) {
        self.look(false);
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
        self.look(false);
        let result = self.store.append(append).await;
        self.look(false);
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
        self.look(false);
        page
    }

    async fn ack(&self, mailbox: MailboxId, positions: &[Position]) -> Result<(), StoreError> {
        self.look(false);
        let result = self.store.ack(mailbox, positions).await;
        self.look(false);
        result
    }

    async fn open(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.store.open(mailbox).await
    }

    async fn close(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.look(false);
        let result = self.store.close(mailbox).await;
        self.look(false);
        result
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.look(false);
        let result = self.store.expire(now).await;
        self.look(true);
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
