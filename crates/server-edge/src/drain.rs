//! How one session brings its mailbox to its device: catch-up and live delivery in one state machine.
//!
//! Owns: what was sent and is not acknowledged, where the next read starts, when `Drained` is due.
//!
//! Invariants:
//! - Within one session no row is sent twice, and every row that the store shows is sent.
//! - A read pass starts at the *floor*, below which no row can still appear, and runs to the end of the
//!   mailbox. In a store whose positions follow commit order the floor is the last row sent; in others
//!   it stays behind, and rows above it that were sent are remembered and skipped.
//! - An envelope that came with a hint is sent only directly after the row before it, and never while
//!   a pass is running or due; otherwise a hint means no more than "read the store".
//! - At most a window of rows and bytes is unacknowledged; beyond it nothing is read.
//!
//! Must not know: the store, the socket, frames.

use bytes::Bytes;
use server_ports::mailboxes::Page;
use std::collections::{BTreeMap, BTreeSet};
use types::{Millis, Position, Timestamp, limits};
use wire::Delivery;

/// Bounds and intervals of a drain.
#[derive(Clone, Copy, Debug)]
pub struct DrainLimits {
    /// Rows sent and not acknowledged. Ten full deliveries: enough to keep a connection with a round
    /// trip of 100 ms busy at 10,000 rows a second.
    pub window_rows: usize,
    /// Bytes of envelopes sent and not acknowledged, passed by at most one delivery.
    pub window_bytes: usize,
    /// The store is read again after this long without a read, whatever hints say.
    pub reread: Millis,
    /// The wait after a read that failed.
    pub retry: Millis,
    /// Faults that a test plants to see them found.
    pub bugs: Bugs,
}

/// Which faults are planted. Each breaks one invariant of the drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// The floor follows what was sent and not what the store promised: rows that appear late are skipped.
    pub skip_late_rows: bool,
    /// An envelope is sent from its hint whatever is missing before it.
    pub hint_overtakes: bool,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self {
            window_rows: 1_000,
            window_bytes: 2 * 1024 * 1024,
            reread: Millis::from_secs(30),
            retry: Millis::from_secs(1),
            bugs: Bugs::default(),
        }
    }
}

/// A read of the store that is to be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Rows after this position.
    pub after: Position,
    /// At most this many.
    pub rows: usize,
    /// At most this many bytes of envelopes, but at least one row.
    pub bytes: usize,
}

/// The drain of one session.
#[derive(Debug)]
pub struct Drain {
    /// Every row at or below is sent; no other can appear there.
    floor: Position,
    /// Rows above the floor that are sent.
    sent_above: BTreeSet<Position>,
    /// Sent, not acknowledged: position and size.
    unacknowledged: BTreeMap<Position, u32>,
    unacknowledged_bytes: usize,
    pass: Pass,
    /// Something may be in the store that the current pass does not see.
    due: bool,
    drained: bool,
    blocked: bool,
    /// When the store is read again by itself.
    wake_at: Timestamp,
}

/// Where the current read pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// No pass: the end of the mailbox was reached.
    Idle,
    /// The next read starts here, once window and socket allow it.
    At(Position),
    /// A read from here is under way.
    Reading(Position),
    /// A read from here failed; it is made again at `wake_at`.
    Failed(Position),
}

impl Drain {
    /// The drain of a session that begins now, at the lowest unacknowledged row.
    pub fn new(now: Timestamp, limits: &DrainLimits) -> Self {
        Self {
            floor: Position::ZERO,
            sent_above: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            unacknowledged_bytes: 0,
            pass: Pass::At(Position::ZERO),
            due: false,
            drained: false,
            blocked: false,
            wake_at: now + limits.reread,
        }
    }

    /// The read to make now, if there is one. Its outcome comes back by [`Drain::page`] or
    /// [`Drain::read_failed`].
    pub fn next_read(&mut self, limits: &DrainLimits) -> Option<Read> {
        if self.pass == Pass::Idle && self.due {
            self.due = false;
            self.pass = Pass::At(self.floor);
        }
        let Pass::At(after) = self.pass else { return None };
        let rows = limits.window_rows.saturating_sub(self.unacknowledged.len());
        let bytes = limits.window_bytes.saturating_sub(self.unacknowledged_bytes);
        if self.blocked || rows == 0 || bytes == 0 {
            return None;
        }
        self.pass = Pass::Reading(after);
        Some(Read {
            after,
            rows: rows.min(limits::DELIVER_ENVELOPES_MAX),
            bytes: bytes.min(limits::DELIVER_BYTES_MAX),
        })
    }

