//! A disk that cannot write: after the first failed fsync nothing more is acknowledged, also when the
//! disk says that it is well again.

use crate::{
    audit, child,
    samples::{
        NOW, blob, blob_id, content, create_account, identity, mailbox, open_directory, rows, runtime, send,
        send_of,
    },
};
use server_ports::{
    Blobs, Directory, GroupLog, Mailboxes, StoreError,
    blobs::PutBlob,
    directory::{Accounts, Links, Prekeys},
    mailboxes::{AppendError, PageLimit},
};
use server_solo::{files::FileBlobs, redb::RedbMailboxes};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use types::Position;

/// Compiles the library that makes fsync fail.
fn shim(work: &Path) -> PathBuf {
    let library = work.join("failing_fsync.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/failing_fsync.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.expect("a C compiler is there: the build needs one too").success());
    library
}

/// Runs the part over a disk that fails while the file `failing` exists in its directory.
fn on_failing_disk(part: &str) -> TempDir {
    let work = tempfile::tempdir().unwrap();
    let mut command = child::command(part, work.path());
    command.env("LD_PRELOAD", shim(work.path())).env("FSYNC_FAILS", work.path().join("failing"));
    child::run(command);
    work
}

fn is_poisoned<T>(outcome: Result<T, StoreError>) -> bool {
    outcome.is_err_and(|error| error.is_poisoned())
}

#[test]
fn mailboxes_part() {
    let Some(work) = child::work() else { return };
    let failing = work.join("failing");
    runtime().block_on(async {
        let store = RedbMailboxes::open(&work.join("mailboxes.redb")).unwrap();
        store.open(mailbox(1)).await.unwrap();
        store.append(send(9, 1, &[mailbox(1)])).await.unwrap();
        assert_eq!(store.health(), Ok(()));
        fs::write(&failing, "").unwrap();
        let failed = store.append(send(9, 2, &[mailbox(1)])).await;
        assert!(matches!(failed, Err(AppendError::Store(StoreError::Poisoned(_)))), "{failed:?}");
        fs::remove_file(&failing).unwrap();
        for n in 3..10 {
            let refused = store.append(send(9, n, &[mailbox(1)])).await;
            assert!(matches!(refused, Err(AppendError::Store(StoreError::Poisoned(_)))), "{refused:?}");
        }
        assert!(is_poisoned(store.health()));
        assert!(is_poisoned(store.open(mailbox(2)).await));
        assert!(is_poisoned(store.close(mailbox(1)).await));
        assert!(is_poisoned(store.expire(NOW).await));
        assert!(is_poisoned(store.reserve_stamps(types::NodeId(1), 1).await));
        assert!(is_poisoned(store.ack(mailbox(1), &[Position::from_u128(1)]).await));
        let limit = PageLimit { rows: 10, bytes: 10_000, now: NOW };
        assert!(is_poisoned(store.read(mailbox(1), Position::ZERO, limit).await));
    });
}

#[test]
fn mailboxes_end_with_the_first_failed_fsync() {
    let work = on_failing_disk("failing_disk::mailboxes_part");
    let path = work.path().join("mailboxes.redb");
    let store = RedbMailboxes::open(&path).unwrap();
    let sends: Vec<_> = runtime().block_on(rows(&store, mailbox(1))).iter().map(send_of).collect();
    assert!(sends == [1] || sends == [1, 2], "what was answered, and perhaps what was under way: {sends:?}");
    drop(store);
    audit::mailboxes(&path);
}

#[test]
fn directory_part() {
    let Some(work) = child::work() else { return };
    let failing = work.join("failing");
    runtime().block_on(async {
        let directory = open_directory(&work.join("directory.sqlite"));
        create_account(&directory, 1).await;
        assert_eq!(Directory::health(&directory), Ok(()));
        fs::write(&failing, "").unwrap();
        assert!(is_poisoned(directory.connect(mailbox(1), 5, NOW).await));
        fs::remove_file(&failing).unwrap();
        for n in 6..10 {
            assert!(is_poisoned(directory.connect(mailbox(1), n, NOW).await));
        }
        assert!(is_poisoned(Directory::health(&directory)));
        assert!(is_poisoned(directory.account(mailbox(1).account).await), "not from memory either");
        assert!(is_poisoned(directory.key_counts(mailbox(1)).await));
        assert!(is_poisoned(directory.accounts(&[mailbox(1).account]).await), "not from memory either");
        assert!(is_poisoned(directory.expire_links(NOW).await));
        let group = types::GroupId::from_bytes([1; 16]);
        assert!(is_poisoned(GroupLog::head(&directory, group).await), "groups end with accounts");
        assert!(is_poisoned(directory.delivered(group, 0).await));
        assert!(is_poisoned(GroupLog::health(&directory)));
    });
}

#[test]
fn the_directory_ends_with_the_first_failed_fsync() {
    let work = on_failing_disk("failing_disk::directory_part");
    let directory = open_directory(&work.path().join("directory.sqlite"));
    let record = runtime().block_on(directory.device(mailbox(1).address())).unwrap().unwrap();
    assert!(matches!(record.connection_number, 0 | 5), "{record:?}");
}

/// SQLite forgives errors of its automatic checkpoints, and tries again with pages that the kernel may
/// have dropped.
#[test]
fn checkpoint_part() {
    let Some(work) = child::work() else { return };
    runtime().block_on(async {
        let directory = open_directory(&work.join("directory.sqlite"));
        create_account(&directory, 1).await;
        fs::write(work.join("failing"), "directory.sqlite").unwrap();
        let mut number = 0;
        while Directory::health(&directory).is_ok() {
            number += 1;
            assert!(number < 10_000, "checkpoints are made, and looked at");
            if directory.connect(mailbox(1), number, NOW).await.is_ok() {
                fs::write(work.join("answered"), number.to_string()).unwrap();
            }
        }
        assert!(is_poisoned(directory.connect(mailbox(1), number + 1, NOW).await));
    });
}

#[test]
fn the_directory_ends_with_a_failed_checkpoint() {
    let work = on_failing_disk("failing_disk::checkpoint_part");
    let answered: u64 = fs::read_to_string(work.path().join("answered")).unwrap().parse().unwrap();
    assert!(answered > 100, "commits alone do not touch the database file");
    let directory = open_directory(&work.path().join("directory.sqlite"));
    let record = runtime().block_on(directory.device(mailbox(1).address())).unwrap().unwrap();
    assert!(record.connection_number >= answered, "an answered write is lost");
}

#[test]
fn blobs_part() {
    let Some(work) = child::work() else { return };
    let failing = work.join("failing");
    runtime().block_on(async {
        let blobs = FileBlobs::open(&work.join("blobs"), &identity(1)).unwrap();
        assert_eq!(blobs.put(blob(1)).await, Ok(PutBlob::Stored));
        assert_eq!(blobs.health(), Ok(()));
        fs::write(&failing, "").unwrap();
        assert!(is_poisoned(blobs.put(blob(2)).await));
        fs::remove_file(&failing).unwrap();
        for n in 3..10 {
            assert!(is_poisoned(blobs.put(blob(n)).await));
        }
        assert!(is_poisoned(blobs.health()));
        assert!(is_poisoned(blobs.get(blob_id(1), NOW).await));
        assert!(is_poisoned(blobs.delete(blob_id(1)).await));
        assert!(is_poisoned(blobs.expire(NOW, 10).await));
    });
}

#[test]
fn blobs_end_with_the_first_failed_fsync() {
    let work = on_failing_disk("failing_disk::blobs_part");
    let blobs = FileBlobs::open(&work.path().join("blobs"), &identity(1)).unwrap();
    runtime().block_on(async {
        assert_eq!(blobs.get(blob_id(1), NOW).await, Ok(Some(content(1))));
        for n in 2..10 {
            assert_eq!(blobs.get(blob_id(n), NOW).await, Ok(None), "what never reached the disk has no name");
        }
        assert_eq!(blobs.put(blob(2)).await, Ok(PutBlob::Stored), "a restart on a well disk goes on");
    });
}

/// The name of a blob is on disk before it is answered, and not only its bytes.
#[test]
fn names_part() {
    let Some(work) = child::work() else { return };
    runtime().block_on(async {
        let blobs = FileBlobs::open(&work.join("blobs"), &identity(1)).unwrap();
        assert_eq!(blobs.put(blob(1)).await, Ok(PutBlob::Stored));
        // The directory of the day, whose number ends the path.
        let day = (NOW + types::Millis::from_days(30)).as_millis() / types::Millis::from_days(1).0;
        fs::write(work.join("failing"), format!("blobs/{day}")).unwrap();
        assert!(is_poisoned(blobs.put(blob(2)).await));
    });
}

#[test]
fn blobs_end_with_a_failed_fsync_of_their_directory() {
    on_failing_disk("failing_disk::names_part");
}
