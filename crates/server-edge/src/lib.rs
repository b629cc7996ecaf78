//! Sockets of the public listener.
//!
//! WIP
pub mod admission;
pub mod connection;
mod handoff;
pub mod tls;
pub mod websocket;
mod wheel;
