//! The server's time, which every time limit is measured by.
//!
//! The hello of a connection tells it; between hellos our own clock carries it on, but never more than the
//! tolerance past the last hello, so that a wrong local clock expires and forgets nothing. A hello that
//! contradicts what we know by more than the tolerance is believed when a second connection confirms it.

use crate::store::profile::ClockRecord;
use types::{Timestamp, limits::SERVER_TIME_TOLERANCE};

impl ClockRecord {
    /// What the server's clock shows now, as far as we know.
    pub(crate) fn server_time(&self, now: Timestamp) -> Timestamp {
        let Some(offset) = self.offset else { return now };
        let latest = self.heard + SERVER_TIME_TOLERANCE;
        shifted(now, offset).clamp(self.heard, latest)
    }

    /// While a connection lasts, time that goes by in steps below the tolerance is believed.
    pub(crate) fn carry(&mut self, now: Timestamp) {
        if let Some(offset) = self.offset {
            let server = shifted(now, offset);
            if server > self.heard && server <= self.heard + SERVER_TIME_TOLERANCE {
                self.heard = server;
            }
        }
    }

    /// Takes in what a hello said.
    pub(crate) fn hear(&mut self, server: Timestamp, now: Timestamp) {
        let offset = signed(server).saturating_sub(signed(now));
        let known = self.offset.is_none_or(|known| is_near(known, offset));
        let confirmed = self.suspect.is_some_and(|suspect| is_near(suspect, offset));
        if known || confirmed {
            *self = Self { offset: Some(offset), suspect: None, heard: server };
        } else {
            self.suspect = Some(offset);
        }
    }
}

fn is_near(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= SERVER_TIME_TOLERANCE.0
}

fn signed(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn shifted(time: Timestamp, offset: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add_signed(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Millis;

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn heard() -> ClockRecord {
        let mut clock = ClockRecord::default();
        clock.hear(START + Millis::from_mins(3), START);
        clock
    }

    #[test]
    fn our_clock_carries_the_servers_on() {
        let later = START + Millis::from_hours(1);
        assert_eq!(heard().server_time(later), later + Millis::from_mins(3));
    }

    #[test]
    fn our_clock_carries_it_no_further_than_the_tolerance() {
        let years_later = START + Millis::from_days(1_000);
        assert_eq!(heard().server_time(years_later), START + Millis::from_mins(3) + SERVER_TIME_TOLERANCE);
        assert_eq!(heard().server_time(Timestamp::default()), START + Millis::from_mins(3));
    }

    #[test]
    fn a_long_connection_carries_it_on_and_a_jump_within_it_does_not() {
        let mut clock = heard();
        let mut now = START;
        for _ in 0..1_000 {
            now = now + Millis::from_hours(1);
            clock.carry(now);
        }
        assert_eq!(clock.server_time(now), now + Millis::from_mins(3));
        let jumped = now + Millis::from_days(300);
        for _ in 0..1_000 {
            clock.carry(jumped);
        }
        assert_eq!(clock.server_time(jumped), now + Millis::from_mins(3) + SERVER_TIME_TOLERANCE);
    }

    #[test]
    fn a_jump_is_believed_when_a_second_connection_confirms_it() {
        let mut clock = heard();
        let jumped = START + Millis::from_days(40);
        clock.hear(jumped, START);
        assert!(clock.server_time(START) < START + Millis::from_days(1), "one hello does not move it");
        clock.hear(jumped + Millis::from_secs(1), START + Millis::from_secs(1));
        assert_eq!(clock.server_time(START + Millis::from_secs(1)), jumped + Millis::from_secs(1));
    }
}
