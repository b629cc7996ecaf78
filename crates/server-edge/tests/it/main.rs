//! The edge over real loopback sockets, and its state machines against models.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests over real sockets wait in real time")]

mod abuse;
mod budget;
mod connection;
mod drain;
mod harness;
mod http;
mod machine;
mod sessions;
mod stop;
mod tls;
mod websocket;
