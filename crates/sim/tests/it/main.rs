//! The simulator's own tests: seeds are clean and replay exactly, planted bugs are found.
#![allow(clippy::unwrap_used)]

mod hostile;
mod planted;
mod seeds;
