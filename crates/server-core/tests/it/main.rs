//! What the roles promise, over the fakes of the ports and in virtual time.
#![allow(clippy::unwrap_used, missing_docs)]

mod accept;
mod connect;
mod duties;
mod keys;
mod links;
mod lists;
mod lookup;
mod planted;
mod registration;
mod restore;
mod world;
