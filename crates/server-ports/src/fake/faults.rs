//! Which faults a fake injects, and when: a plan and a seed, both given from outside.

use super::{FakeClock, lock};
use crate::{Clock, StoreError};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use std::sync::Mutex;
use types::Millis;

/// How often, in a thousand.
pub type PerMille = u32;

/// The faults of one world. All are within the contracts of the ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Decides when; the same seed and the same calls give the same faults.
    pub seed: u64,
    /// A store's call fails and did nothing.
    pub store_fails: PerMille,
    /// A store's write fails and was done.
    pub store_fails_after: PerMille,
    /// The longest that a store takes before it acts, and again before it answers.
    pub store_delay_max: Millis,
    /// Fleet mode: a row becomes visible late.
    pub row_late: PerMille,
    /// Fleet mode: the record of a send becomes visible late, so that a retry at another node writes again.
    pub record_late: PerMille,
    /// Fleet mode: how late at most; 10 s in the promise that cursors build on.
    pub late_max: Millis,
    /// A signal is lost.
    pub signal_lost: PerMille,
    /// A signal that ends a session is lost (a lease would end it in time).
    pub ended_lost: PerMille,
    /// A signal arrives twice.
    pub signal_doubled: PerMille,
    /// A signal arrives late.
    pub signal_late: PerMille,
    /// How late at most.
    pub signal_late_max: Millis,
    /// A text is not sent, and says so.
    pub text_fails: PerMille,
}

/// A plan with its randomness. Each fake draws from a stream of its own, so that a change in the calls
/// to one port does not shift the faults of another.
#[derive(Debug)]
pub struct Faults(Mutex<(FaultPlan, ChaCha8Rng)>);

impl Faults {
    /// The plan, drawing from one of its seed's streams.
    pub fn new(plan: FaultPlan, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed);
        rng.set_stream(stream);
        Self(Mutex::new((plan, rng)))
    }

    /// Changes the plan from now on; the randomness goes on where it was.
    pub fn set(&self, plan: FaultPlan) {
        lock(&self.0).0 = plan;
    }

    /// Ends every fault.
    pub fn heal(&self) {
        let seed = lock(&self.0).0.seed;
        self.set(FaultPlan { seed, ..FaultPlan::default() });
    }

    pub(super) fn strikes(&self, how_often: impl Fn(&FaultPlan) -> PerMille) -> bool {
        let (plan, rng) = &mut *lock(&self.0);
        let per_mille = how_often(plan);
        per_mille > 0 && rng.next_u32() % 1_000 < per_mille
    }

    pub(super) fn up_to(&self, at_most: impl Fn(&FaultPlan) -> Millis) -> Millis {
        let (plan, rng) = &mut *lock(&self.0);
        match at_most(plan) {
            Millis(0) => Millis(0),
            Millis(most) => Millis(rng.next_u64() % most.saturating_add(1).max(1)),
        }
    }

    pub(super) fn number(&self) -> u32 {
        lock(&self.0).1.next_u32()
    }

    /// What a store's call goes through before it acts.
    pub(super) async fn before(&self, clock: &FakeClock) -> Result<(), StoreError> {
        self.delay(clock).await;
        self.fail_when(|plan| plan.store_fails)
    }

    /// What a store's write goes through after it acted.
    pub(super) async fn after(&self, clock: &FakeClock) -> Result<(), StoreError> {
        self.delay(clock).await;
        self.fail_when(|plan| plan.store_fails_after)
    }

    async fn delay(&self, clock: &FakeClock) {
        let delay = self.up_to(|plan| plan.store_delay_max);
        if delay > Millis(0) {
            clock.sleep(delay).await;
        }
    }

    fn fail_when(&self, how_often: impl Fn(&FaultPlan) -> PerMille) -> Result<(), StoreError> {
        match self.strikes(how_often) {
            true => Err(StoreError::Unavailable("an injected fault".to_owned())),
            false => Ok(()),
        }
    }
}
