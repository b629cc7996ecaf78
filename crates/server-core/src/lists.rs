//! Signed device lists: given to whoever asks, taken only from their own account, verified, and never
//! backwards.

use crate::{
    Core,
    admission::settle,
    quota::{self, Allowance, Count},
    refusal::Rejection,
    retire::retire,
};
use bytes::Bytes;
use server_ports::{
    Caller, Signal, StoreError,
    directory::{Account, CompleteLink, DeviceRecord, NewList, PutListOutcome},
};
use signed::{DeviceList, ListError, Succession};
use std::collections::BTreeSet;
use types::{AccountId, DeviceNumber, MailboxId, Timestamp};
use wire::{AccountList, Code, Response};

/// Why a device list was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListRefused {
    /// It breaks a rule of lists, or a signature is wrong.
    #[error(transparent)]
    List(#[from] ListError),
    /// It is another account's.
    #[error("the device list is another account's")]
    OtherAccount,
    /// Its version is lower than the stored one, or the same with other bytes.
    #[error("the device list is not newer than the stored one")]
    NotNewer,
    /// A device that stays has other keys: a new key asks for a new registration id.
    #[error("a device that stays has other keys")]
    KeysChanged,
    /// Only device 1 changes the list.
    #[error("only the primary device changes the device list")]
    NotThePrimary,
    /// It adds a device that was not linked.
    #[error("the device list adds a device without a link")]
    NotLinked,
    /// It does not have the device that the link offered, with the keys that it offered.
    #[error("the device list does not name the offered device")]
    NotTheOffered,
    /// Another list was stored meanwhile.
    #[error("another device list was first")]
    Overtaken,
    /// The account is closed.
    #[error("the account is closed")]
    NoAccount,
}

/// The signed lists of some accounts, in the order asked.
pub(crate) async fn get(
    core: &Core,
    caller: &Caller,
    accounts: Vec<AccountId>,
) -> Result<Response, Rejection> {
    let lists = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
    spend(core, caller, "lists_read", core.config.quotas.lists_read, lists).await?;
    let mut lists = Vec::with_capacity(accounts.len());
    for account in accounts {
        let found = core.ports.directory.account(account).await?;
        let closed = found.as_ref().is_some_and(|found| found.closed);
        let device_list = found.filter(|found| !found.closed).map(|found| found.list).unwrap_or_default();
        lists.push(AccountList { account, device_list, closed });
    }
    Ok(Response::DeviceLists(lists))
}

/// Stores a new list of the caller's own account, and drops what the removed devices had.
///
/// It adds no device: a device comes by a link, which says that it wants to ([`crate::links::complete`]), or by a
/// restoration. Only where the account has no list here, after a restore of the server, any list is taken.
pub(crate) async fn put(core: &Core, caller: &Caller, carried: Bytes) -> Result<Response, Rejection> {
    let list = verified(caller, &carried)?;
    spend(core, caller, "list_changes", core.config.quotas.list_changes, 1).await?;
    replace(core, caller, list, carried, None).await
}

async fn spend(
    core: &Core,
    caller: &Caller,
    quota: &'static str,
    allowance: Allowance,
    amount: u32,
) -> Result<(), Rejection> {
    let subject: &[&[u8]] = &[caller.mailbox.account.as_bytes()];
    quota::spend(core, Count { quota, subject, allowance }, amount).await
}

/// A list of the caller's own account.
pub(crate) fn verified(caller: &Caller, carried: &[u8]) -> Result<DeviceList, ListRefused> {
    let list = DeviceList::verify(carried)?;
    if list.account() == caller.mailbox.account { Ok(list) } else { Err(ListRefused::OtherAccount) }
}

/// Puts a verified list in the place of the stored one, if it may stand there.
///
/// Answered only after every send that was admitted with the list before has ended: what "after the
/// removal" means is counted from that answer.
pub(crate) async fn replace(
    core: &Core,
    caller: &Caller,
    list: DeviceList,
    carried: Bytes,
    link: Option<CompleteLink>,
) -> Result<Response, Rejection> {
    let account = core.ports.directory.account(list.account()).await?;
    let account = account.filter(|account| !account.closed).ok_or(ListRefused::NoAccount)?;
    if decide(core, caller, &account, &list, link.as_ref())? == Succession::Same {
        // An earlier try may have been cut off, and its answer says what this one says.
        changed(core, list.account()).await?;
        return Ok(Response::Done);
    }
    // Open before listed: whoever sees the new list must find a mailbox behind every device on it.
    for added in added(&account, &list) {
        core.ports.mailboxes.open(added).await?;
    }
    let new = NewList {
        account: account.id,
        expected: account.list_version,
        version: list.version(),
        list: carried,
        devices: records(&list, core.now()),
        link,
    };
    match core.ports.directory.put_list(new).await? {
        PutListOutcome::Stored { .. } => {}
        PutListOutcome::Conflict { .. } => return Err(ListRefused::Overtaken.into()),
        PutListOutcome::NoAccount => return Err(ListRefused::NoAccount.into()),
        PutListOutcome::LinkUnavailable => return Err(Rejection::Code(Code::LinkUnavailable)),
    }
    changed(core, list.account()).await?;
    tell_devices(core, &list, Some(caller.mailbox)).await;
    Ok(Response::Done)
}

