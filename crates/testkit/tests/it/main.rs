//! The checker is tested, too: a good history is clean, and each way of being bad is found.
#![allow(clippy::unwrap_used)]

mod bad_histories;
mod lines;
mod scene;
