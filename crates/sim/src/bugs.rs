//! Mistakes planted on purpose: a checker that does not find them proves nothing.

use server_edge::drain::DrainLimits;
use server_ports::fake::{Bug as PortBug, Bugs};
use testkit::check::Invariant;
use types::Millis;

/// The mistakes of one run; none by default.
#[derive(Clone, Debug, Default)]
pub struct Planted {
    /// In the stores.
    pub ports: server_ports::fake::Bugs,
    /// In the server's roles.
    pub core: server_core::testing::Bugs,
    /// In the drain of sessions.
    pub drain: DrainLimits,
}

/// A mistake with a name.
pub struct Bug {
    /// In the words of a command line.
    pub name: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// Which invariants may find it.
    pub found_by: &'static [Invariant],
    plant: fn(&mut Planted),
}

impl Bug {
    /// The mistake, planted alone.
    pub fn planted(&self) -> Planted {
        let mut planted = Planted::default();
        (self.plant)(&mut planted);
        planted
    }
}

/// The bug of that name.
pub fn named(name: &str) -> Option<&'static Bug> {
    ALL.iter().find(|bug| bug.name == name)
}

/// Every bug that a run can have.
pub const ALL: &[Bug] = &[
    Bug {
        name: "cursor-skips-late-row",
        what: "a fleet's read answers a cursor beyond rows that are not visible yet",
        found_by: &[Invariant::Settles],
        plant: |planted| planted.ports = Bugs::of([PortBug::CursorSkipsLateRow]),
    },
    Bug {
        name: "hints-lost-for-good",
        what: "no hint arrives, and sessions do not read by themselves",
        found_by: &[Invariant::Settles],
        plant: |planted| {
            planted.core.drop_hints = true;
            planted.drain.reread = Millis::from_days(1);
        },
    },
];
