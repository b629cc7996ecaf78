//! The data directory: one folder for everything durable, owned by one process at a time.
//!
//! The lock is the kernel's (flock), so it ends with the process whatever ends that; the file `lock` means
//! nothing by itself.

use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const LOCK_NAME: &str = "lock";

/// A data directory that this process owns.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Closing it gives the lock back.
    _lock: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another process has it.
    #[error("the data directory is in use by another process")]
    InUse,
    /// It cannot be made or opened.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DataDirectory {
    /// Makes the directory if it is missing (for its owner only), and takes its lock.
    pub fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path.join(LOCK_NAME))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => Err(DataDirectoryError::InUse),
            Err(error) => Err(DataDirectoryError::Io(error.into())),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the directory's database is.
    pub fn directory_database(&self) -> PathBuf {
        self.path.join("directory.sqlite")
    }

    /// Where mailboxes are.
    pub fn mailboxes_database(&self) -> PathBuf {
        self.path.join("mailboxes.redb")
    }
}
