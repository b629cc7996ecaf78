//! The fakes behind the ports of every node of a world.

use crate::{
    bugs::Planted,
    chronicle::Chronicle,
    plan::Plan,
    watch::{WatchedDirectory, WatchedGroupLog, WatchedMailboxes},
};
use server_core::Ports;
use server_ports::fake::{
    FakeBlobs, FakeDirectory, FakeEntropy, FakeExchange, FakeGroupLog, FakeMailboxes, FakePusher, FakeTexter,
    FaultPlan, Setup,
};
use std::sync::Arc;

/// The fakes behind the ports, whose faults begin and end.
pub(super) struct Stores {
    pub(super) mailboxes: Arc<FakeMailboxes>,
    pub(super) watched: Arc<WatchedMailboxes>,
    pub(super) directory: Arc<FakeDirectory>,
    pub(super) groups: Arc<FakeGroupLog>,
    pub(super) blobs: Arc<FakeBlobs>,
    pub(super) exchange: Arc<FakeExchange>,
}

impl Stores {
    pub(super) fn new(plan: &Plan, setup: &Setup, chronicle: &Chronicle) -> Self {
        let mailboxes = Arc::new(FakeMailboxes::new(plan.mode, setup));
        Self {
            watched: Arc::new(WatchedMailboxes::new(mailboxes.clone(), chronicle.clone())),
            mailboxes,
            directory: Arc::new(FakeDirectory::new(setup)),
            groups: Arc::new(FakeGroupLog::new(setup)),
            blobs: Arc::new(FakeBlobs::new(setup)),
            exchange: Arc::new(FakeExchange::new(setup)),
        }
    }

    pub(super) fn ports(
        &self,
        setup: &Setup,
        texter: &Arc<FakeTexter>,
        chronicle: &Chronicle,
        plan: &Plan,
        planted: &Planted,
    ) -> Ports {
        let directory = WatchedDirectory::new(self.directory.clone(), chronicle.clone());
        let groups = WatchedGroupLog::new(self.groups.clone(), chronicle.clone());
        Ports {
            directory: Arc::new(if planted.accounts_cached { directory.with_cache() } else { directory }),
            groups: Arc::new(if planted.heads_cached { groups.with_cache() } else { groups }),
            blobs: self.blobs.clone(),
            mailboxes: self.watched.clone(),
            exchange: self.exchange.clone(),
            pusher: Arc::new(FakePusher::new()),
            texter: texter.clone(),
            clock: Arc::new(setup.clock.clone()),
            entropy: Arc::new(FakeEntropy::new(plan.seed)),
        }
    }

    /// From now on this breaks in them.
    pub(super) fn set_faults(&self, faults: &FaultPlan) {
        self.mailboxes.faults().set(faults.clone());
        self.directory.faults().set(faults.clone());
        self.groups.faults().set(faults.clone());
        self.blobs.faults().set(faults.clone());
        self.exchange.faults().set(faults.clone());
    }
}
