//! In-memory fakes of every port, for the simulator and for tests of the roles.
//!
//! Owns: the behaviour that each contract asks for, in the plainest form that keeps it, and the ways
//! in which a real adapter may fail within its contract.
//!
//! Invariants: a fake is a function of its calls and of the seed in its [`FaultPlan`]; it iterates
//! ordered maps only, reads no clock but [`FakeClock`], and spawns nothing.
//!
//! Must not know: any role, any executor.

mod blobs;
mod bugs;
mod clock;
mod directory;
mod entropy;
mod exchange;
mod faults;
mod group_log;
mod mailboxes;
mod outward;

pub use blobs::FakeBlobs;
pub use bugs::{Bug, Bugs};
pub use clock::FakeClock;
pub use directory::FakeDirectory;
pub use entropy::FakeEntropy;
pub use exchange::FakeExchange;
pub use faults::{FaultPlan, Faults, PerMille};
pub use group_log::FakeGroupLog;
pub use mailboxes::{FakeMailboxes, Mode, StoredRow};
pub use outward::{FakePusher, FakeTexter};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What every fake is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The virtual time that all fakes of one world share.
    pub clock: FakeClock,
    /// Which faults to inject, and the seed that decides when.
    pub plan: FaultPlan,
    /// Mistakes to make on purpose.
    pub bugs: Bugs,
}

impl Setup {
    /// Virtual time that starts at `start`, no faults, no mistakes.
    pub fn calm(start: types::Timestamp) -> Self {
        Self { clock: FakeClock::new(start), plan: FaultPlan::default(), bugs: Bugs::default() }
    }
}

impl Default for Setup {
    /// A calm world on the morning of 1 January 2026.
    fn default() -> Self {
        Self::calm(types::Timestamp::from_millis(1_767_225_600_000))
    }
}

/// Locks; a panic elsewhere fails its own test, and need not fail every later one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
