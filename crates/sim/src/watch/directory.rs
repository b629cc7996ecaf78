//! The directory, watched: devices that come and go, prekeys uploaded and given away.

use crate::chronicle::{Chronicle, digest_of};
use bytes::Bytes;
use server_ports::{
    Directory, StoreError,
    directory::{
        Account, Accounts, Attempt, ClosedAccount, ConnectOutcome, CreateOutcome, DeviceRecord, NewAccount,
        Prekeys, PutListOutcome, RegistrationSession, Registrations, ServiceIdentity, SessionId, TakeKeys,
        TakenKeys,
    },
    fake::FakeDirectory,
};
use std::sync::Arc;
use testkit::history::{Fact, KeyKind};
use types::{AccountId, DeviceAddress, MailboxId, PhoneNumber, Timestamp};
use wire::{Bundle, KeyCounts, KeyUpload};

/// The fake behind a watch. All nodes of a simulation share one.
pub struct WatchedDirectory {
    store: Arc<FakeDirectory>,
    chronicle: Chronicle,
}

impl WatchedDirectory {
    /// Watches a store.
    pub const fn new(store: Arc<FakeDirectory>, chronicle: Chronicle) -> Self {
        Self { store, chronicle }
    }

    fn opened(&self, mailboxes: &[MailboxId]) {
        mailboxes.iter().for_each(|mailbox| self.chronicle.record(Fact::Opened { mailbox: *mailbox }));
    }

    fn closed(&self, mailboxes: &[MailboxId]) {
        mailboxes.iter().for_each(|mailbox| self.chronicle.record(Fact::Closed { mailbox: *mailbox }));
    }
}

/// Writes down every key of an upload.
pub fn record_upload(chronicle: &Chronicle, owner: MailboxId, keys: &KeyUpload) {
    let record = |kind, id, key: &Bytes| {
        chronicle.record(Fact::KeyUploaded { owner, kind, id, key: digest_of(key) });
    };
    if let Some(key) = &keys.signed_prekey {
        record(KeyKind::Signed, key.id, &key.public_key);
    }
    if let Some(key) = &keys.last_resort {
        record(KeyKind::LastResort, key.id, &key.public_key);
    }
    for key in &keys.one_time {
        record(KeyKind::OneTime, key.id, &key.public_key);
    }
    for key in &keys.one_time_kem {
        record(KeyKind::OneTimeKem, key.id, &key.public_key);
    }
}

/// Writes down every key of a bundle that a device was given.
pub fn record_bundle(chronicle: &Chronicle, owner: MailboxId, requester: MailboxId, bundle: &Bundle) {
    let record = |kind, id, key: &Bytes| {
        chronicle.record(Fact::KeyServed { owner, requester, kind, id, key: digest_of(key) });
    };
    record(KeyKind::Signed, bundle.signed_prekey.id, &bundle.signed_prekey.public_key);
    let kem = &bundle.kem_prekey;
    let kind = if kem.last_resort { KeyKind::LastResort } else { KeyKind::OneTimeKem };
    record(kind, kem.id, &kem.public_key);
    if let Some(key) = &bundle.one_time_prekey {
        record(KeyKind::OneTime, key.id, &key.public_key);
    }
}

#[async_trait::async_trait]
impl Accounts for WatchedDirectory {
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.store.account(id).await
    }

    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError> {
        self.store.find(numbers).await
    }

    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError> {
        let mailbox = account.device.mailbox;
        record_upload(&self.chronicle, mailbox, &account.keys);
        let result = self.store.create(account).await;
        if let Ok(CreateOutcome::Created { closed }) = &result {
            closed.iter().for_each(|closed| self.closed(&closed.mailboxes));
            self.opened(&[mailbox]);
        }
        result
    }

    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError> {
        let result = self.store.close(id).await;
        if let Ok(Some(closed)) = &result {
            self.closed(&closed.mailboxes);
        }
        result
    }

    async fn put_list(
        &self,
        id: AccountId,
        expected: u64,
        version: u64,
        list: Bytes,
        devices: Vec<DeviceRecord>,
    ) -> Result<PutListOutcome, StoreError> {
        let result = self.store.put_list(id, expected, version, list, devices).await;
        if let Ok(PutListOutcome::Stored { removed, added }) = &result {
            self.closed(removed);
            self.opened(added);
        }
        result
    }

    async fn device(&self, address: DeviceAddress) -> Result<Option<DeviceRecord>, StoreError> {
        self.store.device(address).await
    }

    async fn connect(
        &self,
        device: MailboxId,
        connection_number: u64,
        now: Timestamp,
    ) -> Result<ConnectOutcome, StoreError> {
        self.store.connect(device, connection_number, now).await
    }
}

#[async_trait::async_trait]
impl Prekeys for WatchedDirectory {
    async fn put_keys(&self, device: MailboxId, keys: KeyUpload) -> Result<Option<KeyCounts>, StoreError> {
        self.store.put_keys(device, keys).await
    }

    async fn take_keys(&self, take: TakeKeys) -> Result<Option<TakenKeys>, StoreError> {
        let result = self.store.take_keys(take).await;
        if let Ok(Some(taken)) = &result {
            record_bundle(&self.chronicle, take.target, take.requester, &taken.bundle);
        }
        result
    }

    async fn key_counts(&self, device: MailboxId) -> Result<Option<KeyCounts>, StoreError> {
        self.store.key_counts(device).await
    }
}

#[async_trait::async_trait]
impl Registrations for WatchedDirectory {
    async fn begin(&self, session: RegistrationSession) -> Result<(), StoreError> {
        self.store.begin(session).await
    }

    async fn attempt(
        &self,
        session: SessionId,
        code_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Attempt, StoreError> {
        self.store.attempt(session, code_hash, now).await
    }

    async fn expire_registrations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.store.expire_registrations(now).await
    }
}

#[async_trait::async_trait]
impl Directory for WatchedDirectory {
    async fn service(&self) -> Result<ServiceIdentity, StoreError> {
        self.store.service().await
    }

    fn health(&self) -> Result<(), StoreError> {
        Directory::health(&*self.store)
    }
}
