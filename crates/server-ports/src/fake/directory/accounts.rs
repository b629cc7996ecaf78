//! Accounts and devices.

use super::{FakeDirectory, Tables, prekeys::StoredKeys};
use crate::{
    StoreError,
    directory::{
        Account, Accounts, ClosedAccount, CompleteLink, ConnectOutcome, CreateOutcome, DEPARTED_REMEMBERED,
        DeviceRecord, ListedDevice, NewAccount, NewList, PutListOutcome, Restore, RestoreOutcome, SessionId,
    },
    fake::Bug,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use types::{AccountId, DeviceAddress, DeviceNumber, MailboxId, PhoneNumber, Timestamp};

#[derive(Debug)]
pub(super) struct StoredAccount {
    key: [u8; 32],
    phone: Option<PhoneNumber>,
    list_version: u64,
    list: Bytes,
    devices: BTreeMap<DeviceNumber, DeviceRecord>,
    created_by: SessionId,
}

impl FakeDirectory {
    /// The version and the bytes of an account's device list, if it has one.
    pub fn list_of(&self, id: AccountId) -> Option<(u64, Bytes)> {
        let tables = super::super::lock(&self.tables);
        let account = tables.accounts.get(&id)?;
        (account.list_version > 0).then(|| (account.list_version, account.list.clone()))
    }
}

impl StoredAccount {
    /// An account is open as long as it has its number.
    const fn closed(&self) -> bool {
        self.phone.is_none()
    }

    fn lists(&self, mailbox: MailboxId) -> bool {
        self.devices.get(&mailbox.device).is_some_and(|record| record.mailbox == mailbox)
    }

    fn view(&self, id: AccountId) -> Account {
        let listed = |record: &DeviceRecord| ListedDevice {
            device: record.mailbox.device,
            registration: record.mailbox.registration,
            last_connected: record.last_connected,
        };
        Account {
            id,
            key: self.key,
            phone: self.phone.clone(),
            closed: self.closed(),
            list_version: self.list_version,
            list: self.list.clone(),
            devices: self.devices.values().map(listed).collect(),
        }
    }
}

impl Tables {
    fn listed_mut(&mut self, mailbox: MailboxId) -> Option<&mut DeviceRecord> {
        let record = self.accounts.get_mut(&mailbox.account)?.devices.get_mut(&mailbox.device)?;
        (record.mailbox == mailbox).then_some(record)
    }

    fn create(&mut self, new: NewAccount) -> CreateOutcome {
        let existing = self.accounts.get(&new.id);
        if existing.is_some_and(|account| account.created_by == new.session) {
            if let Some(record) = self.listed_mut(new.device.mailbox) {
                record.token_hash = new.device.token_hash;
            }
            return CreateOutcome::Repeat { device: new.device.mailbox.device };
        }
        if !self.proved(new.session, &new.phone, new.now) {
            return CreateOutcome::NoSession;
        }
        if existing.is_some() {
            return CreateOutcome::AccountExists;
        }
        let holder = self.numbers.get(&new.phone).copied();
        if holder.is_some() && !new.replace {
            return CreateOutcome::NumberTaken;
        }
        let closed = holder.and_then(|holder| self.close(holder));
        self.sessions.remove(&new.session);
        self.numbers.insert(new.phone.clone(), new.id);
        self.retiring.remove(&new.device.mailbox);
        self.keys.insert(new.device.mailbox, StoredKeys::of(new.keys));
        let account = StoredAccount {
            key: new.key,
            phone: Some(new.phone),
            list_version: new.list_version,
            list: new.list,
            devices: BTreeMap::from([(new.device.mailbox.device, new.device)]),
            created_by: new.session,
        };
        self.accounts.insert(new.id, account);
        CreateOutcome::Created { closed }
    }

    fn close(&mut self, id: AccountId) -> Option<ClosedAccount> {
        let account = self.accounts.get_mut(&id)?;
        let number = account.phone.take()?;
        account.list = Bytes::new();
        let devices = std::mem::take(&mut account.devices);
        let mailboxes: Vec<_> = devices.into_values().map(|record| record.mailbox).collect();
        self.numbers.remove(&number);
        self.retire(&mailboxes);
        Some(ClosedAccount { id, mailboxes })
    }

    fn put_list(&mut self, mut list: NewList, in_part: bool) -> PutListOutcome {
        let Some(account) = self.accounts.get(&list.account).filter(|account| !account.closed()) else {
            return PutListOutcome::NoAccount;
        };
        if account.list_version != list.expected {
            return PutListOutcome::Conflict { version: account.list_version };
        }
        let linked = match list.link.take() {
            Some(complete) if self.may_complete(&list, &complete) => self.complete(complete, &mut list),
            Some(_) if !in_part => return PutListOutcome::LinkUnavailable,
            _ => None,
        };
        let (removed, added) = self.replace_list(list);
        if let Some((device, keys)) = linked {
            self.keys.insert(device, keys);
        }
        PutListOutcome::Stored { removed, added }
    }

    /// Whether the list adds the link's device, and its account has the link.
    fn may_complete(&self, list: &NewList, complete: &CompleteLink) -> bool {
        let device = complete.device;
        let added = list.devices.iter().any(|record| record.mailbox == device)
            && self.accounts.get(&list.account).is_some_and(|account| !account.lists(device));
        let link = self.links.get(&complete.id);
        added && link.is_some_and(|link| link.is_answered_for(list.account, complete.now))
    }

    /// Completes the link; its token goes into the device's record, its keys are for the caller to store.
    fn complete(&mut self, complete: CompleteLink, list: &mut NewList) -> Option<(MailboxId, StoredKeys)> {
        let stored = self.links.get_mut(&complete.id)?;
        let device = complete.device;
        let record = list.devices.iter_mut().find(|record| record.mailbox == device)?;
        record.token_hash = stored.link.token_hash;
        let keys = StoredKeys::of(stored.keys.clone());
        stored.complete(complete);
        Some((device, keys))
    }

    /// Stores a list of an open account; answers the mailboxes that it removes and adds.
    fn replace_list(&mut self, list: NewList) -> (Vec<MailboxId>, Vec<MailboxId>) {
        let Some(account) = self.accounts.get_mut(&list.account) else { return Default::default() };
        let mut before = std::mem::take(&mut account.devices);
        let mut added = Vec::new();
        for mut record in list.devices {
            let number = record.mailbox.device;
            match before.remove(&number) {
                Some(stored) if stored.mailbox == record.mailbox => {
                    record = DeviceRecord { device_key: record.device_key, ..stored };
                }
                replaced => {
                    added.push(record.mailbox);
                    before.extend(replaced.map(|replaced| (number, replaced)));
                }
            }
            account.devices.insert(number, record);
        }
        account.list_version = list.version;
        account.list = list.list;
        let removed: Vec<_> = before.into_values().map(|record| record.mailbox).collect();
        self.retire(&removed);
        added.iter().for_each(|mailbox| {
            self.retiring.remove(mailbox);
            self.keys.insert(*mailbox, StoredKeys::default());
        });
        (removed, added)
    }

    fn restore(&mut self, new: Restore, by_anybody: bool) -> RestoreOutcome {
        let Some(account) = self.accounts.get_mut(&new.account) else { return RestoreOutcome::NoAccount };
        if account.closed() {
            return RestoreOutcome::Closed;
        }
        let primary = DeviceNumber::PRIMARY;
        if account.list_version == new.version && account.list == new.list {
            let stored = account.devices.get(&primary);
            if stored.is_some_and(|stored| stored.token_hash == new.device.token_hash) {
                return RestoreOutcome::Repeat;
            }
            if by_anybody {
                account.devices.insert(primary, new.device);
                return RestoreOutcome::Repeat;
            }
        }
        if account.list_version != new.expected {
            return RestoreOutcome::Conflict { version: account.list_version };
        }
        account.list_version = new.version;
        account.list = new.list;
        let mailbox = new.device.mailbox;
        let removed = account.devices.insert(primary, new.device).map(|record| record.mailbox);
        let removed: Vec<_> = removed.into_iter().collect();
        self.retire(&removed);
        self.retiring.remove(&mailbox);
        self.keys.insert(mailbox, StoredKeys::of(new.keys));
        RestoreOutcome::Restored { removed }
    }

    /// The records of these devices are gone: their keys go, and what else they have is to go.
    fn retire(&mut self, devices: &[MailboxId]) {
        for device in devices {
            self.keys.remove(device);
            self.retiring.insert(*device, None);
        }
    }
}

#[async_trait::async_trait]
impl Accounts for FakeDirectory {
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.read(|tables| tables.accounts.get(&id).map(|account| account.view(id))).await
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.read(|tables| {
            ids.iter().map(|id| tables.accounts.get(id).map(|account| account.view(*id))).collect()
        })
        .await
    }

    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError> {
        self.read(|tables| numbers.iter().map(|number| tables.numbers.get(number).copied()).collect()).await
    }

    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError> {
        self.write(|tables| tables.create(account)).await
    }

    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError> {
        self.write(|tables| tables.close(id)).await
    }

    async fn put_list(&self, list: NewList) -> Result<PutListOutcome, StoreError> {
        let in_part = self.makes(Bug::LinkCompletedInPart);
        self.write(|tables| tables.put_list(list, in_part)).await
    }

    async fn restore(&self, restore: Restore) -> Result<RestoreOutcome, StoreError> {
        let by_anybody = self.makes(Bug::RestoredByAnybody);
        self.write(|tables| tables.restore(restore, by_anybody)).await
    }

    async fn retiring(&self, of: Option<AccountId>, limit: usize) -> Result<Vec<MailboxId>, StoreError> {
        self.read(|tables| {
            let retiring = tables.retiring.iter().filter(|(_, retired)| retired.is_none());
            let asked = retiring.map(|(device, _)| *device);
            asked.filter(|device| of.is_none_or(|of| of == device.account)).take(limit).collect()
        })
        .await
    }

    async fn retired(&self, devices: &[MailboxId], now: Timestamp) -> Result<(), StoreError> {
        self.write(|tables| {
            for device in devices {
                if let Some(retired) = tables.retiring.get_mut(device) {
                    retired.get_or_insert(now);
                }
            }
            tables.retiring.retain(|_, at| at.is_none_or(|at| now.since(at) <= DEPARTED_REMEMBERED));
        })
        .await
    }

    async fn departed(&self, since: Timestamp) -> Result<Vec<MailboxId>, StoreError> {
        self.read(|tables| {
            let departed = tables.retiring.iter().filter(|(_, at)| at.is_none_or(|at| at >= since));
            departed.map(|(device, _)| *device).collect()
        })
        .await
    }

    async fn device(&self, address: DeviceAddress) -> Result<Option<DeviceRecord>, StoreError> {
        self.read(|tables| tables.accounts.get(&address.account)?.devices.get(&address.device).cloned()).await
    }

    async fn connect(
        &self,
        device: MailboxId,
        connection_number: u64,
        now: Timestamp,
    ) -> Result<ConnectOutcome, StoreError> {
        let compares = !self.makes(Bug::ConnectionNumberNotCompared);
        self.write(|tables| {
            let Some(record) = tables.listed_mut(device) else { return ConnectOutcome::NoDevice };
            if compares && connection_number <= record.connection_number {
                return ConnectOutcome::NotGreater;
            }
            record.connection_number = connection_number;
            let last_connected = std::mem::replace(&mut record.last_connected, now);
            ConnectOutcome::Stored { last_connected }
        })
        .await
    }
}
