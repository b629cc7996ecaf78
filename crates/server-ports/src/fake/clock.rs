//! Virtual time: it moves only when told to.

use super::lock;
use crate::Clock;
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use types::{Millis, Timestamp};

/// A clock that stands still until [`FakeClock::advance_to`]. Clones share their time and skew.
#[derive(Clone)]
pub struct FakeClock {
    time: Arc<Mutex<Time>>,
    /// What this node's clock shows more (or less) than the true time, in milliseconds.
    skew: Arc<AtomicI64>,
}

struct Time {
    now: Timestamp,
    timers_started: u64,
    timers: BTreeMap<TimerId, Timer>,
}

/// When it rings; timers of one instant ring in the order in which they were set.
type TimerId = (Timestamp, u64);

enum Timer {
    Wake(Waker),
    Run(Box<dyn FnOnce() + Send>),
}

impl FakeClock {
    /// Time that starts at `start`.
    pub fn new(start: Timestamp) -> Self {
        let time = Time { now: start, timers_started: 0, timers: BTreeMap::new() };
        Self { time: Arc::new(Mutex::new(time)), skew: Arc::default() }
    }

    /// A node's clock over the same time, which shows `skew_ms` more.
    pub fn skewed(&self, skew_ms: i64) -> Self {
        Self { time: self.time.clone(), skew: Arc::new(AtomicI64::new(skew_ms)) }
    }

    /// Steps what this clock (and its clones) shows, backwards too; time and timers stay.
    pub fn set_skew(&self, skew_ms: i64) {
        self.skew.store(skew_ms, Ordering::SeqCst);
    }

    /// The true time, without this clock's skew.
    pub fn true_now(&self) -> Timestamp {
        lock(&self.time).now
    }

    /// When the next timer rings.
    pub fn next_timer(&self) -> Option<Timestamp> {
        lock(&self.time).timers.keys().next().map(|(at, _)| *at)
    }

    /// Moves time forward to `until` and rings, in order, every timer on the way. A time that has
    /// passed changes nothing.
    pub fn advance_to(&self, until: Timestamp) {
        while let Some(timer) = self.ring_next(until) {
            match timer {
                Timer::Wake(waker) => waker.wake(),
                Timer::Run(action) => action(),
            }
        }
        let mut time = lock(&self.time);
        time.now = time.now.max(until);
    }

    /// Moves time forward by `length`.
    pub fn advance(&self, length: Millis) {
        self.advance_to(self.true_now() + length);
    }

    /// Runs `action` when `length` has passed.
    pub fn after(&self, length: Millis, action: impl FnOnce() + Send + 'static) {
        let mut time = lock(&self.time);
        let id = time.next_id(length);
        time.timers.insert(id, Timer::Run(Box::new(action)));
    }

    fn ring_next(&self, until: Timestamp) -> Option<Timer> {
        let mut time = lock(&self.time);
        let (at, _) = *time.timers.keys().next().filter(|(at, _)| *at <= until)?;
        time.now = time.now.max(at);
        time.timers.pop_first().map(|(_, timer)| timer)
    }
}

impl Time {
    fn next_id(&mut self, length: Millis) -> TimerId {
        self.timers_started += 1;
        (self.now + length, self.timers_started)
    }
}

#[async_trait::async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        let skew = self.skew.load(Ordering::SeqCst);
        Timestamp::from_millis(self.true_now().as_millis().saturating_add_signed(skew))
    }

    async fn sleep(&self, length: Millis) {
        let id = lock(&self.time).next_id(length);
        Sleep { time: self.time.clone(), id }.await;
    }
}

struct Sleep {
    time: Arc<Mutex<Time>>,
    id: TimerId,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = lock(&self.time);
        if time.now >= self.id.0 {
            return Poll::Ready(());
        }
        time.timers.insert(self.id, Timer::Wake(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.time).timers.remove(&self.id);
    }
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeClock({})", self.now())
    }
}
