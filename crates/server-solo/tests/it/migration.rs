//! A directory of the format before opens, keeps what it has, and takes what is new.

use crate::samples::{NOW, mailbox, open_directory, phone, runtime};
use rusqlite::{Connection, params};
use server_ports::{
    Directory, GroupLog,
    directory::{Accounts, CreateLinkOutcome, Links, NewLink, Prekeys},
    group_log::{AppendOperation, AppendOutcome},
};
use std::path::Path;
use types::{GroupId, LinkId, Millis, NodeId, Stamp};
use wire::KeyUpload;

/// The tables of format 1, as the version that wrote them made them.
const FORMAT_1: &str = include_str!("format_1.sql");

/// A database of format 1 with one account.
fn make_format_1(path: &Path) {
    let database = Connection::open(path).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
    database.execute_batch(FORMAT_1).unwrap();
    database.execute("INSERT INTO service VALUES (1, ?, ?)", params![[1_u8; 16], [2_u8; 32]]).unwrap();
    let account = mailbox(1).account;
    database
        .execute(
            "INSERT INTO accounts VALUES (?, ?, ?, 7, ?, ?)",
            params![account.as_bytes(), [3_u8; 32], phone(1).e164(), vec![4_u8; 300], [5_u8; 16]],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO devices VALUES (?, 1, 1, ?, ?, 42, 1000)",
            params![account.as_bytes(), [6_u8; 32], [7_u8; 32]],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO one_time VALUES (?, 1, 1, 9, ?, NULL)",
            params![account.as_bytes(), vec![8_u8; 33]],
        )
        .unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
}

fn offer() -> NewLink {
    NewLink {
        id: LinkId::from_bytes([1; 16]),
        token_hash: [1; 32],
        offer: vec![1; 100].into(),
        keys: KeyUpload::default(),
        expires_at: NOW + Millis::from_secs(60),
    }
}

fn operation() -> AppendOperation {
    AppendOperation {
        group: GroupId::from_bytes([1; 16]),
        expected: None,
        hash: [1; 32],
        operation_id: [1; 16],
        actor: mailbox(1),
        bytes: vec![1; 100].into(),
        stamp: Stamp::new(1, NodeId(1)),
        joined: vec![mailbox(1).account],
        left: Vec::new(),
    }
}

#[test]
fn a_directory_of_format_1_opens() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("directory.sqlite");
    make_format_1(&path);
    runtime().block_on(async {
        for again in [false, true] {
            let directory = open_directory(&path);
            let service = directory.service().await.unwrap();
            assert_eq!(service.incarnation.as_bytes(), &[1; 16], "it is the same service");
            assert_eq!(service.pepper.expose(), &[2; 32]);
            let account = directory.account(mailbox(1).account).await.unwrap().unwrap();
            assert_eq!((account.list_version, account.list.len()), (7, 300));
            assert_eq!((account.phone, account.devices.len()), (Some(phone(1)), 1));
            let device = directory.device(mailbox(1).address()).await.unwrap().unwrap();
            assert_eq!((device.connection_number, device.token_hash), (42, [7; 32]));
            assert_eq!(directory.key_counts(mailbox(1)).await.unwrap().unwrap().one_time, 1);
            let created = directory.create_link(offer()).await.unwrap();
            let appended = directory.append(operation()).await.unwrap();
            assert_eq!(created == CreateLinkOutcome::Created, !again);
            assert_eq!(appended == (AppendOutcome::Appended { epoch: 0 }), !again);
            assert_eq!(directory.retiring(None, 10).await, Ok(Vec::new()));
            assert_eq!(directory.groups_of(mailbox(1).account).await.unwrap().len(), 1);
        }
    });
    let database = Connection::open(&path).unwrap();
    let format: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 4, "and is of the new format");
}

#[test]
fn a_migration_that_was_cut_off_is_done_again_as_a_whole() {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("directory.sqlite");
    make_format_1(&path);
    // A table in the way fails the migration in its middle, as a full disk would.
    let database = Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE group_members (in_the_way INTEGER) STRICT;").unwrap();
    let entropy = crate::samples::entropy();
    assert!(server_solo::sqlite::SqliteDirectory::open(&path, &entropy).is_err());
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('links', 'group_operations')";
    let made: u32 = database.query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(made, 0, "nothing of it is there");
    database.execute_batch("DROP TABLE group_members;").unwrap();
    drop(database);
    runtime().block_on(async {
        let directory = open_directory(&path);
        assert!(directory.account(mailbox(1).account).await.unwrap().is_some());
        assert_eq!(directory.append(operation()).await, Ok(AppendOutcome::Appended { epoch: 0 }));
    });
}
