//! Quota counters in bounded memory.
//!
//! A window is cut into [`SLICES`] slices. What was spent counts until its whole slice is a window old,
//! so no window of that length ever holds more than the limit, and a counter has a fixed size.
//!
//! Each quota has a table of its own: whoever fills the memory of one (with numbers looked up, say) makes
//! this node forget nothing of the others.

use server_ports::exchange::{Spend, SpendOutcome};
use std::collections::{BTreeMap, BTreeSet};
use types::{Millis, Timestamp};

/// Slices of a window: a quota that was spent at once is free again after at most a sixteenth more.
const SLICES: u64 = 16;
/// Counters kept of each quota, about 200 bytes each. Beyond it the one that would end first is forgotten,
/// which allows its subject one window's worth again.
const COUNTERS_MAX: usize = 100_000;

/// Whose counter it is, as a hash.
type Subject = [u8; 32];

/// Every counter, by the name of its quota.
#[derive(Debug, Default)]
pub(super) struct Quotas(BTreeMap<&'static str, Counters>);

impl Quotas {
    pub(super) fn spend(&mut self, spend: &Spend) -> SpendOutcome {
        self.0.entry(spend.quota).or_default().spend(spend)
    }
}

/// The counters of one quota.
#[derive(Debug, Default)]
struct Counters {
    counters: BTreeMap<Subject, Counter>,
    /// When nothing of a counter counts any more.
    ends: BTreeSet<(Timestamp, Subject)>,
}

#[derive(Debug, Default)]
struct Counter {
    /// The latest time that it was asked at: a clock that steps back does not lead it back.
    now: Timestamp,
    /// What was spent in which slice, oldest first.
    slices: Vec<(u64, u32)>,
    ends: Timestamp,
}

impl Counters {
    fn spend(&mut self, spend: &Spend) -> SpendOutcome {
        self.forget_ended(spend.now);
        let key = spend.subject;
        let counter = self.counters.entry(key).or_default();
        let before = counter.ends;
        let outcome = counter.spend(spend);
        let after = counter.ends;
        if after == Timestamp::default() {
            // Nothing was ever spent: there is nothing to keep.
            self.counters.remove(&key);
        } else if after != before {
            self.ends.remove(&(before, key));
            self.ends.insert((after, key));
        }
        if self.counters.len() > COUNTERS_MAX {
            self.forget_first();
        }
        outcome
    }

    fn forget_ended(&mut self, now: Timestamp) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.ends.pop_first() {
            self.counters.remove(&key);
        }
    }
}

impl Counter {
    fn spend(&mut self, spend: &Spend) -> SpendOutcome {
        self.now = self.now.max(spend.now);
        let length = (spend.window.0 / SLICES).max(1);
        let slice = self.now.as_millis() / length;
        let end_of = |slice: u64| Timestamp::from_millis((slice + 1) * length) + spend.window;
        self.slices.retain(|(slice, _)| end_of(*slice) > self.now);
        let used: u64 = self.slices.iter().map(|(_, amount)| u64::from(*amount)).sum();
        // Who asks for nothing wants to know whether one would fit.
        let over = (used + u64::from(spend.amount.max(1))).saturating_sub(u64::from(spend.limit));
        if over > 0 {
            return SpendOutcome::RetryAfter(self.wait(over, spend, end_of));
        }
        if spend.amount > 0 {
            match self.slices.last_mut() {
                Some((last, amount)) if *last == slice => *amount += spend.amount,
                _ => self.slices.push((slice, spend.amount)),
            }
            self.ends = end_of(slice);
        }
        SpendOutcome::Allowed
    }

    /// How long until slices that hold `over` have passed.
    fn wait(&self, over: u64, spend: &Spend, end_of: impl Fn(u64) -> Timestamp) -> Millis {
        let mut freed = 0;
        let enough = self.slices.iter().find(|(_, amount)| {
            freed += u64::from(*amount);
            freed >= over
        });
        enough.map_or(spend.window, |(slice, _)| end_of(*slice).since(spend.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn spend(subject: u64, now: Timestamp) -> Spend {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&subject.to_be_bytes());
        Spend { quota: "messages", subject: hash, amount: 1, limit: 1, window: Millis::from_mins(1), now }
    }

    #[test]
    fn memory_is_bounded_and_what_ends_first_is_forgotten() {
        let mut quotas = Counters::default();
        for subject in 0..COUNTERS_MAX as u64 + 10 {
            let now = NOW + Millis(subject / 10);
            assert_eq!(quotas.spend(&spend(subject, now)), SpendOutcome::Allowed);
        }
        assert_eq!((quotas.counters.len(), quotas.ends.len()), (COUNTERS_MAX, COUNTERS_MAX));
        let now = NOW + Millis(COUNTERS_MAX as u64 / 10);
        let newest = quotas.spend(&spend(COUNTERS_MAX as u64, now));
        assert!(matches!(newest, SpendOutcome::RetryAfter(_)), "the newest is kept");
    }

    #[test]
    fn what_fills_one_quota_opens_no_other() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.spend(&spend(0, NOW)), SpendOutcome::Allowed);
        for subject in 0..COUNTERS_MAX as u64 + 10 {
            let window = Millis::from_days(30);
            quotas.spend(&Spend { quota: "known_numbers", window, ..spend(subject, NOW) });
        }
        assert!(matches!(quotas.spend(&spend(0, NOW)), SpendOutcome::RetryAfter(_)));
    }

    #[test]
    fn counters_that_ended_are_forgotten() {
        let mut quotas = Counters::default();
        for subject in 0..1_000 {
            quotas.spend(&spend(subject, NOW));
        }
        for subject in 0..1_000 {
            let refused = quotas.spend(&spend(subject, NOW));
            assert!(matches!(refused, SpendOutcome::RetryAfter(_)));
        }
        quotas.spend(&spend(5_000, NOW + Millis::from_mins(2)));
        assert_eq!((quotas.counters.len(), quotas.ends.len()), (1, 1));
    }

    #[test]
    fn asking_keeps_nothing() {
        let mut quotas = Counters::default();
        for subject in 0..1_000 {
            quotas.spend(&Spend { amount: 0, ..spend(subject, NOW) });
        }
        assert_eq!((quotas.counters.len(), quotas.ends.len()), (0, 0));
    }
}
