//! What the mailbox file promises beyond the port.

use crate::samples::{NOW, mailbox, rows, runtime, send};
use bytes::Bytes;
use futures_util::future::join_all;
use server_ports::{Mailboxes, mailboxes::Append};
use server_solo::redb::RedbMailboxes;
use std::{fs, path::Path, thread, time::Duration};
use types::{Millis, Position};

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn rows_of_one_send_share_one_stored_body() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("mailboxes.redb");
    let store = RedbMailboxes::open(&path).unwrap();
    let members: Vec<_> = (0..2_500).map(mailbox).collect();
    runtime().block_on(async {
        join_all(members.iter().map(|member| store.open(*member))).await;
        let before = length(&path);
        let body = Bytes::from(vec![7; 100_000]);
        let mut group = send(9, 1, &members);
        group.rows.iter_mut().for_each(|row| row.body = body.clone());
        store.append(group).await.unwrap();
        let grown = length(&path) - before;
        assert!(grown < 4_000_000, "2,500 rows of 100 kB took {grown} bytes");
        for member in &members {
            let row = &rows(&store, *member).await[0];
            assert!(row.envelope.ends_with(&body));
        }
    });
}

#[test]
fn space_of_acknowledged_rows_is_used_again() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("mailboxes.redb");
    let store = RedbMailboxes::open(&path).unwrap();
    runtime().block_on(async {
        store.open(mailbox(1)).await.unwrap();
        let many = vec![mailbox(1); 100];
        let mut settled = 0;
        for n in 0..200 {
            store.append(send(9, n, &many)).await.unwrap();
            let positions: Vec<Position> =
                rows(&store, mailbox(1)).await.iter().map(|row| row.position).collect();
            store.ack(mailbox(1), &positions).await.unwrap();
            if n == 20 {
                settled = length(&path);
            }
        }
        let grown = length(&path).saturating_sub(settled);
        assert!(grown < 1_000_000, "180 sends that were acknowledged left {grown} bytes");
    });
}

#[test]
fn a_lone_ack_reaches_the_disk_by_itself() {
    let work = tempfile::tempdir().unwrap();
    let (path, copy) = (work.path().join("mailboxes.redb"), work.path().join("copy.redb"));
    let store = RedbMailboxes::open(&path).unwrap();
    let runtime = runtime();
    let on_disk = || {
        // As after a power cut: the store goes on beside its copy.
        fs::copy(&path, &copy).unwrap();
        let copy = RedbMailboxes::open(&copy).unwrap();
        runtime.block_on(rows(&copy, mailbox(1))).len()
    };
    runtime.block_on(async {
        store.open(mailbox(1)).await.unwrap();
        store.append(send(9, 1, &[mailbox(1)])).await.unwrap();
    });
    assert_eq!(on_disk(), 1);
    runtime.block_on(async {
        let position = rows(&store, mailbox(1)).await[0].position;
        store.ack(mailbox(1), &[position]).await.unwrap();
        assert_eq!(rows(&store, mailbox(1)).await.len(), 0, "at once for whoever reads here");
    });
    let tries = (0..200).find(|_| {
        thread::sleep(Duration::from_millis(50));
        on_disk() == 0
    });
    assert!(tries.is_some(), "an ack waits for other work, but not forever");
}

#[test]
fn expiry_takes_many_rows_a_few_at_a_time() {
    let work = tempfile::tempdir().unwrap();
    let store = RedbMailboxes::open(&work.path().join("mailboxes.redb")).unwrap();
    runtime().block_on(async {
        store.open(mailbox(1)).await.unwrap();
        let mut many = send(9, 1, &vec![mailbox(1); 12_000]);
        many.rows.iter_mut().for_each(|row| row.expires_at = NOW + Millis(1));
        store.append(Append { ..many }).await.unwrap();
        let later = NOW + Millis::from_days(2);
        let mut gone = Vec::new();
        while gone.last() != Some(&0) {
            gone.push(store.expire(later).await.unwrap());
        }
        assert_eq!(gone.iter().sum::<u64>(), 12_000);
        assert!(gone.iter().all(|rows| *rows <= 5_000), "no call holds up the committer for long: {gone:?}");
    });
}
