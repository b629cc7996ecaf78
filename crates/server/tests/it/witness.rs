//! Writes down what people saw, for the checker of histories.

use std::sync::{Arc, Mutex};
use std::time::Instant;
use testkit::{
    check::{Invariant, Report, Terms, check},
    history::{Fact, History},
};
use types::Millis;

/// One notebook for everybody in a test.
#[derive(Clone)]
pub struct Witness(Arc<Mutex<(Instant, History)>>);

impl Witness {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((Instant::now(), History::default()))))
    }

    pub fn note(&self, fact: Fact) {
        let mut notebook = self.0.lock().unwrap();
        let at = Millis(u64::try_from(notebook.0.elapsed().as_millis()).unwrap());
        notebook.1.record(at, fact);
    }

    /// Judges what was seen. Wall time is not judged here: a machine may be slow.
    pub fn judge(&self) -> Report {
        let terms = Terms { settle_within: Millis::from_mins(10), ..Terms::default() };
        check(&self.0.lock().unwrap().1, terms)
    }

    /// Fails if an invariant is broken, or if the run could not have broken those that it was for.
    pub fn assert_all_is_well(&self) {
        let report = self.judge();
        report.assert_clean();
        report.assert_judged(&[Invariant::AcceptedArrives, Invariant::NoDuplicate, Invariant::Order]);
    }
}
