//! A run of one target on the stable toolchain: seeded, so that the same seed and corpus give the same inputs.
//!
//! There is no coverage to follow here. What stands in for it is what the parser says: an input that is refused for a
//! reason not heard before, or accepted, joins the pool that later inputs are made from.

use std::{
    any::Any,
    collections::BTreeSet,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};

use crate::{Outcome, Target, mutation::mutate};

/// Inputs that the pool keeps; accepted ones would otherwise fill the memory.
const POOL_MAX: usize = 512;

/// What happened in a run without a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs that were run, those of the corpus included.
    pub runs: u64,
    /// How many of them were accepted.
    pub accepted: u64,
    /// Reasons for which inputs were refused.
    pub reasons: BTreeSet<String>,
}

/// An input on which the target panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The target's name.
    pub target: &'static str,
    /// The input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

impl Failure {
    /// The command that runs the target on this input again.
    pub fn replay_command(&self) -> String {
        format!("cargo run --release -p fuzz -- replay {} --hex {}", self.target, hex::encode(&self.input))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} panicked: {}", self.target, self.message)?;
        writeln!(f, "input of {} bytes: {}", self.input.len(), hex::encode(&self.input))?;
        write!(f, "replay: {}", self.replay_command())
    }
}

/// Runs a target on one input.
pub fn run_one(target: &Target, input: &[u8]) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| Failure {
        target: target.name,
        input: input.to_vec(),
        message: message_of(&*panic),
    })
}

/// Runs the corpus, then changed inputs until `keep_going` breaks; it is asked before each one, with the number of
/// runs so far.
pub fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    mut keep_going: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut pool: Vec<Vec<u8>> = corpus.to_vec();
    // Nothing is an input too, and a pool without any could not grow.
    pool.push(Vec::new());
    for input in &pool {
        summary.note(run_one(target, input)?);
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    while keep_going(summary.runs).is_continue() {
        let (one, other) = (pick(&pool, &mut rng), pick(&pool, &mut rng));
        let input = mutate(one, other, target.input_bytes_max, &mut rng);
        let news = summary.note(run_one(target, &input)?);
        if news && pool.len() < POOL_MAX {
            pool.push(input);
        }
    }
    Ok(summary)
}

/// As many inputs as asked, for tests.
pub fn run_bounded(target: &Target, corpus: &[Vec<u8>], seed: u64, runs: u32) -> Result<Summary, Failure> {
    let end = corpus.len() as u64 + u64::from(runs);
    run(
        target,
        corpus,
        seed,
        |done| if done < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) },
    )
}

/// The shortest input this finds on which the target still panics: whole parts are left out, larger ones first.
pub fn minimize(target: &Target, failure: Failure) -> Failure {
    let mut smallest = failure;
    let mut part = smallest.input.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at + part <= smallest.input.len() {
            let mut shorter = smallest.input.clone();
            shorter.drain(at..at + part);
            match run_one(target, &shorter) {
                Err(still) => smallest = still,
                Ok(_) => at += part,
            }
        }
        part /= 2;
    }
    smallest
}

impl Summary {
    /// Counts an outcome; whether it is worth remembering.
    fn note(&mut self, outcome: Outcome) -> bool {
        self.runs += 1;
        match outcome {
            Outcome::Accepted => {
                self.accepted += 1;
                true
            }
            Outcome::Refused(reason) => self.reasons.insert(reason),
        }
    }
}

fn pick<'a>(pool: &'a [Vec<u8>], rng: &mut SmallRng) -> &'a [u8] {
    pool.choose(rng).map_or(&[], Vec::as_slice)
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no message)".to_owned())
}
