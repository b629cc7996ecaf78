//! A device's disk: one SQLite database in memory that outlives the processes which open it.
//!
//! Owns: the database, held open by a connection of the simulation's own. What the engine committed is
//! there after a crash, what it did not is gone, as SQLite promises of a file.
//!
//! The simulation's connection is also its eye: it sees what is committed, and nothing else, so that no
//! fact rests on the engine's word alone.

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use std::sync::atomic::{AtomicU64, Ordering};
use types::{
    AccountId, ChatId, DeviceAddress, DeviceNumber, EnvelopeId, GroupId, MailboxId, MessageId,
    RegistrationId, Stamp,
};

/// Tells the databases of one process apart. The number reaches nothing but the name.
static DISKS: AtomicU64 = AtomicU64::new(0);

/// The disk of one device.
pub struct Disk {
    name: String,
    eye: Connection,
}

/// What an envelope is for, as its sender has it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The message that history shows; none for receipts and the like.
    pub message: Option<MessageId>,
    /// Sealed again because the other side asked for it.
    pub resend: bool,
}

impl Disk {
    /// An empty disk.
    ///
    /// # Panics
    /// If SQLite has no memory.
    pub fn new() -> Self {
        let number = DISKS.fetch_add(1, Ordering::Relaxed);
        let name = format!("file:waxwing-sim-{number}?mode=memory&cache=shared");
        let eye = connect(&name);
        Self { name, eye }
    }

    /// A connection for an engine.
    ///
    /// # Panics
    /// If SQLite has no memory.
    pub fn connect(&self) -> Connection {
        connect(&self.name)
    }

