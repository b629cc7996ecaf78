//! What can be known of a connection from outside: a value to watch, whose changes say "look again".

use crate::Unreachable;
use client::{Closed, Fault, HistorySync};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Where the connection stands, and how often things have happened. Counters only grow.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Whether there is a connection.
    pub link: Link,
    /// Whether a connection was asked for.
    pub wanted: bool,
    /// Connections on which the server knew us.
    pub connections: u64,
    /// Drains that came to their end.
    pub drains: u64,
    /// Whether the present connection, or else the last one, has drained the mailbox.
    pub drained: bool,
    /// Whether the present connection has nothing left to wait for.
    pub settled: bool,
    /// Grows when there are new events to print.
    pub events: u64,
    /// Grows when messages changed their state.
    pub states: u64,
    /// How far the import of this device's history is, if one goes on or has ended since the start.
    pub history: Option<HistorySync>,
    /// Why the last attempt to connect failed.
    pub trouble: Option<Arc<Unreachable>>,
    /// Connecting again cannot help, or the engine failed.
    pub ended: Option<Ended>,
    heard_at: Instant,
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// None, and no attempt under way.
    Waiting,
    /// An attempt is under way.
    Connecting,
    /// The server knows us.
    Up,
}

/// Why nothing more will come.
#[derive(Clone, Debug)]
pub enum Ended {
    /// The server, or the protocol, ended it for good.
    Closed(Closed),
    /// The engine failed.
    Fault(Arc<Fault>),
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            link: Link::Waiting,
            wanted: false,
            connections: 0,
            drains: 0,
            drained: false,
            settled: false,
            events: 0,
            states: 0,
            history: None,
            trouble: None,
            ended: None,
            heard_at: Instant::now(),
        }
    }
}

impl Progress {
    /// The server said something. Changes nothing that anybody waits for.
    pub(crate) fn heard(&mut self) -> bool {
        self.heard_at = Instant::now();
        false
    }

    /// When a server that says nothing from now on has been silent for `patience`, counted from `since`
    /// if it was heard before that.
    pub fn silent_at(&self, since: Instant, patience: Duration) -> Instant {
        self.heard_at.max(since) + patience
    }
}
