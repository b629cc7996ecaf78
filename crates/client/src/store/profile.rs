//! This device's own row.

use super::{Columns, Stored, millis};
use crate::Fault;
use rusqlite::{Connection, OptionalExtension, params};
use seal::IdentityKeyPair;
use signed::{AccountSecret, DeviceSecret};
use types::{AccountId, DeviceAddress, IncarnationId, PhoneNumber, Redact, RegistrationId, Stamp, Timestamp};

/// Who this device is. Fixed from the registration on.
#[derive(Clone)]
pub(crate) struct Me {
    pub(crate) server: String,
    pub(crate) server_pin: Option<[u8; 32]>,
    pub(crate) phone: PhoneNumber,
    pub(crate) name: Option<String>,
    pub(crate) address: DeviceAddress,
    pub(crate) registration: RegistrationId,
    /// On the primary device alone.
    pub(crate) account_secret: Option<AccountSecret>,
    pub(crate) device_secret: DeviceSecret,
    pub(crate) identity: IdentityKeyPair,
    pub(crate) token: Redact<[u8; 32]>,
    /// Seals what only our own devices read; born on the primary when it is first needed.
    pub(crate) sync_key: Option<Redact<[u8; 32]>>,
    pub(crate) registered: bool,
    /// This device is not on the list of its account any more: nothing here leaves or comes in.
    pub(crate) revoked: bool,
    /// It came to an account with a past and was not told of it yet: counters begin anywhere.
    pub(crate) joined: bool,
}

impl Me {
    pub(crate) fn account(&self) -> AccountId {
        self.address.account
    }
}

/// What is known of the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockRecord {
    /// The server's clock minus ours.
    pub(crate) offset: Option<i64>,
    /// An offset that differs by more than the tolerance and was not confirmed yet.
    pub(crate) suspect: Option<i64>,
    /// The server's clock when it was believed last.
    pub(crate) heard: Timestamp,
}

pub(crate) fn load(db: &Connection) -> Stored<Option<Me>> {
    let mut statement = db.prepare_cached(
        "SELECT server, server_pin, phone, name, account, device, registration, account_secret, device_secret,
                identity, token, sync_key, registered, revoked, joined
         FROM profile",
    )?;
    let row = statement.query_row([], |row| {
        let address = DeviceAddress::new(row.account(4)?, row.device(5)?);
        Ok(Me {
            server: row.get(0)?,
            server_pin: row.get(1)?,
            phone: row.read(2, |text: String| text.parse())?,
            name: row.get(3)?,
            address,
            registration: row.registration(6)?,
            account_secret: row
                .read(7, |seed: Option<[u8; 32]>| Ok(seed.map(|seed| AccountSecret::from_bytes(&seed))))?,
            device_secret: row.read(8, |seed: [u8; 32]| Ok(DeviceSecret::from_bytes(&seed)))?,
            identity: row.read(9, |bytes: Vec<u8>| IdentityKeyPair::from_slice(&bytes))?,
            token: Redact::new(row.get(10)?),
            sync_key: row.get::<_, Option<[u8; 32]>>(11)?.map(Redact::new),
            registered: row.get(12)?,
            revoked: row.get(13)?,
            joined: row.get(14)?,
        })
    });
    Ok(row.optional()?)
}

/// Writes the row of a registration that begins; nothing of an earlier attempt stays.
pub(crate) fn insert(db: &Connection, me: &Me, prekey_next: u32) -> Stored<()> {
    let account_secret = me.account_secret.as_ref().map(AccountSecret::to_bytes);
    db.execute(
        "INSERT OR REPLACE INTO profile
           (only, server, server_pin, phone, name, account, account_secret, device, registration, device_secret,
            identity, token, sync_key, list_version, prekey_next, registered, revoked, joined)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?14, ?15, ?16)",
        params![
            me.server,
            me.server_pin,
            me.phone.e164(),
            me.name,
            me.account().as_bytes(),
            account_secret.as_ref().map(|secret| secret.as_slice()),
            me.address.device.get(),
            me.registration.get(),
            me.device_secret.to_bytes().as_slice(),
            me.identity.to_bytes().as_slice(),
            me.token.expose(),
            me.sync_key.as_ref().map(Redact::expose),
            prekey_next,
            me.registered,
            me.revoked,
            me.joined,
        ],
    )?;
    Ok(())
}

/// The two things of an unfinished registration that may change when it is begun again.
pub(crate) fn set_registration(
    db: &Connection,
    server_pin: Option<[u8; 32]>,
    name: Option<&str>,
) -> Stored<()> {
    db.execute(
        "UPDATE profile SET server_pin = ?1, name = ?2, registration_session = NULL",
        params![server_pin, name],
    )?;
    Ok(())
}

pub(crate) fn registration_session(db: &Connection) -> Stored<Option<String>> {
    let session = db.query_row("SELECT registration_session FROM profile", [], |row| row.get(0));
    Ok(session.optional()?.flatten())
}

pub(crate) fn set_registration_session(db: &Connection, session: &str) -> Stored<()> {
    db.execute("UPDATE profile SET registration_session = ?1", [session])?;
    Ok(())
}

pub(crate) fn set_registered(db: &Connection) -> Stored<()> {
    db.execute("UPDATE profile SET registered = 1, registration_session = NULL", [])?;
    Ok(())
}

