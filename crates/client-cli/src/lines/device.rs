//! Lines about the devices of one's own account.

use client::DeviceView;
use serde::{Deserialize, Serialize};

/// `link`, waiting: what the primary needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCode {
    /// Always `link_code`.
    pub event: String,
    /// For `wax devices add`.
    pub code: String,
    /// The code is good for so many seconds.
    pub expires_in: u64,
}

/// `link`, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// The account that this device belongs to now.
    pub account: String,
    /// Its number there.
    pub device: u8,
}

/// `devices add`, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAdded {
    /// The new device's number.
    pub device: u8,
}

/// One of the devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its number; 1 is the primary.
    pub device: u8,
    /// What it was called when it was linked.
    pub name: Option<String>,
    /// When it came to the account, by the server's clock.
    pub added_at: String,
    /// Whether it is this one.
    pub this_device: bool,
}

impl From<DeviceView> for Device {
    fn from(device: DeviceView) -> Self {
        Self {
            device: device.device.get(),
            name: device.name,
            added_at: device.added_at.to_string(),
            this_device: device.this_device,
        }
    }
}

/// `devices remove`, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRemoved {
    /// The number of the device that is no more.
    pub removed: u8,
}

/// `backup create`, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// Where it is.
    pub file: String,
    /// What opens it: 64 digits in groups of four. It is not kept anywhere.
    pub recovery_key: String,
}

/// `backup verify`, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupVerified {
    /// The file.
    pub file: String,
    /// Whose backup it is.
    pub account: String,
    /// The account's number, E.164.
    pub phone: String,
    /// When it was made, by the server's clock.
    pub made_at: String,
    /// Other accounts in it.
    pub contacts: u64,
    /// Groups in it.
    pub groups: u64,
    /// Messages in it.
    pub messages: u64,
}
