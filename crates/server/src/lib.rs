//! `waxwing`: configuration, wiring, listeners, admin.
//!
//! Owns: the only place that sees both the roles and the adapters. What differs between one machine and
//! a fleet is decided here, once, at start.
//!
//! Must not know: how a role decides, what a ciphertext means.

mod admin_http;
pub mod admin_socket;
pub mod command_line;
mod commands;
pub mod config;
pub mod failure;
pub mod http;
mod log;
mod serve;
mod tls;
mod wiring;
