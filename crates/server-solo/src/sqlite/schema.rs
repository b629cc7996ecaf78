//! Tables of the directory, as numbered migrations. A database of a newer program is refused.

use rusqlite::Connection;

/// Each entry brings the database from its index to the next version; entries are never edited.
const MIGRATIONS: &[&str] = &["
    create table service (
        id integer primary key check (id = 1),
        incarnation blob not null,
        pepper blob not null
    ) strict;

    create table account (
        id blob primary key,
        key blob not null,
        phone text unique,
        list_version integer not null,
        list blob not null,
        created_by blob not null
    ) strict, without rowid;

    create table device (
        account blob not null references account (id),
        number integer not null,
        registration integer not null,
        device_key blob not null,
        token_hash blob not null,
        connection_number integer not null,
        last_connected integer not null,
        primary key (account, number)
    ) strict, without rowid;

    create table prekey (
        account blob not null,
        number integer not null,
        kind integer not null,
        id integer not null,
        public_key blob not null,
        signature blob not null,
        primary key (account, number, kind),
        foreign key (account, number) references device (account, number) on delete cascade
    ) strict, without rowid;

    create table one_time (
        account blob not null,
        number integer not null,
        kind integer not null,
        id integer not null,
        public_key blob,
        signature blob,
        primary key (account, number, kind, id),
        foreign key (account, number) references device (account, number) on delete cascade
    ) strict;

    create index one_time_left on one_time (account, number, kind, id) where public_key is not null;

    create table given (
        account blob not null,
        number integer not null,
        requester blob not null,
        requester_number integer not null,
        requester_registration integer not null,
        at integer not null,
        bundle blob not null,
        primary key (account, number, requester, requester_number, requester_registration),
        foreign key (account, number) references device (account, number) on delete cascade
    ) strict;

    create table registration (
        id blob primary key,
        phone text not null,
        code_hash blob not null,
        expires_at integer not null,
        wrong_tries integer not null default 0,
        proved integer not null default 0
    ) strict, without rowid;

    create index registration_phone on registration (phone);
    create index registration_expires_at on registration (expires_at);
"];

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Not a database, a damaged one, or a failing disk.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Written by a later version of the program.
    #[error("format {found} was written by a newer version; this one knows up to {known}")]
    Newer {
        /// What the file says.
        found: u32,
        /// What this program knows.
        known: u32,
    },
}

/// Sets the connection up and brings the tables up to date.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    // One process owns the data directory, so no shared memory is needed. FULL syncs at every commit.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = connection.query_row("pragma user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
