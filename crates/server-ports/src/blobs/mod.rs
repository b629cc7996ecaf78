//! Blobs: sealed bytes that are too large for a message, uploaded and fetched by whoever has an address
//! for them that the service signed.

mod paths;

pub use paths::SignedPaths;

use crate::StoreError;
use bytes::Bytes;
use types::{BlobId, Timestamp};

/// The store of blobs.
///
/// # Contract
/// - **Checked.** A blob is stored only if its bytes have the size and the SHA-256 that were named.
/// - **Durable** when `put` returns [`PutBlob::Stored`]; **whole or not at all**: a reader gets every
///   byte of a blob or `None`, also while it is written and after a crash in the middle.
/// - **Idempotent.** An id keeps the bytes that it was stored with. The same bytes again are a repeat;
///   others are refused.
/// - **Expiry.** A blob is gone from `get` and `stat` from `expires_at` on, and is never gone earlier.
/// - **Full.** A store without room answers [`StoreError::Unavailable`], has stored nothing, and goes on.
/// - **Poisoned** after any other I/O error of a write (see [`StoreError::Poisoned`]). A blob whose bytes
///   are not what was stored is as good as missing: nobody gets them, others are served.
/// - **Addresses** are for one method, one blob and a time that ends; an upload's is also for one size
///   and one SHA-256. They are made and checked without asking the store.
#[async_trait::async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores a blob.
    async fn put(&self, blob: NewBlob) -> Result<PutBlob, StoreError>;

    /// The bytes of a blob.
    async fn get(&self, id: BlobId, now: Timestamp) -> Result<Option<Bytes>, StoreError>;

    /// What is known of a blob without its bytes.
    async fn stat(&self, id: BlobId, now: Timestamp) -> Result<Option<BlobStat>, StoreError>;

    /// Deletes a blob; an unknown one is left as it is.
    async fn delete(&self, id: BlobId) -> Result<(), StoreError>;

    /// Deletes blobs that expired before `now`, at most so many; answers how many. Blobs that expired
    /// within the last day may be left to a later call.
    async fn expire(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError>;

    /// What all blobs take, expired ones that are not deleted yet included. Walks the store: for an
    /// administrator, not for a call that somebody waits for.
    async fn usage(&self) -> Result<BlobUsage, StoreError>;

    /// Where to `PUT` the bytes of this upload before `until`: an absolute URL, or a path of this service.
    fn upload_url(&self, upload: &BlobUpload, until: Timestamp) -> String;

    /// Where to `GET` a blob before `until`: an absolute URL, or a path of this service.
    fn download_url(&self, id: BlobId, until: Timestamp) -> String;

    /// What a request to a path of this service may do; `None` for an address that the store did not sign,
    /// that was signed for another method, or whose time is over. A store whose addresses lead elsewhere
    /// answers nothing but `None`.
    fn admit(&self, request: BlobRequest<'_>, now: Timestamp) -> Option<BlobGrant>;

    /// `Err` once poisoned. Never blocks.
    fn health(&self) -> Result<(), StoreError>;
}

/// A blob to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// What was announced of it.
    pub upload: BlobUpload,
    /// The bytes.
    pub bytes: Bytes,
    /// When it is gone.
    pub expires_at: Timestamp,
    /// The time, for expiry: an expired blob does not keep its id.
    pub now: Timestamp,
}

/// What is announced of a blob before its bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobUpload {
    /// Its id.
    pub id: BlobId,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// What came of storing a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutBlob {
    /// On disk.
    Stored,
    /// It was there, with the same bytes.
    Repeat,
    /// The bytes have another size or another SHA-256 than was announced. Nothing was stored.
    NotAsAnnounced,
    /// The id has other bytes. Nothing was stored.
    Exists,
}

/// What is known of a blob without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// When it is gone.
    pub expires_at: Timestamp,
}

/// What all blobs take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobUsage {
    /// How many.
    pub blobs: u64,
    /// Bytes of their content.
    pub bytes: u64,
}

/// How a blob is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobMethod {
    /// `PUT`.
    Put,
    /// `GET`, or `HEAD`.
    Get,
}

/// A request to a path of this service, as far as its admission needs it.
#[derive(Clone, Copy, Debug)]
pub struct BlobRequest<'a> {
    /// The method.
    pub method: BlobMethod,
    /// The blob that the path names.
    pub id: BlobId,
    /// The query, without its question mark.
    pub query: &'a str,
}

/// What an address allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobGrant {
    /// To store exactly these bytes.
    Upload(BlobUpload),
    /// To read this blob.
    Download(BlobId),
}
