//! What is judged of linking: whom a primary lists, whose device a new one becomes, what equal digits say, and that no
//! private key moves.

use super::{Property, Witness};
use crate::hostile::{device::Device, office::Office};
use signed::DeviceList;
use std::collections::BTreeSet;
use types::{AccountId, MailboxId};
use wire::Request;

/// What is known of links.
#[derive(Default)]
pub(super) struct LinkFacts {
    /// The identity keys of all true devices, also of those that are not linked yet.
    identities: BTreeSet<[u8; 33]>,
    /// What must never leave the device that made it.
    secrets: BTreeSet<Vec<u8>>,
    /// The newest invitation that the primary has made.
    invitation: Option<Vec<u8>>,
}

impl Witness {
    /// A true device, and what it keeps to itself.
    pub fn knows(&mut self, identity: [u8; 33], secrets: Vec<Vec<u8>>) {
        self.links.identities.insert(identity);
        self.links.secrets.extend(secrets);
    }

    /// A primary has made a request about its devices.
    pub(super) fn manages_devices(&mut self, devices: &[Device], at: usize, request: &Request, bytes: &[u8]) {
        let (Request::CompleteLink { device_list: list, .. } | Request::PutDeviceList(list)) = request else {
            if let Request::InviteLink { invitation, .. } = request {
                self.links.invitation = Some(invitation.to_vec());
                self.keeps_keys(bytes);
            }
            return;
        };
        self.keeps_keys(bytes);
        let listed = DeviceList::verify(list).expect("an engine signs good lists");
        for device in listed.devices() {
            let is_true = self.links.identities.contains(device.identity_key().as_bytes());
            self.judge(Property::LinksTrue, is_true, || {
                format!("{:?} lists a ghost as device {}", devices[at].mailbox, device.number().get())
            });
        }
        self.lists(devices, at, list);
    }

    /// Something leaves a device, as it is: no secret is in it.
    pub fn keeps_keys(&mut self, bytes: &[u8]) {
        let keeps = !self.links.secrets.iter().any(|secret| is_in(secret, bytes));
        self.judge(Property::KeysStay, keeps, || "a private key leaves its device".to_owned());
    }

    /// Both sides have shown digits: they are the same if and only if one has accepted what the other has made.
    pub fn compares(&mut self, same_digits: bool, accepted: Option<&[u8]>) {
        let same_link = accepted.is_some() && accepted == self.links.invitation.as_deref();
        self.judge(Property::DigitsTell, same_digits == same_link, || {
            format!("digits are the same: {same_digits}; the links are the same: {same_link}")
        });
    }

    /// A new device says that it is linked. `is_trusted`: a person saw the same digits on both, or nobody knew the code.
    pub fn linked(&mut self, owner: AccountId, account: AccountId, is_trusted: bool) {
        self.judge(Property::LinksTrue, account == owner || !is_trusted, || {
            format!("a new device of {owner} has become one of {account}")
        });
    }

    /// A new device is linked, and is one that its account lists; it has not got the account's key.
    pub fn joins(&mut self, device: &Device, office: &Office) {
        let is_listed = |mailbox: MailboxId| {
            let account = office.accounts.get(&mailbox.account);
            account.is_some_and(|account| account.list().mailboxes().any(|listed| listed == mailbox))
        };
        let holds = is_listed(device.mailbox) && device.disk.account_secret().is_none();
        self.judge(Property::LinksTrue, holds, || format!("{:?} is linked and not listed", device.mailbox));
        let secrets: BTreeSet<Vec<u8>> = device.disk.private_keys().into_iter().collect();
        let stayed = secrets.is_subset(&self.links.secrets);
        self.judge(Property::KeysStay, stayed, || {
            format!("{:?} has other keys than it made", device.mailbox)
        });
        let profile = device.disk.profile();
        let mut foreign = self.links.secrets.difference(&secrets);
        let is_alone = !foreign.any(|secret| profile.iter().any(|kept| is_in(secret, kept)));
        self.judge(Property::KeysStay, is_alone, || {
            format!("{:?} has got a key that was to stay elsewhere", device.mailbox)
        });
    }
}

fn is_in(secret: &[u8], bytes: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}
