//! The bytes of blobs, up and down, at addresses that the service signed.
//!
//! Invariants: nothing of a body is read before its address was checked and its length is the announced one; all
//! transfers together hold so much in memory, and no more; a small one takes a small place, so that slow ones of a few
//! bytes keep nobody out.

use super::{Problem, Service};
use axum::{
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use server_core::BlobError;
use server_ports::blobs::{BlobGrant, BlobMethod, BlobRequest, BlobUpload};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::{BlobId, Millis, limits::BLOB_BYTES_MAX};

/// What transfers hold in memory at once, in units: a quarter of a gigabyte, or 64 blobs of the largest size.
const UNITS_MAX: usize = 64 * BLOB_BYTES_MAX.div_ceil(UNIT_BYTES);
/// What a place is measured in.
const UNIT_BYTES: usize = 64 * 1024;
/// A download is written in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;
/// When every place is taken.
const RETRY_WHEN_BUSY: Millis = Millis::from_secs(1);

/// The places for transfers.
#[derive(Clone)]
pub(crate) struct Transfers(Arc<Semaphore>);

impl Default for Transfers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNITS_MAX)))
    }
}

impl Transfers {
    /// A place for so many bytes.
    fn begin(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_many_owned(units(bytes)).map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many transfers are under way")
                .after(RETRY_WHEN_BUSY)
        })
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

/// Stores the bytes that the address was made for. Repeating it with the same bytes is the same blob.
#[utoipa::path(put, path = "/v1/blobs/{blob}",
    params(("blob" = String, Path, description = "the whole address is the `url` of a `BlobTicket`")),
    request_body(content_type = "application/octet-stream", description = "with a Content-Length"),
    responses((status = 201), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn upload(
    State(service): State<Service>,
    Path(blob): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let BlobGrant::Upload(upload) = admit(&service, BlobMethod::Put, &blob, query)? else {
        return Err(bad_address());
    };
    check_length(&headers, &upload)?;
    let size = usize::try_from(upload.size).unwrap_or(usize::MAX);
    let _place = service.transfers.begin(size)?;
    let bytes = axum::body::to_bytes(body, size)
        .await
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body did not come whole"))?;
    service.core.blob_put(upload, bytes).await?;
    Ok(StatusCode::CREATED)
}

/// The bytes of a blob.
#[utoipa::path(get, path = "/v1/blobs/{blob}",
    params(("blob" = String, Path, description = "the whole address is the `url` of a `BlobTicket`")),
    responses((status = 200, content_type = "application/octet-stream"), (status = "4XX", body = Problem), (status = "5XX", body = Problem)))]
pub(crate) async fn download(
    State(service): State<Service>,
    Path(blob): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let BlobGrant::Download(blob) = admit(&service, BlobMethod::Get, &blob, query)? else {
        return Err(bad_address());
    };
    // How large it is shows when it is here; what is not needed of the place is given back.
    let mut place = service.transfers.begin(BLOB_BYTES_MAX)?;
    let Some(bytes) = service.core.blob_get(blob).await? else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no_blob",
            "there is no such blob, or it has expired",
        ));
    };
    drop(place.split(place.num_permits().saturating_sub(units(bytes.len()) as usize)));
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    Ok((headers, in_pieces(bytes, place)).into_response())
}

fn admit(
    service: &Service,
    method: BlobMethod,
    blob: &str,
    query: Option<String>,
) -> Result<BlobGrant, Problem> {
    let id: BlobId = blob.parse().map_err(|_| bad_address())?;
    let request = BlobRequest { method, id, query: query.as_deref().unwrap_or_default() };
    service.core.blob_admit(request).ok_or_else(bad_address)
}

fn bad_address() -> Problem {
    let detail = "this service did not sign the address, or its time is over; ask for another";
    Problem::new(StatusCode::FORBIDDEN, "bad_address", detail)
}

fn check_length(headers: &HeaderMap, upload: &BlobUpload) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.map(str::parse::<u64>) {
        Some(Ok(length)) if length == upload.size => Ok(()),
        Some(_) => Err(BlobError::NotAsAnnounced.into()),
        None => {
            Err(Problem::new(StatusCode::LENGTH_REQUIRED, "length_required", "the length must be said first"))
        }
    }
}

/// A body that gives its place back when it was written, or when nobody reads it any more.
fn in_pieces(bytes: Bytes, place: OwnedSemaphorePermit) -> Body {
    let piece = |(mut rest, place): (Bytes, OwnedSemaphorePermit)| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Some((Ok::<_, Infallible>(piece), (rest, place)))
    };
    Body::from_stream(stream::unfold((bytes, place), piece))
}

/// The table from refusals to status and code.
impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        let (status, code) = match error {
            BlobError::NotAsAnnounced => (StatusCode::UNPROCESSABLE_ENTITY, "not_as_announced"),
            BlobError::Exists => (StatusCode::CONFLICT, "blob_exists"),
            BlobError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, &error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn many_small_transfers_leave_room_for_large_ones() {
        let transfers = Transfers::default();
        let small: Vec<_> = (0..1_024).map(|_| transfers.begin(2).ok().unwrap()).collect();
        let large: Vec<_> = (0..40).map(|_| transfers.begin(BLOB_BYTES_MAX).ok().unwrap()).collect();
        assert_eq!(small.len() + large.len(), 1_064);
    }

    #[test]
    fn what_is_in_memory_is_bounded() {
        let transfers = Transfers::default();
        let held: Vec<_> = (0..64).map(|_| transfers.begin(BLOB_BYTES_MAX).ok().unwrap()).collect();
        assert!(transfers.begin(1).is_err());
        drop(held);
        assert!(transfers.begin(1).is_ok());
    }
}
