//! What a fuzz target is.

use std::fmt::Display;

/// One parser, and how to feed it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line and its folder in the corpus.
    pub name: &'static str,
    /// Reads the input as the product does. Panics when something happened that must never happen.
    pub run: fn(&[u8]) -> Outcome,
    /// Inputs that honest code made, each of which is accepted.
    pub samples: fn() -> Vec<Sample>,
    /// Inputs of the short run in the tests, so that all targets together take seconds.
    pub short_runs: u32,
    /// Inputs are not made longer than this: a limit of the parser is worth crossing, and nothing beyond it.
    pub input_bytes_max: usize,
}

/// An input of which is known that it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// What it shows; its file name in the corpus.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Sample {
    /// A named sample.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// What a parser said to an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It is valid.
    Accepted,
    /// It is not, and why. A reason that was not seen before makes an input worth keeping.
    Refused(String),
}

impl Outcome {
    /// The outcome of a parser that returns a result.
    pub fn of<T, E: Display>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Accepted,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}
