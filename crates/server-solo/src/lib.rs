//! The adapters of a service that is one process with one data directory.
//!
//! | port | adapter |
//! |---|---|
//! | `Mailboxes` | [`redb::RedbMailboxes`] |
//! | `Directory`, `GroupLog` | [`sqlite::SqliteDirectory`] |
//! | `Blobs` | [`files::FileBlobs`] |
//! | `Exchange` | [`local::LocalExchange`] |
//! | `Texter`, `Pusher` | [`local::ConsoleTexter`], [`local::QuietPusher`] |
//! | `Clock`, `Entropy` | [`local::SystemClock`], [`local::SystemEntropy`] |
//!
//! Owns: the data directory ([`files::DataDir`]) and everything in it.
//!
//! Invariants: what was answered is on disk; after the first I/O error a store answers nothing but
//! [`server_ports::StoreError::Poisoned`]; no call blocks the thread that polls it.
//!
//! Must not know: any role, any socket.

mod committer;
pub mod files;
pub mod local;
mod poison;
mod readers;
pub mod redb;
pub mod sqlite;

use std::path::PathBuf;

/// A store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory holds something else.
    #[error("{} is not empty and not a Waxwing data directory", .0.display())]
    NotADataDirectory(PathBuf),
    /// A newer version of Waxwing wrote it.
    #[error("{} has format {found}, this version knows formats up to {known}", .path.display())]
    NewerFormat {
        /// Which file or directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that can be read.
        known: u32,
    },
    /// The system did not let it be made, read or written: permissions, space, a broken disk.
    #[error("{}: {cause}", .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// What it holds is not what was written.
    #[error("{} is damaged: {cause}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the storage engine said.
        cause: String,
    },
}

impl OpenError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause: cause.to_string() }
    }
}
