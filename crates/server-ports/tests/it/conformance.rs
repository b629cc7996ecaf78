//! Every fake passes the suite of its port.

use futures_util::FutureExt as _;
use server_ports::{
    Blobs, Directory, Exchange, GroupLog, Mailboxes,
    conformance::{self, Subject, run_all},
    fake::{FakeBlobs, FakeDirectory, FakeEntropy, FakeExchange, FakeGroupLog, FakeMailboxes, Mode, Setup},
};
use std::{future::Future, sync::Arc};

/// Runs a future that never waits for anything but calm fakes.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a calm fake answers at once")
}

pub struct Mail(pub Arc<FakeMailboxes>);

#[async_trait::async_trait]
impl Subject<dyn Mailboxes> for Mail {
    fn port(&self) -> Arc<dyn Mailboxes> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0.power_cut();
    }
}

pub struct Dir(pub Arc<FakeDirectory>);

#[async_trait::async_trait]
impl Subject<dyn Directory> for Dir {
    fn port(&self) -> Arc<dyn Directory> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0.power_cut();
    }
}

pub struct Log(pub Arc<FakeGroupLog>);

#[async_trait::async_trait]
impl Subject<dyn GroupLog> for Log {
    fn port(&self) -> Arc<dyn GroupLog> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0.power_cut();
    }
}

pub struct Store(pub Arc<FakeBlobs>);

#[async_trait::async_trait]
impl Subject<dyn Blobs> for Store {
    fn port(&self) -> Arc<dyn Blobs> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0.power_cut();
    }
}

pub struct Ex(pub Arc<FakeExchange>);

#[async_trait::async_trait]
impl Subject<dyn Exchange> for Ex {
    fn port(&self) -> Arc<dyn Exchange> {
        self.0.clone()
    }

    async fn reopen(&mut self) {
        self.0.power_cut();
    }
}

#[test]
fn mailboxes_of_one_machine() {
    now(run_all(conformance::mailboxes::CASES, async || {
        Mail(Arc::new(FakeMailboxes::new(Mode::Solo, &Setup::default())))
    }));
}

#[test]
fn directory() {
    now(run_all(conformance::directory::CASES, async || {
        Dir(Arc::new(FakeDirectory::new(&Setup::default())))
    }));
}

#[test]
fn group_log() {
    now(run_all(conformance::group_log::CASES, async || Log(Arc::new(FakeGroupLog::new(&Setup::default())))));
}

#[test]
fn blobs() {
    let make = async || Store(Arc::new(FakeBlobs::new(&Setup::default())));
    now(run_all(conformance::blobs::CASES, make));
    now(run_all(conformance::blobs::PATH_CASES, make));
}

#[test]
fn exchange() {
    now(run_all(conformance::exchange::CASES, async || Ex(Arc::new(FakeExchange::new(&Setup::default())))));
}

#[test]
fn entropy() {
    conformance::world::entropy_fills_and_does_not_repeat(&FakeEntropy::new(1));
}
