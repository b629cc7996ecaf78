//! What must be true of the seal, seen from outside. Tests that need the Signal library itself ("controls")
//! show that the same input without the guard does what the guard is there for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod addresses;
mod archive;
mod backup;
mod content;
mod control;
mod conversation;
mod group_info;
mod guard;
mod interop;
mod link;
mod link_digits;
mod link_scene;
mod mutants;
mod names;
mod own_devices;
mod padding;
mod prekeys;
mod protobuf;
mod public_api;
mod removal;
mod replay;
mod safety_number;
mod sender_keys;
mod support;
mod upgrade;
