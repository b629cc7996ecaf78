//! What the devices of one run have seen, in numbers.

use anyhow::Result;
use hdrhistogram::Histogram;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

/// Latencies above a minute count as a minute.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Counters that the tasks of one run share.
pub(crate) struct Tally {
    pub(crate) started: Instant,
    pub(crate) sent: Cell<u64>,
    pub(crate) accepted: Cell<u64>,
    pub(crate) delivered: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    /// When the last acceptance came.
    last: Cell<u64>,
    pub(crate) accept_latency: RefCell<Histogram<u64>>,
    pub(crate) delivery_latency: RefCell<Histogram<u64>>,
}

impl Tally {
    pub(crate) fn new() -> Result<Rc<Self>> {
        Ok(Rc::new(Self {
            started: Instant::now(),
            sent: Cell::new(0),
            accepted: Cell::new(0),
            delivered: Cell::new(0),
            refused: Cell::new(0),
            last: Cell::new(0),
            accept_latency: RefCell::new(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?),
            delivery_latency: RefCell::new(Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?),
        }))
    }

    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn send(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    pub(crate) fn accepted_since(&self, sent_us: u64) {
        self.accepted.set(self.accepted.get() + 1);
        self.last.set(self.now_us());
        self.accept_latency.borrow_mut().saturating_record(self.now_us().saturating_sub(sent_us));
    }

    pub(crate) fn delivered_since(&self, sent_us: u64) {
        self.delivered.set(self.delivered.get() + 1);
        self.delivery_latency.borrow_mut().saturating_record(self.now_us().saturating_sub(sent_us));
    }

    pub(crate) fn refuse(&self) {
        self.refused.set(self.refused.get() + 1);
    }

    /// From the start to the last acceptance.
    pub(crate) fn accepting(&self) -> Duration {
        Duration::from_micros(self.last.get().max(1))
    }

    /// Whether everything that was sent was answered, and everything accepted delivered.
    pub(crate) fn is_settled(&self) -> bool {
        self.sent.get() == self.accepted.get() + self.refused.get()
            && self.delivered.get() >= self.accepted.get()
    }
}
