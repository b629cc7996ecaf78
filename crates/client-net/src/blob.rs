//! One blob to or from where the server says: sealed bytes under a URL that was signed for them alone.
//!
//! What the URL leads to is not trusted with anything: the bytes are sealed, their digest is known to the
//! engine, and neither direction takes more memory than one blob. A failure of the network or of the server is
//! tried again; a refusal is not, because the URL has lost its signature's time.

use crate::{
    Backoff,
    dial::{Dialer, Unreachable},
    http::{Answer, ask},
    server_url::ServerUrl,
};
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;
use rand::{TryRngCore, rngs::OsRng};
use std::time::Duration;
use tokio::time::sleep;
use types::limits;

/// Time for one try: a whole blob at about 60 kB a second, well within the life of its URL.
const TRY_TIMEOUT: Duration = Duration::from_secs(70);
/// Tries for one blob. Even if all of them hang they end about when the URL does, after five minutes.
const TRIES_MAX: u32 = 4;
/// The answer to an upload is empty, or a problem in words that nobody reads.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Puts a blob where `url` says; whether it is there now. `dialer` is that of the profile's server, whose
/// trust is also that in a store elsewhere.
pub async fn upload(dialer: &Dialer, url: &str, bytes: Bytes) -> bool {
    retried(dialer, url, |path| put(path, bytes.clone()), ANSWER_BYTES_MAX).await.is_some()
}

/// Gets the blob that `url` leads to, at most [`limits::BLOB_BYTES_MAX`] of it.
pub async fn download(dialer: &Dialer, url: &str) -> Option<Bytes> {
    retried(dialer, url, get, limits::BLOB_BYTES_MAX).await.map(|answer| answer.body)
}

type BlobRequest = Result<Request<Full<Bytes>>, http::Error>;

fn put(path: &str, bytes: Bytes) -> BlobRequest {
    Request::builder()
        .method(Method::PUT)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, bytes.len())
        .body(Full::new(bytes))
}

fn get(path: &str) -> BlobRequest {
    Request::builder().method(Method::GET).uri(path).body(Full::default())
}

/// Asks until there is an answer that another try would not change; none if that is a refusal.
async fn retried(
    dialer: &Dialer,
    url: &str,
    request: impl Fn(&str) -> BlobRequest,
    answer_bytes_max: usize,
) -> Option<Answer> {
    let (dialer, path) = place(dialer, url)?;
    let mut backoff = Backoff::default();
    for tries in 1.. {
        let answer = ask(&dialer, request(&path).ok()?, answer_bytes_max, TRY_TIMEOUT).await;
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => return Some(answer),
            Ok(answer) if !is_passing(answer.status) => return None,
            Err(Unreachable::Pin(_) | Unreachable::Tls(_)) => return None,
            Ok(_) | Err(_) if tries == TRIES_MAX => return None,
            Ok(_) | Err(_) => sleep(backoff.next_wait_after_failure(&mut OsRng.unwrap_err())).await,
        }
    }
    None
}

/// Too busy, or broken for now: request timeout, too many requests, and everything that is the server's fault.
const fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..600)
}

/// Whom to dial and what to ask for there. A URL that begins with `/` is the profile's server's own.
fn place(dialer: &Dialer, url: &str) -> Option<(Dialer, String)> {
    if url.starts_with('/') {
        return Some((dialer.clone(), url.to_owned()));
    }
    let uri: Uri = url.parse().ok()?;
    let origin: ServerUrl = format!("{}://{}", uri.scheme()?, uri.authority()?).parse().ok()?;
    let path = uri.path_and_query()?.as_str().to_owned();
    if origin == *dialer.url() {
        return Some((dialer.clone(), path));
    }
    Some((dialer.elsewhere(origin).ok()?, path))
}
