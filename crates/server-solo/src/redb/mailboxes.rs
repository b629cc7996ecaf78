//! Mailboxes in one redb file (its tables: [`schema`](super::schema)).
//!
//! Owns: the file, the thread that writes it, the threads that read it, acks that are queued.
//!
//! Invariants: one committer gives positions in the order of commits; a batch is one write transaction
//! with one fsync, and its jobs are answered after it; a row whose ack is queued is not read again by
//! this process.
//!
//! Must not know: sessions, envelopes' meaning.

use super::{
    reading,
    schema::{FORMAT, FORMAT_KEY, FORMATS, number},
    writing::{Result as StorageResult, Tables},
};
use crate::{
    OpenError,
    committer::{Answer, Batch, Committer, Urgency},
    files,
    poison::Poison,
    readers::Readers,
};
use redb::{Builder, Database, Durability, ReadableTable};
use server_ports::{
    Mailboxes, StoreError,
    mailboxes::{Append, AppendError, Appended, Page, PageLimit, RecordedSend},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;
use types::{EnvelopeId, MailboxId, NodeId, Position, Timestamp};

/// Pages kept in memory. An idle service must stay small, and the system caches the file besides.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Threads that read: a drain is bound by the disk when it is bound at all.
const READERS: usize = 4;
/// What a queued job without rows counts for.
const SMALL_JOB_BYTES: usize = 256;

/// The adapter.
pub struct RedbMailboxes {
    poison: Poison,
    /// Before the database, so that it ends first.
    committer: Committer<Work>,
    readers: Readers<Arc<Database>>,
    acks: Arc<QueuedAcks>,
}

/// A job: what to do in the transaction, which gives what to do after the commit.
type Work = Box<dyn FnOnce(&mut Tables<'_>) -> StorageResult<Answer> + Send>;

impl RedbMailboxes {
    /// Opens the file, or makes it. After a crash the file is checked first, which takes time in
    /// proportion to its size.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.exists() {
            make(path)?;
        }
        let database = Arc::new(open_database(path)?);
        let poison = Poison::default();
        let committer = Committer::start("mailbox-commit", poison.clone(), {
            let database = database.clone();
            move |batch| commit(&database, batch).map_err(|error| error.to_string())
        });
        let committer = committer.map_err(OpenError::io(path))?;
        let sources = std::iter::repeat_n(database, READERS);
        let readers = Readers::start("mailbox-read", poison.clone(), sources).map_err(OpenError::io(path))?;
        Ok(Self { poison, committer, readers, acks: Arc::default() })
    }

    async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        act: impl FnOnce(&mut Tables<'_>) -> StorageResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.poison.check()?;
        let room = self.committer.room(bytes).await?;
        let (reply, answer) = oneshot::channel();
        let poison = self.poison.clone();
        let work: Work = Box::new(move |tables| {
            let outcome = act(tables).inspect_err(|error| drop(poison.set(error)))?;
            // The caller may have gone; the write is done all the same.
            Ok(Box::new(move || drop(reply.send(outcome))))
        });
        self.committer.push(room, Urgency::Now, work);
        answer.await.map_err(|_| self.poison.error())
    }
}

/// Makes the file aside and renames it, so that a crash leaves no half of one.
fn make(path: &Path) -> Result<(), OpenError> {
    let aside = path.with_extension("new");
    files::remove_leftover(&aside)?;
    files::create_private(&aside)?;
    drop(open_database(&aside)?);
    files::rename_durably(&aside, path)
}

fn open_database(path: &Path) -> Result<Database, OpenError> {
    let cause = |error: redb::Error| cannot_open(path, &error);
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(path);
    let database = database.map_err(|error| cause(error.into()))?;
    match prepare(&database).map_err(cause)? {
        Some(found) => Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
        None => Ok(database),
    }
}

/// Whether the system would not let the file be opened, or what is in it was not written by redb.
fn cannot_open(path: &Path, error: &redb::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error {
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            OpenError::Io { path, cause }
        }
        _ => OpenError::Damaged { path, cause },
    }
}

/// Makes the tables; answers the file's format if it is too new.
fn prepare(database: &Database) -> StorageResult<Option<u32>> {
    let transaction = database.begin_write()?;
    {
        let mut formats = transaction.open_table(FORMATS)?;
        let found = formats.get(FORMAT_KEY)?.map(|format| format.value());
        match found {
            Some(found) if found > FORMAT => return Ok(Some(found)),
            Some(_) => {}
            None => drop(formats.insert(FORMAT_KEY, FORMAT)?),
        }
        Tables::open(&transaction)?.finish()?;
    }
    transaction.commit()?;
    Ok(None)
}

