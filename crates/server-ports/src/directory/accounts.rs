//! Accounts, their devices and their signed device lists.

use super::{CompleteLink, SessionId};
use crate::StoreError;
use bytes::Bytes;
use types::{
    AccountId, DeviceAddress, DeviceNumber, MailboxId, Millis, PhoneNumber, RegistrationId, Timestamp,
};
use wire::KeyUpload;

/// For so long at least a device is remembered after it was retired.
pub const DEPARTED_REMEMBERED: Millis = Millis::from_mins(10);

/// Accounts and devices.
///
/// A device that loses its record, by whichever change, is *retiring* from that transaction on: it may still have a
/// mailbox and a socket, which belong to other stores, and a crash must not make anybody forget them. It ends with
/// [`Accounts::retired`], or when the same life of the device gets a record again. Who was retired is remembered for a
/// while ([`DEPARTED_REMEMBERED`]), so that every node can look whether it still holds a socket of it.
#[async_trait::async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// An account, open or closed; `None` for an id that never was one.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError>;

    /// Several accounts, in the order asked. A group's thousand members cost little: an adapter that asks
    /// elsewhere asks once.
    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Option<Account>>, StoreError>;

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

    /// Stores a verified device list if the stored version is the expected one (compare and set). Devices
    /// that are not listed any more, or are listed with another registration id, lose their record and
    /// keys. A device that stays (same number and registration id) keeps its stored token, connection
    /// number and times, whatever `devices` says of it: they may have moved since the caller looked.
    ///
    /// With a link its device gets the link's token and prekeys, and the link is complete, in the same
    /// transaction: whoever sees one of these sees all.
    async fn put_list(&self, list: NewList) -> Result<PutListOutcome, StoreError>;

    /// Puts a new primary device in the place of the old one, by a verified list whose version is above
    /// the stored one, in one transaction: the old one loses its record and keys, the new one gets what
    /// is given here, the linked devices keep what they have.
    ///
    /// The stored list again, with the token that was stored with it, is a [`RestoreOutcome::Repeat`] and
    /// changes nothing. With another token it is a conflict: anybody may know a list, and it must not be
    /// enough to take the device from its owner.
    async fn restore(&self, restore: Restore) -> Result<RestoreOutcome, StoreError>;

    /// Devices that are retiring, of one account or of all, at most so many.
    async fn retiring(&self, of: Option<AccountId>, limit: usize) -> Result<Vec<MailboxId>, StoreError>;

    /// What these devices had elsewhere is gone, since `now`. One that is not retiring is left as it is.
    async fn retired(&self, devices: &[MailboxId], now: Timestamp) -> Result<(), StoreError>;

    /// Devices without a record that are retiring, or were retired at `since` or later: few, and all of them at once.
    /// What was retired longer ago than [`DEPARTED_REMEMBERED`] may be left out.
    async fn departed(&self, since: Timestamp) -> Result<Vec<MailboxId>, StoreError>;

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

/// A device list to be stored.
#[derive(Clone, Debug)]
pub struct NewList {
    /// Whose.
    pub account: AccountId,
    /// The version that it replaces.
    pub expected: u64,
    /// Its version.
    pub version: u64,
    /// The signed list.
    pub list: Bytes,
    /// The devices on it.
    pub devices: Vec<DeviceRecord>,
    /// The link of the device that it adds.
    pub link: Option<CompleteLink>,
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
    /// The link is unknown, not answered, over, another account's, or its device is not one that the list
    /// adds. Nothing changed.
    LinkUnavailable,
}

/// A new primary device for an account that lost its old one.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The account.
    pub account: AccountId,
    /// The version that the list replaces.
    pub expected: u64,
    /// Its version.
    pub version: u64,
    /// The signed list.
    pub list: Bytes,
    /// The new primary, which has another registration id than the old one.
    pub device: DeviceRecord,
    /// Its first keys.
    pub keys: KeyUpload,
}

/// What came of a restoration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// Done.
    Restored {
        /// The mailbox of the old primary, which belongs to nobody any more.
        removed: Vec<MailboxId>,
    },
    /// Done before.
    Repeat,
    /// The stored version is another one.
    Conflict {
        /// It.
        version: u64,
    },
    /// The account is closed.
    Closed,
    /// No account ever had this id.
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
