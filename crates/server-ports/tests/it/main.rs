//! The fakes keep the contracts, and the suites notice when they do not.
#![allow(clippy::unwrap_used, missing_docs)]

mod clock;
mod conformance;
mod faults;
mod planted;
