//! Blobs in memory, at signed paths of the service.

use super::{Bug, Bugs, FakeClock, Faults, Setup, lock};
use crate::{
    Blobs, StoreError,
    blobs::{BlobGrant, BlobRequest, BlobStat, BlobUpload, BlobUsage, NewBlob, PutBlob, SignedPaths},
    directory::ServiceIdentity,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use types::{BlobId, IncarnationId, Redact, Timestamp};

/// The fake. One instance is shared by all nodes of a world.
#[derive(Debug)]
pub struct FakeBlobs {
    clock: FakeClock,
    faults: Faults,
    bugs: Bugs,
    paths: SignedPaths,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    poisoned: bool,
    full: bool,
    blobs: BTreeMap<BlobId, (BlobStat, Bytes)>,
}

impl FakeBlobs {
    /// An empty store, whose addresses are signed with a key that every fake has.
    pub fn new(setup: &Setup) -> Self {
        let identity =
            ServiceIdentity { incarnation: IncarnationId::from_bytes([0; 16]), pepper: Redact::new([0; 32]) };
        Self {
            clock: setup.clock.clone(),
            faults: Faults::new(setup.plan.clone(), 5),
            bugs: setup.bugs.clone(),
            paths: SignedPaths::of(&identity),
            store: Mutex::default(),
        }
    }

    /// The faults, to be changed or ended.
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The machine loses power and comes back: every stored blob stays.
    pub fn power_cut(&self) {
        let store = &mut *lock(&self.store);
        store.poisoned = false;
        if self.bugs.has(Bug::BlobTorn) {
            store.blobs.values_mut().for_each(|(_, bytes)| bytes.truncate(bytes.len() / 2));
        }
    }

    /// The disk fails: every call answers so until [`FakeBlobs::power_cut`].
    pub fn poison(&self) {
        lock(&self.store).poisoned = true;
    }

    /// Whether there is no room from now on.
    pub fn set_full(&self, full: bool) {
        lock(&self.store).full = full;
    }

    fn healthy(&self) -> Result<MutexGuard<'_, Store>, StoreError> {
        let store = lock(&self.store);
        match store.poisoned {
            true => Err(StoreError::Poisoned("an injected fault".to_owned())),
            false => Ok(store),
        }
    }

    async fn read<T>(&self, act: impl FnOnce(&Store) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        Ok(act(&*self.healthy()?))
    }

    async fn write<T>(&self, act: impl FnOnce(&mut Store) -> T + Send) -> Result<T, StoreError> {
        self.faults.before(&self.clock).await?;
        let answer = act(&mut *self.healthy()?);
        self.faults.after(&self.clock).await?;
        Ok(answer)
    }

    fn live<'s>(&self, store: &'s Store, id: BlobId, now: Timestamp) -> Option<&'s (BlobStat, Bytes)> {
        let blob = store.blobs.get(&id)?;
        (now < blob.0.expires_at || self.bugs.has(Bug::ImmortalBlob)).then_some(blob)
    }

    fn put_now(&self, store: &mut Store, blob: NewBlob) -> Result<PutBlob, StoreError> {
        let BlobUpload { id, size, sha256 } = blob.upload;
        let as_announced = blob.bytes.len() as u64 == size && Sha256::digest(&blob.bytes)[..] == sha256;
        if !as_announced && !self.bugs.has(Bug::BlobNotChecked) {
            return Ok(PutBlob::NotAsAnnounced);
        }
        if let Some((stored, _)) = self.live(store, id, blob.now) {
            return Ok(if stored.sha256 == sha256 { PutBlob::Repeat } else { PutBlob::Exists });
        }
        if store.full {
            return Err(StoreError::Unavailable("no space left".to_owned()));
        }
        let stat = BlobStat { size, sha256, expires_at: blob.expires_at };
        store.blobs.insert(id, (stat, blob.bytes));
        Ok(PutBlob::Stored)
    }
}

#[async_trait::async_trait]
impl Blobs for FakeBlobs {
    async fn put(&self, blob: NewBlob) -> Result<PutBlob, StoreError> {
        self.write(|store| self.put_now(store, blob)).await?
    }

    async fn get(&self, id: BlobId, now: Timestamp) -> Result<Option<Bytes>, StoreError> {
        self.read(|store| self.live(store, id, now).map(|(_, bytes)| bytes.clone())).await
    }

    async fn stat(&self, id: BlobId, now: Timestamp) -> Result<Option<BlobStat>, StoreError> {
        self.read(|store| self.live(store, id, now).map(|(stat, _)| *stat)).await
    }

    async fn delete(&self, id: BlobId) -> Result<(), StoreError> {
        self.write(|store| drop(store.blobs.remove(&id))).await
    }

    async fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.write(|store| {
            let ended = store.blobs.iter().filter(|(_, (stat, _))| stat.expires_at <= now);
            let ended: Vec<_> = ended.map(|(id, _)| *id).take(limit).collect();
            ended.iter().for_each(|id| drop(store.blobs.remove(id)));
            ended.len() as u64
        })
        .await
    }

    async fn usage(&self) -> Result<BlobUsage, StoreError> {
        self.read(|store| BlobUsage {
            blobs: store.blobs.len() as u64,
            bytes: store.blobs.values().map(|(stat, _)| stat.size).sum(),
        })
        .await
    }

    fn upload_url(&self, upload: &BlobUpload, until: Timestamp) -> String {
        self.paths.upload(upload, until)
    }

    fn download_url(&self, id: BlobId, until: Timestamp) -> String {
        self.paths.download(id, until)
    }

    fn admit(&self, request: BlobRequest<'_>, now: Timestamp) -> Option<BlobGrant> {
        let now = if self.bugs.has(Bug::AddressNeverEnds) { Timestamp::default() } else { now };
        self.paths.admit(request, now)
    }

    fn health(&self) -> Result<(), StoreError> {
        self.healthy().map(drop)
    }
}
