//! The ports of the server: what its roles need from the world, each as one small trait whose
//! contract is written in words beside it.
//!
//! | port | owns |
//! |---|---|
//! | [`Directory`] | accounts, devices, signed device lists, prekeys, registration sessions, links |
//! | [`GroupLog`] | signed group chains and the membership that they imply |
//! | [`Mailboxes`] | undelivered envelopes and the record of recent sends |
//! | [`Blobs`] | sealed bytes that are too large for a message, and their signed addresses |
//! | [`Exchange`] | soft state: routes to sockets, hints between nodes, quota counters |
//! | [`Pusher`], [`Texter`] | wake-ups and one-time codes |
//! | [`Clock`], [`Entropy`] | time and randomness |
//!
//! Each port has an in-memory fake (`fake`) and a conformance suite (`conformance`) of ordinary
//! async functions that every adapter passes. Adapters are chosen once, in wiring.
//!
//! Must not know: any adapter, any socket, how the roles decide.

pub mod blobs;
mod caller;
pub mod conformance;
pub mod directory;
mod error;
pub mod exchange;
pub mod fake;
pub mod group_log;
pub mod mailboxes;
mod outward;
mod world;

pub use blobs::Blobs;
pub use caller::Caller;
pub use directory::Directory;
pub use error::StoreError;
pub use exchange::{Exchange, NodeInbox, Signal};
pub use group_log::GroupLog;
pub use mailboxes::Mailboxes;
pub use outward::{Pusher, TextError, Texter};
pub use world::{Clock, Entropy};
