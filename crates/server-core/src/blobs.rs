//! Blobs: sealed bytes that are too large for a message. A device gets an address that the service signed, and
//! whoever has the address may use it for five minutes.
//!
//! Must not know: what the bytes are. Size and digest are all that is ever checked.

use crate::{
    Core,
    quota::{self, Count},
    refusal::Rejection,
};
use bytes::Bytes;
use server_ports::{
    Caller, StoreError,
    blobs::{BlobGrant, BlobRequest, BlobUpload, NewBlob, PutBlob},
};
use types::{BlobId, limits};
use wire::{BlobTicket, Code, Response};

/// Why a blob was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The bytes are not those that the address is for.
    #[error("the bytes have another size or digest than was announced")]
    NotAsAnnounced,
    /// The id has other bytes.
    #[error("the blob exists with other bytes")]
    Exists,
    /// The outcome is unknown: repeat the request.
    #[error("the service cannot answer now")]
    Unavailable,
}

/// A place for bytes of this size and digest.
pub(crate) async fn create(
    core: &Core,
    caller: &Caller,
    size: u32,
    sha256: [u8; 32],
) -> Result<Response, Rejection> {
    if size == 0 || usize::try_from(size).is_ok_and(|size| size > limits::BLOB_BYTES_MAX) {
        return Err(Rejection::Code(if size == 0 { Code::Malformed } else { Code::TooLarge }));
    }
    let subject: &[&[u8]] = &[caller.mailbox.account.as_bytes()];
    let count = Count { quota: "blob_bytes", subject, allowance: core.config.quotas.blob_bytes };
    quota::spend(core, count, size).await?;
    let upload = BlobUpload { id: BlobId::from_bytes(core.ports.entropy.array()), size: size.into(), sha256 };
    let url = core.ports.blobs.upload_url(&upload, core.now() + limits::BLOB_TICKET_LIFE);
    Ok(Response::BlobTicket(BlobTicket { blob: upload.id, url }))
}

/// Where to get a blob.
pub(crate) async fn get(core: &Core, blob: BlobId) -> Result<Response, Rejection> {
    let now = core.now();
    if core.ports.blobs.stat(blob, now).await?.is_none() {
        return Err(Rejection::Code(Code::NoSuchBlob));
    }
    let url = core.ports.blobs.download_url(blob, now + limits::BLOB_TICKET_LIFE);
    Ok(Response::BlobTicket(BlobTicket { blob, url }))
}

impl Core {
    /// What a request to a path of this service may do; `None` for an address that this service did not sign,
    /// or whose time is over.
    pub fn blob_admit(&self, request: BlobRequest<'_>) -> Option<BlobGrant> {
        self.ports.blobs.admit(request, self.now())
    }

    /// Stores the bytes that an address was made for. The same bytes again are the same blob.
    pub async fn blob_put(&self, upload: BlobUpload, bytes: Bytes) -> Result<(), BlobError> {
        let (now, size) = (self.now(), bytes.len());
        let blob = NewBlob { upload, bytes, expires_at: now + limits::BLOB_LIFE, now };
        match self.ports.blobs.put(blob).await.map_err(|error| self.no_blob(&error))? {
            PutBlob::Stored => {
                metrics::counter!("waxwing_blobs_stored_total").increment(1);
                metrics::counter!("waxwing_blob_bytes_stored_total").increment(size as u64);
                Ok(())
            }
            PutBlob::Repeat => Ok(()),
            PutBlob::NotAsAnnounced => Err(BlobError::NotAsAnnounced),
            PutBlob::Exists => Err(BlobError::Exists),
        }
    }

    /// The bytes of a blob, if it is there.
    pub async fn blob_get(&self, blob: BlobId) -> Result<Option<Bytes>, BlobError> {
        self.ports.blobs.get(blob, self.now()).await.map_err(|error| self.no_blob(&error))
    }

    fn no_blob(&self, error: &StoreError) -> BlobError {
        self.note(error);
        BlobError::Unavailable
    }
}
