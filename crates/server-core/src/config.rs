//! What an operator decides about one node.

use crate::{Quotas, bugs::Bugs};
use std::collections::BTreeSet;
use types::{Millis, NodeId};

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's number, part of every stamp.
    pub node: NodeId,
    /// Origins that a client may have dialled.
    pub origins: Origins,
    /// Fair use.
    pub quotas: Quotas,
    /// Refuse numbers that the numbering plan does not have; syntax and country code are always checked.
    pub strict_numbers: bool,
    /// How long a device-list change waits, before it is answered, for sends that other nodes admitted
    /// before it. Zero where this node is the only one: its own sends are waited for exactly.
    pub settle: Millis,
    pub(crate) bugs: Bugs,
}

/// Origins that a session proof may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Any: only where nobody else can answer for this service's name, as on loopback.
    Any,
    /// These, each `scheme://host[:port]`, compared byte by byte.
    These(BTreeSet<String>),
}

impl Origins {
    pub(crate) fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(origins) => origins.contains(origin),
        }
    }
}

impl Config {
    /// The defaults of a service that is one node.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            origins: Origins::Any,
            quotas: Quotas::default(),
            strict_numbers: false,
            settle: Millis(0),
            bugs: Bugs::default(),
        }
    }

    /// Plants faults, for a test that must find them.
    #[doc(hidden)]
    pub fn with_bugs(mut self, bugs: Bugs) -> Self {
        self.bugs = bugs;
        self
    }
}
