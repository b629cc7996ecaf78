//! Blobs, at the addresses that the service signed.

use bytes::Bytes;
use server_core::Core;
use server_ports::blobs::{BlobGrant, BlobMethod, BlobRequest};
use types::BlobId;

/// Stores the bytes. Says whether they were taken.
pub async fn put(core: &Core, url: &str, bytes: Bytes) -> bool {
    match admit(core, BlobMethod::Put, url) {
        Some(BlobGrant::Upload(upload)) => core.blob_put(upload, bytes).await.is_ok(),
        _ => false,
    }
}

/// The bytes at an address, if they can be had now.
pub async fn get(core: &Core, url: &str) -> Option<Bytes> {
    match admit(core, BlobMethod::Get, url)? {
        BlobGrant::Download(blob) => core.blob_get(blob).await.ok()?,
        BlobGrant::Upload(_) => None,
    }
}

fn admit(core: &Core, method: BlobMethod, url: &str) -> Option<BlobGrant> {
    let (path, query) = url.split_once('?')?;
    let id: BlobId = path.strip_prefix("/v1/blobs/")?.parse().ok()?;
    core.blob_admit(BlobRequest { method, id, query })
}
