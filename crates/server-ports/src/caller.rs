//! Who asks: an authenticated device on one connection.

use types::{DeviceAddress, MailboxId};

/// An authenticated device on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The device, in the life of its number that authenticated.
    pub mailbox: MailboxId,
    /// The connection number that it authenticated with.
    pub connection: u64,
}

impl Caller {
    /// The device.
    pub const fn address(&self) -> DeviceAddress {
        self.mailbox.address()
    }
}
