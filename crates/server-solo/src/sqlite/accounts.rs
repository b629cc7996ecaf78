//! Accounts, devices and device lists in SQLite.

use super::{SqliteDirectory, prekeys, registrations};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use server_ports::{
    StoreError,
    directory::{
        Account, Accounts, ClosedAccount, ConnectOutcome, CreateOutcome, DeviceRecord, ListedDevice,
        NewAccount, PutListOutcome,
    },
};
use types::{AccountId, DeviceAddress, DeviceNumber, MailboxId, PhoneNumber, RegistrationId, Timestamp};

#[async_trait::async_trait]
impl Accounts for SqliteDirectory {
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.shared.health()?;
        if let Some(account) = self.shared.accounts.get(id) {
            return Ok(Some(account));
        }
        let cache = self.shared.accounts.clone();
        self.run(move |db| {
            let account = read_account(db, id)?;
            if let Some(account) = &account {
                cache.put(account.clone());
            }
            Ok(account)
        })
        .await
    }

    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError> {
        let numbers = numbers.to_vec();
        self.run(move |db| numbers.iter().map(|number| holder(db, number)).collect()).await
    }

    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError> {
        let cache = self.shared.accounts.clone();
        self.run(move |db| {
            cache.forget(account.id);
            let outcome = create(db, &account)?;
            if let CreateOutcome::Created { closed: Some(closed) } = &outcome {
                cache.forget(closed.id);
            }
            Ok(outcome)
        })
        .await
    }

    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError> {
        let cache = self.shared.accounts.clone();
        self.run(move |db| {
            cache.forget(id);
            close(db, id)
        })
        .await
    }

    async fn put_list(
        &self,
        id: AccountId,
        expected: u64,
        version: u64,
        list: Bytes,
        devices: Vec<DeviceRecord>,
    ) -> Result<PutListOutcome, StoreError> {
        let cache = self.shared.accounts.clone();
        self.run(move |db| {
            cache.forget(id);
            put_list(db, id, expected, version, &list, devices)
        })
        .await
    }

    async fn device(&self, address: DeviceAddress) -> Result<Option<DeviceRecord>, StoreError> {
        self.run(move |db| read_device(db, address)).await
    }

    async fn connect(
        &self,
        device: MailboxId,
        connection_number: u64,
        now: Timestamp,
    ) -> Result<ConnectOutcome, StoreError> {
        let cache = self.shared.accounts.clone();
        self.run(move |db| {
            cache.forget(device.account);
            connect(db, device, connection_number, now)
        })
        .await
    }
}

fn read_account(db: &Connection, id: AccountId) -> rusqlite::Result<Option<Account>> {
    let mut accounts =
        db.prepare_cached("select key, phone, list_version, list from account where id = ?1")?;
    let found = accounts.query_row([id.as_bytes()], |row| {
        let (key, phone): ([u8; 32], Option<String>) = (row.get(0)?, row.get(1)?);
        let (version, list): (i64, Vec<u8>) = (row.get(2)?, row.get(3)?);
        Ok((key, phone, from_integer(version), Bytes::from(list)))
    });
    let Some((key, phone, list_version, list)) = found.optional()? else { return Ok(None) };
    let phone = phone.map(|phone| valid(1, phone.parse::<PhoneNumber>())).transpose()?;
    let closed = phone.is_none();
    let devices = read_devices(db, id)?.into_iter().map(|record| ListedDevice {
        device: record.mailbox.device,
        registration: record.mailbox.registration,
        last_connected: record.last_connected,
    });
    Ok(Some(Account { id, key, phone, closed, list_version, list, devices: devices.collect() }))
}

fn holder(db: &Connection, number: &PhoneNumber) -> rusqlite::Result<Option<AccountId>> {
    db.prepare_cached("select id from account where phone = ?1")?
        .query_row([number.e164()], |row| row.get(0).map(AccountId::from_bytes))
        .optional()
}

fn create(db: &Connection, new: &NewAccount) -> rusqlite::Result<CreateOutcome> {
    let created_by: Option<[u8; 16]> = db
        .prepare_cached("select created_by from account where id = ?1")?
        .query_row([new.id.as_bytes()], |row| row.get(0))
        .optional()?;
    if created_by == Some(new.session) {
        db.prepare_cached("update device set token_hash = ?3 where account = ?1 and number = ?2")?
            .execute((new.id.as_bytes(), new.device.mailbox.device.get(), new.device.token_hash))?;
        return Ok(CreateOutcome::Repeat { device: new.device.mailbox.device });
    }
    if !registrations::has_proved(db, new.session, &new.phone, new.now)? {
        return Ok(CreateOutcome::NoSession);
    }
    if created_by.is_some() {
        return Ok(CreateOutcome::AccountExists);
    }
    let holder = holder(db, &new.phone)?;
    if holder.is_some() && !new.replace {
        return Ok(CreateOutcome::NumberTaken);
    }
    let closed = holder.map_or(Ok(None), |holder| close(db, holder))?;
    registrations::consume(db, new.session)?;
    db.prepare_cached(
        "insert into account (id, key, phone, list_version, list, created_by) values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        new.id.as_bytes(),
        new.key,
        new.phone.e164(),
        integer(new.list_version),
        &new.list[..],
        new.session,
    ))?;
    insert_device(db, &new.device)?;
    prekeys::put(db, new.device.mailbox, &new.keys)?;
    Ok(CreateOutcome::Created { closed })
}

