//! What is judged of devices that were removed: nothing is encrypted to them, with all keys that they ever had they open
//! nothing, and nothing of theirs is shown, by anyone who has seen the removal.

use super::{Property, Witness};
use crate::{
    disk::Disk,
    hostile::{device::Device, office::Office},
};
use bytes::Bytes;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use seal::{Arrival, Body, Peer, SealKind};
use signed::DeviceList;
use std::collections::{BTreeMap, BTreeSet};
use types::{AccountId, EnvelopeId, GroupId, MailboxId};
use wire::{EnvelopeKind, Request, SealedFor};

/// A device that its account's primary has taken off the list.
struct Former {
    /// The first version without it.
    version: u64,
    /// How many messages were written before.
    order: usize,
    /// Everything that it had then.
    disk: Disk,
}

/// What one device has encrypted.
struct Sealed {
    from: MailboxId,
    what: Ciphertexts,
    /// Removed devices, as far as it had seen that.
    shut_out: BTreeSet<MailboxId>,
}

enum Ciphertexts {
    /// One for each device.
    Each(Vec<SealedFor>),
    /// One for a whole group.
    Group(GroupId, Bytes),
}

/// What is known of removed devices.
#[derive(Default)]
pub(super) struct Formers {
    removed: BTreeMap<MailboxId, Former>,
    made: BTreeSet<EnvelopeId>,
    sealed: Vec<Sealed>,
    /// The list of their account that each device held when it was looked at before.
    held: BTreeMap<(MailboxId, AccountId), u64>,
}

impl Witness {
    /// Whether a device was removed from its account's list.
    pub fn is_former(&self, device: MailboxId) -> bool {
        self.formers.removed.contains_key(&device)
    }

    /// A device has made a list of its account: whoever is missing from it is removed from now on.
    pub(super) fn lists(&mut self, devices: &[Device], at: usize, bytes: &[u8]) {
        let list = DeviceList::verify(bytes).expect("an engine signs good lists");
        let Some(before) = devices[at].disk.list(list.account()) else { return };
        let listed: BTreeSet<MailboxId> = list.mailboxes().collect();
        for gone in
            before.mailboxes().filter(|one| before.version() < list.version() && !listed.contains(one))
        {
            let Some(device) = devices.iter().find(|one| one.mailbox == gone) else { continue };
            let order = self.written.len();
            let former = || Former { version: list.version(), order, disk: device.disk.copy() };
            self.formers.removed.entry(gone).or_insert_with(former);
        }
    }

    /// The removed devices of whose removal a device knows.
    fn shut_out_by(&self, device: &Device) -> BTreeSet<MailboxId> {
        let removed = self.formers.removed.iter();
        let seen = removed.filter(|(gone, former)| {
            device.disk.list_version(gone.account).is_some_and(|version| version >= former.version)
        });
        seen.map(|(gone, _)| *gone).collect()
    }

    /// A device has encrypted something. It may make the same request again, which is nothing new.
    pub(super) fn encrypts(&mut self, device: &Device, request: &Request) {
        let (envelope, what) = match request {
            Request::Send(send) => (send.envelope_id, Ciphertexts::Each(send.sealed.clone())),
            Request::SendGroup(send) => {
                (send.envelope_id, Ciphertexts::Group(send.group, send.ciphertext.clone()))
            }
            _ => return,
        };
        if !self.formers.made.insert(envelope) {
            return;
        }
        let shut_out = self.shut_out_by(device);
        if let (Ciphertexts::Each(sealed), false) = (&what, shut_out.is_empty()) {
            let is_for_none = sealed.iter().all(|one| !shut_out.contains(&one.to));
            self.judge(Property::NothingForOutsiders, is_for_none, || {
                format!(
                    "{:?} sealed envelope {envelope} for a device that it knows to be removed",
                    device.mailbox
                )
            });
        }
        self.formers.sealed.push(Sealed { from: device.mailbox, what, shut_out });
    }

    /// Remembers which lists a device holds, once everything was seen that it had to say.
    pub(super) fn remember_lists(&mut self, device: &Device) {
        let accounts: BTreeSet<AccountId> = self.formers.removed.keys().map(|gone| gone.account).collect();
        for account in accounts {
            let version = device.disk.list_version(account).unwrap_or(0);
            self.formers.held.insert((device.mailbox, account), version);
        }
    }

    /// A message is shown: its writer was not removed before it was written, as far as its reader knew before. What one
    /// frame brings, first a message and then the removal, is looked at only when both are there.
    pub(super) fn shown_of_former(&mut self, device: &Device, sender: MailboxId, order: usize) {
        let Some(former) = self.formers.removed.get(&sender) else { return };
        let held = self.formers.held.get(&(device.mailbox, sender.account));
        let knew = held.is_some_and(|held| *held >= former.version);
        let holds = !knew || order < former.order;
        self.judge(Property::NothingFromRemoved, holds, || {
            format!("{:?} shows what {sender:?} wrote after it was removed", device.mailbox)
        });
    }

    /// Gives everything that was ever encrypted to every removed device, with all that it had.
    pub fn conclude_formers(&mut self, office: &Office) {
        let formers = std::mem::take(&mut self.formers);
        for (gone, former) in &formers.removed {
            let opened = former.disk.with_keys(|store| {
                let opens = |sealed: &Sealed| opens(store, *gone, sealed, office);
                formers.sealed.iter().map(opens).collect::<Vec<bool>>()
            });
            for (sealed, opened) in formers.sealed.iter().zip(opened.into_iter().flatten()) {
                if sealed.shut_out.contains(gone) {
                    self.judge(Property::NothingForOutsiders, !opened, || {
                        format!("{gone:?} opens what {:?} sealed after it had seen the removal", sealed.from)
                    });
                }
            }
        }
    }
}

/// Whether a device opens something; what it learns from it, it keeps.
fn opens(store: &mut dyn seal::Store, who: MailboxId, sealed: &Sealed, office: &Office) -> bool {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let from = sealed.from.address();
    let arrival =
        |kind, ciphertext, group| Arrival { from, to: who.address(), kind, ciphertext, listed: None, group };
    let opened = match &sealed.what {
        Ciphertexts::Group(group, ciphertext) => {
            seal::decrypt(store, &arrival(SealKind::SenderKey, ciphertext, Some(*group)), &mut rng)
        }
        Ciphertexts::Each(each) => {
            let Some(own) = each.iter().find(|one| one.to == who) else { return false };
            let kind = if own.kind == EnvelopeKind::Prekey { SealKind::Prekey } else { SealKind::Ratchet };
            seal::decrypt(store, &arrival(kind, &own.ciphertext, None), &mut rng)
        }
    };
    let Ok(opened) = opened else { return false };
    let lists = office.accounts.get(&from.account).into_iter().flat_map(|account| &account.lists);
    let peer = lists.rev().find_map(|list| Peer::on_list(list, from.device));
    if let (Ok(content), Some(peer)) = (opened.verify(peer.as_ref()), peer)
        && let Body::SenderKeyDistribution(key) = content.body
    {
        let _ = seal::process_distribution(store, &peer, key.group, &key.distribution);
    }
    true
}
