//! Whether a send names exactly the listed devices. Pure.

use std::collections::BTreeMap;
use types::{DeviceAddress, MailboxId, RegistrationId};
use wire::Stale;

/// The devices that a send must name, each in its present life.
#[derive(Debug)]
pub(crate) struct Expected(BTreeMap<DeviceAddress, RegistrationId>);

impl Expected {
    /// Every listed device but the sending one.
    pub(crate) fn new(sender: MailboxId, listed: impl Iterator<Item = MailboxId>) -> Self {
        let others = listed.filter(|mailbox| mailbox.address() != sender.address());
        Self(others.map(|mailbox| (mailbox.address(), mailbox.registration)).collect())
    }

    /// `None` if `named` are exactly the expected devices.
    pub(crate) fn compare(&self, named: impl Iterator<Item = MailboxId>) -> Option<Stale> {
        let mut missing = self.0.clone();
        let mut difference = Stale::default();
        for mailbox in named {
            match missing.remove(&mailbox.address()) {
                None => difference.extra.push(mailbox),
                Some(listed) if listed != mailbox.registration => {
                    difference.stale.push(mailbox.address().mailbox(listed));
                }
                Some(_) => {}
            }
        }
        difference.missing = missing.into_iter().map(|(address, listed)| address.mailbox(listed)).collect();
        (difference != Stale::default()).then_some(difference)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use types::{AccountId, DeviceNumber};

    fn mailbox(account: u8, device: u32, registration: u32) -> MailboxId {
        DeviceAddress::new(AccountId::from_bytes([account; 16]), DeviceNumber::new(device).unwrap())
            .mailbox(RegistrationId::new(registration).unwrap())
    }

    /// Alice (account 1) has devices 1, 2, 3 and sends from 1; Bob (account 2) has devices 1 and 5.
    fn expected() -> Expected {
        let listed = right().into_iter().chain([mailbox(1, 1, 11)]);
        Expected::new(mailbox(1, 1, 11), listed)
    }

    fn right() -> Vec<MailboxId> {
        vec![mailbox(2, 1, 21), mailbox(2, 5, 25), mailbox(1, 2, 12), mailbox(1, 3, 13)]
    }

    #[test]
    fn exactly_the_listed_devices_are_right_in_any_order() {
        assert_eq!(expected().compare(right().into_iter()), None);
        assert_eq!(expected().compare(right().into_iter().rev()), None);
    }

    #[test]
    fn each_difference_is_named() {
        let mut named = right();
        named[0] = mailbox(2, 1, 99);
        named.remove(2);
        named.push(mailbox(2, 7, 27));
        named.push(mailbox(3, 1, 31));
        let stale = expected().compare(named.into_iter()).unwrap();
        assert_eq!(stale.missing, [mailbox(1, 2, 12)]);
        assert_eq!(stale.extra, [mailbox(2, 7, 27), mailbox(3, 1, 31)]);
        assert_eq!(stale.stale, [mailbox(2, 1, 21)], "under the registration id that is listed now");
    }

    #[test]
    fn the_sending_device_is_not_sent_to() {
        let named = right().into_iter().chain([mailbox(1, 1, 11)]);
        assert_eq!(expected().compare(named).unwrap().extra, [mailbox(1, 1, 11)]);
    }

    proptest! {
        #[test]
        fn doing_what_the_answer_says_makes_the_send_right(
            named in proptest::collection::btree_map((1..=2u8, 1..=6u32), 1..=60u32, 0..8)
        ) {
            let named: Vec<_> =
                named.into_iter().map(|((account, device), registration)| mailbox(account, device, registration)).collect();
            let Some(stale) = expected().compare(named.iter().copied()) else { return Ok(()) };
            let moved = |mailbox: &MailboxId| {
                stale.stale.iter().find(|now| now.address() == mailbox.address()).copied().unwrap_or(*mailbox)
            };
            let repaired: Vec<_> = named
                .iter()
                .filter(|mailbox| !stale.extra.contains(mailbox))
                .map(moved)
                .chain(stale.missing.iter().copied())
                .collect();
            prop_assert_eq!(expected().compare(repaired.into_iter()), None);
        }
    }
}