/// A list took the place of another: what the removed devices had goes, and the sends that were admitted with
/// the list before have ended when this returns.
pub(crate) async fn changed(core: &Core, account: AccountId) -> Result<(), StoreError> {
    retire(core, Some(account)).await?;
    if core.config.bugs.skip_settling { Ok(()) } else { settle(core, account).await }
}

/// Whether the list may take the place of the stored one: pure.
fn decide(
    core: &Core,
    caller: &Caller,
    account: &Account,
    list: &DeviceList,
    link: Option<&CompleteLink>,
) -> Result<Succession, ListRefused> {
    let bugs = &core.config.bugs;
    if account.list.is_empty() {
        return Ok(Succession::Newer);
    }
    let succession = succession(account, list, bugs.skip_succession)?;
    if succession == Succession::Same {
        return Ok(succession);
    }
    if caller.mailbox.device != DeviceNumber::PRIMARY {
        return Err(ListRefused::NotThePrimary);
    }
    let linked = link.map(|link| link.device);
    if added(account, list).any(|device| Some(device) != linked) && !bugs.add_without_link {
        return Err(ListRefused::NotLinked);
    }
    Ok(succession)
}

fn succession(account: &Account, list: &DeviceList, skip: bool) -> Result<Succession, ListRefused> {
    if skip {
        return Ok(Succession::Newer);
    }
    // What is stored was verified before it was stored; were it damaged, its version would still count.
    let Ok(stored) = DeviceList::verify(&account.list) else {
        tracing::error!("a stored device list does not verify");
        let newer = list.version() > account.list_version;
        return if newer { Ok(Succession::Newer) } else { Err(ListRefused::NotNewer) };
    };
    let succession = list.successor_of(&stored).map_err(|_| ListRefused::NotNewer)?;
    let keeps_keys = |device: &signed::ListedDevice| match stored.device(device.number()) {
        Some(before) if before.registration() == device.registration() => {
            before.identity_key() == device.identity_key() && before.device_key() == device.device_key()
        }
        _ => true,
    };
    if list.devices().iter().all(keeps_keys) { Ok(succession) } else { Err(ListRefused::KeysChanged) }
}

/// The devices that the list has and the account has not.
fn added(account: &Account, list: &DeviceList) -> impl Iterator<Item = MailboxId> {
    let known: BTreeSet<_> = mailboxes(account).collect();
    list.mailboxes().filter(move |mailbox| !known.contains(mailbox)).collect::<Vec<_>>().into_iter()
}

/// Records for the listed devices. One that stays keeps the record it has; one that a link adds gets the link's
/// token in its place: no token hashes to zero.
fn records(list: &DeviceList, now: Timestamp) -> Vec<DeviceRecord> {
    let record = |(device, mailbox): (&signed::ListedDevice, MailboxId)| DeviceRecord {
        mailbox,
        device_key: *device.device_key().as_bytes(),
        token_hash: [0; 32],
        connection_number: 0,
        last_connected: now,
    };
    list.devices().iter().zip(list.mailboxes()).map(record).collect()
}

pub(crate) fn mailboxes(account: &Account) -> impl Iterator<Item = MailboxId> + '_ {
    account.devices.iter().map(|listed| MailboxId {
        account: account.id,
        device: listed.device,
        registration: listed.registration,
    })
}

/// Tells the listed devices, except the one that knows.
pub(crate) async fn tell_devices(core: &Core, list: &DeviceList, but: Option<MailboxId>) {
    let changed = Signal::DeviceListChanged { account: list.account(), version: list.version() };
    for mailbox in list.mailboxes().filter(|mailbox| Some(*mailbox) != but) {
        let _ = core.ports.exchange.signal(mailbox, changed.clone()).await;
    }
}
