//! The real program: started, killed, starved, cut off, and asked what became of every message.
#![allow(clippy::unwrap_used, missing_docs)]

mod command_line;
mod disk;
mod kills;
mod network;
mod node;
mod person;
mod proxy;
mod raw;
mod secrecy;
mod witness;
