//! Stamps: a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) with a durable
//! high-water mark.
//!
//! Invariants: a node never gives a stamp twice, not even after a crash and a clock set back; a stamp
//! is above every one that its asker presented; nothing is given above what was durably promised.

use crate::bugs::Bugs;
use server_ports::{Mailboxes, StoreError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use types::{Millis, NodeId, Stamp, Timestamp, limits};

/// How far ahead of need stamps are reserved: one write every few seconds instead of one a stamp.
const RESERVED_AHEAD: Millis = Millis::from_secs(10);

/// What is reserved above the next stamp, however far that is ahead of the wall clock: 6 million stamps on
/// the counter. So little, because a node starts at its reservation: restarts in a row must not carry it
/// further and further ahead, or other nodes would refuse what it stamped.
const RESERVED_ABOVE: Millis = Millis(100);

/// A reservation is renewed when less than this is left of it, so that no send has to wait for it.
const RENEWED_BELOW: Millis = Millis::from_secs(5);

/// Bits of the counter below the milliseconds.
const COUNTER_BITS: u32 = 16;

/// Why no stamp was given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StampError {
    /// The presented stamp is too far ahead of this node's clocks.
    #[error("the presented stamp is too far ahead")]
    Ahead { by: Millis },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The stamps of one node.
pub(crate) struct Stamps {
    clock: Mutex<HybridClock>,
    /// One reservation at a time; whoever waited finds it made.
    reserving: tokio::sync::Mutex<()>,
    bugs: Bugs,
}

impl Stamps {
    /// Begins above every stamp that this node ever promised not to exceed.
    pub(crate) async fn start(
        mailboxes: &dyn Mailboxes,
        node: NodeId,
        wall: Timestamp,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        let reserved = mailboxes.reserved_stamps(node).await?;
        let stamps =
            Self { clock: Mutex::new(HybridClock::new(node, reserved)), reserving: Default::default(), bugs };
        stamps.renew(mailboxes, wall).await?;
        Ok(stamps)
    }

    /// Gives a stamp above `presented` and above every one given before.
    pub(crate) async fn give(
        &self,
        mailboxes: &dyn Mailboxes,
        wall: Timestamp,
        presented: Option<Stamp>,
    ) -> Result<Stamp, StampError> {
        if self.bugs.repeat_stamps {
            return Ok(Stamp::new(clock_of(wall) >> 26 << 26, self.clock().node));
        }
        if self.bugs.ignore_presented_stamp {
            return Ok(Stamp::new(clock_of(wall), self.clock().node));
        }
        loop {
            let given = self.clock().give(wall, presented)?;
            match given {
                Given::Stamp(stamp) => return Ok(stamp),
                Given::NeedsReserve(next) => self.reserve(mailboxes, wall, next, next).await?,
            }
        }
    }

    /// Renews the reservation if little is left of it.
    pub(crate) async fn renew(&self, mailboxes: &dyn Mailboxes, wall: Timestamp) -> Result<(), StoreError> {
        let next = self.clock().next(wall, 0);
        let enough = clock_of(wall + RENEWED_BELOW).max(above(next, Millis(RESERVED_ABOVE.0 / 2)));
        self.reserve(mailboxes, wall, next, enough).await
    }

    /// How far the stamps are ahead of the wall clock.
    pub(crate) fn ahead_of(&self, wall: Timestamp) -> Millis {
        Millis(self.clock().last.saturating_sub(clock_of(wall)) >> COUNTER_BITS)
    }

    /// Reserves [`RESERVED_AHEAD`] of the wall clock and [`RESERVED_ABOVE`] the next stamp, unless everything
    /// below `enough` is reserved already.
    async fn reserve(
        &self,
        mailboxes: &dyn Mailboxes,
        wall: Timestamp,
        next: u64,
        enough: u64,
    ) -> Result<(), StoreError> {
        if self.clock().reserved >= enough {
            return Ok(());
        }
        let _one_at_a_time = self.reserving.lock().await;
        if self.clock().reserved >= enough {
            return Ok(());
        }
        let node = self.clock().node;
        let ahead = clock_of(wall + RESERVED_AHEAD).max(above(next, RESERVED_ABOVE));
        mailboxes.reserve_stamps(node, ahead).await?;
        let mut clock = self.clock();
        clock.reserved = clock.reserved.max(ahead);
        Ok(())
    }

    fn clock(&self) -> MutexGuard<'_, HybridClock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pure clock.
#[derive(Debug)]
struct HybridClock {
    node: NodeId,
    /// The highest clock given, or promised before the start.
    last: u64,
    /// Nothing is given above this.
    reserved: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Given {
    Stamp(Stamp),
    /// This clock value must be reserved first.
    NeedsReserve(u64),
}

impl HybridClock {
    const fn new(node: NodeId, reserved: u64) -> Self {
        Self { node, last: reserved, reserved }
    }

    fn give(&mut self, wall: Timestamp, presented: Option<Stamp>) -> Result<Given, StampError> {
        let presented = presented.map_or(0, Stamp::clock);
        let tolerance = limits::STAMP_AHEAD_MAX.0 << COUNTER_BITS;
        let bound = clock_of(wall).saturating_add(tolerance);
        if presented > bound.max(self.last.saturating_add(tolerance)) {
            // Of the two clocks only the wall clock moves by itself.
            return Err(StampError::Ahead { by: Millis(((presented - bound) >> COUNTER_BITS) + 1) });
        }
        let next = self.next(wall, presented);
        if next > self.reserved {
            return Ok(Given::NeedsReserve(next));
        }
        self.last = next;
        Ok(Given::Stamp(Stamp::new(next, self.node)))
    }

    fn next(&self, wall: Timestamp, presented: u64) -> u64 {
        clock_of(wall).max(self.last.saturating_add(1)).max(presented.saturating_add(1))
    }
}

fn above(clock: u64, length: Millis) -> u64 {
    clock.saturating_add(length.0 << COUNTER_BITS)
}

/// The milliseconds of a wall clock in a stamp's 48 bits.
fn clock_of(wall: Timestamp) -> u64 {
    wall.min(Timestamp::MAX).as_millis() << COUNTER_BITS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId(7);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn stamp(millis: u64, counter: u64) -> Stamp {
        Stamp::new(millis << COUNTER_BITS | counter, NODE)
    }

    fn clock() -> HybridClock {
        HybridClock { node: NODE, last: 0, reserved: u64::MAX }
    }

    fn give(clock: &mut HybridClock, wall: u64, presented: Option<Stamp>) -> Stamp {
        match clock.give(at(wall), presented).unwrap() {
            Given::Stamp(stamp) => stamp,
            Given::NeedsReserve(_) => panic!("everything is reserved"),
        }
    }

    #[test]
    fn a_stamp_is_the_wall_clock_while_that_moves_and_the_counter_while_it_does_not() {
        let mut clock = clock();
        assert_eq!(give(&mut clock, 1_000, None), stamp(1_000, 0));
        assert_eq!(give(&mut clock, 1_000, None), stamp(1_000, 1));
        assert_eq!(give(&mut clock, 400, None), stamp(1_000, 2));
        assert_eq!(give(&mut clock, 1_001, None), stamp(1_001, 0));
    }

    #[test]
    fn a_reply_sorts_after_what_it_answers() {
        let mut clock = clock();
        assert_eq!(give(&mut clock, 1_000, Some(stamp(4_000, 9))), stamp(4_000, 10));
        assert_eq!(give(&mut clock, 1_000, None), stamp(4_000, 11));
    }

    #[test]
    fn a_stamp_far_ahead_of_both_clocks_is_refused_and_moves_nothing() {
        let mut clock = clock();
        let bound = 1_000 + limits::STAMP_AHEAD_MAX.0;
        let refused = clock.give(at(1_000), Some(stamp(bound, 1))).unwrap_err();
        assert!(matches!(refused, StampError::Ahead { by: Millis(1) }));
        assert!(matches!(
            clock.give(at(1_000), Some(stamp(bound + 700, 0))).unwrap_err(),
            StampError::Ahead { by: Millis(701) }
        ));
        assert_eq!(give(&mut clock, 1_000, None), stamp(1_000, 0));
        assert_eq!(give(&mut clock, 1_000, Some(stamp(bound, 0))), stamp(bound, 1));
        // What is ahead of the wall clock is still good within the bound above the highest given.
        assert_eq!(give(&mut clock, 1_000, Some(stamp(bound + 4_000, 0))), stamp(bound + 4_000, 1));
    }

    #[test]
    fn nothing_is_given_above_the_reservation_or_below_an_earlier_one() {
        let mut clock = HybridClock::new(NODE, 5_000 << COUNTER_BITS);
        let needed = 5_000 << COUNTER_BITS | 1;
        assert_eq!(clock.give(at(1_000), None).unwrap(), Given::NeedsReserve(needed));
        clock.reserved = needed;
        assert_eq!(clock.give(at(1_000), None).unwrap(), Given::Stamp(stamp(5_000, 1)));
        assert_eq!(clock.give(at(1_000), None).unwrap(), Given::NeedsReserve(needed + 1));
    }

    proptest! {
        #[test]
        fn stamps_rise_strictly_and_above_what_was_presented(
            steps in proptest::collection::vec((0..20_000u64, proptest::option::of(0..25_000u64)), 1..60)
        ) {
            let mut clock = HybridClock::new(NODE, 0);
            let mut before = Stamp::ZERO;
            for (wall, presented) in steps {
                let presented = presented.map(|millis| stamp(millis, 3));
                let given = match clock.give(at(wall), presented) {
                    Err(_) => continue,
                    Ok(Given::Stamp(stamp)) => stamp,
                    Ok(Given::NeedsReserve(needed)) => {
                        prop_assert!(needed > clock.reserved);
                        clock.reserved = needed;
                        continue;
                    }
                };
                prop_assert!(given > before && given.clock() <= clock.reserved);
                prop_assert!(presented.is_none_or(|presented| given > presented));
                before = given;
            }
        }
    }
}
