//! The group log in memory.
//!
//! One lock is one transaction; a call that answers has happened, and a power cut takes nothing back.

use super::{Bug, Bugs, FakeClock, Faults, Setup, lock};
use crate::{
    GroupLog, StoreError,
    group_log::{AppendOperation, AppendOutcome, GroupHead, Membership, OperationId, StoredOperation},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};
use types::{AccountId, GroupId};

/// The fake. One instance is shared by all nodes of a world.
#[derive(Debug)]
pub struct FakeGroupLog {
    clock: FakeClock,
    faults: Faults,
    bugs: Bugs,
    log: Mutex<Log>,
    operations_read: AtomicUsize,
}

#[derive(Debug, Default)]
struct Log {
    poisoned: bool,
    chains: BTreeMap<GroupId, Chain>,
    undelivered: BTreeSet<(GroupId, u64)>,
}

#[derive(Debug, Default)]
struct Chain {
    /// By epoch; never empty.
    operations: Vec<StoredOperation>,
    members: BTreeMap<AccountId, Membership>,
}

impl FakeGroupLog {
    /// A log without groups.
    pub fn new(setup: &Setup) -> Self {
        Self {
            clock: setup.clock.clone(),
            faults: Faults::new(setup.plan.clone(), 4),
            bugs: setup.bugs.clone(),
            log: Mutex::default(),
            operations_read: AtomicUsize::new(0),
        }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The machine loses power and comes back: every answered write stays.
    pub fn power_cut(&self) {
        let log = &mut *lock(&self.log);
        log.poisoned = false;
        if self.bugs.has(Bug::DutyToDeliverForgotten) {
            log.undelivered.clear();
        }
    }

    /// The disk fails: every call answers so until [`FakeGroupLog::power_cut`].
    pub fn poison(&self) {
        lock(&self.log).poisoned = true;
    }

    /// How many operations were answered so far, with their bytes.
    pub fn operations_read(&self) -> usize {
        self.operations_read.load(Ordering::Relaxed)
    }

    /// Every group that exists.
    pub fn groups(&self) -> Vec<GroupId> {
        lock(&self.log).chains.keys().copied().collect()
    }

    /// A whole chain, by epoch; empty for a group that does not exist.
    pub fn chain(&self, group: GroupId) -> Vec<StoredOperation> {
        lock(&self.log).chains.get(&group).map(|chain| chain.operations.clone()).unwrap_or_default()
    }

    fn healthy(&self) -> Result<MutexGuard<'_, Log>, StoreError> {
        let log = lock(&self.log);
        match log.poisoned {
            true => Err(StoreError::Poisoned("an injected fault".to_owned())),
            false => Ok(log),
        }
    }

    async fn read<T>(&self, act: impl FnOnce(&Log) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(act(&*self.healthy()?))
    }

    async fn write<T>(&self, act: impl FnOnce(&mut Log) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        let answer = act(&mut *self.healthy()?);
        self.faults.after(&self.clock).await?;
        Ok(answer)
    }
}

impl Log {
    fn append(&mut self, new: AppendOperation, bugs: &Bugs) -> AppendOutcome {
        let chain = self.chains.get(&new.group);
        if let Some(chain) = chain {
            if !bugs.has(Bug::OperationTwice)
                && let Some(known) = chain.known(&new)
            {
                return AppendOutcome::Repeat { epoch: known.epoch, stamp: known.stamp };
            }
            let head = self.head_of(new.group, chain);
            let follows = new.expected == Some(head.head) && new.stamp > head.stamp;
            if !follows && !bugs.has(Bug::HeadNotCompared) {
                return AppendOutcome::Moved(head);
            }
        } else if new.expected.is_some() {
            return AppendOutcome::NoGroup;
        }
        let epoch = self.chains.entry(new.group).or_default().push(&new, bugs);
        self.undelivered.insert((new.group, epoch));
        AppendOutcome::Appended { epoch }
    }

