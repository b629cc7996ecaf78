//! The directory, watched: devices that come and go, prekeys uploaded and given away.

use crate::chronicle::{Chronicle, digest_of};
use bytes::Bytes;
use server_ports::{
    Directory, StoreError,
    directory::{
        Account, Accounts, AnswerLink, Attempt, ClosedAccount, ConnectOutcome, CreateLinkOutcome,
        CreateOutcome, DeviceRecord, InviteLink, Link, LinkOutcome, Links, NewAccount, NewLink, NewList,
        Prekeys, PutListOutcome, RegistrationSession, Registrations, Restore, RestoreOutcome,
        ServiceIdentity, SessionId, TakeKeys, TakenKeys,
    },
    fake::FakeDirectory,
};
use signed::DeviceList;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use testkit::history::{Fact, KeyKind};
use types::{AccountId, DeviceAddress, LinkId, MailboxId, PhoneNumber, Timestamp};
use wire::{Bundle, KeyCounts, KeyUpload};

/// The fake behind a watch. All nodes of a simulation share one.
pub struct WatchedDirectory {
    store: Arc<FakeDirectory>,
    chronicle: Chronicle,
    /// Keys of devices that are being linked: whose they are shows when a list names the device.
    offered: Mutex<BTreeMap<LinkId, KeyUpload>>,
    /// The version of each account's list at the last look, and the devices on it.
    lists: Mutex<BTreeMap<AccountId, (u64, BTreeSet<MailboxId>)>>,
    /// A planted mistake: accounts as they were seen first.
    cache: Option<Mutex<BTreeMap<AccountId, Account>>>,
}

impl WatchedDirectory {
    /// Watches a store.
    pub fn new(store: Arc<FakeDirectory>, chronicle: Chronicle) -> Self {
        let (offered, lists) = (Mutex::default(), Mutex::default());
        Self { store, chronicle, offered, lists, cache: None }
    }

    /// Plants a mistake: an account that was seen is never looked at again.
    pub fn with_cache(self) -> Self {
        Self { cache: Some(Mutex::default()), ..self }
    }

    fn cached(&self, account: Account) -> Account {
        let Some(cache) = &self.cache else { return account };
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.entry(account.id).or_insert(account).clone()
    }

    /// Writes down an account's list if it is another one than at the last look, and whose mailboxes came and
    /// went with it, whoever was told so.
    fn look(&self, account: AccountId) {
        let mut known = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((version, bytes)) = self.store.list_of(account) else { return };
        let (before, devices) = known.entry(account).or_default();
        let is_closed = bytes.is_empty();
        if *before == version && !is_closed {
            return;
        }
        let list = DeviceList::verify(&bytes).ok();
        let mailboxes: Vec<_> = list.iter().flat_map(DeviceList::mailboxes).collect();
        let now: BTreeSet<_> = mailboxes.iter().copied().collect();
        if !is_closed {
            let digest = digest_of(&bytes);
            self.chronicle.record(Fact::ListWritten { account, version, digest, mailboxes });
        }
        self.opened(now.difference(devices));
        self.closed(devices.difference(&now));
        (*before, *devices) = (version, now);
    }

    fn offered(&self) -> MutexGuard<'_, BTreeMap<LinkId, KeyUpload>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened<'a>(&self, mailboxes: impl IntoIterator<Item = &'a MailboxId>) {
        mailboxes.into_iter().for_each(|mailbox| self.chronicle.record(Fact::Opened { mailbox: *mailbox }));
    }

    fn closed<'a>(&self, mailboxes: impl IntoIterator<Item = &'a MailboxId>) {
        mailboxes.into_iter().for_each(|mailbox| self.chronicle.record(Fact::Closed { mailbox: *mailbox }));
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
        let account = self.store.account(id).await;
        self.look(id);
        account.map(|account| account.map(|account| self.cached(account)))
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        let accounts = self.store.accounts(ids).await;
        ids.iter().for_each(|id| self.look(*id));
        let cached = |account: Option<Account>| account.map(|account| self.cached(account));
        accounts.map(|accounts| accounts.into_iter().map(cached).collect())
    }

    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError> {
        self.store.find(numbers).await
    }

    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError> {
        let mailbox = account.device.mailbox;
        record_upload(&self.chronicle, mailbox, &account.keys);
        let result = self.store.create(account).await;
        self.look(mailbox.account);
        if let Ok(CreateOutcome::Created { closed }) = &result {
            closed.iter().for_each(|closed| self.look(closed.id));
        }
        result
    }

    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError> {
        let result = self.store.close(id).await;
        self.look(id);
        result
    }

    async fn put_list(&self, list: NewList) -> Result<PutListOutcome, StoreError> {
        if let Some(link) = &list.link
            && let Some(keys) = self.offered().get(&link.id)
        {
            record_upload(&self.chronicle, link.device, keys);
        }
        let account = list.account;
        let result = self.store.put_list(list).await;
        self.look(account);
        result
    }

    async fn restore(&self, restore: Restore) -> Result<RestoreOutcome, StoreError> {
        let mailbox = restore.device.mailbox;
        record_upload(&self.chronicle, mailbox, &restore.keys);
        let result = self.store.restore(restore).await;
        self.look(mailbox.account);
        result
    }

    async fn retiring(&self, of: Option<AccountId>, limit: usize) -> Result<Vec<MailboxId>, StoreError> {
        self.store.retiring(of, limit).await
    }

    async fn retired(&self, devices: &[MailboxId], now: Timestamp) -> Result<(), StoreError> {
        self.store.retired(devices, now).await
    }

    async fn departed(&self, since: Timestamp) -> Result<Vec<MailboxId>, StoreError> {
        let departed = self.store.departed(since).await;
        if departed.is_err() {
            self.chronicle.record(Fact::LookFailed);
        }
        departed
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
impl Links for WatchedDirectory {
    async fn create_link(&self, link: NewLink) -> Result<CreateLinkOutcome, StoreError> {
        self.offered().entry(link.id).or_insert_with(|| link.keys.clone());
        self.store.create_link(link).await
    }

    async fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError> {
        self.store.link(id).await
    }

    async fn invite(&self, invite: InviteLink) -> Result<LinkOutcome, StoreError> {
        self.store.invite(invite).await
    }

    async fn answer_link(&self, answer: AnswerLink) -> Result<LinkOutcome, StoreError> {
        self.store.answer_link(answer).await
    }

    async fn refuse_link(
        &self,
        id: LinkId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<LinkOutcome, StoreError> {
        self.store.refuse_link(id, account, now).await
    }

    async fn expire_links(&self, ended: Timestamp) -> Result<u64, StoreError> {
        self.store.expire_links(ended).await
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
