//! Every adapter passes the suite of its port.

use crate::samples::identity;
use server_ports::{
    Blobs, Directory, Entropy, Exchange, GroupLog, Mailboxes,
    conformance::{self, Subject, run_all},
};
use server_solo::{
    files::FileBlobs,
    local::{LocalExchange, SystemClock, SystemEntropy},
    redb::RedbMailboxes,
    sqlite::SqliteDirectory,
};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;

/// An adapter over a file in a directory of its own.
struct OnDisk<A> {
    directory: TempDir,
    open: fn(PathBuf) -> A,
    adapter: Option<Arc<A>>,
}

impl<A> OnDisk<A> {
    fn new(open: fn(PathBuf) -> A) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let adapter = Some(Arc::new(open(directory.path().join("store"))));
        Self { directory, open, adapter }
    }

    fn adapter(&self) -> Arc<A> {
        self.adapter.clone().unwrap()
    }

    fn open_again(&mut self) {
        let alone = Arc::into_inner(self.adapter.take().unwrap());
        drop(alone.expect("a case that reopens holds no adapter"));
        self.adapter = Some(Arc::new((self.open)(self.directory.path().join("store"))));
    }
}

#[async_trait::async_trait]
impl Subject<dyn Mailboxes> for OnDisk<RedbMailboxes> {
    fn port(&self) -> Arc<dyn Mailboxes> {
        self.adapter()
    }

    async fn reopen(&mut self) {
        self.open_again();
    }
}

#[async_trait::async_trait]
impl Subject<dyn Directory> for OnDisk<SqliteDirectory> {
    fn port(&self) -> Arc<dyn Directory> {
        self.adapter()
    }

    async fn reopen(&mut self) {
        self.open_again();
    }
}

#[async_trait::async_trait]
impl Subject<dyn GroupLog> for OnDisk<SqliteDirectory> {
    fn port(&self) -> Arc<dyn GroupLog> {
        self.adapter()
    }

    async fn reopen(&mut self) {
        self.open_again();
    }
}

#[async_trait::async_trait]
impl Subject<dyn Blobs> for OnDisk<FileBlobs> {
    fn port(&self) -> Arc<dyn Blobs> {
        self.adapter()
    }

    async fn reopen(&mut self) {
        self.open_again();
    }
}

struct InProcess(Arc<LocalExchange>);

#[async_trait::async_trait]
impl Subject<dyn Exchange> for InProcess {
    fn port(&self) -> Arc<dyn Exchange> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0 = Arc::default();
    }
}

#[tokio::test]
async fn redb_mailboxes() {
    run_all(conformance::mailboxes::CASES, async || OnDisk::new(|path| RedbMailboxes::open(&path).unwrap()))
        .await;
}

fn open_directory(path: PathBuf) -> SqliteDirectory {
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    SqliteDirectory::open(&path, &entropy).unwrap()
}

#[tokio::test]
async fn sqlite_directory() {
    run_all(conformance::directory::CASES, async || OnDisk::new(open_directory)).await;
}

#[tokio::test]
async fn sqlite_group_log() {
    run_all(conformance::group_log::CASES, async || OnDisk::new(open_directory)).await;
}

#[tokio::test]
async fn file_blobs() {
    let open = |path: PathBuf| FileBlobs::open(&path, &identity(1)).unwrap();
    run_all(conformance::blobs::CASES, async || OnDisk::new(open)).await;
    run_all(conformance::blobs::PATH_CASES, async || OnDisk::new(open)).await;
}

#[tokio::test]
async fn local_exchange() {
    run_all(conformance::exchange::CASES, async || InProcess(Arc::default())).await;
}

#[tokio::test]
async fn system_clock() {
    conformance::world::a_sleep_is_never_too_short(&SystemClock).await;
}

#[test]
fn system_entropy() {
    conformance::world::entropy_fills_and_does_not_repeat(&SystemEntropy);
}
