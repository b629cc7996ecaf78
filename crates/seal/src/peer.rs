//! A device that something may be encrypted to, or that may have sent something: one line of a verified list.

use signed::{DeviceList, IdentityKey};
use types::{DeviceAddress, DeviceNumber, RegistrationId};

/// What the verified device list of an account says about one of its devices. There is no other way to make
/// one, so that nothing is encrypted to a device, or shown from it, that its account did not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: DeviceAddress,
    registration: RegistrationId,
    identity: IdentityKey,
}

impl Peer {
    /// The device of that number, if it is on the list.
    pub fn on_list(list: &DeviceList, device: DeviceNumber) -> Option<Self> {
        let listed = list.device(device)?;
        Some(Self {
            address: DeviceAddress::new(list.account(), device),
            registration: listed.registration(),
            identity: *listed.identity_key(),
        })
    }

    /// The device's address.
    pub const fn address(&self) -> DeviceAddress {
        self.address
    }

    /// Which life of its device number it is.
    pub const fn registration(&self) -> RegistrationId {
        self.registration
    }

    /// Its Signal identity.
    pub const fn identity(&self) -> &IdentityKey {
        &self.identity
    }
}
