//! What every adapter of [`Blobs`] does, and what every one does whose addresses are paths of the service.

use super::{
    Case, Subject, cases,
    samples::{NOW, filled},
};
use crate::{
    Blobs,
    blobs::{BlobGrant, BlobMethod, BlobRequest, BlobStat, BlobUpload, BlobUsage, NewBlob, PutBlob},
};
use bytes::Bytes;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use types::{BlobId, Millis, Timestamp, limits};

/// Every case.
pub const CASES: &[Case<dyn Blobs>] = cases![dyn Blobs:
    a_blob_is_as_it_was_stored,
    an_unknown_blob_is_nothing,
    other_bytes_than_announced_are_refused,
    the_same_bytes_again_are_a_repeat,
    an_id_keeps_its_bytes,
    one_of_many_has_the_id,
    parallel_repeats_are_all_told_so,
    a_blob_is_gone_at_its_time_and_not_before,
    expired_blobs_are_deleted_a_few_at_a_time,
    a_deleted_blob_is_gone,
    usage_counts_what_is_there,
];

/// For adapters whose addresses are paths of the service.
pub const PATH_CASES: &[Case<dyn Blobs>] = cases![dyn Blobs:
    an_address_allows_what_it_was_made_for,
    an_address_ends,
    a_changed_address_allows_nothing,
    an_address_is_good_after_a_restart,
];

type Store<'a> = &'a mut dyn Subject<dyn Blobs>;

const LATER: Timestamp = Timestamp::from_millis(NOW.as_millis() + limits::BLOB_LIFE.0);
const UNTIL: Timestamp = Timestamp::from_millis(NOW.as_millis() + limits::BLOB_TICKET_LIFE.0);

fn id(n: u8) -> BlobId {
    BlobId::from_bytes([n; 16])
}

fn upload(n: u8, bytes: &[u8]) -> BlobUpload {
    BlobUpload { id: id(n), size: bytes.len() as u64, sha256: Sha256::digest(bytes).into() }
}

/// Blob `n` with these bytes.
fn blob(n: u8, bytes: Bytes) -> NewBlob {
    NewBlob { upload: upload(n, &bytes), bytes, expires_at: LATER, now: NOW }
}

async fn put(store: Store<'_>, blob: NewBlob) -> PutBlob {
    store.port().put(blob).await.expect("a blob is answered")
}

async fn get(store: Store<'_>, n: u8, now: Timestamp) -> Option<Bytes> {
    let bytes = store.port().get(id(n), now).await.expect("readable");
    let stat = store.port().stat(id(n), now).await.expect("readable");
    assert_eq!(bytes.is_some(), stat.is_some(), "what can be read is known, and only that");
    bytes
}

async fn a_blob_is_as_it_was_stored(store: Store<'_>) {
    let contents = [Bytes::new(), filled(1, 1), filled(2, 70_000), filled(3, limits::BLOB_BYTES_MAX)];
    for (n, bytes) in (0..).zip(&contents) {
        assert_eq!(put(store, blob(n, bytes.clone())).await, PutBlob::Stored);
    }
    for _ in 0..2 {
        for (n, bytes) in (0..).zip(&contents) {
            assert_eq!(get(store, n, NOW).await.as_ref(), Some(bytes));
            let BlobUpload { size, sha256, .. } = upload(n, bytes);
            let stat = BlobStat { size, sha256, expires_at: LATER };
            assert_eq!(store.port().stat(id(n), NOW).await, Ok(Some(stat)));
        }
        store.reopen().await;
    }
    assert_eq!(store.port().health(), Ok(()));
}

async fn an_unknown_blob_is_nothing(store: Store<'_>) {
    put(store, blob(1, filled(1, 10))).await;
    assert_eq!(get(store, 2, NOW).await, None);
    assert_eq!(store.port().delete(id(2)).await, Ok(()));
    assert!(get(store, 1, NOW).await.is_some());
}

async fn other_bytes_than_announced_are_refused(store: Store<'_>) {
    let honest = blob(1, filled(1, 100));
    for bytes in [filled(2, 100), filled(1, 99), filled(1, 101), Bytes::new()] {
        let other = NewBlob { bytes, ..honest.clone() };
        assert_eq!(put(store, other).await, PutBlob::NotAsAnnounced);
        assert_eq!(get(store, 1, NOW).await, None, "nothing was stored");
    }
    let wrong_size = NewBlob { upload: BlobUpload { size: 99, ..honest.upload }, ..honest.clone() };
    assert_eq!(put(store, wrong_size).await, PutBlob::NotAsAnnounced);
    assert_eq!(put(store, honest).await, PutBlob::Stored, "the id is still free");
}