/// One transaction, one fsync.
fn commit(database: &Database, batch: &mut Batch<Work>) -> StorageResult<()> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut tables = Tables::open(&transaction)?;
        while let Some(job) = batch.jobs.pop_front() {
            batch.answers.push(job(&mut tables)?);
        }
        tables.finish()?;
    }
    transaction.commit()?;
    Ok(())
}

/// Rows that were acknowledged and wait for a commit to be deleted with.
#[derive(Default)]
struct QueuedAcks(Mutex<BTreeMap<MailboxId, BTreeMap<u64, u32>>>);

impl QueuedAcks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MailboxId, BTreeMap<u64, u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, mailbox: MailboxId, numbers: &[u64]) {
        let mut acks = self.lock();
        let rows = acks.entry(mailbox).or_default();
        for number in numbers {
            *rows.entry(*number).or_default() += 1;
        }
    }

    /// The deletion is committed. A row that was acknowledged again meanwhile stays until that is.
    fn remove(&self, mailbox: MailboxId, numbers: &[u64]) {
        let mut acks = self.lock();
        let Some(rows) = acks.get_mut(&mailbox) else { return };
        for number in numbers {
            if let Some(times) = rows.get_mut(number) {
                *times -= 1;
                if *times == 0 {
                    rows.remove(number);
                }
            }
        }
        if rows.is_empty() {
            acks.remove(&mailbox);
        }
    }

    fn of(&self, mailbox: MailboxId) -> BTreeSet<u64> {
        self.lock().get(&mailbox).map(|rows| rows.keys().copied().collect()).unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl Mailboxes for RedbMailboxes {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let rows = append.rows.iter().map(|row| row.head.len() + row.body.len()).sum::<usize>();
        self.write(rows + SMALL_JOB_BYTES, move |tables| tables.append(&append)).await?
    }

    async fn recorded(
        &self,
        sender: MailboxId,
        envelope_id: EnvelopeId,
    ) -> Result<Option<RecordedSend>, StoreError> {
        self.readers.read(move |database| reading::recorded(database, sender, envelope_id)).await
    }

    async fn read(&self, mailbox: MailboxId, after: Position, limit: PageLimit) -> Result<Page, StoreError> {
        let acks = self.acks.clone();
        self.readers
            .read(move |database| {
                // Before the snapshot: what leaves the queue in between is deleted in the snapshot.
                let acked = acks.of(mailbox);
                reading::page(database, mailbox, after, limit, &acked)
            })
            .await
    }

    async fn ack(&self, mailbox: MailboxId, positions: &[Position]) -> Result<(), StoreError> {
        self.poison.check()?;
        let numbers: Vec<u64> = positions.iter().filter_map(|position| number(*position)).collect();
        let room = self.committer.room(numbers.len() * size_of::<u64>() + SMALL_JOB_BYTES).await?;
        self.acks.add(mailbox, &numbers);
        let acks = self.acks.clone();
        let work: Work = Box::new(move |tables| {
            tables.ack(mailbox, &numbers)?;
            Ok(Box::new(move || acks.remove(mailbox, &numbers)))
        });
        self.committer.push(room, Urgency::Patient, work);
        Ok(())
    }

    async fn open(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.write(SMALL_JOB_BYTES, move |tables| tables.open_mailbox(mailbox)).await
    }

    async fn close(&self, mailbox: MailboxId) -> Result<(), StoreError> {
        self.write(SMALL_JOB_BYTES, move |tables| tables.close_mailbox(mailbox)).await
    }

    async fn expire(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(SMALL_JOB_BYTES, move |tables| tables.expire(now)).await
    }

    async fn reserve_stamps(&self, node: NodeId, clock: u64) -> Result<(), StoreError> {
        self.write(SMALL_JOB_BYTES, move |tables| tables.reserve_stamps(node, clock)).await
    }

    async fn reserved_stamps(&self, node: NodeId) -> Result<u64, StoreError> {
        self.readers.read(move |database| reading::reserved_stamps(database, node)).await
    }

    fn health(&self) -> Result<(), StoreError> {
        self.poison.check()
    }
}