    fn head_of(&self, group: GroupId, chain: &Chain) -> GroupHead {
        let newest = chain.operations.last().expect("a chain begins with its first operation");
        let delivered = !self.undelivered.contains(&(group, newest.epoch));
        GroupHead { epoch: newest.epoch, head: newest.hash, stamp: newest.stamp, delivered }
    }

    fn is_member(&self, group: GroupId, account: AccountId) -> bool {
        let membership = self.chains.get(&group).and_then(|chain| chain.members.get(&account));
        membership.is_some_and(|membership| membership.is_current())
    }
}

impl Chain {
    fn known(&self, new: &AppendOperation) -> Option<&StoredOperation> {
        self.operations.iter().find(|stored| stored.operation_id == new.operation_id)
    }

    fn push(&mut self, new: &AppendOperation, bugs: &Bugs) -> u64 {
        let epoch = self.operations.len() as u64;
        self.operations.push(StoredOperation {
            epoch,
            hash: new.hash,
            operation_id: new.operation_id,
            actor: new.actor,
            stamp: new.stamp,
            bytes: new.bytes.clone(),
        });
        for account in &new.joined {
            self.members.insert(*account, Membership { since: epoch, until: None });
        }
        for account in new.left.iter().filter(|_| !bugs.has(Bug::RemovedMemberStays)) {
            if let Some(membership) = self.members.get_mut(account) {
                membership.until = Some(epoch);
            }
        }
        epoch
    }
}

#[async_trait::async_trait]
impl GroupLog for FakeGroupLog {
    async fn append(&self, operation: AppendOperation) -> Result<AppendOutcome, StoreError> {
        self.write(|log| log.append(operation, &self.bugs)).await
    }

    async fn head(&self, group: GroupId) -> Result<Option<GroupHead>, StoreError> {
        self.read(|log| Some(log.head_of(group, log.chains.get(&group)?))).await
    }

    async fn operations(
        &self,
        group: GroupId,
        from_epoch: u64,
        limit: usize,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let read: Vec<_> = self
            .read(|log| {
                let chain = log.chains.get(&group).into_iter().flat_map(|chain| &chain.operations);
                chain.filter(|operation| operation.epoch >= from_epoch).take(limit).cloned().collect()
            })
            .await?;
        self.operations_read.fetch_add(read.len(), Ordering::Relaxed);
        Ok(read)
    }

    async fn find_operation(
        &self,
        group: GroupId,
        operation_id: OperationId,
    ) -> Result<Option<StoredOperation>, StoreError> {
        self.read(|log| {
            let chain = log.chains.get(&group)?;
            chain.operations.iter().find(|operation| operation.operation_id == operation_id).cloned()
        })
        .await
    }

    async fn membership(&self, group: GroupId, account: AccountId) -> Result<Option<Membership>, StoreError> {
        self.read(|log| log.chains.get(&group)?.members.get(&account).copied()).await
    }

    async fn groups_of(&self, account: AccountId) -> Result<Vec<GroupId>, StoreError> {
        self.read(|log| log.chains.keys().filter(|group| log.is_member(**group, account)).copied().collect())
            .await
    }

    async fn in_one_group(&self, one: AccountId, other: AccountId) -> Result<bool, StoreError> {
        self.read(|log| {
            log.chains.keys().any(|group| log.is_member(*group, one) && log.is_member(*group, other))
        })
        .await
    }

    async fn undelivered(&self, limit: usize) -> Result<Vec<(GroupId, StoredOperation)>, StoreError> {
        self.read(|log| {
            let operation = |(group, epoch): &(GroupId, u64)| {
                let chain = log.chains.get(group)?;
                Some((*group, chain.operations.get(usize::try_from(*epoch).ok()?)?.clone()))
            };
            log.undelivered.iter().filter_map(operation).take(limit).collect()
        })
        .await
    }

    async fn delivered(&self, group: GroupId, epoch: u64) -> Result<(), StoreError> {
        self.write(|log| {
            log.undelivered.remove(&(group, epoch));
        })
        .await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.healthy().map(drop)
    }
}
