//! The adapters that one node was wired with.

use server_ports::{Clock, Directory, Entropy, Exchange, Mailboxes, Pusher, Texter};
use std::sync::Arc;

/// One adapter behind each port, chosen once.
#[derive(Clone)]
pub struct Ports {
    /// Accounts, devices, keys, registration sessions.
    pub directory: Arc<dyn Directory>,
    /// Undelivered envelopes.
    pub mailboxes: Arc<dyn Mailboxes>,
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