/// Writes that this device is not on the list of its account any more.
pub(crate) fn set_revoked(db: &Connection) -> Stored<()> {
    db.execute("UPDATE profile SET revoked = 1", [])?;
    Ok(())
}

/// Writes that this device was told of its account's past, as far as it will be.
pub(crate) fn set_told(db: &Connection) -> Stored<()> {
    db.execute("UPDATE profile SET joined = 0", [])?;
    Ok(())
}

/// The account key's word for this device, where it came with a link.
pub(crate) fn certificate(db: &Connection) -> Stored<Option<Vec<u8>>> {
    let certificate = db.query_row("SELECT certificate FROM profile", [], |row| row.get(0));
    Ok(certificate.optional()?.flatten())
}

pub(crate) fn set_certificate(db: &Connection, certificate: &[u8]) -> Stored<()> {
    db.execute("UPDATE profile SET certificate = ?1", [certificate])?;
    Ok(())
}

/// Writes the next version of the own device list as used, before it is signed.
pub(crate) fn next_list_version(db: &Connection) -> Stored<u64> {
    let next = db.query_row(
        "UPDATE profile SET list_version = list_version + 1 RETURNING list_version",
        [],
        |row| row.number(0),
    )?;
    Ok(next)
}

/// Writes the next connection number as used.
pub(crate) fn next_connection_number(db: &Connection) -> Stored<u64> {
    let next = db.query_row(
        "UPDATE profile SET connection_number = connection_number + 1 RETURNING connection_number",
        [],
        |row| row.number(0),
    )?;
    Ok(next)
}

/// Takes the last connection number back, as if it had not been used.
pub(crate) fn take_back_connection_number(db: &Connection) -> Stored<()> {
    db.execute(
        "UPDATE profile SET connection_number = connection_number - 1 WHERE connection_number > 0",
        [],
    )?;
    Ok(())
}

/// The first of `count` prekey ids that were never used.
pub(crate) fn take_prekey_ids(db: &Connection, count: u32) -> Stored<u32> {
    // Prekey ids fit 24 bits, as in every implementation of the Signal protocol.
    const IDS: u32 = 0x00ff_ffff;
    let first: u32 = db.query_row("SELECT prekey_next FROM profile", [], |row| row.get(0))?;
    // Ids of one batch are consecutive; a batch that would pass the end begins at 1.
    let first = if first.saturating_add(count) > IDS { 1 } else { first };
    db.execute("UPDATE profile SET prekey_next = ?1", [first + count])?;
    Ok(first)
}

pub(crate) fn incarnation(db: &Connection) -> Stored<Option<IncarnationId>> {
    let bytes: Option<[u8; 16]> = db.query_row("SELECT incarnation FROM profile", [], |row| row.get(0))?;
    Ok(bytes.map(IncarnationId::from_bytes))
}

pub(crate) fn set_incarnation(db: &Connection, incarnation: IncarnationId) -> Stored<()> {
    db.execute("UPDATE profile SET incarnation = ?1", [incarnation.as_bytes()])?;
    Ok(())
}

pub(crate) fn highest_stamp(db: &Connection) -> Stored<Option<Stamp>> {
    let mut statement = db.prepare_cached("SELECT highest_stamp FROM profile")?;
    Ok(statement.query_row([], |row| row.stamp(0))?)
}

/// Keeps the higher of the known stamp and this one.
pub(crate) fn raise_highest_stamp(db: &Connection, stamp: Stamp) -> Stored<()> {
    let mut statement = db.prepare_cached(
        "UPDATE profile SET highest_stamp = ?1 WHERE highest_stamp IS NULL OR highest_stamp < ?1",
    )?;
    statement.execute([stamp.to_bytes()])?;
    Ok(())
}

/// Forgets the highest stamp: the server calls it too far in the future.
pub(crate) fn forget_highest_stamp(db: &Connection) -> Stored<()> {
    db.execute("UPDATE profile SET highest_stamp = NULL", [])?;
    Ok(())
}

pub(crate) fn clock(db: &Connection) -> Stored<ClockRecord> {
    let mut statement = db.prepare_cached("SELECT clock_offset, clock_suspect, clock_heard FROM profile")?;
    let record = statement.query_row([], |row| {
        Ok(ClockRecord { offset: row.get(0)?, suspect: row.get(1)?, heard: row.time(2)? })
    });
    Ok(record.optional()?.unwrap_or_default())
}

pub(crate) fn set_clock(db: &Connection, clock: &ClockRecord) -> Stored<()> {
    db.execute(
        "UPDATE profile SET clock_offset = ?1, clock_suspect = ?2, clock_heard = ?3",
        params![clock.offset, clock.suspect, millis(clock.heard)],
    )?;
    Ok(())
}

/// The registered device.
pub(crate) fn require(db: &Connection) -> Stored<Me> {
    load(db)?.filter(|me| me.registered).ok_or(Fault::NotRegistered)
}

/// The registered device's account alone.
pub(crate) fn account(db: &Connection) -> Stored<AccountId> {
    let mut statement = db.prepare_cached("SELECT account FROM profile WHERE registered")?;
    statement.query_row([], |row| row.account(0)).optional()?.ok_or(Fault::NotRegistered)
}
