//! The engine's shell on tokio: everything about a client that touches the network.
//!
//! Owns: dialling, TLS trust, the WebSocket and its keep-alive, requests over HTTP, blobs, reconnecting.
//! Must not know: what a frame means, the database, commands and their output.
//!
//! Invariants: plain HTTP is spoken to loopback only; every wait has an end; every queue is bounded;
//! whatever a server sends, the process neither panics nor grows without limit.

mod backoff;
pub mod blob;
mod certificate;
mod dial;
mod driver;
mod http;
mod http_json;
mod outcomes;
mod progress;
mod server_url;
mod socket;
mod transfers;

pub use backoff::Backoff;
pub use certificate::{CertificatePin, PinMismatch};
pub use dial::{Dialer, Unreachable};
pub use driver::{Driver, Stopped};
pub use http_json::exchange;
pub use outcomes::{AddingDevices, Changed, GroupResult, LookupResult};
pub use progress::{Ended, Link, Progress};
pub use server_url::{InvalidServerUrl, ServerUrl};
pub use socket::{Lost, SendSlot, Socket, Turn};
