//! What is done to a world on purpose, and its end.

use super::World;
use crate::{
    device::{Device, Seat},
    network::Delays,
    node::Node,
};
use server_ports::fake::FaultPlan;
use testkit::event::Node as NodeName;
use types::{MailboxId, Millis};

/// A network on which nothing is slow.
pub(super) const CALM_NETWORK: Delays =
    Delays { usual_max: Millis(40), slow_max: Millis(40), slow: 0, lost: 0 };

impl World {
    /// From now on things break as planned.
    pub fn begin_faults(&mut self) {
        self.stores.set_faults(&self.plan.faults.clone());
        self.network.set_delays(self.plan.delays);
    }

    /// Nothing breaks from now on, and everything that is down comes up.
    pub fn end_faults(&mut self) {
        let seed = self.plan.faults.seed;
        self.stores.set_faults(&FaultPlan { seed, ..FaultPlan::default() });
        self.network.set_delays(CALM_NETWORK);
        let now = self.now();
        for link in self.network.links_where(|_| true) {
            self.network.unsilence(link, now);
        }
        self.restarts.values_mut().for_each(|at| *at = now);
        self.devices.iter_mut().for_each(Device::live);
    }

    /// A node dies, or is told to leave, and comes back after a while.
    pub fn crash_node(&mut self, node: NodeName, back_after: Millis) {
        let back_at = self.now() + back_after;
        self.with_node(node.0, Node::crash);
        self.restarts.insert(node.0, back_at);
    }

    /// A node is told to leave; what it has begun, it finishes.
    pub fn stop_node(&mut self, node: NodeName) {
        let after = Millis(self.chance.below(5_000));
        self.with_node(node.0, |node, turn| node.stop(after, turn));
    }

    /// The machine of the stores loses power, and every node's store with it.
    pub fn cut_power(&mut self) {
        for at in 0..self.nodes.len() {
            let back_after = Millis(500 + self.chance.below(5_000));
            self.crash_node(NodeName(at), back_after);
        }
        self.stores.mailboxes.power_cut();
    }

    /// The nodes' soft state is lost.
    pub fn lose_soft_state(&self) {
        self.stores.exchange.power_cut();
    }

    /// Where the socket of one device is, is lost.
    pub fn lose_route(&self, device: MailboxId) {
        self.stores.exchange.lose_route(device);
    }

    /// A node's clock steps.
    pub fn set_clock(&mut self, node: NodeName, skew_ms: i64) {
        self.nodes[node.0].clock.set_skew(skew_ms);
    }

    /// A device's connection is cut.
    pub fn cut(&mut self, seat: Seat) {
        let now = self.now();
        if let Some(link) = self.devices[seat.0].link() {
            self.network.cut(link, now);
        }
    }

    /// A device's connection goes silent, or speaks again.
    pub fn set_silent(&mut self, seat: Seat, silent: bool) {
        let now = self.now();
        match self.devices[seat.0].link() {
            Some(link) if silent => self.network.silence(link),
            Some(link) => self.network.unsilence(link, now),
            None => {}
        }
    }

    /// How often nodes do their duties from now on.
    pub fn set_duties_every(&mut self, every: Option<Millis>) {
        self.nodes.iter_mut().for_each(|node| node.set_duties_every(every));
    }
}
