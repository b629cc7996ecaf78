//! A device that something may be encrypted to, or that may have sent something: one line of a verified list.

use crate::IdentityKey;
use types::{DeviceAddress, RegistrationId};

/// What the verified device list of an account says about one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: DeviceAddress,
    registration: RegistrationId,
    identity: IdentityKey,
}

impl Peer {
    /// A device whose keys the caller has verified by other means than a device list (tests, linking).
    pub const fn verified_elsewhere(
        address: DeviceAddress,
        registration: RegistrationId,
        identity: IdentityKey,
    ) -> Self {
        Self { address, registration, identity }
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
    pub const fn identity(&self) -> IdentityKey {
        self.identity
    }
}