    /// A copy of everything that is committed.
    ///
    /// # Panics
    /// If SQLite has no memory.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        self.eye.execute("VACUUM INTO ?1", [&copy.name]).expect("a database in memory can be copied");
        copy
    }

    /// The number of the last connection that was dialled.
    pub fn connection_number(&self) -> u64 {
        let number =
            self.eye.query_row("SELECT connection_number FROM profile", [], |row| row.get::<_, i64>(0));
        number.map_or(0, i64::unsigned_abs)
    }

    /// What the outbox says of an envelope that is about to leave.
    pub fn posted(&self, envelope: EnvelopeId) -> Option<Posted> {
        let sql = "SELECT message.id, outbox.lane FROM outbox \
                   LEFT JOIN message ON message.seq = outbox.message WHERE outbox.envelope_id = ?1";
        self.one(sql, envelope, |row| {
            let lane: i64 = row.get(1)?;
            Ok(Posted { message: message_id(row)?, resend: lane != 0 })
        })
    }

    /// Whether a message was received for good, and would be dropped if it came again.
    pub fn has_seen(&self, sender: AccountId, message: MessageId) -> bool {
        let sql = "SELECT count(*) FROM seen WHERE sender = ?1 AND id = ?2";
        let count = self.eye.query_row(sql, params![sender.as_bytes(), message.as_bytes()], |row| row.get(0));
        count.is_ok_and(|count: i64| count > 0)
    }

    /// Why an envelope could not be opened, if it could not.
    pub fn failure(&self, envelope: EnvelopeId) -> Option<String> {
        self.one("SELECT reason FROM gap WHERE envelope_id = ?1 AND first = 0", envelope, |row| row.get(0))
    }

    /// Whether an envelope is kept until the sender's device list, the chain of its group or the key is known.
    pub fn has_held(&self, envelope: EnvelopeId) -> bool {
        let sql = "SELECT 1 FROM held WHERE envelope_id = ?1 \
                   UNION ALL SELECT 1 FROM group_held WHERE envelope_id = ?1";
        self.one(sql, envelope, |row| row.get::<_, i64>(0)).is_some()
    }

    /// Every envelope that is kept so, and who sent it.
    pub fn held(&self) -> Vec<(DeviceAddress, EnvelopeId)> {
        let sql = "SELECT account, device, envelope_id FROM held \
                   UNION ALL SELECT account, device, envelope_id FROM group_held ORDER BY envelope_id";
        let Ok(mut statement) = self.eye.prepare_cached(sql) else { return Vec::new() };
        let rows = statement.query_map([], |row| {
            let (account, envelope): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(2)?);
            let device = DeviceNumber::new(row.get(1)?).ok();
            let sender = AccountId::from_slice(&account).ok().zip(device);
            let sender = sender.map(|(account, device)| DeviceAddress::new(account, device));
            Ok(sender.zip(EnvelopeId::from_slice(&envelope).ok()))
        });
        rows.map(|rows| rows.filter_map(|row| row.ok().flatten()).collect()).unwrap_or_default()
    }

    /// Whether an envelope was put aside.
    pub fn has_quarantined(&self, envelope: EnvelopeId) -> bool {
        self.one("SELECT 1 FROM quarantine WHERE envelope_id = ?1", envelope, |row| row.get::<_, i64>(0))
            .is_some()
    }

    /// Version and hash of the device list that it holds of an account.
    pub fn list_view(&self, account: AccountId) -> Option<(u64, [u8; 32])> {
        self.list(account).map(|list| (list.version(), list.hash()))
    }

    /// The device list that it holds of an account.
    pub fn list(&self, account: AccountId) -> Option<signed::DeviceList> {
        let sql = "SELECT list FROM device_list WHERE account = ?1";
        let list = self.eye.query_row(sql, [account.as_bytes()], |row| row.get::<_, Vec<u8>>(0));
        signed::DeviceList::verify(&list.ok()?).ok()
    }

    /// The mailbox of the device, once it is one of an account.
    pub fn mailbox(&self) -> Option<MailboxId> {
        let sql = "SELECT account, device, registration FROM profile WHERE registered = 1";
        let read = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?));
        let (account, device, registration) = self.eye.query_row(sql, [], read).ok()?;
        Some(MailboxId {
            account: AccountId::from_slice(&account).ok()?,
            device: DeviceNumber::new(device).ok()?,
            registration: RegistrationId::new(registration).ok()?,
        })
    }

    /// Puts a list of an account in the place of the one that it holds.
    ///
    /// # Panics
    /// If it holds none.
    pub fn hold_list(&self, list: &signed::DeviceList) {
        let version = i64::try_from(list.version()).expect("versions are small");
        let sql = "UPDATE device_list SET version = ?2, list = ?3 WHERE account = ?1";
        let changed = self.eye.execute(sql, params![list.account().as_bytes(), version, list.as_bytes()]);
        assert_eq!(changed, Ok(1), "the list of an account is on its disk");
    }

    /// Lets the link that this device has begun begin now.
    ///
    /// # Panics
    /// If it has begun none.
    pub fn begin_link_at(&self, now: types::Timestamp) {
        let changed = self.eye.execute("UPDATE link_request SET begun_at = ?1", [now.as_millis() as i64]);
        assert_eq!(changed, Ok(1), "a link was begun on this disk");
    }

    /// The invitation that was answered on the way into an account.
    pub fn invitation(&self) -> Option<Vec<u8>> {
        self.eye.query_row("SELECT invitation FROM link_request", [], |row| row.get(0)).ok().flatten()
    }

    /// The public identity key of a device that is on its way into an account.
    ///
    /// # Panics
    /// If it is not.
    pub fn link_identity(&self) -> [u8; 33] {
        let sql = "SELECT substr(identity, 1, 33) FROM link_request";
        let identity = self.eye.query_row(sql, [], |row| row.get(0));
        identity.expect("a link was begun on this disk")
    }

    /// What a device on its way into an account keeps of its link until it is invited.
    ///
    /// # Panics
    /// If it is not on that way.
    pub fn offering(&self) -> Vec<u8> {
        let offering = self.eye.query_row("SELECT offering FROM link_request", [], |row| row.get(0));
        offering.expect("a link was begun on this disk")
    }

    /// Private keys of a device that is on its way into an account.
    pub fn link_secrets(&self) -> Vec<Vec<u8>> {
        // The identity is stored as its public key (33 bytes) and its private one.
        let sql = "SELECT device_secret, substr(identity, 34) FROM link_request";
        let both = self.eye.query_row(sql, [], |row| Ok(vec![row.get(0)?, row.get(1)?]));
        both.unwrap_or_default()
    }

    /// The key of the account, which the primary alone has.
    pub fn account_secret(&self) -> Option<[u8; 32]> {
        self.eye.query_row("SELECT account_secret FROM profile", [], |row| row.get(0)).ok().flatten()
    }

    /// The device's own private keys.
    pub fn private_keys(&self) -> Vec<Vec<u8>> {
        // The identity is stored as its public key (33 bytes) and its private one.
        let sql = "SELECT device_secret, substr(identity, 34) FROM profile";
        let both = self.eye.query_row(sql, [], |row| Ok(vec![row.get(0)?, row.get(1)?]));
        both.unwrap_or_default()
    }

    /// Everything in the profile's own row that is bytes.
    pub fn profile(&self) -> Vec<Vec<u8>> {
        let Ok(mut statement) = self.eye.prepare_cached("SELECT * FROM profile") else { return Vec::new() };
        let columns = statement.column_count();
        let bytes = statement
            .query_row([], |row| Ok((0..columns).filter_map(|at| row.get::<_, Vec<u8>>(at).ok()).collect()));
        bytes.unwrap_or_default()
    }

    /// Lets `work` use all keys that are committed; none if the device has no account.
    pub fn with_keys<T>(&self, work: impl FnOnce(&mut dyn seal::Store) -> T) -> Option<T> {
        client::testing::with_keys(&self.eye, work)
    }

    /// The stamp of an operation, as far as this device knows it.
    pub fn operation_stamp(&self, group: GroupId, epoch: u64) -> Option<types::Stamp> {
        let sql = "SELECT stamp FROM group_operation WHERE group_id = ?1 AND epoch = ?2";
        let stamp = self
            .eye
            .query_row(sql, params![group.as_bytes(), epoch as i64], |row| row.get::<_, Option<Vec<u8>>>(0));
        stamp.ok().flatten().and_then(|stamp| types::Stamp::from_slice(&stamp).ok())
    }

    /// Version of the device list that it holds of an account.
    pub fn list_version(&self, account: AccountId) -> Option<u64> {
        let sql = "SELECT version FROM device_list WHERE account = ?1";
        let version = self.eye.query_row(sql, [account.as_bytes()], |row| row.get::<_, i64>(0));
        version.ok().map(i64::unsigned_abs)
    }

    /// The hashes of the operations of a group, oldest first, as they were taken in.
    pub fn chain(&self, group: GroupId) -> Vec<[u8; 32]> {
        let sql = "SELECT hash FROM group_operation WHERE group_id = ?1 ORDER BY epoch";
        let Ok(mut statement) = self.eye.prepare_cached(sql) else { return Vec::new() };
        let rows = statement.query_map([group.as_bytes()], |row| row.get(0));
        rows.map(|rows| rows.filter_map(Result::ok).collect()).unwrap_or_default()
    }

    /// The operations of a group as they were taken in, oldest first, and their places among messages.
    pub fn operations(&self, group: GroupId) -> Vec<(Vec<u8>, Option<Stamp>)> {
        let sql = "SELECT operation, stamp FROM group_operation WHERE group_id = ?1 ORDER BY epoch";
        let Ok(mut statement) = self.eye.prepare_cached(sql) else { return Vec::new() };
        let rows = statement.query_map([group.as_bytes()], |row| {
            let stamp: Option<Vec<u8>> = row.get(1)?;
            Ok((row.get(0)?, stamp.and_then(|bytes| Stamp::from_slice(&bytes).ok())))
        });
        rows.map(|rows| rows.filter_map(Result::ok).collect()).unwrap_or_default()
    }

    /// Whether the secret of a group is here.
    pub fn has_secret(&self, group: GroupId) -> bool {
        let sql = "SELECT count(*) FROM group_chain WHERE group_id = ?1 AND secret IS NOT NULL";
        self.eye.query_row(sql, [group.as_bytes()], |row| row.get::<_, i64>(0)).is_ok_and(|count| count > 0)
    }

    /// Which of this device's sender keys sealed an envelope for a group.
    pub fn sender_key_of(&self, envelope: EnvelopeId) -> Option<u64> {
        let sql = "SELECT number FROM sent_group WHERE envelope_id = ?1";
        self.one(sql, envelope, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    }

    /// Which of this device's sender keys an envelope carries, and of which group.
    pub fn sender_key_in(&self, envelope: EnvelopeId) -> Option<(GroupId, u64)> {
        let sql = "SELECT group_parcel.group_id, group_parcel.number FROM group_parcel \
                   JOIN outbox ON outbox.id = group_parcel.outbox \
                   WHERE outbox.envelope_id = ?1 AND group_parcel.number IS NOT NULL";
        let (group, key) =
            self.one(sql, envelope, |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))?;
        Some((GroupId::from_slice(&group).ok()?, key.unsigned_abs()))
    }

    /// The state of a device's sender key, as far as this device has it.
    pub fn sender_key(&self, group: GroupId, of: DeviceAddress) -> Option<Vec<u8>> {
        let sql = "SELECT record FROM sender_key WHERE group_id = ?1 AND account = ?2 AND device = ?3";
        let of = params![group.as_bytes(), of.account.as_bytes(), of.device.get()];
        self.eye.query_row(sql, of, |row| row.get(0)).optional().ok().flatten()
    }

    /// The member for whom an envelope carries a sender key or the secret of a group.
    pub fn parcel_for(&self, envelope: EnvelopeId) -> Option<AccountId> {
        let sql = "SELECT group_parcel.account FROM group_parcel \
                   JOIN outbox ON outbox.id = group_parcel.outbox WHERE outbox.envelope_id = ?1";
        let account: Vec<u8> = self.one(sql, envelope, |row| row.get(0))?;
        AccountId::from_slice(&account).ok()
    }

    /// The place of one of the device's own messages among those it wrote in that chat.
    pub fn counter(&self, message: MessageId) -> Option<u64> {
        let sql = "SELECT counter FROM message WHERE id = ?1";
        let counter = self.eye.query_row(sql, [message.as_bytes()], |row| row.get::<_, i64>(0));
        counter.ok().map(i64::unsigned_abs)
    }

    /// How far a chat was read.
    pub fn read_up_to(&self, chat: ChatId) -> Option<Stamp> {
        let sql = "SELECT read_up_to FROM chat WHERE id = ?1";
        let read = self.eye.query_row(sql, params![chat.as_bytes()], |row| row.get::<_, Option<Vec<u8>>>(0));
        read.ok().flatten().and_then(|stamp| Stamp::from_slice(&stamp).ok())
    }

    /// How much of what a chat shows is known to be missing.
    pub fn gaps(&self, chat: ChatId) -> u32 {
        let sql = "SELECT count(*) FROM gap WHERE chat = ?1 AND NOT silent";
        self.eye.query_row(sql, params![chat.as_bytes()], |row| row.get(0)).unwrap_or(0)
    }

    /// How many rows a table has.
    pub fn rows(&self, table: &'static str) -> u64 {
        let count =
            self.eye.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
        count.map_or(0, i64::unsigned_abs)
    }

    /// Secrets that must never leave the device.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        // The identity is stored as its public key (33 bytes) and its private one. A linked device has no
        // secret of the account.
        let sql = "SELECT device_secret, substr(identity, 34), account_secret, sync_key FROM profile";
        let read = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
        let all: Option<[Option<Vec<u8>>; 4]> = self.eye.query_row(sql, [], read).ok();
        all.into_iter().flatten().flatten().collect()
    }

    fn one<T>(
        &self,
        sql: &str,
        envelope: EnvelopeId,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Option<T> {
        // Before the engine's first migration there is no table, and so nothing to see.
        self.eye.query_row(sql, params![envelope.as_bytes()], read).optional().ok().flatten()
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

fn connect(name: &str) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_SHARED_CACHE;
    Connection::open_with_flags(name, flags).expect("a database in memory can be opened")
}

fn message_id(row: &Row<'_>) -> rusqlite::Result<Option<MessageId>> {
    let bytes: Option<Vec<u8>> = row.get(0)?;
    Ok(bytes.and_then(|bytes| MessageId::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_outlives_its_process_and_what_was_not_does_not() {
        let disk = Disk::new();
        let process = disk.connect();
        process
            .execute_batch("CREATE TABLE fact (x INTEGER) STRICT; INSERT INTO fact VALUES (1)")
            .expect("valid");
        process.execute_batch("BEGIN; INSERT INTO fact VALUES (2)").expect("valid");
        drop(process);
        assert_eq!(disk.rows("fact"), 1);
        assert_eq!(disk.copy().rows("fact"), 1);
        assert_eq!(Disk::new().rows("fact"), 0);
    }
}
