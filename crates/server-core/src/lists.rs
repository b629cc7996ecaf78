//! Signed device lists: given to whoever asks, taken only from their own account, verified, and never
//! backwards.

use crate::{Core, refusal::Rejection, retire::retire};
use bytes::Bytes;
use server_ports::{
    Caller, Signal,
    directory::{Account, DeviceRecord, NewList, PutListOutcome},
};
use signed::{DeviceList, ListError, Succession};
use std::collections::BTreeSet;
use types::{AccountId, MailboxId, Timestamp};
use wire::{AccountList, Response};

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
    /// Another list was stored meanwhile.
    #[error("another device list was first")]
    Overtaken,
    /// The account is closed.
    #[error("the account is closed")]
    NoAccount,
}

/// The signed lists of some accounts, in the order asked.
pub(crate) async fn get(core: &Core, accounts: Vec<AccountId>) -> Result<Response, Rejection> {
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
/// Answered only after every send that was admitted with the list before has ended: what "after the
/// removal" means is counted from that answer.
pub(crate) async fn put(core: &Core, caller: &Caller, carried: Bytes) -> Result<Response, Rejection> {
    let list = DeviceList::verify(&carried).map_err(ListRefused::List)?;
    if list.account() != caller.mailbox.account {
        return Err(ListRefused::OtherAccount.into());
    }
    let account = core.ports.directory.account(list.account()).await?;
    let account = account.filter(|account| !account.closed).ok_or(ListRefused::NoAccount)?;
    if decide(&account, &list, core.config.bugs.skip_succession)? == Succession::Same {
        return Ok(Response::Done);
    }
    commit(core, caller, &account, list, carried).await
}

/// Whether the list may take the place of the stored one: pure.
fn decide(account: &Account, list: &DeviceList, skip_succession: bool) -> Result<Succession, ListRefused> {
    if account.list.is_empty() || skip_succession {
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

async fn commit(
    core: &Core,
    caller: &Caller,
    account: &Account,
    list: DeviceList,
    carried: Bytes,
) -> Result<Response, Rejection> {
    // Open before listed: whoever sees the new list must find a mailbox behind every device on it.
    let known: BTreeSet<_> = crate::lists::mailboxes(account).collect();
    for added in list.mailboxes().filter(|mailbox| !known.contains(mailbox)) {
        core.ports.mailboxes.open(added).await?;
    }
    let (id, version) = (list.account(), list.version());
    let new = NewList {
        account: id,
        expected: account.list_version,
        version,
        list: carried,
        devices: records(&list, core.now()),
        link: None,
    };
    let outcome = core.ports.directory.put_list(new).await?;
    let removed = match outcome {
        PutListOutcome::Stored { removed, .. } => removed,
        PutListOutcome::Conflict { .. } => return Err(ListRefused::Overtaken.into()),
        PutListOutcome::NoAccount => return Err(ListRefused::NoAccount.into()),
        PutListOutcome::LinkUnavailable => return Err(Rejection::Code(wire::Code::LinkUnavailable)),
    };
    retire(core, &removed).await?;
    if !core.config.bugs.skip_settling {
        core.admissions.settle(id).await;
        core.ports.clock.sleep(core.config.settle).await;
    }
    tell_own_devices(core, caller, &list).await;
    Ok(Response::Done)
}

/// Records for the listed devices. One that stays keeps the record it has; one that is new has no token
/// yet, so it cannot connect before linking gives it one: no token hashes to zero.
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

fn mailboxes(account: &Account) -> impl Iterator<Item = MailboxId> + '_ {
    account.devices.iter().map(|listed| MailboxId {
        account: account.id,
        device: listed.device,
        registration: listed.registration,
    })
}

async fn tell_own_devices(core: &Core, caller: &Caller, list: &DeviceList) {
    let changed = Signal::DeviceListChanged { account: list.account(), version: list.version() };
    for mailbox in list.mailboxes().filter(|mailbox| *mailbox != caller.mailbox) {
        let _ = core.ports.exchange.signal(mailbox, changed.clone()).await;
    }
}
