//! Adapters over redb, an embedded copy-on-write B-tree.

mod append;
mod keys;
mod mailboxes;
mod reading;
mod schema;
mod writing;

pub use mailboxes::RedbMailboxes;
