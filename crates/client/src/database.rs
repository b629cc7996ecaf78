//! Opening the profile's database: format, damage, durability.
//!
//! The format is SQLite's `user_version`: the number of the last migration that was applied. Migrations are
//! numbered files that are never changed once released; each runs in one transaction with its number. A
//! format newer than this program knows is refused untouched.

use crate::Fault;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;

/// Marks a file as a Waxwing profile in SQLite's `application_id`: "WAXW".
const APPLICATION_ID: i32 = 0x5741_5857;

/// In order; the format of a database is the number of those that were applied.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_devices_and_chats.sql"),
    include_str!("../migrations/0003_groups.sql"),
    include_str!("../migrations/0004_linking.sql"),
    include_str!("../migrations/0005_named_accounts.sql"),
    include_str!("../migrations/0006_own_devices.sql"),
];

/// Databases up to this size are checked page by page when they are opened, which takes some milliseconds;
/// in larger ones damage shows when the damaged page is read.
const CHECKED_BYTES_MAX: i64 = 32 * 1024 * 1024;

/// The newest format that this program knows.
pub const FORMAT: u32 = MIGRATIONS.len() as u32;

/// The database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version of this program; nothing was changed.
    #[error("the profile was written by a newer version (format {found}; this version knows {FORMAT})")]
    NewerFormat {
        /// The format of the file.
        found: u32,
    },
    /// Written by an earlier version; opening it for writing brings it up to date.
    #[error("the profile was written by an earlier version (format {found}; this version knows {FORMAT})")]
    OlderFormat {
        /// The format of the file.
        found: u32,
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

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            _ => Self::Database(error),
        }
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Database(error) => Self::Database(error),
            _ => Self::Damaged,
        }
    }
}

/// Opens or creates the database file. The caller holds the profile's lock and has made the file private (0600).
pub fn open(path: &Path) -> Result<Connection, OpenError> {
    Ok(Connection::open(path)?)
}

/// Opens an existing database for reading, beside a process that may be writing it.
pub fn open_read_only(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// A database that is gone when it is closed; for tests and trials.
pub fn open_in_memory() -> Result<Connection, OpenError> {
    Ok(Connection::open_in_memory()?)
}

/// Makes a connection durable, checks the file, and brings its format up to date.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    // Readers in other processes never wait for the writer (WAL), what was committed is on disk (FULL), and
    // deleted text and keys do not stay in free pages (secure_delete).
    connection.execute_batch(
        "PRAGMA busy_timeout = 5000;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    check(connection)?;
    migrate(connection, MIGRATIONS)
}

/// Checks a connection that is only read from.
pub(crate) fn prepare_reader(connection: &Connection) -> Result<(), OpenError> {
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;")?;
    check(connection)?;
    match format(connection)? {
        FORMAT => Ok(()),
        found => Err(OpenError::OlderFormat { found }),
    }
}

fn check(connection: &Connection) -> Result<(), OpenError> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let found = format(connection)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (found, tables) != (0, 0) {
        return Err(OpenError::NotAProfile);
    }
    if found > FORMAT {
        return Err(OpenError::NewerFormat { found });
    }
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    if pages.saturating_mul(page_bytes) <= CHECKED_BYTES_MAX {
        let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        if verdict != "ok" {
            return Err(OpenError::Damaged);
        }
    }
    Ok(())
}

fn format(connection: &Connection) -> Result<u32, OpenError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let found = format(connection)?;
    for (number, migration) in (1_u32..).zip(migrations).skip(found as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each migration runs once, in order, together with its number; a broken one leaves nothing behind.
    #[test]
    fn migrations_run_once_and_whole() {
        let mut connection = open_in_memory().unwrap();
        migrate(&mut connection, &["CREATE TABLE one (x) "]).unwrap();
        let broken = migrate(&mut connection, &["", "CREATE TABLE two (x); CREATE TABLE one (x)"]);
        assert!(matches!(broken, Err(OpenError::Database(_))));
        assert_eq!(format(&connection).unwrap(), 1);
        assert!(connection.prepare("SELECT * FROM two").is_err(), "the broken migration was rolled back");
        migrate(&mut connection, &["CREATE TABLE one (x)", "CREATE TABLE two (x)"]).unwrap();
        assert_eq!(format(&connection).unwrap(), 2);
    }
}
