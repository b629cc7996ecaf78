//! When to connect again: at once the first time, then exponential back-off with full jitter.

use rand::Rng;
use std::time::Duration;

/// The longest wait before the second attempt.
const CEILING_FIRST: Duration = Duration::from_secs(1);
/// No wait is longer: a person notices that the network is back before a minute has passed.
const CEILING_LAST: Duration = Duration::from_secs(60);

/// Waits between attempts to connect. Full jitter (a wait anywhere between zero and the ceiling)
/// spreads a crowd that lost the same server evenly over the whole ceiling.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt; `rng` decides where under the ceiling.
    pub fn next_wait(&mut self, rng: &mut impl Rng) -> Duration {
        let Some(ceiling) = self.ceiling() else {
            self.failures = 1;
            return Duration::ZERO;
        };
        self.failures = self.failures.saturating_add(1);
        Duration::from_millis(rng.random_range(0..=ceiling.as_millis() as u64))
    }

    /// How long to wait after an attempt that failed: never at once.
    pub fn next_wait_after_failure(&mut self, rng: &mut impl Rng) -> Duration {
        self.failures = self.failures.max(1);
        self.next_wait(rng)
    }

    /// A connection came up: the next attempt is at once again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The longest wait before the next attempt; none for the first.
    fn ceiling(self) -> Option<Duration> {
        let doublings = self.failures.checked_sub(1)?.min(6);
        Some((CEILING_FIRST * 2_u32.pow(doublings)).min(CEILING_LAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{TryRngCore as _, rngs::OsRng};

    #[test]
    fn the_first_attempt_is_at_once_and_ceilings_double_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut ceilings = Vec::new();
        for _ in 0..10 {
            ceilings.push(backoff.ceiling().map(|ceiling| ceiling.as_secs()));
            backoff.next_wait(&mut OsRng.unwrap_err());
        }
        let expected =
            [None, Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), Some(60), Some(60)];
        assert_eq!(ceilings, expected);
        backoff.reset();
        assert_eq!(backoff.next_wait(&mut OsRng.unwrap_err()), Duration::ZERO);
    }

    #[test]
    fn waits_use_the_whole_range_and_stay_under_the_ceiling() {
        let waits: Vec<u128> = (0..1_000)
            .map(|_| Backoff { failures: 20 }.next_wait(&mut OsRng.unwrap_err()).as_millis())
            .collect();
        assert!(waits.iter().all(|wait| *wait <= 60_000));
        assert!(waits.iter().any(|wait| *wait < 10_000) && waits.iter().any(|wait| *wait > 50_000));
    }
}
