//! A process is killed while it stores and deletes blobs: an answered one is there to its last byte, and
//! none is there in part.

use crate::{
    child,
    crash::{KILLS, Log, ROUND, WRITERS, kill_while_working, round},
    samples::{NOW, blob, blob_id, content, identity, runtime},
};
use server_ports::blobs::{Blobs, PutBlob};
use server_solo::files::FileBlobs;
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

fn open(work: &Path) -> FileBlobs {
    FileBlobs::open(&work.join("blobs"), &identity(1)).unwrap()
}

#[test]
fn blob_writer() {
    let Some(work) = child::work() else { return };
    let log = Log::open(&work);
    let blobs = Arc::new(open(&work));
    let next = Arc::new(AtomicU32::new(round() * ROUND));
    runtime().block_on(async {
        let writers = (0..WRITERS).map(|_| {
            let (blobs, log, next) = (blobs.clone(), log.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    store_one(&blobs, &log, next.fetch_add(1, Ordering::Relaxed)).await;
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

/// Stores a blob, and deletes every fifth.
async fn store_one(blobs: &FileBlobs, log: &Log, n: u32) {
    log.line(format!("begun {n}"));
    assert_eq!(blobs.put(blob(n)).await, Ok(PutBlob::Stored));
    log.line(format!("done {n}"));
    if n.is_multiple_of(5) {
        log.line(format!("deleting {n}"));
        blobs.delete(blob_id(n)).await.unwrap();
        log.line(format!("deleted {n}"));
    }
}

async fn check(blobs: &FileBlobs, log: &str) -> u64 {
    let told = |word: &str| -> BTreeSet<u32> {
        log.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()).collect()
    };
    let (done, deleting, deleted) = (told("done"), told("deleting"), told("deleted"));
    let mut there = 0;
    for n in told("begun") {
        let found = blobs.get(blob_id(n), NOW).await.unwrap();
        there += u64::from(found.is_some());
        assert!(found.as_ref().is_none_or(|bytes| *bytes == content(n)), "a blob in part");
        assert!(found.is_some() || !done.contains(&n) || deleting.contains(&n), "an answered blob is lost");
        assert!(found.is_none() || !deleted.contains(&n), "a deleted blob is back");
    }
    there
}

/// Files in the directories of days.
fn named(blobs: &Path) -> u64 {
    let days = fs::read_dir(blobs).unwrap().map(|day| day.unwrap().path());
    days.filter(|day| !day.ends_with("incoming")).map(|day| fs::read_dir(day).unwrap().count() as u64).sum()
}

#[test]
fn blobs_survive_kill_9() {
    let work = tempfile::tempdir().unwrap();
    let runtime = runtime();
    for round in 0..KILLS / 2 {
        let log = kill_while_working("crash_blobs::blob_writer", work.path(), round);
        let blobs = open(work.path());
        let there = runtime.block_on(check(&blobs, &log));
        assert!(there > u64::from(round), "every round gets something done");
        assert_eq!(named(&work.path().join("blobs")), there, "a name without a whole blob");
        assert_eq!(runtime.block_on(blobs.usage()).unwrap().blobs, there);
        assert_eq!(fs::read_dir(work.path().join("blobs/incoming")).unwrap().count(), 0, "leftovers");
    }
}
