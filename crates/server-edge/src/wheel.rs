//! The timers of a shard: one wheel, eight bytes for each connection.
//!
//! Owns: when to look at a connection again. An entry is only an appointment to look; the connection
//! knows its deadlines, and one that has moved makes a new appointment when the old one comes. So a
//! deadline that is pushed back with every frame costs nothing.
//! Invariant: an entry comes out at its time or up to one [`Wheel`] resolution later, never earlier.

use types::{Millis, Timestamp};

/// Slots of the wheel; with the usual resolution, somewhat more than the longest time limit.
const SLOTS: usize = 1_024;

/// Appointments, by time.
pub struct Wheel<T> {
    slots: Vec<Vec<T>>,
    resolution: Millis,
    /// Every tick before this one has come out.
    tick: u64,
    entries: usize,
}

impl<T> Wheel<T> {
    /// An empty wheel that turns from `now` on, in steps of `resolution`.
    pub fn new(resolution: Millis, now: Timestamp) -> Self {
        let resolution = Millis(resolution.0.max(1));
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS).collect();
        Self { slots, resolution, tick: now.as_millis() / resolution.0, entries: 0 }
    }

    /// Makes an appointment and returns its time: `at`, or earlier where that is beyond the wheel's reach.
    pub fn insert(&mut self, at: Timestamp, entry: T) -> Timestamp {
        let tick = at.as_millis().div_ceil(self.resolution.0).clamp(self.tick, self.tick + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push(entry);
        self.entries += 1;
        at.min(Timestamp::from_millis(tick * self.resolution.0))
    }

    /// Moves what is due at `now` to `due`.
    pub fn advance(&mut self, now: Timestamp, due: &mut Vec<T>) {
        let last = now.as_millis() / self.resolution.0;
        let first = self.tick;
        self.tick = first.max(last + 1);
        // After a pause longer than the wheel every slot is due once.
        for tick in first..=last.min(first + SLOTS as u64 - 1) {
            let slot = &mut self.slots[tick as usize % SLOTS];
            self.entries -= slot.len();
            due.append(slot);
            // A burst of connections must not leave its memory behind.
            slot.shrink_to(64);
        }
    }

    /// When the next appointment is, if there is one.
    pub fn next(&self) -> Option<Timestamp> {
        if self.entries == 0 {
            return None;
        }
        (self.tick..self.tick + SLOTS as u64)
            .find(|tick| !self.slots[*tick as usize % SLOTS].is_empty())
            .map(|tick| Timestamp::from_millis(tick * self.resolution.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every appointment comes out once, not before its time and within one step after it.
        #[test]
        fn appointments_come_out_once_and_on_time(
            start in 0_u64..1 << 40,
            resolution in 1_u64..500,
            delays in proptest::collection::vec(0_u64..800_000, 0..50),
            steps in proptest::collection::vec(1_u64..5_000, 1..400),
        ) {
            let mut wheel = Wheel::new(Millis(resolution), Timestamp::from_millis(start));
            let reach = resolution * (SLOTS as u64 - 2);
            let mut times = Vec::new();
            for (number, delay) in delays.iter().enumerate() {
                let wanted = Timestamp::from_millis(start + delay);
                let at = wheel.insert(wanted, number);
                prop_assert!(at == wanted || at < wanted && *delay > reach, "only what is beyond reach is early");
                times.push(at.as_millis());
            }
            let (mut now, mut out) = (start, Vec::new());
            for step in steps {
                let before = now;
                now += step;
                let next = wheel.next();
                let mut due = Vec::new();
                wheel.advance(Timestamp::from_millis(now), &mut due);
                prop_assert!(due.is_empty() || next.is_some_and(|next| next.as_millis() <= now));
                for number in due {
                    let at = times[number];
                    prop_assert!(at <= now, "early");
                    prop_assert!(at + resolution > before, "late");
                    out.push(number);
                }
            }
            let mut due = Vec::new();
            wheel.advance(Timestamp::from_millis(now + 1_000_000), &mut due);
            out.extend(due);
            out.sort_unstable();
            prop_assert_eq!(out, (0..times.len()).collect::<Vec<_>>());
            prop_assert_eq!(wheel.next(), None);
        }
    }
}