async fn the_same_bytes_again_are_a_repeat(store: Store<'_>) {
    put(store, blob(1, filled(1, 5_000))).await;
    for _ in 0..2 {
        let later = NewBlob { expires_at: LATER + Millis(9), ..blob(1, filled(1, 5_000)) };
        assert_eq!(put(store, later).await, PutBlob::Repeat);
        let stat = store.port().stat(id(1), NOW).await.expect("readable").expect("there");
        assert_eq!(stat.expires_at, LATER, "a repeat prolongs nothing");
        store.reopen().await;
    }
    assert_eq!(store.port().usage().await, Ok(BlobUsage { blobs: 1, bytes: 5_000 }));
}

async fn an_id_keeps_its_bytes(store: Store<'_>) {
    put(store, blob(1, filled(1, 100))).await;
    for other in [filled(2, 100), filled(1, 99)] {
        assert_eq!(put(store, blob(1, other)).await, PutBlob::Exists);
        assert_eq!(get(store, 1, NOW).await, Some(filled(1, 100)));
    }
    let damaged_repeat = NewBlob { bytes: filled(7, 100), ..blob(1, filled(1, 100)) };
    assert_eq!(put(store, damaged_repeat).await, PutBlob::NotAsAnnounced);
    store.reopen().await;
    assert_eq!(get(store, 1, NOW).await, Some(filled(1, 100)));
}

async fn one_of_many_has_the_id(store: Store<'_>) {
    let port = store.port();
    let answers = join_all((0..16).map(|n| port.put(blob(1, filled(n, 10_000))))).await;
    drop(port);
    let stored = answers.iter().filter(|answer| **answer == Ok(PutBlob::Stored)).count();
    let refused = answers.iter().filter(|answer| **answer == Ok(PutBlob::Exists)).count();
    assert_eq!((stored, refused), (1, 15));
    let winner = answers.iter().position(|answer| *answer == Ok(PutBlob::Stored)).expect("one") as u8;
    assert_eq!(get(store, 1, NOW).await, Some(filled(winner, 10_000)));
}

async fn parallel_repeats_are_all_told_so(store: Store<'_>) {
    let port = store.port();
    let answers = join_all((0..32).map(|n| port.put(blob(n % 4, filled(n % 4, 10_000))))).await;
    drop(port);
    let stored = answers.iter().filter(|answer| **answer == Ok(PutBlob::Stored)).count();
    let repeats = answers.iter().filter(|answer| **answer == Ok(PutBlob::Repeat)).count();
    assert_eq!((stored, repeats), (4, 28));
    assert_eq!(store.port().usage().await, Ok(BlobUsage { blobs: 4, bytes: 40_000 }));
}

async fn a_blob_is_gone_at_its_time_and_not_before(store: Store<'_>) {
    put(store, blob(1, filled(1, 100))).await;
    for _ in 0..2 {
        store.port().expire(LATER - Millis(1), 100).await.expect("answered");
        assert!(get(store, 1, LATER - Millis(1)).await.is_some());
        assert_eq!(get(store, 1, LATER).await, None);
        store.reopen().await;
    }
    store.port().expire(LATER, 100).await.expect("answered");
    assert_eq!(get(store, 1, LATER).await, None);
    let next = NewBlob { now: LATER, expires_at: LATER + Millis(5), ..blob(1, filled(2, 50)) };
    assert_eq!(put(store, next).await, PutBlob::Stored, "an expired blob does not keep its id");
    assert_eq!(get(store, 1, LATER).await, Some(filled(2, 50)));
}

async fn expired_blobs_are_deleted_a_few_at_a_time(store: Store<'_>) {
    for n in 0..20 {
        let expires_at = if n < 15 { NOW + Millis(1 + u64::from(n)) } else { LATER };
        put(store, NewBlob { expires_at, ..blob(n, filled(n, 100)) }).await;
    }
    assert_eq!(store.port().expire(NOW, 100).await, Ok(0), "none is over yet");
    let much_later = NOW + Millis::from_days(2);
    let mut gone = Vec::new();
    while gone.last() != Some(&0) {
        gone.push(store.port().expire(much_later, 4).await.expect("answered"));
    }
    assert_eq!(gone.iter().sum::<u64>(), 15, "{gone:?}");
    assert!(gone.iter().all(|blobs| *blobs <= 4), "no call does more than it was asked to: {gone:?}");
    for _ in 0..2 {
        assert_eq!(store.port().usage().await, Ok(BlobUsage { blobs: 5, bytes: 500 }));
        for n in 15..20 {
            assert_eq!(get(store, n, much_later).await, Some(filled(n, 100)), "no early expiry");
        }
        store.reopen().await;
    }
    let again = NewBlob { now: much_later, ..blob(1, filled(1, 10)) };
    assert_eq!(put(store, again).await, PutBlob::Stored);
}

async fn a_deleted_blob_is_gone(store: Store<'_>) {
    put(store, blob(1, filled(1, 100))).await;
    put(store, blob(2, filled(2, 100))).await;
    for _ in 0..2 {
        assert_eq!(store.port().delete(id(1)).await, Ok(()));
        assert_eq!(get(store, 1, NOW).await, None);
        assert_eq!(get(store, 2, NOW).await, Some(filled(2, 100)));
        store.reopen().await;
    }
    assert_eq!(put(store, blob(1, filled(9, 9))).await, PutBlob::Stored);
}

