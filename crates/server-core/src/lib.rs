//! The roles of the server: accept a send, wake who it is for, order the operations of groups, give out keys, keep
//! device lists, link devices, register and restore accounts, admit sessions.
//!
//! Owns: every decision the server makes. Each role is a short asynchronous function over the ports
//! that reads *load -> decide -> commit*, where the decision is a pure function.
//!
//! Invariants:
//! - "Accepted" is answered only after [`server_ports::Mailboxes::append`] said that the rows are on disk.
//! - A node holds no durable state of its own: another node, or this one after a crash, takes over
//!   with what the ports know.
//! - Deterministic: time and randomness come through ports, nothing is spawned, and no order depends
//!   on hashing.
//!
//! Must not know: sockets, HTTP, any adapter, the Signal library, what is inside a ciphertext.
//!
//! The table of contents is [`Core::handle`]: one `match` from a request to its role.

mod accept;
mod accounts;
mod acquaintance;
mod admission;
mod blobs;
mod bugs;
mod code;
mod config;
mod connect;
mod core;
mod duties;
mod ephemeral;
mod fan_out;
mod group_send;
mod group_state;
mod groups;
mod keys;
mod links;
mod lists;
mod log_name;
mod lookup;
mod phone;
mod ports;
mod quota;
mod refusal;
mod registration;
mod restore;
mod retire;
mod staleness;
mod stamp;
mod wake;

pub use accounts::AccountError;
pub use blobs::BlobError;
pub use code::CODE_DIGITS;
pub use config::{Config, Origins};
pub use connect::{Admitted, ConnectError};
pub use core::{Core, Health};
pub use keys::KeyError;
pub use links::{LinkError, LinkView, NewDevice};
pub use lists::ListRefused;
pub use ports::Ports;
pub use quota::{Allowance, Quotas};
pub use registration::{CodeSent, Finish, Registered, RegistrationError};
pub use restore::{Restoration, RestoreError};
pub use retire::LOOK_EVERY;

/// What only tests use.
#[doc(hidden)]
pub mod testing {
    pub use crate::bugs::Bugs;
}
