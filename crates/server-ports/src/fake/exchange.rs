//! The exchange in memory, with signals that are lost, doubled or late as planned.

use super::{Bug, FakeClock, Faults, Setup, lock};
use crate::{
    Exchange, NodeInbox, Signal, StoreError,
    exchange::{Route, Spend, SpendOutcome},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use types::{MailboxId, Millis, NodeId, Timestamp};
use wire::Code;

/// Soft state in memory. One instance is shared by all nodes of a world.
pub struct FakeExchange {
    clock: FakeClock,
    faults: Faults,
    misroutes: bool,
    soft: Arc<Mutex<Soft>>,
}

#[derive(Default)]
struct Soft {
    inboxes: BTreeMap<NodeId, Arc<dyn NodeInbox>>,
    routes: BTreeMap<MailboxId, Route>,
    /// When the newest late signal to a device arrives; later signals wait behind it.
    last_arrival: BTreeMap<MailboxId, Timestamp>,
    /// What was spent, and when, by quota and subject.
    spent: BTreeMap<QuotaOf, Vec<(Timestamp, u32)>>,
}

/// A quota and its subject.
type QuotaOf = (&'static str, [u8; 32]);

impl FakeExchange {
    /// An empty exchange.
    pub fn new(setup: &Setup) -> Self {
        Self {
            clock: setup.clock.clone(),
            faults: Faults::new(setup.plan.clone(), 2),
            misroutes: setup.bugs.has(Bug::SignalMisrouted),
            soft: Arc::default(),
        }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Loses all soft state; nodes stay subscribed, as they would subscribe again.
    pub fn power_cut(&self) {
        let mut soft = lock(&self.soft);
        let inboxes = std::mem::take(&mut soft.inboxes);
        *soft = Soft { inboxes, ..Soft::default() };
    }

    /// Loses where one device's socket is.
    pub fn lose_route(&self, device: MailboxId) {
        lock(&self.soft).routes.remove(&device);
    }

    /// A node is gone: it hears nothing, and its routes end (as its lease would).
    pub fn node_down(&self, node: NodeId) {
        let mut soft = lock(&self.soft);
        soft.inboxes.remove(&node);
        soft.routes.retain(|_, route| route.node != node);
    }

    /// Where a device's socket is.
    pub fn route(&self, device: MailboxId) -> Option<Route> {
        lock(&self.soft).routes.get(&device).copied()
    }

    /// Hands a signal over, or plans when it arrives. Order to one device is kept.
    fn send(&self, route: Route, signal: Signal) {
        let lost = match &signal {
            Signal::Ended(_) => self.faults.strikes(|plan| plan.ended_lost),
            _ => self.faults.strikes(|plan| plan.signal_lost),
        };
        if lost {
            return;
        }
        let copies = 1 + usize::from(self.faults.strikes(|plan| plan.signal_doubled));
        for _ in 0..copies {
            self.send_once(route, signal.clone());
        }
    }

    fn send_once(&self, route: Route, signal: Signal) {
        let late = self.faults.strikes(|plan| plan.signal_late);
        let delay = if late { self.faults.up_to(|plan| plan.signal_late_max) } else { Millis(0) };
        let now = self.clock.true_now();
        let delay = {
            let mut soft = lock(&self.soft);
            let arrival = soft.last_arrival.get(&route.device).copied().unwrap_or(now).max(now + delay);
            soft.last_arrival.insert(route.device, arrival);
            arrival.since(now)
        };
        if delay == Millis(0) {
            deliver(&self.soft, route, signal);
        } else {
            let soft = self.soft.clone();
            self.clock.after(delay, move || deliver(&soft, route, signal));
        }
    }

    fn target(&self, soft: &Soft, device: MailboxId) -> Option<Route> {
        let route = soft.routes.get(&device).copied()?;
        if self.misroutes {
            let first = soft.routes.values().find(|other| other.node == route.node)?;
            return Some(*first);
        }
        Some(route)
    }
}

/// Calls the node without the lock: it may call the exchange from there.
fn deliver(soft: &Mutex<Soft>, route: Route, signal: Signal) {
    let inbox = lock(soft).inboxes.get(&route.node).cloned();
    if let Some(inbox) = inbox {
        inbox.deliver(route.device, route.connection, signal);
    }
}

#[async_trait::async_trait]
impl Exchange for FakeExchange {
    fn subscribe(&self, node: NodeId, inbox: Arc<dyn NodeInbox>) {
        lock(&self.soft).inboxes.insert(node, inbox);
    }

    async fn claim(&self, route: Route) -> Result<(), StoreError> {
        let loser = {
            let mut soft = lock(&self.soft);
            match soft.routes.get(&route.device).copied() {
                Some(holder) if holder.connection > route.connection => Some(route),
                Some(holder) if holder.connection == route.connection => None,
                holder => {
                    soft.routes.insert(route.device, route);
                    holder
                }
            }
        };
        if let Some(loser) = loser {
            self.send(loser, Signal::Ended(Code::Replaced));
        }
        Ok(())
    }

    async fn release(&self, route: Route) -> Result<(), StoreError> {
        let mut soft = lock(&self.soft);
        if soft.routes.get(&route.device).is_some_and(|holder| holder.connection == route.connection) {
            soft.routes.remove(&route.device);
        }
        Ok(())
    }

    async fn signal(&self, device: MailboxId, signal: Signal) -> Result<bool, StoreError> {
        let route = self.target(&lock(&self.soft), device);
        if let Some(route) = route {
            self.send(route, signal);
        }
        Ok(route.is_some())
    }

    fn tell(&self, node: NodeId, device: MailboxId, signal: Signal) {
        deliver(&self.soft, Route { device, node, connection: 0 }, signal);
    }

    async fn spend(&self, spend: Spend) -> Result<SpendOutcome, StoreError> {
        let mut soft = lock(&self.soft);
        let spent = soft.spent.entry((spend.quota, spend.subject)).or_default();
        let counted = |at: Timestamp| at + spend.window > spend.now;
        spent.retain(|(at, _)| counted(*at));
        let used: u64 = spent.iter().map(|(_, amount)| u64::from(*amount)).sum();
        let asked = u64::from(spend.amount.max(1));
        let over = (used + asked).saturating_sub(u64::from(spend.limit));
        if over == 0 {
            spent.extend((spend.amount > 0).then_some((spend.now, spend.amount)));
            return Ok(SpendOutcome::Allowed);
        }
        let mut freed = 0;
        let fits = spent.iter().find(|(_, amount)| {
            freed += u64::from(*amount);
            freed >= over
        });
        let wait = fits.map_or(spend.window, |(at, _)| (*at + spend.window).since(spend.now));
        Ok(SpendOutcome::RetryAfter(wait))
    }
}
