//! Who can receive: devices, and the mailboxes that belong to them.

use crate::{AccountId, Invalid};
use std::fmt;

/// The number of a device within its account: 1 is the primary, up to 127; numbers are reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(u8);

impl DeviceNumber {
    /// The device that the account was born on, and that signs device lists.
    pub const PRIMARY: Self = Self(1);

    /// Checks the range 1 to 127 (the Signal protocol's limit for a device id).
    pub fn new(number: u32) -> Result<Self, Invalid> {
        match number {
            1..=127 => Ok(Self(number as u8)),
            _ => Err(Invalid { what: "device number (1 to 127)" }),
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceNumber({})", self.0)
    }
}

/// One life of a device number: drawn at random when the device registers or links.
///
/// Range 1 to 16,380 (14 bits, the Signal protocol's range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(u16);

impl RegistrationId {
    /// The largest registration id.
    pub const MAX: u32 = 16_380;

    /// Checks the range.
    pub fn new(id: u32) -> Result<Self, Invalid> {
        match id {
            1..=Self::MAX => Ok(Self(id as u16)),
            _ => Err(Invalid { what: "registration id" }),
        }
    }

    /// Draws a new one.
    pub fn random(rng: &mut (impl rand_core::RngCore + ?Sized)) -> Self {
        Self((rng.next_u32() % Self::MAX) as u16 + 1)
    }

    /// The id as a number.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

/// One device of one account, whichever life of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceAddress {
    /// The account.
    pub account: AccountId,
    /// The device within the account.
    pub device: DeviceNumber,
}

impl DeviceAddress {
    /// The address of a device.
    pub const fn new(account: AccountId, device: DeviceNumber) -> Self {
        Self { account, device }
    }

    /// The mailbox of one life of this device.
    pub const fn mailbox(self, registration: RegistrationId) -> MailboxId {
        MailboxId { account: self.account, device: self.device, registration }
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.account, self.device)
    }
}

/// The mailbox of one life of a device. An append to a closed one is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId {
    /// The account.
    pub account: AccountId,
    /// The device within the account.
    pub device: DeviceNumber,
    /// Which life of that device number.
    pub registration: RegistrationId,
}

impl MailboxId {
    /// The device that owns this mailbox.
    pub const fn address(self) -> DeviceAddress {
        DeviceAddress { account: self.account, device: self.device }
    }
}
