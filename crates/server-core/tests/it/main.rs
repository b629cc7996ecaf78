//! What the roles promise, over the fakes of the ports and in virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod accept;
mod blobs;
mod chain;
mod connect;
mod duties;
mod ephemeral;
mod group_removal;
mod group_send;
mod groups;
mod keys;
mod links;
mod lists;
mod lookup;
mod own_devices;
mod planted;
mod quotas;
mod registration;
mod restore;
mod world;
