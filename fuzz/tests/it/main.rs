//! The short run: the committed corpus and a few thousand changed inputs for every target, the same ones every time.

#![allow(clippy::unwrap_used)]

mod corpus;
mod planted;
mod short_run;
