//! Sockets of the public listener: TLS, WebSocket, sessions, the drain of mailboxes, ordinary HTTP on
//! the same port.
//!
//! | logic, without I/O | shell |
//! |---|---|
//! | [`tls`]: records in, plaintext out | [`Edge`]: accepts, starts, stops |
//! | [`websocket`]: upgrade, frames, messages | `shard`: one thread, its slab of connections, its calls |
//! | [`connection`]: bytes in, events out | `handoff`: ordinary HTTP, served by the router passed in |
//! | [`session`]: frames in, effects out | [`Registry`]: which connection holds a device |
//! | [`drain`]: rows in, deliveries out | |
//!
//! Invariants: an idle connection has no task, channel, timer or buffer of its own; every queue and
//! every wait has a bound; the logic reads no clock and draws no randomness.
//!
//! Must not know: stores, how requests are answered (see [`Commands`]), what an envelope holds.

mod admission;
mod budget;
mod commands;
mod config;
pub mod connection;
pub mod drain;
mod edge;
mod handoff;
mod inbox;
mod meters;
mod registry;
pub mod session;
mod shard;
pub mod tls;
pub mod websocket;
mod wheel;

pub use commands::{Admitted, Commands};
pub use config::EdgeLimits;
pub use edge::{Edge, Wiring, bind};
pub use handoff::{HandoffLimits, Uploads};
pub use registry::Registry;
