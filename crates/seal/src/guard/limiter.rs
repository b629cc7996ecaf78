//! How often a sender may send what does not open, before we stop trying for a while.
//!
//! A forged message costs up to 4,000 hash steps, so what one sender can make a device compute is bounded by
//! the number of failures that it is allowed. State is soft: after a restart everybody starts afresh.

use std::collections::BTreeMap;
use types::{DeviceAddress, Millis, Timestamp};

/// Failures that one sender device may cause within a minute.
pub const FAILURES_MAX: u32 = 50;
/// The time in which failures are counted, and the first pause.
const WINDOW: Millis = Millis::from_mins(1);
/// Pauses double up to this one.
const PAUSE_MAX: Millis = Millis::from_hours(1);
/// Senders that are remembered; the server names them, so their number must be bounded.
const SENDERS_MAX: usize = 1_024;

/// Counts failures by sender device. Ask [`FailureLimiter::admit`] before decrypting, and report what
/// [`crate::DecryptFailure::counts`].
#[derive(Clone, Debug, Default)]
pub struct FailureLimiter {
    senders: BTreeMap<DeviceAddress, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    window_start: Timestamp,
    failures: u32,
    pauses: u32,
    closed_until: Timestamp,
}

impl FailureLimiter {
    /// Ok, or the time before which nothing of this sender is to be tried: leave it unacknowledged or held.
    pub fn admit(&self, sender: DeviceAddress, now: Timestamp) -> Result<(), Timestamp> {
        match self.senders.get(&sender) {
            Some(record) if now < record.closed_until => Err(record.closed_until),
            _ => Ok(()),
        }
    }

    /// Counts one failure.
    pub fn failed(&mut self, sender: DeviceAddress, now: Timestamp) {
        self.make_room(sender);
        let fresh = Record { window_start: now, failures: 0, pauses: 0, closed_until: Timestamp::default() };
        let record = self.senders.entry(sender).or_insert(fresh);
        if now.since(record.window_start) >= WINDOW {
            record.window_start = now;
            record.failures = 0;
        }
        if now.since(record.closed_until) >= PAUSE_MAX {
            record.pauses = 0;
        }
        record.failures += 1;
        if record.failures >= FAILURES_MAX {
            record.closed_until = now + pause(record.pauses);
            record.pauses = record.pauses.saturating_add(1);
            record.window_start = record.closed_until;
            record.failures = 0;
        }
    }

    /// Forgets the sender whose window is oldest.
    fn make_room(&mut self, sender: DeviceAddress) {
        if self.senders.len() < SENDERS_MAX || self.senders.contains_key(&sender) {
            return;
        }
        let oldest =
            self.senders.iter().min_by_key(|(_, record)| record.window_start).map(|(address, _)| *address);
        if let Some(oldest) = oldest {
            self.senders.remove(&oldest);
        }
    }
}

fn pause(pauses_before: u32) -> Millis {
    Millis((WINDOW.0 << pauses_before.min(10)).min(PAUSE_MAX.0))
}
