//! Ports that pass every call on and write down what became true of the stores.

mod directory;
mod group_log;
mod mailboxes;

pub use directory::{WatchedDirectory, record_bundle, record_upload};
pub use group_log::WatchedGroupLog;
pub use mailboxes::WatchedMailboxes;
