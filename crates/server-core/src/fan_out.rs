//! One row for each device of many accounts: who gets one, and what it is.

use crate::Core;
use bytes::Bytes;
use server_ports::{Signal, StoreError, directory::Account, mailboxes::NewRow};
use types::{AccountId, DeviceAddress, MailboxId, Timestamp, limits};
use wire::Envelope;

/// The accounts of a group's members, as the directory has them now.
pub(crate) struct Members(Vec<(AccountId, Option<Account>)>);

impl Members {
    pub(crate) async fn load(
        core: &Core,
        members: impl IntoIterator<Item = AccountId>,
    ) -> Result<Self, StoreError> {
        let ids: Vec<_> = members.into_iter().collect();
        let accounts = core.ports.directory.accounts(&ids).await?;
        Ok(Self(ids.into_iter().zip(accounts).collect()))
    }

    /// The version of each member's device list; 0 for a closed account.
    pub(crate) fn list_versions(&self) -> impl Iterator<Item = (AccountId, u64)> + '_ {
        self.0.iter().map(|(id, account)| (*id, open(account).map_or(0, |account| account.list_version)))
    }

    /// A member's account.
    pub(crate) fn account(&self, id: AccountId) -> Option<&Account> {
        self.0.iter().find(|(member, _)| *member == id).and_then(|(_, account)| account.as_ref())
    }

    /// The devices that get a row: every listed one, except those that did not connect for so long that they
    /// get none before they return, unless they hold a socket since then.
    pub(crate) async fn devices(&self, core: &Core, now: Timestamp) -> Vec<MailboxId> {
        let mut devices = Vec::with_capacity(self.0.len());
        for (mailbox, last_connected) in self.listed() {
            let dormant = now.since(last_connected) > limits::DEVICE_DORMANT_AFTER;
            // A session takes this as a nudge to read, which does no harm.
            if !dormant || core.ports.exchange.signal(mailbox, Signal::Read).await.unwrap_or(false) {
                devices.push(mailbox);
            }
        }
        devices
    }

    fn listed(&self) -> impl Iterator<Item = (MailboxId, Timestamp)> + '_ {
        let accounts = self.0.iter().filter_map(|(_, account)| open(account));
        accounts.flat_map(|account| {
            account.devices.iter().map(|listed| {
                let address = DeviceAddress::new(account.id, listed.device);
                (address.mailbox(listed.registration), listed.last_connected)
            })
        })
    }
}

fn open(account: &Option<Account>) -> Option<&Account> {
    account.as_ref().filter(|account| !account.closed)
}

/// One row for each device. They share the ciphertext, which is stored once.
pub(crate) fn rows(
    devices: &[MailboxId],
    ciphertext: Bytes,
    expires_at: Timestamp,
    envelope_to: impl Fn(MailboxId) -> Envelope,
) -> Vec<NewRow> {
    let body = Envelope::encode_ciphertext(ciphertext);
    let row = |to: &MailboxId| NewRow {
        to: *to,
        head: Envelope { ciphertext: Bytes::new(), ..envelope_to(*to) }.encode(),
        body: body.clone(),
        expires_at,
    };
    devices.iter().map(row).collect()
}