    /// Whether a pass waits for acknowledgements.
    pub fn is_stalled(&self, limits: &DrainLimits) -> bool {
        matches!(self.pass, Pass::At(_))
            && !self.blocked
            && (self.unacknowledged.len() >= limits.window_rows
                || self.unacknowledged_bytes >= limits.window_bytes)
    }

    /// Takes what the store answered; returns what to send, and whether `Drained` follows it.
    pub fn page(&mut self, page: Page, now: Timestamp, limits: &DrainLimits) -> (Vec<Delivery>, bool) {
        let Pass::Reading(after) = self.pass else { return (Vec::new(), false) };
        let last = page.rows.last().map_or(after, |row| row.position.max(after));
        let fresh: Vec<Delivery> = page
            .rows
            .into_iter()
            .filter(|row| row.position > self.floor && !self.sent_above.contains(&row.position))
            .map(|row| Delivery { position: row.position, envelope: row.envelope })
            .collect();
        for delivery in &fresh {
            self.unacknowledged(delivery);
        }
        // The promise of a page further on says nothing about rows that have appeared behind it since.
        if after <= self.floor {
            self.raise_floor(page.cursor);
        }
        if limits.bugs.skip_late_rows {
            self.raise_floor(last);
        }
        let floor = self.floor;
        self.sent_above
            .extend(fresh.iter().map(|delivery| delivery.position).filter(|position| *position > floor));
        let next = last.max(page.cursor);
        self.wake_at = now + limits.reread;
        // A page that leads nowhere must not be asked for again at once.
        let ended = page.complete || next <= after;
        self.pass = if ended { Pass::Idle } else { Pass::At(next) };
        let drained = ended && !self.drained;
        self.drained |= ended;
        (fresh, drained)
    }

    /// The read failed; the same one is made again after a while.
    pub fn read_failed(&mut self, now: Timestamp, limits: &DrainLimits) {
        if let Pass::Reading(after) = self.pass {
            self.pass = Pass::Failed(after);
            self.wake_at = now + limits.retry;
        }
    }

    /// A row was written; returns it if it is the very next one to send.
    pub fn hint(
        &mut self,
        position: Position,
        previous: Option<Position>,
        envelope: Bytes,
        limits: &DrainLimits,
    ) -> Option<Delivery> {
        if position <= self.floor || self.sent_above.contains(&position) {
            return None;
        }
        let follows = previous == Some(self.floor) && self.sent_above.is_empty();
        let room =
            self.unacknowledged.len() < limits.window_rows && self.unacknowledged_bytes < limits.window_bytes;
        let caught_up = self.pass == Pass::Idle && !self.due;
        if self.blocked || !room || !(caught_up && follows || limits.bugs.hint_overtakes) {
            self.due = true;
            return None;
        }
        let delivery = Delivery { position, envelope };
        self.unacknowledged(&delivery);
        self.raise_floor(position);
        Some(delivery)
    }

    /// Something may have been written.
    pub fn read_soon(&mut self) {
        self.due = true;
    }

    /// The device has these rows for good.
    pub fn acknowledged(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(bytes) = self.unacknowledged.remove(position) {
                self.unacknowledged_bytes -= bytes as usize;
            }
        }
    }

    /// Whether the socket takes output; nothing is read for one that does not.
    pub fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// When [`Drain::tick`] has something to do.
    pub fn wake_at(&self) -> Timestamp {
        match self.pass {
            Pass::Idle | Pass::Failed(_) => self.wake_at,
            Pass::At(_) | Pass::Reading(_) => Timestamp::MAX,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Timestamp) {
        if now < self.wake_at() {
            return;
        }
        match self.pass {
            Pass::Failed(after) => self.pass = Pass::At(after),
            _ => self.due = true,
        }
    }

    fn unacknowledged(&mut self, delivery: &Delivery) {
        // An envelope is bounded far below 4 GiB; what is counted is what is given back.
        let bytes = u32::try_from(delivery.envelope.len()).unwrap_or(u32::MAX);
        self.unacknowledged.insert(delivery.position, bytes);
        self.unacknowledged_bytes += bytes as usize;
    }

    fn raise_floor(&mut self, floor: Position) {
        if floor > self.floor {
            self.floor = floor;
            self.sent_above.retain(|position| *position > floor);
        }
    }
}
