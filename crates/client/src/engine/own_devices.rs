//! Commands about the devices of one's own account: linking, removing, restoring.

use super::Engine;
use crate::{
    AddDeviceError, Fault, HttpAnswer, HttpRequest, LinkBegun, LinkError, LinkStep, NewDevice,
    RemoveDeviceError, RestoreError, RestoreStep,
    linking::new_device,
    restore::{self, Target},
    store::{linking, profile},
};
use rand_core::CryptoRng;
use types::{DeviceNumber, Millis, Timestamp};

impl Engine {
    // ---- this device becomes one of an account

    /// Makes all keys of this device and stores them, then says which code to show and what to ask the server. A link
    /// that was begun here a moment ago goes on with the same code.
    pub fn begin_link(
        &mut self,
        device: &NewDevice,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<LinkBegun, LinkError> {
        let begun = self.write(|db| new_device::begin(db, device, now, rng))?;
        self.me = None;
        Ok(begun)
    }

    /// The answer to [`Engine::begin_link`]'s request: how long the code can be used.
    pub fn link_begun(&mut self, answer: &HttpAnswer) -> Result<Millis, LinkError> {
        let begun = self.write(|db| new_device::begun(db, answer));
        self.unless_dead(begun)
    }

    /// How to ask where the link stands. To be asked about every half second.
    pub fn poll_link(&mut self) -> Result<HttpRequest, LinkError> {
        self.write(new_device::poll)
    }

    /// The answer to [`Engine::poll_link`]'s request.
    pub fn link_polled(
        &mut self,
        answer: &HttpAnswer,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<LinkStep, LinkError> {
        let polled = self.write(|db| new_device::polled(db, answer, now, rng));
        let step = self.unless_dead(polled)?;
        if matches!(step, LinkStep::Linked(_)) {
            self.me = profile::load(&self.connection).map_err(LinkError::Fault)?;
        }
        Ok(step)
    }

    /// How to tell the primary that its invitation makes no sense here, so that nobody waits there. To be asked for
    /// before [`Engine::link_polled`], which forgets a link that cannot go on.
    pub fn decline_link(&mut self) -> Result<HttpRequest, LinkError> {
        self.write(new_device::decline)
    }

    /// The answer to the request of [`LinkStep::Answer`].
    pub fn link_answered(&mut self, answer: &HttpAnswer) -> Result<(), LinkError> {
        let answered = self.write(|db| new_device::answered(db, answer));
        self.unless_dead(answered)
    }

    /// Forgets a link that cannot go on, so that the next one begins anew.
    fn unless_dead<T>(&mut self, result: Result<T, LinkError>) -> Result<T, LinkError> {
        if let Err(error) = &result
            && new_device::is_dead(error)
        {
            self.write(|db| linking::forget_request(db).map_err(LinkError::Fault))?;
        }
        result
    }

    // ---- the primary adds and removes devices

    /// Begins to add the device that shows this code, with or without the messages from before:
    /// [`crate::Effect::AddingDevice`]. After a crash the same code goes on where it was.
    pub fn add_device(
        &mut self,
        code: &str,
        with_history: bool,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Result<(), AddDeviceError>, Fault> {
        self.turn(now, rng, |turn| {
            let begun = turn.add_device(code, with_history)?;
            turn.advance()?;
            Ok(begun)
        })
    }

    /// The person has compared the digits, and they are the same: the device is put on the list.
    pub fn confirm_device(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            turn.confirm_device()?;
            turn.advance()
        })
    }

    /// The digits differ, or the person has changed their mind.
    pub fn refuse_device(&mut self, now: Timestamp, rng: &mut dyn CryptoRng) -> Result<(), Fault> {
        self.turn(now, rng, |turn| {
            turn.refuse_device()?;
            turn.advance()
        })
    }

    /// Takes a device off the list: [`crate::Effect::DeviceRemoved`]. Is done with the next connection if there is
    /// none now.
    pub fn remove_device(
        &mut self,
        device: DeviceNumber,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Result<(), RemoveDeviceError>, Fault> {
        self.turn(now, rng, |turn| {
            let removed = turn.remove_device(device)?;
            turn.advance()?;
            Ok(removed)
        })
    }

    // ---- this device takes the place of the primary

    /// Opens a backup, makes the keys of a new device 1 and stores them, and says what to ask the server.
    /// `server`: `scheme://host[:port]`. The backup itself is imported with the server's answer.
    pub fn begin_restore(
        &mut self,
        backup: &[u8],
        recovery_key: &str,
        server: &str,
        server_pin: Option<[u8; 32]>,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<HttpRequest, RestoreError> {
        let target = Target { server, server_pin };
        let (restore, request) =
            self.write(|db| restore::begin(db, (backup, recovery_key), &target, now, rng))?;
        self.me = None;
        self.restore = Some(restore);
        Ok(request)
    }

    /// The answer to [`Engine::begin_restore`]'s request, or to that of [`RestoreStep::Again`].
    pub fn restored(
        &mut self,
        answer: &HttpAnswer,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<RestoreStep, RestoreError> {
        let mut restore = self.restore.take().ok_or(RestoreError::NotBegun)?;
        if self.live.planted.bugs.skip_backup_end {
            restore.leave_out_the_end();
        }
        let result = self.write(|db| restore::restored(db, &mut restore, answer, now, rng));
        if let Ok(RestoreStep::Done(_)) = &result {
            self.me = profile::load(&self.connection)?;
        } else {
            self.restore = Some(restore);
        }
        result
    }
}
