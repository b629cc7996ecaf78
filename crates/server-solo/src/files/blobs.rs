//! Blobs as files, one each, in a directory for each day on which they expire.
//!
//! ```text
//! blobs/
//! ├── incoming/<n>     being written; what is left of it is removed at the next start
//! └── <day>/<id>       whole blobs (blob_file.rs); the day of their expiry, counted from 1 January 1970
//! ```
//!
//! Owns: the directory, the threads that read and write in it, the key of the addresses.
//!
//! Invariants: a file has its name only once all of it is on disk, so there is none in part; an answered
//! blob's name is on disk, too; a file whose bytes are not what was stored is never served.
//!
//! Must not know: who may store what, HTTP.

use super::{
    blob_file::{self, HEADER_BYTES},
    remove_leftover, sync_directory,
};
use crate::{OpenError, poison::Poison, readers::Readers};
use bytes::Bytes;
use server_ports::{
    Blobs, StoreError,
    blobs::{BlobGrant, BlobRequest, BlobStat, BlobUpload, BlobUsage, NewBlob, PutBlob, SignedPaths},
    directory::ServiceIdentity,
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use types::{BlobId, Millis, Timestamp};

/// Threads that read and write: each holds one blob at a time, and a disk is busy with fewer.
const THREADS: usize = 4;
/// Locks that make the writers of one id wait for each other; more than there are threads.
const ID_LOCKS: usize = 16;
const INCOMING: &str = "incoming";

/// The adapter.
pub struct FileBlobs {
    poison: Poison,
    paths: SignedPaths,
    threads: Readers<Arc<Shelf>>,
}

impl FileBlobs {
    /// Opens the directory, or makes it; addresses are signed with a key of this service.
    pub fn open(path: &Path, service: &ServiceIdentity) -> Result<Self, OpenError> {
        let shelf = Arc::new(Shelf::open(path)?);
        let poison = Poison::default();
        let sources = std::iter::repeat_n(shelf, THREADS);
        let threads = Readers::start("blobs", poison.clone(), sources).map_err(OpenError::io(path))?;
        Ok(Self { poison, paths: SignedPaths::of(service), threads })
    }

    /// An error ends the store, except one that says only that there is no room.
    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shelf) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.threads.read(move |shelf| match act(shelf) {
            Ok(done) => Ok(Ok(done)),
            Err(Failure::Refused(cause)) => Ok(Err(StoreError::Unavailable(cause.to_string()))),
            Err(Failure::Broken(cause)) => Err(cause),
        });
        answer.await?
    }

    /// An error ends nothing: one unreadable blob, asked for again and again, must not end the service.
    async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shelf) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.threads.read(move |shelf| Ok::<_, io::Error>(act(shelf))).await?;
        answer.map_err(|error| {
            tracing::error!(cause = %error, "a blob cannot be read");
            StoreError::Unavailable(error.to_string())
        })
    }
}

#[async_trait::async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, blob: NewBlob) -> Result<PutBlob, StoreError> {
        self.write(move |shelf| shelf.put(&blob)).await
    }

    async fn get(&self, id: BlobId, now: Timestamp) -> Result<Option<Bytes>, StoreError> {
        let found = self.read(move |shelf| shelf.read(id)).await?;
        Ok(found.filter(|(stat, _)| now < stat.expires_at).map(|(_, bytes)| bytes))
    }

    async fn stat(&self, id: BlobId, now: Timestamp) -> Result<Option<BlobStat>, StoreError> {
        let found = self.read(move |shelf| shelf.stat(id)).await?;
        Ok(found.filter(|stat| now < stat.expires_at))
    }

    async fn delete(&self, id: BlobId) -> Result<(), StoreError> {
        self.write(move |shelf| shelf.delete(id).map_err(Failure::Broken)).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(move |shelf| shelf.expire(day_of(now), limit).map_err(Failure::Broken)).await
    }

    async fn usage(&self) -> Result<BlobUsage, StoreError> {
        self.read(Shelf::usage).await
    }

    fn upload_url(&self, upload: &BlobUpload, until: Timestamp) -> String {
        self.paths.upload(upload, until)
    }

    fn download_url(&self, id: BlobId, until: Timestamp) -> String {
        self.paths.download(id, until)
    }

    fn admit(&self, request: BlobRequest<'_>, now: Timestamp) -> Option<BlobGrant> {
        self.paths.admit(request, now)
    }

    fn health(&self) -> Result<(), StoreError> {
        self.poison.check()
    }
}

