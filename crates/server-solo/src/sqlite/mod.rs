//! The directory and the group log in one SQLite database (its tables: `schema.rs`).
//!
//! Owns: the file, the connection that writes it, the connections that read it, a memory of accounts.
//!
//! Invariants: one thread writes; everything that is queued for it becomes one transaction with one
//! fsync, answered after it; the first error of any kind ends the store. SQLite itself goes on after a
//! failed fsync and forgives errors of its automatic checkpoints, so neither is left to it: checkpoints
//! are asked for, and looked at.
//!
//! One database and not two: they have one writer, one fsync for what comes at once, and one end.
//!
//! Must not know: registration rules, sessions, how keys are used, what a group operation means.

mod accounts;
mod cache;
mod columns;
mod group_log;
mod links;
mod prekeys;
mod registrations;
mod retiring;
mod schema;

use crate::{
    OpenError,
    committer::{Answer, Batch, Committer, Urgency},
    files,
    poison::Poison,
    readers::Readers,
};
use cache::AccountCache;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};
use server_ports::{Directory, Entropy, StoreError, directory::ServiceIdentity};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use types::{AccountId, Redact};

/// Connections that read: lookups are short, and accounts come from memory.
const READERS: usize = 2;
/// What a queued job counts for: a list or an upload of keys is some 16 KiB.
const JOB_BYTES: usize = 16 * 1024;
/// Jobs between checkpoints. With a few pages a job the log stays at some megabytes.
const CHECKPOINT_JOBS: usize = 500;

/// The adapter.
pub struct SqliteDirectory {
    poison: Poison,
    /// Before the readers, so that it ends first.
    committer: Committer<Work>,
    readers: Readers<Connection>,
    accounts: Arc<AccountCache>,
}

/// What a job did, beside its writes.
#[derive(Default)]
struct Touched(Vec<AccountId>);

/// A job: what to do in the transaction, which gives what to do after the commit.
type Work = Box<dyn FnOnce(&Transaction<'_>, &mut Touched) -> rusqlite::Result<Answer> + Send>;

impl SqliteDirectory {
    /// Opens the database, or makes it with an identity drawn from `entropy`.
    pub fn open(path: &Path, entropy: &Arc<dyn Entropy>) -> Result<Self, OpenError> {
        files::create_private(path)?;
        let cause = |error| cannot_open(path, &error);
        let mut writer = connect(path).map_err(cause)?;
        if let Some(found) = schema::migrate(&mut writer, entropy).map_err(cause)? {
            return Err(OpenError::NewerFormat { path: path.to_owned(), found, known: schema::FORMAT });
        }
        checkpoint(&writer).map_err(cause)?;
        let poison = Poison::default();
        let accounts = Arc::new(AccountCache::default());
        let mut committing = Committing { writer, accounts: accounts.clone(), jobs_since_checkpoint: 0 };
        let committer = Committer::start("directory-commit", poison.clone(), move |batch| {
            committing.commit(batch).map_err(|error| error.to_string())
        });
        let committer = committer.map_err(OpenError::io(path))?;
        let sources = (0..READERS).map(|_| connect_reader(path)).collect::<Result<Vec<_>, _>>();
        let readers = Readers::start("directory-read", poison.clone(), sources.map_err(cause)?);
        Ok(Self { poison, committer, readers: readers.map_err(OpenError::io(path))?, accounts })
    }

    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Transaction<'_>, &mut Touched) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.poison.check()?;
        let room = self.committer.room(JOB_BYTES).await?;
        let (reply, answer) = oneshot::channel();
        let poison = self.poison.clone();
        let work: Work = Box::new(move |transaction, touched| {
            let outcome = act(transaction, touched).inspect_err(|error| drop(poison.set(error)))?;
            // The caller may have gone; the write is done all the same.
            Ok(Box::new(move || drop(reply.send(outcome))))
        });
        self.committer.push(room, Urgency::Now, work);
        answer.await.map_err(|_| self.poison.error())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(|connection| read(connection)).await
    }
}

/// Whether the system would not let the database be opened, or what is in it is not a database.
fn cannot_open(path: &Path, error: &rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode as E;
    let (path, cause) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(
            E::CannotOpen
            | E::DiskFull
            | E::OutOfMemory
            | E::PermissionDenied
            | E::ReadOnly
            | E::SystemIoFailure,
        ) => OpenError::Io { path, cause },
        _ => OpenError::Damaged { path, cause },
    }
}

/// What the writing thread holds.
struct Committing {
    writer: Connection,
    accounts: Arc<AccountCache>,
    jobs_since_checkpoint: usize,
}

impl Committing {
    /// One transaction, one fsync.
    fn commit(&mut self, batch: &mut Batch<Work>) -> rusqlite::Result<()> {
        // Before the answers of this batch and not after: an error ends the store while they wait.
        if self.jobs_since_checkpoint >= CHECKPOINT_JOBS {
            checkpoint(&self.writer)?;
            self.jobs_since_checkpoint = 0;
        }
        self.jobs_since_checkpoint += batch.jobs.len();
        let transaction = self.writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut touched = Touched::default();
        while let Some(job) = batch.jobs.pop_front() {
            batch.answers.push(job(&transaction, &mut touched)?);
        }
        self.accounts.begin_write(&touched.0);
        transaction.commit()?;
        self.accounts.end_write(&touched.0);
        Ok(())
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    // After an error the pages in memory cannot be trusted, and must not be copied at the end.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 8388608;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -4096;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -1024;")?;
    Ok(connection)
}

/// Moves the log into the database. A reader in the way only leaves the rest for the next time.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

#[async_trait::async_trait]
impl Directory for SqliteDirectory {
    async fn service(&self) -> Result<ServiceIdentity, StoreError> {
        self.read(|connection| {
            connection.query_row("SELECT incarnation, pepper FROM service", [], |row| {
                let incarnation = types::IncarnationId::from_bytes(row.get(0)?);
                Ok(ServiceIdentity { incarnation, pepper: Redact::new(row.get(1)?) })
            })
        })
        .await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.poison.check()
    }
}
