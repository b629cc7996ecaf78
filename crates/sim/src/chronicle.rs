//! The history of the run, written by everybody who sees something, and a digest of everything that
//! happened, by which two runs of one seed are compared.

use bytes::Bytes;
use server_ports::fake::FakeClock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use testkit::{
    canary::Canaries,
    digest::{self, Running},
    history::{Fact, History},
};
use types::{Millis, Timestamp};

/// Clones write the same history.
#[derive(Clone)]
pub struct Chronicle {
    clock: FakeClock,
    start: Timestamp,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Default)]
struct Pages {
    history: History,
    trace: Running,
    canaries: Canaries,
    searched: u64,
}

impl Chronicle {
    /// An empty history that begins now.
    pub fn new(clock: FakeClock) -> Self {
        let start = clock.true_now();
        Self { clock, start, pages: Arc::default() }
    }

    /// Adds a fact at the present time.
    pub fn record(&self, fact: Fact) {
        let at = self.since_start(self.clock.true_now());
        let mut pages = self.pages();
        pages.trace.add(format!("{at:?} {fact:?}").as_bytes());
        pages.history.record(at, fact);
    }

    /// Adds bytes that went somewhere to the trace.
    pub fn trace(&self, what: &str, bytes: &[u8]) {
        let at = self.since_start(self.clock.true_now());
        self.pages().trace.add(format!("{at:?} {what} {:032x}", digest::of(bytes)).as_bytes());
    }

    /// From now on this must not stand in a byte that a server has.
    pub fn add_canary(&self, name: &str, bytes: &[u8]) {
        self.pages().canaries.add(name, bytes);
    }

    /// A server has these bytes.
    pub fn server_has(&self, place: &str, bytes: &[u8]) {
        let found: Vec<String> = {
            let mut pages = self.pages();
            pages.searched += bytes.len() as u64;
            pages.canaries.find_in(bytes).into_iter().map(str::to_owned).collect()
        };
        for canary in found {
            self.record(Fact::CanaryFound { canary, place: place.to_owned() });
        }
    }

    /// A point in time as the history counts it; times before the start count as the start.
    pub const fn since_start(&self, at: Timestamp) -> Millis {
        at.since(self.start)
    }

    /// Ends the run: the history, and the digest of everything that happened.
    pub fn close(&self) -> (History, u128) {
        let searched = self.pages().searched;
        self.record(Fact::CanariesSought { bytes: searched });
        let pages = self.pages();
        (pages.history.clone(), pages.trace.value())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest that stands for a ciphertext, a text or a key.
pub fn digest_of(bytes: &Bytes) -> u128 {
    digest::of(bytes)
}
