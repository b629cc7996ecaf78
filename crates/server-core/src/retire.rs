//! Emptying the mailboxes of devices that are gone, and ending their sessions.
//!
//! Which devices a change removed is known only to whoever made it. When the store does not say whether it did, the
//! devices stay in doubt here until the request is repeated; should the node die before, their sessions end with it,
//! and their rows by age.

use crate::Core;
use server_ports::{Signal, StoreError};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use types::{AccountId, MailboxId};
use wire::Code;

/// Closes the mailboxes, deleting their rows, then ends the sessions that hold them. A send that was
/// admitted before finds them closed and is dropped.
pub(crate) async fn retire(core: &Core, mailboxes: &[MailboxId]) -> Result<(), StoreError> {
    if core.config.bugs.keep_revoked {
        return Ok(());
    }
    for mailbox in mailboxes {
        core.ports.mailboxes.close(*mailbox).await?;
        // Best effort: a session that misses it finds its mailbox closed and its device unlisted.
        let _ = core.ports.exchange.signal(*mailbox, Signal::Ended(Code::Revoked)).await;
    }
    Ok(())
}

/// Devices that are gone, unless the list of their account has them.
#[derive(Default)]
pub(crate) struct Doubtful(Mutex<BTreeMap<AccountId, BTreeSet<MailboxId>>>);

impl Doubtful {
    pub(crate) fn add(&self, account: AccountId, devices: impl IntoIterator<Item = MailboxId>) {
        let mut devices = devices.into_iter().peekable();
        if devices.peek().is_some() {
            self.devices().entry(account).or_default().extend(devices);
        }
    }

    pub(crate) fn has(&self, account: AccountId) -> bool {
        self.devices().contains_key(&account)
    }

    fn of(&self, account: AccountId) -> BTreeSet<MailboxId> {
        self.devices().get(&account).cloned().unwrap_or_default()
    }

    fn settled(&self, account: AccountId) {
        self.devices().remove(&account);
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<AccountId, BTreeSet<MailboxId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Retires the devices of an account that were in doubt and are not listed.
pub(crate) async fn retire_doubtful(
    core: &Core,
    account: AccountId,
    listed: &BTreeSet<MailboxId>,
) -> Result<(), StoreError> {
    let gone: Vec<_> = core.doubtful.of(account).difference(listed).copied().collect();
    retire(core, &gone).await?;
    core.doubtful.settled(account);
    Ok(())
}