/// Why a write did not succeed.
enum Failure {
    /// There is no room, for the bytes or for one more open file. Nothing was stored.
    Refused(io::Error),
    /// Nobody knows what is on disk.
    Broken(io::Error),
}

impl Failure {
    /// Of what was done to a file that nobody relies on yet.
    fn aside(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Refused(error),
            _ => Self::Broken(error),
        }
    }
}

/// The directory.
struct Shelf {
    root: PathBuf,
    /// The days that have a directory. Held shared while a blob gets its name, alone while a day's
    /// directory comes or goes.
    days: RwLock<BTreeSet<u64>>,
    id_locks: [Mutex<()>; ID_LOCKS],
    incoming: AtomicU64,
}

fn day_of(time: Timestamp) -> u64 {
    time.as_millis() / Millis::from_days(1).0
}

impl Shelf {
    fn open(root: &Path) -> Result<Self, OpenError> {
        let incoming = root.join(INCOMING);
        for directory in [root, &incoming] {
            make_directory(directory).map_err(OpenError::io(directory))?;
        }
        for left in names(&incoming).map_err(OpenError::io(&incoming))? {
            remove_leftover(&incoming.join(left))?;
        }
        let days = names(root).map_err(OpenError::io(root))?;
        let days = days.iter().filter_map(|name| name.parse().ok()).collect();
        Ok(Self {
            root: root.to_owned(),
            days: RwLock::new(days),
            id_locks: Default::default(),
            incoming: AtomicU64::new(0),
        })
    }

    fn day(&self, day: u64) -> PathBuf {
        self.root.join(day.to_string())
    }

    /// The latest first: what is asked for is mostly new.
    fn latest_days(&self) -> Vec<u64> {
        self.days.read().unwrap_or_else(PoisonError::into_inner).iter().rev().copied().collect()
    }

