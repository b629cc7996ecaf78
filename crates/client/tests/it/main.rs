//! Engines against a server in memory, whose faults the tests choose.
#![allow(clippy::unwrap_used, missing_docs)]

mod conversation;
mod faults;
mod outbox;
mod server;
mod world;
