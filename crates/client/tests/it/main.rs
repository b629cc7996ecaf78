//! Engines against a server in memory, whose faults the tests choose.
#![allow(clippy::unwrap_used, missing_docs)]

mod backup;
mod bytes;
mod connection;
mod conversation;
mod devices;
mod faults;
mod gaps;
mod group_server;
mod groups;
mod groups_chain;
mod groups_changes;
mod groups_keys;
mod groups_world;
mod handover;
mod link_server;
mod link_world;
mod linking;
mod migrations;
mod outbox;
mod profile;
mod quarantine;
mod queries;
mod server;
mod world;
