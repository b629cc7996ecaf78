//! What the owner of a primary device does and sees while other devices of the account come and go.

use super::{Device, Outside};
use client::{AddDeviceError, AddingDevice, Fault};
use server_ports::Clock as _;
use types::{DeviceNumber, MailboxId};

/// What the primary shows of a device that is being added; gone with its process.
#[derive(Default)]
pub(super) struct Screen {
    digits: Option<String>,
    failed: Option<AddDeviceError>,
}

impl Device {
    /// The person gives the code of a new device.
    pub fn add_device(
        &mut self,
        code: &str,
        with_history: bool,
        outside: &mut Outside<'_>,
    ) -> Result<Result<(), AddDeviceError>, Fault> {
        self.screen = Screen::default();
        let Some(engine) = &mut self.engine else { return Ok(Err(AddDeviceError::Busy)) };
        let added = engine.add_device(code, with_history, self.clock.now(), &mut self.rng)?;
        self.turn_done(outside)?;
        Ok(added)
    }

    /// The person has compared the digits.
    pub fn decide(&mut self, is_mine: bool, outside: &mut Outside<'_>) -> Result<(), Fault> {
        self.screen.digits = None;
        let Some(engine) = &mut self.engine else { return Ok(()) };
        match is_mine {
            true => engine.confirm_device(self.clock.now(), &mut self.rng)?,
            false => engine.refuse_device(self.clock.now(), &mut self.rng)?,
        }
        self.turn_done(outside)
    }

    /// The person takes a device off the list. Says whether the engine has begun to.
    pub fn remove_device(&mut self, device: DeviceNumber, outside: &mut Outside<'_>) -> Result<bool, Fault> {
        let Some(engine) = &mut self.engine else { return Ok(false) };
        let begun = engine.remove_device(device, self.clock.now(), &mut self.rng)?;
        self.turn_done(outside)?;
        Ok(begun.is_ok())
    }

    /// The digits that the primary shows.
    pub fn digits_to_compare(&self) -> Option<&str> {
        self.screen.digits.as_deref()
    }

    /// Why the last code came to nothing; told once.
    pub const fn take_adding_failed(&mut self) -> Option<AddDeviceError> {
        self.screen.failed.take()
    }

    /// The devices on the list of the account, as this one knows it.
    pub fn listed(&self) -> Vec<MailboxId> {
        let list = self.mailbox.and_then(|mailbox| self.disk.list(mailbox.account));
        list.iter().flat_map(signed::DeviceList::mailboxes).collect()
    }

    pub(super) fn adding(&mut self, adding: AddingDevice) {
        match adding {
            AddingDevice::Digits { digits, .. } => self.screen.digits = Some(digits),
            // The device is in; its archive comes with another connection.
            AddingDevice::Failed(AddDeviceError::Interrupted) => {}
            AddingDevice::Failed(error) => self.screen.failed = Some(error),
            AddingDevice::Added { .. } | AddingDevice::HandingOver { .. } | AddingDevice::Done { .. } => {}
        }
    }
}