    /// The file of a blob: a month of days is a month of tries, and each costs a look into the
    /// system's memory of names.
    fn find(&self, id: BlobId) -> io::Result<Option<(PathBuf, File)>> {
        for day in self.latest_days() {
            let path = self.day(day).join(id.to_string());
            match File::open(&path) {
                Ok(file) => return Ok(Some((path, file))),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn stat(&self, id: BlobId) -> io::Result<Option<BlobStat>> {
        let Some((_, file)) = self.find(id)? else { return Ok(None) };
        let length = file.metadata()?.len();
        Ok(noticed(blob_file::read_stat(file, length)?))
    }

    fn read(&self, id: BlobId) -> io::Result<Option<(BlobStat, Bytes)>> {
        let Some((_, file)) = self.find(id)? else { return Ok(None) };
        let length = file.metadata()?.len();
        Ok(noticed(blob_file::read(file, length)?))
    }

    fn put(&self, blob: &NewBlob) -> Result<PutBlob, Failure> {
        let BlobUpload { id, size, sha256 } = blob.upload;
        if blob.bytes.len() as u64 != size || Sha256::digest(&blob.bytes)[..] != sha256 {
            return Ok(PutBlob::NotAsAnnounced);
        }
        let lock = &self.id_locks[usize::from(id.as_bytes()[0]) % ID_LOCKS];
        let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let stored =
            self.read(id).inspect_err(|error| tracing::error!(cause = %error, "a blob cannot be read"));
        if let Ok(Some((stored, _))) = stored
            && blob.now < stored.expires_at
        {
            return Ok(if stored.sha256 == sha256 { PutBlob::Repeat } else { PutBlob::Exists });
        }
        // What is there, if anything, is over or damaged.
        self.delete(id).map_err(Failure::Broken)?;
        self.store(id, &BlobStat { size, sha256, expires_at: blob.expires_at }, &blob.bytes)?;
        Ok(PutBlob::Stored)
    }

    /// Writes aside, syncs, and only then gives the name.
    fn store(&self, id: BlobId, stat: &BlobStat, bytes: &[u8]) -> Result<(), Failure> {
        let number = self.incoming.fetch_add(1, Ordering::Relaxed);
        let aside = self.root.join(INCOMING).join(number.to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let file = file.map_err(Failure::Refused)?;
        let written = blob_file::write(&file, stat, bytes).and_then(|()| file.sync_all());
        let stored = written
            .map_err(Failure::aside)
            .and_then(|()| self.give_name(&aside, id, day_of(stat.expires_at)));
        if matches!(stored, Err(Failure::Refused(_))) {
            // It is removed at the next start at the latest.
            let _ = fs::remove_file(&aside);
        }
        stored
    }

    fn give_name(&self, aside: &Path, id: BlobId, day: u64) -> Result<(), Failure> {
        let directory = self.day(day);
        loop {
            let days = self.days.read().unwrap_or_else(PoisonError::into_inner);
            if days.contains(&day) {
                fs::rename(aside, directory.join(id.to_string())).map_err(Failure::aside)?;
                return sync_directory(&directory).map_err(Failure::Broken);
            }
            drop(days);
            let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
            make_directory(&directory).map_err(Failure::aside)?;
            days.insert(day);
        }
    }

    fn delete(&self, id: BlobId) -> io::Result<()> {
        let Some((path, _)) = self.find(id)? else { return Ok(()) };
        remove(&path)?;
        path.parent().map_or(Ok(()), sync_directory)
    }

    /// Removes blobs of the days before this one. What a power cut brings back is removed again.
    fn expire(&self, today: u64, limit: usize) -> io::Result<u64> {
        let over = self.latest_days().into_iter().rev().take_while(|day| *day < today);
        let mut gone = 0;
        for day in over {
            let directory = self.day(day);
            for name in names(&directory)? {
                if gone as usize >= limit {
                    return Ok(gone);
                }
                remove(&directory.join(name))?;
                gone += 1;
            }
            let mut days = self.days.write().unwrap_or_else(PoisonError::into_inner);
            match fs::remove_dir(&directory) {
                // Somebody was faster, and stored a blob that is over already.
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                removed => {
                    removed?;
                    days.remove(&day);
                }
            }
        }
        Ok(gone)
    }

    fn usage(&self) -> io::Result<BlobUsage> {
        let mut usage = BlobUsage::default();
        for day in self.latest_days() {
            let directory = self.day(day);
            for name in names(&directory).or_else(nothing)? {
                match fs::metadata(directory.join(name)) {
                    Ok(file) => {
                        usage.blobs += 1;
                        usage.bytes += file.len().saturating_sub(HEADER_BYTES as u64);
                    }
                    Err(error) => drop(nothing(error)?),
                }
            }
        }
        Ok(usage)
    }
}

/// A file that has a blob's name and is no blob was damaged after it was written.
fn noticed<T>(read: Option<T>) -> Option<T> {
    if read.is_none() {
        tracing::error!("a blob is damaged and not served");
    }
    read
}

fn make_directory(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => path.parent().map_or(Ok(()), sync_directory),
    }
}

/// What is gone meanwhile is nothing.
fn nothing(error: io::Error) -> io::Result<Vec<String>> {
    if error.kind() == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    fs::read_dir(directory)?.map(name).collect()
}
