//! The exchange of a service that is one process.
//!
//! Invariants: signals are handed over within the call, so they are in order and none is lost; the
//! lock is not held meanwhile, because a node may call the exchange from its inbox.

use super::quota::Quotas;
use server_ports::{
    Exchange, NodeInbox, Signal, StoreError,
    exchange::{Route, Spend, SpendOutcome},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use types::{MailboxId, NodeId};
use wire::Code;

/// Locks of the routing table, so that cores rarely meet.
const SHARDS: usize = 64;

/// The adapter.
pub struct LocalExchange {
    inboxes: RwLock<BTreeMap<NodeId, Arc<dyn NodeInbox>>>,
    routes: [Mutex<HashMap<MailboxId, Route>>; SHARDS],
    quotas: Mutex<Quotas>,
}

impl LocalExchange {
    /// Nobody is connected yet.
    pub fn new() -> Self {
        Self {
            inboxes: RwLock::default(),
            routes: std::array::from_fn(|_| Mutex::default()),
            quotas: Mutex::default(),
        }
    }

    fn shard(&self, device: MailboxId) -> MutexGuard<'_, HashMap<MailboxId, Route>> {
        // Account ids are hashes: any byte spreads evenly.
        let shard = usize::from(device.account.as_bytes()[0]) % SHARDS;
        self.routes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, route: Route, signal: Signal) {
        let inbox = {
            let inboxes = self.inboxes.read().unwrap_or_else(PoisonError::into_inner);
            inboxes.get(&route.node).cloned()
        };
        if let Some(inbox) = inbox {
            inbox.deliver(route.device, route.connection, signal);
        }
    }
}

impl Default for LocalExchange {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Exchange for LocalExchange {
    fn subscribe(&self, node: NodeId, inbox: Arc<dyn NodeInbox>) {
        self.inboxes.write().unwrap_or_else(PoisonError::into_inner).insert(node, inbox);
    }

    async fn claim(&self, route: Route) -> Result<(), StoreError> {
        let loser = {
            let mut routes = self.shard(route.device);
            match routes.get(&route.device).copied() {
                Some(holder) if holder.connection > route.connection => Some(route),
                Some(holder) if holder.connection == route.connection => None,
                holder => {
                    routes.insert(route.device, route);
                    holder
                }
            }
        };
        if let Some(loser) = loser {
            self.deliver(loser, Signal::Ended(Code::Replaced));
        }
        Ok(())
    }

    async fn release(&self, route: Route) -> Result<(), StoreError> {
        let mut routes = self.shard(route.device);
        if routes.get(&route.device).is_some_and(|holder| holder.connection == route.connection) {
            routes.remove(&route.device);
        }
        Ok(())
    }

    async fn signal(&self, device: MailboxId, signal: Signal) -> Result<bool, StoreError> {
        let route = self.shard(device).get(&device).copied();
        if let Some(route) = route {
            self.deliver(route, signal);
        }
        Ok(route.is_some())
    }

    fn tell(&self, node: NodeId, device: MailboxId, signal: Signal) {
        self.deliver(Route { device, node, connection: 0 }, signal);
    }

    async fn spend(&self, spend: Spend) -> Result<SpendOutcome, StoreError> {
        Ok(self.quotas.lock().unwrap_or_else(PoisonError::into_inner).spend(&spend))
    }
}
