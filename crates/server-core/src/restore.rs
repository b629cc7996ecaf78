//! Restoring: an account whose primary device is lost goes on with a new one. No code is needed: the list that
//! names the new device is signed by the account key, which is the account.
//!
//! Invariants: the new list is above the stored one and changes nothing but device 1, so that a backup that is
//! older than a link loses no linked device; the old device 1 has nothing here any more when this is answered; the
//! request can be repeated, and only with the same token, because a list is no secret.

use crate::{
    Core,
    keys::{self, KeyError},
    lists,
    quota::{self, Count},
    refusal::Rejection,
    registration::address_bytes,
};
use bytes::Bytes;
use server_ports::{
    StoreError,
    directory::{Account, DeviceRecord, Restore, RestoreOutcome},
};
use sha2::{Digest, Sha256};
use signed::{DeviceList, ListError};
use std::net::IpAddr;
use types::{DeviceNumber, MailboxId, Millis, Redact};
use wire::KeyUpload;

/// A new primary device asks for the place of the old one.
#[derive(Clone, Debug)]
pub struct Restoration {
    /// The signed list that names it.
    pub device_list: Bytes,
    /// Drawn by the device; only its hash is kept.
    pub token: Redact<[u8; 32]>,
    /// The device's first keys; signed and last-resort prekeys are required.
    pub keys: KeyUpload,
}

/// Why an account was not restored. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The device list breaks a rule.
    #[error(transparent)]
    BadDeviceList(#[from] ListError),
    /// Device 1 of the list has the registration id that it had.
    #[error("the list does not name a new primary device")]
    NotNew,
    /// The keys are refused.
    #[error(transparent)]
    BadKeys(#[from] KeyError),
    /// The signed or the last-resort prekey is missing.
    #[error("a new device needs a signed and a last-resort prekey")]
    KeysMissing,
    /// No account ever had this id.
    #[error("there is no such account")]
    NoAccount,
    /// The account was closed.
    #[error("the account was closed")]
    Closed,
    /// The list is not above the stored one, or has not its other devices: sign one that is and has.
    #[error("the stored device list is another one")]
    Conflict {
        /// The stored list.
        device_list: Bytes,
    },
    /// A quota: try again after this long.
    #[error("too many restorations; try again later")]
    RetryAfter(Millis),
    /// The outcome is unknown: repeat the request.
    #[error("the service cannot answer now")]
    Unavailable,
}

impl Core {
    /// Puts a new primary device in the place of the old one; answers it.
    pub async fn restore(&self, restoration: Restoration, from: IpAddr) -> Result<MailboxId, RestoreError> {
        let list = DeviceList::verify(&restoration.device_list)?;
        keys::check(&restoration.keys)?;
        if restoration.keys.signed_prekey.is_none() || restoration.keys.last_resort.is_none() {
            return Err(RestoreError::KeysMissing);
        }
        self.spend_restoration(from).await?;
        let account = self.ports.directory.account(list.account()).await;
        let account = account.map_err(|error| self.not_restored(&error))?.ok_or(RestoreError::NoAccount)?;
        decide(&account, &list, self.config.bugs.restore_over_newer)?;
        self.put_primary(restoration, list, account).await
    }

    async fn put_primary(
        &self,
        restoration: Restoration,
        list: DeviceList,
        account: Account,
    ) -> Result<MailboxId, RestoreError> {
        let (primary, device) = list.mailboxes().zip(list.devices()).next().ok_or(RestoreError::NotNew)?;
        // Open before listed: whoever sees the new list must find a mailbox behind every device on it.
        self.ports.mailboxes.open(primary).await.map_err(|error| self.not_restored(&error))?;
        // The stored list again may only be a repeat, which its token shows: it must not replace what it made.
        let is_stored = account.list == list.as_bytes();
        let restore = Restore {
            account: account.id,
            expected: if is_stored { list.version() - 1 } else { account.list_version },
            version: list.version(),
            list: restoration.device_list,
            device: DeviceRecord {
                mailbox: primary,
                device_key: *device.device_key().as_bytes(),
                token_hash: Sha256::digest(restoration.token.expose()).into(),
                connection_number: 0,
                last_connected: self.now(),
            },
            keys: restoration.keys,
        };
        let outcome = self.ports.directory.restore(restore).await;
        match outcome.map_err(|error| self.not_restored(&error))? {
            RestoreOutcome::Restored { .. } | RestoreOutcome::Repeat => {}
            RestoreOutcome::Conflict { .. } => return Err(self.conflict(&list).await?),
            RestoreOutcome::Closed => return Err(RestoreError::Closed),
            RestoreOutcome::NoAccount => return Err(RestoreError::NoAccount),
        }
        lists::changed(self, account.id).await.map_err(|error| self.not_restored(&error))?;
        lists::tell_devices(self, &list, Some(primary)).await;
        metrics::counter!("waxwing_accounts_restored_total").increment(1);
        Ok(primary)
    }

    /// Another list was stored meanwhile.
    async fn conflict(&self, list: &DeviceList) -> Result<RestoreError, RestoreError> {
        let account = self.ports.directory.account(list.account()).await;
        let account = account.map_err(|error| self.not_restored(&error))?.ok_or(RestoreError::NoAccount)?;
        Ok(RestoreError::Conflict { device_list: account.list })
    }

    async fn spend_restoration(&self, from: IpAddr) -> Result<(), RestoreError> {
        let (address, allowance) = (address_bytes(from), self.config.quotas.restorations_per_address);
        let count = Count { quota: "restorations_per_address", subject: &[&address], allowance };
        quota::spend(self, count, 1).await.map_err(|rejection| match rejection {
            Rejection::Quota { retry_after } => RestoreError::RetryAfter(retry_after),
            _ => RestoreError::Unavailable,
        })
    }

    fn not_restored(&self, error: &StoreError) -> RestoreError {
        self.note(error);
        RestoreError::Unavailable
    }
}

/// Whether the list may take the place of the stored one: pure. The stored list itself may, since its repeat is
/// for the directory to know.
fn decide(account: &Account, list: &DeviceList, over_newer: bool) -> Result<(), RestoreError> {
    if account.closed {
        return Err(RestoreError::Closed);
    }
    if account.list == list.as_bytes() || over_newer {
        return Ok(());
    }
    let conflict = RestoreError::Conflict { device_list: account.list.clone() };
    if list.version() <= account.list_version {
        return Err(conflict);
    }
    let Ok(stored) = DeviceList::verify(&account.list) else {
        // A restored service has no list of the account yet; whoever holds the account key gives one.
        return if account.list.is_empty() { Ok(()) } else { Err(conflict) };
    };
    let registration =
        |list: &DeviceList| list.device(DeviceNumber::PRIMARY).map(|device| device.registration());
    if registration(&stored) == registration(list) {
        return Err(RestoreError::NotNew);
    }
    let others = |list: &DeviceList| {
        let linked = list.devices().iter().filter(|device| device.number() != DeviceNumber::PRIMARY);
        linked.cloned().collect::<Vec<_>>()
    };
    if others(&stored) == others(list) { Ok(()) } else { Err(conflict) }
}
