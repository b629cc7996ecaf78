//! The directory in memory.
//!
//! One lock is one transaction; a call that answers has happened, and a power cut takes nothing back.

mod accounts;
mod links;
mod prekeys;
mod registrations;

use super::{Bug, Bugs, FakeClock, Faults, Setup, lock};
use crate::{
    Directory, StoreError,
    directory::{ServiceIdentity, SessionId},
};
use accounts::StoredAccount;
use links::StoredLink;
use prekeys::StoredKeys;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use registrations::StoredSession;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use types::{AccountId, IncarnationId, LinkId, MailboxId, PhoneNumber, Redact, Timestamp};

/// The fake. One instance is shared by all nodes of a world.
#[derive(Debug)]
pub struct FakeDirectory {
    clock: FakeClock,
    faults: Faults,
    bugs: Bugs,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    poisoned: bool,
    identity: ServiceIdentity,
    accounts: BTreeMap<AccountId, StoredAccount>,
    /// The open accounts by number.
    numbers: BTreeMap<PhoneNumber, AccountId>,
    /// Devices that lost their record, and when they were retired.
    retiring: BTreeMap<MailboxId, Option<Timestamp>>,
    /// Keys of the listed devices.
    keys: BTreeMap<MailboxId, StoredKeys>,
    sessions: BTreeMap<SessionId, StoredSession>,
    links: BTreeMap<LinkId, StoredLink>,
}

impl FakeDirectory {
    /// An empty directory, whose identity comes from the plan's seed.
    pub fn new(setup: &Setup) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(setup.plan.seed);
        let incarnation = IncarnationId::random(&mut rng);
        let mut pepper = [0; 32];
        rng.fill_bytes(&mut pepper);
        let tables = Tables {
            poisoned: false,
            identity: ServiceIdentity { incarnation, pepper: Redact::new(pepper) },
            accounts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            retiring: BTreeMap::new(),
            keys: BTreeMap::new(),
            sessions: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        Self {
            clock: setup.clock.clone(),
            faults: Faults::new(setup.plan.clone(), 1),
            bugs: setup.bugs.clone(),
            tables: Mutex::new(tables),
        }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The machine loses power and comes back: every answered write stays.
    pub fn power_cut(&self) {
        let mut tables = lock(&self.tables);
        tables.poisoned = false;
        if self.bugs.has(Bug::RetiringForgotten) {
            tables.retiring.retain(|_, retired| retired.is_some());
        }
    }

    /// The disk fails: every call answers so until [`FakeDirectory::power_cut`].
    pub fn poison(&self) {
        lock(&self.tables).poisoned = true;
    }

    fn healthy(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        let tables = lock(&self.tables);
        match tables.poisoned {
            true => Err(StoreError::Poisoned("an injected fault".to_owned())),
            false => Ok(tables),
        }
    }

    async fn read<T>(&self, act: impl FnOnce(&Tables) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(act(&*self.healthy()?))
    }

    async fn write<T>(&self, act: impl FnOnce(&mut Tables) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        let answer = act(&mut *self.healthy()?);
        self.faults.after(&self.clock).await?;
        Ok(answer)
    }

    fn makes(&self, bug: Bug) -> bool {
        self.bugs.has(bug)
    }
}

#[async_trait::async_trait]
impl Directory for FakeDirectory {
    async fn service(&self) -> Result<ServiceIdentity, StoreError> {
        self.read(|tables| tables.identity.clone()).await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.healthy().map(drop)
    }
}
