//! Accounts, their devices and their signed device lists.

use super::SessionId;
use crate::StoreError;
use bytes::Bytes;
use types::{AccountId, DeviceAddress, DeviceNumber, MailboxId, PhoneNumber, RegistrationId, Timestamp};
use wire::KeyUpload;

/// Accounts and devices.
#[async_trait::async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// An account, open or closed; `None` for an id that never was one.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError>;

    /// The open accounts that have these numbers, in the order asked.
    async fn find(&self, numbers: &[PhoneNumber]) -> Result<Vec<Option<AccountId>>, StoreError>;

    /// Creates an account and its first device in one transaction, and consumes the registration session.
    ///
    /// A number with an open account is refused without `replace`; with it the number moves, the old
    /// account is closed and its devices and keys are deleted. A repeat by the same session for the same
    /// account answers [`CreateOutcome::Repeat`], whatever came of the number since.
    async fn create(&self, account: NewAccount) -> Result<CreateOutcome, StoreError>;

    /// Closes an account: its number is free, its device list, devices and keys are deleted, its id and
    /// key stay known. A closed or unknown one is left as it is and answers `None`.
    async fn close(&self, id: AccountId) -> Result<Option<ClosedAccount>, StoreError>;

    /// Stores a verified device list if the stored version is `expected` (compare and set). Devices that
    /// are not listed any more, or are listed with another registration id, lose their record and keys.
    /// A device that stays keeps its stored token, connection number and times, whatever `devices` says.
    /// A device that stays (same number and registration id) keeps its record as it is, whatever `devices`
    /// says of it: its token and connection number may have moved since the caller looked.
    async fn put_list(
        &self,
        id: AccountId,
        expected: u64,
        version: u64,
        list: Bytes,
        devices: Vec<DeviceRecord>,
    ) -> Result<PutListOutcome, StoreError>;

    /// The record of a device that is listed now.
    async fn device(&self, address: DeviceAddress) -> Result<Option<DeviceRecord>, StoreError>;

    /// Stores a connection number if it is greater than the stored one (compare and set), and the time.
    async fn connect(
        &self,
        device: MailboxId,
        connection_number: u64,
        now: Timestamp,
    ) -> Result<ConnectOutcome, StoreError>;
}

/// An account as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The id.
    pub id: AccountId,
    /// The account key (Ed25519).
    pub key: [u8; 32],
    /// The number, while open.
    pub phone: Option<PhoneNumber>,
    /// Closed: takes nothing, gives nothing.
    pub closed: bool,
    /// The version of the stored device list.
    pub list_version: u64,
    /// The signed device list as its primary signed it.
    pub list: Bytes,
    /// The devices on it, by ascending number; empty when closed.
    pub devices: Vec<ListedDevice>,
}

/// A listed device, as far as accepting a send needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedDevice {
    /// The number.
    pub device: DeviceNumber,
    /// Which life of it.
    pub registration: RegistrationId,
    /// When it last connected; for dormancy.
    pub last_connected: Timestamp,
}

/// What proves a device at connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// The device.
    pub mailbox: MailboxId,
    /// Its device key (Ed25519), from the signed list.
    pub device_key: [u8; 32],
    /// SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// The last connection number.
    pub connection_number: u64,
    /// When it last connected.
    pub last_connected: Timestamp,
}

/// An account to be created.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The session that proved the number.
    pub session: SessionId,
    /// The id, which belongs to `key`.
    pub id: AccountId,
    /// The account key.
    pub key: [u8; 32],
    /// The number that the session proved.
    pub phone: PhoneNumber,
    /// Version of `list`.
    pub list_version: u64,
    /// The signed list of one device.
    pub list: Bytes,
    /// The primary device.
    pub device: DeviceRecord,
    /// Its first keys.
    pub keys: KeyUpload,
    /// The person confirmed that the number moves to a new account.
    pub replace: bool,
    /// The time.
    pub now: Timestamp,
}

/// What came of a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Created; with the account that had the number before.
    Created {
        /// The account that was closed by it.
        closed: Option<ClosedAccount>,
    },
    /// This session created this account before.
    Repeat {
        /// The token hash that was stored then was replaced by the one given now.
        device: DeviceNumber,
    },
    /// The number has an open account, and `replace` was not set. Nothing changed.
    NumberTaken,
    /// An account with this id exists and is not this session's.
    AccountExists,
    /// The session is unknown, expired, or has not proved the number.
    NoSession,
}

/// An account that was closed, with what must now be emptied and told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedAccount {
    /// The account.
    pub id: AccountId,
    /// The mailboxes that it had.
    pub mailboxes: Vec<MailboxId>,
}

/// What came of storing a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutListOutcome {
    /// Stored; these mailboxes belong to nobody any more.
    Stored {
        /// Of devices that the list dropped or replaced.
        removed: Vec<MailboxId>,
        /// Of devices that the list added or replaced.
        added: Vec<MailboxId>,
    },
    /// The stored version is another one.
    Conflict {
        /// It.
        version: u64,
    },
    /// The account is closed or unknown.
    NoAccount,
}

/// What came of a connection number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// Stored.
    Stored {
        /// When the device last connected before.
        last_connected: Timestamp,
    },
    /// Equal or lower than the stored one.
    NotGreater,
    /// No such device is listed.
    NoDevice,
}
