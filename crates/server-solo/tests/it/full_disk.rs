//! A disk that is full: a store ends, nothing that was answered is lost, and a restart with room goes on.

use crate::{
    audit, child,
    samples::{
        NOW, blob, blob_id, content, create_account, identity, mailbox, open_directory, rows, runtime, send,
        send_of,
    },
};
use bytes::Bytes;
use server_ports::{
    Blobs, Directory, Mailboxes, StoreError,
    blobs::PutBlob,
    directory::{Accounts, NewList},
};
use server_solo::{files::FileBlobs, redb::RedbMailboxes};
use std::{fs, path::Path, process::Command};

/// Wraps the part so that its directory is a small file system of its own; `None` where that is not
/// allowed.
fn on_small_disk(part: &str, work: &Path) -> Option<Command> {
    let inner = child::command(part, work);
    let mount = |command: &mut Command| {
        command.args(["sh", "-c", "mount -t tmpfs -o size=6m tmpfs \"$0\" && exec \"$@\""]).arg(work);
    };
    for unshare in [vec!["--mount"], vec!["--mount", "--map-root-user"]] {
        let mut probe = Command::new("unshare");
        mount(probe.args(&unshare));
        if probe.arg("true").output().is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            mount(command.args(&unshare));
            command.arg(inner.get_program()).args(inner.get_args());
            command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
            return Some(command);
        }
    }
    None
}

fn run_on_small_disk(part: &str) {
    let work = tempfile::tempdir().unwrap();
    match on_small_disk(part, work.path()) {
        Some(command) => child::run(command),
        None => println!("skipped: no file system can be mounted here ({part})"),
    }
}

/// A file whose removal makes room again.
fn ballast(work: &Path) -> std::path::PathBuf {
    let path = work.join("ballast");
    fs::write(&path, vec![1; 3 * 1024 * 1024]).unwrap();
    path
}

#[test]
fn mailboxes_part() {
    let Some(work) = child::work() else { return };
    let (path, ballast) = (work.join("mailboxes.redb"), ballast(&work));
    runtime().block_on(async {
        let store = RedbMailboxes::open(&path).unwrap();
        store.open(mailbox(1)).await.unwrap();
        let many = vec![mailbox(1); 20];
        let mut answered = 0;
        while store.append(send(9, answered, &many)).await.is_ok() {
            answered += 1;
        }
        assert!(answered > 0, "there was room at first");
        fs::remove_file(&ballast).unwrap();
        assert!(store.health().unwrap_err().is_poisoned());
        assert!(store.append(send(9, answered + 1, &many)).await.is_err(), "room alone heals nothing");
        drop(store);
        let store = RedbMailboxes::open(&path).unwrap();
        let sends: Vec<_> = rows(&store, mailbox(1)).await.iter().map(send_of).collect();
        let expected = |sends: u32| (0..sends).flat_map(|n| [n; 20]).collect::<Vec<_>>();
        assert!(
            sends == expected(answered) || sends == expected(answered + 1),
            "what was answered, as a whole"
        );
        store.append(send(9, answered + 2, &many)).await.expect("a restart with room goes on");
        drop(store);
        audit::mailboxes(&path);
    });
}

#[test]
fn mailboxes_survive_a_full_disk() {
    run_on_small_disk("full_disk::mailboxes_part");
}

#[test]
fn directory_part() {
    let Some(work) = child::work() else { return };
    let (path, ballast) = (work.join("directory.sqlite"), ballast(&work));
    runtime().block_on(async {
        let directory = open_directory(&path);
        create_account(&directory, 1).await;
        let list = |n: u64| Bytes::from(vec![n as u8; 16 * 1024]);
        let record = directory.device(mailbox(1).address()).await.unwrap().unwrap();
        let mut version = 1;
        let next = |version| NewList {
            account: mailbox(1).account,
            expected: version,
            version: version + 1,
            list: list(version),
            devices: vec![record.clone()],
            link: None,
        };
        while directory.put_list(next(version)).await.is_ok() {
            version += 1;
        }
        assert!(version > 1, "there was room at first");
        fs::remove_file(&ballast).unwrap();
        assert!(Directory::health(&directory).unwrap_err().is_poisoned());
        assert!(directory.connect(mailbox(1), 1, NOW).await.is_err(), "room alone heals nothing");
        drop(directory);
        let directory = open_directory(&path);
        let account = directory.account(mailbox(1).account).await.unwrap().unwrap();
        assert!((version..=version + 1).contains(&account.list_version), "what was answered is there");
        assert_eq!(account.list, list(account.list_version - 1), "and whole");
        directory.connect(mailbox(1), 1, NOW).await.expect("a restart with room goes on");
    });
}

#[test]
fn the_directory_survives_a_full_disk() {
    run_on_small_disk("full_disk::directory_part");
}

#[test]
fn blobs_part() {
    let Some(work) = child::work() else { return };
    let (path, ballast) = (work.join("blobs"), ballast(&work));
    runtime().block_on(async {
        let blobs = FileBlobs::open(&path, &identity(1)).unwrap();
        let mut stored = 0;
        let refused = loop {
            match blobs.put(blob(stored)).await {
                Ok(outcome) => assert_eq!(outcome, PutBlob::Stored),
                Err(error) => break error,
            }
            stored += 1;
        };
        assert!(stored > 10, "there was room at first");
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
        for _ in 0..3 {
            assert!(
                matches!(blobs.put(blob(stored)).await, Err(StoreError::Unavailable(_))),
                "still no room"
            );
            assert_eq!(blobs.get(blob_id(stored), NOW).await, Ok(None), "nothing of it is there");
        }
        assert_eq!(blobs.health(), Ok(()), "a full disk is no broken one");
        assert_eq!(
            fs::read_dir(path.join("incoming")).unwrap().count(),
            0,
            "and what was begun takes no room"
        );
        for n in 0..stored {
            assert_eq!(blobs.get(blob_id(n), NOW).await, Ok(Some(content(n))));
        }
        fs::remove_file(&ballast).unwrap();
        assert_eq!(blobs.put(blob(stored)).await, Ok(PutBlob::Stored), "room is all that it takes");
    });
}

#[test]
fn blobs_survive_a_full_disk() {
    run_on_small_disk("full_disk::blobs_part");
}
