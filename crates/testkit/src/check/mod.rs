//! The history checker: one file for each group of invariants.
//!
//! Every check is a pure function of the ledger, an index of the history, and reports violations
//! with the time and the ids that a person needs to find the cause. It also counts how many facts it
//! judged: a run in which an invariant judged nothing has not tested it.

mod accounting;
mod arrival;
mod bounds;
mod chains;
mod decryption;
mod deletion;
mod fan_out;
mod handed_over;
mod identity;
mod invariant;
mod ledger;
mod linearity;
mod order;
mod out_of_reach;
mod prekeys;
mod ratchets;
mod reading;
mod removal;
mod restoring;
mod secrecy;
mod sender_keys;
mod settling;
mod unlisted;

pub use invariant::Invariant;

use crate::history::History;
use ledger::Ledger;
use std::{collections::BTreeMap, fmt};
use types::{Millis, limits};

/// What a checker must know of the run beside its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// After faults end, everything pending is delivered within this time (invariant 21).
    pub settle_within: Millis,
    /// A second row of one send in one mailbox is an honest race if it follows within this time: in a
    /// fleet a retry runs at another node before the first try is visible there. Zero for one store.
    pub race_within: Millis,
    /// The rows that a mailbox holds at most; one that has fewer may not be skipped as full.
    pub mailbox_rows_max: u64,
    /// How far apart the clocks of the observer and the nodes are.
    pub clock_skew: Millis,
}

impl Default for Terms {
    fn default() -> Self {
        // 30 s is the promise; 1 s is for the way of the last row and its answer, which the promise
        // leaves to the network.
        Self {
            settle_within: Millis(31_000),
            race_within: Millis(0),
            mailbox_rows_max: limits::MAILBOX_ROWS_MAX,
            clock_skew: Millis(0),
        }
    }
}

/// What a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, in the order of time.
    pub violations: Vec<Violation>,
    judged: BTreeMap<Invariant, u64>,
}

/// An invariant that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// When it shows.
    pub at: Millis,
    /// What was seen, with ids.
    pub what: String,
}

/// Judges a history by every invariant.
pub fn check(history: &History, terms: Terms) -> Report {
    let ledger = Ledger::new(history, terms);
    let mut report = Report::default();
    for group in [
        arrival::check,
        handed_over::check,
        restoring::check,
        identity::check,
        order::check,
        deletion::check,
        prekeys::check,
        accounting::check,
        secrecy::check,
        decryption::check,
        ratchets::check,
        removal::check,
        sender_keys::check,
        linearity::check,
        chains::check,
        fan_out::check,
        settling::check,
        reading::check,
        bounds::check,
    ] {
        group(&ledger, &mut report);
    }
    report.violations.sort_by_key(|violation| (violation.at, violation.invariant));
    report
}

impl Report {
    /// How many facts an invariant judged.
    pub fn judged(&self, invariant: Invariant) -> u64 {
        self.judged.get(&invariant).copied().unwrap_or(0)
    }

    /// Fails unless nothing is violated.
    ///
    /// # Panics
    /// With every violation.
    pub fn assert_clean(&self) {
        assert!(self.violations.is_empty(), "{self}");
    }

    /// Fails unless each of these invariants judged something.
    ///
    /// # Panics
    /// With the first that did not.
    pub fn assert_judged(&self, invariants: &[Invariant]) {
        for invariant in invariants {
            assert!(self.judged(*invariant) > 0, "nothing in this history could have violated {invariant}");
        }
    }

    /// Whether an invariant is violated.
    pub fn violates(&self, invariant: Invariant) -> bool {
        self.violations.iter().any(|violation| violation.invariant == invariant)
    }

    fn judge(&mut self, invariant: Invariant, at: Millis, holds: bool, what: impl FnOnce() -> String) {
        *self.judged.entry(invariant).or_default() += 1;
        if !holds {
            self.violations.push(Violation { invariant, at, what: what() });
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} ms  {}: {}", self.at.0, self.invariant, self.what)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.violations.is_empty() {
            return f.write_str("every invariant holds");
        }
        writeln!(f, "{} violations", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}
