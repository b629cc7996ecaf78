//! The exchange: soft state that may be lost as a whole without losing a message or opening a limit.

use crate::StoreError;
use bytes::Bytes;
use std::sync::Arc;
use types::{AccountId, MailboxId, Millis, NodeId, Position, Timestamp};
use wire::{Code, KeyCounts};

/// Routes to sockets, signals between nodes, quota counters.
///
/// # Contract
/// - A signal is best effort: it may be lost, and costs only latency. It is never delivered to another
///   device than the one named. Signals from one caller to one device keep their order when they arrive.
/// - A route belongs to the highest connection number; a lower one never replaces a higher one. The
///   holder that loses its route gets [`Signal::Ended`] with [`Code::Replaced`].
/// - Quota counters may forget on restart only in the direction of allowing what fits one window again.
#[async_trait::async_trait]
pub trait Exchange: Send + Sync + 'static {
    /// Signals for devices on this node go to this inbox from now on.
    fn subscribe(&self, node: NodeId, inbox: Arc<dyn NodeInbox>);

    /// The device's socket is on this node now.
    async fn claim(&self, route: Route) -> Result<(), StoreError>;

    /// The socket is gone; a route of another connection is left as it is.
    async fn release(&self, route: Route) -> Result<(), StoreError>;

    /// Sends a signal to the node that holds the device's socket. Answers whether there was one.
    async fn signal(&self, device: MailboxId, signal: Signal) -> Result<bool, StoreError>;

    /// Hands a signal to a node's inbox past all routes. A node does so with what concerns a device of which it may hold
    /// a socket; nothing is between, so that nothing is lost.
    fn tell(&self, node: NodeId, device: MailboxId, signal: Signal);

    /// Spends from a quota.
    async fn spend(&self, spend: Spend) -> Result<SpendOutcome, StoreError>;
}

/// A node's end of the exchange. Called from any thread; must not block.
pub trait NodeInbox: Send + Sync + 'static {
    /// A signal for a device whose socket this node holds (or held).
    fn deliver(&self, device: MailboxId, connection: u64, signal: Signal);
}

/// Where a device's socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The device.
    pub device: MailboxId,
    /// The node that holds its socket.
    pub node: NodeId,
    /// The connection number.
    pub connection: u64,
}

/// What one node tells the session of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A row was written.
    Hint {
        /// Its position.
        position: Position,
        /// The position before it in the same mailbox, if the store knows it.
        previous: Option<Position>,
        /// The stored envelope.
        envelope: Bytes,
    },
    /// Something may have been written: read the store.
    Read,
    /// The session is over: replaced, revoked, or its account was closed.
    Ended(Code),
    /// Time to refill prekeys.
    KeysLow(KeyCounts),
    /// A device list changed.
    DeviceListChanged {
        /// Whose.
        account: AccountId,
        /// To which version.
        version: u64,
    },
    /// Never stored; dropped first under pressure.
    Ephemeral(Bytes),
}

impl Signal {
    /// Whether the signal is meant for one connection of the device, and for no other that took its place. (A device
    /// that is gone has none left, whichever it is.)
    pub const fn is_for_one_connection(&self) -> bool {
        matches!(self, Self::Ended(code) if !matches!(code, Code::Revoked))
    }
}

/// What to spend from which quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// Which quota; a short constant name ("messages").
    pub quota: &'static str,
    /// Whose: a hash of account, number or address, so that no adapter sees one in clear.
    pub subject: [u8; 32],
    /// How much. With 0 nothing is spent, and the answer is the one that 1 would get.
    pub amount: u32,
    /// The most within one window.
    pub limit: u32,
    /// The length of the window.
    pub window: Millis,
    /// The time.
    pub now: Timestamp,
}

/// Whether it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendOutcome {
    /// Spent.
    Allowed,
    /// Nothing was spent; this long until it would fit.
    RetryAfter(Millis),
}
