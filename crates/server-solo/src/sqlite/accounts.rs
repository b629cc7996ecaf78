//! Accounts and devices.

use super::{SqliteDirectory, Touched, columns, links, prekeys, registrations, retiring};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use server_ports::{
    StoreError,
    directory::{
        Account, Accounts, ClosedAccount, ConnectOutcome, CreateOutcome, DeviceRecord, ListedDevice,
        NewAccount, NewList, PutListOutcome, Restore, RestoreOutcome,
    },
};
use std::collections::BTreeMap;
use types::{AccountId, DeviceAddress, DeviceNumber, MailboxId, PhoneNumber, Timestamp};

#[async_trait::async_trait]
impl Accounts for SqliteDirectory {
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.poison.check()?;
        if let Some(account) = self.accounts.get(id) {
            return Ok(Some(Account::clone(&account)));
        }
        let begun = self.accounts.begin_read();
        let account = self.read(move |connection| account(connection, id)).await?;
        if let Some(account) = &account {
            self.accounts.insert(begun, account);
        }
        Ok(account)
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError> {
        self.poison.check()?;
        let mut found = self.accounts.get_all(ids);
        let missing: Vec<_> = ids.iter().zip(&found).filter(|(_, found)| found.is_none()).collect();
        let missing: Vec<AccountId> = missing.into_iter().map(|(id, _)| *id).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let begun = self.accounts.begin_read();
        let read = self
            .read(move |connection| {
                missing.into_iter().map(|id| account(connection, id)).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        read.iter().flatten().for_each(|account| self.accounts.insert(begun, account));
        let gaps = found.iter_mut().filter(|found| found.is_none());
        gaps.zip(read).for_each(|(gap, read)| *gap = read);
        Ok(found)
    }

    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError> {
        let numbers = numbers.to_vec();
        self.read(move |connection| numbers.iter().map(|number| holder(connection, number)).collect()).await
    }

    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError> {
        self.write(move |transaction, touched| create(transaction, touched, account)).await
    }

    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError> {
        self.write(move |transaction, touched| close(transaction, touched, id)).await
    }

    async fn put_list(&self, list: NewList) -> Result<PutListOutcome, StoreError> {
        self.write(move |transaction, touched| put_list(transaction, touched, list)).await
    }

    async fn restore(&self, new: Restore) -> Result<RestoreOutcome, StoreError> {
        self.write(move |transaction, touched| restore(transaction, touched, new)).await
    }

    async fn retiring(&self, of: Option<AccountId>, limit: usize) -> Result<Vec<MailboxId>, StoreError> {
        self.read(move |connection| retiring::read(connection, of, limit)).await
    }

    async fn retired(&self, devices: &[MailboxId], now: Timestamp) -> Result<(), StoreError> {
        let devices = devices.to_vec();
        self.write(move |transaction, _| retiring::retired(transaction, &devices, now)).await
    }

    async fn departed(&self, since: Timestamp) -> Result<Vec<MailboxId>, StoreError> {
        self.read(move |connection| retiring::departed(connection, since)).await
    }

    async fn device(&self, address: DeviceAddress) -> Result<Option<DeviceRecord>, StoreError> {
        self.read(move |connection| device(connection, address)).await
    }

    async fn connect(
        &self,
        device: MailboxId,
        connection_number: u64,
        now: Timestamp,
    ) -> Result<ConnectOutcome, StoreError> {
        self.write(move |transaction, touched| connect(transaction, touched, device, connection_number, now))
            .await
    }
}

/// An account's own columns.
struct StoredAccount {
    key: [u8; 32],
    phone: Option<PhoneNumber>,
    list_version: u64,
    list: Vec<u8>,
    created_by: [u8; 16],
}

fn stored(connection: &Connection, id: AccountId) -> rusqlite::Result<Option<StoredAccount>> {
    let sql = "SELECT key, phone, list_version, list, created_by FROM accounts WHERE id = ?";
    let read = |row: &Row<'_>| {
        Ok(StoredAccount {
            key: row.get(0)?,
            phone: columns::phone(row, 1)?,
            list_version: columns::unsigned(row, 2)?,
            list: row.get(3)?,
            created_by: row.get(4)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([id.as_bytes()], read).optional()
}

/// One snapshot, though two queries: a list and its devices belong together.
fn account(connection: &Connection, id: AccountId) -> rusqlite::Result<Option<Account>> {
    let snapshot = connection.unchecked_transaction()?;
    let Some(stored) = stored(&snapshot, id)? else { return Ok(None) };
    let listed = |record: DeviceRecord| ListedDevice {
        device: record.mailbox.device,
        registration: record.mailbox.registration,
        last_connected: record.last_connected,
    };
    let devices = devices(&snapshot, id)?.into_iter().map(listed).collect();
    snapshot.commit()?;
    Ok(Some(Account {
        id,
        key: stored.key,
        closed: stored.phone.is_none(),
        phone: stored.phone,
        list_version: stored.list_version,
        list: stored.list.into(),
        devices,
    }))
}

fn holder(connection: &Connection, number: &PhoneNumber) -> rusqlite::Result<Option<AccountId>> {
    let mut query = connection.prepare_cached("SELECT id FROM accounts WHERE phone = ?")?;
    query.query_row([number.e164()], |row| columns::account(row, 0)).optional()
}

const DEVICE_COLUMNS: &str = "SELECT account, device, registration, device_key, token_hash, connection_number, last_connected FROM devices";

fn read_device(row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    let address = DeviceAddress::new(columns::account(row, 0)?, columns::device(row, 1)?);
    Ok(DeviceRecord {
        mailbox: address.mailbox(columns::registration(row, 2)?),
        device_key: row.get(3)?,
        token_hash: row.get(4)?,
        connection_number: columns::unsigned(row, 5)?,
        last_connected: columns::time(row, 6)?,
    })
}

/// By ascending number.
fn devices(connection: &Connection, id: AccountId) -> rusqlite::Result<Vec<DeviceRecord>> {
    let sql = format!("{DEVICE_COLUMNS} WHERE account = ? ORDER BY device");
    connection.prepare_cached(&sql)?.query_map([id.as_bytes()], read_device)?.collect()
}

fn device(connection: &Connection, address: DeviceAddress) -> rusqlite::Result<Option<DeviceRecord>> {
    let sql = format!("{DEVICE_COLUMNS} WHERE account = ? AND device = ?");
    let key = params![address.account.as_bytes(), address.device.get()];
    connection.prepare_cached(&sql)?.query_row(key, read_device).optional()
}

/// The device, if exactly this life of it is listed.
pub(super) fn listed(connection: &Connection, mailbox: MailboxId) -> rusqlite::Result<Option<DeviceRecord>> {
    Ok(device(connection, mailbox.address())?.filter(|record| record.mailbox == mailbox))
}

/// Replaces a device's record; what hangs below it stays.
fn put_device(connection: &Connection, record: &DeviceRecord) -> rusqlite::Result<()> {
    let sql = "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT DO UPDATE SET device_key = excluded.device_key, token_hash = excluded.token_hash,
               connection_number = excluded.connection_number, last_connected = excluded.last_connected";
    connection.prepare_cached(sql)?.execute(params![
        record.mailbox.account.as_bytes(),
        record.mailbox.device.get(),
        record.mailbox.registration.get(),
        record.device_key,
        record.token_hash,
        columns::integer(record.connection_number),
        columns::millis(record.last_connected),
    ])?;
    Ok(())
}

/// A device that had no record in this life.
fn add_device(connection: &Connection, record: &DeviceRecord) -> rusqlite::Result<()> {
    retiring::end(connection, record.mailbox)?;
    put_device(connection, record)
}

/// Deletes a device with all its keys. What it has in other stores is to go after it.
fn delete_device(connection: &Connection, mailbox: MailboxId) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM devices WHERE account = ? AND device = ?")?;
    delete.execute(params![mailbox.account.as_bytes(), mailbox.device.get()])?;
    retiring::begin(connection, mailbox)
}

fn create(
    connection: &Connection,
    touched: &mut Touched,
    new: NewAccount,
) -> rusqlite::Result<CreateOutcome> {
    let existing = stored(connection, new.id)?;
    if existing.as_ref().is_some_and(|account| account.created_by == new.session) {
        return repeat(connection, &new.device);
    }
    if !registrations::proved(connection, new.session, &new.phone, new.now)? {
        return Ok(CreateOutcome::NoSession);
    }
    if existing.is_some() {
        return Ok(CreateOutcome::AccountExists);
    }
    let closed = match holder(connection, &new.phone)? {
        Some(_) if !new.replace => return Ok(CreateOutcome::NumberTaken),
        Some(holder) => close(connection, touched, holder)?,
        None => None,
    };
    registrations::consume(connection, new.session)?;
    let sql = "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        new.id.as_bytes(),
        new.key,
        new.phone.e164(),
        columns::integer(new.list_version),
        &new.list[..],
        new.session,
    ])?;
    add_device(connection, &new.device)?;
    prekeys::put(connection, new.device.mailbox, &new.keys)?;
    touched.0.push(new.id);
    Ok(CreateOutcome::Created { closed })
}

/// The same creation again: its answer was lost, so the token that it gave was never seen.
fn repeat(connection: &Connection, device: &DeviceRecord) -> rusqlite::Result<CreateOutcome> {
    if let Some(stored) = listed(connection, device.mailbox)? {
        put_device(connection, &DeviceRecord { token_hash: device.token_hash, ..stored })?;
    }
    Ok(CreateOutcome::Repeat { device: device.mailbox.device })
}

fn close(
    connection: &Connection,
    touched: &mut Touched,
    id: AccountId,
) -> rusqlite::Result<Option<ClosedAccount>> {
    let sql = "UPDATE accounts SET phone = NULL, list = x'' WHERE id = ? AND phone IS NOT NULL";
    if connection.prepare_cached(sql)?.execute([id.as_bytes()])? == 0 {
        return Ok(None);
    }
    touched.0.push(id);
    let mailboxes: Vec<_> = devices(connection, id)?.into_iter().map(|record| record.mailbox).collect();
    for mailbox in &mailboxes {
        delete_device(connection, *mailbox)?;
    }
    Ok(Some(ClosedAccount { id, mailboxes }))
}

fn put_list(
    connection: &Connection,
    touched: &mut Touched,
    mut new: NewList,
) -> rusqlite::Result<PutListOutcome> {
    let id = new.account;
    let Some(stored) = stored(connection, id)?.filter(|account| account.phone.is_some()) else {
        return Ok(PutListOutcome::NoAccount);
    };
    if stored.list_version != new.expected {
        return Ok(PutListOutcome::Conflict { version: stored.list_version });
    }
    let before = devices(connection, id)?.into_iter().map(|record| (record.mailbox, record));
    let mut before: BTreeMap<MailboxId, DeviceRecord> = before.collect();
    let (staying, mut joining): (Vec<_>, Vec<_>) =
        new.devices.into_iter().partition(|record| before.contains_key(&record.mailbox));
    let keys = match new.link.take() {
        Some(complete) => {
            let joins = joining.iter_mut().find(|record| record.mailbox == complete.device);
            let Some(record) = joins else { return Ok(PutListOutcome::LinkUnavailable) };
            let Some(linked) = links::complete(connection, id, &complete)? else {
                return Ok(PutListOutcome::LinkUnavailable);
            };
            record.token_hash = linked.token_hash;
            Some((complete.device, linked.keys))
        }
        None => None,
    };
    for record in staying {
        if let Some(stored) = before.remove(&record.mailbox) {
            put_device(connection, &DeviceRecord { device_key: record.device_key, ..stored })?;
        }
    }
    let removed: Vec<_> = before.into_keys().collect();
    for mailbox in &removed {
        delete_device(connection, *mailbox)?;
    }
    for record in &joining {
        add_device(connection, record)?;
    }
    if let Some((device, keys)) = keys {
        prekeys::put(connection, device, &keys)?;
    }
    set_list(connection, touched, id, (new.version, &new.list))?;
    let added = joining.into_iter().map(|record| record.mailbox).collect();
    Ok(PutListOutcome::Stored { removed, added })
}

fn set_list(
    connection: &Connection,
    touched: &mut Touched,
    id: AccountId,
    (version, list): (u64, &[u8]),
) -> rusqlite::Result<()> {
    let sql = "UPDATE accounts SET list_version = ?, list = ? WHERE id = ?";
    connection.prepare_cached(sql)?.execute(params![columns::integer(version), list, id.as_bytes()])?;
    touched.0.push(id);
    Ok(())
}

fn restore(connection: &Connection, touched: &mut Touched, new: Restore) -> rusqlite::Result<RestoreOutcome> {
    let Some(stored) = stored(connection, new.account)? else { return Ok(RestoreOutcome::NoAccount) };
    if stored.phone.is_none() {
        return Ok(RestoreOutcome::Closed);
    }
    let primary = device(connection, DeviceAddress::new(new.account, DeviceNumber::PRIMARY))?;
    let same_list = stored.list_version == new.version && stored.list == new.list;
    let same_token = |primary: &DeviceRecord| primary.token_hash == new.device.token_hash;
    if same_list && primary.as_ref().is_some_and(same_token) {
        return Ok(RestoreOutcome::Repeat);
    }
    if stored.list_version != new.expected {
        return Ok(RestoreOutcome::Conflict { version: stored.list_version });
    }
    let removed: Vec<_> = primary.into_iter().map(|primary| primary.mailbox).collect();
    for mailbox in &removed {
        delete_device(connection, *mailbox)?;
    }
    add_device(connection, &new.device)?;
    prekeys::put(connection, new.device.mailbox, &new.keys)?;
    set_list(connection, touched, new.account, (new.version, &new.list))?;
    Ok(RestoreOutcome::Restored { removed })
}

fn connect(
    connection: &Connection,
    touched: &mut Touched,
    mailbox: MailboxId,
    connection_number: u64,
    now: Timestamp,
) -> rusqlite::Result<ConnectOutcome> {
    let Some(stored) = listed(connection, mailbox)? else { return Ok(ConnectOutcome::NoDevice) };
    if connection_number <= stored.connection_number {
        return Ok(ConnectOutcome::NotGreater);
    }
    let last_connected = stored.last_connected;
    put_device(connection, &DeviceRecord { connection_number, last_connected: now, ..stored })?;
    touched.0.push(mailbox.account);
    Ok(ConnectOutcome::Stored { last_connected })
}