async fn usage_counts_what_is_there(store: Store<'_>) {
    assert_eq!(store.port().usage().await, Ok(BlobUsage::default()));
    let mut expected = BlobUsage::default();
    for n in 0..10 {
        put(store, blob(n, filled(n, 1_000 * usize::from(n)))).await;
        expected = BlobUsage { blobs: expected.blobs + 1, bytes: expected.bytes + 1_000 * u64::from(n) };
        assert_eq!(store.port().usage().await, Ok(expected));
    }
    store.port().delete(id(9)).await.expect("deleted");
    store.reopen().await;
    assert_eq!(store.port().usage().await, Ok(BlobUsage { blobs: 9, bytes: 36_000 }));
}

/// Takes an address apart into the blob that it names and its query.
fn apart(url: &str) -> (BlobId, &str) {
    let (id, query) = url.strip_prefix("/v1/blobs/").and_then(|rest| rest.split_once('?')).expect("a path");
    (id.parse().expect("a blob id"), query)
}

/// What `method` at this address is allowed to do.
fn admit(blobs: &dyn Blobs, method: BlobMethod, url: &str, now: Timestamp) -> Option<BlobGrant> {
    let (id, query) = apart(url);
    blobs.admit(BlobRequest { method, id, query }, now)
}

async fn an_address_allows_what_it_was_made_for(store: Store<'_>) {
    let blobs = &*store.port();
    let announced = upload(1, b"some bytes");
    let (to_put, to_get) = (blobs.upload_url(&announced, UNTIL), blobs.download_url(id(1), UNTIL));
    assert_eq!(admit(blobs, BlobMethod::Put, &to_put, NOW), Some(BlobGrant::Upload(announced)));
    assert_eq!(admit(blobs, BlobMethod::Get, &to_get, NOW), Some(BlobGrant::Download(id(1))));
    assert_eq!(admit(blobs, BlobMethod::Get, &to_put, NOW), None, "for one method");
    assert_eq!(admit(blobs, BlobMethod::Put, &to_get, NOW), None, "for one method");
    for (method, url) in [(BlobMethod::Put, &to_put), (BlobMethod::Get, &to_get)] {
        let (_, query) = apart(url);
        assert_eq!(blobs.admit(BlobRequest { method, id: id(2), query }, NOW), None, "for one blob");
    }
    let every: Vec<_> = (0..4).map(|n| blobs.upload_url(&upload(n, b"some bytes"), UNTIL)).collect();
    assert!(every.iter().all(|url| url.len() <= 2_048), "an address fits its frame");
}

async fn an_address_ends(store: Store<'_>) {
    let blobs = &*store.port();
    let to_put = blobs.upload_url(&upload(1, b"x"), UNTIL);
    let to_get = blobs.download_url(id(1), UNTIL);
    for (method, url) in [(BlobMethod::Put, to_put), (BlobMethod::Get, to_get)] {
        assert!(admit(blobs, method, &url, UNTIL - Millis(1)).is_some());
        assert_eq!(admit(blobs, method, &url, UNTIL), None);
        assert_eq!(admit(blobs, method, &url, UNTIL + Millis::from_days(1)), None);
    }
}

async fn a_changed_address_allows_nothing(store: Store<'_>) {
    let blobs = &*store.port();
    let to_put = blobs.upload_url(&upload(1, b"some bytes"), UNTIL);
    let to_get = blobs.download_url(id(1), UNTIL);
    for (method, url) in [(BlobMethod::Put, to_put), (BlobMethod::Get, to_get)] {
        let (id, query) = apart(&url);
        let admit = |query: &str| blobs.admit(BlobRequest { method, id, query }, NOW);
        assert!(admit(query).is_some());
        for at in 0..query.len() {
            for other in ['0', '1', 'a', 'F', '&', '='] {
                let changed = format!("{}{other}{}", &query[..at], &query[at + 1..]);
                assert!(changed == query || admit(&changed).is_none(), "changed at {at}: {changed}");
            }
            assert_eq!(admit(&query[..at]), None, "cut at {at}");
        }
        assert_eq!(admit(&format!("{query}&")), None);
        assert_eq!(admit(&format!("{query}&until=99999999999999")), None);
        assert_eq!(admit(&format!("until=99999999999999&{query}")), None);
        assert_eq!(admit(&query.to_uppercase()), None);
        assert_eq!(admit(""), None);
    }
}

async fn an_address_is_good_after_a_restart(store: Store<'_>) {
    let url = store.port().download_url(id(1), UNTIL);
    store.reopen().await;
    assert!(admit(&*store.port(), BlobMethod::Get, &url, NOW).is_some());
}
