//! The exchange within one process: routes, signals, quota counters, all in memory.
//!
//! Signals are function calls into the node's inbox. Counters are bounded: when there are too many, those
//! whose window has passed are dropped, and beyond that new subjects are refused until some have passed, so
//! that a flood of subjects opens no limit.

use server_ports::{
    Exchange, NodeInbox, Signal, StoreError,
    exchange::{Route, Spend, SpendOutcome},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};
use types::{MailboxId, Millis, NodeId, Timestamp};
use wire::Code;

/// Locks of the route map: sends to different devices rarely meet.
const STRIPES: usize = 16;
/// Subjects that are counted at once; about 150 bytes each.
const SUBJECTS_MAX: usize = 200_000;
/// A window is counted in this many parts, so that a counter's size does not grow with its limit.
const PARTS: u64 = 16;

/// Soft state of a service that is one process.
#[derive(Default)]
pub struct LocalExchange {
    inboxes: RwLock<HashMap<NodeId, Arc<dyn NodeInbox>>>,
    routes: [Mutex<HashMap<MailboxId, Route>>; STRIPES],
    counters: Mutex<HashMap<(&'static str, [u8; 32]), Counter>>,
}

/// What was spent lately, oldest first.
#[derive(Default)]
struct Counter {
    parts: VecDeque<Part>,
    window: Millis,
}

/// What was spent within one part of a window. All of it counts until the last of it has passed.
struct Part {
    began: Timestamp,
    last: Timestamp,
    amount: u32,
}

impl LocalExchange {
    /// An empty exchange.
    pub fn new() -> Self {
        Self::default()
    }

    fn stripe(&self, device: MailboxId) -> MutexGuard<'_, HashMap<MailboxId, Route>> {
        let byte = usize::from(device.account.as_bytes()[0]);
        lock(&self.routes[byte % STRIPES])
    }

    fn tell(&self, route: Route, signal: Signal) {
        let inbox = {
            let inboxes = self.inboxes.read().unwrap_or_else(PoisonError::into_inner);
            inboxes.get(&route.node).cloned()
        };
        if let Some(inbox) = inbox {
            inbox.deliver(route.device, route.connection, signal);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait::async_trait]
impl Exchange for LocalExchange {
    fn subscribe(&self, node: NodeId, inbox: Arc<dyn NodeInbox>) {
        self.inboxes.write().unwrap_or_else(PoisonError::into_inner).insert(node, inbox);
    }

    async fn claim(&self, route: Route) -> Result<(), StoreError> {
        let loser = {
            let mut routes = self.stripe(route.device);
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
            self.tell(loser, Signal::Ended(Code::Replaced));
        }
        Ok(())
    }

    async fn release(&self, route: Route) -> Result<(), StoreError> {
        let mut routes = self.stripe(route.device);
        if routes.get(&route.device).is_some_and(|holder| holder.connection == route.connection) {
            routes.remove(&route.device);
        }
        Ok(())
    }

    async fn signal(&self, device: MailboxId, signal: Signal) -> Result<bool, StoreError> {
        let route = self.stripe(device).get(&device).copied();
        if let Some(route) = route {
            self.tell(route, signal);
        }
        Ok(route.is_some())
    }

    async fn spend(&self, spend: Spend) -> Result<SpendOutcome, StoreError> {
        let mut counters = lock(&self.counters);
        let key = (spend.quota, spend.subject);
        if counters.len() >= SUBJECTS_MAX && !counters.contains_key(&key) {
            counters.retain(|_, counter| !counter.has_passed(spend.now));
            if counters.len() >= SUBJECTS_MAX {
                return Ok(SpendOutcome::RetryAfter(spend.window));
            }
        }
        Ok(counters.entry(key).or_default().spend(spend))
    }
}

impl Counter {
    fn spend(&mut self, spend: Spend) -> SpendOutcome {
        self.window = spend.window;
        while self.parts.front().is_some_and(|part| part.last + spend.window <= spend.now) {
            self.parts.pop_front();
        }
        let used: u64 = self.parts.iter().map(|part| u64::from(part.amount)).sum();
        // With nothing to spend, the answer is the one that 1 would get.
        let asked = u64::from(spend.amount.max(1));
        let over = (used + asked).saturating_sub(u64::from(spend.limit));
        if over > 0 {
            return SpendOutcome::RetryAfter(self.until_freed(over, spend));
        }
        if spend.amount > 0 {
            self.note(spend);
        }
        SpendOutcome::Allowed
    }

    fn note(&mut self, spend: Spend) {
        let part_length = Millis(spend.window.0 / PARTS);
        match self.parts.back_mut() {
            Some(part) if spend.now.since(part.began) < part_length => {
                part.last = part.last.max(spend.now);
                part.amount = part.amount.saturating_add(spend.amount);
            }
            _ => self.parts.push_back(Part { began: spend.now, last: spend.now, amount: spend.amount }),
        }
    }

    fn until_freed(&self, over: u64, spend: Spend) -> Millis {
        let mut freed = 0;
        let enough = self.parts.iter().find(|part| {
            freed += u64::from(part.amount);
            freed >= over
        });
        enough.map_or(spend.window, |part| (part.last + spend.window).since(spend.now))
    }

    fn has_passed(&self, now: Timestamp) -> bool {
        self.parts.back().is_none_or(|part| part.last + self.window <= now)
    }
}
