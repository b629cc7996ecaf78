//! The group log, watched: every operation that becomes durable is a fact, with the members after it.

use crate::chronicle::{Chronicle, digest_of};
use server_ports::{
    GroupLog, StoreError,
    fake::FakeGroupLog,
    group_log::{AppendOperation, AppendOutcome, GroupHead, Membership, OperationId, StoredOperation},
};
use signed::{GroupState, SignedOperation};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use testkit::history::Fact;
use types::{AccountId, GroupId};

/// The fake behind a watch. All nodes of a simulation share one.
pub struct WatchedGroupLog {
    store: Arc<FakeGroupLog>,
    chronicle: Chronicle,
    /// Where each chain stood at the last look.
    known: Mutex<BTreeMap<GroupId, (usize, Option<GroupState>)>>,
    /// A planted mistake: heads as they were seen first.
    cache: Option<Mutex<BTreeMap<GroupId, GroupHead>>>,
}

impl WatchedGroupLog {
    /// Watches a log that is empty.
    pub fn new(store: Arc<FakeGroupLog>, chronicle: Chronicle) -> Self {
        Self { store, chronicle, known: Mutex::default(), cache: None }
    }

    /// Plants a mistake: a head that was seen is never looked at again.
    pub fn with_cache(self) -> Self {
        Self { cache: Some(Mutex::default()), ..self }
    }

    fn cached(&self, group: GroupId, head: Option<GroupHead>) -> Option<GroupHead> {
        let (Some(cache), Some(head)) = (&self.cache, head) else { return head };
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        // What is delivered is not forgotten: nothing would ever be sent.
        let first = *cache.entry(group).or_insert(head);
        Some(GroupHead { delivered: head.delivered, ..first })
    }

    /// Writes down what was appended since the last look, whatever its answer was. The members are replayed
    /// from the operations, not taken from the log.
    fn look(&self, group: GroupId) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, state) = known.entry(group).or_default();
        for stored in self.store.chain(group).into_iter().skip(*seen) {
            *seen += 1;
            let operation = SignedOperation::verify(&stored.bytes).ok();
            let next = operation.and_then(|operation| match state.as_ref() {
                None => GroupState::found(&operation).ok(),
                Some(state) => state.apply(&operation).ok(),
            });
            let members = next.iter().flat_map(|state| state.members().keys().copied()).collect();
            let digest = digest_of(&stored.bytes);
            self.chronicle.record(Fact::ChainWritten { group, epoch: stored.epoch, digest, members });
            *state = next;
        }
    }
}

#[async_trait::async_trait]
impl GroupLog for WatchedGroupLog {
    async fn append(&self, operation: AppendOperation) -> Result<AppendOutcome, StoreError> {
        let group = operation.group;
        self.look(group);
        let result = self.store.append(operation).await;
        self.look(group);
        result
    }

    async fn head(&self, group: GroupId) -> Result<Option<GroupHead>, StoreError> {
        let head = self.store.head(group).await;
        self.look(group);
        head.map(|head| self.cached(group, head))
    }

    async fn operations(
        &self,
        group: GroupId,
        from_epoch: u64,
        limit: usize,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let operations = self.store.operations(group, from_epoch, limit).await;
        self.look(group);
        operations
    }

    async fn find_operation(
        &self,
        group: GroupId,
        operation_id: OperationId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.store.find_operation(group, operation_id).await
    }

    async fn membership(&self, group: GroupId, account: AccountId) -> Result<Option<Membership>, StoreError> {
        self.store.membership(group, account).await
    }

    async fn groups_of(&self, account: AccountId) -> Result<Vec<GroupId>, StoreError> {
        self.store.groups_of(account).await
    }

    async fn in_one_group(&self, one: AccountId, other: AccountId) -> Result<bool, StoreError> {
        self.store.in_one_group(one, other).await
    }

    async fn undelivered(&self, limit: usize) -> Result<Vec<(GroupId, StoredOperation)>, StoreError> {
        self.store.undelivered(limit).await
    }

    async fn delivered(&self, group: GroupId, epoch: u64) -> Result<(), StoreError> {
        self.store.delivered(group, epoch).await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.store.health()
    }
}
