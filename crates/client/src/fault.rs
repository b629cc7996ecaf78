//! The engine's own failures, after which it must be opened again.

/// The database failed, or the engine found itself in a state that cannot be.
///
/// The transaction was rolled back. The engine refuses every later call with [`Fault::Poisoned`], because
/// what it remembers may be newer than what is on disk.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database file is damaged.
    #[error("the profile's database is damaged")]
    Damaged,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The database could not be read or written.
    #[error("the profile's database failed")]
    Database(#[source] rusqlite::Error),
    /// A bug: a stored value has a form that this program never writes, or a library failed on valid input.
    #[error("this should not happen: {0}")]
    Bug(&'static str),
    /// An earlier call failed.
    #[error("the engine has failed before and must be opened again")]
    Poisoned,
    /// There is no registered account in this profile.
    #[error("this profile has no account")]
    NotRegistered,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            Some(ErrorCode::DiskFull) => Self::Full,
            // A stored value that its type does not allow.
            None if matches!(
                error,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
            ) =>
            {
                Self::Damaged
            }
            _ => Self::Database(error),
        }
    }
}

impl Fault {
    /// The fault behind an error that only a reference is left of.
    pub(crate) fn from_stored(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                rusqlite::Error::SqliteFailure(*failure, message.clone()).into()
            }
            _ => Self::Damaged,
        }
    }
}
