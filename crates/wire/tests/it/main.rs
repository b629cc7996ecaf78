//! What must be true of the wire.
#![allow(clippy::unwrap_used, missing_docs)]

mod frames;
mod garbage;
mod snapshots;
mod versions;
