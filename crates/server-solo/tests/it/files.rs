//! The data directory.

use server_ports::Entropy;
use server_solo::{
    OpenError, files::DataDir, local::SystemEntropy, redb::RedbMailboxes, sqlite::SqliteDirectory,
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_directory_is_private_and_whole() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("deep/data");
    let data = DataDir::open(&path).unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let _mailboxes = RedbMailboxes::open(&data.mailboxes()).unwrap();
    let _directory = SqliteDirectory::open(&data.directory(), &entropy).unwrap();
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn one_process_has_it_at_a_time() {
    let temporary = tempfile::tempdir().unwrap();
    let first = DataDir::open(temporary.path()).unwrap();
    assert!(matches!(DataDir::open(temporary.path()), Err(OpenError::InUse(_))));
    drop(first);
    DataDir::open(temporary.path()).unwrap();
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    fs::write(temporary.path().join("thesis.txt"), "years of work").unwrap();
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(DataDir::open(temporary.path()), Err(OpenError::NotADataDirectory(_))));
    assert_eq!(mode(temporary.path()), 0o755);
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
}

#[test]
fn an_open_directory_is_made_private() {
    let temporary = tempfile::tempdir().unwrap();
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).unwrap();
    DataDir::open(temporary.path()).unwrap();
    assert_eq!(mode(temporary.path()), 0o700);
}

#[test]
fn a_newer_format_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    drop(DataDir::open(temporary.path()).unwrap());
    fs::write(temporary.path().join("format"), "2\n").unwrap();
    let refused = DataDir::open(temporary.path());
    assert!(matches!(refused, Err(OpenError::NewerFormat { found: 2, known: 1, .. })), "{refused:?}");
    fs::write(temporary.path().join("format"), "rubbish").unwrap();
    assert!(matches!(DataDir::open(temporary.path()), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_newer_mailbox_file_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mailboxes.redb");
    drop(RedbMailboxes::open(&path).unwrap());
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let formats = redb::TableDefinition::<&str, u32>::new("format");
        transaction.open_table(formats).unwrap().insert("version", 2).unwrap();
        transaction.commit().unwrap();
    }
    let refused = RedbMailboxes::open(&path).err();
    assert!(matches!(refused, Some(OpenError::NewerFormat { found: 2, known: 1, .. })), "{refused:?}");
}

#[test]
fn a_newer_directory_file_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("directory.sqlite");
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    drop(SqliteDirectory::open(&path, &entropy).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 5).unwrap();
    let refused = SqliteDirectory::open(&path, &entropy).err();
    assert!(matches!(refused, Some(OpenError::NewerFormat { found: 5, known: 4, .. })), "{refused:?}");
}

#[test]
fn files_that_are_something_else_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("store");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    assert!(matches!(RedbMailboxes::open(&path), Err(OpenError::Damaged { .. })));
    assert!(matches!(SqliteDirectory::open(&path, &entropy), Err(OpenError::Damaged { .. })));
    assert_eq!(fs::read(&path).unwrap(), vec![7; 100_000], "and left as they are");
}

#[test]
fn a_crash_while_a_file_is_made_leaves_nothing_in_the_way() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("mailboxes.redb");
    fs::write(temporary.path().join("mailboxes.new"), vec![0; 70_000]).unwrap();
    drop(RedbMailboxes::open(&path).unwrap());
    let names: Vec<_> =
        fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["mailboxes.redb"]);
    assert_eq!(mode(&path), 0o600);
}