fn close(db: &Connection, id: AccountId) -> rusqlite::Result<Option<ClosedAccount>> {
    let freed = db
        .prepare_cached("update account set phone = null, list = x'' where id = ?1 and phone is not null")?
        .execute([id.as_bytes()])?;
    if freed == 0 {
        return Ok(None);
    }
    let mailboxes = read_devices(db, id)?.into_iter().map(|record| record.mailbox).collect();
    db.prepare_cached("delete from device where account = ?1")?.execute([id.as_bytes()])?;
    Ok(Some(ClosedAccount { id, mailboxes }))
}

fn put_list(
    db: &Connection,
    id: AccountId,
    expected: u64,
    version: u64,
    list: &[u8],
    devices: Vec<DeviceRecord>,
) -> rusqlite::Result<PutListOutcome> {
    let stored = db
        .prepare_cached("select list_version from account where id = ?1 and phone is not null")?
        .query_row([id.as_bytes()], |row| row.get(0).map(from_integer))
        .optional()?;
    match stored {
        None => return Ok(PutListOutcome::NoAccount),
        Some(version) if version != expected => return Ok(PutListOutcome::Conflict { version }),
        Some(_) => {}
    }
    let before: Vec<MailboxId> = read_devices(db, id)?.into_iter().map(|record| record.mailbox).collect();
    let listed: Vec<MailboxId> = devices.iter().map(|record| record.mailbox).collect();
    let removed: Vec<_> = before.iter().copied().filter(|mailbox| !listed.contains(mailbox)).collect();
    let added: Vec<_> = listed.iter().copied().filter(|mailbox| !before.contains(mailbox)).collect();
    for mailbox in &removed {
        db.prepare_cached("delete from device where account = ?1 and number = ?2")?
            .execute((id.as_bytes(), mailbox.device.get()))?;
    }
    for record in devices {
        if added.contains(&record.mailbox) {
            insert_device(db, &record)?;
        } else {
            db.prepare_cached("update device set device_key = ?3 where account = ?1 and number = ?2")?
                .execute((id.as_bytes(), record.mailbox.device.get(), record.device_key))?;
        }
    }
    db.prepare_cached("update account set list_version = ?2, list = ?3 where id = ?1")?.execute((
        id.as_bytes(),
        integer(version),
        list,
    ))?;
    Ok(PutListOutcome::Stored { removed, added })
}

fn connect(
    db: &Connection,
    device: MailboxId,
    connection_number: u64,
    now: Timestamp,
) -> rusqlite::Result<ConnectOutcome> {
    let Some(record) = read_device(db, device.address())?.filter(|record| record.mailbox == device) else {
        return Ok(ConnectOutcome::NoDevice);
    };
    if connection_number <= record.connection_number {
        return Ok(ConnectOutcome::NotGreater);
    }
    db.prepare_cached(
        "update device set connection_number = ?3, last_connected = ?4 where account = ?1 and number = ?2",
    )?
    .execute((
        device.account.as_bytes(),
        device.device.get(),
        integer(connection_number),
        integer(now.as_millis()),
    ))?;
    Ok(ConnectOutcome::Stored { last_connected: record.last_connected })
}

const DEVICE_COLUMNS: &str =
    "number, registration, device_key, token_hash, connection_number, last_connected";

fn read_devices(db: &Connection, id: AccountId) -> rusqlite::Result<Vec<DeviceRecord>> {
    let query = format!("select {DEVICE_COLUMNS} from device where account = ?1 order by number");
    db.prepare_cached(&query)?.query_map([id.as_bytes()], |row| device_record(id, row))?.collect()
}

fn read_device(db: &Connection, address: DeviceAddress) -> rusqlite::Result<Option<DeviceRecord>> {
    let query = format!("select {DEVICE_COLUMNS} from device where account = ?1 and number = ?2");
    db.prepare_cached(&query)?
        .query_row((address.account.as_bytes(), address.device.get()), |row| {
            device_record(address.account, row)
        })
        .optional()
}

fn device_record(account: AccountId, row: &Row<'_>) -> rusqlite::Result<DeviceRecord> {
    let device = valid(0, DeviceNumber::new(row.get(0)?))?;
    let registration = valid(1, RegistrationId::new(row.get(1)?))?;
    Ok(DeviceRecord {
        mailbox: MailboxId { account, device, registration },
        device_key: row.get(2)?,
        token_hash: row.get(3)?,
        connection_number: from_integer(row.get(4)?),
        last_connected: Timestamp::from_millis(from_integer(row.get(5)?)),
    })
}

fn insert_device(db: &Connection, record: &DeviceRecord) -> rusqlite::Result<()> {
    let query = format!("insert into device (account, {DEVICE_COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    db.prepare_cached(&query)?.execute((
        record.mailbox.account.as_bytes(),
        record.mailbox.device.get(),
        record.mailbox.registration.get(),
        record.device_key,
        record.token_hash,
        integer(record.connection_number),
        integer(record.last_connected.as_millis()),
    ))?;
    Ok(())
}

/// SQLite's integers are signed; what does not fit is held at the largest one, which keeps every order
/// that matters here (a connection number at the end of its range opens no connection after it).
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn from_integer(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A stored value that this program would not have stored means that the file is damaged.
pub(super) fn valid<T>(column: usize, value: Result<T, types::Invalid>) -> rusqlite::Result<T> {
    value.map_err(|invalid| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(invalid))
    })
}
