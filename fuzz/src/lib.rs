//! Fuzzing: a target for every parser of bytes that somebody else wrote.
//!
//! Owns: the table of targets ([`targets::ALL`]), their samples, the committed corpus, and the mutator that runs on
//! the stable toolchain ([`campaign`]). A target panics when something must never be; whatever else it does with its
//! input is fine. Beyond "no panic" it states what is cheap to state: what was read can be written and read again,
//! bytes in pieces mean what they mean in one, a refused message changes no state.
//!
//! Three ways to run the same table: `cargo test -p fuzz` replays the corpus and mutates it for a few seconds, the
//! same inputs every time; `fuzz run` mutates for as long as asked; `fuzz-guided` lets libFuzzer follow the coverage.
//!
//! Must not know: sockets, files of the product, how a long run is built (`xtask`).

pub mod campaign;
pub mod corpus;
pub mod mutation;
mod people;
mod post_office;
pub mod target;
pub mod targets;

pub use target::{Outcome, Sample, Target};
