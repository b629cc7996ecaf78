//! The real program: started, killed, starved, cut off, and asked what became of every message.
#![allow(clippy::unwrap_used, missing_docs)]

mod blobs;
mod command_line;
mod devices;
mod disk;
mod groups;
mod kills;
mod network;
mod node;
mod person;
mod proxy;
mod raw;
mod secrecy;
mod witness;
