//! `waxwing`: configuration, wiring, listeners, admin.
//!
//! Owns: the only place that sees both the roles and the adapters. What differs between one machine and
//! a fleet is decided here, once, at start.
//!
//! Must not know: how a role decides, what a ciphertext means.

pub mod admin_socket;
pub mod command_line;
pub mod config;
pub mod failure;
mod log;
mod serve;
