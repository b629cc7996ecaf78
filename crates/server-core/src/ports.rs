//! The adapters that one node was wired with.

use server_ports::{Blobs, Clock, Directory, Entropy, Exchange, GroupLog, Mailboxes, Pusher, Texter};
use std::sync::Arc;

/// One adapter behind each port, chosen once.
#[derive(Clone)]
pub struct Ports {
    /// Accounts, devices, keys, registration sessions, links.
    pub directory: Arc<dyn Directory>,
    /// Signed group chains.
    pub groups: Arc<dyn GroupLog>,
    /// Undelivered envelopes.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Sealed bytes that are too large for a message.
    pub blobs: Arc<dyn Blobs>,
    /// Routes to sockets, signals, quota counters.
    pub exchange: Arc<dyn Exchange>,
    /// Wakes devices without a socket.
    pub pusher: Arc<dyn Pusher>,
    /// Sends one-time codes.
    pub texter: Arc<dyn Texter>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}
