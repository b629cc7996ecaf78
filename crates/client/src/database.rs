//! Opening the profile's database: format, damage, durability.

use rusqlite::Connection;
use std::path::Path;

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version of this program; nothing was changed.
    #[error("the profile was written by a newer version (format {found}; this version knows {known})")]
    NewerFormat {
        /// The format of the file.
        found: u32,
        /// The newest one that this program knows.
        known: u32,
    },
    /// Written by an earlier version; opening it for writing brings it up to date.
    #[error("the profile was written by an earlier version (format {found}; this version knows {known})")]
    OlderFormat {
        /// The format of the file.
        found: u32,
        /// The newest one that this program knows.
        known: u32,
    },
    /// A database, but not a profile.
    #[error("the file is not a Waxwing profile")]
    NotAProfile,
    /// Not a database, or a broken one.
    #[error("the profile's database is damaged")]
    Damaged,
    /// It could not be read or written.
    #[error("the profile's database could not be opened")]
    Database(#[source] rusqlite::Error),
}

/// Opens or creates the database file. The caller holds the profile's lock and has made the file private (0600).
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    let _ = path;
    todo!()
}

/// Opens an existing database for reading, beside a process that may be writing it.
pub fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let _ = path;
    todo!()
}

/// A database that is gone when it is closed; for tests and trials.
pub fn open_in_memory() -> Result<Connection, OpenError> {
    todo!()
}
